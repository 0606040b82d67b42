"""The best mixture of a few designs: what makes Frank–Wolfe fully corrective.

    minimise f(M₀ + Σ_t α_t V_t) over α ≥ 0, Σ_t α_t = 1

where V_t is the information of vertex t. Each new vertex is mixed with all earlier ones at once
(simplicial decomposition), so a few linear programmes do what dozens of plain steps do.

Source: [vonhohenbalken1977]; theory, section 6.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from whichpairs.design.problem.criterion import Criterion, Matrix
from whichpairs.design.solver.certificate import unit_of
from whichpairs.errors import UserError

FAR = 1e6
"""Stands for f where M is singular, in units of what f is scaled by: the line search backs off."""

STARTS, STUCK = 6, 0.03
"""Where f falls by orders of magnitude (M nearly singular at the start), SLSQP may end anywhere: as
long as the gap is more than a share `STUCK` of f's unit (`unit_of`), it begins again, `STARTS`
times at most."""

SHARES = 0.5 ** np.arange(1, 21)
"""Of the vertex that f falls most steeply towards, in the mixture to begin again at: the best of
these."""


def mixture(
    criterion: Criterion,
    base: Matrix,
    parts: Sequence[Matrix],
    start: Float[np.ndarray, " parts"],
    *,
    precision: float = 1e-9,
) -> Float[np.ndarray, " parts"]:
    """α from `start` (where M is positive definite) to the minimiser, to a relative `precision` of
    f.

    f is scaled by its unit at the start (`unit_of`), or by |f| where that is more: f is no better
    known than to ε|f|, and may be 0 where it is a logarithm.
    """
    if len(parts) == 1:
        return np.ones(1)
    stack = np.stack([part.ravel() for part in parts])
    first = criterion.value(_at(base, stack, start))
    scale = max(abs(first), unit_of(criterion, first, len(base)))

    def value_and_slope(alpha: np.ndarray) -> tuple[float, np.ndarray]:
        m = _at(base, stack, np.maximum(alpha, 0.0))
        try:
            value, factor = criterion.value(m), criterion.score_factor(m)
        except UserError:
            return FAR, np.zeros(len(alpha))
        return value / scale, -(stack @ (factor @ factor.T).ravel()) / scale

    alpha, (value, slope) = start, value_and_slope(start)
    for _ in range(STARTS):
        found = _slsqp(value_and_slope, alpha, precision)
        after = value_and_slope(found)
        if after[0] <= value:
            alpha, (value, slope) = found, after
        best = int(np.argmin(slope))
        unit = unit_of(criterion, value * scale, len(base)) / scale
        if slope @ alpha - slope[best] <= STUCK * unit:
            break
        ahead = [alpha + t * (np.eye(len(alpha))[best] - alpha) for t in SHARES]
        reached = [value_and_slope(trial)[0] for trial in ahead]
        if min(reached) >= value:
            break
        alpha = ahead[int(np.argmin(reached))]
        value, slope = value_and_slope(alpha)
    return alpha


def _slsqp(
    value_and_slope: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start: Float[np.ndarray, " parts"],
    precision: float,
) -> Float[np.ndarray, " parts"]:
    found = minimize(
        value_and_slope,
        start,
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * len(start),
        constraints={
            "type": "eq",
            "fun": lambda alpha: alpha.sum() - 1.0,
            "jac": lambda alpha: np.ones(len(alpha)),
        },
        options={"maxiter": 200, "ftol": precision},
    )
    alpha = np.maximum(found.x, 0.0)
    alpha[alpha < 1e-12] = 0.0
    return np.asarray(alpha / alpha.sum())


def _at(base: Matrix, stack: np.ndarray, alpha: np.ndarray) -> Matrix:
    return base + (alpha @ stack).reshape(base.shape)
