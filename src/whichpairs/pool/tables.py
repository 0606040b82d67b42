"""Rows understood become the tables of a pool: prompts, completions without duplicates, pairs."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from whichpairs.errors import UserError
from whichpairs.pool.conventions import Answers
from whichpairs.pool.rows import Columns, Rows
from whichpairs.pool.sources import show
from whichpairs.pool.values import merged_values


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
        counts: ``rows_read, prompts, completions, duplicates_merged, single_completion_prompts,
            identical_pairs_dropped, empty_pairs_dropped, ties, group_conflicts, moved`` (completions that
            are not where the input has them, for prompts are put together).
        answers: how the label column was read, where there is one.
    """

    prompts: pl.DataFrame
    completions: pl.DataFrame
    pairs: pl.DataFrame
    ties: pl.DataFrame
    counts: dict[str, int]
    answers: Answers | None = None


def build_tables(rows: Rows, columns: Columns) -> PoolTables:
    """Give ids, merge duplicates, gather the columns.

    Raises:
        UserError: one id for two prompts, or a value is not what it must be (the row is named).
    """
    if not rows.text:
        raise UserError(
            "a pool must hold at least one completion", f"every pair of {rows.source.name} is empty"
        )
    prompts, of_prompt, conflicts = _prompts(rows, columns)
    slot_of: dict[tuple[int, str], int] = {}
    keys = zip(of_prompt, rows.text, strict=True)
    slots = np.array([slot_of.setdefault(key, len(slot_of)) for key in keys])
    _, first = np.unique(slots, return_index=True)
    order = np.argsort(np.asarray(of_prompt)[first], kind="stable")
    prompt_ids = prompts["prompt_id"].to_list()
    owner = [prompt_ids[p] for p, _text in slot_of]
    ids = [completion_id(p, text) for p, (_, text) in zip(owner, slot_of, strict=True)]
    table = pl.DataFrame(
        [
            pl.Series("completion_id", ids, pl.String),
            pl.Series("prompt_id", owner, pl.String),
            pl.Series("completion", [text for _, text in slot_of], pl.String),
            *merged_values(rows, columns, slots, first),
        ]
    )
    pairs, ties, same = _pairs(rows, [ids[s] for s in slots], [owner[s] for s in slots])
    counts = {
        "rows_read": len(rows.source.numbers),
        "prompts": len(prompts),
        "completions": len(ids),
        "duplicates_merged": len(slots) - len(ids),
        "single_completion_prompts": int(np.sum(np.bincount([p for p, _ in slot_of]) == 1)),
        "identical_pairs_dropped": same,
        "empty_pairs_dropped": len(rows.empty_pairs),
        "ties": len(ties),
        "group_conflicts": conflicts,
        "moved": int(np.count_nonzero(order != np.arange(len(order)))),
    }
    return PoolTables(prompts, table[order.tolist()], pairs, ties, counts, rows.answers)


def prompt_id(key: str) -> str:
    """The id of a prompt without one: from its text, or its messages' canonical JSON."""
    return "p" + hashlib.sha256(key.encode()).hexdigest()[:12]


def completion_id(prompt: str, text: str) -> str:
    """The id of a completion: from its prompt's id and its text."""
    return "c" + hashlib.sha256(f"{prompt}\0{text}".encode()).hexdigest()[:16]


def _prompts(rows: Rows, columns: Columns) -> tuple[pl.DataFrame, list[int], int]:
    """The prompts' table, the prompt number of every entry, and how many rows disagree in group."""
    source = rows.source
    given = source.values(columns.prompt_id) if columns.prompt_id else None
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
                name = _user_id(given[row], columns.prompt_id or "", source.at(row))
            index = number.setdefault(name, len(number))
            if index == len(first):
                first.append(row)
            elif rows.prompts[first[index]].key != prompt.key:
                raise UserError(
                    "a prompt id must name one prompt",
                    f"{show(name)} is the id of two: see {source.at(first[index])} and "
                    f"{source.at(row)}",
                )
            elif groups is not None and groups[row] != groups[first[index]]:
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


def _user_id(value: Any, column: str, where: str) -> str:
    number = isinstance(value, int) and not isinstance(value, bool)
    name = str(value) if number or isinstance(value, str) else ""
    if not name or "\0" in name:
        raise UserError(
            "a prompt id must be a text or a whole number, not empty, without NUL",
            f"{show(column)} is {show(value)} in {where}",
        )
    return name


def _group(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)


def _pairs(
    rows: Rows, ids: Sequence[str], owner: Sequence[str]
) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Pairs with a winner, ties, and how many pairs of one text there were."""
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
    return pairs, ties, len(rows.pairs) + len(rows.ties) - len(won) - len(tied)
