"""The paper's IMDb experiments in small: which prompts, or which answers of each prompt, to have compared.

*Prompts*: many prompts with two completions each, of which N are compared; *responses*: few prompts with eight
completions each, one pair of every prompt. A run is one stream of label noise and one order of training; every method
gets the same openings, completions, noise, trainings and held-out prompts. A method's policies, trained at several
strengths, make its reward–KL frontier (frontier.py).
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from kept import Cell, Job, Say, keep, work_folder
from runs import (
    METHODS,
    copy_run,
    one_thread,
    paper_features,
    pick,
    prompts_with_pairs,
    short_name,
)

from whichpairs import GenerateSettings, generate_pool, label_simulated, score_pool, train_policy
from whichpairs.lm.folder import identity
from whichpairs.run.files import write_whole
from whichpairs.workflow.workspace import workspace

MEASURES = ("recipes/paper/selection.py",)
KINDS = ("prompts", "responses")
SCORE = "sentiment"


@dataclass(frozen=True)
class Models:
    """What an experiment is run with.

    Attributes:
        policy: a language model's folder or name; reward: a reward's folder.
        openings: a file of prompts; None: the policy writes its own.
        dtype, layers: how the policy is trained (`train_policy`).
    """

    policy: str
    reward: str
    openings: str | None
    dtype: str
    layers: str


@dataclass(frozen=True)
class Size:
    """How much of it.

    Attributes:
        prompts, completions: of the pool; labels: N; runs: of each method; held_out: prompts on which
            policies are measured; samples: of each of those.
    """

    prompts: int
    completions: int
    labels: int
    runs: int
    held_out: int
    samples: int


@dataclass(frozen=True)
class Plan:
    """One of `KINDS` at one size, and where it is kept.

    Attributes:
        common: the rest of settings.json that it goes by.
    """

    kind: str
    models: Models
    size: Size
    common: dict[str, Any]
    folder: Path

    @classmethod
    def of(cls, kind: str, models: Models, size: Size, common: dict[str, Any], out: Path) -> "Plan":
        """With the folder that its inputs name; more runs of the same share one."""
        names = ("beta", "temperature", "dim", "opening_tokens", "new_tokens", "batch_size")
        used = {name: common[name] for name in names} | {"strengths": common["strengths"]}
        openings = models.openings and Path(models.openings).read_text(encoding="utf-8")
        inputs = [kind, identity(models.policy), _content(models.reward), openings]
        inputs += [models.dtype, models.layers, {**vars(size), "runs": None}, used]
        return cls(kind, models, size, used, work_folder(out / kind, MEASURES, *inputs))

    @property
    def strengths(self) -> list[tuple[float, int]]:
        """Learning rate and epochs of every training."""
        return [(float(rate), int(epochs)) for rate, epochs in self.common["strengths"]]

    def jobs(self) -> list[Job]:
        """A cell for every method and run; all methods of a run before the next run."""
        return [
            Job(
                self.folder / "cells" / f"{short_name(method, run)}.json",
                cell,
                (self, method, run),
            )
            for run in range(self.size.runs)
            for method in METHODS
        ]


def _content(folder: str) -> str:
    from whichpairs.lm.folder import fingerprint

    return fingerprint(Path(folder))


def prepare(plan: Plan, say: Say) -> None:
    """Openings, the pool with its score and features, and the reference on the held-out prompts; kept."""
    one_thread()
    _openings(plan)
    run, models, size = plan.folder / "pool", plan.models, plan.size
    asked = GenerateSettings(
        model=models.policy,
        prompts=str(plan.folder / "pool.jsonl"),
        n=size.completions,
        max_new_tokens=plan.common["new_tokens"],
    )
    say(generate_pool(run, asked, beta=plan.common["beta"]).message)
    say(score_pool(run, models.reward, name=SCORE).message)
    paper_features(run, models.policy, plan.common["dim"], say)
    keep(reference_job(plan))
    say(f"{plan.kind}: the reference is measured")


def reference_job(plan: Plan) -> Job:
    """The reference on the held-out prompts: ``reward`` of each."""
    return Job(plan.folder / "reference.json", measure_reference, (plan,))


def _openings(plan: Plan) -> None:
    """The held-out prompts first, then the pool's, so that both experiments are judged on the same ones."""
    count, path = plan.size.held_out + plan.size.prompts, plan.folder / "pool.jsonl"
    if path.exists():
        return
    found = own_openings(plan, count) if plan.models.openings is None else given(plan)
    if len(found) < count:
        raise SystemExit(f"{count} different openings are needed, and there are {len(found)}")
    for name, some in (
        ("held-out", found[: plan.size.held_out]),
        ("pool", found[plan.size.held_out : count]),
    ):
        lines = [json.dumps({"prompt": text}) for text in some]
        write_whole(plan.folder / f"{name}.jsonl", "\n".join(lines) + "\n")


def given(plan: Plan) -> list[str]:
    """Of the file."""
    assert plan.models.openings is not None
    rows = Path(plan.models.openings).read_text(encoding="utf-8").splitlines()
    return list(dict.fromkeys(str(json.loads(row)["prompt"]) for row in rows if row))


def own_openings(plan: Plan, count: int) -> list[str]:
    """What the policy writes from nothing."""
    from whichpairs.generate.transformers import Sampling, sample
    from whichpairs.lm.model import load

    asked = Sampling(n=count * 3 // 2 + 8, max_new_tokens=plan.common["opening_tokens"])
    (drawn,) = sample(load(plan.models.policy), [""], asked, seed=0)
    texts = (one.text for one in drawn if not one.finished and one.exact and one.text.strip())
    return list(dict.fromkeys(texts))


def cell(plan: Plan, method: str, seed: int) -> Cell:
    """Pick and label once, train at every strength, measure each policy on the held-out prompts."""
    one_thread()
    run = plan.folder / "runs" / short_name(method, seed)
    copy_run(plan.folder / "pool", run)
    labels = min(plan.size.labels, len(prompts_with_pairs(run)))
    batch = pick(run, method, labels, seed)
    label_simulated(run, SCORE, temperature=plan.common["temperature"], seed=seed)
    found = []
    for rate, epochs in plan.strengths:
        trained = train_policy(
            run,
            plan.models.policy,
            learning_rate=rate,
            epochs=epochs,
            batch_size=plan.common["batch_size"],
            dtype=plan.models.dtype,
            layers=plan.models.layers,
            seed=seed,
        )
        assert trained.folder is not None
        found.append(
            {
                "learning_rate": rate,
                "epochs": epochs,
                "loss": trained.result["final_loss"],
                **measure(plan, str(trained.folder / "model")),
            }
        )
    shutil.rmtree(run / "policies")
    return {
        "method": method,
        "run": seed,
        "labels": batch["labels"],
        "predicted_gap": batch["predicted_gap"],
        "margin": _margin(run),
        "policies": found,
    }


def _margin(run: Path) -> float:
    """Mean |r_a − r_b| of the picked pairs, logits."""
    with workspace(run) as space:
        score = space.score(SCORE)
        rows = np.array([space.pool.rows(pair[1:]) for pair in space.known_pairs.values()])
    return float(np.abs(score[rows[:, 0]] - score[rows[:, 1]]).mean())


def measure(plan: Plan, policy: str) -> dict[str, list[float]]:
    """Reward and KL of a policy on every held-out prompt; all policies share their noise."""
    from whichpairs.evaluate.policy import evaluate_policy
    from whichpairs.evaluate.reward import load_reward
    from whichpairs.lm.model import load

    base = load(plan.models.policy)
    own = base if policy == plan.models.policy else load(policy)
    rows = (plan.folder / "held-out.jsonl").read_text(encoding="utf-8").splitlines()
    found = evaluate_policy(
        own,
        base,
        [json.loads(row)["prompt"] for row in rows],
        load_reward(plan.models.reward),
        beta=plan.common["beta"],
        reward_scale=1.0 / plan.common["temperature"],
        samples_per_prompt=plan.size.samples,
        max_new_tokens=plan.common["new_tokens"],
        seed=0,
    )
    return {"reward": found.reward.tolist(), "kl": found.kl.tolist()}


def measure_reference(plan: Plan) -> Cell:
    """The same of the reference itself."""
    return dict(measure(plan, plan.models.policy))
