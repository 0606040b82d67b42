"""What the pages do, without HTTP: pairs handed out, answers taken, the quiz, the owner's figures.

Counts that pages show are kept in memory and begin from the store; whatever decides is read from
the store.
"""

import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from whichpairs.errors import UserError
from whichpairs.label.stores.base import SAID, Lease, Receipt, Reply
from whichpairs.label.stores.serving import ServedStore
from whichpairs.label.web.figures import figures, took
from whichpairs.label.web.project import Project, ServeSettings, Texts
from whichpairs.label.web.render import tree
from whichpairs.label.web.sent import (
    LentPair,
    LentPairs,
    Overview,
    People,
    Progress,
    Rendered,
    Shown,
)

AHEAD = 3
"""Pairs that a page holds: the one on screen, and those that follow at once."""
LONGEST_PAUSE = 600.0
"""Seconds between answers above which somebody was away."""


@dataclass
class Tally:
    """What one annotator has done.

    Attributes:
        answers: replies, corrections not counted; times: seconds taken by the latest.
    """

    answers: int = 0
    times: deque[float] = field(default_factory=lambda: deque(maxlen=20))


class Desk:
    """Serves one run.

    Args:
        clock: seconds since 1970.
    """

    def __init__(
        self,
        store: ServedStore,
        project: Project,
        settings: ServeSettings,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store, self.project, self.settings, self._clock = store, project, settings, clock
        self._tallies: dict[str, Tally] = {}
        self._left, self._left_at = 0, 0.0
        self._picking = threading.Lock()
        self.picked = ""
        self._passed = set[str]()
        self._figures: tuple[float, float, People] = (0.0, 0.0, {})  # type: ignore[typeddict-item]
        for answer in store.answers():
            if answer.handle is not None and answer.corrects is None:
                self._count(answer.annotator, took(answer))
        self.refresh()
        paused = store.events("paused", "resumed")
        self.paused = bool(paused) and paused[-1].kind == "paused"

    def refresh(self) -> int:
        """Put the pairs of new batches in the queue; how many there were."""
        self._left_at = 0.0
        return self.store.ask(self.project.tasks())

    def left(self) -> int:
        """Answers that the queue waits for; counted anew every two seconds, while nobody waits for
        it."""
        now = self._clock()
        if self._left_at == 0.0:
            self._left, self._left_at = self.store.left(), now
        elif now - self._left_at > 2.0:
            self._left_at = now
            threading.Thread(target=self._recount, daemon=True).start()
        return self._left

    def _recount(self) -> None:
        with suppress(UserError):  # whoever answers next is told
            self._left = self.store.left()

    def following(self, name: str) -> Mapping[str, object]:
        """What an annotator's page shows now and next."""
        quiz = self.quiz_state(name)
        if quiz is not None:
            return {"quiz": quiz}
        if self.paused:
            return {"paused": True, **self.progress(name)}
        loans = self.store.lease(name, AHEAD, self._seconds, repeat=self.settings.repeat)
        return self._pairs(name, loans)

    @property
    def _seconds(self) -> float:
        return 60.0 * self.settings.lease_minutes

    def _pairs(self, name: str, loans: list[Lease]) -> LentPairs:
        return {"pairs": [self._pair(one) for one in loans], **self.progress(name)}

    def _pair(self, one: Lease) -> LentPair:
        return {"handle": one.handle, **shown(self.project.texts(one.id_a, one.id_b))}

    def progress(self, name: str) -> Progress:
        """How far an annotator is, and how fast."""
        tally = self._tallies.get(name, Tally())
        pace = statistics.median(tally.times) if len(tally.times) >= 5 else None
        return {"done": tally.answers, "left": self.left(), "pace": pace}

    def rendered(self, name: str, handle: str) -> Rendered:
        """A pair's texts as Markdown trees.

        Raises:
            UserError: the pair is not this annotator's.
        """
        loan = self.store.lent(name, handle)
        if loan is None:
            raise UserError("a pair is rendered for whom it is lent to", "this one is not yours")
        texts = self.project.texts(loan.id_a, loan.id_b)
        turns = [tree(text) for _, text in texts.prompt]
        return {"prompt": turns, "a": tree(texts.a), "b": tree(texts.b)}

    def reply(self, name: str, said: dict[str, Any]) -> dict[str, Any]:
        """Keep an answer; what became of it, and what follows.

        Raises:
            UserError: it breaks a rule.
        """
        if self.quiz_state(name) is not None:
            raise UserError("the first pairs come after the quiz", "it is not passed yet")
        reply, have = _reply(said, self._clock()), said.get("have")
        if self.paused or (isinstance(have, int) and have >= AHEAD):
            receipt = self.store.reply(name, reply)
            self._took(name, reply, receipt)
            paused = {"paused": True} if self.paused else {}
            return {"kept": receipt.kept, **paused, **self.progress(name)}
        repeat = self.settings.repeat
        receipt, loans = self.store.answer(name, reply, AHEAD, self._seconds, repeat=repeat)
        self._took(name, reply, receipt)
        return {"kept": receipt.kept, **self._pairs(name, loans)}

    def _took(self, name: str, reply: Reply, receipt: Receipt) -> None:
        if receipt.kept not in ("new", "late"):
            return
        assert reply.shown is not None
        assert reply.answered is not None
        self._count(name, reply.answered - reply.shown)
        if receipt.kept == "new" and reply.choice != "skip" and self._left > 0:
            self._left -= 1

    def _count(self, name: str, seconds: float | None) -> None:
        tally = self._tallies.setdefault(name, Tally())
        tally.answers += 1
        if seconds is not None and seconds < LONGEST_PAUSE:
            tally.times.append(seconds)

    def quiz_state(self, name: str) -> dict[str, Any] | None:
        """The question of the quiz that comes next; None where it is passed, or there is none."""
        quiz = self.settings.quiz
        if quiz is None or name in self._passed:
            return None
        events = [e for e in self.store.events("invited", "quiz") if e.annotator == name]
        since = max((k for k, e in enumerate(events) if e.kind == "invited"), default=-1)
        answers = [bool(e.data["right"]) for e in events[since + 1 :]]
        size = len(quiz.pairs)
        rounds = [answers[k : k + size] for k in range(0, len(answers), size)]
        whole = [one for one in rounds if len(one) == size]
        if any(sum(one) >= quiz.least * size - 1e-9 for one in whole):
            self._passed.add(name)
            return None
        told = {"total": size, "needed": quiz.least, "tries": quiz.tries - len(whole)}
        if len(whole) >= quiz.tries:
            return {"failed": True, **told}
        number = len(answers) % size
        return {"number": number, **told, **shown(quiz.pairs[number].texts)}

    def forget(self, name: str) -> None:
        """Whoever is invited again takes the quiz again."""
        self._passed.discard(name)

    def answer_quiz(self, name: str, said: dict[str, Any]) -> dict[str, Any]:
        """Take an answer to the quiz; whether it is right, why, and what follows.

        Raises:
            UserError: it is not to the question that comes next.
        """
        state, quiz = self.quiz_state(name), self.settings.quiz
        if quiz is None or state is None or said.get("number") != state.get("number", -1):
            raise UserError("a quiz is answered question by question", "this one is not next")
        if said.get("choice") not in SAID[:4]:
            raise UserError(f"choice must be one of {', '.join(SAID[:4])}", "got something else")
        pair = quiz.pairs[state["number"]]
        right = pair.answer == said["choice"]
        data = {"number": state["number"], "choice": said["choice"], "right": right}
        self.store.note("quiz", name, data)
        return {"right": right, "answer": pair.answer, "why": pair.why, **self.following(name)}

    def pause(self, paused: bool) -> None:
        """Hand out no more pairs, or go on. Answers to what is on screen are taken all the same."""
        self.store.note("paused" if paused else "resumed")
        self.paused = paused

    def pick(self) -> str:
        """Pick the next batch and put it in the queue; how it went.

        Raises:
            UserError: one is being picked already, or that is not possible here.
        """
        if self.project.pick is None:
            raise UserError("a next batch is picked where one was picked before", "there is none")
        if not self._picking.acquire(blocking=False):
            raise UserError("one batch is picked at a time", "one is being picked", "wait for it")
        try:
            self.picked = "Picking …"
            self.picked = self.project.pick()
            self.store.note("picked", data={"message": self.picked})
            self.refresh()
        except BaseException as error:
            self.picked = str(error)
            raise
        finally:
            self._picking.release()
        return self.picked

    def overview(self, invited: list[str]) -> Overview:
        """The owner's figures."""
        price = self.settings.price
        found = self._seen(invited)
        cost = None if price is None else price * found["labels"]
        return {
            **found,
            "left": self.store.left(),
            "paused": self.paused,
            "picked": self.picked,
            "can_pick": self.project.pick is not None,
            "cost": cost,
            "currency": self.settings.currency,
        }

    def _seen(self, invited: list[str]) -> People:
        """`figures`; where they take long, for people answer meanwhile, no more than a tenth of the
        time."""
        made, took, found = self._figures
        now = time.monotonic()
        if took < 0.2 or now - made > 10.0 * took or invited != sorted(self._invited(found)):
            found = figures(self.store.answers(), self.store.all(), invited)
            self._figures = (time.monotonic(), time.monotonic() - now, found)
        return found

    @staticmethod
    def _invited(found: People) -> list[str]:
        return [one["name"] for one in found["people"] if one["invited"]]


def shown(texts: Texts) -> Shown:
    """A pair's texts, as the page gets them."""
    prompt = [{"role": role, "text": text} for role, text in texts.prompt]
    return {"prompt": prompt, "a": texts.a, "b": texts.b}


def _reply(said: dict[str, Any], now: float) -> Reply:
    """What a page sent, checked for its form; its clock says how long ago, ours says when."""
    kinds: dict[str, tuple[type, ...]] = {
        "handle": (str,),
        "key": (str,),
        "choice": (str,),
        "strength": (int, type(None)),
        "comment": (str, type(None)),
        "corrects": (bool,),
        "took": (int, float),
        "ago": (int, float),
    }
    usual: dict[str, Any] = {"strength": None, "comment": None, "corrects": False, "ago": 0.0}
    given: dict[str, Any] = {name: said.get(name, usual.get(name)) for name in kinds}
    for name, allowed in kinds.items():
        value = given[name]
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise UserError(
                "an answer has handle, key, choice and took", f"{name} is not as it must be"
            )
    lasted, ago = float(given.pop("took")), float(given.pop("ago"))
    if not 0.0 <= lasted < 1e8 or not 0.0 <= ago < 1e8:
        raise UserError(
            "times of an answer must be seconds from 0 on", f"got {lasted:g} and {ago:g}"
        )
    return Reply(**given, shown=now - ago - lasted, answered=now - ago)
