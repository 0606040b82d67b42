"""What a design minimises: convex functions f of the information matrix M.

Each knows its value, and a factor L of the matrix A = L Lᵀ = −∂f/∂M, so that the derivative of f
with respect to a pair's count is −w_p ‖Lᵀ z_p‖² (design.md, section 3). Both are used with
Cholesky factors; no inverse is formed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_solve, cholesky, eigh, solve_triangular

from whichpairs.errors import UserError

Matrix = Float[np.ndarray, "d d"]
Slope = Callable[[float], float]


@runtime_checkable
class Criterion(Protocol):
    """A convex, decreasing function f of the information matrix."""

    @property
    def name(self) -> str:
        """The field's name for it."""

    def value(self, m: Matrix) -> float:
        """f(M)."""

    def score_factor(self, m: Matrix) -> Float[np.ndarray, "d r"]:
        """L with L Lᵀ = −∂f/∂M."""

    def slope_along(self, m: Matrix, to: Matrix) -> Slope:
        """γ ↦ d f((1 − γ) M + γ M′) / dγ, for a line search."""

    def swap_change(
        self,
        d_pp: np.ndarray,
        d_qq: np.ndarray,
        d_pq: np.ndarray,
        a_pp: np.ndarray,
        a_qq: np.ndarray,
        a_pq: np.ndarray,
    ) -> np.ndarray:
        """f(M − p pᵀ + q qᵀ) − f(M) from the products d = ·ᵀM⁻¹·, a = ·ᵀA· of p and q."""


def lower_factor(m: Matrix) -> Matrix:
    """The lower Cholesky factor C with C Cᵀ = M.

    Raises:
        UserError: M is not positive definite: some directions are not identified.
    """
    try:
        return np.asarray(cholesky(m, lower=True))
    except np.linalg.LinAlgError:
        values = np.linalg.eigvalsh(m)
        flat = int(np.count_nonzero(values <= 1e-12 * max(values[-1], 1e-300)))
        raise UserError(
            "the information matrix must be positive definite",
            f"{max(flat, 1)} of {len(m)} directions are not identified by the pairs and the prior",
            "use a positive prior (--prior-spread) or fewer features (--dim)",
        ) from None


@dataclass(frozen=True)
class Gap:
    """f(M) = tr(Ī M⁻¹): (β/2) f is the predicted gap J(π*) − J(π) (L-optimality).

    Args:
        policy_information: Ī, symmetric positive semidefinite, d × d.

    Source: arXiv:2606.19607; equation 4 of design.md, section 2; Pukelsheim (1993), ch. 2.
    """

    policy_information: Matrix
    name: str = "gap"

    def value(self, m: Matrix) -> float:
        """tr(Ī M⁻¹)."""
        return float(np.trace(cho_solve((lower_factor(m), True), self.policy_information)))

    def score_factor(self, m: Matrix) -> Float[np.ndarray, "d r"]:
        """M⁻¹ R where Ī = R Rᵀ, so that L Lᵀ = M⁻¹ Ī M⁻¹."""
        return np.asarray(cho_solve((lower_factor(m), True), root(self.policy_information)))

    def slope_along(self, m: Matrix, to: Matrix) -> Slope:
        """−Σ_i g_i (λ_i − 1) / (1 − γ + γ λ_i)² in the basis that makes M and M′ diagonal."""
        rates, basis = _together(m, to)
        gains = np.einsum("ik,ij,jk->k", basis, self.policy_information, basis)
        return lambda t: float(-np.sum(gains * (rates - 1.0) / (1.0 - t + t * rates) ** 2))

    def swap_change(
        self,
        d_pp: np.ndarray,
        d_qq: np.ndarray,
        d_pq: np.ndarray,
        a_pp: np.ndarray,
        a_qq: np.ndarray,
        a_pq: np.ndarray,
    ) -> np.ndarray:
        """The rank-two Woodbury identity (Fedorov's exchange for a linear criterion)."""
        determinant = (1.0 - d_pp) * (1.0 + d_qq) + d_pq**2
        change = (1.0 + d_qq) * a_pp - 2.0 * d_pq * a_pq - (1.0 - d_pp) * a_qq
        return np.asarray(change / determinant)


@dataclass(frozen=True)
class DOptimal:
    """f(M) = −log det M: the volume of the confidence ellipsoid of θ, whatever the policy needs.

    Source: Kiefer and Wolfowitz (1960); the criterion of ADPO and of Guo et al. (2019).
    """

    name: str = "d-optimal"

    def value(self, m: Matrix) -> float:
        """−log det M."""
        return float(-2.0 * np.sum(np.log(np.diag(lower_factor(m)))))

    def score_factor(self, m: Matrix) -> Float[np.ndarray, "d r"]:
        """C⁻ᵀ where M = C Cᵀ, so that L Lᵀ = M⁻¹."""
        c = lower_factor(m)
        return np.asarray(solve_triangular(c, np.eye(len(c)), lower=True, trans="T"))

    def slope_along(self, m: Matrix, to: Matrix) -> Slope:
        """−Σ_i (λ_i − 1) / (1 − γ + γ λ_i)."""
        rates, _ = _together(m, to)
        return lambda t: float(-np.sum((rates - 1.0) / (1.0 - t + t * rates)))

    def swap_change(
        self,
        d_pp: np.ndarray,
        d_qq: np.ndarray,
        d_pq: np.ndarray,
        a_pp: np.ndarray,
        a_qq: np.ndarray,
        a_pq: np.ndarray,
    ) -> np.ndarray:
        """−log of the determinant's ratio (Fedorov 1972)."""
        ratio = (1.0 - d_pp) * (1.0 + d_qq) + d_pq**2
        return np.asarray(-np.log(np.maximum(ratio, 1e-300)))


def root(m: Matrix) -> Float[np.ndarray, "d r"]:
    """R with R Rᵀ = M for a positive semidefinite M; directions at rounding level are dropped."""
    values, vectors = eigh(m)
    keep = values > values[-1] * len(m) * np.finfo(np.float64).eps
    return np.asarray(vectors[:, keep] * np.sqrt(values[keep]))


def _together(m: Matrix, to: Matrix) -> tuple[np.ndarray, np.ndarray]:
    """λ and B with Bᵀ M B = 1 and Bᵀ M′ B = diag(λ)."""
    c = lower_factor(m)
    half = solve_triangular(c, to, lower=True)
    rates, q = eigh(solve_triangular(c, half.T, lower=True))
    return np.maximum(rates, 0.0), solve_triangular(c, q, lower=True, trans="T")
