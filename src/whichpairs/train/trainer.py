"""TRL's DPO trainer with its data preparation passed by, and its loss weighted.

TRL tokenises by itself, and puts an end-of-sequence token after every plain text, which teaches the
policy to stop wherever the sampler was cut off. Here the data set brings its token ids, and the
reference's log-probabilities too, so that no second model runs beside the policy. TRL has no
weights of pairs (trl#5613) and no soft labels, so the loss is our own; loop, optimiser, schedule,
adapters, checkpoints and logs are TRL's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64

from whichpairs.lm.encode import Encoded
from whichpairs.lm.optional import require
from whichpairs.train.scope import linear_layers, set_trained
from whichpairs.train.settings import DPOSettings
from whichpairs.train.trunk import Above, Trunk

for _module in ("torch", "datasets", "accelerate", "trl"):
    require(_module, "train")
import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from torch.nn.functional import logsigmoid  # noqa: E402
from transformers import PrinterCallback  # noqa: E402
from trl.trainer.dpo_config import DPOConfig  # noqa: E402
from trl.trainer.dpo_trainer import DataCollatorForPreference, DPOTrainer  # noqa: E402

if TYPE_CHECKING:
    from whichpairs.lm.model import LanguageModel

Pair = tuple[Encoded, Encoded]
"""Chosen and rejected, with one and the same prompt."""
EXTRA = ("weight", "target")
"""Columns of ours, beside TRL's."""


@dataclass(frozen=True)
class Rows:
    """What DPO learns from, one row a preference.

    Attributes:
        pairs: token ids.
        reference: log π_ref of chosen and rejected, nats, (n, 2).
        weight: w of each row, 0 or more, not all 0, (n,).
        target: P that chosen is preferred, (n,).
        cut: how many preferences lost tokens to the longest length, those left out included.
        equal: how many were left out, because their sides have the same tokens.
    """

    pairs: Sequence[Pair]
    reference: Float64[np.ndarray, "pairs 2"]
    weight: Float64[np.ndarray, " pairs"]
    target: Float64[np.ndarray, " pairs"]
    cut: int = 0
    equal: int = 0

    def with_more(self, other: "Rows") -> "Rows":
        """These rows, then those; what was left out is counted of these alone."""
        return Rows(
            [*self.pairs, *other.pairs],
            np.concatenate([self.reference, other.reference]),
            np.concatenate([self.weight, other.weight]),
            np.concatenate([self.target, other.target]),
            self.cut + other.cut,
            self.equal,
        )

    def mean(self, values: np.ndarray) -> float:
        """Σ w x / Σ w."""
        return float(np.average(values, weights=self.weight))

    def margins(self, logprobs: np.ndarray, beta: float) -> np.ndarray:
        """β [log π/π_ref(chosen) − log π/π_ref(rejected)], logits, from log π (n, 2)."""
        ratios = logprobs - self.reference
        return np.asarray(beta * (ratios[:, 0] - ratios[:, 1]))

    def loss(self, margins: np.ndarray) -> float:
        """Σ w [−P log σ(m) − (1 − P) log σ(−m)] / Σ w, nats."""
        lost = np.logaddexp(0.0, -margins), np.logaddexp(0.0, margins)
        return self.mean(self.target * lost[0] + (1.0 - self.target) * lost[1])


class PairCollator(DataCollatorForPreference):
    """TRL's collator, which drops the columns that it does not know."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """A batch: chosen in its first half, rejected in its second."""
        batch: dict[str, Any] = super().torch_call(examples)
        return batch | {name: torch.tensor([one[name] for one in examples]) for name in EXTRA}


class PairTrainer(DPOTrainer):
    """TRL's trainer for a data set of token ids, reference log-probabilities, weights and targets.

    The loss of a batch of B rows is (1/B) Σ_i w_i [−P_i log σ(m_i) − (1 − P_i) log σ(−m_i)], where
    w has mean 1 over the whole data set (`as_dataset`). So a weight of 2 is the same row twice
    where the batch is the whole set, and on average over the batches of an epoch elsewhere, which
    dividing by the batch's own Σ w would not be. A batch that is computed in parts counts its rows
    alike, in a last part that is smaller too.

    Attributes:
        above: the trained layers over what those below give, where that is kept (`train.trunk`).
    """

    above: Above | None = None

    def get_batch_samples(self, *args: Any) -> Any:
        """The parts of the next step, of which TRL takes the mean whatever their sizes."""
        parts, items = super().get_batch_samples(*args)
        rows = sum(len(part["weight"]) for part in parts)
        for part in parts:
            part["weight"] = part["weight"] * (len(part["weight"]) * len(parts) / rows)
        return parts, items

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The schedule, whose warm-up (of which the first step has rate 0) never takes every
        step."""
        warm = self.args.get_warmup_steps(num_training_steps)
        self.args.warmup_steps = max(0, min(warm, num_training_steps - 1))
        return super().create_scheduler(num_training_steps, optimizer)

    def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        return dataset

    def _precompute_ref_logps(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        return dataset

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        logps, aux = self._logps(model, inputs)
        rewards = self.beta * (logps - torch.cat([inputs[n] for n in _REFERENCE]))
        chosen, rejected = rewards.chunk(2)
        margins, target = chosen - rejected, inputs["target"]
        losses = -target * logsigmoid(margins) - (1.0 - target) * logsigmoid(-margins)
        loss = (inputs["weight"] * losses).mean()
        told = {
            "rewards/chosen": chosen,
            "rewards/rejected": rejected,
            "rewards/margins": margins,
            "rewards/accuracies": (margins > 0).float(),
        }
        for name, values in told.items():
            mean = self.accelerator.gather(values.detach()).mean().item()
            self._metrics["train"][name].append(mean)
        return loss if aux is None else loss + self.router_aux_loss_coef * aux

    def _logps(self, model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, Any]:
        """log π of every completion, (2 B,), and a mixture of experts' balance loss, or None.

        TRL's fused head never holds all logits, which large vocabularies need on a GPU. Without
        Triton it works out every place, prompts and padding too, and once more for the gradient;
        on a CPU the places of completions alone are faster.
        """
        known = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}
        mask = inputs["completion_mask"].bool()
        run: Any = model if self.above is None else partial(self.above.through, model)
        if self.aux_loss_enabled or mask.device.type != "cpu":
            more = {"output_router_logits": True} if self.aux_loss_enabled else {}
            labels = inputs["input_ids"].masked_fill(~mask, -100)
            out = run(**known, **more, labels=labels, fused_lm_head=True, use_cache=False)
            return out.log_probs.sum(1), out.aux_loss if self.aux_loss_enabled else None
        keep = mask.shape[1] - int(mask.any(0).int().argmax()) if mask.any() else 1
        logits = run(**known, logits_to_keep=keep + 1, use_cache=False).logits[:, :-1].float()
        mask, targets = mask[:, -keep:], inputs["input_ids"][:, -keep:]
        logits, targets = logits[mask], targets[mask]
        tokens = logits.gather(1, targets[:, None])[:, 0] - logits.logsumexp(1)
        return tokens.new_zeros(mask.shape).masked_scatter(mask, tokens).sum(1), None

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """No card: a checkpoint is scratch."""

    def _send_telemetry(self) -> None:
        """Tell nobody."""


_REFERENCE = ("ref_chosen_logps", "ref_rejected_logps")


def make_trainer(
    lm: "LanguageModel",
    rows: Rows,
    settings: DPOSettings,
    scratch: str,
    *,
    trunk: Trunk | None = None,
    save_steps: int = 0,
    log_to: str = "none",
) -> PairTrainer:
    """TRL's trainer for these rows; `lm.model` becomes the policy.

    Args:
        scratch: a folder that TRL may call its own.
        trunk: what the layers that are not trained give, where it is kept.
        save_steps: steps between checkpoints there; 0 for none.
        log_to: ``none``, ``tensorboard`` (event files in `scratch`/runs) or ``wandb``.
    """
    set_trained(lm, settings.layers)
    arguments = DPOConfig(
        output_dir=scratch,
        beta=settings.beta,
        learning_rate=settings.learning_rate,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size // settings.accumulation,
        gradient_accumulation_steps=settings.accumulation,
        warmup_steps=settings.warmup_ratio,
        max_grad_norm=settings.max_grad_norm,
        seed=settings.seed,
        max_length=None,
        precompute_ref_log_probs=True,
        bf16=settings.dtype == "bfloat16",
        gradient_checkpointing=False,
        use_cpu=lm.device == "cpu",
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        save_strategy="steps" if save_steps else "no",
        save_steps=save_steps or 500,
        save_total_limit=2,
        logging_steps=1,
        report_to=log_to,
        disable_tqdm=True,
    )
    trainer = PairTrainer(
        model=lm.model,
        args=arguments,
        data_collator=PairCollator(pad_token_id=lm.tokenizer.pad_token_id),
        train_dataset=as_dataset(rows),
        processing_class=lm.tokenizer,
        peft_config=_lora(lm, settings),
    )
    trainer.above = None if trunk is None else Above(lm, trunk)
    trainer.remove_callback(PrinterCallback)
    return trainer


def as_dataset(rows: Rows) -> Dataset:
    """The columns that the collator reads; the weights get mean 1."""
    return Dataset.from_dict(
        {
            "prompt_ids": [list(chosen.prompt_ids) for chosen, _ in rows.pairs],
            "chosen_ids": [list(chosen.completion_ids) for chosen, _ in rows.pairs],
            "rejected_ids": [list(rejected.completion_ids) for _, rejected in rows.pairs],
            "ref_chosen_logps": rows.reference[:, 0].tolist(),
            "ref_rejected_logps": rows.reference[:, 1].tolist(),
            "weight": (rows.weight / rows.weight.mean()).tolist(),
            "target": rows.target.tolist(),
        }
    )


def _lora(lm: "LanguageModel", settings: DPOSettings) -> Any:
    """peft's configuration, or None: rank r, α = 2 r, every linear layer of those chosen but the
    output's."""
    if settings.lora_rank is None:
        return None
    from peft import LoraConfig
    from transformers.pytorch_utils import Conv1D

    return LoraConfig(
        r=settings.lora_rank,
        lora_alpha=2 * settings.lora_rank,
        target_modules=linear_layers(lm, settings.layers),
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in lm.model.modules()),
        task_type="CAUSAL_LM",
    )
