"""What further labels will buy, by budget: random's gap, a design's, and how many labels it
saves."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

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
        """The least budget from which on every doubling lowers the design's gap by less than
        `share` of today's, log-log between budgets; None where the last one on the curve still
        lowers it."""
        known = 2 * self.budgets <= self.budgets[-1]
        at, gaps = np.log(self.budgets), np.log(self.design)
        doubled = np.exp(np.interp(np.log(2.0) + at[known], at, gaps))
        steep = np.flatnonzero(self.design[known] - doubled >= share * self.now)
        first = int(steep[-1]) + 1 if len(steep) else 0
        return int(self.budgets[first]) if first < np.count_nonzero(known) else None
