"""Answers that a file brings: what is accepted of it, and what is said of it."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from whichpairs.errors import UserError
from whichpairs.label.agreement import Agreement, agreements, counts
from whichpairs.label.file import AnswerFile, Asked, read_answers
from whichpairs.label.store import Added
from whichpairs.pool.sources import show
from whichpairs.types import Label
from whichpairs.workflow.workspace import Workspace

SHOWN = 5


def accept_file(
    space: Workspace, path: Path, annotator: str, given: str | None, replace: bool
) -> tuple[Added, str, dict[str, Any]]:
    """Accept a file of answers, all or none.

    Returns:
        What became of them; what to say of the file; the same for programs.

    Raises:
        UserError: see `read_answers`; or an annotator had answered otherwise, and not `replace`.
    """
    text = space.pool.completions["completion"]
    asked = Asked(space.known_pairs, lambda name: str(text[space.pool.row_of[name]]))
    found = read_answers(path, asked, annotator=annotator, given=given)
    if not replace:
        _check_consistent(space, found, path)
    added = space.store.accept(found.labels, replace=replace)
    tally = found.answers.tally
    stated = sum(label.probability is not None for label in found.labels)
    words = [f"The file: {found.answers.words('A', 'B')}."]
    if found.unread:
        words.append(f"Columns not read: {', '.join(map(show, found.unread[:20]))}.")
    if found.strange:
        words.append(
            f"Attention: {_do(len(found.strange), 'show')} other texts than those of the pair "
            f"({', '.join(found.strange[:SHOWN])}{' …' if len(found.strange) > SHOWN else ''})."
        )
    if stated:
        words.append(
            f"{_do(stated, 'state')} a probability, which is kept: the fit takes it in place of the "
            "choice."
        )
    if added.same:
        words.append(f"{added.same} {'was' if added.same == 1 else 'were'} there already.")
    if added.replaced:
        words.append(
            f"{_do(added.replaced, 'supersede')} what their annotators said before (it is kept)."
        )
    if added.outdated:
        words.append(f"{added.outdated} had been superseded by corrections, which stand.")
    return added, " ".join(words), {"read": tally, "probabilities": stated, **asdict(added)}


def _do(count: int, verb: str) -> str:
    return f"{count} {verb}{'s' * (count == 1)}"


def _check_consistent(space: Workspace, found: AnswerFile, path: Path) -> None:
    other = space.store.contradicted(found.labels)
    if not other:
        return
    some = [
        f"{found.where[k]} ({found.labels[k].annotator}, pair {found.labels[k].pair_id})"
        for k in other[:SHOWN]
    ]
    more = f" and {len(other) - SHOWN} more" if len(other) > SHOWN else ""
    raise UserError(
        "a label once accepted is not rewritten",
        f"{len(other)} of the {len(found.labels)} answers of {path} were already answered otherwise "
        f"by the same annotator: {', '.join(some)}{more}",
        "Pass --replace to let these supersede the others (both are kept), or another --annotator",
    )


def annotators(labels: list[Label]) -> tuple[str, dict[str, Any]]:
    """Who answered how much, and how far they agree; nothing of a single annotator."""
    number = counts(labels)
    found = agreements(labels)
    told = {"annotators": number, "agreement": [asdict(one) for one in found]}
    if len(number) < 2:
        return "", told
    names = [f"{count} by {show(name)[1:-1]}" for name, count in list(number.items())[:8]]
    names += [f"{len(number) - 8} others"] if len(number) > 8 else []
    text = f"Labels: {', '.join(names)}."
    if not found:
        return f"{text} No pair was answered by two of them.", told
    text += " " + "; ".join(map(_agreed, found[:3]))
    return text + (f"; and {len(found) - 3} other couples." if len(found) > 3 else "."), told


def _agreed(one: Agreement) -> str:
    share = f"{100 * one.same / one.shared:.0f} %"
    beyond = "too few to tell" if one.kappa is None else f"Cohen's κ {one.kappa:.2f}"
    pairs = "pair" if one.shared == 1 else "pairs"
    return (
        f"{show(one.first)[1:-1]} and {show(one.second)[1:-1]} both answered {one.shared} {pairs} and "
        f"agree on {one.same} ({share}; {beyond})"
    )
