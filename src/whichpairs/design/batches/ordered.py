"""Batches in an order of one's own, within limits: what random and the other baselines do.

Pairs are taken in the order in which they are drawn, where they break no limit; prompts without
room drop out of what is drawn from, so that a rare group or a tight limit costs no longer search.
What must be picked comes first, then each group's least share, then whatever fits. A second label
of a pair comes after every first one. Of a uniform order that is random with every advantage:
uniform among what the limits still allow.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int64

from whichpairs.design.batches.candidates import Candidates
from whichpairs.design.batches.integral import Ledger
from whichpairs.design.batches.linear_programme import whole_counts
from whichpairs.design.problem.belief import PairWeights
from whichpairs.design.problem.limits import Budget, Limits, check
from whichpairs.design.problem.space import PairSpace, Rows
from whichpairs.errors import UserError

Draw = Callable[[PairSpace, int], Rows]
"""The first n candidates of a space, in the order of liking; n is at most the candidates."""

DRY = 6
"""Draws that bring nothing, each twice as large as the one before, until a budget of costs is
spent."""

EXACT = 20_000
"""Candidates up to which a batch that the order cannot fill is looked for by integer
programming."""


def within(
    space: PairSpace, budget: Budget, limits: Limits, draw: Draw, *, exact: bool = True
) -> Rows:
    """A batch of pairs in the order of `draw`; a pair stands as often as it is to be labelled.

    Args:
        budget: labels, which are spent in full, or, where pairs have costs, what they may cost.
        exact: look for the best liked batch by integer programming where the order fills none.

    Raises:
        UserError: the limits cannot be met together, or the order cannot fill the batch within
            them.
    """
    check(space, budget, limits)
    if limits.only_budget and limits.repeats == 1:
        return draw(space, int(budget))
    return _Filling(space, budget, limits, draw).batch(exact=exact)


class _Filling:
    """A batch in the making: `taken` are the keys of its labels, in the order taken."""

    def __init__(self, space: PairSpace, budget: Budget, limits: Limits, draw: Draw) -> None:
        self.space, self.budget, self.limits, self.draw = space, budget, limits, draw
        none = np.empty((space.rows, 0), np.float32)
        self.blank = PairSpace(none, space.starts, space.eligible, space.excluded)
        rows = np.full(space.rows, 0.5) if limits.row_costs is None else limits.row_costs
        self.row_costs: Float[np.ndarray, " rows"] = np.asarray(rows, np.float64)
        self.owner = np.repeat(np.arange(len(space.sizes)), np.diff(space.starts))
        self.taken = space.keys(limits.must)
        self.ledger = self._ledger(self.taken)

    def batch(self, *, exact: bool) -> Rows:
        """Fill it."""
        groups = self.limits.groups
        for g in np.flatnonzero(self.ledger.low > 0.0):
            assert groups is not None
            for most in range(1, self.limits.repeats + 1):
                self._take(groups.of == g, most, int(g))
        for most in range(1, self.limits.repeats + 1):
            self._take(self.space.sizes >= 2, most, None)
        if self.ledger.missing() is not None:
            if not exact:
                raise self._out_of_reach()
            self._exactly()
        return self.space.from_keys(self.taken)

    def _take(self, part: Bool[np.ndarray, " prompts"], most: int, group: int | None) -> None:
        """Labels of these prompts, at most `most` a pair, until the group has its least share or
        the budget is spent."""
        seen, dry = self.space.excluded, 0
        while True:
            left = self._left(group)
            some = PairSpace(self.space.features, self.space.starts, part & self._open(), seen)
            wanted = left / (2.0 * float(self.row_costs.mean()))
            count = min((2 * int(np.ceil(wanted)) + 64) << dry, some.candidates)
            spent = not self.limits.unit_costs and group is None and dry > DRY
            if left <= 0.0 or count == 0 or spent:
                return
            keys = self.space.keys(self.draw(some, count))
            dry = 0 if self._add(keys, most, group) else dry + 1
            seen = np.union1d(seen, keys)

    def _left(self, group: int | None) -> float:
        ledger = self.ledger
        rest = float(ledger.budget - ledger.spent)
        if group is None:
            return rest if not self.limits.unit_costs else float(np.floor(rest + 1e-9))
        return min(float(ledger.low[group] - ledger.in_group[group]), rest)

    def _add(self, keys: np.ndarray, most: int, group: int | None) -> int:
        """Take what fits of these, in their order; how many that was."""
        ledger = self._ledger(np.concatenate([self.taken, keys]), self.taken)
        new = []
        for p, key in zip(ledger.candidates.places(keys).tolist(), keys.tolist(), strict=True):
            if group is not None and ledger.in_group[group] >= ledger.low[group]:
                break
            if ledger.counts[p] < most and ledger.fits(p):
                ledger.add(p)
                new.append(key)
        self.taken = np.concatenate([self.taken, np.array(new, np.int64)])
        self.ledger = ledger
        return len(new)

    def _ledger(self, keys: np.ndarray, taken: np.ndarray | None = None) -> Ledger:
        """The ledger of `taken` (of all of `keys`, when None) on the pairs with these keys."""
        unique = np.unique(keys)
        c = Candidates.of(self.blank, PairWeights(1.0), self.limits, unique)
        places = c.places(keys if taken is None else taken)
        counts = np.bincount(places, minlength=len(c)).astype(np.int64)
        return Ledger.of(c, counts, self.budget, self.limits)

    def _open(self) -> Bool[np.ndarray, " prompts"]:
        """Prompts that may still take a label."""
        limits, ledger = self.limits, self.ledger
        rows = (self.taken // self.space.rows, self.taken % self.space.rows)
        cost = self.row_costs.copy()
        if limits.per_completion is not None:
            at_end = np.bincount(np.concatenate(rows), minlength=self.space.rows)
            cost[at_end >= limits.per_completion] = np.inf
        cheapest = two_least(cost, self.owner, self.space.starts)
        room = ledger.spent + cheapest <= ledger.budget
        if limits.per_prompt is not None:
            labels = np.bincount(self.owner[rows[0]], minlength=len(room))
            room &= labels < limits.per_prompt
        if limits.groups is not None:
            full = np.append(ledger.high - ledger.in_group, np.inf)
            room &= cheapest <= full[limits.groups.of]
        return np.asarray(room & (self.space.sizes >= 2))

    def _exactly(self) -> None:
        """Where taking in order leaves a batch unfilled: the best liked one that is filled."""
        space, whole = self.space, None
        if self.limits.unit_costs and space.candidates <= EXACT:
            order = space.keys(self.draw(space, space.candidates))
            c = Candidates.of(self.blank, PairWeights(1.0), self.limits, np.sort(order))
            liking = np.empty(len(c))
            liking[c.places(order)] = np.arange(len(order), 0, -1)
            whole = whole_counts(c, liking, self.budget, self.limits)
        if whole is None:
            raise self._out_of_reach()
        self.taken = np.repeat(order, whole[c.places(order)])

    def _out_of_reach(self) -> UserError:
        ledger = self.ledger
        return UserError(
            f"{ledger.missing()} must be within reach of this criterion's order of pairs",
            f"its fullest batch has {len(self.taken)} labels at a cost of {ledger.spent:g} of "
            f"{self.budget:g}",
            "loosen the limits on prompts, completions or groups, or change the budget",
        )


def two_least(cost: np.ndarray, owner: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The sum of each prompt's two least costs, (prompts,); ∞ where it has fewer rows.

    Args:
        cost: of every row; owner: its prompt; starts: as in `PairSpace`.
    """
    order = np.lexsort((cost, owner))
    least = np.append(cost[order], np.inf)
    at, many = starts[:-1], np.diff(starts)
    return np.where(many >= 2, least[at] + least[np.minimum(at + 1, len(cost))], np.inf)


def part_of(
    batch: Int64[np.ndarray, "labels 2"],
    must: Int64[np.ndarray, "must 2"],
    count: int,
    rng: np.random.Generator,
) -> Int64[np.ndarray, "part 2"]:
    """`count` distinct pairs of a batch at random, those of `must` aside (fewer, where it has
    fewer)."""
    spare = np.unique(batch, axis=0)
    taken = {tuple(pair) for pair in must.tolist()}
    free = np.array([tuple(pair) not in taken for pair in spare.tolist()], dtype=bool)
    return np.asarray(rng.permutation(spare[free])[:count])
