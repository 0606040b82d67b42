"""How long one adaptive round takes on a large pool: `python -m whichpairs.bench.engine.one_round`.

    10⁷ candidate pairs (83 334 prompts × 16 completions), d = 256, float16 on disk, 4 096 labels

The view (belief, policy information), the batch, and the bound of the whole pool are timed apart.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from whichpairs.bench.pools.simulated_pool import World
from whichpairs.design import FrankWolfe, PairSpace, PassReport, Problem, solve
from whichpairs.design.batches.random import random_pairs
from whichpairs.design.estimate.bradley_terry import fit
from whichpairs.design.strategies.adaptive import Evidence, look, next_batch
from whichpairs.run.folder import versions


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=10_000_000)
    parser.add_argument("--size", type=int, default=16)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--labels", type=int, default=4096)
    parser.add_argument("--budget", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=2)
    settings = parser.parse_args()
    print(settings, versions())
    with tempfile.TemporaryDirectory() as folder:
        _time(settings, _pool(settings, Path(folder) / "features.npy"))


def _pool(settings: argparse.Namespace, path: Path) -> PairSpace:
    m, d = settings.size, settings.dim
    prompts = -(-settings.pairs // (m * (m - 1) // 2))
    rng = np.random.default_rng(0)
    phi = np.lib.format.open_memmap(path, "w+", np.float16, (prompts * m, d))
    scale = (np.arange(1, d + 1) ** -0.5).astype(np.float32)
    for at in range(0, len(phi), 65536):
        rows = min(65536, len(phi) - at)
        phi[at : at + rows] = rng.standard_normal((rows, d), dtype=np.float32) * scale
    return PairSpace(phi, np.arange(0, prompts * m + 1, m))


def _time(settings: argparse.Namespace, space: PairSpace) -> None:
    theta = np.random.default_rng(1).standard_normal(space.dim)
    clock = _Clock()
    reward = np.concatenate(
        [
            np.asarray(space.features[at : at + 65536], np.float32) @ theta.astype(np.float32)
            for at in range(0, space.rows, 65536)
        ]
    )
    ones = np.ones(space.rows)
    world = World("scale", space, reward, 1.0, ones, np.ones(len(space.sizes), dtype=bool))
    pairs = random_pairs(space, settings.labels, np.random.default_rng(2))
    wins = world.answers(pairs, 0)
    clock("pool and labels")
    prior = world.prior
    clock("prior (one pass)")
    z, prompts = space.differences(pairs), pairs[:, 0] // settings.size
    fitted = fit(z, wins, 1.0, prior, prompts)
    clock("fit, ridge by cross-validation")
    free = space.without(pairs)
    evidence = Evidence(pairs, wins, prompts, fitted)
    begun = time.perf_counter()
    view = look(free, 1.0, prior, None, evidence, seed=0)
    clock("view: belief, policy information")
    batch = next_batch(free, 1.0, view, settings.budget, np.random.default_rng(3))
    clock(f"batch of {len(batch.pairs)}")
    print(f"{'one round of adaptive selection':36}{time.perf_counter() - begun:8.1f} s")
    method = FrankWolfe(passes=4, tolerance=1e-2, threads=settings.threads)
    problem = Problem(free, view.gap, view.belief.weights(1.0), view.base, settings.budget)

    def watch(report: PassReport) -> None:
        print(f"  pass {report.number}: {report.seconds:.1f} s")

    found = solve(problem, method, watch)
    clock("bound: the whole pool, with belief")
    value = view.gap.value(view.base)
    print(f"gap before {value:.4g}, whole-pool batch {found.value:.4g}, bound {found.bound:.4g}")
    print(f"with the bound: {time.perf_counter() - begun:.1f} s")
    print(f"{space.candidates} pairs; peak memory {_peak():.1f} GB")


class _Clock:
    """Prints the seconds since it was last asked."""

    def __init__(self) -> None:
        self.last = time.perf_counter()

    def __call__(self, what: str) -> None:
        now = time.perf_counter()
        print(f"{what:36}{now - self.last:8.1f} s", flush=True)
        self.last = now


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
