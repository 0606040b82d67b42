"""φ(x, y) = a layer's hidden state, the last one's unless told otherwise: one forward pass, no
gradients.

For the output matrix alone the gradient of log π is Σ_t (e_{y_t} − π_t) ⊗ h_t, so hidden states are
the cheap part of the gradient features; what they leave out is every other layer.
"""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
from jaxtyping import Float32

from whichpairs.errors import UserError
from whichpairs.features.store import WINDOW
from whichpairs.lm.batch import Padded, check_context, pad, sorted_batches
from whichpairs.lm.blocks import blocks, entering
from whichpairs.lm.encode import Encoded, encode_all
from whichpairs.lm.logprobs import takes_positions
from whichpairs.lm.optional import require
from whichpairs.streams import Stream, stream
from whichpairs.types import SILENT, Example, Progress

require("torch")
import torch  # noqa: E402

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from whichpairs.lm.model import LanguageModel

Pooling = Literal["last", "mean"]


def hidden_features(
    lm: "LanguageModel",
    examples: Sequence[Example],
    *,
    pooling: Pooling = "last",
    dim: int | None = None,
    seed: int = 0,
    batch_size: int = 64,
    max_length: int | None = None,
    layer: int | None = None,
    progress: Progress = SILENT,
) -> Iterator[Float32[np.ndarray, "block dim"]]:
    """The hidden state of each completion.

    Args:
        pooling: ``"last"``, at the completion's last token (its end token where it is finished),
            or ``"mean"`` over its tokens. A completion of no token has the state at the prompt's
            last token.
        dim: where it is below the hidden size, a Gaussian projection to `dim` numbers that keeps
            inner products in expectation; else (or None) the hidden state as it is.
        seed: of the projection, 0 or more.
        batch_size: completions a forward pass.
        max_length: the most tokens of prompt and completion together; see `lm.encode`.
        layer: after how many layers, from 0 (the embeddings) to all but one; None is after the last
            one and its norm. A middle one often says more of what a text means; those above it are
            not run.

    Yields:
        Blocks of rows in the order of `examples`, up to 16 batches each, min(dim, hidden size)
        numbers a row.

    Raises:
        UserError: `dim` below 1, an unknown pooling, no such layer, or a completion that exceeds
            the model's context.
    """
    if pooling not in ("last", "mean"):
        raise UserError("pooling must be last or mean", f"got {pooling}")
    if seed < 0 or (dim is not None and dim < 1):
        raise UserError("dim must be at least 1 and seed at least 0", f"got {dim} and {seed}")
    size = lm.model.config.get_text_config().hidden_size
    projection = hidden_projection(size, dim, seed)
    above = None if layer is None else _block_after(lm, layer)
    progress.start("hidden-state features", len(examples))
    for start in range(0, len(examples), WINDOW * batch_size):
        part = examples[start : start + WINDOW * batch_size]
        encoded = encode_all(lm.tokenizer, part, max_length)
        lengths = [len(e) for e in encoded]
        check_context(lm, max(lengths))
        block = np.empty((len(part), size), dtype=np.float32)
        for rows in sorted_batches(lengths, batch_size):
            block[rows] = _pooled(lm, [encoded[i] for i in rows], pooling, above)
            progress.advance(len(rows))
        yield block if projection is None else block @ projection
    progress.finish()


def hidden_projection(
    size: int, dim: int | None, seed: int
) -> Float32[np.ndarray, "size dim"] | None:
    """Independent normal numbers of variance 1/dim, or None where there is nothing to project."""
    if dim is None or dim >= size:
        return None
    normal = stream(seed, Stream.FEATURES).standard_normal((size, dim))
    return (normal / math.sqrt(dim)).astype(np.float32)


def _block_after(lm: "LanguageModel", layer: int) -> torch.nn.Module:
    """The layer that the hidden state after `layer` layers enters."""
    found = blocks(lm, "--layer")
    if not 0 <= layer < len(found):
        raise UserError(
            f"layer must be from 0 to {len(found) - 1} of the model's {len(found)}",
            f"got {layer}",
            "leave it out for the state after all of them",
        )
    block: torch.nn.Module = found[layer][1]
    return block


def _states(lm: "LanguageModel", batch: Padded, above: torch.nn.Module | None) -> torch.Tensor:
    if above is not None:
        return entering(lm, batch, above).float()
    body = cast("PreTrainedModel", lm.model.base_model)
    extra = {"position_ids": batch.position_ids} if takes_positions(body) else {}
    return body(  # type: ignore[no-any-return]
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        use_cache=False,
        **extra,
    ).last_hidden_state.float()


def _pooled(
    lm: "LanguageModel",
    encoded: Sequence[Encoded],
    pooling: Pooling,
    above: torch.nn.Module | None,
) -> Float32[np.ndarray, "n hidden"]:
    batch = pad(encoded, lm.tokenizer.pad_token_id, lm.device)
    with torch.inference_mode():
        states = _states(lm, batch, above)
        wanted = batch.completion
        if pooling == "last" or not bool(wanted.any(1).all()):
            last = batch.attention_mask.sum(1) - 1
            only_last = torch.zeros_like(wanted).scatter(1, last[:, None], True)
            empty = ~wanted.any(1, keepdim=True)
            wanted = only_last if pooling == "last" else torch.where(empty, only_last, wanted)
        weights = wanted.float() / wanted.sum(1, keepdim=True)
        return (weights[:, None, :] @ states)[:, 0].cpu().numpy()  # type: ignore[no-any-return]
