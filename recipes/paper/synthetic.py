"""The paper's synthetic experiments in small: four designs over a pool in which all is known.

*Tabular*: one prompt, 100 completions, a parameter for each. *Contextual*: φ = [x; a; x∘a]. In both π_ref is far from
uniform and the reward varies little, as the paper has it. Labels are N independent draws from a design: uniform over
pairs, in proportion to π_ref of both ends, the paper's plug-in design at θ₀, and the oracle's at θ*. The estimate is
DPO's under the default prior (without one, 100 parameters have no maximum of the likelihood at few labels), the gap
J(π*) − J(π_θ̂) exact.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from kept import Cell, Job, work_folder

from whichpairs.bench.pools.log_linear import realised_gap
from whichpairs.bench.pools.simulated_pool import World
from whichpairs.design import (
    FrankWolfe,
    PairSpace,
    PairWeights,
    gap_criterion,
    policy_information,
)
from whichpairs.design.strategies.paper import RIDGE, paper_design, paper_information
from whichpairs.design.strategies.shares import best_shares
from whichpairs.evaluate.interval import Interval, ratio_interval
from whichpairs.streams import bench_stream

MEASURES = ("recipes/paper/synthetic.py",)
BUDGETS = (250, 500, 1000, 2000, 4000)
DESIGNS = ("uniform", "reference", "paper", "oracle")
DRAWS, BETA = 4, 1.0
"""Label sets a world, and β."""

SOLVE = FrankWolfe(passes=60, tolerance=0.01)
"""Within 1 % of the least trace; at 0.1 % a tabular world takes six times as long (docs/log.md)."""
TABULAR, FAR, SMALL = 100, 1.5, 0.5
"""Completions of the tabular prompt; spread of log π_ref; spread of the reward, logits."""
CONTEXTS, ACTIONS, FEATURES = 100, 20, 6


@dataclass(frozen=True)
class Weighted:
    """A design: pairs and what share of the labels each gets."""

    pairs: np.ndarray
    weights: np.ndarray


def tabular(seed: int) -> World:
    """One prompt; φ is one-hot."""
    rng = bench_stream(seed, 1)
    reward = SMALL * rng.standard_normal(TABULAR)
    reference = np.exp(FAR * rng.standard_normal(TABULAR))
    space = PairSpace(np.eye(TABULAR), np.array([0, TABULAR]))
    theta = reward / BETA
    return World("tabular", space, reward, BETA, reference, np.ones(1, bool), begin=theta)


def contextual(seed: int) -> World:
    """φ = [x; a; x∘a], π_ref ∝ exp(φᵀθ₀)."""
    rng = bench_stream(seed, 2)
    x = np.repeat(rng.standard_normal((CONTEXTS, FEATURES)), ACTIONS, axis=0)
    a = rng.standard_normal((CONTEXTS * ACTIONS, FEATURES))
    phi = np.hstack([x, a, x * a])
    starts = np.arange(0, CONTEXTS * ACTIONS + 1, ACTIONS)
    sides = rng.standard_normal((2, 3 * FEATURES))
    owner = np.repeat(np.arange(CONTEXTS), ACTIONS)

    def spread(theta: np.ndarray, to: float) -> np.ndarray:
        values = phi @ theta
        means = np.bincount(owner, values) / ACTIONS
        return np.asarray(theta * to / np.std(values - means[owner]))

    far, star = spread(sides[0], FAR), spread(sides[1], SMALL / BETA)
    reference, reward = np.exp(phi @ far), BETA * (phi @ star)
    judged = np.ones(CONTEXTS, bool)
    return World("contextual", PairSpace(phi, starts), reward, BETA, reference, judged, begin=star)


WORLDS = {"tabular": tabular, "contextual": contextual}


def designs(world: World) -> dict[str, Weighted]:
    """The four of a world."""
    space, star = world.space, world.begin
    assert star is not None
    pairs = space.unrank(np.arange(space.all_pairs))
    owner = np.repeat(np.arange(len(space.sizes)), space.sizes)
    share = world.reference / np.bincount(owner, world.reference)[owner]
    both = share[pairs[:, 0]] * share[pairs[:, 1]]
    prompt = owner[pairs[:, 0]]
    both /= np.bincount(prompt, both)[prompt] * len(space.sizes)
    plug_in = paper_design(
        space, BETA, paper_information(space, None, world.reference), method=SOLVE
    )
    base = RIDGE * np.eye(space.dim)
    truth = gap_criterion(policy_information(space, world.reference, star[None, :]))
    # At 2 β and θ*/2 the weight of a pair is 4 β² σ′(β zᵀθ*): the paper's g gᵀ where the margin is 0.
    oracle = best_shares(space, truth, PairWeights(2.0 * BETA, star / 2.0), base, SOLVE)
    return {
        "uniform": Weighted(pairs, np.full(len(pairs), 1.0 / len(pairs))),
        "reference": Weighted(pairs, both),
        "paper": Weighted(space.from_keys(plug_in.keys), plug_in.weights),
        "oracle": Weighted(space.from_keys(oracle.keys), oracle.weights),
    }


def cell(name: str, seed: int) -> Cell:
    """Gaps of every design and budget in one world: the mean over `DRAWS` label sets."""
    world, found = WORLDS[name](seed), []
    for design, weighted in designs(world).items():
        for budget in BUDGETS:
            gaps = []
            for draw in range(DRAWS):
                rng = bench_stream(seed, 3, draw)
                chosen = weighted.pairs[rng.choice(len(weighted.pairs), budget, p=weighted.weights)]
                gaps.append(realised_gap(world, chosen, world.prior, rng))
            found.append({"design": design, "labels": budget, "gap": float(np.mean(gaps))})
    return {"world": name, "seed": seed, "rows": found}


def jobs(out: Path, worlds: int) -> list[Job]:
    """So many worlds of each kind."""
    folder = work_folder(out / "synthetic", MEASURES)
    return [
        Job(folder / f"{name}-{seed}.json", cell, (name, seed))
        for seed in range(worlds)
        for name in WORLDS
    ]


def gaps(cells: list[Cell], name: str, design: str) -> np.ndarray:
    """J(π*) − J(π_θ̂) by world and budget."""
    return np.array(
        [
            [row["gap"] for row in one["rows"] if row["design"] == design]
            for one in cells
            if one["world"] == name
        ]
    )


def ratios(cells: list[Cell], name: str, design: str) -> list[Interval]:
    """The mean gap of a design ÷ uniform's at each budget, for new worlds."""
    ours, uniform = gaps(cells, name, design), gaps(cells, name, "uniform")
    return [ratio_interval(ours[:, k], uniform[:, k]) for k in range(len(BUDGETS))]
