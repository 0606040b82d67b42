"""Rows as read from a file, before anything is known of what they mean."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import polars as pl

from whichpairs.errors import UserError, one_line

TAKEN = ("prompt", "completion", "chosen", "rejected")
"""Columns that mean what they say, and so are not meant by another name."""


ALIKE = 0.75
"""How alike two names are where one may be meant by the other; less, and a wrong column is
advised."""

ROW_OUT = "leave that row out"
"""The end of a remedy that helps where some rows are odd, and not where all are."""


@dataclass(frozen=True)
class OddRow:
    """A row that cannot be used.

    Attributes:
        number: its 1-based line or row number.
        rule, received, remedy: as of a `UserError`; `received` says where the row stands.
    """

    number: int
    rule: str
    received: str
    remedy: str = ""

    @property
    def error(self) -> UserError:
        """What is wrong, for a user who wants every row."""
        return UserError(self.rule, self.received, self.remedy)


@dataclass(frozen=True)
class Source:
    """Rows as read.

    Attributes:
        name: what the user called it.
        columns: values by column name; a polars Series where the format is typed.
        numbers: the 1-based line (or row) number of every row.
        unit: what `numbers` counts, ``"line"`` or ``"row"``.
        untyped: every value is text (CSV), so that numbers must be read from it.
        decimal_comma: numbers in it may be written ``1,5`` (CSV with semicolons).
        odd: rows that could not be read at all, and so are not among `columns`.
    """

    name: str
    columns: dict[str, list[Any] | pl.Series]
    numbers: Sequence[int]
    unit: str = "row"
    untyped: bool = False
    decimal_comma: bool = False
    odd: tuple[OddRow, ...] = ()
    _values: dict[str, list[Any]] = field(default_factory=dict, repr=False)

    def values(self, column: str) -> list[Any]:
        """A column as Python values.

        Raises:
            UserError: there is no such column; the closest one is named.
        """
        if column not in self.columns:
            raise no_column(self, column)
        if column not in self._values:
            found = self.columns[column]
            self._values[column] = found.to_list() if isinstance(found, pl.Series) else found
        return self._values[column]

    def at(self, row: int) -> str:
        """Where a row stands, e.g. ``line 3 of pool.jsonl``."""
        return f"{self.unit} {self.numbers[row]} of {self.name}"

    @property
    def rows_read(self) -> int:
        """How many rows there were, those that could not be read included."""
        return len(self.numbers) + len(self.odd)


def no_column(source: Source, column: str, remedy: str = "") -> UserError:
    """The error for a column that is not there; `remedy` where no other has a name like it."""
    names = list(source.columns)
    free = [name for name in names if name not in TAKEN]
    folded = {name.strip(" '\"").casefold(): name for name in free}
    same = get_close_matches(column.casefold(), folded, n=1, cutoff=ALIKE)
    close = [folded[name] for name in same]
    listed = ", ".join(map(show, names[:20])) + (", …" if len(names) > 20 else "")
    return UserError(
        f"{source.name} must have the column {show(column)}",
        f"its columns are {listed}" if names else "it has none",
        f"Did you mean {show(close[0])}?" if close else remedy or "name the column that holds it",
    )


def show(value: object) -> str:
    """A value for an error message: on one line, quoted, cut at 60 characters."""
    if isinstance(value, str):
        return one_line(repr(value[:80]), 60)
    if isinstance(value, (bytes, bytearray)):
        return f"{len(value)} bytes that are no text"
    if value is None or isinstance(value, (bool, list, dict)):  # as JSON has them
        return one_line(json.dumps(value, ensure_ascii=False, default=str), 60)
    return one_line(str(value), 60)


def check_rows(source: Source) -> Source:
    """`source` itself, when it has a row.

    Raises:
        UserError: it has none; where none of its rows could be read, that is what it says.
    """
    if not len(source.numbers):
        if source.odd:
            raise source.odd[0].error
        raise UserError(f"{source.name} must hold at least one row", "it is empty")
    return source


def from_frame(frame: pl.DataFrame, name: str) -> Source:
    """A typed table."""
    columns: dict[str, list[Any] | pl.Series] = {s.name: s for s in frame.get_columns()}
    return Source(name, columns, range(1, len(frame) + 1))
