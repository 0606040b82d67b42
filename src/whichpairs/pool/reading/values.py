"""The further values of a completion: weight, scores, whether it finished, and what else is there.

Duplicates are merged here: weights add up, scores are averaged by weight, the rest is the first's.
"""

import json
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from whichpairs.errors import UserError
from whichpairs.pool.columns import Columns
from whichpairs.pool.pool import MESSAGE
from whichpairs.pool.raw.source import ROW_OUT, Source, show
from whichpairs.pool.reading.conventions import NUMBER
from whichpairs.pool.reading.rows import Rows
from whichpairs.pool.reading.unread import meant
from whichpairs.wording import counted

_AS_READ = "_as_read"
"""What is put behind the name of a file's column that the pool has for itself."""

RESERVED = ("completion_id", "prompt_id", "completion", "weight", "finished", MESSAGE)
"""Columns of the completions' table that no score may be called; others are renamed."""
PLAIN = {str: pl.String, int: pl.Int64, float: pl.Float64, bool: pl.Boolean}
TRUTH = {"true": True, "false": False, "1": True, "0": False}


def merged_values(
    rows: Rows, columns: Columns, slots: np.ndarray, first: np.ndarray
) -> list[pl.Series]:
    """``weight``, ``finished``, scores and further columns of the merged completions.

    Args:
        slots: int (entries,): the merged completion of every entry, 0 to s - 1.
        first: int (s,): the first entry of every merged completion.

    Every value must be what it must be (`faults` names the rows where one is not).
    """
    weight = np.ones(len(slots))
    if columns.weight is not None:
        weight = _numbers(rows, columns.weight)
    total = np.bincount(slots, weight).astype(np.float64)
    share = weight / total[slots]
    if rows.shape == "pair":  # what is compared twice was not sampled twice
        total[:] = 1.0
    scores = [
        pl.Series(name, np.bincount(slots, share * _numbers(rows, name), len(first)))
        for name in columns.scores
    ]
    ended = np.array([_finished(rows, entry) for entry in range(len(slots))])
    finished = pl.Series("finished", ended[first], pl.Boolean)
    return [pl.Series("weight", total), finished, *scores, *_further(rows, columns, first)]


def faults(rows: Rows, columns: Columns) -> dict[int, UserError]:
    """The source rows of which a score, a weight or ``finished`` is not what it must be.

    Raises:
        UserError: a column is missing, or has a name that cannot be.
    """
    _check_names(rows, columns)
    found: dict[int, UserError] = {}
    for name in columns.scores:
        _number_faults(rows, name, "a score must be a finite number", found)
    if columns.weight is not None:
        _number_faults(rows, columns.weight, "a weight must be a finite number above 0", found)
    if "finished" in rows.source.columns:
        for entry, row in enumerate(rows.row):
            if row not in found and not isinstance(value := _finished(rows, entry), bool):
                found[row] = UserError(
                    "finished must be true or false (whether the completion ended by itself)",
                    f"it is {show(value)} in {rows.where(entry)}",
                    "rename that column if it means something else",
                )
    return found


def _number_faults(rows: Rows, column: str, rule: str, found: dict[int, UserError]) -> None:
    values = rows.source.values(column)
    if rows.shape == "list":
        for row in dict.fromkeys(rows.row):
            value, count = values[row], rows.lengths[row]
            if row not in found and not (isinstance(value, list) and len(value) == count):
                got = f"has {len(value)}" if isinstance(value, list) else f"is {show(value)}"
                found[row] = UserError(
                    "lists of one row must have the same length",
                    f"{show(column)} {got} for {counted(count, 'completion')} in "
                    f"{rows.source.at(row)}",
                )
    positive = "above 0" in rule
    for entry, row in enumerate(rows.row):
        if row in found:
            continue
        value = values[row][rows.place[entry]] if rows.shape == "list" else values[row]
        number = as_number(value, rows.source)
        if not math.isfinite(number) or (positive and number <= 0):
            found[row] = UserError(
                rule,
                f"{show(column)} is {show(value)} in {rows.where(entry)}",
                f"mend it, or {ROW_OUT}",
            )


def _check_names(rows: Rows, columns: Columns) -> None:
    named = [name for name in (*columns.scores, columns.weight) if name is not None]
    if rows.shape == "pair" and named:
        raise UserError(
            "scores and weights need one completion a row, or lists of completions",
            f"{rows.source.name} has pairs, and {show(named[0])} is named",
            "leave it out",
        )
    for name in columns.scores:
        if name in RESERVED or columns.scores.count(name) > 1:
            raise UserError(
                "score columns need different names, none of " + ", ".join(RESERVED),
                f"got {', '.join(map(show, columns.scores))}",
                "rename the column",
            )


def _per_entry(rows: Rows, column: str) -> list[Any]:
    """A column's value for every entry; in lists, it holds one for each completion."""
    values = rows.source.values(column)
    if rows.shape != "list":
        return [values[row] for row in rows.row]
    return [values[row][place] for row, place in zip(rows.row, rows.place, strict=True)]


def _numbers(rows: Rows, column: str) -> np.ndarray:
    """A column's numbers, float64 (entries,)."""
    return np.array([as_number(value, rows.source) for value in _per_entry(rows, column)])


def as_number(value: Any, source: Source) -> float:
    """The number, or NaN where it is none; a text that is a number is one (as
    ``"Rating": "5"``)."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal, str)):
        return math.nan
    if isinstance(value, str):
        if not source.untyped and not NUMBER.fullmatch(value.strip().lower()):
            return math.nan
        if "_" in value:
            return math.nan
        if source.decimal_comma and value.count(",") == 1 and "." not in value:
            value = value.replace(",", ".")
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def _finished(rows: Rows, entry: int) -> Any:
    """Whether a completion ended by itself (true where nothing is said), or what stands there."""
    if "finished" not in rows.source.columns:
        return True
    value = rows.source.values("finished")[rows.row[entry]]
    if rows.shape == "list" and isinstance(value, list):
        place = rows.place[entry]
        value = value[place] if place < len(value) else "missing"
    if rows.source.untyped:
        value = TRUTH.get(str(value).lower(), value)
    return True if value is None else value


def _further(rows: Rows, columns: Columns, first: np.ndarray) -> list[pl.Series]:
    """Every other column; in lists, one with as many values as completions is taken apart.

    Those of pair rows tell of the pair, not of a completion, and are left out.
    """
    if rows.shape == "pair":
        return []
    used = meant(columns) - set(Columns.pair)
    taken = {*RESERVED, *columns.scores}
    of_row = np.asarray(rows.row)[first].tolist()
    found = []
    for name, values in rows.source.columns.items():
        if name in used:
            continue
        series = values if isinstance(values, pl.Series) else as_series(name, values)
        if rows.shape == "list" and _one_each(series, rows):
            place = pl.Series(np.asarray(rows.place)[first])
            series = series[of_row].list.get(place)
        else:
            series = series[of_row]
        while name in taken:
            name += _AS_READ
        taken.add(name)
        found.append(series.alias(name))
    return found


def renamed(kept: Sequence[str], read: Sequence[str]) -> dict[str, str]:
    """What columns of a file are called in the pool, where their names were taken.

    Args:
        kept: the completions' columns; read: those of the file that are kept beside them.
    """
    found = {}
    for column in kept:
        name = column
        while name not in read and name.endswith(_AS_READ):
            name = name.removesuffix(_AS_READ)
        if name != column and name in read:
            found[name] = column
    return found


def _one_each(series: pl.Series, rows: Rows) -> bool:
    """Whether a column has as many values as completions in every row that is read."""
    if not isinstance(series.dtype, pl.List):
        return False
    read = sorted(set(rows.row))
    lengths = np.asarray(rows.lengths)[read]
    return bool(np.array_equal(series[read].list.len().fill_null(0), lengths))


def as_series(name: str, values: list[Any]) -> pl.Series:
    """Values of JSON as a typed column; whatever fits no plain type becomes JSON text."""
    kinds = {type(value) for value in values if value is not None}
    try:
        if kinds == {int, float}:
            return pl.Series(name, values, pl.Float64, strict=False)
        if len(kinds) < 2 and kinds <= set(PLAIN):
            return pl.Series(name, values, PLAIN[next(iter(kinds), str)])
        if kinds == {list}:
            series = pl.Series(name, values)
            if not series.dtype.is_nested() or series.to_list() == values:
                return series
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        pass
    texts = [None if v is None else json.dumps(v, ensure_ascii=False) for v in values]
    return pl.Series(name, texts, pl.String)
