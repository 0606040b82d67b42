"""Synthetic pools, exact: the paper's two settings, and the ways in which reality departs from
them.

Each regime is a function of a seed. Half of the prompts are judged and never picked from (but for
the tabular pool, where nothing carries over from one prompt type to another: all types are in both
halves). Features are in units in which a random pair's margin has a known spread in logits.
"""

from dataclasses import dataclass, replace

import numpy as np

from whichpairs.bench.pools.simulated_pool import Labeller, World
from whichpairs.design import PairSpace
from whichpairs.features.standardise import centre_and_clip
from whichpairs.streams import Stream, stream

PROMPTS, SIZE, DIM = 400, 16, 16
"""Prompts (half of them judged), completions a prompt, features."""

WEAK, STRONG = 0.75, 3.0
"""Spread (standard deviation) of a random pair's margin, logits."""


@dataclass(frozen=True)
class Recipe:
    """How a regime differs from the plain pool: isotropic Gaussian features, reward in the class.

    Args:
        spread: of a random pair's margin, logits; steep: variances fall as 1/k².
        tails: degrees of freedom of Student's t features (heavy below about 5), 0 for Gaussian.
        duplicates: completions of a prompt stand near one of this many (0: all apart).
        kind: of the reward: linear, smooth (a sine and a square beside the line), saturating
            (tanh).
        error: spread of an error of each completion's own reward, as a share of `spread`.
        clip: features are clipped at 2.5 standard deviations for everyone, as `features` does.
        far: π_ref is tilted against the reward, by this much of the optimum.
        tastes: annotators, each with a θ of its own at this share of `spread`.
    """

    spread: float = WEAK
    steep: bool = False
    tails: float = 0.0
    duplicates: int = 0
    kind: str = "linear"
    error: float = 0.0
    clip: bool = False
    far: float = 0.0
    coins: float = 0.0
    ties: float = 0.0
    tastes: float = 0.0
    beta: float = 1.0


REGIMES: dict[str, Recipe] = {
    "weak": Recipe(),
    "strong": Recipe(spread=STRONG),
    "weak, steep": Recipe(steep=True),
    "strong, steep": Recipe(spread=STRONG, steep=True),
    "strong, sharp policy": Recipe(spread=STRONG, beta=0.25),
    "default β": Recipe(spread=1.5, beta=0.1),
    "near-duplicates": Recipe(spread=2.0, duplicates=4),
    "far reference": Recipe(spread=2.0, far=1.0),
    "heavy tails": Recipe(spread=2.0, tails=3.0),
    "coins and ties": Recipe(spread=2.0, coins=0.2, ties=0.3),
    "annotators": Recipe(spread=2.0, tastes=0.7),
    "smooth": Recipe(spread=2.0, kind="smooth"),
    "saturating": Recipe(spread=STRONG, kind="saturating"),
    "own errors": Recipe(spread=2.0, error=0.7),
    "heavy tails, saturating, own errors": Recipe(
        spread=STRONG, kind="saturating", tails=4.0, error=0.5, steep=True, clip=True
    ),
}
"""The contextual regimes by name; `tabular` stands beside them."""

WELL_SPECIFIED = (
    "tabular",
    "weak",
    "strong",
    "weak, steep",
    "strong, steep",
    "strong, sharp policy",
    "default β",
    "near-duplicates",
    "far reference",
)
"""Where the reward is in the class and the labeller is Bradley–Terry's."""


def draw(name: str, seed: int) -> World:
    """The world of a regime and a seed.

    Raises:
        KeyError: there is no such regime.
    """
    if name == "tabular":
        return tabular(seed)
    return contextual(name, REGIMES[name], seed)


def tabular(seed: int, types: int = 6, size: int = 8, prompts: int = 640) -> World:
    """A parameter for every completion of every prompt type: φ is one-hot, d = types × size.

    Prompts of one type are alike, so a cell can be asked as often as there are prompts of it.
    """
    rng = stream(seed, Stream.TABULAR)
    kind = np.arange(prompts) % types
    cell = (kind[:, None] * size + np.arange(size)).ravel()
    features = np.eye(types * size, dtype=np.float32)[cell]
    theta = rng.standard_normal(types * size) * 1.5 / np.sqrt(2.0)
    eligible = np.arange(prompts) < prompts // 2
    space = PairSpace(features, np.arange(0, prompts * size + 1, size), eligible)
    ones = np.ones(len(cell))
    return World("tabular", space, theta[cell], 1.0, ones, ~eligible, Labeller(), theta)


def contextual(name: str, recipe: Recipe, seed: int) -> World:
    """A contextual pool by its recipe."""
    rng = stream(seed, Stream.CONTEXTUAL)
    starts = np.arange(0, PROMPTS * SIZE + 1, SIZE)
    scales = 1.0 / np.arange(1, DIM + 1) if recipe.steep else np.ones(DIM)
    features = _features(recipe, rng) * scales
    if recipe.clip:
        features = centre_and_clip(features, starts, standardise=False)
    line = rng.standard_normal(DIM) / scales
    if recipe.steep:  # part of the reward along the large directions, part along the small ones
        line *= scales**0.5
    reward = _reward(features @ line, features, recipe, rng)
    eligible = np.arange(PROMPTS) < PROMPTS // 2
    scale = recipe.spread / _pair_spread(reward)
    reward = reward * scale
    theta = line * scale / recipe.beta
    reference = np.ones(len(features))
    if recipe.far:  # rows stay a sample of the uniform pool; π_ref weighs the good ones down
        reference = np.exp(-recipe.far * reward)
    labeller = Labeller(recipe.coins, recipe.ties, _tastes(features, recipe, rng))
    space = PairSpace(features.astype(np.float32), starts, eligible)
    world = World(name, space, reward, recipe.beta, reference, ~eligible, labeller, theta)
    if recipe.tastes:  # what counts is the reward of the annotators together
        assert labeller.tastes is not None
        mean = labeller.tastes.mean(axis=0)
        return replace(
            world, reward=reward + mean, labeller=replace(labeller, tastes=labeller.tastes - mean)
        )
    return world


def _features(recipe: Recipe, rng: np.random.Generator) -> np.ndarray:
    shape = (PROMPTS, SIZE, DIM)
    if recipe.duplicates:
        centres = rng.standard_normal((PROMPTS, recipe.duplicates, DIM))
        which = rng.integers(0, recipe.duplicates, (PROMPTS, SIZE))
        x = np.take_along_axis(centres, which[:, :, None], axis=1)
        x = x + 0.1 * rng.standard_normal(shape)
    else:
        x = rng.standard_normal(shape)
    if recipe.tails:  # one radius a completion: a multivariate t
        x = x / np.sqrt(rng.chisquare(recipe.tails, (PROMPTS, SIZE, 1)) / recipe.tails)
    return x.reshape(PROMPTS * SIZE, DIM)


def _reward(
    line: np.ndarray, features: np.ndarray, recipe: Recipe, rng: np.random.Generator
) -> np.ndarray:
    unit = line / line.std()
    match recipe.kind:
        case "smooth":
            bends = rng.standard_normal((2, features.shape[1]))
            a, b = (features @ bends.T / (features @ bends.T).std(axis=0)).T
            unit = unit + 0.6 * np.sin(1.5 * a) + 0.35 * (b**2 - 1.0)
        case "saturating":
            unit = np.tanh(1.2 * unit)
        case _:
            unit = line
    if recipe.error:
        unit = unit + recipe.error * unit.std() * rng.standard_normal(len(unit))
    return unit


def _tastes(
    features: np.ndarray, recipe: Recipe, rng: np.random.Generator, annotators: int = 5
) -> np.ndarray | None:
    if not recipe.tastes:
        return None
    own = features @ rng.standard_normal((features.shape[1], annotators))
    own *= recipe.tastes * recipe.spread / _pair_spread(own[:, 0])
    return own.T.copy()


def _pair_spread(reward: np.ndarray) -> float:
    """Standard deviation of r_i − r_j over random pairs of a prompt."""
    by_prompt = reward.reshape(-1, SIZE)
    return float(np.sqrt(2.0 * by_prompt.var(axis=1, ddof=1).mean()))
