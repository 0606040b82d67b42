"""What a selection is predicted to reach, and what random batches would reach in its place, with
every advantage within the same limits. The gaps are `design.forecast.predicted_gap`'s, whatever
criterion picked."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from whichpairs.design import information
from whichpairs.design.batches.ordered import within
from whichpairs.design.batches.random import random_pairs
from whichpairs.design.forecast.predicted_gap import Reach
from whichpairs.design.forecast.random_reach import DRAWS
from whichpairs.design.problem.criterion import Criterion
from whichpairs.design.problem.space import Rows
from whichpairs.errors import UserError
from whichpairs.streams import Stream, stream

if TYPE_CHECKING:
    from whichpairs.workflow.select.stage import Desk

WORK, LEAST_DRAWS = 100_000, 4
"""Labels drawn for the mean over random batches within limits, at most; but some batches."""


@dataclass(frozen=True)
class Chance:
    """A selection beside random ones.

    Attributes:
        reach: predicted gaps; value: mean of the criterion over random batches.
    """

    reach: Reach
    value: float


def chance(desk: "Desk", picked: Rows, criterion: Criterion, *, at_random: bool) -> Chance:
    """What the batch is predicted to reach, and random in its place.

    Where more than the budget limits a batch, the batches drawn obey the same limits, and how many
    labels random would need is not looked for: what would grow with them is the user's to say.

    Args:
        criterion: the one that picked, or the gap's.
        at_random: the batch is itself a random one: its predicted gap is random's, an expectation,
            and not another draw of it. (So is one of every candidate.)
    """
    labels = len(picked)
    few = min(labels, desk.pairs.candidates)
    plain = desk.limits.only_budget and labels == few
    batches = None if plain else _limited(desk, labels)
    every = plain and labels == desk.pairs.candidates
    mine = None if at_random or every else picked
    if batches is None:
        batches = [_plain(desk, few, draw) for draw in range(DRAWS)]
        reach = desk.forecast.reach(mine, few, search=plain)
    else:
        drawn = batches
        reach = desk.forecast.reach(mine, labels, lambda k: drawn[k % len(drawn)], search=False)
    values = [
        criterion.value(desk.base + information(desk.pairs, batch, desk.weights))
        for batch in batches
    ]
    return Chance(reach, float(np.mean(values)))


def _draws(labels: int) -> int:
    return int(np.clip(WORK // max(labels, 1), LEAST_DRAWS, DRAWS))


def _plain(desk: "Desk", labels: int, draw: int) -> Rows:
    return random_pairs(desk.pairs, labels, stream(desk.seed, Stream.RANDOM_BATCHES, draw))


def _limited(desk: "Desk", labels: int) -> list[Rows] | None:
    """Random batches within the limits; None where random cannot fill them: it is set free of
    them."""
    try:
        return [_within(desk, draw) for draw in range(_draws(labels))]
    except UserError:
        return None


def _within(desk: "Desk", draw: int) -> Rows:
    rng = stream(desk.seed, Stream.RANDOM_BATCHES, draw)
    return within(
        desk.pairs, desk.settings.budget, desk.limits, lambda some, n: random_pairs(some, n, rng)
    )
