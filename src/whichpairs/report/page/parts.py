"""What a section of the page is made of; the template knows these and nothing of runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

Cell = Markup | str


@dataclass(frozen=True)
class Figure:
    """A picture and what to conclude from it.

    Attributes:
        svg: the picture; narrow: the same for a phone, where scaling it would not do.
    """

    svg: Markup
    caption: Markup
    narrow: Markup | None = None


@dataclass(frozen=True)
class Table:
    """Rows under a head; the first column is words, the others numbers unless `words`."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    words: bool = False


@dataclass(frozen=True)
class Missing:
    """Why there is nothing to show, and the command that would change it."""

    reason: Cell
    command: str = ""


@dataclass(frozen=True)
class Side:
    """One completion of a shown pair."""

    name: str
    text: str
    note: str
    verdict: str = ""


@dataclass(frozen=True)
class Pair:
    """A pair as shown: its prompt, both completions, and what is known of it."""

    prompt: str
    prompt_note: str
    sides: tuple[Side, Side]
    facts: Markup


@dataclass(frozen=True)
class Chapter:
    """One batch within a section: open or folded."""

    title: str
    figures: Sequence[Figure]
    groups: Sequence[tuple[str, Sequence[Pair]]]
    note: Cell = ""
    open: bool = True


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
    chapters: Sequence[Chapter] = ()
    commands: Sequence[str] = ()
    missing: Missing | None = None


@dataclass(frozen=True)
class Tile:
    """One of the figures at the head of the page."""

    value: Markup
    words: Markup
    known: bool = True


@dataclass(frozen=True)
class Verdict:
    """The head of the page: figures, sentences under a word each, and warnings."""

    headline: Markup
    tiles: Sequence[Tile]
    sentences: Sequence[tuple[str, Markup]]
    warnings: Sequence[Markup] = field(default_factory=tuple)
