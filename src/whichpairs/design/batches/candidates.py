"""The pairs that matter just now: what a solve works on between two passes.

Pairs of one kind (`kinds`) are one candidate with a multiplicity, where limits make no difference
between them (`Candidates.by_kind`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int64

from whichpairs.design.exact.in_order import in_order
from whichpairs.design.exact.products import squared_lengths
from whichpairs.design.problem.belief import PairWeights
from whichpairs.design.problem.criterion import Matrix
from whichpairs.design.problem.kinds import first_of_kind
from whichpairs.design.problem.limits import Limits
from whichpairs.design.problem.space import PairSpace

CHUNK = 8192
"""Pairs of a partial sum, always: sums do not depend on the number of threads."""


@dataclass(frozen=True)
class Copies:
    """The pairs behind candidates that stand for several.

    Args:
        keys: of all pairs, rising; of: the candidate that stands for each; rank: its number among
            those of that candidate, from 0.
    """

    keys: Int64[np.ndarray, " pairs"]
    of: Int64[np.ndarray, " pairs"]
    rank: Int64[np.ndarray, " pairs"]


@dataclass(frozen=True)
class Candidates:
    """A few pairs of a space, by key, with all that a solve asks of them.

    Args:
        keys: of the pairs, rising; pairs: (n, 2); z: √w_p z_p, so that a pair's information is z
            zᵀ.
        costs: c_p; prompt, group: numbers (group −1 is none).
        least: labels that must be picked (0 or 1); most: labels that may be, k for one pair.
        copies: the pairs that candidates stand for, each for as many as `most` ÷ k; None where each
            is one pair. (`keys` are then of the first of each.)
    """

    keys: Int64[np.ndarray, " n"]
    pairs: Int64[np.ndarray, "n 2"]
    z: Float[np.ndarray, "n d"]
    costs: Float[np.ndarray, " n"]
    prompt: Int64[np.ndarray, " n"]
    group: Int64[np.ndarray, " n"]
    least: Float[np.ndarray, " n"]
    most: Float[np.ndarray, " n"]
    threads: int = 1
    copies: Copies | None = None

    @classmethod
    def of(
        cls,
        space: PairSpace,
        weights: PairWeights,
        limits: Limits,
        keys: Int64[np.ndarray, " n"],
        threads: int = 1,
        *,
        bare: bool = False,
    ) -> "Candidates":
        """The pairs with these keys (rising, distinct).

        Args:
            bare: without z, (n, 0): for the limits alone.
        """
        pairs = space.from_keys(keys)
        z = np.empty((len(keys), 0 if bare else space.dim))

        def fill(part: slice) -> None:
            apart = space.differences(pairs[part])
            z[part] = apart * np.sqrt(weights(apart))[:, None]

        for _ in in_order(fill, () if bare else _parts(len(keys)), threads):
            pass
        prompt = np.searchsorted(space.starts, pairs[:, 0], side="right") - 1
        groups = limits.groups
        group = np.full(len(keys), -1) if groups is None else groups.of[prompt]
        least = np.isin(keys, space.keys(limits.must)).astype(np.float64)
        costs = limits.costs(pairs)
        most = np.full(len(keys), float(limits.repeats))
        return cls(keys, pairs, z, costs, prompt, group, least, most, threads)

    def by_kind(self) -> "Candidates":
        """The same with one candidate a kind of pairs: equal in z up to sign, in cost and in group.
        A pair that must be picked is a kind of its own."""
        if self.copies is not None:
            return self
        first, own = first_of_kind(self.z), np.arange(len(self))
        if np.array_equal(first, own):
            return self
        parts = np.stack([first, self.group, self.costs.view(np.int64), own * (self.least > 0.0)])
        _, lead, kind = np.unique(parts, axis=1, return_index=True, return_inverse=True)
        rising = np.argsort(lead)
        place = np.empty_like(rising)
        place[rising] = np.arange(len(rising))
        of = place[kind.ravel()]
        together = np.argsort(of, kind="stable")
        begin = np.searchsorted(of[together], np.arange(len(rising)))
        rank = np.empty(len(self), np.int64)
        rank[together] = own - begin[of[together]]
        some = self.subset(lead[rising])
        most = np.bincount(of, self.most)
        return replace(some, most=most, copies=Copies(self.keys, of, rank))

    def subset(self, chosen: Bool[np.ndarray, " n"] | Int64[np.ndarray, " some"]) -> "Candidates":
        """Some of them, by a mask or by rising places."""
        names = ("keys", "pairs", "z", "costs", "prompt", "group", "least", "most")
        some = {name: getattr(self, name)[chosen] for name in names}
        return Candidates(**some, threads=self.threads)

    def __len__(self) -> int:
        return len(self.keys)

    def scores(self, factor: Float[np.ndarray, "d r"]) -> Float[np.ndarray, " n"]:
        """−∂f/∂u_p = ‖Lᵀ z_p‖²."""
        work = in_order(
            lambda part: squared_lengths(self.z[part], factor),
            _parts(len(self)),
            self.threads,
        )
        return np.concatenate([np.empty(0), *work])

    def information(self, counts: Float[np.ndarray, " n"]) -> Matrix:
        """Σ_p u_p z_p z_pᵀ."""
        used = np.flatnonzero(counts)

        def part_of(part: slice) -> np.ndarray:
            z = self.z[used[part]]
            return z.T @ (z * counts[used[part]][:, None])

        total = np.zeros((self.z.shape[1], self.z.shape[1]))
        for some in in_order(part_of, _parts(len(used)), self.threads):
            total += some
        return total

    def places(self, keys: Int64[np.ndarray, " some"]) -> Int64[np.ndarray, " some"]:
        """Where these keys, all of them there, stand: the candidates that stand for them."""
        at = np.searchsorted(self.every, keys).astype(np.int64)
        return at if self.copies is None else self.copies.of[at]

    def counts(self, batch: Int64[np.ndarray, " labels"]) -> Int64[np.ndarray, " n"]:
        """Labels of each, in a batch of keys, all of them there."""
        return np.bincount(self.places(batch), minlength=len(self)).astype(np.int64)

    @property
    def every(self) -> Int64[np.ndarray, " pairs"]:
        """The keys of all pairs that candidates stand for, rising."""
        return self.keys if self.copies is None else self.copies.keys

    def keys_of(self, chosen: Bool[np.ndarray, " n"]) -> Int64[np.ndarray, " pairs"]:
        """The keys of all pairs that these candidates stand for, rising."""
        return self.keys[chosen] if self.copies is None else self.every[chosen[self.copies.of]]

    def labels(self, counts: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " labels"]:
        """The keys of a batch, one a label, rising. A second label of a pair comes after a first
        one of all that are equal to it."""
        if self.copies is None:
            return np.repeat(self.keys, counts)
        of, rank = self.copies.of, self.copies.rank
        many = np.bincount(of, minlength=len(self))
        each, more = counts // many, counts % many
        return np.repeat(self.every, each[of] + (rank < more[of]))

    @cached_property
    def cheapest(self) -> float:
        """The least cost of a pair."""
        return float(self.costs.min(initial=np.inf))


def _parts(count: int) -> Iterator[slice]:
    for at in range(0, count, CHUNK):
        yield slice(at, min(at + CHUNK, count))
