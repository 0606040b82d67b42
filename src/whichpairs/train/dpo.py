"""DPO of the language model (Rafailov et al. 2023, arXiv:2305.18290).

    loss = −log σ(β [log π/π_ref(y_w|x) − log π/π_ref(y_l|x)])

The loop is TRL's; `trainer` says what is changed in it and why.
"""

import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whichpairs.errors import UserError
from whichpairs.lm.batch import check_context
from whichpairs.lm.encode import Encoded, encode_all, lengths_within
from whichpairs.lm.logprobs import completion_logprobs
from whichpairs.lm.model import load
from whichpairs.lm.optional import quiet, require
from whichpairs.streams import Stream, stream
from whichpairs.train.scope import arithmetic, chosen_blocks
from whichpairs.train.settings import LOGS, DPOResult, DPOSettings, top_layers
from whichpairs.train.trainer import Pair, PairTrainer, Rows, make_trainer
from whichpairs.train.trunk import Trunk, make_trunk
from whichpairs.types import SILENT, Preference, Progress
from whichpairs.wording import counted, plural

require("torch")
import torch  # noqa: E402

from whichpairs.train.callbacks import BestEpoch, Seal, Watch, checksum, last_checkpoint  # noqa: E402

if TYPE_CHECKING:
    from whichpairs.lm.model import LanguageModel

__all__ = ["DPOResult", "DPOSettings", "encode_pairs", "read_rows", "set_aside", "train_dpo"]


def train_dpo(
    model_path: str | Path,
    preferences: Sequence[Preference],
    settings: DPOSettings,
    out: Path,
    *,
    taught: Sequence[Preference] = (),
    device: str = "auto",
    scratch: Path | None = None,
    save_steps: int = 0,
    log_to: str = "none",
    progress: Progress = SILENT,
) -> DPOResult:
    """Train a copy of the model at `model_path`, the reference, and save the policy to `out`.

    One preference is one row, so repeated votes weigh as often as they are given, and each as much
    as its ``weight`` says; one whose sides have the same tokens once they are cut is left out;
    ``probability`` counts where `settings.soft_labels` says so. Weights are float32 throughout, and
    matrix products as `settings.dtype` says. The same call gives the same weights on one machine
    with one number of threads, a resumed one too. The caller's random state is left as it was, and
    nothing is written but `out` (weights, configuration, tokenizer), `scratch`, and the log.

    Args:
        preferences: at least one; chosen and rejected of one prompt.
        taught: pairs that nobody has answered, beside them, with a `probability` that always
            counts; none of a prompt that is set aside for validation.
        scratch: where checkpoints lie; the same call on a scratch that a killed one left goes on
            from its last checkpoint. None is a temporary folder.
        save_steps: steps between checkpoints; 0 for none.
        log_to: ``none``; ``tensorboard``: event files in the folder ``runs`` beside `out`;
            ``wandb``.

    Raises:
        UserError: no preference, two prompts in one, all equal, bad weights, a sequence longer than
            the model's context, no such model, `log_to` is not installed, or training diverged.
        MissingExtraError: TRL, or for `lora_rank` peft, is not installed.
    """
    check_log(log_to)
    if settings.lora_rank is not None:
        require("peft", "train")
    kept, aside = set_aside(preferences, settings.validation, settings.seed)
    lm = load(model_path, device=device)
    chosen_blocks(lm, settings.layers)  # a wrong number is said before the reference is scored
    start = checksum(lm.model)
    free = _beside(taught, aside) if taught else []
    trunk = _trunk(lm, [*kept, *free], settings)
    known = lm if trunk is None else trunk.on(lm)
    rows, shown = read_rows(known, kept, settings), 0
    if free:
        lesson = read_rows(known, free, replace(settings, soft_labels=True))
        rows, shown = rows.with_more(lesson), len(lesson.pairs)
    judge = read_rows(lm, aside, settings) if aside else None
    with _folder(scratch) as folder, quiet(), _own_random_state():
        trainer = make_trainer(
            lm, rows, settings, str(folder), trunk=trunk, save_steps=save_steps, log_to=log_to
        )
        best = BestEpoch(lm, judge, settings.beta, folder, settings.dtype) if judge else None
        for callback in (Watch(progress), Seal(), best):
            if callback:
                trainer.add_callback(callback)
        begin = time.perf_counter()
        trainer.train(resume_from_checkpoint=last_checkpoint(folder))
        seconds = time.perf_counter() - begin
        moved = _save(trainer, best, out) != start
        if (folder / "runs").is_dir():
            shutil.copytree(folder / "runs", out.parent / "runs")
    progress.finish()
    policy = load(out, device=device)
    policy = policy if trunk is None else trunk.on(policy)
    saved = _logprobs(policy, rows.pairs, settings.dtype)
    result = _result(trainer, rows, saved, seconds, best)
    counts = {n: sum(getattr(r, n) for r in (rows, judge) if r) for n in ("cut", "equal")}
    return replace(
        result, aside=len(judge.pairs) if judge else 0, taught=shown, moved=moved, **counts
    )


def _result(
    trainer: PairTrainer,
    rows: Rows,
    logprobs: np.ndarray,
    seconds: float,
    best: BestEpoch | None,
) -> DPOResult:
    margins = rows.margins(logprobs, trainer.beta)
    if not np.isfinite(margins).all():
        raise UserError(
            "training must end with finite weights",
            "it diverged: the policy's log-probabilities are not finite",
            "use a smaller --learning-rate",
        )
    return DPOResult(
        steps=trainer.state.global_step,
        final_loss=rows.loss(margins),
        mean_margin=rows.mean(margins),
        accuracy=rows.mean(margins > 0),
        seconds=seconds,
        losses=tuple(float(x["loss"]) for x in trainer.state.log_history if "loss" in x),
        validation_losses=tuple(best.losses.values()) if best else (),
        kept_epoch=best.best if best else None,
        fall=float(np.mean(rows.reference - logprobs)),
        shift=float(np.sqrt(np.mean((logprobs - rows.reference) ** 2))),
    )


def _save(trainer: PairTrainer, best: BestEpoch | None, out: Path) -> int:
    """Write the policy to keep, adapters merged, and its tokenizer; returns its checksum."""
    policy: Any = trainer.model
    tokenizer: Any = trainer.processing_class
    if best is not None:
        best.restore(policy)
    if hasattr(policy, "merge_and_unload"):
        policy = policy.merge_and_unload()
    policy.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return checksum(policy)


def check_log(log_to: str) -> None:
    """Whether TRL can log there.

    Raises:
        UserError: no such place, or its package is not installed.
    """
    if log_to not in LOGS:
        raise UserError(f"log-to must be one of {', '.join(LOGS)}", f"got {log_to}")
    if log_to != "none" and find_spec(log_to) is None:
        raise UserError(
            f"logging to {log_to} needs the package {log_to}",
            "it is not installed",
            f"Install it with: pip install {log_to}",
        )


def set_aside(
    preferences: Sequence[Preference], share: float, seed: int
) -> tuple[list[Preference], list[Preference]]:
    """The preferences to train on, and those of a random `share` of the prompts (rounded).

    Raises:
        UserError: a share above 0 leaves one of the two without a prompt.
    """
    keys = [repr(p.chosen.prompt) for p in preferences]
    prompts = list(dict.fromkeys(keys))
    count = round(share * len(prompts))
    if share and not 0 < count < len(prompts):
        raise UserError(
            "a validation share must leave prompts on both sides",
            f"{share:g} of {counted(len(prompts), 'prompt')} {plural(count, 'is', 'are')} {count}",
            "label more prompts, or train without --validation",
        )
    order = stream(seed, Stream.VALIDATION).permutation(len(prompts))
    out = {prompts[i] for i in order[:count]}
    pairs = list(zip(keys, preferences, strict=True))
    return [p for key, p in pairs if key not in out], [p for key, p in pairs if key in out]


def _trunk(
    lm: "LanguageModel", preferences: Sequence[Preference], settings: DPOSettings
) -> Trunk | None:
    """What the layers below the trained ones give, where it is worth keeping."""
    if top_layers(settings.layers) is None:
        return None
    pairs, _ = encode_pairs(lm, preferences, settings.max_length)
    return make_trunk(lm, [e for pair in pairs for e in pair], settings.layers, settings.dtype)


def _beside(taught: Sequence[Preference], aside: Sequence[Preference]) -> list[Preference]:
    """The taught pairs of prompts that are not set aside.

    Raises:
        UserError: all are.
    """
    out = {repr(p.chosen.prompt) for p in aside}
    kept = [p for p in taught if not out or repr(p.chosen.prompt) not in out]
    if not kept:
        raise UserError(
            "pairs to teach must be of prompts that are not set aside for validation",
            f"all {len(taught)} are of those",
            "pass a larger --teach, or a smaller --validation",
        )
    return kept


def read_rows(
    lm: "LanguageModel", preferences: Sequence[Preference], settings: DPOSettings
) -> Rows:
    """Preferences as rows: tokens, log π_ref, weights, and what to learn.

    Those whose sides have the same tokens say nothing: they are left out, and counted.

    Raises:
        UserError: see `encode_pairs`; all are left out; a weight is not a number of 0 or more, or
            all are 0.
    """
    pairs, cut = encode_pairs(lm, preferences, settings.max_length)
    differ = [i for i, (chosen, rejected) in enumerate(pairs) if chosen != rejected]
    if not differ:
        within = f" within {settings.max_length} tokens" if any(cut) else ""
        raise UserError(
            "training needs pairs whose two sides differ in their tokens",
            f"all {len(pairs)} are equal{within}",
            "pass a larger --max-length" if within else "label other pairs",
        )
    counts = {"cut": sum(cut), "equal": len(pairs) - len(differ)}
    preferences, pairs = [preferences[i] for i in differ], [pairs[i] for i in differ]
    weight = np.array([p.weight for p in preferences], dtype=np.float64)
    if not (np.all(np.isfinite(weight) & (weight >= 0)) and weight.any()):
        raise UserError(
            "weights must be finite numbers of 0 or more, not all 0",
            f"got {weight.min():g} to {weight.max():g}",
        )
    hard = not settings.soft_labels
    target = [1.0 if hard or p.probability is None else p.probability for p in preferences]
    logprobs = _logprobs(lm, pairs, settings.dtype)
    return Rows(pairs, logprobs, weight, np.array(target), **counts)


def _logprobs(lm: "LanguageModel", pairs: Sequence[Pair], dtype: str) -> np.ndarray:
    """log π of chosen and rejected, (n, 2), in the arithmetic of training: rounding cancels in log
    π/π_ref.

    A completion that stands in several pairs, as most do where a fit teaches, is scored once.
    """
    each = [e for pair in pairs for e in pair]
    places = {e: k for k, e in enumerate(dict.fromkeys(each))}
    with arithmetic(lm.device, dtype):
        found = completion_logprobs(lm, list(places))
    return found[[places[e] for e in each]].reshape(-1, 2)


def encode_pairs(
    lm: "LanguageModel", preferences: Sequence[Preference], max_length: int | None
) -> tuple[list[Pair], list[bool]]:
    """Token ids of each preference, both completions after the same tokens of the prompt.

    Returns:
        The pairs, and which of them lost tokens to `max_length`.

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
    pairs, cut = [], []
    for chosen, rejected in zip(encoded[::2], encoded[1::2], strict=True):
        longer = max(len(chosen.completion_ids), len(rejected.completion_ids))
        prompt, most = lengths_within(len(chosen.prompt_ids), longer, max_length)
        cut.append(prompt < len(chosen.prompt_ids) or most < longer)
        ids = chosen.prompt_ids[len(chosen.prompt_ids) - prompt :]
        pairs.append(
            (
                Encoded(ids, chosen.completion_ids[:most]),
                Encoded(ids, rejected.completion_ids[:most]),
            )
        )
    check_context(lm, max(len(e) for pair in pairs for e in pair))
    return pairs, cut


@contextmanager
def _folder(scratch: Path | None) -> Iterator[Path]:
    """`scratch`, made if need be, or a folder that vanishes."""
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
        yield scratch
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


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
