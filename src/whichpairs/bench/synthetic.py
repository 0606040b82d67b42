"""Log-linear worlds in which everything is known: θ*, J, the gap, and what theory says of it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import expit

from whichpairs.design import Gap, PairSpace, PairWeights, information, policy_information
from whichpairs.evaluate.pool_policy import policy_values
from whichpairs.train.fit import fit_theta


@dataclass(frozen=True)
class World:
    """A pool whose reward is in the class: r = β φᵀθ*, so that π* = π_θ*.

    Args:
        space: features and prompts; theta: θ*, (d,); beta: β.
    """

    space: PairSpace
    theta: np.ndarray
    beta: float

    @classmethod
    def draw(
        cls, prompts: int, size: int, dim: int, margin_spread: float, *, beta: float, seed: int
    ) -> "World":
        """Gaussian features; θ* such that a random pair's margin β zᵀθ* has this spread (logits)."""
        rng = np.random.default_rng(seed)
        features = rng.standard_normal((prompts * size, dim)).astype(np.float32)
        direction = rng.standard_normal(dim)
        theta = direction / np.linalg.norm(direction) * margin_spread / (np.sqrt(2.0) * beta)
        return cls(PairSpace(features, np.arange(0, prompts * size + 1, size)), theta, beta)

    @cached_property
    def truth(self) -> Gap:
        """The gap criterion at θ*."""
        return Gap(policy_information(self.space, thetas=self.theta[None, :]))

    def objective(self, theta: np.ndarray) -> float:
        """J(π_θ), exact."""
        phi = np.asarray(self.space.features, np.float64)
        reward = self.beta * (phi @ self.theta)
        values, kl = policy_values(phi, self.space.starts, theta, reward, np.ones(len(phi)))
        return float(np.mean(values - self.beta * kl))

    def predicted_gap(self, pairs: np.ndarray, prior: np.ndarray) -> float:
        """(β/2) tr(I(θ*) M⁻¹) with the labels' information at θ* (design.md, section 2, eq. 4)."""
        weights = PairWeights(self.beta, self.theta)
        m = prior + information(self.space, pairs, weights)
        return self.beta / 2 * self.truth.value(m)

    def realised_gap(self, pairs: np.ndarray, prior: np.ndarray, rng: np.random.Generator) -> float:
        """J(π*) − J(π_θ̂) for θ̂ fitted to one draw of the labels."""
        z = self.space.differences(pairs)
        wins = (rng.random(len(z)) < expit(self.beta * (z @ self.theta))).astype(np.float64)
        theta = fit_theta(z, wins, self.beta, prior)
        return self.objective(self.theta) - self.objective(theta)
