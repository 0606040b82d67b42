"""The paper's synthetic experiments in small: four designs over a pool in which all is known.

    .venv/bin/python recipes/paper/synthetic.py [--seeds N] [--processes 2]

*Tabular*: one prompt, 100 completions, a parameter for each. *Contextual*: φ = [x; a; x∘a]. In both π_ref is far from
uniform and the reward varies little, as the paper has it. Labels are N independent draws from a design: uniform over
pairs, in proportion to π_ref of both ends, the paper's plug-in design at θ₀, and the oracle's at θ*. The estimate is
DPO's under the default prior (without one, 100 parameters have no maximum of the likelihood at few labels), the gap
J(π*) − J(π_θ̂) exact.
"""

import argparse
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whichpairs.bench.synthetic import realised_gap
from whichpairs.bench.world import World
from whichpairs.design import (
    FrankWolfe,
    PairSpace,
    PairWeights,
    gap_criterion,
    policy_information,
)
from whichpairs.design.paper import RIDGE, paper_design, paper_information
from whichpairs.design.shares import best_shares
from whichpairs.pool.files import to_json, write_whole
from whichpairs.streams import bench_stream

BUDGETS = (250, 500, 1000, 2000, 4000)
DESIGNS = ("uniform", "reference", "paper", "oracle")
DRAWS, SEEDS, BETA = 4, 40, 1.0
"""Label sets a world, worlds, and β."""

SOLVE = FrankWolfe(passes=60, tolerance=1e-3)
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


def cell(name: str, seed: int) -> list[dict[str, object]]:
    """Gaps of every design and budget in one world: the mean over `DRAWS` label sets."""
    world, found = WORLDS[name](seed), []
    for design, weighted in designs(world).items():
        for budget in BUDGETS:
            gaps = []
            for draw in range(DRAWS):
                rng = bench_stream(seed, 3, draw)
                chosen = weighted.pairs[rng.choice(len(weighted.pairs), budget, p=weighted.weights)]
                gaps.append(realised_gap(world, chosen, world.prior, rng))
            found.append(
                {
                    "world": name,
                    "seed": seed,
                    "design": design,
                    "labels": budget,
                    "gap": float(np.mean(gaps)),
                    "pairs": int(np.count_nonzero(weighted.weights)),
                }
            )
    return found


def run(out: Path, seeds: int, processes: int) -> list[dict[str, object]]:
    """Every cell, those of earlier calls from disk."""
    jobs = [(name, seed) for name in WORLDS for seed in range(seeds)]
    paths = [out / f"{name}-{seed}.json" for name, seed in jobs]
    left = [(job, path) for job, path in zip(jobs, paths, strict=True) if not path.exists()]
    out.mkdir(parents=True, exist_ok=True)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawn) as pool:
        for (_, path), rows in zip(
            left,
            pool.map(cell, *zip(*[j for j, _ in left], strict=True)) if left else [],
            strict=True,
        ):
            write_whole(path, to_json({"rows": rows}))
    return [row for path in paths for row in json.loads(path.read_text(encoding="utf-8"))["rows"]]


def main() -> None:
    """Run, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("build/paper/synthetic"))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    rows = run(options.out, options.seeds, options.processes)
    for name in WORLDS:
        for design in DESIGNS:
            means = [
                np.mean(
                    [
                        r["gap"]
                        for r in rows
                        if (r["world"], r["design"], r["labels"]) == (name, design, n)
                    ]
                )
                for n in BUDGETS
            ]
            print(f"{name:12}{design:12}" + "".join(f"{m:10.5f}" for m in means))


if __name__ == "__main__":
    main()
