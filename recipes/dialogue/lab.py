"""What the experiment and its tuning share: a language model, a pool of replies, and one trial from selection to win rate.

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
    CannotTeachError,
    FeatureSettings,
    GenerateSettings,
    SelectSettings,
    TeachSettings,
    compute_features,
    fit_labels,
    generate_pool,
    select,
    train_policy,
)
from whichpairs.bench.fingerprint import short
from whichpairs.lm.folder import identity
from whichpairs.workflow.label.settings import JudgeSettings
from whichpairs.workflow.label.stage import label_judged
from whichpairs.workflow.schedule import plan_rounds

HERE = Path(__file__).parent
JUDGE, PROMPTS = HERE / "judge", HERE / "prompts.jsonl"
MEASURES = ("recipes/dialogue/lab.py",)
"""Where the code begins that the figures measure (`whichpairs.bench.fingerprint`)."""
SETTINGS = json.loads((HERE / "settings.json").read_text(encoding="utf-8"))
"""By language model: sizes by hand; rate, epochs and the way of teaching as the README says."""


@dataclass(frozen=True)
class Stand:
    """A language model that replies.

    Attributes:
        name: in `SETTINGS`; title: for people.
        model: what ``--model`` takes.
        dtype: in which it samples, is judged and trained; layers: which ones DPO changes.
    """

    name: str
    title: str
    model: str
    dtype: str
    layers: str

    @property
    def settings(self) -> dict[str, Any]:
        """`SETTINGS` of this one."""
        return dict(SETTINGS[self.name])


SMOLLM2 = Stand("smollm2", "SmolLM2-135M-Instruct", "smollm2", "bfloat16", "top:8")
TINY = Stand("tiny", "a GPT-2 of 1 M parameters", str(HERE / "model"), "float32", "all")


@dataclass(frozen=True)
class Method:
    """How pairs are picked, and whether the fit of their labels teaches the policy."""

    criterion: str
    taught: bool = False


METHODS = {
    "random": Method("random"),
    "random, taught": Method("random", taught=True),
    "by the fit, taught": Method("best-vs-worst", taught=True),
    "gap": Method("gap"),
    "adaptive": Method("adaptive"),
    "signal": Method("signal"),
}


@dataclass(frozen=True)
class Trial:
    """One method, one seed, one way of training.

    Attributes:
        stand: the name of the language model; method: one of `METHODS`.
        budget: labels in all; learning_rate, epochs, batch_size: of DPO; samples: replies to each
            held-out prompt that are judged against the reference's.
    """

    stand: str
    method: str
    seed: int
    budget: int
    learning_rate: float
    epochs: int
    batch_size: int
    samples: int

    @classmethod
    def make(cls, stand: Stand, method: str, seed: int, **changes: Any) -> "Trial":
        """With the recipe's settings but for `changes`."""
        names = ("budget", "learning_rate", "epochs", "batch_size", "samples")
        usual = {n: stand.settings[n] for n in names}
        return cls(stand.name, method, seed, **{**usual, **changes})

    @property
    def of(self) -> Stand:
        """The language model."""
        return {one.name: one for one in (SMOLLM2, TINY)}[self.stand]

    @property
    def name(self) -> str:
        """What its files are called."""
        method = self.method.replace(", ", "-").replace(" ", "-")
        return f"{method}-{self.seed}-{self.budget}-{self.learning_rate:g}-{self.epochs}"


def read_prompts(use: str, count: int) -> list[dict[str, Any]]:
    """The first `count` rows of prompts.jsonl for ``experiment`` or ``tuning``."""
    rows = map(json.loads, PROMPTS.read_text(encoding="utf-8").splitlines())
    return [row for row in rows if row["use"] == use][:count]


def work_folder(out: Path, of: Stand, *what: object) -> Path:
    """A folder for these inputs: another model, judge, setting or code gets another one."""
    key = [of.settings, short(MEASURES), identity(of.model), *map(str, what)]
    digest = hashlib.sha256(json.dumps(key).encode())
    for file in sorted([*JUDGE.iterdir(), PROMPTS]):
        digest.update(file.read_bytes())
    return out / f"{of.name}-{digest.hexdigest()[:12]}"


def make_pool(
    run: Path,
    rows: list[dict[str, Any]],
    of: Stand,
    *,
    completions: int,
    seed: int,
    say: Callable[[str], None],
) -> None:
    """Generate replies to chat prompts and featurise them; what is finished is kept."""
    settings = of.settings
    run.parent.mkdir(parents=True, exist_ok=True)
    prompts = run.with_suffix(".prompts.jsonl")
    lines = [json.dumps({"prompt": row["prompt"]}) for row in rows]
    prompts.write_text("\n".join(lines) + "\n", encoding="utf-8")
    sampling = GenerateSettings(
        model=of.model,
        prompts=str(prompts),
        n=completions,
        max_new_tokens=settings["max_new_tokens"],
        holdout=settings["holdout"],
        seed=seed,
        dtype=of.dtype,
    )
    say(generate_pool(run, sampling, beta=settings["beta"]).message)
    say(compute_features(run, features(of, settings["features"], settings["dim"])).message)


def features(of: Stand, kind: str, dim: int | None) -> FeatureSettings:
    """``text``, ``gradient``, or ``hidden-mean`` and ``hidden-last``."""
    method, _, pooling = kind.partition("-")
    model = None if method == "text" else of.model
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
    fits, ties = label(run, url, judge, trial)
    trained, taught = train(run, trial)
    found = {
        **vars(trial),
        "rounds": [one["labels"] for one in fits],
        "ties": ties,
        "taught": taught,
        "training_loss": trained["final_loss"],
        "run": str(run),
        **measure(run, url, judge, trial.of, trial.samples),
        "seconds": round(time.perf_counter() - began, 1),
    }
    cell.parent.mkdir(parents=True, exist_ok=True)
    part = cell.with_suffix(".part")
    part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    part.replace(cell)
    return found


def label(run: Path, url: str, judge: str, trial: Trial) -> tuple[list[dict[str, Any]], int]:
    """Round by round; every fit and the number of ties. By the fit: half at random, then best against worst."""
    criterion, settings = METHODS[trial.method].criterion, trial.of.settings
    half = trial.budget // 2
    by_fit = criterion == "best-vs-worst"
    totals = (half, trial.budget) if by_fit else plan_rounds(0, trial.budget, 4 * settings["dim"])
    known, fits, ties = 0, [], 0
    for total in totals:
        rule = "random" if by_fit and not known else criterion
        how = {"controls": 0, "seed": trial.seed, "tolerance": 0.01}
        select(run, SelectSettings(total - known, rule, **how))
        ties += label_judged(run, JudgeSettings(url, judge)).result["ties"]
        fits.append(fit_labels(run, seed=trial.seed).result)
        known = total
    return fits, ties


def train(run: Path, trial: Trial) -> tuple[dict[str, Any], bool]:
    """DPO as the trial says; whether the fit taught. Where it knows too little for that, the labels alone train."""
    names = ("learning_rate", "epochs", "batch_size", "seed")
    how = {name: getattr(trial, name) for name in names}
    how |= {"dtype": trial.of.dtype, "layers": trial.of.layers}
    if METHODS[trial.method].taught:
        lesson = trial.of.settings["teach"]
        teach = TeachSettings(lesson["count"], pairs=lesson["pairs"], scale=lesson["scale"])
        try:
            return train_policy(run, trial.of.model, teach=teach, **how).result, True
        except CannotTeachError as refused:
            print(f"{run.name}: {refused}", flush=True)
    return train_policy(run, trial.of.model, **how).result, False
