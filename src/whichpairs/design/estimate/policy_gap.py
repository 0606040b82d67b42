"""How far one log-linear policy is from the best one, in units of J: exact on the pool's own
completions.

Where the best policy is in the class, π* = π_θ*, the gap of any policy is an identity and
no expansion:

    J(π_θ*) − J(π_θ) = β E_x KL(π_θ ‖ π_θ*)

(Gibbs' variational principle; theory (2)). A second-order expansion at the
reference is far off where π* is far from it, as it is at β = 0.1.
"""

from functools import cached_property

import numpy as np
from jaxtyping import Float

from whichpairs.design.problem.information import policy_shares
from whichpairs.design.problem.space import PairSpace

PROMPTS, NUMBERS = 1024, 4_000_000
"""Prompts, and feature values, that a gap is averaged over at most."""


class PolicyGaps:
    """Gaps between policies on (a sample of) the prompts of a space.

    Args:
        space: its eligible prompts of two or more completions count, at most `PROMPTS` of them.
        reference: π_ref's weight of every row (any scale a prompt), uniform when None.
        beta: β > 0; seed: of the sample.
    """

    def __init__(
        self,
        space: PairSpace,
        reference: Float[np.ndarray, " rows"] | None,
        beta: float,
        *,
        seed: int,
    ) -> None:
        usable = space.sizes[space.sizes >= 2]
        a_prompt = float(usable.mean()) * space.dim if len(usable) else 1.0
        count = max(min(PROMPTS, int(NUMBERS / a_prompt)), 2)
        self.space, self.reference, self.beta = space.some_prompts(count, seed), reference, beta

    @cached_property
    def _blocks(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """φ less its prompt's mean, log π_ref, where each prompt begins, whose each row is."""
        found = []
        for phi, share, starts, owner in policy_shares(self.space, self.reference):
            with np.errstate(divide="ignore"):
                found.append((phi, np.log(share), starts, owner))
        return found

    def log_policies(self, thetas: Float[np.ndarray, "k d"]) -> list[np.ndarray]:
        """log π_θ of every row, block by block, (rows, k)."""
        found = []
        for phi, log_reference, starts, owner in self._blocks:
            log_pi = phi @ thetas.T + log_reference
            log_pi -= np.maximum.reduceat(log_pi, starts)[owner]
            log_pi -= np.log(np.add.reduceat(np.exp(log_pi), starts))[owner]
            found.append(log_pi)
        return found

    def between(self, fitted: list[np.ndarray], best: list[np.ndarray]) -> Float[np.ndarray, " k"]:
        """β E_x KL(π ‖ π*) for each of k pairs of policies, given by `log_policies`."""
        total, prompts = 0.0, 0
        for log_pi, log_best, (_, _, starts, _) in zip(fitted, best, self._blocks, strict=True):
            pi = np.exp(log_pi)
            with np.errstate(invalid="ignore"):  # a completion of no weight: 0 · (−∞ + ∞)
                apart = np.where(pi > 0.0, pi * (log_pi - log_best), 0.0)
            total, prompts = total + apart.sum(axis=0), prompts + len(starts)
        return np.maximum(self.beta * total / max(prompts, 1), 0.0) + np.zeros(1)
