"""The drawer: answers of a labelled set that are kept back at import, until their pairs are picked.

Nothing in it, and nothing in the pool beside it, says which of two was preferred but the column
``choice`` (and ``probability``): A is the smaller id, and a prompt's completions stand in the order
of their ids, which come from texts alone.
"""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from whichpairs.errors import UserError, plainly
from whichpairs.pool.columns import Columns
from whichpairs.pool.pool import pair_id
from whichpairs.pool.raw.source import show
from whichpairs.pool.reading.rows import Rows
from whichpairs.pool.reading.tables import completion_id, prompt_id, user_ids
from whichpairs.pool.reading.unread import meant
from whichpairs.pool.reading.values import as_number

DRAWER = "drawer.parquet"
"""In the pool's folder; answers of further files are in ``RUN/drawer/NUMBER``, of the same name."""
ANNOTATOR, PROBABILITY = "annotator", "probability"
SCHEMA = {
    **dict.fromkeys(("pair_id", "id_a", "id_b", "choice", ANNOTATOR), pl.String),
    PROBABILITY: pl.Float64,
}
MOST_OTHERS = 20_000_000
"""Pairs without an answer are listed, to be left out: so many at most."""


def read_beside(rows: Rows, columns: Columns) -> set[str]:
    """The columns beside a pair that say more of its answer, as in a file of answers."""
    found = {ANNOTATOR, PROBABILITY} & set(rows.source.columns) - meant(columns)
    return found | (
        {PROBABILITY} if columns.label == PROBABILITY and not columns.label_map else set()
    )


def drawer_faults(rows: Rows, columns: Columns) -> dict[int, UserError]:
    """Rows whose annotator or probability (that the first of the pair is preferred) cannot be."""
    found: dict[int, UserError] = {}
    there = read_beside(rows, columns)
    for first, second, choice in _answered(rows):
        row = rows.row[min(first, second)]
        where = rows.source.at(row)
        if ANNOTATOR in there and _name(_cell(rows, ANNOTATOR, row)) is None:
            got = f"it is {show(_cell(rows, ANNOTATOR, row))} in {where}"
            found[row] = UserError("annotator must be a name, in one line, or a number", got)
        if PROBABILITY not in there or (p := _chance(rows, row)) is None:
            continue
        got = f"it is {show(_cell(rows, PROBABILITY, row))} in {where}"
        if not 0.0 <= p <= 1.0:
            found[row] = UserError("probability must be between 0 and 1", got)
        elif (choice == "a" and p < 0.5) or (choice == "b" and p > 0.5):
            rule = "probability is that the first of a pair is preferred, whichever is"
            found[row] = UserError(
                rule,
                f"{got}, and the {_SIDE[choice]} is preferred",
                "name the column that says which is, with --label-column NAME; where "
                f"{PROBABILITY} "
                f"alone does, with --label-column {PROBABILITY}",
            )
    return found


def kept_back(rows: Rows, columns: Columns) -> pl.DataFrame:
    """Every answer of the rows (`SCHEMA`), in their order; A is the smaller id."""
    there, given = read_beside(rows, columns), user_ids(rows, columns)[0]
    found = []
    for first, second, choice in _answered(rows):
        row = rows.row[first]
        prompt = prompt_id(rows.prompts[row].key) if given is None else given[row]
        ids = [completion_id(prompt, rows.text[e], rows.message[e]) for e in (first, second)]
        if ids[0] == ids[1]:
            continue
        who = _name(_cell(rows, ANNOTATOR, row)) if ANNOTATOR in there else ""
        p = _chance(rows, row) if PROBABILITY in there else None
        if ids[0] > ids[1]:
            ids, choice = ids[::-1], _OTHER[choice]
            p = None if p is None else 1.0 - p
        found.append((pair_id(*ids), *ids, choice, who or None, p))
    return pl.DataFrame(found, schema=SCHEMA, orient="row")


_SIDE = {"a": "first", "b": "second"}
_OTHER = {"a": "b", "b": "a", "tie": "tie"}


def _answered(rows: Rows) -> list[tuple[int, int, str]]:
    """The entries of every answered pair, first and second as the file has them, and the choice."""
    won = [(min(pair), max(pair), "a" if pair[0] < pair[1] else "b") for pair in rows.pairs]
    return sorted(won + [(first, second, "tie") for first, second in rows.ties])


def _cell(rows: Rows, column: str, row: int) -> Any:
    value = rows.source.values(column)[row]
    return None if value == "" or value != value else value


def _chance(rows: Rows, row: int) -> float | None:
    value = _cell(rows, PROBABILITY, row)
    return None if value is None else as_number(value, rows.source)


def _name(value: Any) -> str | None:
    """An annotator's name, empty where the row has none; None where it cannot be one."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    named = isinstance(value, str) and value.strip() and value.strip().isprintable()
    return value.strip() if named else None


def all_pairs(completions: pl.DataFrame) -> int:
    """How many pairs of two completions of one prompt there are."""
    sizes = completions.group_by("prompt_id").len()["len"].to_numpy().astype(np.int64)
    return int((sizes * (sizes - 1) // 2).sum())


def others(answers: pl.DataFrame, completions: pl.DataFrame) -> tuple[int, int]:
    """How many pairs have an answer, and how many of the same prompts have none.

    Raises:
        UserError: the latter are more than `MOST_OTHERS`.
    """
    pairs = answers["pair_id"].n_unique()
    rest = all_pairs(completions) - pairs
    if rest > MOST_OTHERS:
        largest = completions.group_by("prompt_id").len().sort("len").rows()[-1]
        raise UserError(
            f"a drawer's prompts must have at most {MOST_OTHERS} pairs without an answer",
            f"there are {rest}; prompt {largest[0]} alone has {largest[1]} completions",
            "name what else tells prompts apart: --prompt-column A,B or --prompt-id-column NAME",
        )
    return pairs, rest


def read_drawer(path: Path, columns: list[str] | None = None) -> pl.DataFrame:
    """The answers in a file of the drawer, or some columns of them.

    Raises:
        UserError: it is missing or not whole.
    """
    try:
        return pl.read_parquet(path, columns=columns)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(
            "the files of the drawer must be whole", f"{path}: {plainly(error)}"
        ) from None
