"""Stage export: the labels as a preference set for other tools."""

from pathlib import Path

from whichpairs.errors import UserError
from whichpairs.train.export import export_trl
from whichpairs.workflow.preferences import preferences
from whichpairs.workflow.stage import Outcome
from whichpairs.workflow.workspace import workspace

TARGETS = ("trl",)


def export_labels(
    run: str | Path,
    out: str | Path,
    *,
    to: str = "trl",
    replace: bool = False,
    beta: float | None = None,
) -> Outcome:
    """Write what `to` takes as it is to `out`, with ids and probabilities beside it.

    Raises:
        UserError: an unknown target or suffix, no labels, or `out` exists with other content
            (unless `replace`).
    """
    if to not in TARGETS:
        raise UserError(f"--to must be one of {', '.join(TARGETS)}", f"got {to!r}")
    with workspace(run, beta) as space:
        rows, ties = preferences(space)
        unfinished = sum(not (p.chosen.finished and p.rejected.finished) for p in rows)
        beside, before = export_trl(rows, Path(out), replace=replace)
    result = {"rows": len(rows), "ties_left_out": ties, "file": str(out), "ids": str(beside)}
    message = f"{len(rows)} preferences in {out}, ids and probabilities in {beside}."
    message += " They were there already; nothing changed." if before else ""
    message += f" {ties} ties left out." if ties else ""
    if unfinished:
        message += (
            f" {unfinished} of them have a completion that was cut off; TRL adds an end-of-sequence"
            " token to every plain text (whichpairs train does not)."
        )
    return Outcome(message, {**result, "unfinished": unfinished}, before, Path(out))
