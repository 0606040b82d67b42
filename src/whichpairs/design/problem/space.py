"""The candidate pairs of a pool, never written down: rows of a feature matrix and their prompts.

A pair is two row numbers (i, j) with i < j of one prompt; its key is ``i * N + j`` for N rows, so
that the order of keys is the order of pairs, and ties anywhere are broken by it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int64, Shaped

from whichpairs.design.problem.shards import Shards
from whichpairs.errors import UserError
from whichpairs.streams import Stream, stream

Rows = Int64[np.ndarray, "pairs 2"]
"""Pairs as row numbers, i < j."""

BLOCK_NUMBERS = 2**21
"""Feature values a block of a pass aims at: 32 768 rows of 64 dimensions."""


@dataclass(frozen=True)
class PairSpace:
    """All pairs of two completions of one eligible prompt, less the excluded ones.

    Args:
        features: φ, one row a completion (float16, float32 or float64; may be memory-mapped, or in
            `Shards`).
        starts: prompt p owns rows ``starts[p]:starts[p + 1]``.
        eligible: prompts that pairs may be picked from (all, when None): held-out ones are not.
        excluded: keys of pairs that may not be picked again.

    Raises:
        UserError: the prompts do not cover the rows.
    """

    features: Shaped[np.ndarray, "rows d"] | Shards
    starts: Int64[np.ndarray, " prompts_plus_one"]
    eligible: Bool[np.ndarray, " prompts"] | None = None
    excluded: Int64[np.ndarray, " pairs"] = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        covers = self.starts[0] == 0 and self.starts[-1] == len(self.features)
        if not covers or np.any(np.diff(self.starts) < 0):
            raise UserError(
                "prompt starts must rise from 0 to the number of feature rows",
                f"got {self.starts[0]} to {self.starts[-1]} for {len(self.features)} rows",
                "compute the features of this pool again",
            )
        object.__setattr__(self, "excluded", np.unique(self.excluded))

    @property
    def dim(self) -> int:
        """Feature dimension d."""
        return int(self.features.shape[1])

    @property
    def block_rows(self) -> int:
        """Rows a block of a pass aims at."""
        return int(np.clip(BLOCK_NUMBERS // max(self.dim, 1), 1024, 32768))

    @property
    def rows(self) -> int:
        """Number of completions N."""
        return int(self.features.shape[0])

    @cached_property
    def sizes(self) -> Int64[np.ndarray, " prompts"]:
        """Completions m(x) of each prompt, 0 where the prompt is not eligible."""
        sizes = np.diff(self.starts)
        return sizes if self.eligible is None else np.where(self.eligible, sizes, 0)

    @cached_property
    def _pairs_before(self) -> Int64[np.ndarray, " prompts_plus_one"]:
        pairs = self.sizes * (self.sizes - 1) // 2
        return np.concatenate([[0], np.cumsum(pairs)]).astype(np.int64)

    @property
    def all_pairs(self) -> int:
        """Pairs of eligible prompts, excluded ones counted."""
        return int(self._pairs_before[-1])

    @cached_property
    def candidates(self) -> int:
        """Pairs that can be picked."""
        i = self.excluded // max(self.rows, 1)
        prompt = np.searchsorted(self.starts, i, side="right") - 1
        return self.all_pairs - int(np.count_nonzero(self.sizes[prompt]))

    def keys(self, pairs: Rows) -> Int64[np.ndarray, " pairs"]:
        """The keys of `pairs`."""
        return pairs[:, 0] * self.rows + pairs[:, 1]

    def from_keys(self, keys: Int64[np.ndarray, " pairs"]) -> Rows:
        """The pairs that have these keys."""
        return np.stack([keys // self.rows, keys % self.rows], axis=1)

    def differences(self, pairs: Rows) -> Float[np.ndarray, "pairs d"]:
        """z = φ_i − φ_j in float64."""
        left = np.asarray(self.features[pairs[:, 0]], dtype=np.float64)
        left -= self.features[pairs[:, 1]]
        return left

    def prompt_means(self, rows: Int64[np.ndarray, " n"]) -> Float[np.ndarray, "n d"]:
        """The mean of φ over the completions of each row's prompt, float64."""
        owner = np.searchsorted(self.starts, rows, side="right") - 1
        prompts, back = np.unique(owner, return_inverse=True)
        means = np.stack(
            [
                np.asarray(self.features[lo:hi], np.float64).mean(axis=0)
                for lo, hi in zip(self.starts[prompts], self.starts[prompts + 1], strict=True)
            ]
        )
        return np.asarray(means[back])

    def some_prompts(self, count: int, seed: int) -> "PairSpace":
        """This space with `count` of its prompts that have pairs, drawn at random (all, if
        fewer)."""
        usable = np.flatnonzero(self.sizes >= 2)
        if len(usable) <= count:
            return self
        kept = stream(seed, Stream.SOME_PROMPTS).choice(usable, count, replace=False)
        eligible = np.zeros(len(self.sizes), dtype=bool)
        eligible[kept] = True
        return PairSpace(self.features, self.starts, eligible, self.excluded)

    def without(self, pairs: Rows) -> "PairSpace":
        """This space less some pairs."""
        keys = np.concatenate([self.excluded, self.keys(pairs)])
        return PairSpace(self.features, self.starts, self.eligible, keys)

    def unrank(self, ranks: Int64[np.ndarray, " pairs"]) -> Rows:
        """The pairs at these places (0 to `all_pairs` − 1) in the order of prompts and rows."""
        prompt = np.searchsorted(self._pairs_before, ranks, side="right") - 1
        m = self.sizes[prompt]
        k = ranks - self._pairs_before[prompt]
        # Row i of an upper triangle of size m begins at place i m − i (i + 1) / 2.
        i = np.floor(m - 0.5 - np.sqrt(np.maximum((m - 0.5) ** 2 - 2.0 * k, 0.0))).astype(np.int64)
        i -= i * m - i * (i + 1) // 2 > k
        i += (i + 1) * m - (i + 1) * (i + 2) // 2 <= k
        j = k - (i * m - i * (i + 1) // 2) + i + 1
        return np.stack([i, j], axis=1) + self.starts[prompt][:, None]

    def not_excluded(self, pairs: Rows) -> Bool[np.ndarray, " pairs"]:
        """Which of `pairs` may be picked."""
        return ~is_member(self.keys(pairs), self.excluded)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Runs of prompts (first, last + 1) of about `block_rows` rows, all eligible rows
        covered."""
        first = 0
        prompts = len(self.starts) - 1
        while first < prompts:
            last = (
                int(
                    np.searchsorted(self.starts, self.starts[first] + self.block_rows, side="right")
                )
                - 1
            )
            last = min(max(last, first + 1), prompts)
            if self.sizes[first:last].any():
                yield first, last
            first = last


def is_member(
    keys: Int64[np.ndarray, " n"], sorted_keys: Int64[np.ndarray, " m"]
) -> Bool[np.ndarray, " n"]:
    """Which `keys` stand in `sorted_keys`."""
    if len(sorted_keys) == 0:
        return np.zeros(len(keys), dtype=bool)
    at = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    return np.asarray(sorted_keys[at] == keys)
