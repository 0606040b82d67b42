"""Features and DPO's settings for the experiment, tuned for random on prompts of their own.

    .venv/bin/python recipes/dialogue/tune.py [--features] [--out FOLDER]

The prompts are those of prompts.jsonl that are for tuning. With --features: how well a fit to random pairs answers for
held-out prompts, by kind of feature and dimension. Without: random's win rate, gain in J and KL against the reference, mean
and standard error over seeds, by learning rate and epochs. The best go into settings.json, by hand; every method then
uses them.
"""

import argparse
import itertools
import multiprocessing
import platform
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from judge_server import TEMPERATURE, serving
from lab import (
    JUDGE,
    SMOLLM2,
    TINY,
    Stand,
    Trial,
    features,
    make_pool,
    read_prompts,
    run_trial,
    work_folder,
)
from scipy.special import expit

from whichpairs import compute_features
from whichpairs.design import PairSpace, prior
from whichpairs.design.batches.random import random_pairs
from whichpairs.design.estimate.bradley_terry import fit
from whichpairs.evaluate.reward import load_reward
from whichpairs.run.folder import versions
from whichpairs.workflow.workspace import workspace

RATES, EPOCHS, SEEDS = (3e-4, 1e-4), (1, 3), (0, 1)
KINDS = (
    ("text", 20),
    ("text", 32),
    ("text", 48),
    ("text", 64),
    ("hidden-mean", None),
    ("hidden-last", None),
    ("gradient", 16),
    ("gradient", 32),
    ("gradient", 64),
)
FITS = 12


def compare_features(run: Path, of: Stand) -> None:
    """Print, by kind of feature, how well fits to simulated answers of random pairs predict."""
    with workspace(run) as space:
        pool, beta = space.pool, space.run.beta
    score = load_reward(JUDGE)(pool.completions["completion"].to_list()) / TEMPERATURE
    within = (
        score
        - np.bincount(pool.prompt_of, score)[pool.prompt_of] / np.diff(pool.starts)[pool.prompt_of]
    )
    print(f"standard deviation of the judge's score within a prompt: {within.std():.2f} logits")
    for kind, dim in KINDS:
        settings = features(of, kind, dim)
        compute_features(run, settings, replace=True)
        with workspace(run) as space:
            phi = np.asarray(space.feature_set(settings.name)[2], dtype=np.float64)
        found = [
            quality(phi, pool, score, beta, seed, of.settings["budget"]) for seed in range(FITS)
        ]
        accuracy, loss = np.mean(found, axis=0)
        error = np.std([a for a, _ in found], ddof=1) / np.sqrt(FITS)
        print(
            f"{kind:12} {phi.shape[1]:4} dimensions: on held-out prompts the better reply in "
            f"{accuracy:.3f} ± {error:.3f} of the pairs, log loss {loss:.4f}",
            flush=True,
        )


def quality(
    phi: np.ndarray, pool: Any, score: np.ndarray, beta: float, seed: int, budget: int
) -> tuple[float, float]:
    """Accuracy (which has the higher score) and expected log loss on held-out prompts."""
    rng = np.random.default_rng(seed)
    space = PairSpace(phi, pool.starts, ~pool.holdout)
    pairs = random_pairs(space, budget, rng)
    wins = (rng.random(len(pairs)) < expit(score[pairs[:, 0]] - score[pairs[:, 1]])).astype(float)
    prompts = pool.prompt_of[pairs[:, 0]]
    fitted = fit(space.differences(pairs), wins, beta, prior(space, beta), prompts, seed=seed)
    held = PairSpace(phi, pool.starts, pool.holdout)
    test = random_pairs(held, 1500, np.random.default_rng(99))
    margins = beta * (held.differences(test) @ fitted.theta)
    truth = score[test[:, 0]] - score[test[:, 1]]
    p = expit(truth)
    loss = p * np.logaddexp(0, -margins) + (1 - p) * np.logaddexp(0, margins)
    return float(np.mean((margins > 0) == (truth > 0))), float(loss.mean())


def compare_training(folder: Path, of: Stand, began: float) -> None:
    """Print random's figures for every way of training."""
    trials = [
        Trial.make(of, "random", seed, learning_rate=rate, epochs=epochs)
        for rate, epochs, seed in itertools.product(RATES, EPOCHS, SEEDS)
    ]
    spawn = multiprocessing.get_context("spawn")
    with serving() as url, ProcessPoolExecutor(2, mp_context=spawn) as workers:
        cells: dict[tuple[float, int], list[dict[str, Any]]] = {}
        found = workers.map(run_trial, itertools.repeat(folder), itertools.repeat(url), trials)
        for one in found:
            cell = cells.setdefault((one["learning_rate"], one["epochs"]), [])
            cell.append(one)
            if len(cell) == len(SEEDS):
                print(line(cell), f"({time.perf_counter() - began:.0f} s)", flush=True)


def line(cell: list[dict[str, Any]]) -> str:
    """One way of training, over its seeds."""
    parts = []
    for name in ("win_rate", "gain", "kl"):
        values = np.array([one[name]["mean"] for one in cell])
        parts.append(f"{name} {values.mean():.3f} ± {values.std(ddof=1) / len(values) ** 0.5:.3f}")
    one = cell[0]
    gone = np.mean([x["perplexity"] for x in cell])
    return (
        f"learning rate {one['learning_rate']:g}, {one['epochs']} epochs: {', '.join(parts)}, "
        f"perplexity {gone:.1f} (reference {one['reference_perplexity']:.1f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", action="store_true", help="compare features instead")
    parser.add_argument("--tiny", action="store_true", help="the model of 1 M parameters")
    parser.add_argument("--out", type=Path, default=Path("build/dialogue"))
    options = parser.parse_args()
    began = time.perf_counter()
    print(f"{platform.machine()}, {multiprocessing.cpu_count()} cores, {versions()}")
    rows = read_prompts("tuning", 180)
    of = TINY if options.tiny else SMOLLM2
    folder = work_folder(options.out, of, "tuning")
    completions = of.settings["completions"]
    make_pool(folder / "pool", rows, of, completions=completions, seed=1001, say=print)
    if options.features:
        side = folder / "features"
        shutil.rmtree(side, ignore_errors=True)
        shutil.copytree(folder / "pool", side, ignore=shutil.ignore_patterns(".lock"))
        compare_features(side, of)
    else:
        compare_training(folder, of, began)


if __name__ == "__main__":
    main()
