"""The records that stages hand to one another: frozen, plain, without behaviour of their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Message = dict[str, Any]
"""A chat message: ``role``, ``content`` (a text, or None beside tool calls), and what it says
more."""

Choice = Literal["a", "b", "tie"]
"""Which of the two completions, in the order shown, was preferred."""


@dataclass(frozen=True, slots=True)
class Example:
    """One completion as a language model sees it.

    Attributes:
        prompt: the prompt's text, or its chat messages.
        completion: the completion's text (the assistant's last turn in a conversation; tool calls
            stand in it as JSON).
        finished: whether the completion ended by itself, so that an end-of-sequence token
            belongs to it; False where the sampler was stopped by its length limit.
        message: the assistant's whole message where it says more than its content, else None.
    """

    prompt: str | tuple[Message, ...]
    completion: str
    finished: bool = True
    message: Message | None = None


@dataclass(frozen=True, slots=True)
class Preference:
    """One labelled pair, ready for training.

    Attributes:
        chosen, rejected: two completions of the same prompt.
        probability: of `chosen` being preferred, where the labeller stated one (else None).
        weight: how much it counts in training, 0 or more; 2 is the same as being there twice.
    """

    pair_id: str
    chosen: Example
    rejected: Example
    probability: float | None = None
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Label:
    """One answer about one pair, in the order that the labeller saw.

    Attributes:
        pair_id: the pair's id, the same for both orders.
        id_a, id_b: completion ids shown as A and as B.
        choice: ``"a"``, ``"b"`` or ``"tie"``.
        annotator: who answered (one answer a pair and annotator).
        probability: P(A preferred) where the source knows it, else None.
        batch: the batch that asked, e.g. ``"001"``, or ``"imported"``.
        both_bad: of a tie, whether the labeller finds both bad.
        strength: how much better, 1 (a little) to 4 (very much), where the labeller said; else
            None.
    """

    pair_id: str
    id_a: str
    id_b: str
    choice: Choice
    annotator: str
    batch: str
    probability: float | None = None
    both_bad: bool = False
    strength: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge said of two completions `a` and `b`, asked in both orders.

    Attributes:
        choice: what both orders agree on; ``"tie"`` where they do not, or one was not readable.
        forward: the answer when `a` was shown first; backward: when `b` was; None where it could
            not be read.
    """

    choice: Choice
    forward: Choice | None
    backward: Choice | None


class Progress(Protocol):
    """What long work tells its caller: `advance` units done of `total`, with a short note."""

    def start(self, what: str, total: int | None) -> None:
        """A new piece of work begins."""

    def advance(self, units: int = 1, note: str = "") -> None:
        """`units` more are done."""

    def finish(self) -> None:
        """The piece of work is over."""


class Silent:
    """A `Progress` that says nothing."""

    def start(self, what: str, total: int | None) -> None:
        """Say nothing."""

    def advance(self, units: int = 1, note: str = "") -> None:
        """Say nothing."""

    def finish(self) -> None:
        """Say nothing."""


SILENT: Progress = Silent()

Texts = Sequence[str]
