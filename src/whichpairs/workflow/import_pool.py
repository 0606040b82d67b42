"""Stage import: what the user has becomes the pool of a run."""

import hashlib
import json
from pathlib import Path
from typing import Any

import polars as pl

from whichpairs.errors import UserError
from whichpairs.pool.columns import Columns
from whichpairs.pool.pool import Pool, hold_out, no_scores, save_pool
from whichpairs.pool.raw.source import show
from whichpairs.pool.reading.drawer import DRAWER, PROBABILITY, others
from whichpairs.pool.reading.policy import MAX_BAD, by_reason
from whichpairs.pool.reading.read import PoolTables, read_pool
from whichpairs.pool.reading.tables import EMPTY_ONE, EMPTY_SIDE, SAME_TEXTS
from whichpairs.pool.reading.values import renamed
from whichpairs.run.folder import Record, Run, create_run, locked
from whichpairs.run.once import Outcome, settle
from whichpairs.wording import counted, counted_of, plural
from whichpairs.workflow.import_hidden import (
    ALL_LABELLED,
    added,
    adds_to_drawer,
    check_drawer,
    drawer_words,
    unlabelled_pairs,
)
from whichpairs.workflow.workspace import Workspace

LEFT_OUT = "left_out.jsonl"
"""In the pool's folder: every row, pair or completion that is not in the pool, and why."""
USUAL = (EMPTY_SIDE, SAME_TEXTS, EMPTY_ONE)
"""Reasons that are said in words of their own."""


def import_pool(
    source: str | Path,
    run: str | Path,
    columns: Columns | None = None,
    *,
    max_bad: float = MAX_BAD,
    holdout: float = 0.0,
    beta: float | None = None,
    seed: int = 0,
    labels: str = "given",
) -> Outcome:
    """Read a file of completions, or of labelled pairs, into the pool of a (new) run.

    Args:
        source: JSONL, JSON, Parquet, CSV, a folder saved by `datasets`, or a hub name.
        max_bad: the share of the rows that may be left out because they cannot be used, in [0, 1]
            (one row at least, unless it is 0).
        holdout: share of the prompts set aside for evaluation, in [0, 1).
        labels: ``given``, or ``hidden``: what is known of pairs goes into the drawer
            (`workflow.drawer`), that of a further file too.

    Raises:
        UserError: see `read_pool`; or the run has another pool already.
    """
    columns, hidden = columns or Columns(), _hidden(labels)
    tables = read_pool(source, columns, max_bad=max_bad, hidden=hidden)
    if tables.drawer is not None:
        check_drawer(tables, str(source))
    prompts = hold_out(tables.prompts, holdout, seed)
    settings = {
        "source": str(source),
        "columns": {
            k: list(v) if isinstance(v, tuple) else v
            for k, v in vars(columns).items()
            if k not in ("label_map", "system") or v is not None
        },
        **({} if max_bad == MAX_BAD else {"max_bad": max_bad}),
        "holdout": holdout,
        "seed": seed,
        **({"labels": labels} if hidden else {}),
    }
    with locked(Path(run)):
        opened = create_run(Path(run), beta, seed)
        content = _content(prompts, tables)
        if adds_to_drawer(opened, settings, content):
            return added(opened, settings, content, tables)
        record, before = add_pool(opened, "import", settings, prompts, tables)
        accepted = Workspace(opened).accept_imported()
    return _outcome(opened, record, before, accepted)


def _hidden(labels: str) -> bool:
    if labels not in ("given", "hidden"):
        raise UserError("--labels must be given or hidden", f"got {labels!r}")
    return labels == "hidden"


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
        if tables.drawer is not None:
            tables.drawer.write_parquet(folder / DRAWER)
            answers = answers.clear()
        print_of = save_pool(folder, prompts, tables.completions, answers)
        if tables.left_out:
            (folder / LEFT_OUT).write_text(_left_out(tables), encoding="utf-8")
        counts = {**tables.counts, "held_out_prompts": int(prompts["holdout"].sum())}
        read = {"label_column": tables.answers.words()} if tables.answers else {}
        apart = no_scores(settings)
        pool = Pool(prompts, tables.completions, answers, print_of, apart)
        more = {"labels": len(answers), **read, "beta": run.beta, "fingerprint": print_of}
        more["numeric_columns"] = pool.scores
        more["renamed_columns"] = renamed(tables.completions.columns, tables.unread)
        more["unlabelled_pairs"] = unlabelled_pairs(answers, tables.completions)
        if tables.drawer is not None:
            pairs, rest = others(tables.drawer, tables.completions)
            more |= {"drawer": {"answers": len(tables.drawer), "pairs": pairs, "others": rest}}
        return {**counts, **more, **_reading(tables)}

    content = _content(prompts, tables)
    old = run.record("pool")
    if old is not None and old.stage != stage:
        raise UserError(
            "a run has one pool", f"this one's came from {old.stage}", "start another run"
        )
    return settle(run, ("pool",), stage, settings, content, make)


def _left_out(tables: PoolTables) -> str:
    """What is not in the pool, a JSON object a line."""
    rows = [
        {"number": one.number, "why": one.rule, "what": one.received} for one in tables.left_out
    ]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _reading(tables: PoolTables) -> dict[str, Any]:
    """How the file was understood, for the record."""
    reasons = [
        {"why": why, "rows": count, "first": first}
        for why, count, first in by_reason(tables.left_out)
    ]
    return {
        "shape": tables.shape,
        "left_out": reasons,
        "read_as": list(tables.reading),
        "prompt_column": tables.prompt_column,
        "unread_columns": list(tables.unread),
        "differ": tables.differ,
        "alike_first": tables.alike,
        "unlike_first": tables.unlike,
        "differ_joins": tables.joins,
    }


def _content(prompts: pl.DataFrame, tables: PoolTables) -> dict[str, str]:
    """16 hex digits over all that was read: a changed file is another pool."""
    digest = hashlib.sha256()
    kept_back = [] if tables.drawer is None else [tables.drawer]
    for frame in (prompts, tables.completions, tables.pairs, tables.ties, *kept_back):
        digest.update(json.dumps(frame.columns).encode())
        for row in frame.iter_rows():
            digest.update(repr(row).encode(errors="replace"))
    return {"content": digest.hexdigest()[:16]}


def _outcome(run: Run, record: Record, before: bool, labels: int) -> Outcome:
    r = record.result
    if before:
        message = f"The pool is there already: {counted(r['prompts'], 'prompt')}, nothing changed."
        return Outcome(message, r, before, run.root / "pool")
    said = [
        f"{counted(r['completions'], 'completion')} of {counted(r['prompts'], 'prompt')}"
        f" ({r['held_out_prompts']} held out)."
    ]
    if labels:
        said.append(f"{counted(labels, 'label')} came with them.")
        said += [ALL_LABELLED] if r["unlabelled_pairs"] == 0 else []
    if "drawer" in r:
        said.append(drawer_words(r["drawer"], run.root))
    if "label_column" in r:
        said.append(f"The label column: {r['label_column']}.")
        if record.settings["columns"]["label"] == PROBABILITY and "drawer" not in r:
            said.append(
                "Of a probability only the likelier side is kept (all of it: --labels hidden)."
            )
    if r["read_as"]:
        said.append(f"Read {'; '.join(r['read_as'])}.")
    said += _not_there(r, run.root / "pool" / LEFT_OUT)
    said += _columns(r)
    if r.get("alike_prompts"):
        same = counted(r["alike_prompts"], "prompt equals", "prompts equal")
        said.append(
            f"Attention: {same} an earlier one but for blanks or the form of accents (Unicode NFC, "
            "NFD), "
            f"and {plural(r['alike_prompts'], 'is a prompt of its own', 'are prompts of their own')} "
            f"(first: {show(r['alike_first'])})."
        )
    if r.get("unlike_prompts"):
        many = counted(r["unlike_prompts"], "row")
        said.append(
            f"Attention: in {many} the column {show(r['prompt_column'])} is another text than what "
            "the "
            f"dialogues begin with, which counts (first: {r['unlike_first']})."
        )
    if r["shape"] != "pair" and r["duplicates_merged"]:
        weights = record.settings["columns"]["weight"]
        how = "their weights add up" if weights else "their count is π_ref's weight"
        how += "; their scores are averaged" if record.settings["columns"]["scores"] else ""
        how += "; other columns are the first's" if r["unread_columns"] else ""
        said.append(f"{counted(r['duplicates_merged'], 'duplicate')} merged ({how}).")
    why = "to put each prompt's together"
    if "drawer" in r:
        why += ", in an order that says nothing of the labels"
    for key, one, many in (
        (
            "single_completion_prompts",
            "prompt with one completion: never picked",
            "prompts with one completion: never picked",
        ),
        (
            "group_conflicts",
            "row gives its prompt another group than its first row: the first counts",
            "rows give their prompt another group than its first row: the first counts",
        ),
        (
            "moved",
            *2
            * (
                f"of the completions moved, {why}: rows of a feature file go by "
                "pool/completions.parquet",
            ),
        ),
    ):
        if r[key]:
            said.append(f"{counted(r[key], one, many)}.")
    if r["single_completion_prompts"] == r["prompts"]:
        cure = ""
        if record.settings["columns"]["prompt_id"] is not None:
            cure = "; --prompt-id-column tells apart even prompts of one text"
        said.append(f"No prompt has two completions, so there is no pair to pick{cure}.")
    return Outcome(" ".join(said), r, before, run.root / "pool")


def _not_there(r: dict[str, Any], listed: Path) -> list[str]:
    """What was left out, by reason."""
    said = []
    odd = [one for one in r["left_out"] if one["why"] not in USUAL]
    if r["rows_left_out"]:
        reasons = "; ".join(
            (f"{one['rows']} because " if len(odd) > 1 else "")
            + f"{one['why']} (first: {one['first']})"
            for one in odd
        )
        said.append(f"{counted_of(r['rows_left_out'], r['rows_read'], 'row')} left out: {reasons}.")
    for key, one, many in (
        ("identical_pairs_dropped", "pair of two equal texts", "pairs of two equal texts"),
        ("empty_pairs_dropped", "pair with an empty side", "pairs with an empty side"),
        ("empty_completions_dropped", "empty completion", "empty completions"),
    ):
        if r[key]:
            said.append(f"{counted(r[key], one, many)} left out.")
    return [*said, f"All that was left out: {listed}."] if said else []


def _columns(r: dict[str, Any]) -> list[str]:
    """Which columns were not read, and where that made rows one prompt."""
    said = []
    if r["unread_columns"]:
        names = ", ".join(map(show, r["unread_columns"][:20]))
        names += ", …" if len(r["unread_columns"]) > 20 else ""
        pair = r["shape"] == "pair"
        said.append(
            f"Columns not read: {names}."
            if pair
            else f"Columns kept beside the completions, not read as part of the prompt: {names}."
        )
    said += [
        f"{show(name)} is kept as {show(kept)}, for the pool has "
        f"{'an' if name[0] in 'aeiou' else 'a'} {name} of its own."
        for name, kept in r["renamed_columns"].items()
    ]
    if r["differ"]:
        names = ", ".join(
            f"{show(name)} ({counted(count, 'prompt')})" for name, count in r["differ"].items()
        )
        first = next(iter(r["differ"]))
        cure = f"import into another run with --prompt-column {r['prompt_column']},{first}"
        if first.startswith("system"):
            cure = f"import into another run with --system-column {first}"
        elif not r.get("differ_joins", True):
            cure = "write it into the prompt itself, and import that into another run"
        said.append(
            f"Attention: rows that were taken for one prompt differ in {names}. Where that belongs "
            f"to the prompt, {cure}."
        )
    return said
