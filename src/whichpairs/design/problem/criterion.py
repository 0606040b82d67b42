"""What a design minimises: convex functions f of the information matrix M, and their sums.

Each knows its value; a factor L of the matrix A = L Lᵀ = −∂f/∂M, so that the derivative of f with
respect to a pair's count is −w_p ‖Lᵀ z_p‖² (theory (14)); what swaps of pairs change; and
what a lower bound says of a value. All are used with Cholesky factors; no inverse is formed.

    `Linear`     tr(W M⁻¹)            `gap_criterion`, `a_optimal`, `c_optimal`, `i_optimal`
    `DOptimal`   −log det M
    `Sum`        w₁ f₁ + w₂ f₂ + …
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_solve, cholesky, eigh, solve_triangular

from whichpairs.design.problem.swaps import Swaps
from whichpairs.errors import UserError

Matrix = Float[np.ndarray, "d d"]
Rows = Float[np.ndarray, "rows d"]

ROUNDING = 1e-9
"""Asymmetry and negative eigenvalues of W that are taken for rounding, as a share of its
largest."""


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

    def swaps(self, m: Matrix, rows: Rows) -> Swaps:
        """What swaps among these rows √w z change in f, at M."""

    def certificate(self, value: float, bound: float, dim: int) -> float | None:
        """How far a design is from the best one, as a share, at most.

        Args:
            value: f of the design; bound: no design has less; dim: d.

        Returns:
            At least 0, up to rounding; None where the bound says nothing.
        """


def lower_factor(m: Matrix) -> Matrix:
    """The lower Cholesky factor C with C Cᵀ = M.

    Raises:
        UserError: M is not positive definite: some directions are not identified.
    """
    try:
        return np.asarray(cholesky(m, lower=True))
    except np.linalg.LinAlgError:
        values = np.linalg.eigvalsh(m)
        if values[0] < -1e-9 * np.abs(values).max():
            raise UserError(
                "the information matrix must be positive definite",
                f"its least eigenvalue is {values[0]:.3g}",
                "the base (prior and earlier labels) must be positive semidefinite",
            ) from None
        flat = int(np.count_nonzero(values <= 1e-12 * max(values[-1], 1e-300)))
        raise UserError(
            "the information matrix must be positive definite",
            f"{max(flat, 1)} of {len(m)} directions are not identified by the pairs and the prior",
            "use a positive prior (H₀; --prior-spread) or fewer features (--dim)",
        ) from None


@dataclass(frozen=True)
class Linear:
    """f(M) = tr(W M⁻¹), L-optimality: the variance of what W weighs.

    Args:
        matrix: W, symmetric positive semidefinite, d × d.
        name: the field's name for this W.

    Raises:
        UserError: W is not square, finite, symmetric or positive semidefinite.

    Source: [fedorov1972], ch. 2; [pukelsheim1993], ch. 2; theory (10).
    """

    matrix: np.ndarray
    name: str = "l-optimal"

    def __post_init__(self) -> None:
        check_matrix(self.matrix, self.name)

    @cached_property
    def _root(self) -> Float[np.ndarray, "d r"]:
        return root(self.matrix)

    def value(self, m: Matrix) -> float:
        """tr(W M⁻¹) = |C⁻¹R|² where M = C Cᵀ and W = R Rᵀ."""
        return float(np.sum(solve_triangular(lower_factor(m), self._root, lower=True) ** 2))

    def score_factor(self, m: Matrix) -> Float[np.ndarray, "d r"]:
        """M⁻¹ R where W = R Rᵀ, so that L Lᵀ = M⁻¹ W M⁻¹."""
        return np.asarray(cho_solve((lower_factor(m), True), self._root))

    def swaps(self, m: Matrix, rows: Rows) -> Swaps:
        """The rank-two Woodbury identity (Fedorov 1972, ch. 3)."""
        lower = lower_factor(m)
        return Swaps.of(lower, rows, np.asarray(cho_solve((lower, True), self._root)))

    def certificate(self, value: float, bound: float, dim: int) -> float | None:
        """value ÷ bound − 1; None where the bound is not above 0."""
        return value / bound - 1.0 if 0.0 < bound < np.inf else None


def gap_criterion(policy_information: np.ndarray) -> Linear:
    """W = Ī: (β/2) f is the predicted gap J(π*) − J(π).

    Source: [han2026]; theory (8).
    """
    return Linear(policy_information, "gap")


def a_optimal(dim: int) -> Linear:
    """W = 1: the sum of the variances of θ's `dim` coordinates.

    Source: [pukelsheim1993], ch. 6; after theory (10), as are the next two.
    """
    return Linear(np.eye(dim), "a-optimal")


def c_optimal(direction: np.ndarray) -> Linear:
    """W = c cᵀ: the variance of cᵀθ, one contrast of features.

    Args:
        direction: c, (d,), any scale.

    Raises:
        UserError: c is not a vector, not finite, or 0.

    Source: [elfving1952].
    """
    c = np.asarray(direction, np.float64)
    if c.ndim != 1 or not np.isfinite(c).all() or not c.any():
        got = f"shape {c.shape}" if c.ndim != 1 else "0 everywhere" if not c.any() else "NaN or ∞"
        raise UserError("a c-optimal direction must be a finite vector other than 0", f"got {got}")
    return Linear(np.outer(c, c), "c-optimal")


def i_optimal(moment: np.ndarray) -> Linear:
    """W = E[φ φᵀ]: the mean variance of φᵀθ over the features to predict for (also V- or
    IV-optimal).

    Args:
        moment: E[φ φᵀ], (d, d).

    Raises:
        UserError: it is no moment (see `Linear`), or 0.

    Source: [atkinson2007], ch. 10.
    """
    w = np.asarray(moment, np.float64)
    if not w.any():
        raise UserError("an i-optimal moment must be other than 0", "got 0 everywhere")
    return Linear(w, "i-optimal")


@dataclass(frozen=True)
class DOptimal:
    """f(M) = −log det M: the volume of the confidence ellipsoid of θ, whatever the policy needs.

    Source: [kiefer1960]; the criterion of ADPO and of Guo et al. (2019).
    """

    name: str = "d-optimal"

    def value(self, m: Matrix) -> float:
        """−log det M."""
        return float(-2.0 * np.sum(np.log(np.diag(lower_factor(m)))))

    def score_factor(self, m: Matrix) -> Float[np.ndarray, "d r"]:
        """C⁻ᵀ where M = C Cᵀ, so that L Lᵀ = M⁻¹."""
        c = lower_factor(m)
        return np.asarray(solve_triangular(c, np.eye(len(c)), lower=True, trans="T"))

    def swaps(self, m: Matrix, rows: Rows) -> Swaps:
        """By the determinant's ratio (Fedorov 1972, ch. 3)."""
        return Swaps.of(lower_factor(m), rows, volume=1.0)

    def certificate(self, value: float, bound: float, dim: int) -> float | None:
        """exp((value − bound) / d) − 1: a bound on −log det M certifies the D-efficiency."""
        share = float(np.expm1((value - bound) / dim))
        return share if np.isfinite(share) else None


@dataclass(frozen=True)
class Sum:
    """f = Σ_k w_k f_k, a compound criterion.

    Args:
        parts: weight, above 0, and criterion of each.

    Raises:
        UserError: there are no parts, or a weight is not a finite number above 0.

    Source: [lauter1974]; [atkinson2007], ch. 21.
    """

    parts: tuple[tuple[float, Criterion], ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise UserError("a sum of criteria needs at least one", "got none")
        for weight, part in self.parts:
            if not 0.0 < weight < np.inf:
                raise UserError(
                    "a criterion's weight must be a finite number above 0",
                    f"got {weight} for {part.name}",
                )

    @property
    def name(self) -> str:
        """``1 gap + 0.1 d-optimal``."""
        return " + ".join(f"{weight:g} {part.name}" for weight, part in self.parts)

    def value(self, m: Matrix) -> float:
        """Σ_k w_k f_k(M)."""
        return sum(weight * part.value(m) for weight, part in self.parts)

    def score_factor(self, m: Matrix) -> Float[np.ndarray, "d r"]:
        """The parts' factors side by side, each times √w_k."""
        return np.hstack([np.sqrt(weight) * part.score_factor(m) for weight, part in self.parts])

    def swaps(self, m: Matrix, rows: Rows) -> Swaps:
        """The parts', each times w_k."""
        whole = Swaps.of(lower_factor(m), rows)
        for weight, part in self.parts:
            whole = whole.plus(part.swaps(m, rows), weight)
        return whole

    def certificate(self, value: float, bound: float, dim: int) -> float | None:
        """value ÷ bound − 1 where all parts are linear, and so f > 0; None where one is not."""
        first = self.parts[0][1]
        return first.certificate(value, bound, dim) if _is_linear(self) else None


def check_matrix(matrix: np.ndarray, name: str = "criterion") -> None:
    """W must be one that `Linear` can weigh with.

    Raises:
        UserError: it is not square, finite, symmetric or positive semidefinite.
    """
    rule = f"the {name} matrix must be "
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise UserError(f"{rule}square", f"got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise UserError(f"{rule}finite", "got NaN or ∞")
    skew = float(np.abs(matrix - matrix.T).max())
    if skew > ROUNDING * float(np.abs(matrix).max()):
        raise UserError(
            f"{rule}symmetric",
            f"it differs from its transpose by up to {skew:.3g}",
            "pass (W + W.T) / 2 if that is what you mean",
        )
    values = np.linalg.eigvalsh(matrix)
    if values[0] < -ROUNDING * max(values[-1], -values[0]):
        raise UserError(
            f"{rule}positive semidefinite",
            f"its least eigenvalue is {values[0]:.3g}, its largest {values[-1]:.3g}",
            "compute it in float64 as a mean of outer products",
        )


def check_dim(criterion: Criterion, dim: int) -> None:
    """A criterion must be for as many features as there are.

    Raises:
        UserError: a matrix in it is not `dim` × `dim`.
    """
    match criterion:
        case Linear(matrix, name) if len(matrix) != dim:
            raise UserError(
                f"the {name} matrix must be {dim} × {dim}, for {dim} features",
                f"got {len(matrix)} × {len(matrix)}",
            )
        case Sum(parts):
            for _, part in parts:
                check_dim(part, dim)


def root(m: Matrix) -> Float[np.ndarray, "d r"]:
    """R with R Rᵀ = M for a positive semidefinite M; directions at rounding level are dropped."""
    values, vectors = eigh(m)
    keep = values > values[-1] * len(m) * np.finfo(np.float64).eps
    return np.asarray(vectors[:, keep] * np.sqrt(values[keep]))


def _is_linear(criterion: Criterion) -> bool:
    if isinstance(criterion, Sum):
        return all(_is_linear(part) for _, part in criterion.parts)
    return isinstance(criterion, Linear)


def value_or_infinity(criterion: Criterion, m: Matrix) -> float:
    """f(M); ∞ where M is singular, up to rounding: some direction has no labels and no prior."""
    try:
        return criterion.value(m)
    except UserError:
        return np.inf
