"""The log-linear policy on the pool itself: reward, KL and J without sampling.

π_θ(y|x) ∝ π_ref(y|x) exp(φ(x, y)ᵀθ),   J = E_x [Σ_y π_θ r − β KL(π_θ ‖ π_ref)]
"""

from itertools import pairwise

import numpy as np


def policy_values(
    phi: np.ndarray,
    starts: np.ndarray,
    theta: np.ndarray,
    reward: np.ndarray,
    reference: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Expected reward and KL of π_θ for every prompt.

    Args:
        phi: (rows, d); starts: (prompts + 1,); theta: (d,).
        reward: r of every row; reference: π_ref's weight of every row, any scale a prompt.

    Returns:
        E_π r and KL(π ‖ π_ref) in nats, both (prompts,).
    """
    tilt = np.asarray(phi, dtype=np.float64) @ theta
    rewards, divergences = [], []
    for low, high in pairwise(starts):
        base = np.log(reference[low:high] / reference[low:high].sum())
        log_pi = base + tilt[low:high]
        log_pi -= np.logaddexp.reduce(log_pi)
        pi = np.exp(log_pi)
        rewards.append(float(pi @ reward[low:high]))
        divergences.append(max(float(pi @ (log_pi - base)), 0.0))  # rounding can dip below 0
    return np.array(rewards), np.array(divergences)
