"""Answers from a file: ``pair_id, choice`` in the order of A and B that the batch gives.

Any file that a pool may come in (JSONL, JSON, CSV, Parquet, packed or not), Label Studio's export,
and Argilla's.
All that is wrong with a file is said at once.
"""

import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from whichpairs.errors import UserError
from whichpairs.label.argilla import flat_records, is_argilla
from whichpairs.label.studio import flat_tasks, is_label_studio
from whichpairs.pool.raw.source import Source, show
from whichpairs.pool.raw.sources import load_file
from whichpairs.pool.reading.conventions import Answers, means_something, understand_answers
from whichpairs.types import Choice, Label
from whichpairs.wording import counted, counted_of, plural

SHOWN = 5
WHOLE = re.compile(r"\d+\.0")
BOTH_BAD = re.compile(r"\bboth[ _-]?bad\b", re.IGNORECASE)
FORMULA = re.compile(r"^'(?=\s*[=+\-@])")
"""What keeps a spreadsheet from taking a text for a formula (`exchange.sheets`)."""
SIDES = ("completion_a", "completion_b")
KNOWN = {"pair_id", "choice", "probability", "annotator", "id_a", "id_b", *SIDES}
KNOWN |= {"prompt", "prompt_id", "weight", "control", "repeats"}
"""Columns that are read, and those of the batch file that say nothing of the answer."""
UNASKED = "a label must answer a pair of one of the run's batches"
FORM = 'an answer file must have pair_id and choice ("a", "b" or "tie") in every row'


@dataclass(frozen=True)
class AnswerFile:
    """Answers read and checked.

    Attributes:
        labels: in the order of the file; where: the place of each, e.g. ``line 3``.
        answers: how the choices were read, rows without one included.
        strange: places of rows that show other texts than those of their pair.
        unread: columns that were not read.
        unnamed: answers whose row names no annotator.
        apart: places of ties whose probability is not ½, with it.
        missing: places of rows whose probability is NaN, which states none.
        others: what a tool wrote that is no answer (drafts, skipped, discarded), counted.
    """

    labels: list[Label]
    where: list[str]
    answers: Answers
    strange: list[str] = field(default_factory=list)
    unread: tuple[str, ...] = ()
    unnamed: int = 0
    apart: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    others: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """What may be answered.

    Attributes:
        pairs: for every pair that was ever asked, ``(batch, id_a, id_b)``.
        text: the text of a completion, by its id.
    """

    pairs: Mapping[str, tuple[str, str, str]]
    text: Callable[[str], str]


@dataclass
class _Reading:
    """What is found while the rows are gone through."""

    source: Source
    asked: Asked
    annotator: str
    labels: list[Label] = field(default_factory=list)
    where: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    wrong: list[tuple[int, str, str]] = field(default_factory=list)
    unnamed: int = 0
    apart: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def place(self, row: int) -> str:
        """Where a row stands, e.g. ``line 3``."""
        return self.source.at(row).partition(" of ")[0]

    def bad(self, number: int, rule: str, got: str) -> None:
        """A row breaks a rule."""
        self.wrong.append((number, rule, got))


def read_answers(
    path: Path, asked: Asked, *, annotator: str, given: str | None = None
) -> AnswerFile:
    """The answers in a file, all checked.

    Columns beside ``pair_id`` and ``choice``: ``annotator`` (a name or a number), ``probability``
    (that A is preferred; it may stand in place of a choice), and ``id_a, id_b`` or ``completion_a,
    completion_b`` where A and B are not in the batch's order. Rows without choice and probability
    are no answers, and are counted.

    Args:
        annotator: for rows that name none.
        given: what the values of ``choice`` mean (`pool.reading.conventions.label_map`).

    Raises:
        UserError: all rows that are wrong, the first with what is wrong; or it is no answer file.
    """
    source = load_file(path)
    others: dict[str, int] = {}
    if is_label_studio(source):
        source, others = flat_tasks(source)
    elif is_argilla(source):
        source, others = flat_records(source)
    _check_columns(source)
    reading = _Reading(source, asked, annotator)
    for one in source.odd:
        reading.bad(one.number, "the row", one.received.partition(source.name)[2].strip(" :"))
    chances = [_chance(reading, row) for row in range(len(source.numbers))]
    try:
        answers = _choices(reading, chances, given)
    except UserError as error:  # the other rows that are wrong, all the same
        for row in range(len(chances)):
            _read(reading, row, "tie", None)
        raise _besides(reading, error) from None
    for row, choice in enumerate(answers.choices):
        if choice is not None:
            _read(reading, row, choice, chances[row])
    if reading.wrong:
        raise _all_wrong(reading)
    if not reading.labels:
        raise UserError(
            "an answer file must hold at least one answer",
            f"{counted(len(answers.choices), 'row')} of {source.name} "
            f"{plural(len(answers.choices), 'holds', 'hold')} none",
        )
    unread = tuple(name for name in source.columns if name and name not in KNOWN)
    return AnswerFile(
        *(reading.labels, reading.where, answers, reading.strange, unread),
        unnamed=reading.unnamed,
        apart=reading.apart,
        missing=reading.missing,
        others=others,
    )


def _besides(reading: _Reading, error: UserError) -> UserError:
    """`error`, and all other rows that are wrong."""
    if not reading.wrong:
        return error
    count = len({number for number, _, _ in reading.wrong})
    got = (
        f"{error.received}. Besides, {counted(count, 'other row')} cannot be read: {_told(reading)}"
    )
    return UserError(error.rule, got, f"{error.remedy}; and mend those rows, or take them out")


def _check_columns(source: Source) -> None:
    there = source.columns.keys()
    if "pair_id" not in there or not there & {"choice", "probability"}:
        names = ", ".join(map(show, list(there)[:12])) + (", …" if len(there) > 12 else "")
        raise UserError(
            FORM,
            f"the columns of {source.name} are {names}",
            "rename them (pair_id is in the batch file, RUN/batches/NUMBER/pairs.jsonl)",
        )


def _nothing(value: Any) -> bool:
    """Whether a cell says nothing."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _chance(reading: _Reading, row: int) -> float | None:
    """P(A preferred), where a row states it."""
    source = reading.source
    value = source.values("probability")[row] if "probability" in source.columns else None
    if _nothing(value):
        if isinstance(value, float):
            reading.missing.append(reading.place(row))
        return None
    number = math.nan
    if isinstance(value, int | float | Decimal | str) and not isinstance(value, bool):
        text = str(value).replace(",", ".") if source.decimal_comma else str(value)
        with suppress(ValueError):
            number = float(text)
    if not 0.0 <= number <= 1.0:
        reading.bad(source.numbers[row], "probability must be between 0 and 1", show(value))
        return None
    return number


def _choices(reading: _Reading, chances: list[float | None], given: str | None) -> Answers:
    """The choice of every row; where only a probability is stated, the likelier side."""
    source, plain = reading.source, list[Any]()
    said = source.values("choice") if "choice" in source.columns else [None] * len(chances)
    for row, value in enumerate(said):
        ok = _nothing(value) or isinstance(value, str | int | float | Decimal)
        plain.append((_named(reading, row, value) or value) if ok else None)
        if not ok:
            reading.bad(source.numbers[row], 'choice must be "a", "b" or "tie"', show(value))
    if all(map(_nothing, plain)):
        found = Answers([None] * len(plain), {})
    else:
        found = understand_answers(plain, "choice", source.at, names=SIDES, given=given)
    choices = list(found.choices)
    for row, p in enumerate(chances):
        if choices[row] is None and p is not None and _nothing(plain[row]):
            choices[row] = "a" if p > 0.5 else "b" if p < 0.5 else "tie"
    return Answers(choices, found.meaning, found.unused)


@dataclass(frozen=True)
class _Shown:
    """The pair of a row, and its completions as the row shows them.

    Attributes:
        key, batch, id_a, id_b: as asked; shown: ids of the row's A and B.
        turned: whether the texts that it shows are the batch's B and A; None: neither order.
    """

    key: str
    batch: str
    id_a: str
    id_b: str
    shown: tuple[Any, Any]
    turned: bool | None


def _cell(reading: _Reading, row: int, name: str) -> Any:
    source = reading.source
    value = source.values(name)[row] if name in source.columns else None
    return None if _nothing(value) else value


def _shown(reading: _Reading, row: int) -> _Shown | None:
    """What a row is about; None where it names no pair that was asked."""
    asked, key = reading.asked, _cell(reading, row, "pair_id")
    key = key.strip() if isinstance(key, str) else None
    if key is None or key not in asked.pairs:
        return None
    batch, id_a, id_b = asked.pairs[key]
    first, second = (_cell(reading, row, name) for name in ("id_a", "id_b"))
    shown = (id_a if first is None else first, id_b if second is None else second)
    turned = _swapped(asked, id_a, id_b, [_cell(reading, row, side) for side in SIDES])
    if first is None and second is None and turned:
        shown = (id_b, id_a)
    return _Shown(key, batch, id_a, id_b, shown, turned)


def _named(reading: _Reading, row: int, value: Any) -> Choice | None:
    """The side that a choice names by its completion's id or whole text."""
    if not isinstance(value, str) or means_something(value, SIDES):
        return None
    about = _shown(reading, row)
    if about is None or set(about.shown) != {about.id_a, about.id_b}:
        return None
    said, text = " ".join(value.split()), reading.asked.text
    for one, other in (about.shown, about.shown[::-1]):
        texts = [" ".join(text(name).split()) for name in (one, other)]
        if said == one or (said == texts[0] and said != texts[1]):
            return "a" if one == about.shown[0] else "b"
    return None


def _read(reading: _Reading, row: int, choice: Choice, p: float | None) -> None:
    """One row's label, or what is wrong with it."""
    source, about = reading.source, _shown(reading, row)
    number = source.numbers[row]

    def cell(name: str) -> Any:
        return _cell(reading, row, name)

    if about is None:
        reading.bad(number, UNASKED, show(cell("pair_id")))
        return
    key, batch, id_a, id_b = about.key, about.batch, about.id_a, about.id_b
    shown, turned = about.shown, about.turned
    who = _name(cell("annotator"), reading.annotator, source.untyped)
    if shown not in ((id_a, id_b), (id_b, id_a)):
        got = f"{show(shown[0])} and {show(shown[1])}"
        reading.bad(number, "id_a and id_b must be the pair's completions", got)
    elif turned is not None and turned != (shown == (id_b, id_a)):
        rule = "id_a, id_b and completion_a, completion_b must stand in one order"
        reading.bad(number, rule, f"{show(key)} has them crosswise")
    elif who is None:
        got = show(cell("annotator"))
        reading.bad(number, "annotator must be a name, in one line, or a number", got)
    elif p is not None and ((choice == "a" and p < 0.5) or (choice == "b" and p > 0.5)):
        got = f"{p:g} for {choice!r} (give {1 - p:g} if it is the choice's)"
        reading.bad(number, "probability is that A is preferred, whatever the choice", got)
    elif p is not None and choice == "tie" and not 0.25 <= p <= 0.75:
        got = f"{p:g} for 'tie'"
        reading.bad(number, "the probability of a tie must be nearer to 0.5 than to 0 or 1", got)
    else:
        reading.unnamed += cell("annotator") is None
        if choice == "tie" and p not in (None, 0.5):
            reading.apart.append(f"{reading.place(row)}: {p:g}")
        bad = choice == "tie" and BOTH_BAD.search(str(cell("choice"))) is not None
        _add(reading, row, Label(key, str(shown[0]), str(shown[1]), choice, who, batch, p, bad))
        if turned is None and any(cell(side) is not None for side in SIDES):
            reading.strange.append(reading.where[-1])


def _add(reading: _Reading, row: int, label: Label) -> None:
    reading.labels.append(label)
    reading.where.append(reading.place(row))


def _swapped(asked: Asked, id_a: str, id_b: str, sides: list[Any]) -> bool | None:
    """Whether the texts that a row shows as A and B are the batch's B and A; None: neither
    order."""
    shown = [_bare(text) if isinstance(text, str) else None for text in sides]
    ours = [_bare(asked.text(name)) for name in (id_a, id_b)]
    if shown == ours:
        return False
    return True if shown == ours[::-1] else None


def _bare(text: str) -> str:
    """A text without what a file may change of it: blanks, and a sheet's guard against formulas."""
    return " ".join(FORMULA.sub("", text).split())


def _name(value: Any, usual: str, untyped: bool = False) -> str | None:
    """An annotator's name; a number is one (``7.0`` in CSV is 7, as pandas writes it)."""
    if value is None:
        value = usual
    if isinstance(value, str):
        value = value.strip()
        value = value.removesuffix(".0") if untyped and WHOLE.fullmatch(value) else value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) and value and value.isprintable() else None


def _all_wrong(reading: _Reading) -> UserError:
    """Every row that is wrong, in one line: the first of each kind, and the numbers of all."""
    source, rules = reading.source, {rule for _, rule, _ in reading.wrong}
    count = len({number for number, _, _ in reading.wrong})
    every = rules == {UNASKED} and count == source.rows_read
    return UserError(
        "answers are accepted all or none",
        f"{counted_of(count, source.rows_read, 'row')} of {source.name} cannot be read: "
        f"{_told(reading)}",
        "They are of another run, it seems: name it by --run"
        if every
        else "Mend those rows, or take them out",
    )


def _told(reading: _Reading) -> str:
    """The first of each kind of wrong rows, and the numbers of all."""
    source, kinds = reading.source, dict[str, list[tuple[int, str]]]()
    for number, rule, got in sorted(reading.wrong):
        kinds.setdefault(rule, []).append((number, got))
    told = []
    for rule, rows in list(kinds.items())[:SHOWN]:
        text = f"{source.unit} {rows[0][0]}: {rule}: {rows[0][1]}"
        more = [str(number) for number, _ in rows[1:]]
        told.append(text + (f" (and {source.unit} {_some(more)} alike)" if more else ""))
    rest = [str(number) for rows in list(kinds.values())[SHOWN:] for number, _ in rows]
    told += [f"and {source.unit} {_some(rest)}"] if rest else []
    return "; ".join(told)


def _some(numbers: list[str]) -> str:
    return ", ".join(numbers[:20]) + (f" and {len(numbers) - 20} more" if len(numbers) > 20 else "")
