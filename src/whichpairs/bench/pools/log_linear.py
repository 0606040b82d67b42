"""Plain log-linear worlds, θ* known and everything judged: for the theory's own figures.

r = β φᵀθ*, so that π* = π_θ*
"""

import numpy as np
from scipy.special import expit

from whichpairs.bench.pools.simulated_pool import World
from whichpairs.design import PairSpace, PairWeights, gap_criterion, information, policy_information
from whichpairs.design.estimate.bradley_terry import fit_theta


def log_linear(
    prompts: int, size: int, dim: int, margin_spread: float, *, beta: float, seed: int
) -> World:
    """Gaussian features; θ* such that a random pair's margin β zᵀθ* has this spread (logits)."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((prompts * size, dim)).astype(np.float32)
    direction = rng.standard_normal(dim)
    theta = direction / np.linalg.norm(direction) * margin_spread / (np.sqrt(2.0) * beta)
    space = PairSpace(features, np.arange(0, prompts * size + 1, size))
    reward = beta * (features.astype(np.float64) @ theta)
    everything = np.ones(prompts, dtype=bool)
    return World("log-linear", space, reward, beta, np.ones(len(features)), everything, begin=theta)


def predicted_gap(world: World, pairs: np.ndarray, prior: np.ndarray) -> float:
    """(β/2) tr(I(θ*) M⁻¹) with the labels' information at θ* (theory (8))."""
    star = _star(world)
    truth = gap_criterion(policy_information(world.space, world.reference, star[None, :]))
    m = prior + information(world.space, pairs, PairWeights(world.beta, star))
    return world.beta / 2 * truth.value(m)


def realised_gap(
    world: World, pairs: np.ndarray, prior: np.ndarray, rng: np.random.Generator
) -> float:
    """J(π*) − J(π_θ̂) for θ̂ fitted to one draw of the labels."""
    z, star = world.space.differences(pairs), _star(world)
    wins = (rng.random(len(z)) < expit(world.beta * (z @ star))).astype(np.float64)
    theta = fit_theta(z, wins, world.beta, prior)
    return world.objective(star) - world.objective(theta)


def _star(world: World) -> np.ndarray:
    """θ*, where the reward is in the class."""
    assert world.begin is not None
    return world.begin
