"""Learning rate, epochs and β for the demo, tuned for random on validation prompts of their own.

    .venv/bin/python recipes/imdb/tune.py [--out FOLDER]

The prompts are other openings than the demo's (another seed). Every cell is random's gain in J over
the reference on held-out prompts, mean and standard error over seeds. The best cell that beats the
reference goes into settings.json, by hand; every method then uses it.
"""

import argparse
import itertools
import multiprocessing
import platform
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from lab import SETTINGS, Trial, make_pool, run_trial, write_openings

from whichpairs.pool.run import versions

RATES, EPOCHS, BETAS, SEEDS = (1e-4, 3e-4, 1e-3), (1, 2), (0.1, 0.3), (0, 1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=None, help="keep the runs here, and resume")
    out = parser.parse_args().out
    folder = out or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    print(f"{platform.machine()}, {multiprocessing.cpu_count()} cores, {versions()}")
    write_openings(folder / "prompts.jsonl", 300, seed=1001)
    for beta in BETAS:
        base = folder / f"beta-{beta:g}"
        make_pool(base, folder / "prompts.jsonl", holdout=0.3, beta=beta, seed=1001, say=print)
    jobs = [
        (beta, Trial("random", seed, SETTINGS["budget"], rate, epochs, SETTINGS["batch_size"], 8))
        for beta, rate, epochs, seed in itertools.product(BETAS, RATES, EPOCHS, SEEDS)
    ]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        gains = pool.map(gain, [folder] * len(jobs), *zip(*jobs, strict=True))
        table: dict[tuple[float, float, int], list[float]] = {}
        for (beta, trial), found in zip(jobs, gains, strict=True):
            cell = table.setdefault((beta, trial.learning_rate, trial.epochs), [])
            cell.append(found)
            if len(cell) == len(SEEDS):
                error = np.std(cell, ddof=1) / np.sqrt(len(cell))
                print(
                    f"beta {beta:g}, learning rate {trial.learning_rate:g}, {trial.epochs} epochs: "
                    f"gain in J {np.mean(cell):+.4f} ± {error:.4f}  ({time.perf_counter() - began:.0f} s)",
                    flush=True,
                )
    if out is None:
        shutil.rmtree(folder)


def gain(folder: Path, beta: float, trial: Trial) -> float:
    """Random's gain in J over the reference, with one way of training."""
    name = f"{beta:g}-{trial.learning_rate:g}-{trial.epochs}-{trial.seed}"
    found = run_trial(folder / f"beta-{beta:g}", folder / name, trial)
    return float(found["evaluation"]["gain"]["mean"])


if __name__ == "__main__":
    main()
