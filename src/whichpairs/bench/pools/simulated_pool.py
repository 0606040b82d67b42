"""A pool in which everything is known: rewards, the labeller's habits, J, and the best in the
class.

    P(i ≻ j) = σ(r_i − r_j),   J(θ) = E_x [E_{π_θ} r − β KL(π_θ ‖ π_ref)],   regret = J(θ†) − J(θ)

with θ† the maximiser of J in the class on the very prompts where regret is measured (it is not the
Bradley–Terry limit, which maximises a likelihood; theory, section 7).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.special import expit

from whichpairs.design import PairSpace, prior
from whichpairs.design.estimate.bradley_terry import fit_theta
from whichpairs.design.estimate.policy import PoolObjective
from whichpairs.design.problem.space import Rows


@dataclass(frozen=True)
class Labeller:
    """Who answers: by Bradley–Terry on the reward, but for these habits.

    Args:
        coins: share of answers that are a coin's.
        ties: share of pairs whose answer is a tie where the margin is 0; it falls as σ′ does.
        tastes: rewards of each annotator, (annotators, rows), added to r; each pair goes to one.
    """

    coins: float = 0.0
    ties: float = 0.0
    tastes: np.ndarray | None = None


@dataclass(frozen=True)
class World:
    """A pool with its truth.

    Args:
        space: features and prompts; pairs are picked from its eligible prompts.
        reward: r of every row, in logits of a Bradley–Terry labeller.
        beta: β; reference: π_ref's weight of every row.
        judged: the prompts on which J and regret are measured, (prompts,).
        begin: θ where the search for θ† also begins (θ* where the reward is in the class).
    """

    name: str
    space: PairSpace
    reward: np.ndarray
    beta: float
    reference: np.ndarray
    judged: np.ndarray
    labeller: Labeller = field(default_factory=Labeller)
    begin: np.ndarray | None = None

    def answers(self, pairs: Rows, seed: int) -> np.ndarray:
        """1 where the first of the pair wins, 0 where the second does, ½ for a tie.

        An answer depends on the seed and the pair alone: two methods that ask the same pair get
        the same answer.
        """
        keys = self.space.keys(np.sort(pairs, axis=1))
        first_is_low = pairs[:, 0] < pairs[:, 1]
        low, high = np.sort(pairs, axis=1).T
        margin = self.reward[low] - self.reward[high]
        tastes = self.labeller.tastes
        if tastes is not None:
            who = (_uniform(keys, seed, 3) * len(tastes)).astype(np.int64)
            margin = margin + tastes[who, low] - tastes[who, high]
        p = (1.0 - self.labeller.coins) * expit(margin) + self.labeller.coins / 2.0
        wins = (_uniform(keys, seed, 1) < p).astype(np.float64)
        tie = _uniform(keys, seed, 2) < self.labeller.ties * 4.0 * p * (1.0 - p)
        wins = np.where(tie, 0.5, wins)
        return np.where(first_is_low, wins, 1.0 - wins)

    @cached_property
    def judge(self) -> PoolObjective:
        """J on the judged prompts."""
        keep = np.repeat(self.judged, np.diff(self.space.starts))
        starts = np.concatenate([[0], np.cumsum(np.diff(self.space.starts)[self.judged])])
        phi = np.asarray(self.space.features[keep], dtype=np.float64)
        return PoolObjective(phi, starts, self.reward[keep], self.reference[keep])

    @cached_property
    def best(self) -> np.ndarray:
        """θ†."""
        begin = [np.zeros(self.space.dim), self._least_squares()]
        return self.judge.best(self.beta, [*begin, *([] if self.begin is None else [self.begin])])

    def _least_squares(self) -> np.ndarray:
        """The θ whose implicit rewards are nearest to r on the judged prompts."""
        judge = self.judge
        sizes = np.diff(judge.starts)
        owner = np.repeat(np.arange(len(sizes)), sizes)

        def centred(values: np.ndarray) -> np.ndarray:
            means = np.add.reduceat(values, judge.starts[:-1]) / sizes.reshape(
                -1, *[1] * (values.ndim - 1)
            )
            return np.asarray(values - means[owner])

        theta, *_ = np.linalg.lstsq(centred(judge.phi), centred(judge.reward), rcond=1e-10)
        return np.asarray(theta / self.beta)

    def objectives(self, theta: np.ndarray) -> np.ndarray:
        """J(π_θ) of every judged prompt."""
        reward, kl = self.judge.values(theta)
        return np.asarray(reward - self.beta * kl)

    def objective(self, theta: np.ndarray) -> float:
        """J(π_θ), exact."""
        return float(self.objectives(theta).mean())

    def regrets(self, theta: np.ndarray) -> np.ndarray:
        """J(θ†) − J(θ) of every judged prompt."""
        return self.objectives(self.best) - self.objectives(theta)

    @cached_property
    def prior(self) -> np.ndarray:
        """The default prior precision H₀."""
        return prior(self.space, self.beta)

    @cached_property
    def everything(self) -> np.ndarray:
        """The Bradley–Terry limit under random pairs: θ from the true P of (up to 200 000)
        pairs."""
        from whichpairs.design.batches.random import random_pairs

        count = min(200_000, self.space.candidates)
        pairs = random_pairs(self.space, count, np.random.default_rng(0))
        p = expit(self.reward[pairs[:, 0]] - self.reward[pairs[:, 1]])
        return fit_theta(self.space.differences(pairs), p, self.beta, 1e-6 * self.prior)


Draw = Callable[[int], World]
"""Makes a world from a seed."""


def _uniform(keys: np.ndarray, seed: int, stream: int) -> np.ndarray:
    """A number in [0, 1) for each key: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        x = keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x += np.uint64((seed * 1_000_003 + stream * 7_919 + 1) % 2**64)
        for _ in range(2):
            x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            x ^= x >> np.uint64(31)
    return np.asarray((x >> np.uint64(11)).astype(np.float64) / 2.0**53)
