"""One pass over all candidate pairs: the best of them by score, without writing the others down.

With A = L Lᵀ every completion is mapped to h = φ L, and a pair scores w_p ‖h_i − h_j‖², which a
within-prompt Gram matrix gives (theory (14)). A kernel does that in float32 and lets through
whatever may reach the floor; that is scored again in float64, and only the float64 scores decide,
ties by key. So the result is the same for any kernel, block or number of threads.

Prompts whose best pair cannot reach the floor are not read again: when A changes to A′, no score
grows by more than the largest generalised eigenvalue μ of (A′, A) (`growth`).
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, repeat

import numpy as np
from jaxtyping import Float, Float32, Int64
from scipy.linalg import eigh

from whichpairs.design.exact.products import squared_lengths
from whichpairs.design.problem.belief import PairWeights, expected_slope
from whichpairs.design.problem.criterion import Matrix
from whichpairs.design.problem.limits import Limits
from whichpairs.design.problem.space import PairSpace, Rows, is_member
from whichpairs.design.sweep.dominated import undominated
from whichpairs.design.sweep.heap import Heap
from whichpairs.design.sweep.kernel import Arithmetic, Block, Kernel, Mapped, NumpyKernel

RAMP = (512, 1024, 2048, 4096, 8192)
"""Rows of the first runs of a pass."""

CHUNK = 16384
"""Pairs scored in float64 at once."""


@dataclass(frozen=True)
class Best:
    """What a pass keeps.

    Attributes:
        pairs: the candidates kept, by score ÷ cost in float64 (ties by key), best first.
        scores: their scores −∂f/∂u_p.
        ceilings: no pair outside `pairs` has a score ÷ cost above its heap's, (groups + 1,); the
            last is for prompts in no group. (Pairs beyond a prompt's limit are outside of this, and
            so are copies of a pair, where they are interchangeable, beyond those that a batch has a
            use for.)
        known: for the next pass; visited: prompts read.
    """

    pairs: Rows
    scores: Float[np.ndarray, " pairs"]
    ceilings: Float[np.ndarray, " heaps"]
    known: "Known"
    visited: int

    @property
    def ceiling(self) -> float:
        """No pair outside `pairs` has a score ÷ cost above this."""
        return float(self.ceilings.max())


@dataclass(frozen=True)
class Known:
    """What passes so far say of all prompts.

    Args:
        tops: no pair of the prompt has a score ÷ cost above, (prompts,); longest: no |φ| is above.
    """

    tops: Float32[np.ndarray, " prompts"]
    longest: float

    def grown(self, by: float) -> "Known":
        """The same when scores may have grown by this factor."""
        with np.errstate(over="ignore", invalid="ignore"):
            tops = np.nextafter((self.tops * np.float64(by)).astype(np.float32), np.float32(np.inf))
        return Known(np.nan_to_num(tops, nan=np.inf, posinf=np.inf), self.longest)


@dataclass(frozen=True)
class Sweep:
    """How passes over a space are made.

    Args:
        weights: w_p; limits: what costs, groups and limits a prompt there are.
        kernel: the float32 arithmetic; threads: blocks at once.
    """

    space: PairSpace
    weights: PairWeights
    limits: Limits = field(default_factory=Limits)
    kernel: Kernel = field(default_factory=NumpyKernel)
    threads: int = 1

    @property
    def heaps(self) -> Int64[np.ndarray, " prompts"]:
        """Which heap a prompt's pairs go to: its group's, or the last."""
        groups = self.limits.groups
        if groups is None:
            return np.zeros(len(self.space.sizes), np.int64)
        return np.where(groups.of < 0, len(groups.names), groups.of).astype(np.int64)

    def __call__(
        self,
        factor: Float[np.ndarray, "d r"],
        keep: Int64[np.ndarray, " heaps"],
        floors: Float[np.ndarray, " heaps"],
        known: Known | None = None,
        spend: Float[np.ndarray, " heaps"] | None = None,
    ) -> Best:
        """The best candidates by w_p ‖Lᵀ z_p‖² ÷ c_p.

        Args:
            keep: pairs to keep at most, by heap (more where many are equal, see `heap`); floors:
                pairs below are not kept, by heap.
            known: of earlier passes, for this factor: prompts below the floor are not read.
            spend: what labels of a heap's pairs may cost together; None is any amount.
        """
        most = np.full(len(keep), np.inf) if spend is None else spend
        return _Pass(self, factor, keep, floors, known, most).run()


def best_pairs(
    space: PairSpace,
    factor: Float[np.ndarray, "d r"],
    weights: PairWeights,
    keep: int,
    threads: int = 1,
) -> Best:
    """The `keep` best candidate pairs by w_p ‖Lᵀ z_p‖²."""
    sweep = Sweep(space, weights, threads=threads)
    return sweep(factor, np.array([keep]), np.zeros(1))


def growth(new: Matrix, old: Matrix) -> float:
    """μ: no zᵀ A′ z exceeds μ zᵀ A z, for A′ = `new` and A = `old`; ∞ where nothing bounds it."""
    try:
        largest = eigh(new, old, eigvals_only=True, subset_by_index=[len(new) - 1, len(new) - 1])
    except np.linalg.LinAlgError:
        return np.inf
    return float(largest[0]) * (1.0 + 1e-6)


def exact_scores(
    space: PairSpace, pairs: Rows, factor: Float[np.ndarray, "d r"], weights: PairWeights
) -> Float[np.ndarray, " pairs"]:
    """w_p ‖Lᵀ z_p‖² in float64; a pair's score does not depend on the other pairs."""
    out = np.empty(len(pairs))
    for at in range(0, len(pairs), CHUNK):
        some = slice(at, at + CHUNK)
        z = space.differences(pairs[some])
        out[some] = squared_lengths(z, factor) * weights(z)
    return out


@dataclass(frozen=True)
class _Scored:
    """A block's pairs that reach the floor, with their heaps; the prompts' tops; the longest
    |φ|."""

    keys: Int64[np.ndarray, " pairs"]
    scores: Float[np.ndarray, " pairs"]
    ratios: Float[np.ndarray, " pairs"]
    heaps: Int64[np.ndarray, " pairs"]
    tops: Float32[np.ndarray, " prompts"]
    longest: float


class _Pass:
    """The state of one pass."""

    def __init__(
        self,
        sweep: Sweep,
        factor: np.ndarray,
        keep: np.ndarray,
        floors: np.ndarray,
        known: Known | None,
        spend: np.ndarray,
    ) -> None:
        self.sweep, self.factor = sweep, factor
        features = sweep.space.features
        # A memory map's own slices are slow; its plain view's are not.
        self.features = np.asarray(features) if isinstance(features, np.ndarray) else features
        self.heap_of = sweep.heaps
        self.heaps = [
            Heap(int(k), float(f), float(most), sweep.space, sweep.limits)
            for k, f, most in zip(keep, floors, spend, strict=True)
        ]
        prompts = len(sweep.space.sizes)
        self.tops = np.full(prompts, np.inf, np.float32) if known is None else known.tops.copy()
        self.longest = None if known is None else known.longest
        self.seen_longest = 0.0 if known is None else known.longest

    def run(self) -> Best:
        space, sweep = self.sweep.space, self.sweep
        # Folded into the factor, the largest weight is seen by the kernel: it bounds all others.
        factor = self.factor * (sweep.weights.beta / 2.0)
        live = np.flatnonzero((space.sizes >= 2) & (self.tops >= self._floors()[self.heap_of]))
        with (
            sweep.kernel.mapped(factor) as mapped,
            ThreadPoolExecutor(max_workers=sweep.threads) as pool,
        ):
            ahead: deque[tuple[np.ndarray, Future[_Scored]]] = deque()
            for number, prompts in enumerate(_runs(space, live)):
                ahead.append((prompts, pool.submit(self._block, mapped, self._floors(), prompts)))
                # The first, small runs raise the floor; without it all pairs would survive.
                while len(ahead) > (2 * sweep.threads if number >= len(RAMP) else 0):
                    self._take(*ahead.popleft())
            while ahead:
                self._take(*ahead.popleft())
        return self._best(len(live))

    def _take(self, prompts: np.ndarray, job: "Future[_Scored]") -> None:
        """Merge a block. The floors it saw may be older ones: they let more through, that is
        all."""
        found = job.result()
        self.tops[prompts] = np.nan_to_num(found.tops, nan=np.inf, posinf=np.inf)
        self.seen_longest = max(self.seen_longest, found.longest)
        for number, heap in enumerate(self.heaps):
            some = found.heaps == number if len(self.heaps) > 1 else slice(None)
            heap.add(found.keys[some], found.scores[some], found.ratios[some])

    def _floors(self) -> np.ndarray:
        return np.array([heap.floor for heap in self.heaps])

    def _block(self, mapped: Mapped, floors: np.ndarray, prompts: np.ndarray) -> _Scored:
        space, limits = self.sweep.space, self.sweep.limits
        rows = _rows(space, prompts)
        starts = np.concatenate([[0], np.cumsum(space.sizes[prompts])]).astype(np.int64)
        phi = self.features[rows]
        costs = None if limits.row_costs is None else limits.row_costs[rows]
        floor = floors[self.heap_of[prompts]]
        found = mapped.scan(Block(phi, starts, floor, costs, self.longest))
        i, j = self._weighty(phi, found.i, found.j, floor, starts, costs)
        owner = np.searchsorted(starts, i, side="right") - 1
        shift = (space.starts[prompts] - starts[:-1])[owner]
        pairs = np.stack([i + shift, j + shift], axis=1)
        keys = space.keys(pairs)
        scores = exact_scores(space, pairs, self.factor, self.sweep.weights)
        ratios = scores / limits.costs(pairs)
        kept = (ratios >= floor[owner]) & ~is_member(keys, space.excluded)
        if limits.per_prompt is not None and limits.laminar:
            kept[kept] = _within(owner[kept], ratios[kept], keys[kept], limits.per_prompt)
        elif limits.per_prompt is not None:
            some = (scores[kept], limits.costs(pairs[kept]), keys[kept])
            kept[kept] = undominated(owner[kept], *some, limits)
        heaps = self.heap_of[prompts[owner[kept]]]
        return _Scored(keys[kept], scores[kept], ratios[kept], heaps, found.tops, found.longest)

    def _weighty(
        self,
        phi: np.ndarray,
        i: np.ndarray,
        j: np.ndarray,
        floor: np.ndarray,
        starts: np.ndarray,
        costs: np.ndarray | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Those that may still reach the floor with their own weight in place of the largest."""
        weights = self.sweep.weights
        if len(i) == 0 or (weights.theta is None and weights.root is None):
            return i, j
        z = _apart(phi, i, j)
        relative = _relative_weights(weights, phi, i, j, z) * (1.0 + 1e-3)
        h = z @ np.asarray(self.factor, np.float32)
        norm = float(np.linalg.norm(self.factor))
        longest = float(np.einsum("ij,ij->i", z, z).max()) ** 0.5
        rounding = Arithmetic(norm, max(self.factor.shape)).rounding(longest, 0.0)
        score = rounding.most(np.einsum("ij,ij->i", h, h)) * (weights.beta**2 / 4.0) * relative
        owner = np.searchsorted(starts, i, side="right") - 1
        cost = 1.0 if costs is None else costs[i] + costs[j]
        kept = score >= floor[owner] * cost
        return i[kept], j[kept]

    def _best(self, visited: int) -> Best:
        parts = [heap.close() for heap in self.heaps]
        keys, scores, ratios = (np.concatenate(x) for x in zip(*parts, strict=True))
        order = np.lexsort((keys, -ratios))
        ceilings = np.array([heap.ceiling for heap in self.heaps])
        if len(keys) == self.sweep.space.candidates:
            ceilings[:] = 0.0
        pairs = self.sweep.space.from_keys(keys[order])
        known = Known(self.tops, self.seen_longest)
        return Best(pairs, scores[order], ceilings, known, visited)


def _within(owner: np.ndarray, values: np.ndarray, keys: np.ndarray, count: int) -> np.ndarray:
    """Which pairs are among the `count` best of their prompt."""
    order = np.lexsort((keys, -values, owner))
    first = np.searchsorted(owner[order], owner[order], side="left")
    kept = np.zeros(len(owner), dtype=bool)
    kept[order[np.arange(len(order)) - first < count]] = True
    return kept


def _apart(phi: np.ndarray, i: np.ndarray, j: np.ndarray) -> Float32[np.ndarray, "pairs d"]:
    """φ_i − φ_j, subtracted before anything is rounded to float32."""
    real = np.float64 if phi.dtype == np.float64 else np.float32
    return (phi[i].astype(real) - phi[j].astype(real)).astype(np.float32)


def _relative_weights(
    weights: PairWeights, phi: np.ndarray, i: np.ndarray, j: np.ndarray, z: np.ndarray
) -> Float[np.ndarray, " pairs"]:
    """4 E σ′(margin), in (0, 1], of a block's pairs: margins in float64, their variance in
    float32."""
    mean, variance = np.zeros(len(i)), np.zeros(len(i))
    if weights.theta is not None:
        margins = weights.beta * (phi.astype(np.float64) @ weights.theta)
        mean = margins[i] - margins[j]
    if weights.root is not None:
        spread = z @ np.asarray(weights.beta * weights.root, np.float32)
        variance += np.einsum("ij,ij->i", spread, spread)
    return 4.0 * expected_slope(mean, variance)


def _runs(space: PairSpace, prompts: Int64[np.ndarray, " some"]) -> Iterator[np.ndarray]:
    """The prompts, in runs of about `block_rows` rows, the first ones smaller."""
    ends = np.cumsum(space.sizes[prompts])
    first = 0
    sizes = chain(RAMP, repeat(space.block_rows))
    while first < len(prompts):
        before = ends[first - 1] if first else 0
        last = max(int(np.searchsorted(ends, before + next(sizes), side="right")), first + 1)
        yield prompts[first:last]
        first = last


def _rows(space: PairSpace, prompts: np.ndarray) -> slice | np.ndarray:
    """The prompts' rows: a slice where they lie together."""
    lo, hi = space.starts[prompts[0]], space.starts[prompts[-1] + 1]
    sizes = space.sizes[prompts]
    if hi - lo == sizes.sum():
        return slice(int(lo), int(hi))
    begin = np.cumsum(sizes) - sizes
    return np.arange(sizes.sum()) + np.repeat(space.starts[prompts] - begin, sizes)
