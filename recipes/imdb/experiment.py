"""The paper's IMDb experiment in small, by one command; whoever wins is printed.

    .venv/bin/python recipes/imdb/experiment.py [--full] [--results FOLDER]

Every method gets the same openings, completions, simulated labels, DPO (tuned for random at each
budget: tune.py) and held-out prompts. Without --full: pools of 16, budgets 100, 400 and 1 600, 8
seeds. With it: pools of 8, 16 and 32, seven methods, every budget in tuned.json (tune.py --full).
What is finished is kept in build/imdb, and a second call, or a full one, goes on from there.
"""

import argparse
import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from findings import draw, figures, page, table
from lab import (
    HERE,
    MEASURES,
    SCORE,
    SETTINGS,
    WORDS,
    Trial,
    keep_cell,
    make_gradients,
    make_pool,
    make_words,
    work_folder,
    write_openings,
)

from whichpairs.bench.markdown import About, write_page

OPENINGS, HOLDOUT, SAMPLES = 400, 0.3, 8
TUNED = json.loads((HERE / "tuned.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Method:
    """How pairs are picked: the criterion, the features (or the score) it sees, in how many rounds."""

    criterion: str
    features: str | None = None
    rounds: int = 1
    score: str | None = None


METHODS = {
    "random": Method("random"),
    "signal": Method("signal", WORDS, 4),
    "gap": Method("gap", "gradient"),
    "true reward": Method("best-vs-worst", score=SCORE),
    "reference": Method("reference"),
    "best-vs-worst": Method("best-vs-worst", WORDS, 4),
    "d-optimal": Method("d-optimal", "gradient"),
    "gap on words": Method("gap", WORDS),
}
SUBSET = ("random", "signal", "gap", "true reward")
"""The true reward is no method: it says how much there is to be had."""


def main() -> None:
    """Run what is not there yet, and say how it came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="every method, budget and pool size")
    parser.add_argument("--out", type=Path, default=Path("build/imdb"))
    parser.add_argument("--results", type=Path, default=None, help="folder of page and picture")
    parser.add_argument("--openings", type=int, default=OPENINGS)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--methods", default=None, help="names with commas between")
    parser.add_argument("--budgets", default=None, help="numbers with commas between")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    began = time.perf_counter()
    names = options.methods.split(",") if options.methods else METHODS if options.full else SUBSET
    budgets = options.budgets.split(",") if options.budgets else TUNED if options.full else None
    budgets = [int(b) for b in budgets or (100, 400, 1600)]
    out = work_folder(options.out, options.openings, HOLDOUT)
    out.mkdir(parents=True, exist_ok=True)
    write_openings(out / "prompts.jsonl", options.openings, seed=0)
    found = []
    for size in (8, 16, 32) if options.full else (16,):
        folder = out / f"pools-of-{size}"
        _pool(folder / "pool", out / "prompts.jsonl", size)
        trials = [
            (name, trial_of(name, budget, seed))
            for seed in range(options.seeds)
            for budget in budgets
            for name in names
        ]
        found += [{**cell, "pool_size": size} for cell in _run(folder, trials, options.processes)]
    results = options.results or out
    facts = {
        "settings": SETTINGS | {"openings": options.openings, "holdout": HOLDOUT},
        "tuned_for_random": TUNED,
        "methods": {name: vars(METHODS[name]) for name in names},
        "seeds": list(range(options.seeds)),
        "seconds_of_this_call": round(time.perf_counter() - began),
        "seconds_of_all_trials": round(sum(cell["seconds"] for cell in found)),
        "cells": found,
    }
    about = About("make imdb" + (" FULL=--full" if options.full else ""), MEASURES)
    picture = {"imdb.png": draw(found)}
    write_page(results, "imdb", about, figures(found), facts, page(found, facts), picture)
    print(table(found))
    print(f"{facts['seconds_of_this_call']} s; figures, page and picture: {results}")


def _pool(run: Path, prompts: Path, size: int) -> None:
    make_pool(
        run,
        prompts,
        holdout=HOLDOUT,
        beta=SETTINGS["beta"],
        seed=0,
        say=print,
        completions=size,
    )
    print(make_gradients(run))
    print(make_words(run), flush=True)


def trial_of(name: str, budget: int, seed: int) -> Trial:
    """One cell of the grid."""
    how, tuned = METHODS[name], TUNED[str(budget)]
    return Trial(
        how.criterion,
        seed,
        budget,
        tuned["learning_rate"],
        tuned["epochs"],
        SETTINGS["batch_size"],
        SAMPLES,
        rounds=how.rounds,
        features=how.features,
        score=how.score,
    )


def _run(folder: Path, trials: list[tuple[str, Trial]], processes: int) -> list[dict[str, Any]]:
    """Every trial in a process of its own; a line as each ends."""
    spawn, found = multiprocessing.get_context("spawn"), []
    with ProcessPoolExecutor(processes, mp_context=spawn) as pool:
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
