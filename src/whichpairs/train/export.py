"""Preferences in the shape that TRL's DPOTrainer takes as it is, with ids and probabilities beside.

Only ``prompt, chosen, rejected`` go into the file (TRL drops or trips over other columns); the rows
of the companion file stand in the same order.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from whichpairs.errors import UserError
from whichpairs.pool.files import user_facing_os_errors, write_whole
from whichpairs.types import Example, Preference


def export_trl(preferences: Sequence[Preference], out: Path) -> Path:
    """Write `out` (``.jsonl`` or ``.parquet``) and ``<out>.ids.jsonl``; returns the latter.

    Raises:
        UserError: another suffix, or nothing to write.
    """
    if out.suffix not in {".jsonl", ".parquet"}:
        raise UserError("OUT must end in .jsonl or .parquet", f"got {out}")
    if not preferences:
        raise UserError("there must be labels to export", "there are none", "run: whichpairs label")
    rows = [_row(p) for p in preferences]
    beside = out.with_name(out.name + ".ids.jsonl")
    ids = [{"pair_id": p.pair_id, "probability": p.probability} for p in preferences]
    write_whole(beside, _lines(ids))
    if out.suffix == ".jsonl":
        write_whole(out, _lines(rows))
    else:
        aside = out.with_name(".new-" + out.name)
        with user_facing_os_errors(out):
            pl.DataFrame(rows).write_parquet(aside)
            aside.replace(out)
    return beside


def _row(preference: Preference) -> dict[str, Any]:
    prompt = preference.chosen.prompt
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


def _turn(example: Example) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": example.completion}]


def _lines(rows: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
