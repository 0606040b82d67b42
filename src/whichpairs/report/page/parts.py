"""What a section of the page is made of; the template knows these and nothing of runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

Cell = Markup | str


@dataclass(frozen=True)
class Table:
    """Rows under a head; the first column is words, the others numbers unless `words`.

    Attributes:
        title: what it is of, for whoever hears the page; the first word of the head where empty.
    """

    head: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]
    words: bool = False
    title: str = ""


@dataclass(frozen=True)
class Figure:
    """A picture and what to conclude from it.

    Attributes:
        svg: the picture; narrow: the same for a phone, where scaling it would not do.
        table: its numbers.
    """

    svg: Markup
    caption: Markup
    narrow: Markup | None = None
    table: Table | None = None


@dataclass(frozen=True)
class Missing:
    """Why there is nothing to show, and the command that would change it."""

    reason: Cell
    command: str = ""


@dataclass(frozen=True)
class Side:
    """One completion of a shown pair; `whole` is its full text where `text` is a part."""

    name: str
    text: str
    note: str
    whole: str = ""
    verdict: str = ""


@dataclass(frozen=True)
class Pair:
    """A pair as shown: its prompt, both completions, why it is here, and what is known of it.

    Attributes:
        kinds: numbers of the `Filter` choices that it belongs to.
    """

    prompt: str
    prompt_note: str
    prompt_whole: str
    sides: tuple[Side, Side]
    reason: Markup
    facts: Markup
    kinds: Sequence[int] = ()


@dataclass(frozen=True)
class Gallery:
    """Pairs under a title, with filters: names of choices, each a number from 1; 0 is all."""

    id: str
    title: str
    pairs: Sequence[Pair]
    filters: Sequence[str] = ()
    note: Cell = ""
    open: bool = False


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        id: its anchor; lead: sentences under the heading; commands: a block of shell lines.
        missing: set when there is nothing to show.
    """

    id: str
    title: str
    lead: Sequence[Markup] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    galleries: Sequence[Gallery] = ()
    commands: Sequence[str] = ()
    missing: Missing | None = None


@dataclass(frozen=True)
class Tile:
    """One of the figures at the head of the page."""

    value: Markup
    words: Markup
    known: bool = True


Kind = Literal["measured", "predicted", "unknown"]
"""Of what kind the evidence for a verdict is: measured against random, predicted, or there is none."""


@dataclass(frozen=True)
class Worth:
    """Whether the run was worth it, against random pairs.

    Attributes:
        kind: of the evidence; headline: one sentence; said: what stands behind it.
    """

    kind: Kind
    headline: Markup
    said: Markup


@dataclass(frozen=True)
class Verdict:
    """The head of the page: the verdict, a picture, figures, sentences under a word each, warnings."""

    worth: Worth
    figures: Sequence[Figure]
    tiles: Sequence[Tile]
    sentences: Sequence[tuple[str, Markup]]
    warnings: Sequence[Markup] = ()
