"""Stage export: the labels as a preference set for other tools."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whichpairs.errors import UserError
from whichpairs.run.once import Outcome
from whichpairs.train.export import export_trl
from whichpairs.types import Preference
from whichpairs.wording import counted, counted_of, plural
from whichpairs.workflow.drawer import from_drawer
from whichpairs.workflow.train.preferences import Votes, joined, preferences, votes_for
from whichpairs.workflow.workspace import Workspace, workspace

if TYPE_CHECKING:
    from whichpairs.train.settings import TeachSettings
    from whichpairs.workflow.train.teach import Teaching

TARGETS = ("trl",)
TEACH_LABELS = ("soft", "drawn")
"""How taught pairs are labelled: a column with the fit's probability, or one answer drawn by it."""


def export_labels(
    run: str | Path,
    out: str | Path,
    *,
    to: str = "trl",
    join: bool = False,
    teach: "TeachSettings | None" = None,
    teach_labels: str = "soft",
    replace: bool = False,
    beta: float | None = None,
) -> Outcome:
    """Write what `to` takes as it is to `out`, with ids and probabilities beside it.

    Every answer is a row, unless `join`: then a pair with several is one row, for the majority, and
    its probability is the answers' share.

    With `teach`, pairs that nobody has answered stand behind, with the fit's probabilities
    (`whichpairs.train.teach`): ``soft`` gives the file the columns ``probability`` (that `chosen`
    is preferred) and ``taught``; ``drawn`` leaves its columns as they are, and draws which is
    chosen.

    Raises:
        UserError: an unknown target or suffix, no labels, a fit that cannot teach, or `out` exists
            with other content (unless `replace`).
    """
    if to not in TARGETS:
        raise UserError(f"--to must be one of {', '.join(TARGETS)}", f"got {to!r}")
    if teach_labels not in TEACH_LABELS:
        raise UserError(
            f"--teach-labels must be one of {', '.join(TEACH_LABELS)}", f"got {teach_labels}"
        )
    soft = teach is not None and teach_labels == "soft"
    with workspace(run, beta) as space:
        rows, ties = preferences(space)
        votes = votes_for(space, rows)
        told = _repeats(rows, votes)
        even = 0
        if join:
            rows, votes, even = joined(rows, votes)
            if not rows and even:
                raise UserError(
                    "an export must hold at least one row",
                    f"the answers to {counted(even, 'pair is', 'pairs are')} evenly split, and "
                    "there are no others",
                    "leave out --join: then each answer is a row",
                )
        more: list[dict[str, Any]] = [_beside(vote) for vote in votes]
        answered, taught = len(rows), _teaching(space, teach) if rows else None
        if taught is not None:
            rows = rows + _lesson(space, taught, drawn=not soft)
            more += [{"taught": True}] * (len(rows) - answered)
        unfinished = sum(not (p.chosen.finished and p.rejected.finished) for p in rows)
        taken = len(from_drawer(space))
        beside, before = export_trl(
            rows,
            Path(out),
            beside_each=more,
            columns_each=_columns(rows, answered) if soft else None,
            replace=replace,
        )
    result: dict[str, Any] = {
        "rows": len(rows),
        "ties_left_out": ties,
        "file": str(out),
        "ids": str(beside),
    }
    result |= {**told, "even_pairs_left_out": even, "labels_from_drawer": taken}
    result["taught"] = taught.result(len(rows) - answered) if taught else None
    message = f"{counted(len(rows), 'preference')} in {out}, ids and probabilities in {beside}."
    message += " They were there already; nothing changed." if before else ""
    message += f" {counted(ties, 'tie')} left out." if ties else ""
    if taken:
        message += (
            f" {taken} of the run's labels came from its drawer: they were there before, and "
        )
        message += "were kept back at import."
    message += _said(told, even, join)
    if join and not told["repeated_pairs"]:
        message += " --join had no effect: no pair has several answers."
    message += _taught(result["taught"], soft)
    if unfinished:
        message += (
            f" {unfinished} of them {plural(unfinished, 'has', 'have')} a completion that was cut "
            "off; TRL adds an end-of-sequence"
            " token to every plain text (whichpairs train does not)."
        )
    return Outcome(message, {**result, "unfinished": unfinished}, before, Path(out))


def _teaching(space: Workspace, teach: "TeachSettings | None") -> "Teaching | None":
    if teach is None:
        return None
    from whichpairs.workflow.train.teach import teaching  # here, for it imports the solver

    return teaching(space, teach, space.run.seed)


def _lesson(space: Workspace, taught: "Teaching", *, drawn: bool) -> list[Preference]:
    """The taught pairs: the believed better one chosen, or the winner of a drawn answer."""
    from whichpairs.workflow.train.teach import as_preferences

    lesson = taught.lesson
    if not drawn:
        return as_preferences(space, lesson.pairs, lesson.probability)
    pairs = lesson.drawn(space.run.seed)
    same = pairs[:, 0] == lesson.pairs[:, 0]
    return as_preferences(
        space, pairs, np.where(same, lesson.probability, 1.0 - lesson.probability)
    )


def _columns(rows: list[Preference], answered: int) -> list[dict[str, Any]]:
    """What a trainer with soft labels reads: P(chosen preferred), 1 where an answer states none."""
    return [
        {"probability": 1.0 if p.probability is None else p.probability, "taught": k >= answered}
        for k, p in enumerate(rows)
    ]


def _taught(taught: dict[str, Any] | None, soft: bool) -> str:
    """What is to be said of pairs without a label."""
    if taught is None:
        return ""
    from whichpairs.workflow.train.teach import said

    text = f" Of the rows {said(taught)}"
    if soft:
        return (
            f"{text}: the column probability is theirs, which TRL does not read "
            "(--teach-labels drawn is for it)."
        )
    return f"{text}: their answers are drawn."


def _repeats(rows: list[Preference], votes: list[Votes]) -> dict[str, int]:
    """How many pairs there are, have several answers with a winner, and have winners on both
    sides."""
    of = {row.pair_id: vote for row, vote in zip(rows, votes, strict=True)}
    return {
        "pairs": len(of),
        "repeated_pairs": sum(v.chosen + v.rejected > 1 for v in of.values()),
        "contradicted_pairs": sum(v.chosen > 0 and v.rejected > 0 for v in of.values()),
    }


def _beside(vote: Votes) -> dict[str, Any]:
    """The votes of a pair with several answers, for the companion file."""
    if vote.answers == 1:
        return {}
    return {"votes": vote.chosen, "votes_against": vote.rejected, "votes_tied": vote.ties}


def _said(told: dict[str, int], even: int, join: bool) -> str:
    """What is to be said of pairs that were answered several times."""
    if not told["repeated_pairs"]:
        return ""
    text = (
        f" {counted_of(told['repeated_pairs'], told['pairs'], 'pair')} "
        f"{plural(told['repeated_pairs'], 'has', 'have')} several answers"
    )
    if not join:
        return (
            f"{text}, {told['contradicted_pairs']} of them with rows in both directions: each row "
            "is "
            "one vote, from which DPO learns the share. --join writes one row a pair, the "
            "majority's."
        )
    text += (
        f", {told['contradicted_pairs']} of them in both directions: each is one row, for the most"
    )
    return text + (
        f"; {counted(even, 'that is', 'that are')} evenly split {plural(even, 'is', 'are')} left "
        "out."
        if even
        else "."
    )
