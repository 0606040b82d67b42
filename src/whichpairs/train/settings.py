"""What a DPO run is told, and what it tells; free of torch."""

from dataclasses import dataclass

from whichpairs.errors import UserError


@dataclass(frozen=True)
class DPOSettings:
    """How to train.

    Attributes:
        beta: β of the loss −log σ(β [log π/π_ref(chosen) − log π/π_ref(rejected)]), above 0.
        learning_rate: peak of AdamW's rate; it falls linearly to 0 after the warm-up.
        epochs: passes over the preferences.
        batch_size: preferences a step.
        lora_rank: train low-rank adapters of this rank on every linear layer but the output,
            merged into the saved weights; None trains all parameters.
        max_length: the most tokens of prompt and completion together (the prompt keeps its end,
            the same for both completions; a completion its start); None cuts nothing.
        seed: of the order of preferences and of the adapters, 0 or more.
        warmup_ratio: share of the steps in which the rate rises from 0, in [0, 1).
        max_grad_norm: gradients are scaled down to this norm; above 0.

    Raises:
        UserError: a value out of range.
    """

    beta: float = 0.1
    learning_rate: float = 1e-5
    epochs: int = 1
    batch_size: int = 16
    lora_rank: int | None = None
    max_length: int | None = None
    seed: int = 0
    warmup_ratio: float = 0.1
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        for name in ("beta", "learning_rate", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} must be above 0", f"got {getattr(self, name)}")
        for name in ("epochs", "batch_size", "lora_rank"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} must be at least 1", f"got {value}")
        if self.seed < 0 or not 0 <= self.warmup_ratio < 1:
            raise UserError(
                "seed must be at least 0 and warmup_ratio from 0 to below 1",
                f"got {self.seed} and {self.warmup_ratio}",
            )


@dataclass(frozen=True)
class DPOResult:
    """What came of a training run; the means are of the saved policy over all preferences.

    Attributes:
        steps: optimiser steps taken.
        final_loss: mean DPO loss, nats (log 2 before any training).
        mean_margin: mean of β [log π/π_ref(chosen) − log π/π_ref(rejected)], logits.
        accuracy: share of preferences with a margin above 0.
        seconds: wall-clock time of the training itself.
        losses: TRL's loss of each step's batch, in order, taken before the step.
    """

    steps: int
    final_loss: float
    mean_margin: float
    accuracy: float
    seconds: float
    losses: tuple[float, ...] = ()
