"""The further values of a completion: weight, scores, whether it finished, and what else is there.

Duplicates are merged here: weights add up, scores are averaged by weight, the rest is the first's.
"""

import json
import math
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from whichpairs.errors import UserError
from whichpairs.pool.rows import Columns, Rows
from whichpairs.pool.sources import show

RESERVED = ("completion_id", "prompt_id", "completion", "weight", "finished")
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

    Raises:
        UserError: a value is not what it must be (its row is named).
    """
    _check_names(rows, columns)
    weight = np.ones(len(slots))
    if columns.weight is not None:
        weight = _numbers(rows, columns.weight, positive=True)
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
    """A column's value for every entry; in lists, it must hold one for each completion."""
    values = rows.source.values(column)
    if rows.shape != "list":
        return [values[row] for row in rows.row]
    flat: list[Any] = []
    for row, count in enumerate(np.bincount(rows.row).tolist()):
        value = values[row]
        if not isinstance(value, list) or len(value) != count:
            got = f"has {len(value)}" if isinstance(value, list) else f"is {show(value)}"
            raise UserError(
                "lists of one row must have the same length",
                f"{show(column)} {got} for {count} completions in {rows.source.at(row)}",
            )
        flat.extend(value)
    return flat


def _numbers(rows: Rows, column: str, positive: bool = False) -> np.ndarray:
    """A column's finite numbers, float64 (entries,)."""
    values = _per_entry(rows, column)
    numbers = np.array([_number(value, rows.source.untyped) for value in values])
    bad = ~np.isfinite(numbers) | (positive & ~(numbers > 0))
    if bad.any():
        entry = int(np.argmax(bad))
        what = "a weight must be a finite number above 0" if positive else ""
        raise UserError(
            what or "a score must be a finite number",
            f"{show(column)} is {show(values[entry])} in {rows.where(entry)}",
            "mend it, or leave that row out",
        )
    return numbers


def _number(value: Any, untyped: bool) -> float:
    """The number, or NaN where it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal, str)):
        return math.nan
    if isinstance(value, str) and (not untyped or "_" in value):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def _finished(rows: Rows, entry: int) -> bool:
    """Whether a completion ended by itself; true where nothing is said."""
    if "finished" not in rows.source.columns:
        return True
    value = rows.source.values("finished")[rows.row[entry]]
    if rows.shape == "list" and isinstance(value, list):
        place = rows.place[entry]
        value = value[place] if place < len(value) else "missing"
    if rows.source.untyped:
        value = TRUTH.get(str(value).lower(), value)
    if value is None or isinstance(value, bool):
        return value is not False
    raise UserError(
        "finished must be true or false (whether the completion ended by itself)",
        f"it is {show(value)} in {rows.where(entry)}",
        "rename that column if it means something else",
    )


def _further(rows: Rows, columns: Columns, first: np.ndarray) -> list[pl.Series]:
    """Every other column; in lists, one with as many values as completions is taken apart.

    Those of pair rows tell of the pair, not of a completion, and are left out.
    """
    if rows.shape == "pair":
        return []
    named = (columns.prompt, columns.completion, columns.prompt_id, columns.group, columns.weight)
    used = {*named, *columns.scores, "finished"}
    taken = {*RESERVED, *columns.scores}
    of_row = np.asarray(rows.row)[first].tolist()
    found = []
    for name, values in rows.source.columns.items():
        if name in used:
            continue
        series = values if isinstance(values, pl.Series) else as_series(name, values)
        if rows.shape == "list" and _one_each(series, rows):
            series = series.explode()[first.tolist()]
        else:
            series = series[of_row]
        while name in taken:
            name += "_as_read"
        taken.add(name)
        found.append(series.alias(name))
    return found


def _one_each(series: pl.Series, rows: Rows) -> bool:
    if not isinstance(series.dtype, pl.List):
        return False
    return bool(np.array_equal(series.list.len().fill_null(0), np.bincount(rows.row)))


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
