"""What swaps among a few pairs change, and the same after some of them are made.

M − p pᵀ + q qᵀ differs from M in rank two, so all that a swap changes follows from the products of
pairs with one another: D = X M⁻¹ Xᵀ, and S = X M⁻¹ W M⁻¹ Xᵀ for tr(W M⁻¹). A swap among the same
pairs changes D and S in rank two as well: no matrix of d × d is touched again.

Source: [fedorov1972], ch. 3; Woodbury's identity; theory (19).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64
from scipy.linalg import solve_triangular

Products = Float[np.ndarray, "rows rows"]

SINGULAR = 1e-12
"""det(M − p pᵀ + q qᵀ) ÷ det M up to which a swap leaves M singular."""


@dataclass(frozen=True)
class Swaps:
    """f(M − p pᵀ + q qᵀ) − f(M) for swaps among some rows p, q = √w z, where f(M) = tr(W M⁻¹) −
    v log det M.

    The table's rows are those given to `of`, in their order; swaps name them by their places, 0 to
    rows − 1, not by candidates.

    Args:
        inverse: D = X M⁻¹ Xᵀ; spread: S = X M⁻¹ W M⁻¹ Xᵀ; volume: v.
    """

    inverse: Products
    spread: Products
    volume: float

    @classmethod
    def of(
        cls,
        lower: Float[np.ndarray, "d d"],
        rows: Float[np.ndarray, "rows d"],
        factor: Float[np.ndarray, "d r"] | None = None,
        volume: float = 0.0,
    ) -> "Swaps":
        """Of some rows.

        Args:
            rows: X, √w z of each pair that may be swapped.
            lower: the Cholesky factor of M; factor: M⁻¹ R where W = R Rᵀ, None where W = 0.
        """
        half = solve_triangular(lower, rows.T, lower=True)
        h = np.zeros((len(rows), 1)) if factor is None else rows @ factor
        return cls(half.T @ half, h @ h.T, volume)

    def plus(self, other: "Swaps", weight: float) -> "Swaps":
        """Of f + `weight` · g, both at the same M and rows."""
        spread = self.spread + weight * other.spread
        return Swaps(self.inverse, spread, self.volume + weight * other.volume)

    def changes(
        self, out: Int64[np.ndarray, " o"], into: Int64[np.ndarray, " i"]
    ) -> Float[np.ndarray, "o i"]:
        """Of every swap of a row of `out` for one of `into`; +∞ where it leaves M singular.

        Args:
            out, into: places in the table's rows, of p and of q.
        """
        d_pp, d_qq, d_pq = _of(self.inverse, out, into)
        s_pp, s_qq, s_pq = _of(self.spread, out, into)
        ratio = (1.0 - d_pp) * (1.0 + d_qq) + d_pq**2
        sound = ratio > SINGULAR
        change = (1.0 + d_qq) * s_pp - 2.0 * d_pq * s_pq - (1.0 - d_pp) * s_qq
        change = np.divide(change, ratio, out=np.full(ratio.shape, np.inf), where=sound)
        if self.volume:
            change -= self.volume * np.log(ratio, out=np.zeros(ratio.shape), where=sound)
        return np.asarray(change)

    def made(self, out: int, into: int) -> "Swaps":
        """The same rows' table after the swap of row `out` for row `into`.

        Args:
            out, into: places in the table's rows, of p and of q.
        """
        two = [out, into]
        d, s = self.inverse[:, two], self.spread[:, two]
        # M′⁻¹ = M⁻¹ − M⁻¹ U K Uᵀ M⁻¹ with U = (p, q) and K = (diag(−1, 1) + Uᵀ M⁻¹ U)⁻¹.
        k = np.linalg.solve(np.diag([-1.0, 1.0]) + d[two], d.T)
        crossed = s @ k
        spread = self.spread - crossed - crossed.T + k.T @ s[two] @ k
        return Swaps(self.inverse - d @ k, spread, self.volume)


def _of(products: Products, out: np.ndarray, into: np.ndarray) -> tuple[np.ndarray, ...]:
    """p·p as a column, q·q as a row, and p·q of every two."""
    own = np.diagonal(products)
    return own[out][:, None], own[into][None, :], products[np.ix_(out, into)]
