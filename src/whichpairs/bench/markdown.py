"""The one writer of result pages: NAME.md for people, NAME.json beside it for whoever computes.

Every JSON has the same head: the command, when and on what it was made, the fingerprint of the code
that it measured (`bench.fingerprint`), and

    figures: {NAME: {value, low, high, goal, reached}}

the page's headline figures: low and high are the ends of a 95 % interval (null where there is none,
or where that end is not known), goal is in words, reached is true, false, or null without a goal.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from whichpairs.bench.fingerprint import fingerprint
from whichpairs.bench.machine import machine
from whichpairs.evaluate.interval import Interval
from whichpairs.run.files import to_json, write_whole
from whichpairs.run.folder import versions


@dataclass(frozen=True)
class Figure:
    """A headline figure.

    Args:
        low, high: the ends of its 95 % interval, None where not known.
        goal: in words; reached: whether; missed: where not, in words.
    """

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    goal: str | None = None
    reached: bool | None = None
    missed: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, found: Interval, scale: float = 1.0, **more: Any) -> "Figure":
        """A figure with its interval, times `scale`."""
        low, high = (None if end is None else scale * end for end in (found.low, found.high))
        return cls(name, scale * found.mean, low, high, **more)

    def as_json(self) -> dict[str, Any]:
        """As the page's JSON has it."""
        plain = {
            "value": _known(self.value),
            "low": _known(self.low),
            "high": _known(self.high),
            "goal": self.goal,
            "reached": self.reached,
        }
        return plain | ({"missed": list(self.missed)} if self.missed else {})


def _known(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


@dataclass(frozen=True)
class About:
    """Head of a page's JSON.

    Args:
        command: what makes the page; measures: the modules and scripts where its measuring begins.
    """

    command: str
    measures: tuple[str, ...]

    def head(self) -> dict[str, Any]:
        """As it is now, here."""
        return {
            "command": self.command,
            "made": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
            "machine": machine(),
            "versions": versions(),
            "code": fingerprint(self.measures),
        }


def write_page(
    folder: Path,
    name: str,
    about: About,
    figures: Sequence[Figure],
    facts: Mapping[str, Any],
    page: str,
    pictures: Mapping[str, bytes] | None = None,
) -> dict[str, Any]:
    """Write the pictures, ``NAME.json`` and ``NAME.md``; returns what the JSON holds.

    Args:
        facts: what the JSON holds beside its head and the figures; page: the Markdown.
        pictures: PNG by file name.
    """
    whole = about.head() | {"figures": {one.name: one.as_json() for one in figures}} | dict(facts)
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in (pictures or {}).items():
        write_whole(folder / file, content)
    write_whole(folder / f"{name}.json", to_json(whole))
    write_whole(folder / f"{name}.md", page.rstrip("\n") + "\n")
    return whole


def read_figures(path: Path) -> dict[str, dict[str, Any]]:
    """The figures of a page's JSON."""
    return dict(json.loads(path.read_text(encoding="utf-8"))["figures"])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, with a line end."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def goals(figures: Sequence[Figure]) -> str:
    """The figures that have a goal, as a table, and where each is missed."""
    rows = [
        [one.name, shown(one), one.goal, "reached" if one.reached else "**missed**"]
        for one in figures
        if one.goal is not None
    ]
    lines = [table(["figure", "found", "goal", ""], rows)]
    for one in figures:
        if one.missed:
            lines += [f"{one.name} is missed in:", ""]
            lines += [*(f"- {text}" for text in one.missed), ""]
    return "\n".join(lines)


def shown(one: Figure, digits: int = 2) -> str:
    """Value and interval."""
    if one.value is None:
        return "not measured"
    if one.low is None and one.high is None:
        return f"{one.value:.{digits}f}"
    low = "…" if one.low is None else f"{one.low:.{digits}f}"
    high = "…" if one.high is None else f"{one.high:.{digits}f}"
    return f"{one.value:.{digits}f} [{low}, {high}]"
