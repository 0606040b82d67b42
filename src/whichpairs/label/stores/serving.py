"""The store behind a labelling page: the same rows, an answer and the next pair in one transaction,
and one sync for all who wait.

`LabelStore` as `sqlite` and `postgres` keep it is there for a command that writes now and then.
Fifty people at once want more: replies and leases go by plain statements (`quick`) in shared
transactions (`together`).
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from whichpairs.errors import UserError
from whichpairs.label.stores.base import (
    Added,
    Answer,
    Event,
    LabelStore,
    Lease,
    Receipt,
    Reply,
    Settings,
    Task,
)
from whichpairs.label.stores.place import open_store
from whichpairs.label.stores.quick import Quick, Row, drawn
from whichpairs.label.stores.sql import SqlStore
from whichpairs.label.stores.together import Together
from whichpairs.types import Label

IDLE_COMMITS, MOST_PAGES = 300, 16_000
"""SQLite's log goes into the file after so many commits, when nobody waits; at so many pages
whoever waits."""
RESTS, NOTICED = 10.0, 0.02
"""A search of the whole queue that found too little and took more than `NOTICED` seconds is not
made again for `RESTS` times as long as it took."""


class ServedStore(LabelStore, Protocol):
    """A label store that takes an answer and gives what follows at once."""

    def answer(
        self, annotator: str, reply: Reply, count: int, seconds: float, *, repeat: float = 0.0
    ) -> tuple[Receipt, list[Lease]]:
        """`reply`, and then `lease`, both or none; on disk when this returns.

        Raises:
            UserError: see `reply`; nothing is lent then.
        """


class ServingStore:
    """A store's rows, for a page with many people.

    Args:
        store: whose rows; closed with this one.
        clock: seconds since 1970.
    """

    def __init__(self, store: SqlStore, clock: Callable[[], float] = time.time) -> None:
        self._store, self._clock = store, clock
        self._together = Together(self._transaction, self._idle)
        self._start: dict[str, int] = {}
        self._rests: dict[str, float] = {}
        self._sqlite, self._commits, self._transactions = False, 0, 0

    @contextmanager
    def _transaction(self) -> Iterator[Quick]:
        with self._store._open(True) as db:
            cursor, dbapi = db.connection.cursor(), db.dialect.loaded_dbapi
            self._sqlite = db.dialect.name == "sqlite"
            self._transactions += 1
            try:
                if self._sqlite:
                    cursor.execute(f"PRAGMA wal_autocheckpoint = {MOST_PAGES}")
                yield Quick(cursor, not self._sqlite)
            except dbapi.Error as error:
                said = str(error).strip().partition("\n")[0]
                raise UserError(
                    f"{self.place} must be a whole, writable label store",
                    f"{self._store._db.says}: {said}",
                ) from error
            finally:
                cursor.close()
        self._commits += 1

    def _idle(self) -> None:
        """Bring SQLite's log into its file while nobody waits for the disk."""
        if self._sqlite and self._commits >= IDLE_COMMITS:
            self._commits = 0
            with self._store._open(False) as db:
                db.connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")

    @property
    def place(self) -> str:
        """Where it is, as a message names it."""
        return self._store.place

    def answer(
        self, annotator: str, reply: Reply, count: int, seconds: float, *, repeat: float = 0.0
    ) -> tuple[Receipt, list[Lease]]:
        """A reply, and then what is lent."""

        def work(quick: Quick) -> tuple[Receipt, list[Lease]]:
            receipt = quick.reply(annotator, reply, self._clock())
            return receipt, self._lease(quick, annotator, count, seconds, repeat)

        return self._together.do(work)

    def reply(self, annotator: str, reply: Reply) -> Receipt:
        """Keep a reply."""
        return self._together.do(lambda quick: quick.reply(annotator, reply, self._clock()))

    def lease(
        self, annotator: str, count: int, seconds: float, *, repeat: float = 0.0
    ) -> list[Lease]:
        """Up to `count` pairs for an annotator."""
        return self._together.do(
            lambda quick: self._lease(quick, annotator, count, seconds, repeat)
        )

    def _lease(
        self, quick: Quick, annotator: str, count: int, seconds: float, repeat: float
    ) -> list[Lease]:
        now = self._clock()
        found = quick.renew(quick.running(annotator, now), now, seconds)
        while len(found) < count and repeat > 0.0 and drawn(repeat):
            again = quick.lend_again(annotator, now, seconds)
            if again is None:
                break
            found.append(again)
        missing = count - len(found)
        if missing > 0:
            for task in self._free(quick, annotator, missing, now):
                found.append(quick.lend_free(task, annotator, now, seconds))
        return found

    def _free(self, quick: Quick, annotator: str, count: int, now: float) -> Sequence[Row]:
        """Pairs for an annotator: behind the last that they got, or where those are too few, all
        there are."""
        start = self._start.get(annotator, 0)
        found: Sequence[Row] = ()
        if start:
            found = quick.free(annotator, count, now, start)
        began = time.monotonic()
        if len(found) < count and began >= self._rests.get(annotator, 0.0):
            found = quick.free(annotator, count, now, 0)
            took = time.monotonic() - began
            if len(found) < count and took > NOTICED:
                self._rests[annotator] = time.monotonic() + RESTS * took
        self._start[annotator] = max((int(task[0]) for task in found), default=0)
        return found

    def ask(self, tasks: Sequence[Task]) -> int:
        """Put pairs at the end of the queue; those that are there keep their place, and may want
        more answers."""
        new = self._store.ask(tasks)
        self._together.do(lambda quick: quick.want(tasks))
        self._rests.clear()
        return new

    def give_back(self, annotator: str) -> int:
        """All that is lent to an annotator comes back now."""
        self._rests.clear()
        return self._store.give_back(annotator)

    def add(self, labels: Iterable[Label], sources: Mapping[str, Settings] | None = None) -> int:
        """`accept` without corrections."""
        return self._store.add(labels, sources)

    def accept(
        self,
        labels: Iterable[Label],
        sources: Mapping[str, Settings] | None = None,
        *,
        replace: bool = False,
    ) -> Added:
        """Accept all labels or none."""
        return self._store.accept(labels, sources, replace=replace)

    def contradicted(self, labels: Sequence[Label]) -> list[int]:
        """Which labels their annotator has answered otherwise."""
        return self._store.contradicted(labels)

    def all(self) -> list[Label]:
        """Every label as it stands."""
        return self._store.all()

    def history(self) -> list[Label]:
        """Every label ever accepted."""
        return self._store.history()

    def answers(self) -> list[Answer]:
        """Every row."""
        return self._store.answers()

    def sources(self) -> dict[str, Settings]:
        """Settings of the annotators that are programs."""
        return self._store.sources()

    def pair_ids(self) -> set[str]:
        """Ids of the pairs that have at least one label."""
        return self._store.pair_ids()

    def lent(self, annotator: str, handle: str) -> Lease | None:
        """What a handle stands for."""
        return self._store.lent(annotator, handle)

    def left(self) -> int:
        """Answers that the queue still waits for."""
        return self._store.left()

    def note(self, kind: str, annotator: str | None = None, data: Settings | None = None) -> None:
        """Write an event down."""
        self._store.note(kind, annotator, data)

    def events(self, *kinds: str) -> list[Event]:
        """Events, in order."""
        return self._store.events(*kinds)

    def close(self) -> None:
        """Finish what waits, then let go of connections."""
        self._together.close()
        self._store.close()


def open_serving(root: Path) -> ServingStore:
    """The store of the run at `root`, for a page.

    Raises:
        UserError: see `open_store`.
    """
    store = open_store(root, serving=True)
    assert isinstance(store, SqlStore)
    return ServingStore(store)
