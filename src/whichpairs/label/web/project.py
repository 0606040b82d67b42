"""What is served: the run's pairs as texts, and what its owner chose."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from whichpairs.errors import UserError, plainly
from whichpairs.label.stores.base import SAID, Task
from whichpairs.setting import Setting, check_ranges
from whichpairs.wording import counted

Turns = tuple[tuple[str, str], ...]
"""A conversation: who speaks, and what is said."""


@dataclass(frozen=True)
class Texts:
    """A pair as it is shown: the prompt's turns, and the two completions, left and right."""

    prompt: Turns
    a: str
    b: str


@dataclass(frozen=True)
class QuizPair:
    """One of the owner's own pairs, with the answer that is right."""

    texts: Texts
    answer: str
    why: str


@dataclass(frozen=True)
class Quiz:
    """What an annotator answers before the first pair.

    Attributes:
        least: the share of right answers that lets in, in (0, 1]; tries: how often it may be tried.
    """

    pairs: tuple[QuizPair, ...]
    least: float = 0.8
    tries: int = 2


def read_guidelines(path: Path) -> str:
    """A file of Markdown.

    Raises:
        UserError: it cannot be read, or is too long to show.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError("--guidelines must name a file", f"{path}: {plainly(error)}") from None
    if len(text) > 100_000:
        got = f"{path} has {counted(len(text), 'character')}"
        raise UserError("guidelines must have at most 100000 characters", got)
    return text


@dataclass(frozen=True)
class ServeSettings:
    """What the owner chose.

    Args:
        people: annotators to invite at the start, by name.
        guidelines: Markdown; None shows none.
        strength: whether they also say how much better, 1 to 4.
        lease_minutes: until a pair that was shown and not answered goes to somebody else.
        repeat: the share of an annotator's questions that ask an earlier one again, in [0, 1).
        overlap: the share of each batch's pairs, in [0, 1], that two people answer.
        price: of one label, in `currency`; None shows no cost.
        public_url: how browsers reach the page, where that is not http://HOST:PORT.
    """

    people: Annotated[
        tuple[str, ...], Setting("An annotator to invite; may be given again.", flags=("--person",))
    ] = ()
    title: Annotated[str, Setting("What the page asks.")] = "Which is better?"
    guidelines: Annotated[
        str | None,
        Setting("Markdown file shown beside the pairs.", kind=Path, parse=read_guidelines),
    ] = None
    quiz: Quiz | None = None
    strength: Annotated[bool, Setting("Ask how much better, too: 1 to 4.")] = False
    lease_minutes: Annotated[
        float,
        Setting(
            "Until a pair that was shown goes to somebody else.",
            low=0.1,
            high=10_000,
            words="--lease-minutes",
        ),
    ] = 30.0
    repeat: Annotated[
        float,
        Setting(
            "Share of questions that ask an earlier one again.", low=0, below=1, words="--repeat"
        ),
    ] = 0.0
    overlap: Annotated[
        float,
        Setting(
            "Share of the pairs that two people answer, planned by batch.",
            low=0,
            high=1,
            words="--overlap",
        ),
    ] = 0.0
    price: Annotated[
        float | None, Setting("Of one label, for the owner's view.", low=0, words="--price")
    ] = None
    currency: Annotated[str, Setting("Of the price.")] = "EUR"
    public_url: str = "http://127.0.0.1:8080"

    def __post_init__(self) -> None:
        for name in self.people:
            check_name(name)
        check_ranges(self)


@dataclass(frozen=True)
class Project:
    """What the pages need of the run.

    Attributes:
        name: of the run; texts: of two completion ids, in that order.
        tasks: the pairs of every batch that is there now.
        pick: picks the next batch and says how it went; None where that is not possible.
    """

    name: str
    texts: Callable[[str, str], Texts]
    tasks: Callable[[], list[Task]]
    pick: Callable[[], str] | None = None


def check_name(name: str) -> str:
    """An annotator's name.

    Raises:
        UserError: it cannot be one.
    """
    good = name == name.strip() and name.isprintable() and 0 < len(name) <= 60
    if not good or name.startswith(("imported:", "simulated:", "judge:")):
        raise UserError(
            "an annotator's name must be 1 to 60 printable characters, and no program's",
            f"got {name!r}",
            "give another --person",
        )
    return name


def read_quiz(path: Path, least: float, tries: int) -> Quiz:
    """The owner's quiz: JSON lines of prompt, completion_a, completion_b, answer and, if wanted,
    why.

    Raises:
        UserError: a line is none, or a setting is out of range.
    """
    if not 0.0 < least <= 1.0 or tries < 1:
        got = f"got {least:g} and {tries}"
        raise UserError("--quiz-pass must be in (0, 1], and --quiz-tries at least 1", got)
    rows = list[QuizPair]()
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError("--quiz must name a file", f"{path}: {plainly(error)}") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            rows.append(_quiz_pair(line, f"line {number} of {path}"))
    if not rows:
        raise UserError("a quiz must have at least one pair", f"{path} has none")
    return Quiz(tuple(rows), least, tries)


def _quiz_pair(line: str, place: str) -> QuizPair:
    names = ("prompt", "completion_a", "completion_b", "answer")
    try:
        row = json.loads(line)
    except ValueError as error:
        raise UserError("a quiz is JSON lines", f"{place}: {plainly(error)}") from None
    missing = [n for n in names if not isinstance(row, dict) or not isinstance(row.get(n), str)]
    if missing or row["answer"] not in SAID[:4]:
        got = f"lacks {', '.join(missing)}" if missing else f"has answer {row['answer']!r}"
        raise UserError(
            f"a pair of a quiz has the texts {', '.join(names)} (one of {', '.join(SAID[:4])})",
            f"{place} {got}",
        )
    texts = Texts((("", row["prompt"]),), row["completion_a"], row["completion_b"])
    return QuizPair(texts, row["answer"], str(row.get("why", "")))
