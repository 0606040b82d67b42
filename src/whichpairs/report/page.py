"""What a page is made of, and how it becomes HTML.

Everything but the figures is plain text that the template escapes: completions are written by
strangers and models, and may hold anything.
"""

from dataclasses import dataclass, field
from typing import Any

from whichpairs.report.numbers import visible


@dataclass(frozen=True)
class Picture:
    """A figure.

    Attributes:
        svg: the drawing, made by `figures` from numbers alone.
        label: what it shows, for those who do not see it; caption: what to conclude.
    """

    svg: str
    label: str
    caption: str


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows."""

    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    caption: str


@dataclass(frozen=True)
class PairCard:
    """A picked pair, to be read side by side.

    Attributes:
        title: why it is shown; note: how much its label teaches.
        prompt: turns of (role, text); a, b: the completions.
    """

    title: str
    note: str
    prompt: list[tuple[str, str]]
    a: str
    b: str


@dataclass(frozen=True)
class Made:
    """One stage of the run: its name and time, and rows of (what, value)."""

    title: str
    created: str
    rows: list[tuple[str, str]]


@dataclass(frozen=True)
class Tile:
    """A number of the verdict, what it is, and what it means."""

    name: str
    value: str
    meaning: str
    strong: bool = False


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        key: its anchor; title: its heading; lead: paragraphs, the conclusion first.
        command: what would fill it; None where it is filled.
    """

    key: str
    title: str
    lead: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    cards: list[PairCard] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)
    command: str | None = None


@dataclass(frozen=True)
class Page:
    """The whole page."""

    title: str
    headline: str
    summary: list[str]
    tiles: list[Tile]
    next_command: str
    sections: list[Section]


def render(page: Page) -> str:
    """The page as one HTML file without scripts or requests."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def shown(value: Any) -> Any:
        return (
            visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
        )

    environment = Environment(
        loader=PackageLoader("whichpairs.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["drawing"] = Markup
    return environment.get_template("page.html.j2").render(page=page)
