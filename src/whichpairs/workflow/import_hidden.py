"""Stage import, where labels are kept back: what goes into the drawer, and what is said of it."""

from pathlib import Path
from typing import Any

import polars as pl

from whichpairs.errors import UserError
from whichpairs.pool.raw.source import show
from whichpairs.pool.reading.drawer import DRAWER, all_pairs, others
from whichpairs.pool.reading.read import PoolTables
from whichpairs.run.folder import Run
from whichpairs.run.once import Outcome, find
from whichpairs.workflow.drawer import KIND, answers_in
from whichpairs.workflow.workspace import Workspace


def check_drawer(tables: PoolTables, source: str) -> None:
    """Raise a `UserError` unless a file has labels that can be kept back."""
    assert tables.drawer is not None
    if not len(tables.drawer):
        raise UserError(
            "--labels hidden keeps the labels of pairs back",
            f"{show(source)} has none (it was read as {_SHAPES[tables.shape]})",
            "leave it out; or name the columns of pairs with --pair-columns",
        )
    others(tables.drawer, tables.completions)


_SHAPES = {"single": "completions", "list": "lists of completions", "pair": "pairs"}


def drawer_words(r: dict[str, int], root: Path) -> str:
    """What went into the drawer, and which pairs are candidates."""
    text = (
        f"{_many(r['answers'], 'label')} in the drawer ({root / 'pool' / DRAWER}): nothing reads "
        "them until their pairs are picked; label --from-drawer takes them out then. "
        f"Candidates are the {_many(r['pairs'], 'pair')} that ha{'s' if r['pairs'] == 1 else 've'} "
        "one"
    )
    if r["others"]:
        text += f"; {_many(r['others'], 'other pair')} of these prompts can be answered by nobody"
    return f"{text}."


def unlabelled_pairs(answers: pl.DataFrame, completions: pl.DataFrame) -> int:
    """How many pairs have no label: those that could be picked, were no prompt held out."""
    both = answers.select(pl.concat_list("chosen_id", "rejected_id").list.sort())
    return all_pairs(completions) - both.n_unique()


ALL_LABELLED = (
    "Every pair has its label, so that none is left to pick: to pick a part of these labels, "
    "import "
    "into another run with --labels hidden."
)


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def adds_to_drawer(run: Run, settings: dict[str, Any], content: dict[str, str]) -> bool:
    """Whether a file is a further one for a drawer that the run has."""
    old = run.record("pool")
    if old is None or not old.settings.get("labels") == settings.get("labels") == "hidden":
        return False
    return old.inputs != content


def added(
    run: Run, settings: dict[str, Any], content: dict[str, str], tables: PoolTables
) -> Outcome:
    """Put the answers of a further file about the pool's pairs into the drawer.

    An answer that is there already, of the same annotator (or of none), is counted and not put in.

    Raises:
        UserError: the file has completions that the pool has not, or holds prompts out.
    """
    path, before = run.root / KIND, find(run, KIND, "import", settings, content)
    if before is not None:
        message = "The answers of that file are in the drawer already; nothing changed."
        return Outcome(message, before[1].result, True, path / before[0])
    assert tables.drawer is not None
    _check_of_pool(Workspace(run), settings, tables)
    there = [frame for _, frame in answers_in(run)]
    known = {row for frame in there for row in frame.iter_rows()}
    pairs = {pair for frame in there for pair in frame["pair_id"]}
    new = tables.drawer.filter([row not in known for row in tables.drawer.iter_rows()])
    put = {"answers": len(new), "pairs": len(set(new["pair_id"]) - pairs)}
    result = {KIND: put, "shape": tables.shape, "answers_there": len(tables.drawer) - len(new)}

    def make(folder: Path) -> dict[str, Any]:
        new.write_parquet(folder / DRAWER)
        return result

    name = run.next_number(KIND)
    run.commit((KIND, name), "import", settings, content, make)
    message = f"{_many(put['answers'], 'label')} more in the drawer, of which {put['pairs']} are "
    message += "the first of their pair."
    if result["answers_there"]:
        message += f" {result['answers_there']} were there already."
    return Outcome(message, result, False, path / name)


def _check_of_pool(space: Workspace, settings: dict[str, Any], tables: PoolTables) -> None:
    ids = tables.completions["completion_id"].to_list()
    strange = sum(one not in space.pool.row_of for one in ids)
    if strange:
        raise UserError(
            "a run has one pool, and a further file adds answers about the completions of that "
            "pool",
            f"{strange} of the {len(ids)} completions of {show(settings['source'])} are not in it",
            "start another run, with one file of both",
        )
    record = space.run.record("pool")
    assert record is not None
    if settings["holdout"] not in (0.0, record.settings["holdout"]):
        raise UserError(
            "which prompts are held out is settled by a run's first import",
            f"got --holdout {settings['holdout']:g} with a further file",
            "leave it out",
        )
