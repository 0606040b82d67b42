"""What `lending` does for an answer, in plain statements on a driver's own cursor.

The same rules, kept twice on purpose: SQLAlchemy spends more on putting a statement together than
the database on carrying it out, and an annotator waits for nine of them. `tests/test_stores.py`
holds both to one suite.
"""

import re
import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from whichpairs.errors import UserError
from whichpairs.label.stores.base import Lease, Receipt, Reply, Task
from whichpairs.label.stores.labels import stamp
from whichpairs.label.stores.lending import REPEAT_AFTER, _check

Row = Sequence[Any]
_DRAW = secrets.SystemRandom()

_LEASE = "handle, pair_id, annotator, turn, id_a, id_b, batch, began, ends"
_SENT = "SELECT answer_id, late FROM answers WHERE annotator = :annotator AND key = :key"
_LENT = f"SELECT {_LEASE} FROM leases WHERE handle = :handle AND annotator = :annotator"
_CHAIN = """
SELECT answer_id, late, id_a, choice, strength, comment FROM answers
WHERE pair_id = :pair_id AND annotator = :annotator AND turn = :turn ORDER BY answer_id"""
_LATE = """
SELECT given, wanted, (SELECT count(*) FROM leases
    WHERE pair_id = :pair_id AND done = 0 AND turn = 0 AND ends > :now)
FROM tasks WHERE pair_id = :pair_id"""
_KEEP = """
INSERT INTO answers (corrects, pair_id, annotator, turn, id_a, id_b, choice, strength, comment, batch,
    shown, answered, key, handle, late, created)
VALUES (:corrects, :pair_id, :annotator, :turn, :id_a, :id_b, :choice, :strength, :comment, :batch,
    :shown, :answered, :key, :handle, :late, :created)
RETURNING answer_id"""
_DONE = "UPDATE leases SET done = 1 WHERE handle = :handle AND done = 0"
_GIVEN = """
UPDATE tasks SET given = (
    SELECT count(*) FROM answers f JOIN answers l ON l.answer_id = coalesce(
        (SELECT max(c.answer_id) FROM answers c WHERE c.corrects = f.answer_id), f.answer_id)
    WHERE f.pair_id = :pair_id AND f.turn = 0 AND f.corrects IS NULL
        AND l.late = 0 AND l.choice <> 'skip')
WHERE pair_id = :pair_id"""
_WANT = "UPDATE tasks SET wanted = :wanted WHERE pair_id = :pair_id AND wanted < :wanted"
_MINE = f"""
SELECT {_LEASE} FROM leases WHERE annotator = :annotator AND done = 0 AND ends > :now ORDER BY began"""
_FREE = """
SELECT place, pair_id, id_a, id_b, batch FROM tasks t
WHERE given < wanted AND place > :start
    AND given + (SELECT count(*) FROM leases l
        WHERE l.pair_id = t.pair_id AND l.done = 0 AND l.turn = 0 AND l.ends > :now) < wanted
    AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.pair_id = t.pair_id
        AND l.annotator = :annotator AND l.turn = 0 AND (l.done = 1 OR l.ends > :now))
    AND NOT EXISTS (SELECT 1 FROM answers a WHERE a.pair_id = t.pair_id
        AND a.annotator = :annotator AND a.turn = 0 AND a.corrects IS NULL)
ORDER BY place LIMIT :count"""
_LEND = f"""
INSERT INTO leases ({_LEASE}, done)
VALUES (:handle, :pair_id, :annotator, :turn, :id_a, :id_b, :batch, :began, :ends, 0)
ON CONFLICT (pair_id, annotator, turn) DO UPDATE SET began = excluded.began, ends = excluded.ends
RETURNING {_LEASE}"""
_RENEW = "UPDATE leases SET ends = :ends WHERE handle = :handle"
_ONCE = """
SELECT pair_id, id_a, id_b, batch FROM (
    SELECT pair_id, id_a, id_b, batch, turn, row_number() OVER (ORDER BY began DESC) AS age
    FROM leases WHERE annotator = :annotator AND done = 1) l
WHERE age > :after AND turn = 0 AND NOT EXISTS (SELECT 1 FROM leases r
    WHERE r.pair_id = l.pair_id AND r.annotator = :annotator AND r.turn > 0)
ORDER BY random() LIMIT 1"""


class Cursor(Protocol):
    """A driver's cursor."""

    def execute(self, statement: str, values: Any, /) -> Any:
        """Carry a statement out."""

    def fetchone(self) -> Any:
        """The next row, or None."""

    def fetchall(self) -> Sequence[Any]:
        """All rows."""


class Quick:
    """One transaction's statements.

    Args:
        cursor: a driver's; percent: whether it writes a value as ``%(name)s``, not ``:name``.
    """

    def __init__(self, cursor: Cursor, percent: bool) -> None:
        self._cursor, self._percent = cursor, percent

    def _run(self, statement: str, **values: Any) -> Cursor:
        if self._percent:
            statement = _with_percent(statement)
        self._cursor.execute(statement, values)
        return self._cursor

    def reply(self, annotator: str, one: Reply, now: float) -> Receipt:
        """See `LabelStore.reply`; whatever is refused is so before anything is written."""
        _check(one)
        known = self._run(_SENT, annotator=annotator, key=one.key).fetchone()
        if known is not None:
            return Receipt("late" if known[1] else "same", known[0])
        loan = self.lent(annotator, one.handle)
        if loan is None:
            raise UserError(
                "a reply is to a pair that was shown to you",
                "this one was not",
                "load the page again",
            )
        about = {"pair_id": loan.pair_id, "annotator": annotator, "turn": loan.turn}
        chain = [_Said(*row) for row in self._run(_CHAIN, **about).fetchall()]
        last = chain[-1] if chain else None
        if last is not None and last[2:] == (
            *(loan.id_a, one.choice),
            *(one.strength, one.comment or None),
        ):
            return Receipt("late" if last.late else "same", last.answer_id)
        if last is not None and not one.corrects:
            raise UserError(
                "a pair is answered once",
                "you have answered this one otherwise",
                "go back to it with u to change your answer",
            )
        late = bool(last.late) if last is not None else self._too_late(loan, now)
        made = self._keep(loan, one, chain[0].answer_id if chain else None, late, now)
        return Receipt("late" if late else "corrected" if chain else "new", made)

    def _keep(self, loan: Lease, one: Reply, corrects: int | None, late: bool, now: float) -> int:
        shown, answered = (None if t is None else stamp(t) for t in (one.shown, one.answered))
        made = self._run(
            _KEEP,
            corrects=corrects,
            **{n: getattr(loan, n) for n in ("pair_id", "annotator", "turn", "id_a", "id_b")},
            choice=one.choice,
            strength=one.strength,
            comment=one.comment or None,
            batch=loan.batch,
            shown=shown,
            answered=answered,
            key=one.key,
            handle=one.handle,
            late=int(late),
            created=stamp(now),
        ).fetchone()
        self._run(_DONE, handle=one.handle)
        if loan.turn == 0:
            self._run(_GIVEN, pair_id=loan.pair_id)
        return int(made[0])

    def _too_late(self, loan: Lease, now: float) -> bool:
        if loan.ends > now or loan.turn:
            return False
        task = self._run(_LATE, pair_id=loan.pair_id, now=now).fetchone()
        return task is not None and task[0] + task[2] >= task[1]

    def want(self, tasks: Sequence[Task]) -> None:
        """Of pairs in the queue, let more people answer those that want more than they did."""
        for task in tasks:
            if task.wanted > 1:
                self._run(_WANT, pair_id=task.pair_id, wanted=task.wanted)

    def lent(self, annotator: str, handle: str) -> Lease | None:
        """See `LabelStore.lent`."""
        row = self._run(_LENT, annotator=annotator, handle=handle).fetchone()
        return None if row is None else Lease(*row)

    def running(self, annotator: str, now: float) -> list[Lease]:
        """What is lent to one person and has not run out, in the order lent."""
        rows = self._run(_MINE, annotator=annotator, now=now).fetchall()
        return [Lease(*row) for row in rows]

    def free(self, annotator: str, count: int, now: float, start: int) -> Sequence[Row]:
        """Pairs that want another answer from this person: place, pair, its completions, batch."""
        values = {"annotator": annotator, "count": count, "now": now, "start": start}
        return self._run(_FREE, **values).fetchall()

    def lend_free(self, task: Row, annotator: str, now: float, seconds: float) -> Lease:
        """Lend one of `free`, in an order that is drawn."""
        _, pair_id, id_a, id_b, batch = task
        turned = _DRAW.random() < 0.5
        sides = (id_b, id_a) if turned else (id_a, id_b)
        return self._lend((pair_id, *sides, batch), 0, annotator, now, seconds)

    def lend_again(self, annotator: str, now: float, seconds: float) -> Lease | None:
        """Lend one of a person's earlier questions that has not been asked again, turned round."""
        values = {"annotator": annotator, "after": REPEAT_AFTER}
        once = self._run(_ONCE, **values).fetchone()
        if once is None:
            return None
        pair_id, id_a, id_b, batch = once
        return self._lend((pair_id, id_b, id_a, batch), 1, annotator, now, seconds)

    def _lend(self, pair: Row, turn: int, annotator: str, now: float, seconds: float) -> Lease:
        row = self._run(
            _LEND,
            **dict(zip(("pair_id", "id_a", "id_b", "batch"), pair, strict=True)),
            handle=secrets.token_urlsafe(12),
            annotator=annotator,
            turn=turn,
            began=now,
            ends=now + seconds,
        ).fetchone()
        return Lease(*row)

    def renew(self, lent: list[Lease], now: float, seconds: float) -> list[Lease]:
        """All of them until `now` + `seconds`, where a tenth of that has gone by."""
        ends, found = now + seconds, list[Lease]()
        for one in lent:
            old = one.ends < ends - 0.1 * seconds
            if old:
                self._run(_RENEW, handle=one.handle, ends=ends)
            found.append(replace(one, ends=ends) if old else one)
        return found


class _Said(NamedTuple):
    answer_id: int
    late: int
    id_a: str
    choice: str
    strength: int | None
    comment: str | None


def drawn(share: float) -> bool:
    """True so often."""
    return _DRAW.random() < share


_PERCENT: dict[str, str] = {}


def _with_percent(statement: str) -> str:
    found = _PERCENT.get(statement)
    if found is None:
        found = _PERCENT[statement] = re.sub(r":(\w+)", r"%(\1)s", statement)
    return found
