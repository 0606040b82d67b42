"""Stage import: what the user has becomes the pool of a run."""

import hashlib
import json
from pathlib import Path
from typing import Any

import polars as pl

from whichpairs.errors import UserError
from whichpairs.pool.pool import hold_out, save_pool
from whichpairs.pool.read import Columns, PoolTables, read_pool
from whichpairs.pool.run import Record, Run, create_run, locked
from whichpairs.workflow.stage import Outcome, settle
from whichpairs.workflow.workspace import Workspace


def import_pool(
    source: str | Path,
    run: str | Path,
    columns: Columns | None = None,
    *,
    holdout: float = 0.0,
    beta: float | None = None,
    seed: int = 0,
) -> Outcome:
    """Read a file of completions, or of labelled pairs, into the pool of a (new) run.

    Args:
        source: JSONL, JSON, Parquet, CSV, a folder saved by `datasets`, or a hub name.
        holdout: share of the prompts set aside for evaluation, in [0, 1).

    Raises:
        UserError: see `read_pool`; or the run has another pool already.
    """
    columns = columns or Columns()
    tables = read_pool(source, columns)
    prompts = hold_out(tables.prompts, holdout, seed)
    settings = {
        "source": str(source),
        "columns": {
            k: list(v) if isinstance(v, tuple) else v
            for k, v in vars(columns).items()
            if k != "label_map" or v is not None
        },
        "holdout": holdout,
        "seed": seed,
    }
    with locked(Path(run)):
        opened = create_run(Path(run), beta, seed)
        record, before = add_pool(opened, "import", settings, prompts, tables)
        labels = Workspace(opened).accept_imported()
    return _outcome(opened, record, before, labels)


def add_pool(
    run: Run, stage: str, settings: dict[str, Any], prompts: pl.DataFrame, tables: PoolTables
) -> tuple[Record, bool]:
    """Let the pool appear in the run; it is never replaced."""

    def make(folder: Path) -> dict[str, Any]:
        answers = pl.concat(
            [
                tables.pairs.with_columns(tie=pl.lit(False)),
                tables.ties.rename(
                    {"first_id": "chosen_id", "second_id": "rejected_id"}
                ).with_columns(tie=pl.lit(True)),
            ]
        )
        print_of = save_pool(folder, prompts, tables.completions, answers)
        counts = {**tables.counts, "held_out_prompts": int(prompts["holdout"].sum())}
        read = {"label_column": tables.answers.words()} if tables.answers else {}
        more = {"labels": len(answers), **read, "beta": run.beta, "fingerprint": print_of}
        return {**counts, **more}

    content = {"content": _digest(prompts, tables)}
    old = run.record("pool")
    if old is not None and old.stage != stage:
        raise UserError(
            "a run has one pool", f"this one's came from {old.stage}", "start another run"
        )
    return settle(run, ("pool",), stage, settings, content, make)


def _digest(prompts: pl.DataFrame, tables: PoolTables) -> str:
    """16 hex digits over all that was read: a changed file is another pool."""
    digest = hashlib.sha256()
    for frame in (prompts, tables.completions, tables.pairs, tables.ties):
        digest.update(json.dumps(frame.columns).encode())
        for row in frame.iter_rows():
            digest.update(repr(row).encode(errors="replace"))
    return digest.hexdigest()[:16]


def _outcome(run: Run, record: Record, before: bool, labels: int) -> Outcome:
    r = record.result
    if before:
        message = f"The pool is there already: {r['prompts']} prompts, nothing changed."
    else:
        message = (
            f"{r['completions']} completions of {r['prompts']} prompts"
            f" ({r['held_out_prompts']} held out)."
        )
        message += _aside(
            r, "duplicates_merged", "duplicates merged (their count is π_ref's weight)"
        )
        message += _aside(
            r, "single_completion_prompts", "prompts with one completion: never picked"
        )
        message += _aside(
            r,
            "moved",
            "of them moved, to put each prompt's together: rows of a feature file go by "
            "pool/completions.parquet",
        )
        message += f" {labels} labels came with them." if labels else ""
        message += f" The label column: {r['label_column']}." if "label_column" in r else ""
    return Outcome(message, r, before, run.root / "pool")


def _aside(result: dict[str, Any], key: str, text: str) -> str:
    return f" {result[key]} {text}." if result.get(key) else ""
