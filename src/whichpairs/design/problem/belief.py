"""What is known of θ, and what it makes of a pair and of the policy (theory (12), (13)).

A belief is a Gaussian, θ ~ N(μ, C). Every design puts expectations over it in the place of θ:

    v_p = E σ′(β z_pᵀθ)  `PairWeights`      Ī = E I(θ)  `Belief.policy_information`

The paper's plug-in design is the point θ = 0; an oracle is the point θ*; the posterior after the
labels so far makes the design adaptive.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg import solve_triangular
from scipy.special import expit

from whichpairs.design.exact.products import squared_lengths
from whichpairs.design.problem.criterion import ROUNDING, Matrix, lower_factor
from whichpairs.design.problem.information import policy_information
from whichpairs.design.problem.space import PairSpace
from whichpairs.streams import Stream, stream

RANGE = (4.0, 1.5)
"""`expected_slope` is within 9 % for means of up to 4 logits, or up to 1.5 spreads of the
margin."""

SAMPLES = 16
"""Draws of θ behind an expected policy information (antithetic: each with its mirror image)."""


@dataclass(frozen=True)
class PairWeights:
    """w_p = β² E σ′(β z_pᵀθ): what pair p's label teaches along z_p, by a belief θ ~ N(μ, C).

    Args:
        beta: KL weight β > 0.
        theta: μ; None is the plug-in μ = 0.
        root: R with C = R Rᵀ; None is a point (C = 0).

    The expectation is κ σ′(κ μ_p) with κ = (1 + π s_p²/8)^−½ for a margin of mean μ_p and variance
    s_p² [mackay1992]: within 9 % where |μ_p| ≤ max(4, 1.5 s_p). Farther out
    it may be several times too large: `beyond` says for which pairs.
    """

    beta: float
    theta: Float[np.ndarray, " d"] | None = None
    root: Float[np.ndarray, "d r"] | None = None

    def __call__(self, z: Float[np.ndarray, "pairs d"]) -> Float[np.ndarray, " pairs"]:
        """The weights of pairs with these feature differences."""
        return np.asarray(self.beta**2 * expected_slope(*self._margins(z)))

    def beyond(self, z: Float[np.ndarray, "pairs d"]) -> Bool[np.ndarray, " pairs"]:
        """Which pairs' margins are outside of where the weights are known to be within 9 %."""
        return np.asarray(~in_range(*self._margins(z)))

    def _margins(self, z: Float[np.ndarray, "pairs d"]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of each pair's margin, logits."""
        margin, variance = np.zeros(len(z)), np.zeros(len(z))
        if self.theta is not None:
            # Not z @ θ: equal rows must have equal bits (`whichpairs.design.exact.products`).
            margin = self.beta * np.einsum("ij,j->i", z, self.theta)
        if self.root is not None:
            variance = self.beta**2 * squared_lengths(z, self.root)
        return margin, variance


def expected_slope(
    mean: Float[np.ndarray, "..."], variance: Float[np.ndarray, "..."] | float
) -> Float[np.ndarray, "..."]:
    """E σ′(η) for η ~ N(mean, variance), in the precision of its arguments: at most 1/4.

    Within 9 % where `in_range`; an exact σ′ where the variance is 0.
    """
    kappa = 1.0 / np.sqrt(1.0 + (np.pi / 8.0) * variance)
    p = expit(
        -np.abs(kappa * mean)
    )  # even to the bit: −z is the same pair; and 1 − p keeps its digits
    return np.asarray(kappa * p * (1.0 - p))


def in_range(
    mean: Float[np.ndarray, "..."], variance: Float[np.ndarray, "..."] | float
) -> Bool[np.ndarray, "..."]:
    """Where `expected_slope` is within 9 %: at points, and for means that are not too large."""
    least, times = RANGE
    most = np.maximum(least, times * np.sqrt(variance))
    return np.asarray(np.equal(variance, 0.0) | (np.abs(mean) <= most))


@dataclass(frozen=True)
class Belief:
    """θ ~ N(theta, C), C by the precision matrix C⁻¹.

    Args:
        theta: μ, (d,).
        precision: C⁻¹, positive definite d × d; None is a point.
    """

    theta: Float[np.ndarray, " d"]
    precision: Matrix | None = None

    def root(self) -> Float[np.ndarray, "d d"] | None:
        """R with R Rᵀ = C; None for a point."""
        if self.precision is None:
            return None
        c = lower_factor(self.precision)
        return np.asarray(solve_triangular(c, np.eye(len(c)), lower=True, trans="T"))

    def weights(self, beta: float) -> PairWeights:
        """What each pair's label teaches by this belief."""
        return PairWeights(beta, self.theta, self.root())

    def samples(self, count: int, seed: int) -> Float[np.ndarray, "samples d"]:
        """Draws of θ, each with its mirror image about μ (one, μ itself, for a point)."""
        root = self.root()
        if root is None:
            return self.theta[None, :]
        noise = stream(seed, Stream.BELIEF).standard_normal(((count + 1) // 2, len(root)))
        steps = noise @ root.T
        return np.concatenate([self.theta + steps, self.theta - steps])

    def policy_information(
        self,
        space: PairSpace,
        reference: Float[np.ndarray, " rows"] | None = None,
        *,
        samples: int = SAMPLES,
        seed: int = 0,
    ) -> Matrix:
        """Ī = E I(θ), by `samples` draws of θ."""
        return _covariance(policy_information(space, reference, self.samples(samples, seed)))


def _covariance(found: Matrix) -> Matrix:
    """The nearest matrix that a covariance can be. Where policies are all but sure of one
    completion (a small β, large rewards) it is found as the difference of two sums that are all but
    equal."""
    even = (found + found.T) / 2.0
    size = float(np.abs(even).max())
    values, vectors = np.linalg.eigh(even)
    if values[0] >= -ROUNDING * size:
        return found if np.abs(found - even).max() <= ROUNDING * size else even
    half = vectors * np.sqrt(np.maximum(values, 0.0))
    return np.asarray(half @ half.T)
