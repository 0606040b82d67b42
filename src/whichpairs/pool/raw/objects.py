"""JSON as programs write it: one object a line, a list, pandas' forms, objects one after
another."""

import json
from collections.abc import Iterator
from typing import Any

import polars as pl

from whichpairs.errors import UserError
from whichpairs.pool.raw.decode import STRAY
from whichpairs.pool.raw.source import OddRow, Source, show

WELL_FORMED, UNICODE = "JSON must be well-formed", "JSON strings must be Unicode"
DEEP = "it is nested too deeply"
MARK = "\ufeff"
"""A byte-order mark, which `cat` of several files leaves inside."""
AMISS = {
    "Expecting value": "no value begins",
    "Expecting property name enclosed in double quotes": "no name in double quotes begins",
    "Expecting ':' delimiter": "a colon is missing",
    "Expecting ',' delimiter": "a comma or a bracket is missing",
    "Unterminated string starting at": "a text begins that never ends,",
    "Invalid control character at": "a line break or tab stands inside a text,",
    "Invalid \\escape": "a backslash escapes nothing",
    "Invalid \\uXXXX escape": "\\u lacks its four digits",
    "Extra data": "more follows what was whole",
}
"""What Python's JSON reader says, in words."""
ROWS = frozenset({"rows", "examples", "instances", "records", "items"})
SPLITS = frozenset({"train", "test", "validation", "dev"})
AN_OBJECT = "every row must be a JSON object"
ONCE = "a JSON object must name each key once"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, of which a reader of JSON would keep the last of two values without a word."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _NotJsonError(ONCE, f"{show(twice)} twice", remedy=f"keep one value of {show(twice)}")
    return found


_READER = json.JSONDecoder(object_pairs_hook=_once)


def read_objects(text: str, name: str) -> Source:
    """The rows of a JSON text of any of these forms, whatever the file is called.

    One object a line; a list of objects; ``{"data": [...]}``; what pandas' ``to_json`` writes
    (by columns, by index, ``split``); objects one after another over several lines.

    Raises:
        UserError: it is none of them, or is cut short.
    """
    if not text.strip():
        return Source(name, {}, ())
    lines = text.split("\n") if "\n" in text else text.split("\r")
    first = next(line for line in lines if line.strip())
    alone = sum(1 for line in lines if line.strip()) == 1
    if not alone and first.lstrip().startswith("{") and not _cut(first):
        return _from_lines(lines, name)
    try:
        whole = _parse(text)
    except _NotJsonError as error:
        if error.extra:
            return _stream(text, name)
        if not alone and any(map(_is_object, lines[1:20])):  # the first line is the broken one
            return _from_lines(lines, name)
        if error.rule == WELL_FORMED and error.reason != DEEP and _cut(text):
            raise UserError(
                f"{name} must be whole",
                "its JSON stops before its end: the file is cut short",
                "write or fetch it again",
            ) from None
        remedy = error.remedy or _remedy(text, name)
        raise UserError(error.rule, f"{name}: {error.reason}", remedy) from None
    return _from_whole(whole, name, lines.index(first) + 1 if alone else None)


def _is_object(line: str) -> bool:
    try:
        return isinstance(_parse(line), dict)
    except _NotJsonError:
        return False


def _cut(text: str) -> bool:
    """Whether a JSON text stops before its brackets close."""
    depth, inside, escaped = 0, False, False
    for c in text:
        if escaped:
            escaped = False
        elif inside:
            escaped = c == "\\"
            inside = c != '"'
        elif c == '"':
            inside = True
        else:
            depth += (c in "[{") - (c in "]}")
    return depth > 0 or inside


def _remedy(text: str, name: str) -> str:
    if text.lstrip()[:1] in "[{":
        return "write it again, e.g. one JSON object a line"
    return "write one JSON object a line; a table with a delimiter needs the suffix .csv"


class _NotJsonError(Exception):
    def __init__(self, rule: str, reason: str, extra: bool = False, remedy: str = "") -> None:
        self.rule, self.reason, self.extra, self.remedy = rule, reason, extra, remedy


def _parse(text: str) -> Any:
    """One JSON value whose strings are Unicode."""
    stray = None if text.isascii() else STRAY.search(text)
    if stray:
        byte = ord(stray[0]) - 0xDC00
        raise _NotJsonError("the text must be UTF-8", f"the byte 0x{byte:02x}, which is no UTF-8")
    try:
        value = _READER.decode(text)
        if "\\u" in text:  # an escape can smuggle in half a surrogate pair, which no file can hold
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value
    except UnicodeEncodeError:
        raise _NotJsonError(UNICODE, "half a surrogate pair (\\ud800 …)") from None
    except RecursionError:
        raise _NotJsonError(WELL_FORMED, DEEP) from None
    except json.JSONDecodeError as error:
        extra = error.msg == "Extra data"
        single = text.startswith("'", error.pos)
        remedy = "write it by json.dumps: a text in JSON has double quotes" if single else ""
        raise _NotJsonError(WELL_FORMED, _amiss(error), extra, remedy) from None
    except ValueError:
        raise _NotJsonError(WELL_FORMED, "it has a number of thousands of digits") from None


def _amiss(error: json.JSONDecodeError) -> str:
    """What is wrong with a JSON text, and where."""
    line = f"line {error.lineno}, " if error.lineno > 1 else ""
    near = error.doc[error.pos : error.pos + 20]
    there = f": {show(near)}" if near.strip() else ""
    return f"{AMISS.get(error.msg, error.msg.lower())} at {line}column {error.colno}{there}"


def _several(text: str) -> Iterator[tuple[Any, int]]:
    """JSON values one after another, blanks or a comma between, and where each begins.

    Raises:
        _NotJsonError: one is none; `at` says where.
    """
    decoder, at, more = _READER, 0, False
    while True:
        while at < len(text) and (text[at].isspace() or text[at] == MARK):
            at += 1
        if more and text.startswith(",", at):
            more, at = False, at + 1
            continue
        if at >= len(text):
            return
        try:
            value, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise _NotJsonError(WELL_FORMED, _amiss(error)) from None
        except (ValueError, RecursionError):
            raise _NotJsonError(WELL_FORMED, DEEP) from None
        yield value, at
        at, more = end, True


def _objects_on(line: str) -> list[Any]:
    """The objects of a line that holds several, or one and a comma; empty: it holds something
    else."""
    try:
        found = [value for value, _ in _several(line)]
        json.dumps(found, ensure_ascii=False).encode("utf-8")
    except (_NotJsonError, UnicodeEncodeError, RecursionError):
        return []
    return found if all(isinstance(value, dict) for value in found) else []


def _from_lines(lines: list[str], name: str) -> Source:
    """One object a line; a line that is none is odd, but the last, cut short, is a broken file."""
    rows, numbers, odd = list[Any](), list[int](), list[OddRow]()
    for number, line in enumerate(lines, start=1):
        if not line or line.isspace():
            continue
        where = f"line {number} of {name}"
        try:
            value = _parse(line.removeprefix(MARK))
        except _NotJsonError as error:
            several = _objects_on(line) if error.extra else []
            if several:
                rows += several
                numbers += [number] * len(several)
                continue
            if number == len(lines) and _cut(line):
                raise UserError(
                    WELL_FORMED,
                    f"{where}: it stops in the middle: the file is cut short",
                    "write or fetch it again",
                ) from None
            received = f"{where} holds {error.reason}"
            received = received if error.rule != WELL_FORMED else f"{where}: {error.reason}"
            odd.append(OddRow(number, error.rule, received, error.remedy))
            continue
        if isinstance(value, dict):
            rows.append(value)
            numbers.append(number)
        else:
            odd.append(OddRow(number, AN_OBJECT, f"{where} is {show(value)}"))
    return _columns(rows, Source(name, {}, numbers, "line", odd=tuple(odd)))


def _stream(text: str, name: str) -> Source:
    """Objects one after another, each over several lines (what ``jq .`` prints)."""
    rows, numbers, line, before = list[Any](), list[int](), 1, 0
    try:
        for value, at in _several(text):
            line, before = line + text.count("\n", before, at), at
            rows.append(value)
            numbers.append(line)
    except _NotJsonError as error:
        raise UserError(error.rule, f"{name}: {error.reason}", error.remedy) from None
    return _listed(rows, numbers, name, "line")


def _from_whole(data: Any, name: str, line: int | None) -> Source:
    """The rows that one JSON value holds (`line`: where it stands alone on a line)."""
    if isinstance(data, list):
        return _listed(data, range(1, len(data) + 1), name)
    if not isinstance(data, dict):
        raise UserError(
            f"{name} must hold JSON objects, one a line or in a list", f"got {show(data)}"
        )
    if isinstance(data.get("data"), list):
        if isinstance(data.get("columns"), list):  # pandas, orient="split"
            names = [str(column) for column in data["columns"]]
            whole = [dict(zip(names, cells, strict=False)) for cells in data["data"]]
            return _listed(whole, range(1, len(whole) + 1), name)
        return _listed(data["data"], range(1, len(data["data"]) + 1), name)
    table = _pandas(data) or _lists(data)
    if table is not None:
        return table_of(table, name)
    inner = next((k for k, v in data.items() if _of_objects(v)), None)
    splits = all(map(_of_objects, data.values())) and inner in SPLITS
    if splits or (len(data) <= 2 and inner in ROWS):
        raise UserError(
            f'{name} must hold a list of objects, or {{"data": [...]}}',
            f"its rows are under {show(inner)}",
            f"take them out with: jq -c '.{inner}[]' FILE > rows.jsonl",
        )
    alone = next(iter(data.values())) if len(data) == 1 else None
    if isinstance(alone, list) and not (_of_objects(alone) and {"role", "from"} & set(alone[0])):
        raise UserError(
            f'{name} must hold a list of objects, or {{"data": [...]}}',
            f"got {show(data)}",
            "write one JSON object a line",
        )
    return _columns([data], Source(name, {}, [line or 1], "line" if line else "row"))


def _of_objects(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def _pandas(data: dict[str, Any]) -> list[dict[str, Any]] | None:
    """What ``DataFrame.to_json()`` writes: values by column and index, or by index and column."""
    values = list(data.values())
    if not values or not all(isinstance(v, dict) and v for v in values):
        return None
    keys = list(values[0])
    if all(k.isdigit() for k in keys) and all(list(v) == keys for v in values):
        return [{column: data[column][key] for column in data} for key in keys]
    return values if all(k.isdigit() for k in data) else None


def _lists(data: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Columns as lists of one length, of texts and numbers."""
    values = list(data.values())
    if len(values) < 2 or not all(isinstance(v, list) and v for v in values):
        return None
    plain = all(not isinstance(one, (list, dict)) for v in values for one in v)
    if not plain or len({len(v) for v in values}) > 1:
        return None
    return [dict(zip(data, cells, strict=True)) for cells in zip(*values, strict=True)]


def table_of(rows: list[dict[str, Any]], name: str) -> Source:
    """Objects as a table, numbered from 1."""
    return _columns(rows, Source(name, {}, range(1, len(rows) + 1)))


def _listed(data: Any, numbers: Any, name: str, unit: str = "row") -> Source:
    rows, kept, odd = list[Any](), list[int](), list[OddRow]()
    for number, value in zip(numbers, data, strict=True):
        if isinstance(value, dict):
            rows.append(value)
            kept.append(number)
        else:
            cure = "with pandas: orient='records'" if isinstance(value, list) else ""
            found = f"{unit} {number} of {name} is {show(value)}"
            odd.append(OddRow(number, AN_OBJECT, found, cure))
    return _columns(rows, Source(name, {}, kept, unit, odd=tuple(odd)))


def _columns(rows: list[Any], empty: Source) -> Source:
    names = dict.fromkeys(_keys(rows))
    columns: dict[str, list[Any] | pl.Series] = {n: [row.get(n) for row in rows] for n in names}
    return Source(empty.name, columns, empty.numbers, empty.unit, odd=empty.odd)


def _keys(rows: list[Any]) -> Iterator[str]:
    return (key for row in rows for key in row)
