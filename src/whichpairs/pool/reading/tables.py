"""Rows understood become the tables of a pool: prompts, completions without duplicates, pairs."""

import hashlib
import json
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from whichpairs.errors import UserError
from whichpairs.pool.columns import Columns
from whichpairs.pool.pool import MESSAGE
from whichpairs.pool.raw.source import OddRow, show
from whichpairs.pool.reading.conventions import Answers
from whichpairs.pool.reading.rows import Rows
from whichpairs.pool.reading.unread import differing
from whichpairs.pool.reading.values import merged_values

EMPTY_SIDE = "a pair must have a text on both sides"
SAME_TEXTS = "the texts of a pair must differ"
EMPTY_ONE = "a completion in a list must not be empty"
EXACT = 2**53
"""Below it, every whole number is a float of its own."""


@dataclass(frozen=True)
class ImportedPair:
    """One input row that said "chosen beats rejected" (completion ids)."""

    prompt_id: str
    chosen_id: str
    rejected_id: str


@dataclass(frozen=True)
class PoolTables:
    """A pool as it was read.

    Attributes:
        prompts: ``prompt_id``, ``prompt``, ``messages`` (canonical JSON or null), ``group`` (or
            null), in the order of their first row.
        completions: ``completion_id, prompt_id, completion``, ``weight`` (float64), ``finished``
            (bool), the score columns (float64), further columns as read (none from pair rows). A
            prompt's completions are contiguous, prompts in the order of `prompts`, input order
            within a prompt.
        pairs: ``prompt_id, chosen_id, rejected_id``: one row for each input row with a winner.
        ties: ``prompt_id, first_id, second_id``: one row for each input row without.
        counts: ``rows_read, rows_left_out, prompts, completions, duplicates_merged,
            single_completion_prompts, identical_pairs_dropped, empty_pairs_dropped,
            empty_completions_dropped, ties, group_conflicts, alike_prompts,
            moved`` (completions that are not where the input has them, for prompts are put together).
        shape: ``"single"``, ``"list"`` or ``"pair"``.
        left_out: all rows, pairs and completions of the input that are not in the pool, and why.
        reading: what was read as what, where the user did not say.
        prompt_column: the column that the prompt is from; several with commas between.
        unread: columns that were not read (of pairs), or are kept beside the completions.
        differ: columns in which rows of one prompt differ, though they may belong to the prompt,
            and in how many prompts.
        joins: whether the first of `differ` is of texts, as the prompt is, and so can be joined to
            it.
        answers: how the label column was read, where there is one.
        drawer: every answer as `drawer.kept_back` has it, where they are to be kept back.
        alike: the first prompt that equals an earlier one but for blanks or Unicode's normal form.
        unlike: where the first row stands whose prompt column is another text than its dialogues'
            own.
    """

    prompts: pl.DataFrame
    completions: pl.DataFrame
    pairs: pl.DataFrame
    ties: pl.DataFrame
    counts: dict[str, int]
    answers: Answers | None = None
    shape: str = "single"
    left_out: tuple[OddRow, ...] = ()
    reading: tuple[str, ...] = ()
    prompt_column: str = "prompt"
    unread: tuple[str, ...] = ()
    differ: dict[str, int] = field(default_factory=dict)
    joins: bool = True
    drawer: pl.DataFrame | None = None
    alike: str | None = None
    unlike: str | None = None


def build_tables(rows: Rows, columns: Columns, *, by_id: bool = False) -> PoolTables:
    """Give ids, merge duplicates, gather the columns.

    Args:
        by_id: a prompt's completions stand in the order of their ids, not of the input (where the
            preferred one may be the first).

    Raises:
        UserError: one id for two prompts, or a value is not what it must be (the row is named).
    """
    if not rows.text:
        raise UserError(
            "a pool must hold at least one completion", f"every pair of {rows.source.name} is empty"
        )
    prompts, of_prompt, conflicts = _prompts(rows, columns)
    slot_of: dict[tuple[int, str, str | None], int] = {}
    keys = zip(of_prompt, rows.text, rows.message, strict=True)
    slots = np.array([slot_of.setdefault(key, len(slot_of)) for key in keys])
    _, first = np.unique(slots, return_index=True)
    order = np.argsort(np.asarray(of_prompt)[first], kind="stable")
    prompt_ids = prompts["prompt_id"].to_list()
    owner = [prompt_ids[p] for p, _, _ in slot_of]
    ids = [completion_id(p, t, m) for p, (_, t, m) in zip(owner, slot_of, strict=True)]
    if by_id:
        order = np.lexsort((np.array(ids), np.asarray(of_prompt)[first]))
    whole = [m for _, _, m in slot_of]
    table = pl.DataFrame(
        [
            pl.Series("completion_id", ids, pl.String),
            pl.Series("prompt_id", owner, pl.String),
            pl.Series("completion", [text for _, text, _ in slot_of], pl.String),
            *([pl.Series(MESSAGE, whole, pl.String)] if any(whole) else []),
            *merged_values(rows, columns, slots, first),
        ]
    )
    alike = _alike(prompts)
    pairs, ties, same = _pairs(rows, [ids[s] for s in slots], [owner[s] for s in slots])
    counts = {
        "rows_read": rows.source.rows_read,
        "rows_left_out": len(rows.odd),
        "prompts": len(prompts),
        "completions": len(ids),
        "duplicates_merged": len(slots) - len(ids),
        "single_completion_prompts": int(np.sum(np.bincount([p for p, _, _ in slot_of]) == 1)),
        "identical_pairs_dropped": len(same),
        "empty_pairs_dropped": len(rows.empty_pairs),
        "empty_completions_dropped": len(rows.empty),
        "ties": len(ties),
        "group_conflicts": conflicts,
        "alike_prompts": len(alike),
        "unlike_prompts": len(rows.unlike),
        "moved": int(np.count_nonzero(order != np.arange(len(order)))),
    }
    return PoolTables(
        prompts,
        table[order.tolist()],
        pairs,
        ties,
        counts,
        answers=rows.answers,
        shape=rows.shape,
        left_out=_left_out(rows, same),
        differ=differing(rows, columns, of_prompt),
        alike=alike[0] if alike else None,
        unlike=rows.source.at(rows.unlike[0]) if rows.unlike else None,
    )


def _alike(prompts: pl.DataFrame) -> list[str]:
    """The prompts that equal an earlier one but for blanks or Unicode's normal form (NFC, NFD)."""
    seen: dict[tuple[str, bool], set[str]] = {}
    found = []
    for text, chat in zip(prompts["prompt"], prompts["messages"].is_null(), strict=True):
        key = " ".join(unicodedata.normalize("NFC", text).split()), bool(chat)
        same = seen.setdefault(key, set())
        if same and text not in same:
            found.append(text)
        same.add(text)
    return found


def prompt_id(key: str) -> str:
    """The id of a prompt without one: from its text, or its messages' canonical JSON."""
    return "p" + hashlib.sha256(key.encode()).hexdigest()[:12]


def completion_id(prompt: str, text: str, message: str | None = None) -> str:
    """The id of a completion: from its prompt's id and its text, or its whole message."""
    content = f"{prompt}\0{text}" if message is None else json.dumps([prompt, message])
    return "c" + hashlib.sha256(content.encode()).hexdigest()[:16]


def _prompts(rows: Rows, columns: Columns) -> tuple[pl.DataFrame, list[int], int]:
    """The prompts' table, the prompt number of every entry, and how many rows disagree in group."""
    source = rows.source
    given = user_ids(rows, columns)[0]
    groups = source.values(columns.group) if columns.group else None
    made: dict[str, str] = {}
    number: dict[str, int] = {}
    first: list[int] = []
    of_entry, conflicts, seen = [], 0, -1
    for row in rows.row:
        if row != seen:
            prompt, seen = rows.prompts[row], row
            if given is None:
                name = made.get(prompt.key) or made.setdefault(prompt.key, prompt_id(prompt.key))
            else:
                name = given[row]
            index = number.setdefault(name, len(number))
            if index == len(first):
                first.append(row)
            elif groups is not None and _group(groups[row]) != _group(groups[first[index]]):
                conflicts += 1
        of_entry.append(index)
    group = [_group(groups[row]) if groups is not None else None for row in first]
    table = pl.DataFrame(
        {
            "prompt_id": list(number),
            "prompt": [rows.prompts[row].text for row in first],
            "messages": [rows.prompts[row].messages for row in first],
            "group": group,
        },
        schema=dict.fromkeys(("prompt_id", "prompt", "messages", "group"), pl.String),
    )
    return table, of_entry, conflicts


def user_ids(rows: Rows, columns: Columns) -> tuple[list[str] | None, dict[int, UserError]]:
    """The user's own prompt ids by row, and the rows whose id cannot be used.

    Raises:
        UserError: one id for two prompts: which of them it names, nobody can tell.
    """
    if columns.prompt_id is None:
        return None, {}
    source, names, faults = rows.source, list[str](), dict[int, UserError]()
    first: dict[str, int] = {}
    used = set(rows.row)
    for row, value in enumerate(source.values(columns.prompt_id)):
        name = _user_id(value)
        names.append(name)
        if row not in used:
            continue
        if not name:
            faults[row] = UserError(
                "a prompt id must be a text or a whole number, not empty, without NUL",
                f"{show(columns.prompt_id)} is {show(value)} in {source.at(row)}",
            )
        elif rows.prompts[first.setdefault(name, row)].key != rows.prompts[row].key:
            raise UserError(
                "a prompt id must name one prompt",
                f"{show(name)} is the id of two: see {source.at(first[name])} and {source.at(row)}",
            )
    return names, faults


def _user_id(value: object) -> str:
    """An id as text, empty where it is none; a whole number may be stored as a float."""
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        value = int(value)
    number = isinstance(value, int) and not isinstance(value, bool)
    name = str(value) if number or isinstance(value, str) else ""
    return "" if "\0" in name else name


def _group(value: Any) -> str | None:
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    missing = value is None or value == "" or value != value
    return None if missing else str(value)


def _left_out(rows: Rows, same: Sequence[int]) -> tuple[OddRow, ...]:
    """All that the input has and the pool has not, in the order of its rows."""
    source, number = rows.source, rows.source.numbers
    listed = rows.shape == "list"
    found = [
        *rows.odd,
        *(OddRow(number[r], EMPTY_SIDE, f"in {source.at(r)}") for r in rows.empty_pairs),
        *(OddRow(number[r], SAME_TEXTS, f"in {source.at(r)}") for r in same),
        *(OddRow(number[r], EMPTY_ONE, f"in {rows.at(r, k)}") for r, k in rows.empty if listed),
    ]
    return tuple(sorted(found, key=lambda one: one.number))


def _pairs(
    rows: Rows, ids: Sequence[str], owner: Sequence[str]
) -> tuple[pl.DataFrame, pl.DataFrame, list[int]]:
    """Pairs with a winner, ties, and the source rows of pairs of one text."""
    won = [ImportedPair(owner[a], ids[a], ids[b]) for a, b in rows.pairs if ids[a] != ids[b]]
    tied = [(owner[a], ids[a], ids[b]) for a, b in rows.ties if ids[a] != ids[b]]
    pairs = pl.DataFrame(
        [(p.prompt_id, p.chosen_id, p.rejected_id) for p in won],
        schema=dict.fromkeys(("prompt_id", "chosen_id", "rejected_id"), pl.String),
        orient="row",
    )
    ties = pl.DataFrame(
        tied,
        schema=dict.fromkeys(("prompt_id", "first_id", "second_id"), pl.String),
        orient="row",
    )
    both = [*rows.pairs, *rows.ties]
    return pairs, ties, [rows.row[a] for a, b in both if ids[a] == ids[b]]
