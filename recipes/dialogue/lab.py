"""What the experiment and its tuning share: a pool of replies, and one trial from selection to win rate.

A trial is rounds of select → judge → fit in feature space, then DPO once, then the win rate: all in a run folder of its
own, copied from the one that holds the pool, so that every method sees the same pool, judge and training.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import measure

from whichpairs import (
    FeatureSettings,
    GenerateSettings,
    SelectSettings,
    compute_features,
    fit_labels,
    generate_pool,
    select,
    train_policy,
)
from whichpairs.bench.fingerprint import short
from whichpairs.workflow.label import JudgeSettings, label_judged
from whichpairs.workflow.schedule import plan_rounds

HERE = Path(__file__).parent
MODEL, JUDGE, PROMPTS = HERE / "model", HERE / "judge", HERE / "prompts.jsonl"
MEASURES = ("recipes/dialogue/lab.py",)
"""Where the code begins that the figures measure (`whichpairs.bench.fingerprint`)."""
SETTINGS = json.loads((HERE / "settings.json").read_text(encoding="utf-8"))
"""Sizes by hand; learning rate, epochs and features chosen by tune.py, for random."""


@dataclass(frozen=True)
class Trial:
    """One method, one seed, one way of training.

    Attributes:
        budget: labels in all; learning_rate, epochs, batch_size: of DPO; samples: replies to each
            held-out prompt that are judged against the reference's.
    """

    criterion: str
    seed: int
    budget: int
    learning_rate: float
    epochs: int
    batch_size: int
    samples: int

    @classmethod
    def of(cls, criterion: str, seed: int, **changes: Any) -> "Trial":
        """With the recipe's settings but for `changes`."""
        names = ("budget", "learning_rate", "epochs", "batch_size", "samples")
        return cls(criterion, seed, **{**{n: SETTINGS[n] for n in names}, **changes})

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{self.criterion}-{self.seed}-{self.budget}-{self.learning_rate:g}-{self.epochs}"


def read_prompts(use: str, count: int) -> list[dict[str, Any]]:
    """The first `count` rows of prompts.jsonl for ``experiment`` or ``tuning``."""
    rows = map(json.loads, PROMPTS.read_text(encoding="utf-8").splitlines())
    return [row for row in rows if row["use"] == use][:count]


def work_folder(out: Path, *what: object) -> Path:
    """A folder for these inputs: another model, judge, setting or code gets another one."""
    digest = hashlib.sha256(json.dumps([SETTINGS, short(MEASURES), *map(str, what)]).encode())
    for file in sorted([*MODEL.iterdir(), *JUDGE.iterdir(), PROMPTS]):
        digest.update(file.read_bytes())
    return out / digest.hexdigest()[:12]


def make_pool(
    run: Path,
    rows: list[dict[str, Any]],
    *,
    completions: int,
    seed: int,
    say: Callable[[str], None],
) -> None:
    """Generate replies to chat prompts and featurise them; what is finished is kept."""
    one_thread()
    run.parent.mkdir(parents=True, exist_ok=True)
    prompts = run.with_suffix(".prompts.jsonl")
    lines = [json.dumps({"prompt": row["prompt"]}) for row in rows]
    prompts.write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = GenerateSettings(
        model=str(MODEL),
        prompts=str(prompts),
        n=completions,
        max_new_tokens=SETTINGS["max_new_tokens"],
        holdout=SETTINGS["holdout"],
        seed=seed,
    )
    say(generate_pool(run, settings, beta=SETTINGS["beta"]).message)
    say(compute_features(run, features(SETTINGS["features"], SETTINGS["dim"])).message)


def features(kind: str, dim: int | None) -> FeatureSettings:
    """``text``, ``gradient``, or ``hidden-mean`` and ``hidden-last``."""
    method, _, pooling = kind.partition("-")
    model = None if method == "text" else str(MODEL)
    return FeatureSettings(method, dim=dim, name=kind, model=model, pooling=pooling or "last")


def one_thread() -> None:
    """Small matrices gain nothing from a second thread, and lose much when a core is busy."""
    import torch

    torch.set_num_threads(1)


def run_trial(folder: Path, url: str, trial: Trial) -> dict[str, Any]:
    """Label the chosen pairs round by round, train once, measure; or read what that gave before.

    Args:
        folder: holds the run ``pool``; the trial's run, answers and figures are kept beside it.
        url: the judge's server.
    """
    cell = folder / "cells" / f"{trial.name}.json"
    if cell.exists():
        return dict(json.loads(cell.read_text(encoding="utf-8")))
    one_thread()
    began = time.perf_counter()
    run = folder / "runs" / trial.name
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(folder / "pool", run, ignore=shutil.ignore_patterns(".lock"))
    judge = f"small-judge-{trial.seed}"
    known, fits, ties = 0, [], 0
    for total in plan_rounds(0, trial.budget, 4 * SETTINGS["dim"]):
        picking = SelectSettings(
            total - known, trial.criterion, controls=0, seed=trial.seed, tolerance=0.01
        )
        select(run, picking)
        ties += label_judged(run, JudgeSettings(url, judge)).result["ties"]
        fits.append(fit_labels(run, seed=trial.seed).result)
        known = total
    trained = train_policy(
        run,
        MODEL,
        learning_rate=trial.learning_rate,
        epochs=trial.epochs,
        batch_size=trial.batch_size,
        seed=trial.seed,
    ).result
    found = {
        **vars(trial),
        "rounds": [one["labels"] for one in fits],
        "ties": ties,
        "training_loss": trained["final_loss"],
        **measure(run, url, judge, trial.samples, SETTINGS["max_new_tokens"]),
        "seconds": round(time.perf_counter() - began, 1),
    }
    cell.parent.mkdir(parents=True, exist_ok=True)
    part = cell.with_suffix(".part")
    part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    part.replace(cell)
    return found
