"""CSV as programs write it: commas, semicolons or tabs, Excel's `sep=` line, a trailing
delimiter."""

import csv
import io
import re
from dataclasses import dataclass

from whichpairs.errors import UserError
from whichpairs.pool.raw.decode import STRAY
from whichpairs.pool.raw.source import OddRow, Source, show
from whichpairs.wording import counted

LONGEST_FIELD = 2**31 - 1
DELIMITERS = (",", ";", "\t", "|")
SAMPLE = 50
OTHER = re.compile(r"^'(.|\\t)'")
AMISS = {
    "unexpected end of data": "a quoted field never ends",
    "',' expected after '\"'": "more follows the end of a quoted field",
}
"""What Python's CSV reader says, in words."""


@dataclass(frozen=True)
class _Table:
    """Rows of cells, and the line that each begins on."""

    rows: list[list[str]]
    lines: list[int]


def read_delimited(text: str, name: str, usual: str = ",") -> Source:
    """The rows of a CSV text, whose first row names the columns; every value is a text.

    Args:
        usual: the delimiter where the text tells nothing (a single column).

    Raises:
        UserError: quotes do not match, or two columns have one name.
    """
    first, delimiter = _declared(text)
    if not delimiter:
        delimiter = _guess(text, usual)
    table = _cells(text, delimiter, name)
    if first:
        table = _Table(table.rows[1:], table.lines[1:])
    if not table.rows:
        return Source(name, {}, ())
    header, *rows = table.rows
    while len(header) > 1 and not header[-1] and not any(any(r[len(header) - 1 :]) for r in rows):
        header = header[:-1]
    if len(set(header)) < len(header):
        twice = next(column for column in header if header.count(column) > 1)
        raise UserError(
            "CSV columns must have different names",
            f"{show(twice)} is there twice in {name}",
            "give one of them another name",
        )
    broken = not text.isascii() and STRAY.search(text) is not None
    width, kept, numbers, odd = len(header), list[list[str]](), list[int](), list[OddRow]()
    for line, cells in zip(table.lines[1:], rows, strict=True):
        if cells[:width] == header and width > 1:
            odd.append(
                OddRow(line, "a CSV file must have one header", f"line {line} of {name} repeats it")
            )
        elif len(cells) < width or any(cells[width:]):
            odd.append(
                OddRow(
                    line,
                    f"every CSV row must have {counted(width, 'field')}, as the header",
                    f"line {line} of {name} has {len(cells)}",
                    "take out the lines before the header"
                    if width == 1 and header[0].startswith("#")
                    else "quote fields that hold the delimiter",
                )
            )
        elif broken and (stray := STRAY.search("".join(cells))):
            byte = ord(stray[0]) - 0xDC00
            received = f"line {line} of {name} holds the byte 0x{byte:02x}"
            odd.append(OddRow(line, "the text must be UTF-8", received))
        else:
            kept.append(cells[:width])
            numbers.append(line)
    columns = {n: [cells[k] for cells in kept] for k, n in enumerate(header)}
    comma = delimiter == ";"
    return Source(
        name, {**columns}, numbers, "line", untyped=True, decimal_comma=comma, odd=tuple(odd)
    )


def _declared(text: str) -> tuple[bool, str]:
    """Excel's first line ``sep=;``: whether it is there, and the delimiter that it names."""
    line = text[:16].partition("\n")[0].rstrip("\r")
    if line.lower().startswith("sep=") and len(line) == 5:
        return True, line[4]
    return False, ""


def _guess(text: str, usual: str) -> str:
    """The delimiter that cuts the header into most columns, and most rows alike."""
    best, found = (0.0, 0), usual
    for delimiter in (usual, *(d for d in DELIMITERS if d != usual)):
        rows = []
        try:
            for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True):
                rows += [row] if row else []
                if len(rows) > SAMPLE:
                    break
        except csv.Error:
            pass
        if not rows or len(rows[0]) < 2:
            continue
        alike = sum(len(row) == len(rows[0]) for row in rows) / len(rows)
        if (alike, len(rows[0])) > best:
            best, found = (alike, len(rows[0])), delimiter
    return found


def _cells(text: str, delimiter: str, name: str) -> _Table:
    """Every cell; tab-separated text may have quotation marks that mean nothing."""
    limit = csv.field_size_limit(LONGEST_FIELD)
    try:
        return _read(text, delimiter, csv.QUOTE_MINIMAL)
    except _BrokenError as broken:
        if delimiter == "\t":
            table = _read(text, delimiter, csv.QUOTE_NONE)
            if len({len(row) for row in table.rows}) == 1:
                return table
        raise UserError(
            "CSV must be well-formed",
            f"line {broken.line} of {name}: {broken.reason}",
            'double the quotation marks inside a quoted field: "…""word""…"',
        ) from None
    finally:
        csv.field_size_limit(limit)


class _BrokenError(Exception):
    def __init__(self, line: int, reason: str) -> None:
        self.line, self.reason = line, reason


def _read(text: str, delimiter: str, quoting: int) -> _Table:
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        strict=True,
        quoting=quoting,  # type: ignore[arg-type]
    )
    rows, lines, before = [], [], 0
    try:
        for row in reader:
            if row:
                row[0] = row[0].removeprefix("\ufeff")  # of a file that was added to another
                rows.append(row)
                lines.append(before + 1)
            before = reader.line_num
    except csv.Error as error:
        raise _BrokenError(
            before + 1, AMISS.get(OTHER.sub("','", str(error)), "it cannot be read")
        ) from None
    return _Table(rows, lines)
