"""What no batch can be better than: the lower bound behind every certificate (design.md, section 3)."""

import numpy as np
from jaxtyping import Float

from whichpairs.design.criterion import Criterion, Matrix
from whichpairs.design.problem import Problem


def lower_bound(
    problem: Problem, m: Matrix, factor: Float[np.ndarray, "d r"], most: float
) -> float:
    """f(M) + tr(A (M − M₀)) − Σ_p u⁺_p s_p, at M or at the multiple c M where that is largest.

    For tr(W M⁻¹) and −log det M, A at c M is c^−g A (g = 2 and 1); then scores are c^−g times those at
    M, and for M₀ → 0 the best is c = Σ_p u⁺_p s_p ÷ tr(A M). Where A is not homogeneous, c is 1.

    Args:
        factor: L at M; most: Σ_p u⁺_p s_p, at most.
    """
    if not np.isfinite(most):
        return -np.inf
    gradient, degree = factor @ factor.T, _degree(problem.criterion, m, factor)
    found = [_bound_at(problem, m, gradient, most)]
    if degree is not None and most > 0.0:
        times = most / float(np.sum(gradient * m))
        scale = times**-degree
        # What a product of powers may be off by is taken off.
        found.append(_bound_at(problem, times * m, scale * gradient, scale * most * (1 + 1e-14)))
    return max(found)


def _bound_at(problem: Problem, m: Matrix, gradient: Matrix, most: float) -> float:
    held = float(np.sum(gradient * (m - problem.base)))
    bound = problem.criterion.value(m) + held - most
    return bound - 1e-12 * (abs(bound) + abs(held))


def _degree(criterion: Criterion, m: Matrix, factor: Float[np.ndarray, "d r"]) -> float | None:
    """g with A(c M) = c^−g A(M); None where there is none. At 4 M all rounding is the same."""
    with np.errstate(divide="ignore", invalid="ignore"):
        fourth = criterion.score_factor(4.0 * m) / factor
    ratio = fourth[np.isfinite(fourth)]
    if len(ratio) == 0 or not np.allclose(ratio, ratio[0], rtol=1e-14, atol=0.0):
        return None
    return float(-np.log2(ratio[0]))


def unit_of(criterion: Criterion, value: float, dim: int) -> float:
    """What a certificate of 1 is in f, for small ones: f itself for tr(W M⁻¹), d for −log det M."""
    step = 1e-6 * max(abs(value), 1e-12)
    share = criterion.certificate(value, value - step, dim)
    return step / share if share else max(abs(value), 1e-300)
