"""The gains of all pairs as scalars, kept up to date pick by pick: the inner loop of accelerated
greedy.

A pair's gain is q_ij = zᵀ M⁻¹ z. After a pick with v = M⁻¹ z* / √(1/w + q*) it is q_ij − (c_i −
c_j)², c_i = vᵀ φ_i (Sherman–Morrison), so that a sweep is one product of all completions with v and
three operations a pair. The layout is what makes that fast in NumPy: prompts of one size lie side
by side, a row for each place (i, j) of the triangle, so that every operation runs along thousands
of prompts.

Source: Guo et al. 2019, "Accelerated Experimental Design for Pairwise Comparisons",
arXiv:1901.06080.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Float32, Int64

from whichpairs.design.problem.space import PairSpace, Rows
from whichpairs.design.sweep.kernel import UNIT

TILE = 1 << 17
"""Gains updated at once: they and their squares stay in a core's cache of 2 MB."""

FILL = 1 << 12
"""Completions read, centred and laid out at once."""

OCTAVES, STEPS = 40, 64
"""Levels of the lazy queue: `STEPS` for every halving of the gain, `OCTAVES` halvings in all."""

BATCH = 16
"""Stale gains brought up to date at once by lazy greedy, doubled while a pick takes more."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class OutOfTime(Exception):  # noqa: N818  (a signal inside the bench, no error of anyone)
    """The deadline has passed."""


class Crew:
    """Threads that share a deadline.

    Args:
        pool: the threads; count: how many; deadline_s: seconds from now, None for no limit.
    """

    def __init__(self, pool: ThreadPoolExecutor, count: int, deadline_s: float | None) -> None:
        self.pool, self.count = pool, count
        self.ends = np.inf if deadline_s is None else time.perf_counter() + deadline_s

    def check(self) -> None:
        """Raise `OutOfTime` after the deadline."""
        if time.perf_counter() >= self.ends:
            raise OutOfTime

    def __call__(self, work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """`work` of every item, in order."""

        def one(item: Item) -> Result:
            self.check()
            return work(item)

        items = list(items)
        alone = self.count == 1 or len(items) == 1
        return [one(item) for item in items] if alone else list(self.pool.map(one, items))


def by_size(space: PairSpace) -> Iterator[tuple[Int64[np.ndarray, " some"], int]]:
    """Prompts that have pairs, by their number of completions m."""
    for m in np.unique(space.sizes[space.sizes >= 2]):
        yield np.flatnonzero(space.sizes == m), int(m)


@lru_cache(maxsize=64)
def triangle(m: int) -> tuple[Int64[np.ndarray, " places"], Int64[np.ndarray, " places"]]:
    """i and j of the m (m − 1) / 2 places, in the order of keys."""
    i, j = np.triu_indices(m, 1)
    return i, j


def place_of(
    i: Int64[np.ndarray, " n"], j: Int64[np.ndarray, " n"], m: Int64[np.ndarray, " n"]
) -> Int64[np.ndarray, " n"]:
    """The place of completions i < j (counted from 0 in their prompt) in its triangle."""
    return np.asarray(i * m - i * (i + 1) // 2 + j - i - 1)


def centred(
    space: PairSpace, prompts: Int64[np.ndarray, " some"], m: int
) -> Float32[np.ndarray, "some m d"]:
    """φ less its mean over the prompt: the same differences, with less to round away."""
    rows = space.starts[prompts][:, None] + np.arange(m)
    wide = np.promote_types(space.features.dtype, np.float32)
    x = np.asarray(space.features[rows], dtype=wide)
    x -= x.mean(axis=1, keepdims=True)
    return x.astype(np.float32, copy=False)


def first_gains(
    x: Float32[np.ndarray, "some m d"], factor: Float32[np.ndarray, "d d"]
) -> Float32[np.ndarray, "some places"]:
    """‖h_i − h_j‖², h = x L, where M⁻¹ = L Lᵀ."""
    b, m, d = x.shape
    h = (x.reshape(b * m, d) @ factor).reshape(b, m, d)
    gram = np.matmul(h, h.transpose(0, 2, 1))
    n = np.ascontiguousarray(np.diagonal(gram, axis1=1, axis2=2))
    i, j = triangle(m)
    return np.asarray(n[:, i] + n[:, j] - 2.0 * gram[:, i, j])


@dataclass(frozen=True)
class Block:
    """Some prompts of one size m, and the gains of their pairs.

    Args:
        rows: the first row of each prompt, (prompts,).
        x: centred φ, (d, m · prompts), completion-major.
        gains: q, (places, prompts); −∞ for a pair that may not be picked.
        tops: the largest gain of each first completion i, (m − 1,).
    """

    rows: Int64[np.ndarray, " prompts"]
    m: int
    x: Float32[np.ndarray, "d completions"]
    gains: Float32[np.ndarray, "places prompts"]
    tops: Float32[np.ndarray, " firsts"]

    @classmethod
    def of(
        cls,
        space: PairSpace,
        prompts: Int64[np.ndarray, " some"],
        m: int,
        factor: Float32[np.ndarray, "d d"],
    ) -> "Block":
        """Read, centred and scored, without tops."""
        b = len(prompts)
        x = np.empty((space.dim, m, b), np.float32)
        gains = np.empty((m * (m - 1) // 2, b), np.float32)
        step = max(FILL // m, 1)
        for at in range(0, b, step):
            some = slice(at, at + step)
            local = centred(space, prompts[some], m)
            x[:, :, some] = local.transpose(2, 1, 0)
            gains[:, some] = first_gains(local, factor).T
        tops = np.empty(m - 1, np.float32)
        return cls(space.starts[prompts], m, x.reshape(space.dim, -1), gains, tops)

    def tiles(self) -> Iterator[tuple[int, slice]]:
        """Each first completion i, and the places of its pairs."""
        at = 0
        for i in range(self.m - 1):
            yield i, slice(at, at + self.m - 1 - i)
            at += self.m - 1 - i

    def find_tops(self) -> None:
        """The tops of the gains as they are."""
        for i, places in self.tiles():
            self.tops[i] = self.gains[places].max()

    def update(self, v: Float32[np.ndarray, " d"]) -> None:
        """q_ij ← q_ij − (c_i − c_j)², and the tops in the same sweep."""
        c = (v @ self.x).reshape(self.m, -1)
        room = np.empty((self.m - 1, c.shape[1]), np.float32)
        for i, places in self.tiles():
            square, gains = room[i:], self.gains[places]
            np.subtract(c[i + 1 :], c[i], out=square)
            np.multiply(square, square, out=square)
            np.subtract(gains, square, out=gains)
            self.tops[i] = gains.max()

    def reaching(self, floor: float) -> Rows:
        """The pairs with a gain of `floor` or more."""
        found = [np.empty((0, 2), np.int64)]
        for i, places in self.tiles():
            if self.tops[i] >= floor:
                after, prompt = np.nonzero(self.gains[places] >= floor)
                first = self.rows[prompt] + i
                found.append(np.stack([first, first + 1 + after], axis=1))
        return np.concatenate(found)


class Table:
    """The gains of all pairs of a space.

    Args:
        factor: L, where M⁻¹ = L Lᵀ.
    """

    def __init__(self, space: PairSpace, factor: Float[np.ndarray, "d d"], crew: Crew) -> None:
        self.space, self.crew, self.updates = space, crew, 0
        self.block_of = np.full(len(space.sizes), -1, np.int64)
        self.column_of = np.zeros(len(space.sizes), np.int64)
        narrow = np.ascontiguousarray(factor, np.float32)
        work = list(_shares(space, crew.count))
        for number, (prompts, _) in enumerate(work):
            self.block_of[prompts] = number
            self.column_of[prompts] = np.arange(len(prompts))
        self.blocks = crew(lambda share: Block.of(space, *share, narrow), work)
        self.drop(space.from_keys(space.excluded))
        crew(Block.find_tops, self.blocks)
        self.largest = self._top()

    def drop(self, pairs: Rows) -> None:
        """These may not be picked (from the next update on, for `near`)."""
        space = self.space
        prompt = np.searchsorted(space.starts, pairs[:, 0], side="right") - 1
        local = pairs - space.starts[prompt][:, None]
        places = place_of(local[:, 0], local[:, 1], space.sizes[prompt])
        for block, place, column in zip(
            self.block_of[prompt], places, self.column_of[prompt], strict=True
        ):
            if block >= 0:
                self.blocks[block].gains[place, column] = -np.inf

    def update(self, v: Float[np.ndarray, " d"]) -> None:
        """After a pick; v = M⁻¹ z* / √(1/w + q*)."""
        narrow = np.asarray(v, np.float32)
        self.crew(lambda block: block.update(narrow), self.blocks)
        self.updates += 1

    def near(self) -> Rows:
        """The largest gains: all that float32, after so many updates, cannot tell from the
        largest."""
        spread = np.sqrt(self.space.dim) + np.sqrt(self.updates)
        floor = self._top() - 4.0 * UNIT * spread * self.largest
        return np.concatenate([block.reaching(floor) for block in self.blocks])

    def _top(self) -> float:
        return max(float(block.tops.max()) for block in self.blocks)


def _shares(space: PairSpace, threads: int) -> Iterator[tuple[np.ndarray, int]]:
    """Prompts for each block: `TILE` gains a first completion, and an even share for every
    thread."""
    for prompts, m in by_size(space):
        blocks = -(-len(prompts) * (m - 1) // TILE)
        blocks = min(-(-blocks // threads) * threads, len(prompts))
        yield from ((some, m) for some in np.array_split(prompts, blocks))


ENTRY = np.dtype([("key", np.int64), ("gain", np.float64), ("stamp", np.int64)])
"""A pair of the queue: its key, its last gain, and the pick that was made for."""


class Queue:
    """Old gains, from which the largest of today's is found by making few of them anew.

    A heap by levels: the gains of a level lie within a factor of 2^(1/`STEPS`), levels are opened
    from the top, and within those open (the front) whatever is stale and may be the best is brought
    up to date, largest first, in batches: twice what a binary heap would for this pick and `BATCH`,
    at most.

    Args:
        bounds: no gain is above, by rank; −∞ for pairs that may not be picked.
        name: the keys of ranks.
    """

    def __init__(
        self, bounds: Float32[np.ndarray, " pairs"], name: Callable[[np.ndarray], np.ndarray]
    ) -> None:
        self.bounds, self.name = bounds, name
        self.largest = max(float(bounds.max()), 1e-30)
        level = self._level(bounds)
        self.order = np.argsort(level, kind="stable")
        self.ends = np.cumsum(np.bincount(level, minlength=OCTAVES * STEPS + 1))
        self.level = OCTAVES * STEPS + 1
        self.front = np.empty(0, ENTRY)
        self.fallen: list[np.ndarray] = []
        self.below: dict[int, list[np.ndarray]] = {}

    def best(
        self, pick: int, evaluate: Callable[[np.ndarray], np.ndarray], tie: float
    ) -> tuple[int, int]:
        """Take out the pair with the largest gain, ties (to a share `tie`) by key.

        Args:
            pick: number of the pick, from 0; evaluate: today's gains of these keys.

        Returns:
            Its key, and how many gains were made anew.
        """
        made, batch = 0, BATCH
        while True:
            gain, fresh = self.front["gain"], self.front["stamp"] == pick
            enough = float(gain[fresh].max(initial=-np.inf)) * (1.0 - tie)
            stale = np.flatnonzero(~fresh & (gain >= enough))
            if len(stale):
                if len(stale) > batch:
                    stale = stale[np.argpartition(gain[stale], len(stale) - batch)[-batch:]]
                self._bring_up(stale, pick, evaluate)
                made += len(stale)
                batch = BATCH + made
            elif self._level(np.array([enough]))[0] >= self.level:
                level = np.flatnonzero(fresh & (gain >= enough))
                at = level[np.argmin(self.front["key"][level])]
                key = int(self.front["key"][at])
                self.front = np.delete(self.front, at)
                return key, made
            else:
                self._open()

    def _bring_up(
        self, at: np.ndarray, pick: int, evaluate: Callable[[np.ndarray], np.ndarray]
    ) -> None:
        """Make these entries of the front anew; those below its level leave it."""
        gains = evaluate(self.front["key"][at])
        self.front["gain"][at], self.front["stamp"][at] = gains, pick
        low = at[self._level(gains) < self.level]
        if len(low):
            self.fallen.append(self.front[low])
            self.front = np.delete(self.front, low)

    def _open(self) -> None:
        """The front grows by the next level that has entries."""
        self._sort_fallen()
        untouched = int(np.searchsorted(self.ends, self._begin(self.level), side="left"))
        self.level = max([level for level in self.below if self.below[level]] + [untouched])
        ranks = self.order[self._begin(self.level) : int(self.ends[self.level])]
        ranks = ranks[self.bounds[ranks] > -np.inf]
        entries = np.empty(len(ranks), ENTRY)
        entries["key"], entries["gain"], entries["stamp"] = self.name(ranks), self.bounds[ranks], -1
        self.ends[self.level :] = self._begin(self.level)
        parts = [self.front, entries, *self.below.pop(self.level, [])]
        self.front = np.concatenate(parts)

    def _sort_fallen(self) -> None:
        if not self.fallen:
            return
        fallen = np.concatenate(self.fallen)
        level = self._level(fallen["gain"])
        order = np.argsort(level, kind="stable")
        levels, first = np.unique(level[order], return_index=True)
        for number, part in zip(levels, np.split(fallen[order], first[1:]), strict=True):
            self.below.setdefault(int(number), []).append(part)
        self.fallen = []

    def _begin(self, level: int) -> int:
        return int(self.ends[level - 1]) if level else 0

    def _level(self, gains: np.ndarray) -> np.ndarray:
        """Rises with the gain, rounded to float32: so all of a lower level are smaller."""
        share = np.asarray(gains, np.float32) / np.float32(self.largest)
        level = np.log2(np.maximum(share, np.float32(2.0**-OCTAVES))) + np.float32(OCTAVES)
        return np.clip(np.floor(level * STEPS), 0, OCTAVES * STEPS).astype(np.uint16)
