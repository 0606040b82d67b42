"""Greedy D-optimal choice of pairs as published: whom the solver's speed and batches are compared
with.

Three ways to the same picks: of all pairs, always the one whose label adds most to log det M, which
is the one with the largest q = zᵀM⁻¹z. `naive_greedy` makes every gain anew for every pick,
`accelerated_greedy` keeps them as scalars, `lazy_greedy` uses that gains only fall. Each picks a
pair once at most; gains that float32 cannot tell apart are made again in float64, and what is equal
there (to `TIE`) goes by key, so that rounding decides nothing.

Sources: Guo et al. 2019, arXiv:1901.06080; Minoux 1978 for the lazy one.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int64
from threadpoolctl import threadpool_limits

from whichpairs.bench.methods.greedy_scan import (
    Crew,
    OutOfTime,
    Queue,
    Table,
    by_size,
    centred,
    first_gains,
    place_of,
    triangle,
)
from whichpairs.design.problem.criterion import DOptimal, Matrix
from whichpairs.design.problem.limits import check_budget
from whichpairs.design.problem.space import PairSpace, Rows, is_member
from whichpairs.design.sweep.kernel import UNIT

TIE = 1e-10
"""Gains this close, as a share, are equal."""

CHUNK = 4096
"""Pairs whose z a thread holds at once; completions, for the first gains of lazy greedy."""


@dataclass(frozen=True)
class GreedyRun:
    """What a greedy method picked, and at what cost.

    Attributes:
        pairs: in the order of picks, (k, 2).
        value: −log det M of the base and these pairs, float64.
        seconds_start: until the first gains of all pairs are there (0 pairs are picked by then).
        seconds_picks: from there to the end.
        evaluations: gains made or brought up to date after the start.
        finished: False where the deadline came first; `pairs` then are the first picks.
    """

    pairs: Rows
    value: float
    seconds_start: float
    seconds_picks: float
    evaluations: int
    finished: bool

    @property
    def pairs_per_second(self) -> float:
        """Gains made or brought up to date per second of picking."""
        return self.evaluations / max(self.seconds_picks, 1e-9)


def naive_greedy(
    space: PairSpace,
    base: Matrix,
    weight: float,
    budget: int,
    threads: int = 2,
    deadline_s: float | None = None,
) -> GreedyRun:
    """Rank-one updates of M⁻¹, and every gain anew from its z for every pick: O(pairs · d²) a pick.

    Args:
        base: H₀, positive definite.
        weight: w, a label's information is w z zᵀ (β²/4 before anything is known).
        budget: picks; threads: of the scan.
        deadline_s: stop after this many seconds; None never.

    Raises:
        UserError: the budget is not between 1 and the candidates.
    """
    return _run(_Naive, space, _Design(base, weight), budget, threads, deadline_s)


def accelerated_greedy(
    space: PairSpace,
    base: Matrix,
    weight: float,
    budget: int,
    threads: int = 2,
    deadline_s: float | None = None,
) -> GreedyRun:
    """Scalar gains, a Sherman–Morrison update of each for every pick: O(pairs + rows · d) a pick.

    It holds φ and the gains in float32: 4 (rows · d + pairs) bytes. Arguments as `naive_greedy`.
    """
    return _run(_Accelerated, space, _Design(base, weight), budget, threads, deadline_s)


def lazy_greedy(
    space: PairSpace,
    base: Matrix,
    weight: float,
    budget: int,
    threads: int = 2,
    deadline_s: float | None = None,
) -> GreedyRun:
    """A priority queue of old gains; only what may be the best is brought up to date (Minoux).

    It holds 12 bytes a pair, and 24 for each that was brought up to date. Arguments as
    `naive_greedy`.
    """
    return _run(_Lazy, space, _Design(base, weight), budget, threads, deadline_s)


class _Design:
    """M and M⁻¹ of the pairs picked so far, float64."""

    def __init__(self, base: Matrix, weight: float) -> None:
        self.m = np.array(base, np.float64)
        self.inverse = np.linalg.inv(self.m)
        self.weight = weight

    def take(self, z: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
        """Add w z zᵀ; returns v, with which M⁻¹ ← M⁻¹ − v vᵀ."""
        v = self.inverse @ z
        v /= np.sqrt(1.0 / self.weight + z @ v)
        self.m += self.weight * np.outer(z, z)
        self.inverse -= np.outer(v, v)
        return np.asarray(v)

    @property
    def factor(self) -> Matrix:
        """L, where M⁻¹ = L Lᵀ."""
        return np.linalg.cholesky(0.5 * (self.inverse + self.inverse.T))

    def gains(self, z: Float[np.ndarray, "pairs d"]) -> Float[np.ndarray, " pairs"]:
        """zᵀM⁻¹z in float64."""
        return np.einsum("ij,ij->i", z @ self.inverse, z)


class _Search(Protocol):
    """A way to the best pair."""

    evaluations: int

    def __init__(self, space: PairSpace, design: _Design, crew: Crew) -> None: ...

    def best(self) -> int:
        """The key of the pair with the largest gain, ties by key."""

    def took(self, key: int, v: Float[np.ndarray, " d"]) -> None:
        """That it is picked, and the design changed."""


def _run(
    begin: Callable[[PairSpace, _Design, Crew], _Search],
    space: PairSpace,
    design: _Design,
    budget: int,
    threads: int,
    deadline_s: float | None,
) -> GreedyRun:
    check_budget(budget, space.candidates)
    started = begun = time.perf_counter()
    picked: list[int] = []
    search = None
    with threadpool_limits(1), ThreadPoolExecutor(max_workers=threads) as pool:
        crew = Crew(pool, threads, deadline_s)
        try:
            search = begin(space, design, crew)
            begun = time.perf_counter()
            while len(picked) < budget:
                crew.check()
                picked.append(search.best())
                z = space.differences(space.from_keys(np.array(picked[-1:])))[0]
                v = design.take(z)
                if len(picked) < budget:
                    search.took(picked[-1], v)
        except OutOfTime:
            pass
    ended = time.perf_counter()
    begun = ended if search is None else begun
    pairs = space.from_keys(np.array(picked, np.int64))
    value = DOptimal().value(design.m)
    evaluations = 0 if search is None else search.evaluations
    finished = len(picked) == budget
    return GreedyRun(pairs, value, begun - started, ended - begun, evaluations, finished)


def _settled(keys: Int64[np.ndarray, " n"], gains: Float[np.ndarray, " n"]) -> int:
    """The key of the largest gain, ties by key."""
    return int(keys[gains >= gains.max() * (1.0 - TIE)].min())


class _Naive:
    """Nothing is kept between picks."""

    def __init__(self, space: PairSpace, design: _Design, crew: Crew) -> None:
        self.space, self.design, self.crew, self.evaluations = space, design, crew, 0
        self.taken = space.excluded
        self.work = [
            (some, m)
            for prompts, m in by_size(space)
            for some in np.array_split(prompts, -(-len(prompts) * m * (m - 1) // (2 * CHUNK)))
        ]

    def best(self) -> int:
        factor = self.design.factor.astype(np.float32)
        slack = 8.0 * UNIT * np.sqrt(self.space.dim)
        found = self.crew(lambda share: self._near(*share, factor, slack), self.work)
        self.evaluations += self.space.all_pairs
        top = max(float(gains.max(initial=0.0)) for _, gains in found)
        keys = np.concatenate([keys[gains >= top * (1.0 - slack)] for keys, gains in found])
        z = self.space.differences(self.space.from_keys(keys))
        return _settled(keys, self.design.gains(z))

    def _near(
        self, prompts: np.ndarray, m: int, factor: np.ndarray, slack: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """The largest gains of these prompts, by key."""
        i, j = triangle(m)
        x = centred(self.space, prompts, m)
        h = (x[:, i] - x[:, j]).reshape(-1, self.space.dim) @ factor
        gains = np.einsum("ij,ij->i", h, h)
        start = self.space.starts[prompts][:, None]
        keys = self.space.keys(np.stack([start + i, start + j], axis=-1).reshape(-1, 2))
        if len(self.taken):
            free = ~is_member(keys, self.taken)
            keys, gains = keys[free], gains[free]
        kept = gains >= gains.max(initial=0.0) * (1.0 - slack)
        return keys[kept], gains[kept]

    def took(self, key: int, v: Float[np.ndarray, " d"]) -> None:
        self.taken = np.union1d(self.taken, [key])


class _Accelerated:
    """A table of scalars."""

    def __init__(self, space: PairSpace, design: _Design, crew: Crew) -> None:
        self.space, self.design, self.evaluations = space, design, 0
        self.table = Table(space, design.factor, crew)

    def best(self) -> int:
        pairs = self.table.near()
        return _settled(self.space.keys(pairs), self.design.gains(self.space.differences(pairs)))

    def took(self, key: int, v: Float[np.ndarray, " d"]) -> None:
        self.table.drop(self.space.from_keys(np.array([key])))
        self.table.update(v)
        self.evaluations += self.space.all_pairs


class _Lazy:
    """A queue of old gains."""

    def __init__(self, space: PairSpace, design: _Design, crew: Crew) -> None:
        self.space, self.design, self.crew, self.evaluations = space, design, crew, 0
        self.pick = 0
        sizes = space.sizes
        self.before = np.concatenate([[0], np.cumsum(sizes * (sizes - 1) // 2)])
        self.queue = Queue(self._bounds(), lambda ranks: space.keys(space.unrank(ranks)))

    def _bounds(self) -> np.ndarray:
        """The first gains by rank, float32, a little above the true ones."""
        bounds = np.empty(self.space.all_pairs, np.float32)
        factor = self.design.factor.astype(np.float32)

        def fill(share: tuple[np.ndarray, int]) -> None:
            prompts, m = share
            ranks = self.before[prompts][:, None] + np.arange(m * (m - 1) // 2)
            bounds[ranks] = first_gains(centred(self.space, prompts, m), factor)

        self.crew(
            fill,
            [
                (some, m)
                for prompts, m in by_size(self.space)
                for some in np.array_split(prompts, -(-len(prompts) * m // CHUNK))
            ],
        )
        bounds += np.float32(8.0 * UNIT * np.sqrt(self.space.dim)) * bounds.max()
        bounds[self._ranks(self.space.from_keys(self.space.excluded))] = -np.inf
        return bounds

    def _ranks(self, pairs: Rows) -> np.ndarray:
        """Where eligible ones of these pairs stand among all pairs."""
        prompt = np.searchsorted(self.space.starts, pairs[:, 0], side="right") - 1
        m = self.space.sizes[prompt]
        i, j = (pairs - self.space.starts[prompt][:, None]).T
        return np.asarray(self.before[prompt] + place_of(i, j, m))[m > 0]

    def _evaluate(self, keys: np.ndarray) -> np.ndarray:
        def some(part: np.ndarray) -> np.ndarray:
            return self.design.gains(self.space.differences(self.space.from_keys(part)))

        return np.concatenate(self.crew(some, np.array_split(keys, -(-len(keys) // CHUNK))))

    def best(self) -> int:
        key, made = self.queue.best(self.pick, self._evaluate, TIE)
        self.evaluations += made
        return key

    def took(self, key: int, v: Float[np.ndarray, " d"]) -> None:
        self.pick += 1
