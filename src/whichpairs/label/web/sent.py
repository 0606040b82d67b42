"""What pages are sent, as JSON: the shapes of the objects that `desk` and `figures` make."""

from typing import Any, TypedDict

from whichpairs.label.web.render import Node


class Shown(TypedDict):
    """A pair's texts, left and right; of a prompt's turns each has a ``role`` and a ``text``."""

    prompt: list[dict[str, str]]
    a: str
    b: str


class LentPair(Shown):
    """A pair that is lent, with the handle that its answer names."""

    handle: str


class Progress(TypedDict):
    """How far an annotator is: answers, pairs left for anybody, median seconds an answer."""

    done: int
    left: int
    pace: float | None


class LentPairs(Progress):
    """What a page shows now and next."""

    pairs: list[LentPair]


class Rendered(TypedDict):
    """A pair's texts as Markdown trees; None for a text that is shown as it is."""

    prompt: list[list[Node] | None]
    a: list[Node] | None
    b: list[Node] | None


class People(TypedDict):
    """The people who answered, and what holds for all of them.

    Attributes:
        labels, pairs: theirs; overlap: pairs with two labels or more.
        alpha: Krippendorff's, where it is defined; couples: every two who share pairs.
        people: each one's figures (`figures.person`).
    """

    labels: int
    pairs: int
    overlap: int
    alpha: float | None
    couples: list[dict[str, Any]]
    people: list[dict[str, Any]]


class Overview(People):
    """The owner's view: `cost` is in `currency`, None where a label has no price."""

    left: int
    paused: bool
    picked: str | None
    can_pick: bool
    cost: float | None
    currency: str
