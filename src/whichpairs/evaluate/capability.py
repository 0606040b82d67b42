"""Whether training cost the model what it could do before: perplexity, and multiple-choice tasks.

Policy and reference are asked the same, so that differences are paired. Choices are ranked by
log-probability as in Brown et al. 2020 (arXiv:2005.14165, section 2.4) and lm-evaluation-harness
(whose ``acc_norm`` divides by bytes, too).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from whichpairs.errors import UserError
from whichpairs.evaluate.interval import Interval, bounded_interval, ratio_interval
from whichpairs.lm.encode import Encoded, encode_all, encode_prompt
from whichpairs.lm.logprobs import completion_logprobs
from whichpairs.types import Example

if TYPE_CHECKING:
    from whichpairs.lm.model import LanguageModel

WINDOW = 1024
"""The most tokens of a document that are read at once."""


@dataclass(frozen=True)
class Paired:
    """One quantity of policy and reference, and the policy's less the reference's."""

    policy: Interval
    reference: Interval
    difference: Interval


@dataclass(frozen=True)
class Perplexity:
    """Held-out nats a token: log of the perplexity, lower is better; intervals over documents."""

    documents: int
    tokens: int
    nats: Paired


@dataclass(frozen=True)
class Item:
    """A multiple-choice question: the right one is ``choices[answer]``, said after `context`."""

    context: str
    choices: tuple[str, ...]
    answer: int


@dataclass(frozen=True)
class Accuracy:
    """Share of items whose right choice is the likeliest; intervals over items.

    Attributes:
        accuracy: by the choice's summed log-probability.
        normalised: by that divided by the choice's length in bytes of UTF-8.
    """

    items: int
    accuracy: Paired
    normalised: Paired


def perplexity(
    policy: "LanguageModel", reference: "LanguageModel", documents: Sequence[str]
) -> Perplexity:
    """Σ −log π(token) / Σ tokens of each model over texts.

    A document is read in windows of the models' context (at most `WINDOW`), each after a
    beginning-of-sequence token and nothing else; every token of it counts once, no end token does.

    Raises:
        UserError: no text, or policy and reference have different tokens.
    """
    _one_vocabulary(policy, reference)
    (start,) = encode_prompt(reference.tokenizer, "")
    texts = encode_all(reference.tokenizer, [Example("", d, False) for d in documents if d])
    if not texts:
        raise UserError("perplexity needs a document that is not empty", "there is none")
    most = min(WINDOW, *(lm.context or WINDOW for lm in (policy, reference))) - 1
    windows = [
        (row, Encoded((start,), text.completion_ids[at : at + most]))
        for row, text in enumerate(texts)
        for at in range(0, len(text.completion_ids), most)
    ]
    owner = np.array([row for row, _ in windows])
    sizes = np.array([float(len(t.completion_ids)) for t in texts])
    nats = [
        -np.bincount(owner, weights=completion_logprobs(lm, [w for _, w in windows], batch_size=16))
        for lm in (policy, reference)
    ]
    ours, theirs = (ratio_interval(n, sizes) for n in nats)
    difference = ratio_interval(nats[0] - nats[1], sizes)
    return Perplexity(len(texts), int(sizes.sum()), Paired(ours, theirs, difference))


def choose(policy: "LanguageModel", reference: "LanguageModel", items: Sequence[Item]) -> Accuracy:
    """How often each model gives the right choice the highest log-probability (first of equals).

    Raises:
        UserError: there is no item, or an item and its choice exceed a model's context.
    """
    if not items:
        raise UserError("tasks need at least one item", "there is none")
    right = [[_right(lm, items, n) for lm in (policy, reference)] for n in (False, True)]
    plain, normalised = (
        Paired(
            bounded_interval(ours),
            bounded_interval(theirs),
            bounded_interval(ours - theirs, -1.0, 1.0),
        )
        for ours, theirs in right
    )
    return Accuracy(len(items), plain, normalised)


def _right(lm: "LanguageModel", items: Sequence[Item], normalised: bool) -> np.ndarray:
    """1 where the right choice is the likeliest, else 0, (items,)."""
    flat = [Example(item.context, choice, False) for item in items for choice in item.choices]
    logprobs = completion_logprobs(lm, encode_all(lm.tokenizer, flat))
    if normalised:
        logprobs = logprobs / np.array([len(e.completion.encode()) for e in flat])
    parts = np.split(logprobs, np.cumsum([len(item.choices) for item in items])[:-1])
    return np.array(
        [float(np.argmax(p) == item.answer) for p, item in zip(parts, items, strict=True)]
    )


def _one_vocabulary(policy: "LanguageModel", reference: "LanguageModel") -> None:
    if policy.tokenizer.get_vocab() != reference.tokenizer.get_vocab():
        raise UserError(
            "nats a token compare only between models of one tokenizer",
            f"{policy.path} and {reference.path} have two",
        )
