"""What of the user's file was not read, and where that may have made two prompts one."""

import json
from collections.abc import Sequence
from typing import Any

import polars as pl

from whichpairs.pool.columns import Columns
from whichpairs.pool.raw.source import Source
from whichpairs.pool.reading.rows import Rows

PARTS = frozenset(
    [
        "system",
        "system_prompt",
        "system_message",
        "input",
        "instruction",
        "question",
        "query",
        "context",
        "history",
        "passage",
        "document",
        "documents",
        "article",
        "post",
        "title",
        "body",
        "background",
        "persona",
        "character",
        "tools",
        "functions",
        "source_text",
        "text",
        "premise",
        "story",
        "scenario",
        "dialogue",
        "dialog",
        "conversation",
        "messages",
    ]
)
"""Usual names of columns that hold a part of the prompt."""
BOOKKEEPING = ("__index_level_", "Unnamed: ")
"""How pandas names what was an index."""


def meant(columns: Columns) -> set[str]:
    """The columns that have a meaning."""
    given = (columns.prompt_id, columns.group, columns.weight, columns.label, columns.system)
    return {
        *columns.prompts,
        columns.completion,
        *columns.pair,
        *columns.scores,
        *(name for name in given if name),
        "finished",
    }


def unread_columns(source: Source, used: set[str]) -> tuple[str, ...]:
    """The columns of `source` that are not `used`, those of an index aside."""
    return tuple(
        name
        for name in source.columns
        if name not in used and name and not name.startswith(BOOKKEEPING)
    )


def differing(rows: Rows, columns: Columns, of_prompt: Sequence[int]) -> dict[str, int]:
    """Columns that may belong to the prompt, and in how many prompts their rows differ.

    Those are columns of texts, lists or objects: of pairs, every one that is not different in every
    row (an id); of completions, one that has a usual name of such (`PARTS`).

    Args:
        of_prompt: the prompt of every entry of `rows`.
    """
    used = meant(columns)
    prompt_of_row = dict(zip(rows.row, of_prompt, strict=True))
    if len(set(prompt_of_row.values())) == len(prompt_of_row):
        return {}
    found = {}
    for name in unread_columns(rows.source, used):
        usual = name.lower() in PARTS
        if not usual and rows.shape == "single":
            continue
        count = _differ(rows.source, name, prompt_of_row, usual)
        if count:
            found[name] = count
    return found


def _differ(source: Source, name: str, prompt_of_row: dict[int, int], usual: bool) -> int:
    """In how many prompts the rows' values differ; 0 for numbers, and for ids unless `usual`."""
    held = source.columns[name]
    if isinstance(held, pl.Series) and (held.dtype.is_numeric() or held.dtype == pl.Boolean):
        return 0
    values = source.values(name)
    first: dict[int, str] = {}
    differ: set[int] = set()
    seen: set[str] = set()
    for row, prompt in prompt_of_row.items():
        value = values[row]
        if isinstance(value, (int, float)):
            return 0
        key = _key(value)
        seen.add(key)
        if first.setdefault(prompt, key) != key:
            differ.add(prompt)
    return 0 if not usual and len(seen) == len(prompt_of_row) else len(differ)


def _key(value: Any) -> str:
    if value is None or isinstance(value, str):
        return (value or "").strip()
    return json.dumps(value, sort_keys=True, default=str)
