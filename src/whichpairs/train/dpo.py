"""DPO of the language model (Rafailov et al. 2023, arXiv:2305.18290).

    loss = −log σ(β [log π/π_ref(y_w|x) − log π/π_ref(y_l|x)])

The loop is TRL's; `trainer` says what is changed in it and why.
"""

import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whichpairs.errors import UserError
from whichpairs.lm.batch import check_context
from whichpairs.lm.encode import Encoded, encode_all, lengths_within
from whichpairs.lm.logprobs import completion_logprobs
from whichpairs.lm.model import load
from whichpairs.lm.optional import quiet, require
from whichpairs.train.settings import DPOResult, DPOSettings
from whichpairs.train.trainer import Pair, Watch, make_trainer
from whichpairs.types import SILENT, Preference, Progress

require("torch")
import torch  # noqa: E402

if TYPE_CHECKING:
    from whichpairs.lm.model import LanguageModel

__all__ = ["DPOResult", "DPOSettings", "encode_pairs", "train_dpo"]


def train_dpo(
    model_path: str | Path,
    preferences: Sequence[Preference],
    settings: DPOSettings,
    out: Path,
    *,
    device: str = "auto",
    progress: Progress = SILENT,
) -> DPOResult:
    """Train a copy of the model at `model_path`, the reference, and save the policy to `out`.

    One preference is one row, so repeated votes weigh as often as they are given; ``probability``
    is not used. Computation is in float32. The same call gives the same weights on one machine
    with one number of threads. The caller's random state is left as it was, and nothing is
    written but `out` (weights, configuration, tokenizer).

    Args:
        preferences: at least one; chosen and rejected of one prompt.

    Raises:
        UserError: no preference, two prompts in one, a sequence longer than the model's context,
            or no such model.
        MissingExtraError: TRL, or for `lora_rank` peft, is not installed.
    """
    if settings.lora_rank is not None:
        require("peft", "train")
    lm = load(model_path, device=device)
    pairs = encode_pairs(lm, preferences, settings.max_length)
    flat = [e for pair in pairs for e in pair]
    reference = completion_logprobs(lm, flat).reshape(-1, 2)
    with tempfile.TemporaryDirectory() as scratch, quiet(), _own_random_state():
        trainer = make_trainer(lm, pairs, reference, settings, scratch)
        watch = Watch(progress)
        trainer.add_callback(watch)
        begin = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - begin
        policy: Any = trainer.model
        if settings.lora_rank is not None:
            policy = policy.merge_and_unload()
        policy.save_pretrained(out)
        lm.tokenizer.save_pretrained(out)
    progress.finish()
    logratios = completion_logprobs(load(out, device=device), flat).reshape(-1, 2) - reference
    margins = settings.beta * (logratios[:, 0] - logratios[:, 1])
    return DPOResult(
        steps=trainer.state.global_step,
        final_loss=float(np.logaddexp(0.0, -margins).mean()),
        mean_margin=float(margins.mean()),
        accuracy=float((margins > 0).mean()),
        seconds=seconds,
        losses=tuple(watch.losses),
    )


def encode_pairs(
    lm: "LanguageModel", preferences: Sequence[Preference], max_length: int | None
) -> list[Pair]:
    """Token ids of each preference, both completions after the same tokens of the prompt.

    Raises:
        UserError: no preference, two prompts in one, or a sequence longer than the model's context.
    """
    if not preferences:
        raise UserError("DPO needs at least one preference", "got none", "Label some pairs first")
    for p in preferences:
        if p.chosen.prompt != p.rejected.prompt:
            raise UserError(
                "chosen and rejected must be of one prompt", f"pair {p.pair_id} has two"
            )
    encoded = encode_all(lm.tokenizer, [e for p in preferences for e in (p.chosen, p.rejected)])
    pairs = []
    for chosen, rejected in zip(encoded[::2], encoded[1::2], strict=True):
        longer = max(len(chosen.completion_ids), len(rejected.completion_ids))
        prompt, most = lengths_within(len(chosen.prompt_ids), longer, max_length)
        ids = chosen.prompt_ids[len(chosen.prompt_ids) - prompt :]
        pairs.append(
            (
                Encoded(ids, chosen.completion_ids[:most]),
                Encoded(ids, rejected.completion_ids[:most]),
            )
        )
    check_context(lm, max(len(e) for pair in pairs for e in pair))
    return pairs


@contextmanager
def _own_random_state() -> Iterator[None]:
    """Run a block that seeds Python, NumPy and torch, and put their states back."""
    python, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy_state)
