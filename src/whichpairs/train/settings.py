"""What training is told, by labels and by a fit, and what it tells; free of torch and NumPy."""

import re
from dataclasses import dataclass
from math import inf
from typing import Annotated

from whichpairs.errors import UserError
from whichpairs.setting import Setting

LOGS = ("none", "tensorboard", "wandb")
"""Where TRL may write its log; the name is the package's too."""
DTYPES = ("float32", "bfloat16")
"""What matrix products are computed in."""
ALL_LAYERS = "all"


@dataclass(frozen=True)
class DPOSettings:
    """How to train.

    Attributes:
        beta: β of the loss −log σ(β [log π/π_ref(chosen) − log π/π_ref(rejected)]), above 0.
        learning_rate: peak of AdamW's rate; it falls linearly to 0 after the warm-up.
        epochs: passes over the preferences.
        batch_size: preferences a step.
        accumulation: how many equal parts a step's batch is computed in, to save memory; it must
            divide `batch_size`.
        lora_rank: train low-rank adapters of this rank on every linear layer but the output,
            merged into the saved weights; None trains all parameters.
        max_length: the most tokens of prompt and completion together (the prompt keeps its end,
            the same for both completions; a completion its start); None cuts nothing.
        seed: of the order of preferences and of the adapters, 0 or more.
        warmup_ratio: share of the steps (rounded up, but never all of them) in which the rate rises
            from 0, in [0, 1).
        max_grad_norm: gradients are scaled down to this norm; above 0.
        soft_labels: train on each preference's `probability` P by the cross-entropy
            −P log σ(m) − (1 − P) log σ(−m), m being β's margin; where there is none, P is 1.
        validation: share of the prompts, in [0, 1), whose preferences are not trained on but
            choose the epoch that is kept, the reference itself (epoch 0) included; 0 keeps the
            last.
        dtype: ``float32``, or ``bfloat16``: matrix products in it, for the reference too, while
            weights, the optimiser's state and the saved policy are float32.
        layers: ``all``, or ``top:N``: only the last N transformer layers change (fully, or by
            adapters), not the embeddings, the last norm or the output head.

    Raises:
        UserError: a value out of range.
    """

    beta: float = 0.1
    learning_rate: Annotated[float, Setting("Peak learning rate.")] = 1e-5
    epochs: Annotated[int, Setting("Passes over the labels.")] = 1
    batch_size: Annotated[int, Setting("Labels a step.")] = 16
    lora_rank: Annotated[int | None, Setting("Train low-rank adapters only.")] = None
    max_length: Annotated[int | None, Setting("Most tokens a text.")] = None
    seed: int = 0
    warmup_ratio: float = 0.1
    max_grad_norm: float = 1.0
    accumulation: Annotated[
        int, Setting("Parts that a batch is computed in, to save memory.", after="batch_size")
    ] = 1
    soft_labels: Annotated[bool, Setting("Learn the labels' probabilities; a tie is ½.")] = False
    validation: Annotated[
        float, Setting("Share of prompts set aside to choose the best epoch.")
    ] = 0.0
    dtype: Annotated[
        str, Setting("Matrix products in float32 or bfloat16; weights are float32.", after="fit")
    ] = "float32"
    layers: Annotated[
        str, Setting("all, or top:N: only the last N transformer layers change.", after="dtype")
    ] = ALL_LAYERS

    def __post_init__(self) -> None:
        for name in ("beta", "learning_rate", "max_grad_norm"):
            if not 0 < getattr(self, name) < inf:
                raise UserError(f"{name} must be above 0", f"got {getattr(self, name)}")
        for name in ("epochs", "batch_size", "accumulation", "lora_rank"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} must be at least 1", f"got {value}")
        if self.seed < 0 or not 0 <= self.warmup_ratio < 1:
            raise UserError(
                "seed must be at least 0 and warmup_ratio from 0 to below 1",
                f"got {self.seed} and {self.warmup_ratio}",
            )
        if self.batch_size % self.accumulation:
            raise UserError(
                "accumulation must divide batch_size",
                f"got {self.accumulation} and {self.batch_size}",
            )
        if not 0 <= self.validation < 1:
            raise UserError("validation must be from 0 to below 1", f"got {self.validation}")
        if self.dtype not in DTYPES:
            raise UserError(f"dtype must be one of {', '.join(DTYPES)}", f"got {self.dtype}")
        top_layers(self.layers)


def top_layers(layers: str) -> int | None:
    """N of ``top:N``; None for ``all``.

    Raises:
        UserError: it is neither, or N is 0.
    """
    if layers == ALL_LAYERS:
        return None
    found = re.fullmatch(r"top:([0-9]{1,9})", layers)
    if found is None or int(found[1]) < 1:
        raise UserError(
            f"layers must be {ALL_LAYERS}, or top:N with N of at least 1",
            f"got {layers}",
            "pass --layers top:8, say",
        )
    return int(found[1])


@dataclass(frozen=True)
class DPOResult:
    """What came of a training run; the means are of the saved policy over the preferences that it
    was trained on, by their weights.

    Attributes:
        steps: optimiser steps taken.
        final_loss: mean DPO loss, nats (log 2 before any training).
        mean_margin: mean of β [log π/π_ref(chosen) − log π/π_ref(rejected)], logits.
        accuracy: share of preferences with a margin above 0.
        seconds: wall-clock time of the training itself, in this process.
        losses: TRL's loss of each step's batch, in order, taken before the step.
        validation_losses: mean DPO loss over the preferences set aside, of the reference and after
            each epoch; empty where none were.
        kept_epoch: the epoch whose weights were saved, 0 being the reference.
        aside: preferences set aside for validation, not trained on.
        cut: preferences that lost tokens to the longest length.
        equal: preferences left out, of both, because their sides have the same (kept) tokens.
        moved: whether any weight of the saved policy differs from the reference's.
        taught: pairs without a label that it was trained on beside the labelled ones.
        fall: mean of −log π/π_ref over the completions trained on, nats: about KL(π_ref ‖ π) where
            they are π_ref's own.
        shift: root mean square of log π/π_ref over the completions trained on, nats.
    """

    steps: int
    final_loss: float
    mean_margin: float
    accuracy: float
    seconds: float
    losses: tuple[float, ...] = ()
    validation_losses: tuple[float, ...] = ()
    kept_epoch: int | None = None
    aside: int = 0
    cut: int = 0
    equal: int = 0
    moved: bool = True
    shift: float = 0.0
    taught: int = 0
    fall: float = 0.0


@dataclass(frozen=True)
class TeachSettings:
    """How a policy is taught.

    Attributes:
        count: pairs without a label, at least 1.
        pairs: how they are chosen, one of `train.teach_pairs.PAIRS`.
        scale: what the logit of a soft label is multiplied by, above 0.
        label_weight: what a labelled pair weighs in the loss, a taught one weighing 1; above 0.
        fit: the name of the teacher; None is the latest fit.

    Raises:
        UserError: a value out of range.
    """

    count: Annotated[
        int,
        Setting(
            "Pairs without a label that the fit teaches, by soft labels of its own.",
            flags=("--teach",),
        ),
    ]
    pairs: Annotated[
        str,
        Setting(
            "Which: random, margin, best-worst or best-worst-of-5, by the fit.",
            flags=("--teach-pairs",),
        ),
    ] = "random"
    scale: Annotated[
        float,
        Setting(
            "Factor of the soft labels' logits; one knob with the learning rate.",
            flags=("--teach-scale",),
        ),
    ] = 1.0
    label_weight: Annotated[float, Setting("Weight of a labelled pair beside a taught one.")] = 1.0
    fit: Annotated[str | None, Setting("The fit that teaches; else the latest.")] = None

    def __post_init__(self) -> None:
        from whichpairs.train.teach_pairs import PAIRS

        if self.count < 1:
            raise UserError("--teach must be at least 1 pair", f"got {self.count}")
        if self.pairs not in PAIRS:
            raise UserError(f"--teach-pairs must be one of {', '.join(PAIRS)}", f"got {self.pairs}")
        check_scale(self.scale)
        if not 0.0 < self.label_weight < inf:
            raise UserError(
                "--label-weight must be a finite number above 0", f"got {self.label_weight}"
            )


def check_scale(scale: float) -> None:
    """A scale of the teacher is a finite number above 0.

    Raises:
        UserError: it is not.
    """
    if not 0.0 < scale < inf:
        raise UserError("--teach-scale must be a finite number above 0", f"got {scale}")
