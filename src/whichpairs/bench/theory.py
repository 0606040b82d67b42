"""Does the gap that equation 4 predicts at θ* come true? `make bench-theory` prints the table.

    E[J(π*) − J(π_θ̂)] ≈ (β/2n) tr(I(θ*) Σ_D(θ*)⁻¹)

Well-specified log-linear pools, 800 labels, the maximum-likelihood fit (a vanishing ridge), uniform
and plug-in designs, weak and strong rewards.
"""

import argparse
from dataclasses import dataclass

import numpy as np

from whichpairs.bench.synthetic import log_linear, predicted_gap, realised_gap
from whichpairs.bench.world import World
from whichpairs.design import (
    FrankWolfe,
    PairWeights,
    Problem,
    gap_criterion,
    policy_information,
    solve,
)
from whichpairs.design.baselines import random_pairs
from whichpairs.design.information import random_second_moment
from whichpairs.pool.run import versions

LABELS, DIM, BETA = 800, 8, 1.0
REWARDS = {"weak": 0.5, "strong": 2.0}
"""Standard deviation of a random pair's margin, in logits."""


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
    rng = np.random.default_rng([seed, 7])
    if design == "plug-in":
        problem = Problem(space, gap_criterion(policy_information(space)), weights, ridge, LABELS)
        batches = [solve(problem, FrankWolfe(tolerance=1e-2)).pairs]
    else:
        batches = [random_pairs(space, LABELS, rng) for _ in range(10)]
    predicted = float(np.mean([predicted_gap(world, pairs, ridge) for pairs in batches]))
    realised = [realised_gap(world, batches[k % len(batches)], ridge, rng) for k in range(draws)]
    return predicted, np.array(realised)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--worlds", type=int, default=5)
    settings = parser.parse_args()
    print(f"{LABELS} labels, d = {DIM}, beta = {BETA:g}; {settings}; {versions()}")
    print(f"{'reward':8}{'design':10}{'predicted':>12}{'realised':>12}{'± se':>10}{'ratio':>8}")
    for c in run(settings.draws, settings.worlds):
        print(
            f"{c.reward:8}{c.design:10}{c.predicted:12.5f}{c.realised:12.5f}"
            f"{c.error:10.5f}{c.ratio:8.3f}"
        )


if __name__ == "__main__":
    main()
