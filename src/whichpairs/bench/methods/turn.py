"""What every selection method may look at, and the loop that all of them run in.

A method is a function of a `Desk` and a budget: it returns so many pairs. All methods share the
pool, the rounds, the labels, the estimator and its ridge; a method differs from another in nothing
but the pairs it picks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from whichpairs.bench.pools.simulated_pool import World
from whichpairs.design import PairSpace
from whichpairs.design.estimate.bradley_terry import Fit, fit, posterior
from whichpairs.design.problem.belief import Belief
from whichpairs.design.problem.space import Rows
from whichpairs.streams import bench_stream

HEADS = 20
"""Members of the ensemble that some rivals need: draws of the posterior, in mirrored pairs."""


class Desk:
    """One round of one run: the pool less what was asked, the labels so far, the current fit.

    Args:
        world: the pool; only the oracles may look at its truth.
        asked: pairs labelled so far, (n, 2); wins: their answers.
        seed: of the run; round_: rounds before this one.
    """

    def __init__(self, world: World, asked: Rows, wins: np.ndarray, seed: int, round_: int) -> None:
        self.world, self.asked, self.wins, self.seed, self.round = world, asked, wins, seed, round_
        self.rng = bench_stream(seed, round_, 21)

    @property
    def beta(self) -> float:
        """β."""
        return self.world.beta

    @cached_property
    def space(self) -> PairSpace:
        """Candidates: pairs of eligible prompts that were not asked."""
        whole = self.world.space
        return PairSpace(
            whole.features, whole.starts, whole.eligible, whole.keys(np.sort(self.asked, axis=1))
        )

    @cached_property
    def prompts(self) -> np.ndarray:
        """The prompt of every label."""
        first = self.asked[:, 0]
        return np.searchsorted(self.world.space.starts, first, side="right") - 1

    @cached_property
    def z(self) -> np.ndarray:
        """Feature differences of the labelled pairs, (n, d)."""
        return self.world.space.differences(self.asked)

    @cached_property
    def fit(self) -> Fit:
        """The estimate that everybody shares: MAP with the ridge chosen by cross-validation."""
        if len(self.asked) == 0:
            return Fit(np.zeros(self.world.space.dim), 1.0, {})
        return fit(self.z, self.wins, self.beta, self.world.prior, self.prompts, seed=self.seed)

    @property
    def theta(self) -> np.ndarray:
        """θ̂."""
        return self.fit.theta

    @cached_property
    def belief(self) -> Belief:
        """The Laplace posterior about θ̂, as it is."""
        return posterior(self.fit, self.z, self.beta, self.world.prior)

    # What follows are conveniences for methods that score every candidate pair.

    @cached_property
    def pairs(self) -> Rows:
        """Every candidate pair, (pairs, 2)."""
        every = self.space.unrank(np.arange(self.space.all_pairs))
        return every[self.space.not_excluded(every)]

    @cached_property
    def pair_prompts(self) -> np.ndarray:
        """The prompt of every candidate pair."""
        return np.searchsorted(self.space.starts, self.pairs[:, 0], side="right") - 1

    @cached_property
    def candidate_z(self) -> np.ndarray:
        """Feature differences of every candidate pair, float32 (pairs, d)."""
        phi = np.asarray(self.space.features, dtype=np.float32)
        return np.asarray(phi[self.pairs[:, 0]] - phi[self.pairs[:, 1]])

    @cached_property
    def margins(self) -> np.ndarray:
        """β zᵀθ̂ of every candidate pair, logits."""
        return np.asarray(self.candidate_z @ (self.beta * self.theta).astype(np.float32))

    @cached_property
    def heads(self) -> np.ndarray:
        """Rewards β φᵀθ of every row under each member of the ensemble, (HEADS, rows)."""
        thetas = self.belief.samples(HEADS, self.seed + 1000 * self.round)
        phi = np.asarray(self.space.features, np.float64)
        return np.asarray(self.beta * (thetas @ phi.T))


Method = Callable[[Desk, int], Rows]
"""Picks so many distinct candidate pairs."""


@dataclass(frozen=True)
class Step:
    """Where a run stood after a round.

    Attributes:
        labels: so far; regrets: of every judged prompt; strength: the ridge chosen.
    """

    labels: int
    regrets: np.ndarray
    strength: float


def run(world: World, method: Method, rounds: list[int], seed: int) -> list[Step]:
    """Select, label, fit at each of the cumulative budgets `rounds`.

    Raises:
        ValueError: the method broke the rules (self-pairs, repeats, a wrong count, held-out
            prompts).
    """
    asked, wins, steps = np.empty((0, 2), np.int64), np.empty(0), []
    desk = Desk(world, asked, wins, seed, 0)
    for number, budget in enumerate(rounds):
        picked = np.sort(method(desk, budget - len(asked)), axis=1)
        _check(desk.space, picked, budget - len(asked))
        asked = np.concatenate([asked, picked])
        wins = np.concatenate([wins, world.answers(picked, seed)])
        desk = Desk(world, asked, wins, seed, number + 1)  # its fit is the next round's too
        steps.append(Step(budget, world.regrets(desk.theta), desk.fit.strength))
    return steps


def _check(space: PairSpace, picked: Rows, count: int) -> None:
    keys = np.unique(space.keys(picked))
    prompt = np.searchsorted(space.starts, picked, side="right") - 1
    fair = (
        picked.shape == (count, 2)
        and len(keys) == count
        and bool(np.all(picked[:, 0] < picked[:, 1]))
        and bool(np.all(prompt[:, 0] == prompt[:, 1]))
        and bool(np.all(space.sizes[prompt[:, 0]] > 0))
        and bool(space.not_excluded(picked).all())
    )
    if not fair:
        raise ValueError("a method must return distinct candidate pairs, as many as asked for")
