"""The pairs that matter just now: what a solve works on between two passes."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int64

from whichpairs.design.belief import PairWeights
from whichpairs.design.criterion import Matrix
from whichpairs.design.limits import Limits
from whichpairs.design.parallel import in_order
from whichpairs.design.rows import squared_lengths
from whichpairs.design.space import PairSpace

CHUNK = 8192
"""Pairs of a partial sum, always: sums do not depend on the number of threads."""


@dataclass(frozen=True)
class Candidates:
    """A few pairs of a space, by key, with all that a solve asks of them.

    Args:
        keys: of the pairs, rising; pairs: (n, 2); z: √w_p z_p, so that a pair's information is z zᵀ.
        costs: c_p; prompt, group: numbers (group −1 is none).
        least: labels that must be picked (0 or 1); repeats: k.
    """

    keys: Int64[np.ndarray, " n"]
    pairs: Int64[np.ndarray, "n 2"]
    z: Float[np.ndarray, "n d"]
    costs: Float[np.ndarray, " n"]
    prompt: Int64[np.ndarray, " n"]
    group: Int64[np.ndarray, " n"]
    least: Float[np.ndarray, " n"]
    repeats: int
    threads: int = 1

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
        return cls(keys, pairs, z, costs, prompt, group, least, limits.repeats, threads)

    def subset(self, chosen: Bool[np.ndarray, " n"] | Int64[np.ndarray, " some"]) -> "Candidates":
        """Some of them, by a mask or by rising places."""
        names = ("keys", "pairs", "z", "costs", "prompt", "group", "least")
        some = {name: getattr(self, name)[chosen] for name in names}
        return Candidates(**some, repeats=self.repeats, threads=self.threads)

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
        """Where these keys, all of them there, stand."""
        return np.searchsorted(self.keys, keys).astype(np.int64)

    @cached_property
    def cheapest(self) -> float:
        """The least cost of a pair."""
        return float(self.costs.min(initial=np.inf))


def _parts(count: int) -> Iterator[slice]:
    for at in range(0, count, CHUNK):
        yield slice(at, min(at + CHUNK, count))
