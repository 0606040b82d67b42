"""What no batch can be better than: the lower bound behind every certificate (theory (16) to
(18))."""

import numpy as np
from jaxtyping import Float

from whichpairs.design.problem.criterion import Criterion, Matrix, Sum, lower_factor
from whichpairs.design.problem.problem import Problem


def lower_bound(
    problem: Problem, m: Matrix, factor: Float[np.ndarray, "d r"], most: float
) -> float:
    """f(M) + tr(A (M − M₀)) − Σ_p u⁺_p s_p, at M or at the multiple c M where that is largest.

    For tr(W M⁻¹) and −log det M, A at c M is c^−g A (g = 2 and 1); then scores are c^−g times those
    at M, and for M₀ → 0 the best is c = Σ_p u⁺_p s_p ÷ tr(A M). Where A is not homogeneous, c is 1.

    Args:
        factor: L at M; most: Σ_p u⁺_p s_p, at most.
    """
    if not np.isfinite(most):
        return -np.inf
    gradient, degree = factor @ factor.T, _degree(problem.criterion, m, factor)
    lost = _rounding(m, factor)
    found = [_bound_at(problem, m, gradient, most, lost)]
    held = float(np.sum(gradient * m))  # may come out below 0 where M is singular up to rounding
    if degree is not None and most > 0.0 and held > 0.0:
        times = most / held
        scale = times**-degree
        # What a product of powers may be off by is taken off.
        most, lost = scale * most * (1 + 1e-14), times * scale * lost
        found.append(_bound_at(problem, times * m, scale * gradient, most, lost))
    return max(found)


def _bound_at(problem: Problem, m: Matrix, gradient: Matrix, most: float, lost: float) -> float:
    held = float(np.sum(gradient * (m - problem.base)))
    bound = problem.criterion.value(m) + held - most
    return bound - 1e-12 * (abs(bound) + abs(held)) - lost


def _rounding(m: Matrix, factor: Float[np.ndarray, "d r"]) -> float:
    """What f(M) + tr(A M) may be off by: (4 d + r) ε ‖|C|ᵀ|L|‖² with M = C Cᵀ; ‖·‖² is ≤ tr(M)
    tr(A).

    rᵀX⁻¹r ≥ 2 xᵀr − xᵀX x and −log det X ≥ log det A + d − tr(A X) hold for every x (a column of L)
    and A, and are flat at the best: an error of L counts in second order. To first order f's own
    is left: Cholesky and the solves are exact for M + E, |E| ≤ ³⁄₂ d ε |C||C|ᵀ, which moves f by
    Σ_x |x|ᵀ|E||x|; and A is summed to ½ r ε |L||L|ᵀ. A sum of criteria adds columns. (Scores lose ε
    √cond(M) only.)

    Source: [higham2002], ch. 8 and 10.
    """
    spread = np.abs(lower_factor(m)).T @ np.abs(factor)
    terms = 4.0 * len(m) + factor.shape[1]
    return float(terms * np.finfo(np.float64).eps * np.sum(spread**2))


def _degree(criterion: Criterion, m: Matrix, factor: Float[np.ndarray, "d r"]) -> float | None:
    """g with A(c M) = c^−g A(M); None where there is none. At 4 M all rounding is the same."""
    with np.errstate(divide="ignore", invalid="ignore"):
        fourth = criterion.score_factor(4.0 * m) / factor
    ratio = fourth[np.isfinite(fourth)]
    if len(ratio) == 0 or not np.allclose(ratio, ratio[0], rtol=1e-14, atol=0.0):
        return None
    return float(-np.log2(ratio[0]))


def unit_of(criterion: Criterion, value: float, dim: int) -> float:
    """What a certificate of 1 is in f, for small ones: f itself for tr(W M⁻¹), d for −log det M.

    A sum of both has no certificate: |f|, but no less than its logarithms' w d, for f may be 0.
    """
    step = 1e-6 * max(abs(value), 1e-12)
    share = criterion.certificate(value, value - step, dim)
    if share:
        return step / share
    parts = criterion.parts if isinstance(criterion, Sum) else ()
    least = sum(weight * unit_of(part, 0.0, dim) for weight, part in parts)
    return max(abs(value), least, 1e-300)
