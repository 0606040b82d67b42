"""Completions side by side: batches of like length, padded on the right."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from whichpairs.errors import UserError
from whichpairs.lm.encode import Encoded
from whichpairs.lm.optional import require

require("torch")
import torch  # noqa: E402

if TYPE_CHECKING:
    from whichpairs.lm.model import LanguageModel


def check_context(lm: "LanguageModel", longest: int) -> None:
    """Raise a UserError where a sequence of `longest` tokens exceeds the model's context."""
    if lm.context is not None and longest > lm.context:
        raise UserError(
            f"prompt and completion together must fit the {lm.context} tokens {lm.path} reads",
            f"the longest has {longest}",
            f"Pass max_length {lm.context}, or shorter texts",
        )


def sorted_batches(lengths: Sequence[int], batch_size: int) -> Iterator[np.ndarray]:
    """Indices in batches of like length, longest first, so that little is spent on padding.

    Longest first, so that a batch too large for memory fails at the beginning of an hour, not at
    its end.
    """
    if batch_size < 1:
        raise UserError("batch_size must be at least 1", f"got {batch_size}")
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


@dataclass(frozen=True)
class Padded:
    """Encoded completions as tensors, padded on the right, B completions of at most T tokens.

    Attributes:
        input_ids, attention_mask, position_ids: integers of shape (B, T).
        completion: bool of shape (B, T), True where a token belongs to the completion.
        first: the smallest place of a completion's token in the batch (T where there is none).
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    position_ids: torch.Tensor
    completion: torch.Tensor
    first: int


def pad(encoded: Sequence[Encoded], pad_id: int, device: str = "cpu") -> Padded:
    """Put completions side by side, padded on the right with `pad_id`."""
    longest = max(len(e) for e in encoded)
    ids = np.full((len(encoded), longest), pad_id, dtype=np.int64)
    prompt_end = np.array([len(e.prompt_ids) for e in encoded])[:, None]
    end = np.array([len(e) for e in encoded])[:, None]
    for row, e in zip(ids, encoded, strict=True):
        row[: len(e)] = e.prompt_ids + e.completion_ids
    place = np.arange(longest)[None, :]
    completion = (place >= prompt_end) & (place < end)
    return Padded(
        torch.from_numpy(ids).to(device),
        torch.from_numpy((place < end).astype(np.int64)).to(device),
        torch.from_numpy(np.broadcast_to(place, ids.shape).copy()).to(device),
        torch.from_numpy(completion).to(device),
        int(np.min(np.where(completion.any(1), completion.argmax(1), longest))),
    )
