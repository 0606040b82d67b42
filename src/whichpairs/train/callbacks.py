"""What is done between TRL's steps: telling how far it is, checkpoints that are whole, the best
epoch."""

import json
import math
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from whichpairs.lm.encode import Encoded
from whichpairs.lm.logprobs import completion_logprobs
from whichpairs.run.files import to_json, write_whole
from whichpairs.train.scope import arithmetic
from whichpairs.train.trainer import Rows
from whichpairs.types import Progress

if TYPE_CHECKING:
    from whichpairs.lm.model import LanguageModel

WHOLE = "whole.json"
"""Written into a checkpoint last: one without it was cut short by a kill."""


class Watch(TrainerCallback):
    """Passes the trainer's steps on to a `Progress`."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Say how many steps there will be, and how many an earlier call took."""
        self.progress.start("DPO", int(state.max_steps))
        if state.global_step:
            self.progress.advance(int(state.global_step), "from a checkpoint")

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """One step is done."""
        if logs and "loss" in logs:
            self.progress.advance(1, f"loss {float(logs['loss']):.4f}")


class Seal(TrainerCallback):
    """Marks every checkpoint as whole, once it is on the disk."""

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """TRL has just written a checkpoint; older ones are there still."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        for file in folder.iterdir():
            handle = os.open(file, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        write_whole(folder / WHOLE, to_json({"step": int(state.global_step)}))


def last_checkpoint(scratch: Path) -> str | None:
    """The latest whole checkpoint of a training that was killed; halves are removed."""
    found: dict[int, Path] = {}
    for folder in scratch.glob("checkpoint-*"):
        if (folder / WHOLE).is_file():
            found[int(folder.name.removeprefix("checkpoint-"))] = folder
        else:
            shutil.rmtree(folder)
    return str(found[max(found)]) if found else None


class BestEpoch(TrainerCallback):
    """Keeps the weights of the epoch with the least loss on rows that are not trained on.

    Epoch 0 is the reference. What is kept lies in files, so that a resumed training still has it;
    epochs that a resumed training goes through again are judged again.

    Args:
        rows: the rows set aside; beta: of the loss; scratch: where the weights are kept meanwhile;
        dtype: of the arithmetic, that of the rows' reference.
    """

    def __init__(
        self, lm: "LanguageModel", rows: Rows, beta: float, scratch: Path, dtype: str = "float32"
    ) -> None:
        self.lm, self.rows, self.beta, self.dtype = lm, rows, beta, dtype
        self.weights, self.file = scratch / "best.safetensors", scratch / "epochs.json"
        known = json.loads(self.file.read_text()) if self.file.is_file() else {}
        self.losses: dict[int, float] = {int(epoch): loss for epoch, loss in known.items()}

    @property
    def best(self) -> int:
        """The epoch with the least loss; the earlier of equals."""
        return min(self.losses, key=lambda epoch: (self.losses[epoch], epoch))

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
    ) -> None:
        """Judge the reference, or the end of an epoch where a kill came before it was judged."""
        epoch = state.global_step * args.num_train_epochs / state.max_steps
        if epoch == int(epoch):
            self._judge(int(epoch), model)

    def on_epoch_end(
        self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
    ) -> None:
        """Judge an epoch."""
        self._judge(round(state.epoch), model)

    def _judge(self, epoch: int, model: Any) -> None:
        self.losses = {e: loss for e, loss in self.losses.items() if e < epoch}
        flat: list[Encoded] = [e for pair in self.rows.pairs for e in pair]
        with arithmetic(self.lm.device, self.dtype):
            logprobs = completion_logprobs(self.lm, flat).reshape(-1, 2)
        loss = self.rows.loss(self.rows.margins(logprobs, self.beta))
        self.losses[epoch] = loss if math.isfinite(loss) else sys.float_info.max  # it diverged
        if self.best == epoch:
            aside = self.weights.with_suffix(".new")
            save_file(trained(model), aside)
            os.replace(aside, self.weights)
        write_whole(self.file, to_json({str(e): loss for e, loss in self.losses.items()}))

    def restore(self, model: Any) -> None:
        """Give `model` the weights of the best epoch."""
        kept = load_file(self.weights)
        for name, parameter in trained(model).items():
            parameter.data.copy_(kept[name])


def checksum(model: Any) -> int:
    """A number that tells whether any of a model's (float32) weights has changed; −0 is 0."""
    weights = (p.detach() + 0.0 for p in model.parameters())
    return sum(int(w.contiguous().view(torch.int32).sum(dtype=torch.int64)) for w in weights)


def trained(model: Any) -> dict[str, torch.Tensor]:
    """The parameters that training changes, by name; shared ones once."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
