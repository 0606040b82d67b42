"""Files as users have them, brought to one form: columns of values, and where each row stood.

Nothing here knows what a column means; `rows` does.
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import polars as pl

from whichpairs.errors import UserError, one_line

SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet", ".csv")
FORMATS = "JSONL, JSON, Parquet, CSV, or a folder saved by Hugging Face datasets"
LONGEST_FIELD = 2**31 - 1


@dataclass(frozen=True)
class Source:
    """Rows as read.

    Attributes:
        name: what the user called it.
        columns: values by column name; a polars Series where the format is typed.
        numbers: the 1-based line (or row) number of every row.
        unit: what `numbers` counts, ``"line"`` or ``"row"``.
        untyped: every value is text (CSV), so that numbers must be read from it.
    """

    name: str
    columns: dict[str, list[Any] | pl.Series]
    numbers: Sequence[int]
    unit: str = "row"
    untyped: bool = False
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


def no_column(source: Source, column: str) -> UserError:
    """The error for a column that is not there."""
    names = list(source.columns)
    close = get_close_matches(column, names, n=1, cutoff=0.5)
    listed = ", ".join(map(show, names[:20])) + (", …" if len(names) > 20 else "")
    return UserError(
        f"{source.name} must have the column {show(column)}",
        f"its columns are {listed}",
        f"Did you mean {show(close[0])}?" if close else "name the column that holds it",
    )


def show(value: object) -> str:
    """A value for an error message: on one line, quoted, cut at 60 characters."""
    if value is None:
        return "null"
    return one_line(repr(value[:80] if isinstance(value, str) else value), 60)


def load_file(path: Path) -> Source:
    """The rows of a file, by its suffix.

    Raises:
        UserError: the format is unknown, the file is broken (with its line), or holds no row.
    """
    suffix = path.suffix.lower()
    name = str(path)
    if suffix in {".jsonl", ".ndjson"}:
        source = _jsonl(read_text(path), name)
    elif suffix == ".json":
        source = _json(read_text(path), name)
    elif suffix == ".csv":
        source = _csv(read_text(path), name)
    elif suffix == ".parquet":
        source = _parquet(path)
    else:
        raise UserError(f"the pool must be {FORMATS}", f"{name} ends in {suffix!r}", "rename it")
    return check_rows(source)


def check_rows(source: Source) -> Source:
    """`source` itself, when it has a row."""
    if not len(source.numbers):
        raise UserError(f"{source.name} must hold at least one row", "it is empty")
    return source


def from_frame(frame: pl.DataFrame, name: str) -> Source:
    """A typed table."""
    columns: dict[str, list[Any] | pl.Series] = {s.name: s for s in frame.get_columns()}
    return Source(name, columns, range(1, len(frame) + 1))


def read_text(path: Path) -> str:
    """A UTF-8 file (a byte-order mark is skipped).

    Raises:
        UserError: it cannot be read, or a line is no UTF-8.
    """
    try:
        data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise UserError(f"{path} must be readable", str(error.strerror or error)) from None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path} must be UTF-8 text",
            f"line {line} holds the byte 0x{data[error.start]:02x}",
            f"convert it, e.g. with: iconv -f latin1 -t utf-8 {path}",
        ) from None


def _jsonl(text: str, name: str) -> Source:
    rows, numbers = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if line and not line.isspace():
            rows.append(_parse(line, f"line {number} of {name}"))
            numbers.append(number)
    return _from_objects(rows, Source(name, {}, numbers, "line"))


def _json(text: str, name: str) -> Source:
    if not text.strip():
        return Source(name, {}, ())
    remedy = "give it the suffix .jsonl if it has one object a line"
    data = _parse(text, name, remedy)
    rows = data.get("data") if isinstance(data, dict) else data
    if not isinstance(rows, list):
        raise UserError(
            f'{name} must hold a list of objects, or {{"data": [...]}}',
            f"got {show(data)}",
            remedy,
        )
    return _from_objects(rows, Source(name, {}, range(1, len(rows) + 1)))


def _parse(text: str, where: str, remedy: str = "") -> Any:
    """One JSON value whose strings are Unicode."""
    try:
        value = json.loads(text)
        if "\\u" in text:  # an escape can smuggle in half a surrogate pair, which no file can hold
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value
    except UnicodeEncodeError:
        raise UserError(
            "JSON strings must be Unicode", f"{where} holds half a surrogate pair (\\ud800 …)"
        ) from None
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "it is nested too deeply"
        raise UserError("JSON must be well-formed", f"{where}: {reason}", remedy) from None


def _from_objects(rows: list[Any], empty: Source) -> Source:
    for row, value in enumerate(rows):
        if not isinstance(value, dict):
            raise UserError("every row must be a JSON object", f"{empty.at(row)} is {show(value)}")
    names = dict.fromkeys(key for row in rows for key in row)
    columns: dict[str, list[Any] | pl.Series] = {n: [row.get(n) for row in rows] for n in names}
    return Source(empty.name, columns, empty.numbers, empty.unit)


def _csv(text: str, name: str) -> Source:
    rows, numbers = [], []
    limit = csv.field_size_limit(LONGEST_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    before = 0
    try:
        for row in reader:
            if row:
                rows.append(row)
                numbers.append(before + 1)
            before = reader.line_num
    except csv.Error as error:
        raise UserError(
            "CSV must be well-formed", f"line {before + 1} of {name}: {error}"
        ) from None
    finally:
        csv.field_size_limit(limit)
    if not rows:
        return Source(name, {}, ())
    header, *rows = rows
    if len(set(header)) < len(header):
        twice = next(column for column in header if header.count(column) > 1)
        raise UserError("CSV columns must have different names", f"{show(twice)} is there twice")
    for number, cells in zip(numbers[1:], rows, strict=True):
        if len(cells) != len(header):
            raise UserError(
                f"every CSV row must have {len(header)} fields, as the header",
                f"line {number} of {name} has {len(cells)}",
                "quote fields that hold commas",
            )
    columns = dict(zip(header, map(list, zip(*rows, strict=True)), strict=False))
    return Source(name, {**columns}, numbers[1:], "line", untyped=True)


def _parquet(path: Path) -> Source:
    try:
        return from_frame(pl.read_parquet(path, glob=False), str(path))
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            "Parquet files must be whole", f"{path}: {reason}", "write it again"
        ) from None
