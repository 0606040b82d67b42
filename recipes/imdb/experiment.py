"""The paper's IMDb experiment in small, by one command; whoever wins is printed.

    .venv/bin/python recipes/imdb/experiment.py [--full] [--results FOLDER]

Every method gets the same openings, completions, simulated labels and held-out openings, and DPO as tuned
for random (tune.py). Without --full: the methods of `SUBSET` at their `FEW` budgets, three trainings; with it every
method, budgets to 1 600 and six trainings. What is finished is kept in build/imdb, and a second call, or a full
one, goes on from there.
"""

import argparse
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from findings import draw, figures, in_words, page, table
from lab import MEASURES, SCORE, WORDS, Stand, Trial, keep_cell, make_pool, stand, work_folder

from whichpairs.bench.markdown import About, write_page
from whichpairs.lm.optional import quiet

OPENINGS, HOLDOUT, PART = 300, 0.3, 2
"""`PART` of openings.jsonl: nothing was tuned on it (on 0 something was)."""
SAMPLES = {"smollm2": 4, "tiny": 8}
"""Completions of a held-out opening."""


@dataclass(frozen=True)
class Method:
    """How pairs are picked: the criterion, the features (or the score) it sees, in how many rounds; and whether
    the fit of the labels teaches the policy."""

    criterion: str
    features: str | None = None
    rounds: int = 1
    score: str | None = None
    taught: bool = False


METHODS = {
    "random": Method("random"),
    "random, taught": Method("random", taught=True),
    "by the fit, taught": Method("best-vs-worst", WORDS, 2, taught=True),
    "design, taught": Method("gap", WORDS, taught=True),
    "true reward": Method("best-vs-worst", score=SCORE),
    "design": Method("gap", WORDS),
    "by the fit": Method("best-vs-worst", WORDS, 2),
    "paper": Method("paper", WORDS),
    "signal, taught": Method("signal", WORDS, 4, taught=True),
}
SUBSET, SEEDS = ("random", "random, taught", "design, taught"), 3
FEW = {"random, taught": (200, 400), "design, taught": (100, 200)}
BUDGETS, EVERY = (400, 800), (50, 100, 200, 400, 800, 1600)
"""What runs without --full: `BUDGETS` but for `FEW`, where a method is at the J of plain random with many labels.
The true reward is no method: it says how much there is to be had."""


def main() -> None:
    """Run what is not there yet, and say how it came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="every method, more budgets and seeds")
    parser.add_argument("--tiny", action="store_true", help="the model of 1 M parameters")
    parser.add_argument("--out", type=Path, default=Path("build/imdb"))
    parser.add_argument("--results", type=Path, default=None, help="folder of page and picture")
    parser.add_argument("--openings", type=int, default=OPENINGS)
    parser.add_argument("--seeds", type=int, default=None)
    parser.add_argument("--methods", default=None, help="names with semicolons between")
    parser.add_argument("--budgets", default=None, help="numbers with commas between")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    began = time.perf_counter()
    of = stand(options.tiny, print)
    names = options.methods.split(";") if options.methods else METHODS if options.full else SUBSET
    given = tuple(int(b) for b in options.budgets.split(",")) if options.budgets else ()
    every = EVERY if options.full else ()
    budgets = {name: given or every or FEW.get(name, BUDGETS) for name in names}
    seeds = options.seeds or (2 * SEEDS if options.full else SEEDS)
    folder = work_folder(options.out, of, options.openings, HOLDOUT, PART)
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        of.reward_folder()
    of.write_openings(folder / "prompts.jsonl", options.openings, seed=PART)
    how = {"holdout": HOLDOUT, "seed": 0, "samples": SAMPLES[of.name], "say": print}
    make_pool(folder / "pool", folder / "prompts.jsonl", of, **how)
    trials = [
        (name, trial_of(of, name, budget, seed))
        for seed in range(seeds)
        for name in names
        for budget in budgets[name]
    ]
    found = [
        {**cell, "pool_size": of.completions} for cell in _run(folder, trials, options.processes)
    ]
    results = options.results or folder
    facts = {
        "model": of.title,
        "settings": of.settings | {"openings": options.openings, "holdout": HOLDOUT, "part": PART},
        "methods": {name: vars(METHODS[name]) for name in names},
        "seeds": list(range(seeds)),
        "seconds_of_this_call": round(time.perf_counter() - began),
        "seconds_of_all_trials": round(sum(cell["seconds"] for cell in found)),
        "saved": in_words(found),
        "cells": found,
    }
    about = About("make imdb" + (" FULL=--full" if options.full else ""), MEASURES)
    picture = {"imdb.png": draw(found)}
    write_page(results, "imdb", about, figures(found), facts, page(found, facts), picture)
    print(table(found))
    print(f"{facts['seconds_of_this_call']} s; figures, page and picture: {results}")


def trial_of(of: Stand, name: str, budget: int, seed: int) -> Trial:
    """One cell of the grid."""
    how = METHODS[name]
    return Trial.tuned(
        *(of, how.criterion, seed, budget, SAMPLES[of.name], how.taught),
        rounds=how.rounds,
        features=how.features,
        score=how.score,
    )


def _run(folder: Path, trials: list[tuple[str, Trial]], processes: int) -> list[dict[str, Any]]:
    """Every trial in a process of its own; a line as each ends."""
    spawn, found = multiprocessing.get_context("spawn"), []
    with ProcessPoolExecutor(processes, mp_context=spawn, max_tasks_per_child=1) as pool:
        jobs = {pool.submit(keep_cell, folder / "pool", folder, t): name for name, t in trials}
        for job in as_completed(jobs):
            cell = {"method": jobs[job], **job.result()}
            found.append(cell)
            gain = cell["evaluation"]["gain"]["mean"]
            print(
                f"{cell['method']}, {cell['budget']} labels, seed {cell['seed']}: "
                f"J {gain:+.4f} over the reference ({len(found)} of {len(trials)})",
                flush=True,
            )
    return sorted(found, key=lambda c: (c["method"], c["budget"], c["seed"]))


if __name__ == "__main__":
    main()
