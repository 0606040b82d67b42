"""Stage train: DPO of the language model on the labels so far.

RUN/policies.partial/KEY/   checkpoints of a training that has not ended; KEY stands for its
                            settings, labels and model
RUN/policies/001/           model/ (the policy), runs/ (TRL's log, where asked for)
"""

import hashlib
import json
import shutil
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whichpairs.errors import MissingExtraError, UserError
from whichpairs.run.once import Outcome, find
from whichpairs.types import SILENT, Preference, Progress
from whichpairs.wording import counted
from whichpairs.workflow.train.preferences import preferences
from whichpairs.workflow.workspace import Workspace, workspace

if TYPE_CHECKING:
    from whichpairs.train.settings import DPOSettings, TeachSettings
    from whichpairs.workflow.train.teach import Teaching

_LATER = ("accumulation", "soft_labels", "validation", "dtype", "layers")
"""Settings that older manifests do not have: written only where they are not the default."""
HARDLY = 0.01
"""Root mean square of log π/π_ref, nats, below which a policy has hardly moved: no completion's
probability by more than about 1 %."""
FAR = 0.5
"""What J = E r − β KL pays for the way from the reference, in units of the reward (logits where
labels come from one), from which on a gain is no matter of course. No verdict of its own: in the
recipes policies that gained 4 paid 0.8, and others that paid as much lost 0.7."""


def train_policy(
    run: str | Path,
    model: str | Path,
    *,
    learning_rate: float = 1e-5,
    epochs: int = 1,
    batch_size: int = 16,
    accumulation: int = 1,
    lora_rank: int | None = None,
    max_length: int | None = None,
    soft_labels: bool = False,
    validation: float = 0.0,
    dtype: str = "float32",
    layers: str = "all",
    seed: int | None = None,
    teach: "TeachSettings | None" = None,
    save_every: int = 500,
    log_to: str = "none",
    device: str = "auto",
    beta: float | None = None,
    progress: Progress = SILENT,
) -> Outcome:
    """Train a policy from `model` by DPO through TRL; `model` stays as it is.

    Labels of held-out prompts are never trained on. A killed call goes on from its last checkpoint
    when it is made again.

    Args:
        teach: train on pairs that nobody has answered too, with the fit's soft labels
            (`whichpairs.train.teach`); None trains on the labels alone.
        save_every: steps between checkpoints; 0 for none.
        log_to: ``none``, ``tensorboard`` or ``wandb``; see `DPOSettings` for the others.

    Raises:
        UserError: no labels, no model, or a fit that cannot teach; MissingExtraError: TRL is not
            installed.
    """
    from whichpairs.train.settings import DPOSettings

    with workspace(run, beta) as space:
        settings = DPOSettings(
            beta=space.run.beta,
            learning_rate=learning_rate,
            epochs=epochs,
            batch_size=batch_size,
            accumulation=accumulation,
            lora_rank=lora_rank,
            max_length=max_length,
            soft_labels=soft_labels,
            validation=validation,
            dtype=dtype,
            layers=layers,
            seed=space.run.seed if seed is None else seed,
        )
        return _train(
            space,
            model,
            settings,
            teach,
            save_every=save_every,
            log_to=log_to,
            device=device,
            progress=progress,
        )


def _train(
    space: Workspace,
    model: str | Path,
    settings: "DPOSettings",
    teach: "TeachSettings | None",
    *,
    save_every: int,
    log_to: str,
    device: str,
    progress: Progress,
) -> Outcome:
    if save_every < 0:
        raise UserError("save-every must be at least 0", f"got {save_every}")
    rows, ties = preferences(space, soft=settings.soft_labels)
    if not rows:
        raise UserError(
            "training needs labels of prompts that are not held out",
            "there are none",
            f"run: whichpairs select and whichpairs label --run {space.run.root}",
        )
    taught = _teaching(space, teach, settings.seed)
    if not _installed("trl"):  # said before the seconds that importing torch takes
        raise MissingExtraError("trl", "train")
    chosen = _written(settings) | (taught.written if taught else {})
    inputs = _inputs(space, model, rows, settings.soft_labels)
    inputs |= {"teacher": taught.teacher} if taught else {}
    before = find(space.run, "policies", "train", chosen, inputs)
    if before is not None:
        message = f"Policy {before[0]} is of these labels and settings; nothing changed."
        folder = space.run.root / "policies" / before[0]
        return Outcome(message, before[1].result, True, folder)
    name = space.run.next_number("policies")
    scratch = _scratch(space, chosen, inputs)

    def make(folder: Path) -> dict[str, Any]:
        from whichpairs.train.dpo import train_dpo

        labelled, free = _beside(space, rows, taught)
        done = train_dpo(
            model,
            labelled,
            settings,
            folder / "model",
            taught=free,
            device=device,
            scratch=scratch,
            save_steps=save_every,
            log_to=log_to,
            progress=progress,
        )
        found = {k: v for k, v in vars(done).items() if k != "losses"}
        base = {
            "policy": name,
            "reference": str(model),
            "labels": len(rows) - done.aside - done.equal,
        }
        found["taught"] = taught.result(done.taught) if taught else None
        return {**base, "ties_left_out": ties, **found}

    r = space.run.commit(("policies", name), "train", chosen, inputs, make).result
    shutil.rmtree(scratch, ignore_errors=True)
    with suppress(OSError):
        scratch.parent.rmdir()
    return Outcome(_message(space, r), r, False, space.run.root / "policies" / name)


def _teaching(space: Workspace, settings: "TeachSettings | None", seed: int) -> "Teaching | None":
    if settings is None:
        return None
    from whichpairs.workflow.train.teach import teaching  # here, for it imports polars

    return teaching(space, settings, seed)


def _beside(
    space: Workspace, rows: list[Preference], taught: "Teaching | None"
) -> tuple[list[Preference], list[Preference]]:
    """The labelled pairs with their weight, and the taught ones."""
    if taught is None:
        return rows, []
    from whichpairs.workflow.train.teach import as_preferences

    lesson, weight = taught.lesson, taught.settings.label_weight
    free = as_preferences(space, lesson.pairs, lesson.probability)
    return [replace(p, weight=weight) for p in rows], free


def _written(settings: "DPOSettings") -> dict[str, Any]:
    defaults = {name: getattr(type(settings), name) for name in _LATER}
    return {k: v for k, v in vars(settings).items() if k not in defaults or v != defaults[k]}


def _inputs(
    space: Workspace, model: str | Path, rows: list[Preference], soft: bool
) -> dict[str, Any]:
    """What the policy is made from."""
    from whichpairs.lm.folder import identity

    inputs = {"model": identity(model), "labels": space.labels_fingerprint}
    if soft:
        said = [[p.pair_id, p.chosen.completion, p.probability] for p in rows]
        inputs["probabilities"] = _digest(sorted(said, key=str))
    return inputs


def _scratch(space: Workspace, settings: dict[str, Any], inputs: dict[str, Any]) -> Path:
    return space.run.root / "policies.partial" / _digest([settings, inputs])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _message(space: Workspace, r: dict[str, Any]) -> str:
    text = (
        f"Policy {r['policy']}: {counted(r['labels'], 'label')}, {counted(r['steps'], 'step')}, "
        f"loss {r['final_loss']:.4f}, {r['seconds']:.1f} s."
    )
    if r["validation_losses"]:
        losses = ", ".join(f"{loss:.4f}" for loss in r["validation_losses"])
        text += f"\nValidation loss of the reference and each epoch: {losses}; "
        kept = f"epoch {r['kept_epoch']}" if r["kept_epoch"] else "the reference"
        text += f"kept: {kept}; {counted(r['aside'], 'label was', 'labels were')} set aside for it."
    if r["taught"]:
        from whichpairs.workflow.train.teach import said

        text += f"\nBeside them {said(r['taught'])}."
    if r["cut"]:
        text += f"\n{counted(r['cut'], 'pair was', 'pairs were')} cut to fit --max-length."
    if r["equal"]:
        text += (
            f"\n{counted(r['equal'], 'label was', 'labels were')} left out: two sides of the "
            "same tokens."
        )
    text += _learnt(r) or _walked_off(r, space)
    return f"{text}\n{space.run.root / 'policies' / r['policy'] / 'model'}"


def _learnt(r: dict[str, Any]) -> str:
    """A line on a policy that is its reference, or all but; else nothing."""
    remedy = "a larger --learning-rate or more --epochs moves it"
    if not r["moved"]:
        why = "" if r["kept_epoch"] == 0 else f"; {remedy}"
        return f"\nNothing was learned: the policy's weights are the reference's{why}."
    if r["shift"] < HARDLY:
        return (
            f"\nThe policy hardly moved: log π/π_ref of what it was trained on is {r['shift']:.2g} "
            f"nats (root mean square); {remedy}."
        )
    return ""


def _walked_off(r: dict[str, Any], space: Workspace) -> str:
    """A line on a policy that is worse than its reference, as far as training knows, or may be;
    else nothing."""
    if r["final_loss"] > log(2.0):
        return (
            "\nThe policy walked off: on the labels that it was trained on it loses "
            f"{r['final_loss']:.4f} nats "
            "a label, more than the reference (0.6931); a smaller --learning-rate may help."
        )
    fall, price = r.get("fall", 0.0), space.run.beta * r.get("fall", 0.0)
    if price < FAR:
        return ""
    return (
        f"\nThe policy went far: what it was trained on became less likely by {fall:.3g} nats on "
        "average "
        f"(about its KL), for which J = E r − β KL pays {price:.2g}, {FAR:g} or more: J rises only "
        "if the "
        f"reward does by more, which whichpairs evaluate --run {space.run.root} tells; a smaller "
        "--learning-rate or fewer --epochs keep it nearer."
    )


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
