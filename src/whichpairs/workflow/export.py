"""Stage export: the labels as a preference set for other tools."""

from pathlib import Path
from typing import Any

from whichpairs.errors import UserError
from whichpairs.train.export import export_trl
from whichpairs.types import Preference
from whichpairs.wording import counted, counted_of, plural
from whichpairs.workflow.preferences import Votes, joined, preferences, votes_for
from whichpairs.workflow.stage import Outcome
from whichpairs.workflow.workspace import workspace

TARGETS = ("trl",)


def export_labels(
    run: str | Path,
    out: str | Path,
    *,
    to: str = "trl",
    join: bool = False,
    replace: bool = False,
    beta: float | None = None,
) -> Outcome:
    """Write what `to` takes as it is to `out`, with ids and probabilities beside it.

    Every answer is a row, unless `join`: then a pair with several is one row, for the majority, and its
    probability is the answers' share.

    Raises:
        UserError: an unknown target or suffix, no labels, or `out` exists with other content
            (unless `replace`).
    """
    if to not in TARGETS:
        raise UserError(f"--to must be one of {', '.join(TARGETS)}", f"got {to!r}")
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
                    f"the answers to {counted(even, 'pair is', 'pairs are')} evenly split, and there are no others",
                    "leave out --join: then each answer is a row",
                )
        unfinished = sum(not (p.chosen.finished and p.rejected.finished) for p in rows)
        more = [_beside(vote) for vote in votes]
        beside, before = export_trl(rows, Path(out), beside_each=more, replace=replace)
    result = {"rows": len(rows), "ties_left_out": ties, "file": str(out), "ids": str(beside)}
    result |= {**told, "even_pairs_left_out": even}
    message = f"{counted(len(rows), 'preference')} in {out}, ids and probabilities in {beside}."
    message += " They were there already; nothing changed." if before else ""
    message += f" {counted(ties, 'tie')} left out." if ties else ""
    message += _said(told, even, join)
    if join and not told["repeated_pairs"]:
        message += " --join had no effect: no pair has several answers."
    if unfinished:
        message += (
            f" {unfinished} of them {plural(unfinished, 'has', 'have')} a completion that was cut off; TRL adds an end-of-sequence"
            " token to every plain text (whichpairs train does not)."
        )
    return Outcome(message, {**result, "unfinished": unfinished}, before, Path(out))


def _repeats(rows: list[Preference], votes: list[Votes]) -> dict[str, int]:
    """How many pairs there are, have several answers with a winner, and have winners on both sides."""
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
    text = f" {counted_of(told['repeated_pairs'], told['pairs'], 'pair')} {plural(told['repeated_pairs'], 'has', 'have')} several answers"
    if not join:
        return (
            f"{text}, {told['contradicted_pairs']} of them with rows in both directions: each row is "
            "one vote, from which DPO learns the share. --join writes one row a pair, the majority's."
        )
    text += (
        f", {told['contradicted_pairs']} of them in both directions: each is one row, for the most"
    )
    return text + (
        f"; {counted(even, 'that is', 'that are')} evenly split {plural(even, 'is', 'are')} left out."
        if even
        else "."
    )
