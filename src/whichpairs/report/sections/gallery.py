"""Ten pairs that were picked and ten that were not, each with its reason, with filters and full texts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from whichpairs.report.data.design_curves import Beginning, Choice
from whichpairs.report.data.facts import Facts
from whichpairs.report.data.pool_map import Shares
from whichpairs.report.data.reasons import Reason, Reasons
from whichpairs.report.page.format import common_start, data, excerpt, say
from whichpairs.report.page.parts import Gallery, Pair, Side
from whichpairs.types import Label, Message
from whichpairs.wording import counted

SHOWN, TOP = 10, 5
"""Pairs in a gallery, and how many of them are the highest; the others are spread over the rest."""

LONGEST_WHOLE = 20_000
"""Characters of a full text on the page, at most."""

STATES = ("preferred one", "a tie", "no label yet")
"""What a picked pair may be, as the filters name it."""


@dataclass(frozen=True)
class _Texts:
    """A pair of rows as texts."""

    prompt: str
    a: str
    b: str
    ids: tuple[str, str]


def galleries(
    facts: Facts, start: Beginning | None, found: Choice, shares: Shares | None
) -> list[Gallery]:
    """The two galleries; without features only pairs that were picked, without their reasons."""
    groups = () if shares is None else shares.names
    labels: dict[frozenset[str], list[Label]] = {}
    for one in facts.space.labels:
        labels.setdefault(frozenset((one.id_a, one.id_b)), []).append(one)
    mine = _rank(found.scores, len(found.pairs))
    picked = _Shown(facts, shares, labels, True)
    if start is None or not len(found.scores):
        pairs = [picked.pair(found.pairs[k], None) for k in mine]
        return [Gallery("asked", "Some of the picked pairs", pairs, (*STATES, *groups), open=True)]
    logits = facts.logits(start.desk.name)
    reasons = Reasons(start, found)
    asked = _with(reasons, found.pairs[mine], found.scores[mine], logits)
    rows, scores = _not_picked(found)
    theirs = _rank(scores, len(rows))
    others = _Shown(facts, shares, {}, False)
    left = _with(reasons, rows[theirs], scores[theirs], logits)
    return [
        Gallery(
            "asked",
            "Ten that were picked",
            [picked.pair(found.pairs[k], why) for k, why in zip(mine, asked, strict=True)],
            (*STATES, *groups),
            "The five of the highest scores, then five spread over all the others.",
            open=True,
        ),
        Gallery(
            "left",
            "Ten that were not",
            [others.pair(rows[k], why) for k, why in zip(theirs, left, strict=True)],
            groups,
            "Of random candidates: again the five of the highest scores, then five spread over the rest.",
        ),
    ]


def _with(
    reasons: Reasons,
    rows: np.ndarray,
    scores: np.ndarray,
    logits: Callable[[np.ndarray], np.ndarray] | None,
) -> list[Reason]:
    sure = None
    if logits is not None and len(rows):
        sure = 1.0 / (1.0 + np.exp(-logits(reasons.pairs.differences(rows))))
    return reasons.of(rows, scores, sure)


def _rank(scores: np.ndarray, count: int) -> list[int]:
    """Places of the pairs to show."""
    if not len(scores):
        return list(range(min(count, SHOWN)))
    order = np.lexsort((np.arange(len(scores)), -scores))
    rest = order[TOP:]
    spread = np.unique(
        np.linspace(0, len(rest) - 1, min(len(rest), SHOWN - TOP)).round().astype(int)
    )
    return [int(k) for k in [*order[:TOP], *(rest[spread] if len(rest) else [])]]


def _not_picked(found: Choice) -> tuple[np.ndarray, np.ndarray]:
    """Random candidates that were not picked."""
    mine = {tuple(sorted(row)) for row in found.pairs.tolist()}
    keep = [k for k, row in enumerate(found.others.tolist()) if tuple(sorted(row)) not in mine]
    return found.others[keep], found.other_scores[keep]


@dataclass(frozen=True)
class _Shown:
    """How the pairs of a gallery are shown."""

    facts: Facts
    shares: Shares | None
    labels: dict[frozenset[str], list[Label]]
    asked: bool

    def pair(self, rows: np.ndarray, why: Reason | None) -> Pair:
        """One pair, its rows in pool order."""
        texts = self._texts(rows)
        labels = self.labels.get(frozenset(texts.ids), [])
        start = common_start(texts.a, texts.b)
        wins = dict.fromkeys(texts.ids, 0)
        for label in labels:
            if label.choice != "tie":
                wins[label.id_a if label.choice == "a" else label.id_b] += 1
        sides = []
        for name, text, key in (("A", texts.a, texts.ids[0]), ("B", texts.b, texts.ids[1])):
            shown, note = excerpt(text, start)
            verdict = _preferred(wins[key], len(labels))
            sides.append(Side(name, shown, note, _whole(text) if note else "", verdict))
        prompt, note = excerpt(texts.prompt)
        return Pair(
            prompt,
            note,
            _whole(texts.prompt) if note else "",
            (sides[0], sides[1]),
            self._reason(why),
            self._facts(texts, why, labels),
            self._kinds(rows, labels),
        )

    def _texts(self, rows: np.ndarray) -> _Texts:
        pool = self.facts.space.pool
        a, b = (int(row) for row in rows)
        both = pool.completions["completion"].gather([a, b]).to_list()
        prompt = prompt_text(pool.messages(int(pool.prompt_of[a])))
        return _Texts(prompt, both[0], both[1], (pool.ids[a], pool.ids[b]))

    def _reason(self, why: Reason | None) -> Markup:
        if why is None:
            return Markup("")
        words = why.asked() if self.asked else why.left()
        return say(
            "<b>{words}.</b> A label of it teaches {score}\u00a0× a random pair’s; "
            "{far}\u00a0× as far apart, {open}\u00a0× as open.",
            words=words[0].upper() + words[1:],
            score=data(why.score, "short"),
            far=data(why.distance, "short"),
            open=data(why.openness, "short"),
        )

    def _facts(self, texts: _Texts, why: Reason | None, labels: Sequence[Label]) -> Markup:
        parts = [
            say(
                "{a} and {b} characters",
                a=data(len(texts.a), "count"),
                b=data(len(texts.b), "count"),
            )
        ]
        if why is not None and why.sure is not None:
            parts.append(say("the fit gives A {p}", p=data(why.sure, "percent")))
        ties = sum(label.choice == "tie" for label in labels)
        if self.asked and not labels:
            parts.append(Markup("not labelled yet"))
        elif ties:
            parts.append(say("{n} of {all} a tie", n=ties, all=counted(len(labels), "answer")))
        return Markup(" · ").join(parts)

    def _kinds(self, rows: np.ndarray, labels: Sequence[Label]) -> list[int]:
        """Numbers of the filters' choices, from 1."""
        kinds, before = [], 1
        if self.asked:
            tie = any(label.choice == "tie" for label in labels)
            kinds.append(3 if not labels else 2 if tie else 1)
            before = 1 + len(STATES)
        if self.shares is not None:
            kinds += [before + int(k) for k in np.unique(self.shares.of_row[rows])]
        return kinds


def _whole(text: str) -> str:
    """A full text, cut only where it is a book."""
    left = len(text) - LONGEST_WHOLE
    return text if left <= 0 else f"{text[:LONGEST_WHOLE]}\n… ({left} more characters)"


def _preferred(wins: int, answers: int) -> str:
    if not wins:
        return ""
    return "preferred" if answers == 1 else f"preferred by {wins} of {answers}"


def prompt_text(prompt: str | tuple[Message, ...]) -> str:
    """A plain prompt, or the turns of a conversation a line each."""
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"{turn.get('role', '')}: {turn.get('content', '')}" for turn in prompt)
