"""One pass over all candidate pairs: the best of them by score, without writing the others down.

With A = L Lᵀ every completion is mapped to h = φ L, and a pair scores w_p ‖h_i − h_j‖², which a
within-prompt Gram matrix gives (design.md, section 3). Blocks of prompts run on threads, each with
one BLAS thread, and are merged in their order: the result does not depend on the number of threads.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
from jaxtyping import Float, Float32, Int64

from whichpairs.design.belief import PairWeights, expected_slope
from whichpairs.design.space import PairSpace, Rows, is_member


@dataclass(frozen=True)
class Best:
    """The best pairs of a pass.

    Attributes:
        pairs: the candidates kept, by score in float64 (ties by key), best first.
        scores: their scores −∂f/∂u_p in float64.
        ceiling: no pair outside `pairs` scores more (0 where there are none outside).
    """

    pairs: Rows
    scores: Float[np.ndarray, " pairs"]
    ceiling: float


def best_pairs(
    space: PairSpace,
    factor: Float[np.ndarray, "d r"],
    weights: PairWeights,
    keep: int,
    threads: int = 1,
) -> Best:
    """The `keep` best candidate pairs by w_p ‖Lᵀ z_p‖².

    The stream is in float32; what it keeps is scored again in float64, and `ceiling` bounds what
    float32 may have hidden.
    """
    left = np.ascontiguousarray(factor, dtype=np.float32)
    heap = _Heap(keep)
    reach = 0.0
    with ThreadPoolExecutor(max_workers=threads) as pool:
        # Waves of a fixed size: the floor below which a block drops pairs is the same for any
        # number of threads, and so is the memory held.
        blocks = iter(space.blocks())
        while wave := list(islice(blocks, 8)):
            jobs = [pool.submit(_score_block, space, left, weights, heap.floor, *b) for b in wave]
            for job in jobs:
                keys, scores, longest = job.result()
                heap.add(keys, scores)
                reach = max(reach, longest)
    keys, _ = heap.close()
    pairs = space.from_keys(keys)
    exact = exact_scores(space, pairs, factor, weights)
    order = np.lexsort((keys, -exact))
    noise = 8.0 * space.dim * float(np.finfo(np.float32).eps) * reach
    ceiling = heap.floor + noise if len(keys) < space.candidates else 0.0
    return Best(pairs[order], exact[order], ceiling)


def exact_scores(
    space: PairSpace, pairs: Rows, factor: Float[np.ndarray, "d r"], weights: PairWeights
) -> Float[np.ndarray, " pairs"]:
    """w_p ‖Lᵀ z_p‖² in float64."""
    out = np.empty(len(pairs))
    for at in range(0, len(pairs), 65536):
        some = slice(at, at + 65536)
        z = space.differences(pairs[some])
        h = z @ factor
        out[some] = np.einsum("ij,ij->i", h, h) * weights(z)
    return out


class _Heap:
    """The `keep` best (score, key) seen so far, ties by smaller key."""

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.floor = 0.0
        self._keys: list[np.ndarray] = []
        self._scores: list[np.ndarray] = []
        self._held = 0

    def add(self, keys: Int64[np.ndarray, " n"], scores: Float32[np.ndarray, " n"]) -> None:
        self._keys.append(keys)
        self._scores.append(scores)
        self._held += len(keys)
        if self._held > 4 * self.keep:
            self.close()

    def close(self) -> tuple[np.ndarray, np.ndarray]:
        keys = np.concatenate(self._keys) if self._keys else np.empty(0, np.int64)
        scores = np.concatenate(self._scores) if self._scores else np.empty(0, np.float32)
        if len(keys) > self.keep:
            floor = np.partition(scores, len(scores) - self.keep)[len(scores) - self.keep]
            above, level = scores > floor, np.flatnonzero(scores == floor)
            level = level[np.argsort(keys[level])][: self.keep - int(np.count_nonzero(above))]
            chosen = np.union1d(np.flatnonzero(above), level)
            keys, scores, self.floor = keys[chosen], scores[chosen], float(floor)
        self._keys, self._scores, self._held = [keys], [scores], len(keys)
        return keys, scores


def _score_block(
    space: PairSpace,
    factor: Float32[np.ndarray, "d r"],
    weights: PairWeights,
    floor: float,
    first: int,
    last: int,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Keys and scores of the block's candidates that reach `floor`, and the largest w ‖h‖²."""
    lo, hi = int(space.starts[first]), int(space.starts[last])
    phi = np.asarray(space.features[lo:hi], dtype=np.float32)
    relative = _RelativeWeight(weights, phi, lo)
    h = phi @ factor
    square = np.einsum("ij,ij->i", h, h)
    largest_weight = weights.beta**2 / 4.0
    keys, scores = [], []
    for begin, size in _same_size(space, first, last):
        rows = begin[:, None] + np.arange(size)
        upper_i, upper_j = np.triu_indices(size, 1)
        s = _squared_distances(h, square, rows - lo, upper_i, upper_j)
        s *= np.float32(largest_weight) * relative(rows, upper_i, upper_j)
        prompt, pair = np.nonzero(s >= floor)
        found = rows[prompt, upper_i[pair]] * space.rows + rows[prompt, upper_j[pair]]
        allowed = ~is_member(found, space.excluded)
        keys.append(found[allowed])
        scores.append(s[prompt, pair][allowed])
    longest = 4.0 * largest_weight * float(square.max(initial=0.0))
    return np.concatenate(keys), np.concatenate(scores), longest


def _squared_distances(
    h: np.ndarray, square: np.ndarray, rows: np.ndarray, i: np.ndarray, j: np.ndarray
) -> Float32[np.ndarray, "prompts pairs"]:
    """‖h_i − h_j‖² of every pair of prompts of one size, by their Gram matrices."""
    local, norms = h[rows], square[rows]
    gram = np.matmul(local, local.transpose(0, 2, 1))[:, i, j]
    return np.maximum(norms[:, i] + norms[:, j] - 2.0 * gram, 0.0)


class _RelativeWeight:
    """4 E σ′(margin), in (0, 1], of a block's pairs."""

    def __init__(self, weights: PairWeights, phi: np.ndarray, first_row: int) -> None:
        self.first_row, self.margins, self.spread = first_row, None, None
        if weights.theta is not None:
            # float64, or two threads' blocks could round a margin of hundreds differently
            self.margins = weights.beta * (phi.astype(np.float64) @ weights.theta)
        if weights.root is not None:
            self.spread = phi @ np.asarray(weights.beta * weights.root, dtype=np.float32)
            self.square = np.einsum("ij,ij->i", self.spread, self.spread)

    def __call__(
        self, rows: np.ndarray, i: np.ndarray, j: np.ndarray
    ) -> np.float32 | Float32[np.ndarray, "prompts pairs"]:
        at = rows - self.first_row
        variance: float | np.ndarray = 0.0
        if self.spread is not None:
            variance = _squared_distances(self.spread, self.square, at, i, j)
        if self.margins is None:
            mean = np.zeros((len(at), len(i)), np.float32) if self.spread is not None else None
            if mean is None:
                return np.float32(1.0)
        else:
            mean = np.asarray(self.margins[at[:, i]] - self.margins[at[:, j]], dtype=np.float32)
        return np.asarray(4.0 * expected_slope(mean, variance), dtype=np.float32)


def _same_size(space: PairSpace, first: int, last: int) -> Iterator[tuple[np.ndarray, int]]:
    """The block's prompts, grouped by size: their first rows, and the size (2 or more)."""
    sizes = space.sizes[first:last]
    for size in np.unique(sizes[sizes >= 2]):
        yield space.starts[first:last][sizes == size], int(size)
