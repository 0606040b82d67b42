"""A batch for a reward that the model may miss: bounded leverage, bounded density, a part random.

What a linear reward misses is largest at far pairs, which the criterion likes best: leverage is
bias (theory (21), (22)). So the designed pairs of a batch

- have leverage zᵀ E[z zᵀ]⁻¹ z / rank of at most `LEVERAGE`, in units of a random pair's mean:
  nearly all pairs of a Gaussian pool have, while the tails of a real one reach 30 and more;
- are the best of budget/α candidates drawn at random, so that no kind of pair is asked more than
  1/α times as often as at random; α grows with the labels, as a bandwidth shrinks;

and a part of the batch is random, so that the fit also sees what the design leaves out; more of it
the more labels there are, for then a remaining error is bias.

Source: [huber1975] and [wiens1992] on bounded densities; [krasker1982] on bounded leverage.
The numbers are from the bench (docs/log.md).
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int64
from scipy.linalg import solve_triangular

from whichpairs.design.batches.ordered import part_of, within
from whichpairs.design.batches.random import random_pairs
from whichpairs.design.problem.criterion import Matrix, lower_factor
from whichpairs.design.problem.information import information, random_second_moment
from whichpairs.design.problem.limits import NO_PAIRS
from whichpairs.design.problem.problem import Problem
from whichpairs.design.problem.space import PairSpace, Rows
from whichpairs.design.solver.frank_wolfe import solve_among
from whichpairs.errors import UserError
from whichpairs.streams import Stream, stream

LEVERAGE = 2.0
SHARES = (1 / 32, 1 / 2)
"""The least and the largest α."""
LABELS_A_DIMENSION = 512
"""α is n / (512 d) in between: as the noise falls, what is left of the error is bias."""
RANDOM = (0.4, 0.75)
"""Of a batch at α, min(0.4 + α, 0.75) is random."""

SAMPLE_PROMPTS, SAMPLE_PAIRS = 4096, 4096
"""Prompts behind the mean leverage, and pairs behind the share of those that differ, at most."""


@dataclass(frozen=True)
class Leverage:
    """zᵀ E[z zᵀ]⁻¹ z / rank of a pair: 1 on average over random pairs that differ (where most are
    equal, as one-hot ones may be, those that differ are not far for it).

    Args:
        whitening: W with W Wᵀ = E[z zᵀ]⁻¹ (of a moment with a ridge of 10⁻⁶ of its mean).
        rank: of E[z zᵀ], directions below that ridge left out.
    """

    whitening: Matrix
    rank: int

    @classmethod
    def of(cls, space: PairSpace, seed: int = 0) -> "Leverage":
        """Of the pairs of eligible prompts."""
        some = space.some_prompts(SAMPLE_PROMPTS, seed)
        moment = random_second_moment(some)
        ridge = 1e-6 * np.trace(moment) / space.dim
        c = lower_factor(moment + ridge * np.eye(space.dim))
        whitening = solve_triangular(c, np.eye(space.dim), lower=True, trans="T")
        rank = int(np.count_nonzero(np.linalg.eigvalsh(moment) > ridge))
        count = min(SAMPLE_PAIRS, some.candidates)
        drawn = random_pairs(some, count, stream(seed, Stream.DIFFERING)) if count else None
        differ = 1.0 if drawn is None else np.mean(some.differences(drawn).any(axis=1))
        return cls(np.asarray(whitening * np.sqrt(differ)), max(rank, 1))

    def __call__(self, z: Float[np.ndarray, "pairs d"]) -> Float[np.ndarray, " pairs"]:
        """Leverages of pairs with these feature differences."""
        return np.asarray(np.sum((z @ self.whitening) ** 2, axis=1) / self.rank)


@dataclass(frozen=True)
class BoundedBatch:
    """What was picked.

    Attributes:
        pairs: the batch, a pair as often as it is to be labelled, random ones first; random: how
            many labels of it are random.
        looked_at: candidates drawn for the designed pairs; too_far: those of them left out.
    """

    pairs: Rows
    random: int
    looked_at: int
    too_far: int


def share_at(labels: int, dim: int) -> float:
    """α of a batch that brings the labels to so many."""
    return float(np.clip(labels / (LABELS_A_DIMENSION * dim), *SHARES))


def random_share(share: float) -> float:
    """How much of a batch is random at α = `share`."""
    return min(RANDOM[0] + share, RANDOM[1])


def bounded_batch(
    problem: Problem,
    leverage: Leverage,
    rng: np.random.Generator,
    *,
    share: float,
    random: int | None = None,
) -> BoundedBatch:
    """A batch of `problem.budget` pairs.

    Args:
        share: α in (0, 1]; random: pairs picked at random first, None is `random_share` of the
            budget.
    """
    space, n = problem.space, int(problem.budget)
    count = round(random_share(share) * n) if random is None else random
    drawn = np.empty((0, 2), np.int64)
    if count:
        drawn = random_pairs(space, count, rng)
    if count == n:
        return BoundedBatch(drawn, n, 0, 0)
    rest = space.without(drawn) if count else space
    base = problem.base + information(space, drawn, problem.weights)
    left = Problem(rest, problem.criterion, problem.weights, base, n - count)
    among = random_pairs(rest, min(round((n - count) / share), rest.candidates), rng)
    near = _near(rest, leverage, among, n - count)
    designed = near if len(near) == n - count else solve_among(left, near)
    return BoundedBatch(
        np.concatenate([drawn, designed]), count, len(among), len(among) - len(near)
    )


def bounded_within(
    problem: Problem,
    leverage: Leverage,
    rng: np.random.Generator,
    *,
    share: float,
    first: int = 0,
) -> BoundedBatch:
    """The same within `problem.limits`.

    A whole random batch is drawn within the limits. Part of it stays, and is from then on what must
    be picked: so whatever is left of every limit can be filled, if need be by the rest of that
    batch.

    Args:
        share: α; first: labels that are random before any are designed.
    """
    space, limits = problem.space, problem.limits
    whole = within(space, problem.budget, limits, lambda some, n: random_pairs(some, n, rng))
    n = len(whole)
    if first >= n:
        return BoundedBatch(whole, n, 0, 0)
    count = first + round(random_share(share) * (n - first))
    if count >= n:
        return BoundedBatch(whole, n, 0, 0)
    kept = part_of(whole, limits.must, count, rng)
    must = np.concatenate([limits.must, kept])
    left = replace(problem, limits=replace(limits, must=must))
    among = _candidates(left, round((n - len(kept)) / share), rng)
    near = _near(space, leverage, among, 0)
    try:
        found = solve_among(left, near)
    except UserError:  # the near candidates cannot fill the limits
        found = solve_among(left, space.from_keys(np.union1d(space.keys(near), space.keys(whole))))
    return BoundedBatch(_first(space, kept, found), len(kept), len(among), len(among) - len(near))


def _candidates(problem: Problem, count: int, rng: np.random.Generator) -> Rows:
    """Random candidates: `count` of the pool, and of each group with a least share its share of
    them."""
    space, groups = problem.space, problem.limits.groups
    rest = space.without(problem.limits.must)
    some = min(count, rest.candidates)  # none, where every pair is kept and waits for repeats
    found = [space.keys(random_pairs(rest, some, rng) if some else NO_PAIRS)]
    for g in np.flatnonzero(groups.least > 0.0) if groups is not None else []:
        assert groups is not None
        inside = (groups.of == g) & (space.sizes >= 2)
        part = PairSpace(space.features, space.starts, inside, rest.excluded)
        some = min(int(np.ceil(groups.least[g] * count)), part.candidates)
        found += [space.keys(random_pairs(part, some, rng))] if some else []
    return space.from_keys(np.unique(np.concatenate(found)))


def _first(
    space: PairSpace, kept: Int64[np.ndarray, "kept 2"], batch: Int64[np.ndarray, "batch 2"]
) -> Int64[np.ndarray, "batch 2"]:
    """The batch with one label of each of `kept` first."""
    keys, labels = np.unique(space.keys(batch), return_counts=True)
    labels[np.searchsorted(keys, space.keys(kept))] -= 1
    return np.concatenate([kept, space.from_keys(np.repeat(keys, labels))])


def _near(
    space: PairSpace, leverage: Leverage, pairs: Int64[np.ndarray, "candidates 2"], least: int
) -> Int64[np.ndarray, "near 2"]:
    """Those of bounded leverage; the nearest `least` where fewer are."""
    far = leverage(space.differences(pairs))
    keep = far <= LEVERAGE
    if np.count_nonzero(keep) < least:
        keep = np.zeros(len(pairs), dtype=bool)
        keep[np.argsort(far, kind="stable")[:least]] = True
    return np.asarray(pairs[keep])
