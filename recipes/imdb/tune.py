"""Learning rate and epochs of DPO at each budget, tuned for random on validation prompts of their own.

    .venv/bin/python recipes/imdb/tune.py [--full] [--out FOLDER]

The prompts are other openings than the experiment's (another seed). Every cell is random's gain in J
over the reference on held-out prompts, mean and standard error over seeds; the best cell of each
budget goes into tuned.json, and every method then trains with it. (β was tuned before: see
printed.md.) Cells are kept in FOLDER, and a second call goes on from there.
"""

import argparse
import json
import multiprocessing
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from lab import HERE, SETTINGS, Trial, keep_cell, make_pool, write_openings

from whichpairs.pool.files import to_json, write_whole
from whichpairs.pool.run import versions

GRIDS = {
    100: ((1e-4, 4), (3e-4, 1), (3e-4, 2), (3e-4, 4), (1e-3, 1), (1e-3, 2)),
    200: ((3e-4, 1), (3e-4, 2), (3e-4, 4), (1e-3, 1), (1e-3, 2)),
    400: ((3e-4, 1), (3e-4, 2), (3e-4, 4), (1e-3, 1)),
    800: ((3e-4, 1), (3e-4, 2), (3e-4, 4), (1e-3, 1)),
    1600: ((1e-4, 2), (3e-4, 1), (3e-4, 2), (6e-4, 1)),
    3200: ((1e-4, 2), (3e-4, 1), (3e-4, 2), (6e-4, 1)),
}
"""Learning rate and epochs to try; the number of epochs is where training stops early."""
SUBSET, OPENINGS, SEEDS = (100, 400, 1600), 300, (0, 1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="all six budgets")
    parser.add_argument("--out", type=Path, default=Path("build/imdb-tune"))
    options = parser.parse_args()
    out, began = options.out, time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    print(f"{platform.machine()}, {multiprocessing.cpu_count()} cores, {versions()}")
    write_openings(out / "prompts.jsonl", OPENINGS, seed=1001)
    beta = SETTINGS["beta"]
    make_pool(out / "pool", out / "prompts.jsonl", holdout=0.4, beta=beta, seed=1001, say=print)
    trials = [
        Trial("random", seed, budget, rate, epochs, SETTINGS["batch_size"], 8)
        for budget in (GRIDS if options.full else SUBSET)
        for rate, epochs in GRIDS[budget]
        for seed in SEEDS
    ]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.map(keep_cell, [out / "pool"] * len(trials), [out] * len(trials), trials)
        gains: dict[tuple[int, float, int], list[float]] = {}
        for trial, cell in zip(trials, found, strict=True):
            key = (trial.budget, trial.learning_rate, trial.epochs)
            gains.setdefault(key, []).append(cell["evaluation"]["gain"]["mean"])
            if len(gains[key]) == len(SEEDS):
                print(
                    _line(key, gains[key]) + f"  ({time.perf_counter() - began:.0f} s)", flush=True
                )
    tuned = HERE / "tuned.json"
    known: dict[str, Any] = json.loads(tuned.read_text()) if tuned.exists() else {}
    write_whole(tuned, to_json(known | best_of(gains)))


def _line(key: tuple[int, float, int], gains: list[float]) -> str:
    budget, rate, epochs = key
    error = np.std(gains, ddof=1) / np.sqrt(len(gains))
    return (
        f"{budget:5} labels, learning rate {rate:g}, {epochs} epochs: "
        f"gain in J {np.mean(gains):+.4f} ± {error:.4f}"
    )


def best_of(gains: dict[tuple[int, float, int], list[float]]) -> dict[str, Any]:
    """The cell of the highest mean gain, of each budget."""
    best: dict[str, Any] = {}
    for (budget, rate, epochs), values in gains.items():
        mean = float(np.mean(values))
        if str(budget) not in best or mean > best[str(budget)]["gain"]:
            best[str(budget)] = {"learning_rate": rate, "epochs": epochs, "gain": mean}
    return best


if __name__ == "__main__":
    main()
