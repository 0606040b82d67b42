"""How probable a model finds a completion."""

from collections.abc import Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64

from whichpairs.lm.batch import Padded, check_context, pad, sorted_batches
from whichpairs.lm.encode import Encoded
from whichpairs.lm.optional import require

require("torch")
import torch  # noqa: E402

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from whichpairs.lm.model import LanguageModel


def completion_logprobs(
    lm: "LanguageModel", encoded: Sequence[Encoded], *, batch_size: int = 64
) -> Float64[np.ndarray, " n"]:
    """log π(y|x) = Σ_t log π(y_t | x, y_<t) of each completion, in nats, at temperature 1.

    Args:
        encoded: n prompts and completions, the end-of-sequence token included where they are
            finished. Every token of a completion counts; a completion of no token has
            log-probability 0.
        batch_size: completions a forward pass.

    Returns:
        n numbers, at most 0, in the order of `encoded`; the sum over tokens is taken in float64.

    Raises:
        UserError: a sequence longer than the model's context.
    """
    result = np.zeros(len(encoded))
    lengths = [len(e) for e in encoded]
    check_context(lm, max(lengths, default=0))
    for rows in sorted_batches(lengths, batch_size):
        batch = pad([encoded[i] for i in rows], lm.tokenizer.pad_token_id, lm.device)
        with torch.inference_mode():
            tokens, mask = token_logprobs(lm, batch)
            result[rows] = (tokens.double() * mask).sum(1).cpu().numpy()
    return result


def token_logprobs(lm: "LanguageModel", batch: Padded) -> tuple[torch.Tensor, torch.Tensor]:
    """log π of each token given those before it, and which of them belong to completions.

    Returns:
        Two tensors (B, K): float32 log-probabilities in nats of the last K tokens of the padded
        batch, K as small as the completions allow, and True where a token is a completion's.
    """
    logits = completion_logits(lm, batch)
    k = logits.shape[1]
    targets = batch.input_ids[:, batch.input_ids.shape[1] - k :]
    picked = logits.gather(-1, targets[:, :, None])[:, :, 0]
    return picked - logits.logsumexp(-1), batch.completion[:, batch.completion.shape[1] - k :]


def completion_logits(lm: "LanguageModel", batch: Padded) -> torch.Tensor:
    """Float32 next-token logits (B, K, V) that predict the last K tokens of the padded batch.

    K reaches back to the first token of any completion; the vocabulary's product is not computed
    for earlier places.
    """
    length = batch.input_ids.shape[1]
    k = max(length - max(batch.first, 1), 0)
    logits: torch.Tensor = forward(lm, batch, logits_to_keep=k + 1).logits
    return logits[:, -(k + 1) : -1].float()


def forward(lm: "LanguageModel", batch: Padded, *, logits_to_keep: int) -> Any:
    """One pass over a padded batch, without cache; every row has its positions, where it can."""
    extra = {"position_ids": batch.position_ids} if takes_positions(lm.model) else {}
    return lm.model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        use_cache=False,
        logits_to_keep=logits_to_keep,
        **extra,
    )


def takes_positions(model: "PreTrainedModel") -> bool:
    """Whether the model's forward pass has an argument ``position_ids``."""
    return "position_ids" in signature(model.forward).parameters


def takes_cache(model: "PreTrainedModel") -> bool:
    """Whether keys and values are called ``cache`` (transformers 5.24), not ``past_key_values``."""
    return "cache" in signature(model.forward).parameters
