"""No batch is worse than the mean random batch by its own criterion: drawn, compared, replaced.

Random batches obey all limits (`within`). A batch that is worse than their mean is replaced by the
best of them, and that is said (`VersusRandom.replaced`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from whichpairs.design.batches.ordered import within
from whichpairs.design.batches.random import random_pairs
from whichpairs.design.problem.criterion import value_or_infinity
from whichpairs.design.problem.information import information
from whichpairs.design.problem.problem import Problem
from whichpairs.design.problem.space import PairSpace, Rows
from whichpairs.errors import UserError
from whichpairs.streams import Stream, stream

DRAWS = 20
"""Random batches behind a mean."""

CLEAR, FIRST = 8.0, 5
"""Where a batch has MANY labels, draws end after `FIRST` if it is better than their mean by `CLEAR`
standard deviations of one draw, and than each of them."""

MANY = 2**12
"""Labels of a batch whose draws take time."""

ROUNDING = 1e-9
"""Values that differ by less, as a share, are equal: sums in another order."""


@dataclass(frozen=True)
class VersusRandom:
    """A batch beside random ones.

    Attributes:
        found: f of the batch as it was found; random: mean f of random batches; draws: how many.
        replaced: whether it was worse than that mean, and the best random one took its place.
    """

    found: float
    random: float
    draws: int
    replaced: bool


def random_batches(problem: Problem, draws: int, seed: int = 0) -> Iterator[Rows]:
    """Random batches within the limits; those that the limits leave no way to fill in a random
    order are left out."""
    for draw in range(draws):
        rng = stream(seed, Stream.NO_WORSE, draw)

        def order(some: PairSpace, n: int, rng: np.random.Generator = rng) -> Rows:
            return random_pairs(some, n, rng)

        try:
            yield within(problem.space, problem.budget, problem.limits, order, exact=False)
        except UserError:
            continue


def value_of(problem: Problem, pairs: Rows) -> float:
    """f of a batch; ∞ where it leaves M singular."""
    m = problem.base + information(problem.space, pairs, problem.weights)
    return value_or_infinity(problem.criterion, m)


def no_worse_than_random(
    problem: Problem,
    pairs: Rows,
    value: float,
    better: Callable[[Rows], Rows] = lambda pairs: pairs,
) -> tuple[Int64[np.ndarray, "taken 2"], VersusRandom | None]:
    """The batch, or the best of some random ones where it is worse than their mean.

    Args:
        pairs: a pair as often as it is to be labelled; value: its f.
        better: betters a random batch that takes the place of this one.

    Returns:
        The batch, and how it stood; None where no random batch could be drawn.
    """
    drawn: list[Rows] = []
    values: list[float] = []
    for batch in random_batches(problem, DRAWS):
        drawn.append(batch)
        values.append(value_of(problem, batch))
        if len(pairs) > MANY and len(values) == FIRST and _clear(value, np.array(values)):
            break
    if not values:
        return pairs, None
    mean = float(np.mean(values))
    worse = value > mean + ROUNDING * abs(mean) if np.isfinite(mean) else False
    if worse:
        best = drawn[int(np.argmin(values))]
        other = better(best)
        pairs = other if value_of(problem, other) <= min(values) else best
    return pairs, VersusRandom(value, mean, len(values), worse)


def _clear(value: float, values: np.ndarray) -> bool:
    spread = float(values.std(ddof=1)) if np.isfinite(values).all() else 0.0
    return bool(value < values.min() and value < values.mean() - CLEAR * spread)
