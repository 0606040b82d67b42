"""The directions in which completions differ: a second projection, fitted to the pool.

A random projection to d dimensions treats all directions of the gradient alike, and gradients of
different completions are nearly orthogonal, so its noise hides much of what tells pairs apart. The
leading eigenvectors of the within-prompt second moment, found among many random dimensions, keep
more of the design's criterion in the same d (numbers: docs/results/gradients.md).
"""

import numpy as np
from jaxtyping import Float32, Float64
from threadpoolctl import threadpool_limits

from whichpairs.streams import Stream, stream

WIDER = 16
"""Random dimensions for each one that is kept."""

MOST = 1024
"""Axes at most: what is fitted must fit in memory, sixteen times as wide."""

SAMPLE_ROWS = 4096
"""Completions that the axes are fitted to (all of them, where the pool has no more)."""

OVERSAMPLING, ITERATIONS = 32, 8


def principal_axes(
    rows: Float64[np.ndarray, "n wide"], dim: int
) -> Float32[np.ndarray, "wide dim"]:
    """About the leading `dim` eigenvectors of `rows`ᵀ `rows`, as columns, the largest first.

    By subspace iteration on the rows' inner products (Halko, Martinsson and Tropp 2011,
    arXiv:0909.4061). Fewer where the rows do not differ in that many directions. The sign of a
    column makes its largest entry positive, and one BLAS thread does the work, so that the same
    rows give the same bits.

    Args:
        rows: features, centred within their prompts.
        dim: columns wanted, at least 1.
    """
    with threadpool_limits(1):
        inner = rows @ rows.T
        size = min(dim + OVERSAMPLING, len(inner))
        basis = stream(0, Stream.FEATURES).standard_normal((len(inner), size))
        for _ in range(ITERATIONS if size < len(inner) else 1):
            basis, _upper = np.linalg.qr(inner @ basis)
        values, turn = np.linalg.eigh(basis.T @ inner @ basis)
        values, turn = values[::-1][:dim], turn[:, ::-1][:, :dim]
        kept = max(int(np.sum(values > 1e-10 * values[0])), 1)
        axes = rows.T @ (basis @ turn[:, :kept] / np.sqrt(np.maximum(values[:kept], 1e-300)))
        axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(kept)])
    return np.ascontiguousarray(axes, dtype=np.float32)
