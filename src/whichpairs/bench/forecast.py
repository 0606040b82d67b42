"""Does the predicted gap come true? `make bench-forecast` writes the page.

The one number that plan, select, loop, status and the report show, against the gap that the default
fit's policy turns out to have: log-linear pools with Bradley–Terry labels, where both models are
exactly true, at β = 1 and at the tool's default β = 0.1, rewards weak to strong, random pairs and
the paper's design.

Two beliefs: the prior of the right width, before any label; and what 8 labels a feature have
taught, from the default prior. A third, the default prior before any label on rewards of another
size, is shown for what it is: a guess of the rewards' size.
"""

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from whichpairs.bench.markdown import About, Figure, goals, table, write_page
from whichpairs.bench.pools.log_linear import log_linear
from whichpairs.bench.pools.simulated_pool import World
from whichpairs.bench.robustness.runner import one_thread
from whichpairs.defaults import PRIOR_MARGIN_SPREAD
from whichpairs.design import (
    FrankWolfe,
    PairSpace,
    PairWeights,
    Problem,
    gap_criterion,
    policy_information,
    prior,
    solve,
)
from whichpairs.design.batches.random import random_pairs
from whichpairs.design.estimate.bradley_terry import fit
from whichpairs.design.forecast.predicted_gap import Forecast, Known
from whichpairs.design.problem.space import Rows
from whichpairs.streams import bench_stream

PROMPTS, SIZE, DIM = 300, 6, 8
BETAS, SPREADS = (1.0, 0.1), (0.3, 0.5, 1.5)
LABELS = {"prior": (64, 160, 400), "labels": (128, 400), "guess": (64, 400)}
"""Labels in all, by belief; at least 8 a feature."""

KNOWN = 64
"""Labels already there in the second table, 8 a feature."""

LOW, HIGH = 0.8, 1.25
FIRST_SEED = 1000
"""Pools of the page; what was tried on the way saw seeds below."""

DESIGNS = ("random", "gap")
REPEATS = 3
"""Sets of answers a pool."""

MEASURES = ("whichpairs.bench.forecast",)
"""Where the measuring of this page begins."""


@dataclass(frozen=True)
class Cell:
    """Mean gaps over pools, predicted and found, with the ratio's 95 % interval over pools."""

    belief: str
    beta: float
    spread: float
    labels: int
    design: str
    predicted: float
    realised: float
    ratio: float
    low: float
    high: float

    @property
    def name(self) -> str:
        """As the figures have it."""
        return (
            f"{self.belief}, β {self.beta:g}, margin sd {self.spread:g}, {self.labels} labels, "
            f"{self.design}"
        )


def cells(belief: str, beta: float, spread: float, pools: int) -> list[Cell]:
    """All cells of one belief, β and size of the rewards."""
    found: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for pool in range(pools):
        seed = FIRST_SEED + pool
        world = log_linear(PROMPTS, SIZE, DIM, spread, beta=beta, seed=seed)
        for key, gaps in _pool(belief, world, spread, seed).items():
            found.setdefault(key, []).append(gaps)
    return [_cell(belief, beta, spread, *key, np.array(gaps)) for key, gaps in found.items()]


def _cell(
    belief: str, beta: float, spread: float, labels: int, design: str, gaps: np.ndarray
) -> Cell:
    """The ratio of means, and its percentile bootstrap over pools."""
    draws = np.random.default_rng(0).integers(0, len(gaps), (2000, len(gaps)))
    means = gaps[draws].mean(axis=1)
    low, high = np.quantile(means[:, 0] / means[:, 1], [0.025, 0.975])
    predicted, realised = gaps.mean(axis=0)
    ratio = predicted / realised
    return Cell(belief, beta, spread, labels, design, *map(float, (predicted, realised, ratio, low, high)))  # fmt: skip


def _pool(
    belief: str, world: World, spread: float, seed: int
) -> dict[tuple[int, str], tuple[float, float]]:
    """Predicted gap and mean realised one, by labels in all and design."""
    space, beta = world.space, world.beta
    width = spread if belief == "prior" else PRIOR_MARGIN_SPREAD
    count = KNOWN if belief == "labels" else 0
    none = np.empty((0, 2), np.int64)
    old = random_pairs(space, count, bench_stream(seed, 1)) if count else none
    wins = world.answers(old, seed)
    theta = _fitted(world, old, wins) if count else np.zeros(DIM)
    left = space.without(old)
    known = Known(old, wins, theta, none)
    h0 = prior(space, beta, width)
    forecast = Forecast(left, beta, None, h0, world.prior, known, seed=seed)
    found = {}
    for labels in LABELS[belief]:
        for design in DESIGNS:
            batches = _batches(world, left, labels - count, design, seed)
            if design == "random":
                predicted = float(forecast.random(labels - count).mean())
            else:
                predicted = float(forecast.after(batches[:1]).mean())
            realised = [
                _realised(world, old, wins, batch, 7919 * seed + again)
                for again, batch in enumerate(batches)
            ]
            found[labels, design] = (predicted, float(np.mean(realised)))
    return found


def _batches(world: World, left: PairSpace, labels: int, design: str, seed: int) -> list[Rows]:
    """`REPEATS` batches: the same one, for a design that draws nothing."""
    if design == "random":
        rngs = [bench_stream(seed, 2, k) for k in range(REPEATS)]
        return [random_pairs(left, labels, rng) for rng in rngs]
    gap = gap_criterion(policy_information(world.space))
    problem = Problem(left, gap, PairWeights(world.beta), world.prior, labels)
    return [solve(problem, FrankWolfe(tolerance=1e-2)).pairs] * REPEATS


def _fitted(world: World, pairs: Rows, wins: np.ndarray) -> np.ndarray:
    z = world.space.differences(pairs)
    return fit(z, wins, world.beta, world.prior, pairs[:, 0] // SIZE).theta


def _realised(world: World, old: Rows, wins: np.ndarray, batch: Rows, seed: int) -> float:
    """J(π*) − J(π_θ̂) once the batch is answered."""
    assert world.begin is not None
    answers = np.concatenate([wins, world.answers(batch, seed)])
    theta = _fitted(world, np.concatenate([old, batch]), answers)
    return world.objective(world.begin) - world.objective(theta)


def run(pools: int, processes: int = 2) -> list[Cell]:
    """The tables."""
    context = get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=one_thread) as executor:
        jobs = [
            executor.submit(cells, belief, beta, spread, pools)
            for belief in LABELS
            for beta in BETAS
            for spread in SPREADS
            if belief != "guess" or spread != PRIOR_MARGIN_SPREAD
        ]
        return [cell for job in jobs for cell in job.result()]


def figures(found: Sequence[Cell]) -> list[Figure]:
    """Predicted ÷ realised: every cell of the first two beliefs has the goal."""
    shown = []
    for cell in found:
        aimed = cell.belief != "guess"
        goal = f"{LOW:g} to {HIGH:g}" if aimed else None
        reached = LOW <= cell.ratio <= HIGH if aimed else None
        shown.append(Figure(cell.name, cell.ratio, cell.low, cell.high, goal, reached))
    return shown


def page(found: Sequence[Cell], pools: int) -> str:
    """``forecast.md``."""
    titles = {
        "prior": "Before any label, the prior as wide as the rewards are",
        "labels": (
            f"After {KNOWN} random labels, from the default prior (τ = "
            f"{PRIOR_MARGIN_SPREAD:g})"
        ),
        "guess": (
            f"Before any label, by the default prior (τ = {PRIOR_MARGIN_SPREAD:g}), whatever "
            "the rewards are"
        ),
    }  # fmt: skip
    head = ("β", "margin sd", "labels", "design", "predicted", "realised", "predicted ÷ realised")
    parts = []
    for belief, title in titles.items():
        mine = [c for c in found if c.belief == belief]
        inside = sum(LOW <= c.ratio <= HIGH for c in mine)
        rows = [
            [
                *(f"{c.beta:g}", f"{c.spread:g}", str(c.labels), c.design),
                *(f"{c.predicted:.4f}", f"{c.realised:.4f}"),
                f"{c.ratio:.2f} [{c.low:.2f}, {c.high:.2f}]",
            ]
            for c in mine
        ]
        said = f"{inside} of {len(mine)} within {LOW:g} to {HIGH:g}."
        parts.append(f"## {title}\n\n{said}\n\n{table(head, rows)}")
    return f"""# Does the predicted gap come true?

Printed by `make bench-forecast`: {pools} pools a cell (seeds from {FIRST_SEED}), {REPEATS} sets of answers each, d = {DIM},
{PROMPTS} prompts × {SIZE} completions, Bradley–Terry labels and a policy that is log-linear in the features, both exactly true.
Predicted is the number that plan, select, loop, status and the report show; realised is what J of the default fit's policy lacks.
Intervals: bootstrap over pools. Versions and the fingerprint of the code: [forecast.json](forecast.json).

{chr(10).join(parts)}
{goals(figures(found))}"""


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pools", type=int, default=48)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--results", type=Path, default=Path("docs/results"))
    settings = parser.parse_args()
    found = run(settings.pools, settings.processes)
    facts = {"cells": [asdict(cell) for cell in found], "pools": settings.pools}
    text = page(found, settings.pools)
    about = About("make bench-forecast", MEASURES)
    write_page(settings.results, "forecast", about, figures(found), facts, text)
    print(text)


if __name__ == "__main__":
    main()
