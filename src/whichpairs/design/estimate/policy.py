"""The log-linear policy on the pool itself: reward, KL and J without sampling.

π_θ(y|x) ∝ π_ref(y|x) exp(φ(x, y)ᵀθ),   J = E_x [Σ_y π_θ r − β KL(π_θ ‖ π_ref)]
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import minimize


def policy_values(
    phi: np.ndarray,
    starts: np.ndarray,
    theta: np.ndarray,
    reward: np.ndarray,
    reference: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Expected reward and KL of π_θ for every prompt.

    Args:
        phi: (rows, d); starts: (prompts + 1,), every prompt with a row or more; theta: (d,).
        reward: r of every row; reference: π_ref's weight of every row, any scale a prompt.

    Returns:
        E_π r and KL(π ‖ π_ref) in nats, both (prompts,).
    """
    return PoolObjective(np.asarray(phi), starts, reward, reference).values(theta)


@dataclass(frozen=True)
class PoolObjective:
    """J on these prompts, as a function of θ. The arguments are those of `policy_values`."""

    phi: np.ndarray
    starts: np.ndarray
    reward: np.ndarray
    reference: np.ndarray

    @cached_property
    def _owner(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    @cached_property
    def _log_reference(self) -> np.ndarray:
        return np.asarray(np.log(self.reference / self._sum(self.reference)[self._owner]))

    def _sum(self, values: np.ndarray) -> np.ndarray:
        return np.asarray(np.add.reduceat(values, self.starts[:-1]))

    def _policy(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """π_θ and log π_θ/π_ref of every row."""
        tilt = np.asarray(self.phi, dtype=np.float64) @ theta
        log_pi = self._log_reference + tilt
        log_pi -= np.maximum.reduceat(log_pi, self.starts[:-1])[self._owner]
        log_pi -= np.log(self._sum(np.exp(log_pi)))[self._owner]
        return np.exp(log_pi), log_pi - self._log_reference

    def values(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """E_π r and KL(π ‖ π_ref) of every prompt."""
        pi, ratio = self._policy(theta)
        return self._sum(pi * self.reward), np.maximum(self._sum(pi * ratio), 0.0)

    def objective(self, theta: np.ndarray, beta: float) -> float:
        """J(π_θ), the mean over prompts."""
        reward, kl = self.values(theta)
        return float(np.mean(reward - beta * kl))

    def gradient(self, theta: np.ndarray, beta: float) -> np.ndarray:
        """∇J = E_x Cov_{π_θ}(φ, r − β log π_θ/π_ref)."""
        pi, ratio = self._policy(theta)
        gain = self.reward - beta * ratio
        gain -= self._sum(pi * gain)[self._owner]
        return np.asarray(self.phi.T @ (pi * gain)) / (len(self.starts) - 1)

    def best(self, beta: float, beginnings: list[np.ndarray]) -> np.ndarray:
        """θ†: the best of the maxima of J that L-BFGS reaches from `beginnings` (J is not
        concave)."""
        found = [
            minimize(
                lambda t: -self.objective(t, beta),
                begin,
                jac=lambda t: -self.gradient(t, beta),
                method="L-BFGS-B",
                options={"maxiter": 2000, "ftol": 1e-12, "gtol": 1e-8},
            )
            for begin in beginnings
        ]
        return np.asarray(min(found, key=lambda f: float(f.fun)).x)
