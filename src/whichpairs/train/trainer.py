"""TRL's DPO trainer with its data preparation passed by.

TRL tokenises by itself, and puts an end-of-sequence token after every plain text, which teaches the
policy to stop wherever the sampler was cut off. Here the data set brings its token ids, and the
reference's log-probabilities too, so that no second model runs beside the policy.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64

from whichpairs.lm.encode import Encoded
from whichpairs.lm.optional import require
from whichpairs.train.settings import DPOSettings
from whichpairs.types import Progress

for _module in ("torch", "datasets", "accelerate", "trl"):
    require(_module, "train")
from datasets import Dataset  # noqa: E402
from transformers import PrinterCallback, TrainerCallback  # noqa: E402
from trl.trainer.dpo_config import DPOConfig  # noqa: E402
from trl.trainer.dpo_trainer import DPOTrainer  # noqa: E402

if TYPE_CHECKING:
    from whichpairs.lm.model import LanguageModel

Pair = tuple[Encoded, Encoded]
"""Chosen and rejected, with one and the same prompt."""


class PlainDPOTrainer(DPOTrainer):
    """TRL's trainer for a data set that has token ids and reference log-probabilities already."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        return dataset

    def _precompute_ref_logps(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        return dataset

    def _send_telemetry(self) -> None:
        """Tell nobody."""


def make_trainer(
    lm: "LanguageModel",
    pairs: Sequence[Pair],
    reference: Float64[np.ndarray, "pairs 2"],
    settings: DPOSettings,
    scratch: str,
) -> PlainDPOTrainer:
    """TRL's trainer for these pairs; `lm.model` becomes the policy.

    Args:
        reference: log π_ref of chosen and rejected, nats.
        scratch: a folder that TRL may call its own; nothing is kept there.
    """
    lm.model.requires_grad_(True)
    arguments = DPOConfig(
        output_dir=scratch,
        beta=settings.beta,
        learning_rate=settings.learning_rate,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        warmup_steps=settings.warmup_ratio,
        max_grad_norm=settings.max_grad_norm,
        seed=settings.seed,
        max_length=None,
        precompute_ref_log_probs=True,
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=lm.device == "cpu",
        dataloader_pin_memory=False,
        save_strategy="no",
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
    )
    trainer = PlainDPOTrainer(
        model=lm.model,
        args=arguments,
        train_dataset=as_dataset(pairs, reference),
        processing_class=lm.tokenizer,
        peft_config=_lora(lm, settings),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def as_dataset(pairs: Sequence[Pair], reference: Float64[np.ndarray, "pairs 2"]) -> Dataset:
    """The columns that TRL's collator reads."""
    return Dataset.from_dict(
        {
            "prompt_ids": [list(chosen.prompt_ids) for chosen, _ in pairs],
            "chosen_ids": [list(chosen.completion_ids) for chosen, _ in pairs],
            "rejected_ids": [list(rejected.completion_ids) for _, rejected in pairs],
            "ref_chosen_logps": reference[:, 0].tolist(),
            "ref_rejected_logps": reference[:, 1].tolist(),
        }
    )


def _lora(lm: "LanguageModel", settings: DPOSettings) -> Any:
    """peft's configuration, or None: rank r and α = 2 r on every linear layer but the output's."""
    if settings.lora_rank is None:
        return None
    from peft import LoraConfig
    from transformers.pytorch_utils import Conv1D

    return LoraConfig(
        r=settings.lora_rank,
        lora_alpha=2 * settings.lora_rank,
        target_modules="all-linear",
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in lm.model.modules()),
        task_type="CAUSAL_LM",
    )


class Watch(TrainerCallback):
    """Passes the trainer's steps on to a `Progress`, and keeps each step's loss."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.losses: list[float] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Say how many steps there will be."""
        self.progress.start("DPO", int(state.max_steps))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """One step is done."""
        if logs and "loss" in logs:
            self.losses.append(float(logs["loss"]))
            self.progress.advance(1, f"loss {self.losses[-1]:.4f}")
