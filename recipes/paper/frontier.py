"""The area between two reward–KL frontiers, with an interval over runs and prompts.

A method that is trained at several strengths has a curve: the mean reward (over the reference's) at each
mean KL, from the reference itself, which is at (0, 0), and linear in between. Its mean over two policies
is what a coin between them would have, so the line claims nothing beyond what was measured. No curve is
made monotone: one that falls has overshot, and that counts against it. The figure is

    A = ∫₀^k [r_ours(x) − r_theirs(x)] dx,  k the smaller of the two largest KLs,

in reward × nats; A / k is the mean difference in reward at equal KL. Between the knots of either curve
the difference is linear, so trapezoids over the knots of both are exact. Intervals are percentiles of a
bootstrap over runs and held-out prompts, both drawn anew, the same for both methods (they share label
noise, prompts and the noise of their samples), at levels widened for few runs (`evaluate.crossed.tail`).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from whichpairs.evaluate.crossed import tail

DRAWS = 2000


@dataclass(frozen=True)
class Runs:
    """A method's policies.

    Attributes:
        kl: nats; reward: over the reference's on the same prompt; each (strengths, runs, prompts).
    """

    kl: Float[np.ndarray, "strengths runs prompts"]
    reward: Float[np.ndarray, "strengths runs prompts"]

    def curve(self, runs: np.ndarray, prompts: np.ndarray) -> np.ndarray:
        """KL and reward of every knot, the reference first, (2, strengths + 1), by these weights."""
        both = np.stack([self.kl, self.reward]) @ prompts @ runs
        knots = np.concatenate([np.zeros((2, 1)), both], axis=1)
        return np.asarray(knots[:, np.argsort(knots[0], kind="stable")])


@dataclass(frozen=True)
class Area:
    """Between two frontiers.

    Attributes:
        value: A, reward × nats; low, high: ends of its interval, None where there is a single run or
            prompt; upto: k, nats; height: A / k, reward (0 where k is).
    """

    value: float
    low: float | None
    high: float | None
    upto: float
    height: float


def between(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """A and k of two curves, (2, knots) each, KL rising."""
    upto = min(ours[0, -1], theirs[0, -1])
    knots = np.concatenate([ours[0], theirs[0], [0.0, upto]])
    at = np.unique(knots[(knots >= 0.0) & (knots <= upto)])
    ahead = np.interp(at, *ours) - np.interp(at, *theirs)
    return float(np.trapezoid(ahead, at)), float(upto)


def area(ours: Runs, theirs: Runs, comparisons: int = 1, seed: int = 0, draws: int = DRAWS) -> Area:
    """A of two methods with the same runs and prompts.

    Args:
        comparisons: how many such intervals are to hold together.
    """
    _, runs, prompts = ours.kl.shape
    even = np.full(runs, 1 / runs), np.full(prompts, 1 / prompts)
    value, upto = between(ours.curve(*even), theirs.curve(*even))
    low, high = None, None
    if min(runs, prompts) >= 2:
        rng = np.random.default_rng(seed)
        drawn = [
            [rng.multinomial(n, share) / n for n, share in zip((runs, prompts), even, strict=True)]
            for _ in range(draws)
        ]
        some = [between(ours.curve(*w), theirs.curve(*w))[0] for w in drawn]
        end = tail(min(runs, prompts), comparisons)
        low, high = (
            float(np.quantile(some, q, method=how))
            for q, how in ((end, "lower"), (1 - end, "higher"))
        )
        low, high = min(low, value), max(high, value)
    return Area(value, low, high, upto, value / upto if upto > 0 else 0.0)
