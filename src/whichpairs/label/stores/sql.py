"""A label store in any database that SQLAlchemy speaks to; what differs between them is in `sqlite`
and `postgres`.

One writer at a time: a transaction that writes holds the store's lock from its first statement, so
that what it has read still holds when it writes. A transaction that has returned is on disk.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection, Engine, insert, select
from sqlalchemy.exc import DBAPIError

from whichpairs.errors import UserError
from whichpairs.label.stores import labels, lending
from whichpairs.label.stores.base import Added, Answer, Event, Lease, Receipt, Reply, Settings, Task
from whichpairs.label.stores.migrations import migrate
from whichpairs.label.stores.tables import EVENTS, METADATA
from whichpairs.types import Label

_T = TypeVar("_T")


@dataclass(frozen=True)
class Database:
    """What a back-end gives.

    Attributes:
        engine: connections; place: for messages.
        lock: begins a transaction that writes, alone, and ends it.
        there: whether anything has been stored (a file that does not exist is not made by reading).
        says: the system's name before what it says of a failure.
        renumber: after rows with numbers of their own: the next number is above them.
    """

    engine: Engine
    place: str
    lock: Callable[[Engine], Iterator[Connection]]
    there: Callable[[], bool]
    says: str
    renumber: Callable[[Connection], None] = lambda db: None


class SqlStore:
    """The labels of one run in a database: see `LabelStore` for every method.

    Args:
        clock: seconds since 1970.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._db, self._clock = database, clock
        self._ready = False
        self._start: dict[str, int] = {}

    @property
    def place(self) -> str:
        """Where it is, as a message names it."""
        return self._db.place

    @contextmanager
    def _open(self, writes: bool) -> Iterator[Connection]:
        """A transaction; the tables are brought to the latest form before the first."""
        try:
            if not self._ready:
                with contextmanager(self._db.lock)(self._db.engine) as db:
                    migrate(db, self.place)
                self._ready = True
            if writes:
                with contextmanager(self._db.lock)(self._db.engine) as db:
                    yield db
            else:
                with self._db.engine.connect() as db:
                    yield db
        except DBAPIError as error:
            said = str(error.orig).strip().partition("\n")[0]
            raise UserError(
                f"{self.place} must be a whole, writable label store", f"{self._db.says}: {said}"
            ) from error

    def add(self, labels: Iterable[Label], sources: Mapping[str, Settings] | None = None) -> int:
        """`accept` without corrections; returns how many labels were new."""
        return self.accept(labels, sources).new

    def accept(
        self,
        labels_: Iterable[Label],
        sources: Mapping[str, Settings] | None = None,
        *,
        replace: bool = False,
    ) -> Added:
        """Accept all labels or none."""
        given = list(labels_)
        with self._open(True) as db:
            return labels.accept(db, given, sources or {}, replace, self._clock())

    def contradicted(self, labels_: Sequence[Label]) -> list[int]:
        """Which labels their annotator has answered otherwise."""
        if not self._db.there():
            return labels.contradicted(None, labels_)
        with self._open(False) as db:
            return labels.contradicted(db, labels_)

    def history(self) -> list[Label]:
        """Every label ever accepted."""
        return self._read(labels.history, [])

    def all(self) -> list[Label]:
        """Every label as it stands."""
        return self._read(labels.current, [])

    def answers(self) -> list[Answer]:
        """Every row."""
        return self._read(labels.every_answer, [])

    def sources(self) -> dict[str, Settings]:
        """Settings of the annotators that are programs."""
        return self._read(labels.read_sources, {})

    def pair_ids(self) -> set[str]:
        """Ids of the pairs that have at least one label."""
        return {label.pair_id for label in self.all()}

    def ask(self, tasks: Sequence[Task]) -> int:
        """Put pairs at the end of the queue."""
        with self._open(True) as db:
            return lending.ask(db, tasks)

    def lease(
        self, annotator: str, count: int, seconds: float, *, repeat: float = 0.0
    ) -> list[Lease]:
        """Up to `count` pairs for an annotator."""
        start = self._start.get(annotator, 0)
        with self._open(True) as db:
            found, place = lending.lease(
                db, annotator, count, seconds, repeat, self._clock(), start
            )
        self._start[annotator] = place
        return found

    def lent(self, annotator: str, handle: str) -> Lease | None:
        """What a handle stands for."""
        with self._open(False) as db:
            return lending.lent(db, annotator, handle)

    def reply(self, annotator: str, reply: Reply) -> Receipt:
        """Keep a reply."""
        with self._open(True) as db:
            return lending.reply(db, annotator, reply, self._clock())

    def give_back(self, annotator: str) -> int:
        """All that is lent to an annotator comes back now."""
        with self._open(True) as db:
            return lending.give_back(db, annotator, self._clock())

    def left(self) -> int:
        """Answers that the queue still waits for."""
        return self._read(lending.left, 0)

    def note(self, kind: str, annotator: str | None = None, data: Settings | None = None) -> None:
        """Write an event down."""
        row = {"kind": kind, "annotator": annotator, "data": json.dumps(data or {})}
        with self._open(True) as db:
            db.execute(insert(EVENTS).values(created=labels.stamp(self._clock()), **row))

    def events(self, *kinds: str) -> list[Event]:
        """Events, in order."""

        def read(db: Connection) -> list[Event]:
            query = select(EVENTS).order_by(EVENTS.c.event_id)
            rows = db.execute(query.where(EVENTS.c.kind.in_(kinds)) if kinds else query)
            return [
                Event(row.event_id, row.kind, row.annotator, json.loads(row.data), row.created)
                for row in rows
            ]

        return self._read(read, [])

    def _read(self, read: Callable[[Connection], _T], nothing: _T) -> _T:
        if not self._db.there():
            return nothing
        with self._open(False) as db:
            return read(db)

    def copy_to(self, other: "SqlStore") -> None:
        """Copy every row to a store that has none, all or none."""
        with self._open(False) as db, other._open(True) as there:
            for table in METADATA.sorted_tables:
                rows = [dict(row) for row in db.execute(select(table)).mappings()]
                if rows:
                    there.execute(insert(table), rows)
            other._db.renumber(there)

    def close(self) -> None:
        """Let go of connections."""
        self._db.engine.dispose()
