"""Preferences in the shape that TRL's DPOTrainer takes as it is, with ids and probabilities beside.

Only ``prompt, chosen, rejected`` go into the file (TRL drops or trips over other columns), unless
soft labels are asked for; the rows of the companion file stand in the same order.
"""

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl

from whichpairs.errors import UserError
from whichpairs.run.files import write_whole
from whichpairs.types import Example, Message, Preference


def export_trl(
    preferences: Sequence[Preference],
    out: Path,
    *,
    beside_each: Sequence[dict[str, Any]] | None = None,
    columns_each: Sequence[dict[str, Any]] | None = None,
    replace: bool = False,
) -> tuple[Path, bool]:
    """Write `out` (``.jsonl`` or ``.parquet``) and ``<out>.ids.jsonl``.

    Args:
        beside_each: what else the latter is to say of each preference.
        columns_each: further columns of `out`, which a trainer must know how to read.

    Returns:
        The latter, and whether both were there already, just so.

    Raises:
        UserError: another suffix, nothing to write, or (unless `replace`) a file of that name with
            other content.
    """
    if out.suffix not in {".jsonl", ".parquet"}:
        raise UserError("OUT must end in .jsonl or .parquet", f"got {out}")
    if not preferences:
        raise UserError("there must be labels to export", "there are none", "run: whichpairs label")
    further: Sequence[dict[str, Any]] = columns_each or [{}] * len(preferences)
    rows = [{**_row(p), **one} for p, one in zip(preferences, further, strict=True)]
    beside = out.with_name(out.name + ".ids.jsonl")
    more: Sequence[dict[str, Any]] = beside_each or [{}] * len(preferences)
    ids = [
        {"pair_id": p.pair_id, "probability": p.probability, **one}
        for p, one in zip(preferences, more, strict=True)
    ]
    content = {beside: _lines(ids), out: _lines(rows) if out.suffix == ".jsonl" else _parquet(rows)}
    there = [path for path in content if path.exists()]
    other = [path for path in there if not path.is_file() or path.read_bytes() != content[path]]
    if other and not replace:
        raise UserError(
            "an export does not overwrite a file with other content",
            f"{other[0]} is there",
            "pass --replace to lose it, or choose another OUT",
        )
    if len(there) == len(content) and not other:
        return beside, True
    try:
        for path, data in content.items():
            write_whole(path, data)
    except UserError:
        if beside not in there:
            beside.unlink(missing_ok=True)
        raise
    return beside, False


def _row(preference: Preference) -> dict[str, Any]:
    prompt = preference.chosen.prompt
    if isinstance(prompt, str) and (preference.chosen.message or preference.rejected.message):
        prompt = ({"role": "user", "content": prompt},) if prompt else ()
    if isinstance(prompt, str):
        return {
            "prompt": prompt,
            "chosen": preference.chosen.completion,
            "rejected": preference.rejected.completion,
        }
    return {
        "prompt": [dict(turn) for turn in prompt],
        "chosen": _turn(preference.chosen),
        "rejected": _turn(preference.rejected),
    }


def _turn(example: Example) -> list[Message]:
    return [example.message or {"role": "assistant", "content": example.completion}]


def _lines(rows: Sequence[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    memory = BytesIO()
    pl.DataFrame(rows).write_parquet(memory)
    return memory.getvalue()
