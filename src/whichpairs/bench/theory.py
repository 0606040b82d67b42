"""Does the gap that equation 4 predicts at θ* come true? `make bench-theory` writes the page.

    E[J(π*) − J(π_θ̂)] ≈ (β/2n) tr(I(θ*) Σ_D(θ*)⁻¹)

Well-specified log-linear pools, 800 labels, the maximum-likelihood fit (a vanishing ridge), uniform
and plug-in designs, weak and strong rewards.
"""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from whichpairs.bench.markdown import About, Figure, goals, table, write_page
from whichpairs.bench.pools.log_linear import log_linear, predicted_gap, realised_gap
from whichpairs.bench.pools.simulated_pool import World
from whichpairs.design import (
    FrankWolfe,
    PairWeights,
    Problem,
    gap_criterion,
    policy_information,
    solve,
)
from whichpairs.design.batches.random import random_pairs
from whichpairs.design.problem.information import random_second_moment
from whichpairs.streams import Stream, stream

LABELS, DIM, BETA = 800, 8, 1.0
REWARDS = {"weak": 0.5, "strong": 2.0}
"""Standard deviation of a random pair's margin, in logits."""

NEAR = 0.2
"""How far from 1 realised ÷ predicted may be."""

MEASURES = ("whichpairs.bench.theory",)
"""Where the measuring of this page begins."""


@dataclass(frozen=True)
class Cell:
    """One row of the table: mean gap predicted at θ* and found, and the latter's standard error."""

    reward: str
    design: str
    predicted: float
    realised: float
    error: float

    @property
    def ratio(self) -> float:
        """Found ÷ predicted."""
        return self.realised / self.predicted


def run(draws: int, worlds: int, seed: int = 0) -> list[Cell]:
    """The table: `worlds` pools a cell, `draws` label sets a pool."""
    cells = []
    for reward, spread in REWARDS.items():
        pools = [log_linear(200, 8, DIM, spread, beta=BETA, seed=seed + w) for w in range(worlds)]
        for design in ("uniform", "plug-in"):
            found = [_gaps(world, design, draws, seed) for world in pools]
            predicted = float(np.mean([p for p, _ in found]))
            realised = np.concatenate([r for _, r in found])
            error = float(realised.std(ddof=1) / np.sqrt(len(realised)))
            cells.append(Cell(reward, design, predicted, float(realised.mean()), error))
    return cells


def _gaps(world: World, design: str, draws: int, seed: int) -> tuple[float, np.ndarray]:
    space, weights = world.space, PairWeights(world.beta)
    scale = LABELS * np.trace(random_second_moment(space)) / 4 * world.beta**2 / space.dim
    ridge = 1e-6 * scale * np.eye(space.dim)
    rng = stream(seed, Stream.THEORY)
    if design == "plug-in":
        problem = Problem(space, gap_criterion(policy_information(space)), weights, ridge, LABELS)
        batches = [solve(problem, FrankWolfe(tolerance=1e-2)).pairs]
    else:
        batches = [random_pairs(space, LABELS, rng) for _ in range(10)]
    predicted = float(np.mean([predicted_gap(world, pairs, ridge) for pairs in batches]))
    realised = [realised_gap(world, batches[k % len(batches)], ridge, rng) for k in range(draws)]
    return predicted, np.array(realised)


def figures(cells: list[Cell]) -> list[Figure]:
    """Realised ÷ predicted of every row, which is to be within a fifth of 1."""
    found = []
    for c in cells:
        low, high = ((c.realised + k * 1.96 * c.error) / c.predicted for k in (-1, 1))
        name, near = f"realised ÷ predicted, {c.reward} {c.design}", abs(c.ratio - 1) <= NEAR
        found.append(Figure(name, c.ratio, low, high, f"1 ± {NEAR:g}", near))
    return found


def page(cells: list[Cell], draws: int, worlds: int) -> str:
    """``theory.md``."""
    rows = [
        [
            *(c.reward, c.design, f"{c.predicted:.5f}"),
            f"{c.realised:.5f} ± {c.error:.5f}",
            f"{c.ratio:.3f}",
        ]
        for c in cells
    ]
    head = ["reward", "design", "predicted", "realised ± standard error", "realised ÷ predicted"]
    return f"""# Predicted and realised gaps

Printed by `make bench-theory`: log-linear pools in which the model holds, the maximum-likelihood fit, the gap predicted at θ*
by equation 4 of the design, and the mean gap found over {worlds} pools × {draws} label sets a row ({LABELS} labels, d = {DIM},
β = {BETA:g}). Versions and the fingerprint of the code: [theory.json](theory.json).

{table(head, rows)}
{goals(figures(cells))}"""


def main() -> None:
    """Write ``theory.md`` and ``theory.json``, and print the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--worlds", type=int, default=5)
    parser.add_argument("--results", type=Path, default=Path("docs/results"))
    settings = parser.parse_args()
    cells = run(settings.draws, settings.worlds)
    text = page(cells, settings.draws, settings.worlds)
    facts = {"draws": settings.draws, "worlds": settings.worlds}
    facts |= {"labels": LABELS, "dim": DIM, "beta": BETA, "cells": [asdict(c) for c in cells]}
    about = About("make bench-theory", MEASURES)
    write_page(settings.results, "theory", about, figures(cells), facts, text)
    print(text)


if __name__ == "__main__":
    main()
