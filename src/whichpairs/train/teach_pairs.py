"""Which pairs without a label a fit teaches a policy on.

All rules choose among the same candidates: pairs of two distinct texts of one training prompt that
nobody has answered. They differ in how sure the fit is of what it teaches, and in how many prompts
it reaches.
"""

from collections.abc import Callable
from heapq import heapify, heappop, heappush

import numpy as np
from jaxtyping import Float, Int64

from whichpairs.design.batches.random import random_pairs
from whichpairs.design.problem.space import PairSpace, Rows
from whichpairs.errors import UserError

OF = 5
"""The rejected completion is the worst of so many, not of all [xiao2025]."""

Score = Float[np.ndarray, " rows"]


def at_random(space: PairSpace, score: Score, count: int, rng: np.random.Generator) -> Rows:
    """Uniformly over the candidates, without replacement."""
    if count > space.candidates:
        return np.empty((0, 2), np.int64)
    return random_pairs(space, count, rng)


def widest(space: PairSpace, score: Score, count: int, rng: np.random.Generator) -> Rows:
    """The pairs whose scores lie farthest apart, over the whole pool: the fit's largest |margin|.

    Every prompt hands out its pairs from the widest on: with positions in falling order of score,
    (i, j) is followed by (i, j − 1), and where j is the last by (i + 1, j) too, so that each comes
    once.
    """
    ranked, left = _ranked(space, score), set(space.excluded.tolist())
    falling, rows, starts = score[ranked].tolist(), ranked.tolist(), space.starts.tolist()
    heap: list[tuple[float, int, int, int]] = []
    for p in np.flatnonzero(space.sizes >= 2).tolist():
        i, j = starts[p], starts[p + 1] - 1
        heap.append((falling[j] - falling[i], p, i, j))
    heapify(heap)
    found: list[tuple[int, int]] = []
    while heap and len(found) < count:
        _, p, i, j = heappop(heap)
        a, b = sorted((rows[i], rows[j]))
        if a * space.rows + b not in left:
            found.append((a, b))
        if j - 1 > i:
            heappush(heap, (falling[j - 1] - falling[i], p, i, j - 1))
        if j == starts[p + 1] - 1 and i + 1 < j:
            heappush(heap, (falling[j] - falling[i + 1], p, i + 1, j))
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def best_worst(space: PairSpace, score: Score, count: int, rng: np.random.Generator) -> Rows:
    """The best completion of every prompt against its worst, then the second best against the
    second worst, and so on: no completion comes twice. Prompts in random order, the same in every
    round."""
    ranked, m = _ranked(space, score), space.sizes
    rounds = m // 2
    prompt = np.repeat(np.arange(len(m)), rounds)
    turn = np.arange(len(prompt)) - np.repeat(np.cumsum(rounds) - rounds, rounds)
    pairs = _pairs(
        ranked[space.starts[prompt] + turn], ranked[space.starts[prompt] + m[prompt] - 1 - turn]
    )
    place = rng.permutation(len(m))[prompt]
    pairs = pairs[np.lexsort((place, turn))]
    return pairs[space.not_excluded(pairs)][:count]


def best_worst_of_5(space: PairSpace, score: Score, count: int, rng: np.random.Generator) -> Rows:
    """The best of every prompt against the worst of `OF` others, drawn from all that are worse;
    then the second best, and so on. Prompts in random order, the same in every round."""
    ranked, m = _ranked(space, score), space.sizes
    order = rng.permutation(len(m))
    found, have, turn = [np.empty((0, 2), np.int64)], 0, 0
    while have < count and (some := order[m[order] > turn + 1]).size:
        at = space.starts[some] + turn
        pairs = _pairs(ranked[at], ranked[at + 1 + _worst_of(m[some] - 1 - turn, rng)])
        found.append(pairs[space.not_excluded(pairs)])
        have, turn = have + len(found[-1]), turn + 1
    return np.concatenate(found)[:count]


PAIRS: dict[str, Callable[[PairSpace, Score, int, np.random.Generator], Rows]] = {
    "random": at_random,
    "margin": widest,
    "best-worst": best_worst,
    "best-worst-of-5": best_worst_of_5,
}
"""The rules, by the name that a user gives."""


def choose(
    how: str,
    scores_of: Callable[[], Score],
    starts: Int64[np.ndarray, " prompts_plus_one"],
    count: int,
    rng: np.random.Generator,
    *,
    eligible: np.ndarray | None = None,
    labelled: Rows | None = None,
    same: Int64[np.ndarray, " rows"] | None = None,
) -> Rows:
    """The pairs, as rows i < j, by the rule called `how`.

    Args:
        scores_of: gives the fit's score β φᵀθ of every row; asked only by rules that need it.
        starts: prompt p owns rows ``starts[p]:starts[p + 1]``.
        eligible: prompts that may be taught on (all, when None).
        labelled: pairs that have a label, (k, 2).
        same: of every row the first row of its prompt with the same text (all differ, when None).

    Raises:
        UserError: fewer pairs than `count` are there.
    """
    rows = int(starts[-1])
    same = np.arange(rows) if same is None else same
    kept = np.flatnonzero(same == np.arange(rows))
    known = np.empty((0, 2), np.int64) if labelled is None else same[labelled]
    known = np.searchsorted(kept, np.sort(known[known[:, 0] != known[:, 1]], axis=1))
    # No rule reads features: the space only counts pairs.
    space = PairSpace(
        np.empty((len(kept), 0), np.float32), np.searchsorted(kept, starts), eligible
    ).without(known)
    score = np.zeros(len(kept)) if how == "random" else scores_of()[kept]
    found = PAIRS[how](space, score, count, rng)
    if len(found) < count:
        there = space.candidates if how in ("random", "margin") else len(found)
        raise UserError(
            "only pairs of two distinct texts of one training prompt can be taught, each once, "
            "and none "
            "that has a label",
            f"asked for {count}; by {how} there are {there}",
            f"pass --teach {there}" if there else "generate more completions",
        )
    return kept[found]


def _ranked(space: PairSpace, score: Score) -> Int64[np.ndarray, " rows"]:
    """Rows by prompt, in falling order of score within it, equal ones by row."""
    prompt = np.repeat(np.arange(len(space.starts) - 1), np.diff(space.starts))
    return np.lexsort((-score, prompt))


def _pairs(left: np.ndarray, right: np.ndarray) -> Rows:
    return np.sort(np.stack([left, right], axis=1).astype(np.int64), axis=1)


def _worst_of(there: Int64[np.ndarray, " n"], rng: np.random.Generator) -> np.ndarray:
    """The largest of `OF` distinct places out of 0 … there − 1 (of all, where they are fewer).

    Floyd's sampling without replacement, for all at once (Bentley and Floyd 1987).
    """
    drawn = np.full((len(there), OF), -1)
    for k in range(OF):
        top = np.maximum(there - OF + k, 0)
        place = rng.integers(0, top + 1)
        drawn[:, k] = np.where((drawn[:, :k] == place[:, None]).any(axis=1), top, place)
    return np.where(there <= OF, there - 1, drawn.max(axis=1))
