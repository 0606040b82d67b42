"""The paper's dialogue experiment in small, by one command; whoever wins is printed.

    .venv/bin/python recipes/dialogue/run.py [--seeds 4] [--budget 480] [--prompts 340]

A small dialogue model writes 12 replies to every prompt. Random pairs, the paper's plug-in design (gap) and ours
(adaptive, signal) each choose the same number of pairs in the same rounds; a judge on a local OpenAI-compatible server answers
for these pairs alone; after every round a model is fitted in feature space, and DPO runs once, at the end. Then the
judge compares each policy's replies to held-out prompts with the reference's, in both orders. What is finished is kept
in build/dialogue: a second call goes on from there.
"""

import argparse
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from judge_server import serving
from lab import (
    JUDGE,
    MEASURES,
    MODEL,
    SETTINGS,
    Trial,
    make_pool,
    read_prompts,
    run_trial,
    work_folder,
)
from page import draw, figures, page, table, verdicts

from whichpairs.bench.markdown import About, write_page

METHODS = ("random", "gap", "adaptive", "signal")


class Clock:
    """Prints lines with the time since the start."""

    def __init__(self) -> None:
        self.began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self.began

    def __call__(self, text: str) -> None:
        print(f"[{self.seconds:4.0f} s] {text}", flush=True)


def main() -> None:
    """Run what is not there yet, and say how it came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("build/dialogue"))
    parser.add_argument("--results", type=Path, default=None, help="folder of page and picture")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--prompts", type=int, default=SETTINGS["prompts"])
    parser.add_argument("--budget", type=int, default=SETTINGS["budget"])
    parser.add_argument("--completions", type=int, default=SETTINGS["completions"])
    parser.add_argument("--methods", default=",".join(METHODS), help="with commas between")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    say = Clock()
    rows = read_prompts("experiment", options.prompts)
    folder = work_folder(options.out, "experiment", options.prompts, options.completions)
    say(f"{len(rows)} prompts, {options.completions} replies to each; all is kept in {folder}")
    make_pool(folder / "pool", rows, completions=options.completions, seed=0, say=say)
    trials = [
        Trial.of(method, seed, budget=options.budget)
        for seed in range(options.seeds)
        for method in options.methods.split(",")
    ]
    say(f"{len(trials)} trials of {options.budget} labels: rounds, DPO once, win rate")
    found = run_all(folder, trials, options.processes, say)
    write(options.results or folder, found, say.seconds)
    print(f"\n{table(found)}\n\n{verdicts(found)}\n")
    say(f"figures, page and picture: {options.results or folder}")


def run_all(folder: Path, trials: list[Trial], processes: int, say: Clock) -> list[dict[str, Any]]:
    """Every trial in a process of its own; the judge in this one; a line as each ends."""
    spawn, found = multiprocessing.get_context("spawn"), []
    with serving() as url, ProcessPoolExecutor(processes, mp_context=spawn) as pool:
        jobs = [pool.submit(run_trial, folder, url, trial) for trial in trials]
        for job in as_completed(jobs):
            one = job.result()
            found.append(one)
            rate, kl = one["win_rate"]["mean"], one["kl"]["mean"]
            say(f"{one['criterion']:8} seed {one['seed']}: wins {100 * rate:.1f} %, KL {kl:.2f}")
    methods = list(dict.fromkeys(trial.criterion for trial in trials))
    return sorted(found, key=lambda one: (methods.index(one["criterion"]), one["seed"]))


def write(results: Path, found: list[dict[str, Any]], seconds: float) -> None:
    """The figures, a page about them, and its picture."""
    facts = {
        "settings": SETTINGS,
        "model": MODEL.parent.name + "/" + MODEL.name,
        "judge": JUDGE.parent.name + "/" + JUDGE.name,
        "seeds": sorted({one["seed"] for one in found}),
        "seconds_of_this_call": round(seconds),
        "seconds_of_all_trials": round(sum(one["seconds"] for one in found)),
        "cells": found,
    }
    picture = {"dialogue.png": draw(found)}
    about = About("make dialogue", MEASURES)
    write_page(results, "dialogue", about, figures(found), facts, page(found, facts), picture)


if __name__ == "__main__":
    main()
