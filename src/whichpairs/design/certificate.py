"""What no batch can be better than: the lower bound behind every certificate (design.md, section 3)."""

import numpy as np
from jaxtyping import Float

from whichpairs.design.criterion import Criterion, Matrix
from whichpairs.design.problem import Problem


def lower_bound(
    problem: Problem, m: Matrix, factor: Float[np.ndarray, "d r"], most: float
) -> float:
    """f(M) + tr(A (M − M₀)) − Σ_p u⁺_p s_p, at M or at the multiple c M where that is largest.

    Scores at c M are r times those at M when A is homogeneous, as for tr(W M⁻¹) and −log det M; then
    c = Σ_p u⁺_p s_p ÷ tr(A M), for M₀ → 0.

    Args:
        factor: L at M; most: Σ_p u⁺_p s_p, at most.
    """
    criterion, gradient = problem.criterion, factor @ factor.T
    found = []
    for times in (1.0, most / float(np.sum(gradient * m))):
        at = criterion.score_factor(times * m)
        there = at @ at.T
        ratio = float(np.trace(there) / np.trace(gradient))
        if not np.allclose(there, ratio * gradient, rtol=1e-9, atol=1e-12 * np.abs(there).max()):
            continue
        held = float(np.sum(there * (times * m - problem.base)))
        # What rounding may hide is taken off; the ratio itself is known to 1e-12.
        bound = criterion.value(times * m) + held - ratio * most * (1.0 + 1e-11)
        found.append(bound - 1e-12 * (abs(bound) + abs(held)))
    return max(found)


def unit_of(criterion: Criterion, value: float, dim: int) -> float:
    """What a certificate of 1 is in f, for small ones: f itself for tr(W M⁻¹), d for −log det M."""
    step = 1e-6 * max(abs(value), 1e-12)
    share = criterion.certificate(value, value - step, dim)
    return step / share if share else max(abs(value), 1e-300)
