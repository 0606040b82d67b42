"""How many texts a model reads only in part: what a limit on tokens costs, counted before it is
forgotten."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from whichpairs.types import Example

if TYPE_CHECKING:
    from whichpairs.features.embed import Embedder, Texts
    from whichpairs.lm.model import LanguageModel

_AT_ONCE = 1024
"""Texts tokenised at a time."""


def count_cut(lm: "LanguageModel", examples: Sequence[Example], max_length: int | None) -> int:
    """How many completions have, with their prompt, more than `max_length` tokens; none where it is
    None.

    (What is longer than the model itself can read is refused by the features, and so is not cut.)
    """
    from whichpairs.lm.encode import encode_all

    if max_length is None:
        return 0
    return sum(
        len(one) > max_length for part in _parts(examples) for one in encode_all(lm.tokenizer, part)
    )


def count_cut_texts(
    embedder: "Embedder", examples: Sequence[Example], texts: "Texts", max_length: int | None
) -> tuple[int | None, int | None]:
    """How many texts an embedder cuts, and at how many tokens (its own, or `max_length` where
    smaller).

    Returns:
        The count, and the limit: (0, None) where there is no limit, (None, limit) where the model
        does not say how it makes tokens of a text.
    """
    from whichpairs.features.embed import limit, text_of

    most, tokenizer = limit(embedder.model, max_length), getattr(embedder.model, "tokenizer", None)
    if most is None:
        return 0, None
    if not callable(tokenizer):
        return None, most
    start = _prefix(embedder.model)
    cut = 0
    for part in _parts(examples):
        read = [(start + text_of(one, texts)).strip() for one in part]
        ids = tokenizer(read, truncation=False, return_attention_mask=False, verbose=False)
        cut += sum(len(one) > most for one in ids["input_ids"])
    return cut, most


def _prefix(model: Any) -> str:
    """What the model puts before every text."""
    name = getattr(model, "default_prompt_name", None)
    return "" if name is None else str(model.prompts.get(name, ""))


def _parts(examples: Sequence[Example]) -> Iterator[Sequence[Example]]:
    for at in range(0, len(examples), _AT_ONCE):
        yield examples[at : at + _AT_ONCE]
