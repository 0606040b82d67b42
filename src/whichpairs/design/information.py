"""What one label teaches, and what the policy needs to know (design.md, section 2).

M(u) = H₀ + Σ_past v β² z zᵀ + Σ_p u_p v_p β² z_p z_pᵀ        `information`
I(θ) = E_x Cov_{y∼π_θ(·|x)}[φ(x, y)]                            `policy_information`
H₀   = λ 1,  λ = β² tr E_random[z zᵀ] / τ²                      `prior`
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import expit

from whichpairs.design.space import PairSpace, Rows

PRIOR_MARGIN_SPREAD = 1.5
"""τ: prior standard deviation, in logits, of a random pair's margin."""


@dataclass(frozen=True)
class PairWeights:
    """w_p = β² σ′(β z_pᵀθ): what pair p's label teaches along z_p, at the belief θ.

    Args:
        beta: KL weight β > 0.
        margins: ``β φ θ``, one number a completion (logits); None is the plug-in θ = 0.
    """

    beta: float
    margins: Float[np.ndarray, " rows"] | None = None

    def __call__(self, pairs: Rows) -> Float[np.ndarray, " pairs"]:
        """The weights of `pairs`."""
        if self.margins is None:
            return np.full(len(pairs), self.beta**2 / 4.0)
        p = expit(self.margins[pairs[:, 0]] - self.margins[pairs[:, 1]])
        return np.asarray(self.beta**2 * p * (1.0 - p))

    @classmethod
    def at(cls, beta: float, space: PairSpace, theta: Float[np.ndarray, " d"]) -> "PairWeights":
        """The weights at a belief that is a point θ."""
        return cls(beta, beta * (np.asarray(space.features, np.float64) @ theta))


def information(
    space: PairSpace, pairs: Rows, weights: PairWeights, chunk: int = 65536
) -> Float[np.ndarray, "d d"]:
    """Σ_p w_p z_p z_pᵀ over `pairs`, in float64, summed in their order."""
    total = np.zeros((space.dim, space.dim))
    for at in range(0, len(pairs), chunk):
        some = pairs[at : at + chunk]
        z = space.differences(some)
        total += z.T @ (z * weights(some)[:, None])
    return total


def policy_information(
    space: PairSpace,
    reference: Float[np.ndarray, " rows"] | None = None,
    theta: Float[np.ndarray, " d"] | None = None,
) -> Float[np.ndarray, "d d"]:
    """I(θ) = E_x Cov_{π_θ}[φ], over eligible prompts with at least two completions.

    Args:
        reference: weights of the completions under π_ref (any scale a prompt), uniform when None.
        theta: the policy's parameter; None is the reference policy itself.

    Source: Han, Goyal and Ma, arXiv:2606.19607; equation 2 of design.md, section 2.
    """
    total = np.zeros((space.dim, space.dim))
    prompts = 0
    for first, last in space.blocks():
        lo, hi = int(space.starts[first]), int(space.starts[last])
        phi = np.asarray(space.features[lo:hi], dtype=np.float64)
        sizes = np.diff(space.starts[first : last + 1])
        owner = np.repeat(np.arange(last - first), sizes)
        counts = (space.sizes[first:last] >= 2)[owner].astype(np.float64)
        mass = counts * (1.0 if reference is None else reference[lo:hi])
        if theta is not None:
            tilt = phi @ theta
            mass = mass * np.exp(tilt - _group_max(tilt, owner, last - first)[owner])
        per_prompt = np.bincount(owner, mass, last - first)
        share = mass / np.where(per_prompt > 0, per_prompt, 1.0)[owner]
        mean = np.zeros((last - first, space.dim))
        np.add.at(mean, owner, share[:, None] * phi)
        centred = phi - mean[owner]
        total += centred.T @ (share[:, None] * centred)
        prompts += int(np.count_nonzero(per_prompt))
    return total / max(prompts, 1)


def _group_max(
    values: Float[np.ndarray, " rows"], owner: np.ndarray, groups: int
) -> Float[np.ndarray, " groups"]:
    top = np.full(groups, -np.inf)
    np.maximum.at(top, owner, values)
    return top


def random_second_moment(space: PairSpace) -> Float[np.ndarray, "d d"]:
    """E[z zᵀ] of a pair drawn uniformly from all pairs of eligible prompts.

    A prompt's pairs add up to ``m Σ_i φ_i φ_iᵀ − (Σ_i φ_i)(Σ_i φ_i)ᵀ``.
    """
    total = np.zeros((space.dim, space.dim))
    for first, last in space.blocks():
        lo, hi = int(space.starts[first]), int(space.starts[last])
        phi = np.asarray(space.features[lo:hi], dtype=np.float64)
        owner = np.repeat(np.arange(last - first), np.diff(space.starts[first : last + 1]))
        m = space.sizes[first:last].astype(np.float64)
        used = np.where(m[owner] > 0, phi.T, 0.0).T
        sums = np.zeros((last - first, space.dim))
        np.add.at(sums, owner, used)
        mean = sums / np.maximum(m, 1.0)[:, None]
        centred = np.where(m[owner] > 0, (phi - mean[owner]).T, 0.0).T
        total += centred.T @ (m[owner][:, None] * centred)
    return total / max(space.all_pairs, 1)


def prior(
    space: PairSpace, beta: float, spread: float = PRIOR_MARGIN_SPREAD
) -> Float[np.ndarray, "d d"]:
    """H₀ = λ 1 under which a random pair's margin β zᵀθ has standard deviation `spread` logits."""
    rate = beta**2 * float(np.trace(random_second_moment(space))) / spread**2
    return rate * np.eye(space.dim)
