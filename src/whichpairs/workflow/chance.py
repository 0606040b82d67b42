"""What random batches would reach in place of a selection, with every advantage within its limits."""

from typing import TYPE_CHECKING

import numpy as np

from whichpairs.design import RandomOutlook, information, random_outlook
from whichpairs.design.baselines import random_pairs
from whichpairs.design.prediction import DRAWS
from whichpairs.design.within import within
from whichpairs.errors import UserError

if TYPE_CHECKING:
    from whichpairs.workflow.select import Desk

WORK, LEAST_DRAWS = 100_000, 4
"""Labels drawn for the mean over random batches within limits, at most; but some batches."""


def chance(desk: "Desk", labels: int, target: float) -> RandomOutlook:
    """Random's mean f, and the labels it would need for `target`.

    Where more than the budget limits a batch, the batches drawn obey the same limits, and how many
    labels random would need is not looked for: what would grow with them is the user's to say.

    Args:
        labels: of the selection.
    """
    plain = (desk.pairs, desk.gap, desk.weights, desk.base)
    few = min(labels, desk.pairs.candidates)
    if desk.limits.only_budget and labels == few:
        return random_outlook(*plain, few, target, seed=desk.seed)
    draws = int(np.clip(WORK // max(labels, 1), LEAST_DRAWS, DRAWS))
    try:
        values = np.array([_value(desk, draw) for draw in range(draws)])
    except UserError:  # random cannot fill these limits: it is set free of them
        return random_outlook(*plain, few, target, seed=desk.seed)
    mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(draws))
    return RandomOutlook(mean, error, labels if mean <= target else None, labels)


def _value(desk: "Desk", draw: int) -> float:
    rng = np.random.default_rng([desk.seed, draw])
    batch = within(
        desk.pairs, desk.settings.budget, desk.limits, lambda some, n: random_pairs(some, n, rng)
    )
    return float(desk.gap.value(desk.base + information(desk.pairs, batch, desk.weights)))
