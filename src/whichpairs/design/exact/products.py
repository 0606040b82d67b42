"""Products of rows with a matrix whose bits do not depend on the rows beside them.

BLAS takes rows in tiles and the last ones another way, so equal rows can differ in their last bits,
and equal pairs would be told apart by chance. Here every product has `ROWS` rows and a depth that
is a multiple of `DEPTH`, filled up with zeros. BLAS is held to one thread, as `solver.solve` does:
threads would cut the tiles elsewhere.
"""

import numpy as np
from jaxtyping import Float

ROWS, DEPTH = 192, 16
"""Multiples of the tiles of OpenBLAS and MKL (24, 16, 8, 6, 4 rows)."""


def squared_lengths(
    z: Float[np.ndarray, "rows d"], factor: Float[np.ndarray, "d r"]
) -> Float[np.ndarray, " rows"]:
    """‖Lᵀ z‖² of every row, in float64; equal rows have equal bits where BLAS has one thread."""
    d = z.shape[1]
    wide = -(-d // DEPTH) * DEPTH
    left = np.zeros((ROWS, wide))
    right = np.zeros((wide, factor.shape[1]))
    right[:d] = factor
    out = np.empty(len(z))
    for at in range(0, len(z), ROWS):
        some = z[at : at + ROWS]
        left[: len(some), :d] = some
        h = left @ right
        out[at : at + ROWS] = np.einsum("ij,ij->i", h, h)[: len(some)]
    return out
