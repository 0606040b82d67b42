"""What further labels will buy, by budget: random's gap, a design's, and how many labels it saves.

The gap after n labels is (β/2) tr(Ī M⁻¹), to which a finite sample adds: the fit's own choice of its
ridge, and the curvature that a second-order expansion leaves out. `finite_sample` is that factor,
fitted where the truth is known (docs/log.md).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression
from threadpoolctl import threadpool_limits

from whichpairs.design.baselines import random_pairs
from whichpairs.design.belief import PairWeights
from whichpairs.design.criterion import Linear, Matrix
from whichpairs.design.information import information
from whichpairs.design.space import PairSpace, Rows

DRAWS = 20
"""Random orders behind random's mean."""


def finite_sample(labels: int, dim: int) -> float:
    """Realised ÷ predicted gap of the default estimator after so many labels.

    Without labels there is no fit: the policy is the reference, and the prior's gap is exact.
    """
    excess, fade = FINITE_SAMPLE
    return 1.0 + excess * float(np.exp(-labels / (fade * dim))) if labels else 1.0


FINITE_SAMPLE = (0.5, 30.0)
"""The excess at few labels, and the labels a dimension over which it fades by e."""

_EQUAL = 1e-9
"""Logarithms of gaps that differ by less are the same: sums in another order."""


@dataclass(frozen=True)
class Outlook:
    """Predicted gaps by budget, in units of J.

    Attributes:
        budgets: further labels, rising; random, design: predicted gap after them.
        now: predicted gap with the labels that are there.
    """

    budgets: np.ndarray
    random: np.ndarray
    design: np.ndarray
    now: float

    def random_needs(self) -> np.ndarray:
        """The least labels with which random has the design's gap at each budget, log-log between
        budgets: the first budget where random has it there already, ∞ where not even at the last.
        """
        falling = isotonic_regression(np.log(self.random), increasing=False).x
        at = np.log(self.budgets)
        needs = np.full(len(at), np.inf)
        for k, target in enumerate(np.log(self.design)):
            there = np.flatnonzero(falling <= target + _EQUAL)
            if len(there) == 0:
                continue
            to = there[0]
            if to == 0:
                needs[k] = self.budgets[0]
                continue
            before, after = falling[to - 1], falling[to]
            way = min((before - target) / (before - after), 1.0)
            needs[k] = np.exp(at[to - 1] + way * (at[to] - at[to - 1]))
        return needs

    def saved(self) -> np.ndarray:
        """Random's labels ÷ the design's at equal gap."""
        return self.random_needs() / self.budgets

    def flattens(self, share: float = 0.05) -> int | None:
        """The least budget from which on every doubling lowers the design's gap by less than `share`
        of today's, log-log between budgets; None where the last one on the curve still lowers it."""
        known = 2 * self.budgets <= self.budgets[-1]
        at, gaps = np.log(self.budgets), np.log(self.design)
        doubled = np.exp(np.interp(np.log(2.0) + at[known], at, gaps))
        steep = np.flatnonzero(self.design[known] - doubled >= share * self.now)
        first = int(steep[-1]) + 1 if len(steep) else 0
        return int(self.budgets[first]) if first < np.count_nonzero(known) else None


def outlook(
    space: PairSpace,
    beta: float,
    gap: Linear,
    weights: PairWeights,
    base: Matrix,
    known: int,
    budgets: Sequence[int],
    design: Callable[[int], Sequence[Rows]],
    *,
    seed: int,
    draws: int = DRAWS,
) -> Outlook:
    """Predicted gaps at `budgets` further labels.

    Args:
        base: M of what is known; known: labels behind it.
        design: the batches that might be picked with a budget, over which its gap is averaged;
            none where it would pick at random: its gap is then random's, and not another draw of it.
    """
    with threadpool_limits(1):  # many small matrices: more threads only wait for one another
        drawn = _random_values(space, gap, weights, base, budgets, seed, draws)
        designed = drawn.copy()
        for k, n in enumerate(budgets):
            batches = design(n)
            if batches:
                sums = [information(space, pairs, weights) for pairs in batches]
                designed[k] = np.mean([gap.value(base + m) for m in sums])
        now = beta / 2 * gap.value(base) * finite_sample(known, space.dim)
    correct = np.array([finite_sample(known + n, space.dim) for n in budgets]) * beta / 2
    # On average labels do no harm, whatever a finite sample adds: nothing is worse than now.
    random, ours = np.minimum(drawn * correct, now), np.minimum(designed * correct, now)
    return Outlook(np.asarray(budgets), random, ours, now)


def _random_values(
    space: PairSpace,
    gap: Linear,
    weights: PairWeights,
    base: Matrix,
    budgets: Sequence[int],
    seed: int,
    draws: int,
) -> np.ndarray:
    """Random's mean f at every budget; a draw is one order of the pairs, its prefixes the batches."""
    values = np.empty((draws, len(budgets)))
    for draw in range(draws):
        order = random_pairs(space, budgets[-1], np.random.default_rng([seed, draw]))
        m, done = base.copy(), 0
        for k, n in enumerate(budgets):
            m += information(space, order[done:n], weights)
            values[draw, k], done = gap.value(m), n
    return np.asarray(values.mean(axis=0))
