"""Answers that a file brings: what is accepted of it, and what is said of it."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from whichpairs.errors import UserError
from whichpairs.label.agreement import Agreement, agreements, counts
from whichpairs.label.file import AnswerFile, Asked, read_answers
from whichpairs.label.stores.base import Added
from whichpairs.pool.raw.sources import show
from whichpairs.types import Label
from whichpairs.wording import counted, counted_of, plural
from whichpairs.workflow.workspace import Workspace

SHOWN = 5
UNNAMED = "file"
"""The annotator of answers of which neither the file nor the user says who gave them."""


def accept_file(
    space: Workspace, path: Path, annotator: str | None, given: str | None, replace: bool
) -> tuple[Added, str, dict[str, Any]]:
    """Accept a file of answers, all or none.

    Returns:
        What became of them; what to say of the file; the same for programs.

    Raises:
        UserError: see `read_answers`; or an annotator had answered otherwise, and not `replace`.
    """
    text = space.pool.completions["completion"]
    asked = Asked(space.known_pairs, lambda name: str(text[space.pool.row_of[name]]))
    found = read_answers(path, asked, annotator=annotator or UNNAMED, given=given)
    if not replace:
        _check_consistent(space, found, path)
    added = space.store.accept(found.labels, replace=replace)
    tally = found.answers.tally
    stated = sum(label.probability is not None for label in found.labels)
    words = [f"The file: {found.answers.words('A', 'B')}."]
    if found.others:
        told = ", ".join(f"{count} {what}" for what, count in sorted(found.others.items()))
        words.append(f"Left out, as no answers: {told}.")
    if found.unread:
        words.append(f"Columns not read: {', '.join(map(show, found.unread[:20]))}.")
    if found.strange:
        words.append(
            f"Attention: {_do(len(found.strange), 'show')} other texts than those of the pair "
            f"({', '.join(found.strange[:SHOWN])}{' …' if len(found.strange) > SHOWN else ''})."
        )
    if stated:
        words.append(
            f"{_do(stated, 'state')} a probability, which is kept: the fit takes it in place of "
            "the "
            "choice."
        )
    for places, words_of in (
        (found.apart, "a probability other than 0.5, which the fit takes; DPO leaves ties out"),
        (found.missing, "NaN as its probability, which is read as none stated"),
    ):
        if places:
            rest = " …" if len(places) > SHOWN else ""
            what = "tie" if places is found.apart else "row"
            has = counted(len(places), f"{what} has", f"{what}s have")
            words.append(f"{has} {words_of} ({', '.join(places[:SHOWN])}{rest}).")
    if added.same:
        words.append(f"{counted(added.same, 'was', 'were')} there already.")
    if added.replaced:
        words.append(
            f"{_do(added.replaced, 'supersede')} what their annotators said before (it is kept)."
        )
    words += _idle(found, added, annotator, given, replace)
    if added.outdated:
        words.append(f"{added.outdated} had been superseded by corrections, which stand.")
    return (
        added,
        " ".join(words),
        {
            **{"read": tally, "no_answers": found.others, "probabilities": stated},
            **asdict(added),
        },
    )


def _idle(
    found: AnswerFile, added: Added, annotator: str | None, given: str | None, replace: bool
) -> list[str]:
    """What the user asked for and the file had no use for."""
    words = []
    if annotator is not None and not found.unnamed:
        words.append("--annotator had no effect: every row names its own.")
    if given is not None and not found.answers.meaning:
        words.append("--label-map had no effect: the file has probabilities and no choice.")
    if replace and not added.replaced:
        words.append(
            "--replace had no effect: no annotator had given another answer to the same pair."
        )
    return words


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
        f"{counted_of(len(other), len(found.labels), 'answer')} of {path} "
        f"{plural(len(other), 'was', 'were')} already answered otherwise "
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
    names += [f"{counted(len(number) - 8, 'other')}"] if len(number) > 8 else []
    text = f"Labels: {', '.join(names)}."
    if not found:
        return f"{text} No pair was answered by two of them.", told
    text += " " + "; ".join(map(_agreed, found[:3]))
    return text + (
        f"; and {counted(len(found) - 3, 'other couple')}." if len(found) > 3 else "."
    ), told


def _agreed(one: Agreement) -> str:
    share = f"{100 * one.same / one.shared:.0f} %"
    beyond = "too few to tell" if one.kappa is None else f"Cohen's κ {one.kappa:.2f}"
    return (
        f"{show(one.first)[1:-1]} and {show(one.second)[1:-1]} both answered "
        f"{counted(one.shared, 'pair')} and "
        f"agree on {one.same} ({share}; {beyond})"
    )
