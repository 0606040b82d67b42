"""Read what users have: files, folders of `datasets`, or the hub; completions, lists or pairs.

`sources` and `hub` open files, `rows` says what their rows mean, `tables` makes the pool of them.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from whichpairs.errors import UserError
from whichpairs.pool.columns import Columns
from whichpairs.pool.raw.hub import HUB_NAME, load_folder, load_hub
from whichpairs.pool.raw.sources import SUFFIXES, Source, load_file, read_text, show
from whichpairs.pool.reading.drawer import drawer_faults, kept_back, read_beside
from whichpairs.pool.reading.messages import blank
from whichpairs.pool.reading.policy import MAX_BAD, check_odd
from whichpairs.pool.reading.rows import read_prompt_rows, understand
from whichpairs.pool.reading.shapes import arrange
from whichpairs.pool.reading.tables import ImportedPair, PoolTables, build_tables, user_ids
from whichpairs.pool.reading.unread import unread_columns
from whichpairs.pool.reading.values import faults
from whichpairs.types import Message
from whichpairs.wording import counted

__all__ = [
    "Columns",
    "ImportedPair",
    "PoolTables",
    "pool_from_samples",
    "read_pool",
    "read_prompts",
]


def read_pool(
    path: str | Path,
    columns: Columns = Columns(),  # noqa: B008
    *,
    max_bad: float = MAX_BAD,
    hidden: bool = False,
) -> PoolTables:
    """A pool from the user's file.

    Rows may hold (1) a prompt and a completion, (2) a prompt and a list of completions, with scores
    in lists of the same length, or (3) a prompt and a pair, of which one was preferred. Each text
    may be a conversation in chat messages instead; a pair's prompt may then be what both begin
    with. Pairs of HH dialogues ("\\n\\nHuman: … \\n\\nAssistant: …" in one string) are taken apart.

    Exact duplicates of a prompt's completion are merged: weights add up (without a weight column
    each row weighs 1), scores are averaged by weight, further columns are the first's. In pairs
    (3) every completion weighs 1: being compared twice is not being sampled twice.

    The shapes of `shapes.arrange` are brought to these. A pair of two equal texts is left out, and
    so is one with an empty side (the texts stay), and an empty completion in a list. A row that
    cannot be used is left out too, up to `max_bad`. `PoolTables.left_out` has them all.

    Args:
        path: JSONL or JSON, Parquet, CSV (see `sources.load_bytes`), a folder of
            `datasets.save_to_disk` (``FOLDER`` or ``FOLDER:SPLIT``), or a name on the hub (``NAME``
            or ``NAME:SPLIT``).
        columns: which columns hold what.
        max_bad: the share of the rows that may be left out because they cannot be used, in [0, 1];
            above 0 one row that can be read always may.
        hidden: whether the labels of pairs are to be kept back (`PoolTables.drawer`), with their
            columns ``annotator`` and ``probability``; a prompt's completions then stand in the
            order of their ids.

    Returns:
        The tables. Ids do not depend on the order of rows.

    Raises:
        UserError: the file is missing or broken, a column is missing, or more than `max_bad` of the
            rows are not what they must be.
        MissingExtraError: it takes `datasets`, which is not installed.
    """
    original = _open(str(path))
    arranged = arrange(original, columns)
    source, columns = arranged.source, arranged.columns
    rows = understand(source, columns)
    rows.drop(faults(rows, columns))
    rows.drop(user_ids(rows, columns)[1])
    if hidden:
        rows.drop(drawer_faults(rows, columns))
    check_odd(source.odd, rows.odd, source.rows_read, max_bad)
    rows.odd[:0] = source.odd
    tables = build_tables(rows, columns, by_id=hidden)
    used = arranged.used | set(source.columns) - set(original.columns)
    drawer = kept_back(rows, columns) if hidden else None
    used |= read_beside(rows, columns) if hidden else set()
    unread = unread_columns(original, set(used))
    parts = [*arranged.prompt, *list(tables.differ)[:1]]
    joins = all(_of_texts(original, name) for name in parts)
    prompt = ",".join(arranged.prompt)
    return replace(
        tables,
        reading=arranged.reading,
        unread=unread,
        prompt_column=prompt,
        joins=joins,
        drawer=drawer,
    )


def _of_texts(source: Source, name: str) -> bool:
    """Whether `name` is a column of texts."""
    values = source.values(name) if name in source.columns else []
    return isinstance(next((value for value in values if value is not None), None), str)


def read_prompts(
    path: str | Path, column: str | tuple[str, ...] = "prompt"
) -> list[str | tuple[Message, ...]]:
    """Prompts to generate from, in the order of the file, duplicates included.

    Args:
        path: as for `read_pool`, or ``.txt`` with one prompt a line (empty lines are skipped).
        column: a text, or a list of chat messages; several are read as `Columns.prompt` says, and
            so is a column `system` beside it.

    Returns:
        Texts, or tuples of ``{"role", "content"}`` messages.

    Raises:
        UserError: the file is missing, broken or empty; the column is missing; a prompt is no text.
    """
    path = Path(path)
    if path.suffix.lower() == ".txt" and os.path.isfile(path):
        lines = [line.removesuffix("\r") for line in read_text(path).split("\n")]
        found = [line for line in lines if line.strip()]
        if not found:
            raise UserError(f"{path} must hold at least one prompt", "it is empty")
        return list(found)
    arranged = arrange(_load(str(path)), Columns(prompt=column))
    return [prompt.for_model for prompt in read_prompt_rows(arranged.source, arranged.columns)]


def pool_from_samples(
    prompts: Sequence[str | tuple[Message, ...]],
    samples: Sequence[Sequence[Mapping[str, Any]]],
) -> PoolTables:
    """A pool from completions drawn from a model, as `read_pool` would have read them.

    Args:
        prompts: texts or messages, as `read_prompts` gives them.
        samples: for each prompt its completions: ``text``, ``finished`` and further values, which
            become columns (those that are None throughout do not). A text with nothing to read is
            left out, and counted in ``counts["empty_samples_dropped"]``.

    Raises:
        UserError: every sample is empty.
    """
    drawn = [(p, one) for p, many in zip(prompts, samples, strict=True) for one in many]
    kept = [(p, one) for p, one in drawn if not blank(one["text"])]
    if not kept:
        raise UserError(
            "a pool must hold at least one completion",
            f"all of {counted(len(drawn), 'sample')} of the model "
            f"{'is' if len(drawn) == 1 else 'are'} empty",
            "use another model, or other prompts",
        )
    table: dict[str, list[Any] | pl.Series] = {
        "prompt": [p if isinstance(p, str) else list(p) for p, _ in kept],
        "completion": [one["text"] for _, one in kept],
    }
    for name in kept[0][1]:
        values = [one[name] for _, one in kept]
        if name not in {"text", "prompt", "completion"} and any(v is not None for v in values):
            table[name] = values
    source, columns = Source("the samples", table, range(1, len(kept) + 1)), Columns(system="")
    tables = build_tables(understand(source, columns), columns)
    tables.counts["empty_samples_dropped"] = len(drawn) - len(kept)
    return tables


def _load(name: str) -> Source:
    """The rows of whatever `name` names."""
    source = _open(name)
    if source.odd:
        raise source.odd[0].error
    return source


def _open(name: str) -> Source:
    base, _, split = name.rpartition(":") if ":" in name else (name, "", "")
    if os.path.exists(name) and not os.path.isdir(name):  # a pipe too
        return load_file(Path(name))
    for folder, wanted in ((name, ""), (base, split)):
        if os.path.isdir(folder):
            return load_folder(Path(folder), wanted)
    if Path(name).suffix.lower() in (*SUFFIXES, ".txt") or not HUB_NAME.fullmatch(base):
        raise UserError("the file to read must exist", f"there is no {show(name)}")
    return load_hub(base, split)
