"""Stage train: DPO of the language model on the labels so far."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from whichpairs.errors import MissingExtraError, UserError
from whichpairs.types import SILENT, Progress
from whichpairs.workflow.preferences import preferences
from whichpairs.workflow.stage import Outcome, find
from whichpairs.workflow.workspace import workspace


def train_policy(
    run: str | Path,
    model: str | Path,
    *,
    learning_rate: float = 1e-5,
    epochs: int = 1,
    batch_size: int = 16,
    lora_rank: int | None = None,
    max_length: int | None = None,
    seed: int | None = None,
    device: str = "auto",
    beta: float | None = None,
    progress: Progress = SILENT,
) -> Outcome:
    """Train a policy from `model` by DPO through TRL; `model` stays as it is.

    Labels of held-out prompts are never trained on.

    Raises:
        UserError: no labels, no model; MissingExtraError: TRL is not installed.
    """
    from whichpairs.train.settings import DPOSettings

    with workspace(run, beta) as space:
        settings = DPOSettings(
            beta=space.run.beta,
            learning_rate=learning_rate,
            epochs=epochs,
            batch_size=batch_size,
            lora_rank=lora_rank,
            max_length=max_length,
            seed=space.run.seed if seed is None else seed,
        )
        rows, ties = preferences(space)
        if not rows:
            raise UserError(
                "training needs labels of prompts that are not held out",
                "there are none",
                f"run: whichpairs select and whichpairs label --run {space.run.root}",
            )
        if not _installed("trl"):  # said before the seconds that importing torch takes
            raise MissingExtraError("trl", "train")
        from whichpairs.lm.model import find_folder, fingerprint

        inputs = {"model": fingerprint(find_folder(model)), "labels": space.labels_fingerprint}
        before = find(space.run, "policies", "train", vars(settings), inputs)
        if before is not None:
            message = f"Policy {before[0]} is of these labels and settings; nothing changed."
            folder = space.run.root / "policies" / before[0]
            return Outcome(message, before[1].result, True, folder)
        name = space.run.next_number("policies")

        def make(folder: Path) -> dict[str, Any]:
            from whichpairs.train.dpo import train_dpo

            done = train_dpo(
                model, rows, settings, folder / "model", device=device, progress=progress
            )
            found = {k: v for k, v in vars(done).items() if k != "losses"}
            base = {"policy": name, "reference": str(model), "labels": len(rows)}
            return {**base, "ties_left_out": ties, **found}

        r = space.run.commit(("policies", name), "train", vars(settings), inputs, make).result
        message = (
            f"Policy {name}: {r['labels']} labels, {r['steps']} steps, loss {r['final_loss']:.4f}, "
            f"{r['seconds']:.1f} s.\n{space.run.root / 'policies' / name / 'model'}"
        )
        return Outcome(message, r, False, space.run.root / "policies" / name)


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
