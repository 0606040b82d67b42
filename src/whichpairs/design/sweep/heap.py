"""The best candidates that a pass has seen so far, and enough kinds of them.

Where many pairs are equal (`kinds`), the best by score may all be of one kind, and a design needs
several. So a heap keeps no more copies of a kind than a batch could use, and goes on down the
scores until it has so many kinds as a design may need.
"""

import numpy as np
from jaxtyping import Float, Int64

from whichpairs.design.problem.kinds import KINDS_A_DIMENSION, first_of_kind
from whichpairs.design.problem.limits import Limits
from whichpairs.design.problem.space import PairSpace

MOST = 2**22
"""Pairs that are kept for the sake of their kinds, at most."""

Scored = tuple[Int64[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]
"""Keys, scores, and scores ÷ costs."""


class Heap:
    """The `keep` best (score ÷ cost, key) seen so far that reach a floor, ties by smaller key.

    Args:
        spend: what the labels of its pairs may cost together; the heap keeps as many copies of a
            pair as that buys.
        limits: say what a copy costs, and whether copies are interchangeable.
    """

    def __init__(
        self, keep: int, floor: float, spend: float, space: PairSpace, limits: Limits
    ) -> None:
        self.keep, self.floor, self.spend = keep, floor, spend
        self.space, self.limits = space, limits
        self._full, self._left_out = False, 0.0
        self._parts: list[Scored] = []
        self._held, self._room = 0, keep

    @property
    def ceiling(self) -> float:
        """No pair that the heap has left out, and that a batch has a use for, has a score ÷ cost
        above."""
        return max(self.floor, 0.0 if self.limits.interchangeable else self._left_out)

    def add(self, *some: np.ndarray) -> None:
        """Take in some more: keys, scores, ratios."""
        self._parts.append((some[0], some[1], some[2]))
        self._held += len(some[0])
        if self._held > 2 * self._room:
            self.close()

    def close(self) -> Scored:
        """What is kept."""
        parts = self._parts or [(np.empty(0, np.int64), np.empty(0), np.empty(0))]
        keys, scores, ratios = (np.concatenate(x) for x in zip(*parts, strict=True))
        # What is kept must not depend on when the heap was closed: once it has left out some,
        # always.
        if len(keys) > self.keep or self._full:
            self._full = True
            chosen = _top(keys, ratios, min(self.keep, len(keys)))
            cut = len(chosen) < len(keys)
            if np.isfinite(self.spend) and self._too_few_kinds(ratios[chosen]):
                chosen, cut = self._varied(keys, ratios)
            keys, scores, ratios = keys[chosen], scores[chosen], ratios[chosen]
            if cut:
                self.floor = max(self.floor, float(ratios.min(initial=np.inf)))
        self._parts, self._held = [(keys, scores, ratios)], len(keys)
        self._room = max(self.keep, len(keys))
        return keys, scores, ratios

    @property
    def _kinds(self) -> int:
        return KINDS_A_DIMENSION * self.space.dim

    def _too_few_kinds(self, ratios: Float[np.ndarray, " kept"]) -> bool:
        """Whether equal scores may hide that few kinds are kept, or more copies than there is use
        for."""
        ends = np.flatnonzero(np.diff(np.sort(ratios)))
        longest = np.diff(np.concatenate([[-1], ends, [len(ratios) - 1]])).max(initial=0)
        return bool(len(ends) + 1 <= self._kinds or longest > self._uses(self._dearest))

    @property
    def _dearest(self) -> float:
        costs = self.limits.row_costs
        return 1.0 if costs is None else 2.0 * float(costs.max())

    def _uses(self, cost: np.ndarray | float) -> np.ndarray:
        """Copies that a batch may use of a pair with this cost."""
        return np.asarray(np.ceil(self.spend / (np.asarray(cost) * self.limits.repeats)))

    def _varied(
        self, keys: Int64[np.ndarray, " n"], ratios: Float[np.ndarray, " n"]
    ) -> tuple[Int64[np.ndarray, " some"], bool]:
        """Places of what to keep, and whether anything is left out for its score."""
        order = np.lexsort((keys, -ratios))
        rank = self._rank(keys[order], ratios[order])
        costs = self.limits.costs(self.space.from_keys(keys[order]))
        useful = rank < self._uses(costs)
        if not useful.all():
            self._left_out = max(self._left_out, float(ratios[order[~useful]].max()))
        order, first = order[useful], (rank == 0)[useful]
        among = int(np.searchsorted(np.cumsum(first), self._kinds, side="right"))
        count = min(max(self.keep, min(among, MOST)), len(order))
        return np.sort(order[:count]), count < len(order)

    def _rank(
        self, keys: Int64[np.ndarray, " n"], ratios: Float[np.ndarray, " n"]
    ) -> Int64[np.ndarray, " n"]:
        """How many of its kind stand before each pair; they stand in falling order of their
        ratios."""
        rank = np.zeros(len(keys), np.int64)
        same = np.concatenate([[False], np.diff(ratios) == 0.0, [False]])
        tied = np.flatnonzero(same[1:] | same[:-1])
        place = first_of_kind(self.space.differences(self.space.from_keys(keys[tied])))
        # Pairs that are equal but for their costs are not of one kind.
        together = np.lexsort((np.arange(len(tied)), ratios[tied], place))
        apart = (np.diff(place[together]) != 0) | (np.diff(ratios[tied][together]) != 0.0)
        begin = np.concatenate([[True], apart])[: len(tied)]
        at = np.arange(len(tied))
        rank[tied[together]] = at - np.maximum.accumulate(np.where(begin, at, 0))
        return rank


def _top(
    keys: Int64[np.ndarray, " n"], values: Float[np.ndarray, " n"], count: int
) -> Int64[np.ndarray, " count"]:
    """Places of the `count` largest values, ties by smaller key."""
    least = np.partition(values, len(values) - count)[len(values) - count]
    above, level = np.flatnonzero(values > least), np.flatnonzero(values == least)
    level = level[np.argsort(keys[level], kind="stable")][: count - len(above)]
    return np.sort(np.concatenate([above, level]))
