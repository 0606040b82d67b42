"""Pairs lent to people, and what they say of them. Every function is one writer's transaction.

A pair's answers and the leases that run never exceed what it wants; a lease that runs out is one no
more, so that whoever vanishes keeps no pair. Its row stays: if the same person gets the pair again,
it is in the same order and under the same handle, and a reply that comes late is known for what it
is.
"""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, exists, func, insert, select, update

from whichpairs.errors import UserError
from whichpairs.label.stores.base import (
    MOST_COMMENT,
    SAID,
    STRENGTHS,
    Lease,
    Receipt,
    Reply,
    Task,
)
from whichpairs.label.stores.labels import given_to, recount, stamp
from whichpairs.label.stores.tables import ANSWERS, LEASES, TASKS

REPEAT_AFTER = 10
"""A repeat asks a pair that this person answered at least so many answers ago."""
_LEASE = [c for c in LEASES.c if c.name != "done"]
_DRAW = secrets.SystemRandom()


def ask(db: Connection, tasks: Sequence[Task]) -> int:
    """See `LabelStore.ask`."""
    known = set(db.execute(select(TASKS.c.pair_id)).scalars())
    fresh = list({task.pair_id: task for task in tasks if task.pair_id not in known}.values())
    given = given_to(db, [task.pair_id for task in fresh])
    rows = [
        {
            **{name: getattr(task, name) for name in ("pair_id", "id_a", "id_b", "batch")},
            "wanted": task.wanted,
            "given": given[task.pair_id],
        }
        for task in fresh
    ]
    if rows:
        db.execute(insert(TASKS), rows)
    return len(rows)


def lease(
    db: Connection,
    annotator: str,
    count: int,
    seconds: float,
    repeat: float,
    now: float,
    start: int,
) -> tuple[list[Lease], int]:
    """See `LabelStore.lease`.

    Args:
        start: a place of the queue before which there was nothing for this annotator.

    Returns:
        The leases; where to start next time.
    """
    mine = and_(LEASES.c.annotator == annotator, LEASES.c.done == 0)
    found = _running(db, mine, now)
    while len(found) < count and repeat > 0.0 and _DRAW.random() < repeat:
        again = _repeated(db, annotator)
        if again is None:
            break
        turned = (again.id_b, again.id_a)
        found.append(_lend(db, again, turned, annotator, 1, now, seconds))
    missing = count - len(found)
    if missing > 0:
        tasks = _free(db, annotator, missing, now, start)
        if len(tasks) < missing and start:  # what came back since
            tasks = _free(db, annotator, missing, now, 0)
        start = max((task.place for task in tasks), default=0)
        for task in tasks:
            sides = (task.id_a, task.id_b)
            shown = sides if _DRAW.random() < 0.5 else sides[::-1]
            found.append(_lend(db, task, shown, annotator, 0, now, seconds))
    ends = now + seconds
    old = [one.handle for one in found if one.ends < ends - 0.1 * seconds]
    if old:
        db.execute(update(LEASES).where(LEASES.c.handle.in_(old)).values(ends=ends))
    return [replace(one, ends=ends) if one.handle in old else one for one in found], start


def _running(db: Connection, mine: ColumnElement[bool], now: float) -> list[Lease]:
    """What is lent to one person and has not run out, in the order lent."""
    query = select(*_LEASE).where(mine, LEASES.c.ends > now).order_by(LEASES.c.began)
    return [Lease(*row) for row in db.execute(query)]


def _free(db: Connection, annotator: str, count: int, now: float, start: int) -> list[Row[Any]]:
    """Pairs that want another answer, that nobody is about to give, from somebody who has not
    answered."""
    held = (
        select(func.count())
        .where(LEASES.c.pair_id == TASKS.c.pair_id, LEASES.c.done == 0)
        .where(LEASES.c.turn == 0, LEASES.c.ends > now)
        .scalar_subquery()
    )
    done = exists().where(
        LEASES.c.pair_id == TASKS.c.pair_id,
        LEASES.c.annotator == annotator,
        LEASES.c.turn == 0,
        (LEASES.c.done == 1) | (LEASES.c.ends > now),
    )
    said = exists().where(
        ANSWERS.c.pair_id == TASKS.c.pair_id,
        ANSWERS.c.annotator == annotator,
        ANSWERS.c.turn == 0,
        ANSWERS.c.corrects.is_(None),
    )
    query = (
        select(TASKS)
        .where(TASKS.c.given < TASKS.c.wanted, TASKS.c.place > start)
        .where(TASKS.c.given + held < TASKS.c.wanted, ~done, ~said)
    )
    return list(db.execute(query.order_by(TASKS.c.place).limit(count)))


def _repeated(db: Connection, annotator: str) -> Row[Any] | None:
    """One of a person's earlier questions that has not been asked again."""
    theirs = (LEASES.c.annotator == annotator, LEASES.c.done == 1)
    asked = db.execute(select(LEASES).where(*theirs).order_by(LEASES.c.began)).all()
    again = {row.pair_id for row in asked if row.turn}
    lent = select(LEASES.c.pair_id).where(LEASES.c.annotator == annotator, LEASES.c.turn > 0)
    again |= set(db.execute(lent).scalars())
    once = [row for row in asked[:-REPEAT_AFTER] if row.turn == 0 and row.pair_id not in again]
    return _DRAW.choice(once) if once else None


def _lend(
    db: Connection,
    pair: Row[Any],
    shown: tuple[str, str],
    annotator: str,
    turn: int,
    now: float,
    seconds: float,
) -> Lease:
    """Write a lease down; one of the same pair to the same person that ran out runs again."""
    key = and_(
        LEASES.c.pair_id == pair.pair_id, LEASES.c.annotator == annotator, LEASES.c.turn == turn
    )
    old = db.execute(select(*_LEASE).where(key)).first()
    if old is not None:
        db.execute(update(LEASES).where(key).values(began=now, ends=now + seconds))
        return replace(Lease(*old), began=now, ends=now + seconds)
    one = Lease(
        *(secrets.token_urlsafe(12), pair.pair_id, annotator, turn, *shown, pair.batch),
        began=now,
        ends=now + seconds,
    )
    db.execute(insert(LEASES).values({c.name: getattr(one, c.name) for c in _LEASE} | {"done": 0}))
    return one


def lent(db: Connection, annotator: str, handle: str) -> Lease | None:
    """See `LabelStore.lent`."""
    query = select(*_LEASE).where(LEASES.c.handle == handle, LEASES.c.annotator == annotator)
    row = db.execute(query).first()
    return None if row is None else Lease(*row)


def give_back(db: Connection, annotator: str, now: float) -> int:
    """See `LabelStore.give_back`."""
    mine = (LEASES.c.annotator == annotator, LEASES.c.done == 0, LEASES.c.ends > now)
    return db.execute(update(LEASES).where(*mine).values(ends=now)).rowcount


def left(db: Connection) -> int:
    """See `LabelStore.left`."""
    missing = func.sum(TASKS.c.wanted - TASKS.c.given)
    query = select(func.coalesce(missing, 0)).where(TASKS.c.given < TASKS.c.wanted)
    return int(db.execute(query).scalar_one())


def reply(db: Connection, annotator: str, one: Reply, now: float) -> Receipt:
    """See `LabelStore.reply`."""
    _check(one)
    sent = (ANSWERS.c.annotator == annotator, ANSWERS.c.key == one.key)
    known = db.execute(select(ANSWERS.c.answer_id, ANSWERS.c.late).where(*sent)).first()
    if known is not None:
        return Receipt("late" if known.late else "same", known.answer_id)
    loan = lent(db, annotator, one.handle)
    if loan is None:
        raise UserError(
            "a reply is to a pair that was shown to you",
            "this one was not",
            "load the page again",
        )
    chain = _chain(db, loan)
    first, last = (chain[0], chain[-1]) if chain else (None, None)
    if last is not None and _says_the_same(last, one, loan):
        return Receipt("late" if last.late else "same", last.answer_id)
    if last is not None and not one.corrects:
        raise UserError(
            "a pair is answered once",
            "you have answered this one otherwise",
            "go back to it with u to change your answer",
        )
    late = bool(last.late) if last is not None else _too_late(db, loan, now)
    made = db.execute(
        insert(ANSWERS)
        .values(
            corrects=None if first is None else first.answer_id,
            **{n: getattr(loan, n) for n in ("pair_id", "annotator", "turn", "id_a", "id_b")},
            choice=one.choice,
            strength=one.strength,
            comment=one.comment or None,
            batch=loan.batch,
            shown=None if one.shown is None else stamp(one.shown),
            answered=None if one.answered is None else stamp(one.answered),
            key=one.key,
            handle=one.handle,
            late=int(late),
            created=stamp(now),
        )
        .returning(ANSWERS.c.answer_id)
    ).scalar_one()
    db.execute(update(LEASES).where(LEASES.c.handle == one.handle).values(done=1))
    if loan.turn == 0:
        recount(db, [loan.pair_id])
    return Receipt("late" if late else "new" if first is None else "corrected", made)


def _check(one: Reply) -> None:
    """Refuse a reply that breaks a rule."""
    if one.choice not in SAID:
        raise UserError(f"choice must be one of {', '.join(SAID)}", f"got {one.choice!r}")
    if one.strength is not None and (one.strength not in STRENGTHS or one.choice not in ("a", "b")):
        rule = (
            f"strength must be a whole number from {STRENGTHS[0]} to {STRENGTHS[-1]}, beside a or b"
        )
        raise UserError(rule, f"got {one.strength} beside {one.choice}")
    if one.comment is not None and (len(one.comment) > MOST_COMMENT or "\0" in one.comment):
        rule = f"a comment must have at most {MOST_COMMENT} characters, none of them null"
        raise UserError(rule, f"got {len(one.comment)}", "shorten it")
    if not 0 < len(one.key) <= 100 or not one.key.isascii() or not one.key.isprintable():
        raise UserError("key must be 1 to 100 printable characters", f"got {len(one.key)}")


def _chain(db: Connection, loan: Lease) -> list[Row[Any]]:
    """All that this person has said of this question."""
    query = select(ANSWERS).where(
        ANSWERS.c.pair_id == loan.pair_id,
        ANSWERS.c.annotator == loan.annotator,
        ANSWERS.c.turn == loan.turn,
    )
    return list(db.execute(query.order_by(ANSWERS.c.answer_id)))


def _says_the_same(row: Row[Any], one: Reply, loan: Lease) -> bool:
    said = (row.id_a, row.choice, row.strength, row.comment)
    return said == (loan.id_a, one.choice, one.strength, one.comment or None)


def _too_late(db: Connection, loan: Lease, now: float) -> bool:
    """Whether a lease has run out and its pair has, or is about to get, all the answers it
    wants."""
    if loan.ends > now or loan.turn:
        return False
    task = db.execute(select(TASKS).where(TASKS.c.pair_id == loan.pair_id)).first()
    others = select(func.count()).where(
        LEASES.c.pair_id == loan.pair_id,
        LEASES.c.done == 0,
        LEASES.c.turn == 0,
        LEASES.c.ends > now,
    )
    return task is not None and task.given + db.execute(others).scalar_one() >= task.wanted
