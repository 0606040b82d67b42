"""What an owner wants to know of the people: pace, sides, agreement with others and with
themselves."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from scipy.stats import beta

from whichpairs.label.agreement import agreements, alpha
from whichpairs.label.stores.base import Answer
from whichpairs.label.web.sent import People
from whichpairs.types import Label


def figures(answers: Sequence[Answer], labels: Sequence[Label], invited: Sequence[str]) -> People:
    """The people who answered by the page or are invited, and what holds for all of them."""
    standing = _standing([one for one in answers if one.handle is not None])
    theirs = defaultdict[str, list[Answer]](list)
    for one in standing:
        theirs[one.annotator].append(one)
    names = sorted({*theirs, *invited})
    by_people = [x for x in labels if x.annotator in theirs]
    pairs = Counter(x.pair_id for x in by_people)
    return {
        "labels": len(by_people),
        "pairs": len(pairs),
        "overlap": sum(count > 1 for count in pairs.values()),
        "alpha": alpha(by_people),
        "couples": [asdict(one) for one in agreements(by_people)[:20]],
        "people": [person(name, theirs[name], name in invited) for name in names],
    }


def person(name: str, answers: Sequence[Answer], invited: bool) -> dict[str, Any]:
    """One annotator's figures.

    ``left`` is the share of A among choices of A or B, with its 95 % interval (Clopper–Pearson): a
    half is no bias, for the order is drawn for each pair. ``steady`` is how many of the repeats
    were answered as before.
    """
    first = [one for one in answers if one.turn == 0]
    said = Counter(one.choice for one in first)
    times = [seconds for one in answers if (seconds := took(one)) is not None]
    return {
        "name": name,
        "invited": invited,
        "answers": len(answers),
        **{choice: said[choice] for choice in ("a", "b", "tie", "both_bad", "skip")},
        "late": sum(one.late for one in answers),
        "comments": sum(one.comment is not None for one in answers),
        "seconds": statistics.median(times) if times else None,
        "hurried": sum(t < 1.0 for t in times),
        "latest": max((one.created for one in answers), default=None),
        "left": _share(said["a"], said["a"] + said["b"]),
        "steady": _steady(answers),
    }


def _standing(answers: Sequence[Answer]) -> list[Answer]:
    """The last answer of every chain."""
    last: dict[int, Answer] = {}
    for one in answers:
        last[one.answer_id if one.corrects is None else one.corrects] = one
    return list(last.values())


def took(one: Answer) -> float | None:
    """Seconds from when a pair was shown until it was answered, where that is known."""
    if one.shown is None or one.answered is None:
        return None
    begin, end = (datetime.fromisoformat(time) for time in (one.shown, one.answered))
    return (end - begin).total_seconds()


def _share(some: int, total: int) -> dict[str, float] | None:
    if total == 0:
        return None
    low = float(beta.ppf(0.025, some, total - some + 1)) if some else 0.0
    high = float(beta.ppf(0.975, some + 1, total - some)) if some < total else 1.0
    return {"share": some / total, "low": low, "high": high, "of": total}


def _steady(answers: Sequence[Answer]) -> dict[str, int]:
    """How many repeated questions got the same answer, of how many."""
    said = {(one.pair_id, one.turn): _won(one) for one in answers}
    both = [
        (won, said[pair, 0]) for (pair, turn), won in said.items() if turn and (pair, 0) in said
    ]
    return {"same": sum(a == b for a, b in both), "of": len(both)}


def _won(one: Answer) -> str:
    return {"a": one.id_a, "b": one.id_b}.get(one.choice, one.choice)
