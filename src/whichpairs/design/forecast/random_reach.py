"""What a design will buy, before a label is paid for: predicted gaps, and what random would need.

`predicted_gap` is (β/2) f (theory (8) and (10)). The expected f of a
random batch is not f of the uniform measure, so random's outlook is the mean over drawn batches.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from whichpairs.design.batches.random import random_pairs
from whichpairs.design.problem.belief import PairWeights
from whichpairs.design.problem.criterion import Criterion, Matrix
from whichpairs.design.problem.information import information
from whichpairs.design.problem.space import PairSpace
from whichpairs.streams import Stream, stream

DRAWS = 20
"""Random batches drawn for an expectation."""

GROWTH = 1.25
"""Steps of the search for the labels that random needs, before it bisects."""


@dataclass(frozen=True)
class RandomOutlook:
    """What random batches are expected to reach.

    Attributes:
        value: mean of f over the drawn batches of the budget.
        standard_error: of that mean.
        labels_needed: labels with which random's mean f reaches the target; None where it cannot,
            or where more than `searched` would be needed.
        searched: the largest number of labels looked at.
    """

    value: float
    standard_error: float
    labels_needed: int | None
    searched: int


def random_outlook(
    space: PairSpace,
    criterion: Criterion,
    weights: PairWeights,
    base: Matrix,
    budget: int,
    target: float,
    *,
    seed: int,
    draws: int = DRAWS,
    reach: int = 64,
) -> RandomOutlook:
    """Random's mean f at `budget`, and the labels it needs for f ≤ `target`.

    Each draw is one random order of the candidates, and its prefixes are the batches: f falls along
    it, so the search is one pass of growing prefixes and a bisection.

    Args:
        target: the value to reach, e.g. f of the chosen batch.
        reach: random is given up to `reach` times the budget.
    """
    most = min(space.candidates, budget * reach)
    rngs = [stream(seed, Stream.RANDOM_BATCHES, draw) for draw in range(draws)]
    orders = [random_pairs(space, most, rng) for rng in rngs]
    sums = [information(space, order[:budget], weights) for order in orders]
    values = np.array([criterion.value(base + m) for m in sums])
    at, mean = budget, float(values.mean())
    error = float(values.std(ddof=1) / np.sqrt(draws)) if draws > 1 else float("nan")
    if mean - target <= 1e-9 * abs(target):
        return RandomOutlook(mean, error, budget, most)
    while at < most:
        step = min(max(int(at * GROWTH), at + 1), most)
        grown = [
            m + information(space, order[at:step], weights)
            for m, order in zip(sums, orders, strict=True)
        ]
        if _mean(criterion, base, grown) <= target:
            needed = _bisect(space, criterion, weights, base, orders, sums, at, step, target)
            return RandomOutlook(mean, error, needed, most)
        at, sums = step, grown
    return RandomOutlook(mean, error, None, most)


def _mean(criterion: Criterion, base: Matrix, sums: list[np.ndarray]) -> float:
    return float(np.mean([criterion.value(base + m) for m in sums]))


def _bisect(
    space: PairSpace,
    criterion: Criterion,
    weights: PairWeights,
    base: Matrix,
    orders: list[np.ndarray],
    sums: list[Float[np.ndarray, "d d"]],
    low: int,
    high: int,
    target: float,
) -> int:
    """The least prefix in (low, high] whose mean f is at most `target`."""
    while high - low > 1:
        middle = (low + high) // 2
        grown = [
            m + information(space, order[low:middle], weights)
            for m, order in zip(sums, orders, strict=True)
        ]
        if _mean(criterion, base, grown) <= target:
            high = middle
        else:
            low, sums = middle, grown
    return high
