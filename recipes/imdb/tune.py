"""How DPO trains and how the fit teaches, tried on openings of their own.

    .venv/bin/python recipes/imdb/tune.py [--seeds N] [--out FOLDER]

The openings are another part of the file than the experiment's. Every variant is a change to settings.json; its gain
in J over the reference on held-out openings is printed, with the standard error over openings, those of random
pairs first. What is best goes into settings.json by hand, for plain random before anything else. Cells are kept in
FOLDER, and a second call goes on from there.
"""

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from experiment import SAMPLES
from lab import WORDS, Stand, Trial, keep_cell, make_pool, stand, work_folder

OPENINGS, HOLDOUT, LABELS, PART = 300, 0.3, 400, 1
VARIANTS: dict[str, tuple[dict[str, Any], ...]] = {
    "random": (
        {"learning_rate": 1e-4, "epochs": 1},
        {"learning_rate": 1e-4, "epochs": 2},
        {"learning_rate": 1e-4, "epochs": 3},
        {"learning_rate": 2e-4, "epochs": 1},
        {"learning_rate": 2e-4, "epochs": 2},
    ),
    "random, taught": (
        {"teach": 1200, "pairs": "random", "scale": 1.0, "epochs": 1},
        {"teach": 1200, "pairs": "random", "scale": 2.0, "epochs": 1},
        {"teach": 420, "pairs": "best-worst", "scale": 2.0},
        {"teach": 420, "pairs": "best-worst", "scale": 4.0},
    ),
    "design, taught": ({}, {"budget": 100}, {"budget": 200}, {"scale": 4.0}),
}
"""What was looked at; each a change to the settings as they are."""


def main() -> None:
    """Run what is not there yet, and say how it came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/imdb-tune"))
    options = parser.parse_args()
    of = stand(tiny=False, say=print)
    folder = work_folder(options.out, of, OPENINGS, HOLDOUT)
    folder.mkdir(parents=True, exist_ok=True)
    of.write_openings(folder / "prompts.jsonl", OPENINGS, seed=PART)
    how = {"holdout": HOLDOUT, "seed": 1000 + PART, "samples": SAMPLES[of.name], "say": print}
    make_pool(folder / "pool", folder / "prompts.jsonl", of, **how)
    asked = [(name, one) for name, some in VARIANTS.items() for one in some]
    with ProcessPoolExecutor(
        2, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1
    ) as pool:
        jobs = [
            [
                pool.submit(keep_cell, folder / "pool", folder, _trial(of, name, seed, change))
                for seed in range(options.seeds)
            ]
            for name, change in asked
        ]
        for (name, change), some in zip(asked, jobs, strict=True):
            gains = np.array([job.result()["by_prompt"]["gain"] for job in some]).mean(0)
            error = gains.std(ddof=1) / np.sqrt(len(gains))
            print(f"{name}, {change}: {gains.mean():+.3f} ± {error:.3f}", flush=True)


def _trial(of: Stand, name: str, seed: int, change: dict[str, Any]) -> Trial:
    criterion, features = ("gap", WORDS) if name.startswith("design") else ("random", None)
    usual = Trial.tuned(
        *(of, criterion, seed, LABELS, SAMPLES[of.name], "taught" in name), features=features
    )
    return replace(usual, **change)


if __name__ == "__main__":
    main()
