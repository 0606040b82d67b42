"""A run's own store: one SQLite file, fully synced at every transaction."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import Connection, Engine, NullPool, QueuePool, create_engine, event

from whichpairs.label.stores.sql import Database, SqlStore

PATIENCE = 30.0
"""Seconds to wait for another process that writes."""


class SqliteStore(SqlStore):
    """A label store in a SQLite file, which is made at the first insertion.

    Args:
        path: the file.
        serving: keep connections, and a write-ahead log beside the file until `close`: one sync a
            transaction, and whoever reads waits for nobody.
        clock: seconds since 1970.
    """

    def __init__(
        self, path: Path, *, serving: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        self.path, self._serving = path, serving
        keep: dict[str, Any] = {"poolclass": QueuePool, "pool_size": 8, "max_overflow": 64}
        self._engine = create_engine(
            f"sqlite:///{path}",
            connect_args={"timeout": PATIENCE, "check_same_thread": False},
            **(keep if serving else {"poolclass": NullPool}),
        )
        event.listen(self._engine, "connect", self._prepare)
        event.listen(self._engine, "begin", _begin)
        self._writer = Lock()
        where = Database(self._engine, str(path), self._write, path.exists, "SQLite says")
        super().__init__(where, clock)

    def _prepare(self, connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions are begun by us, below
        connection.execute("PRAGMA synchronous = FULL")
        if self._serving:
            connection.execute("PRAGMA journal_mode = WAL")

    def _write(self, engine: Engine) -> Iterator[Connection]:
        # SQLite's own waiting is by naps; among threads of this process a lock is fairer and
        # faster.
        with (
            self._writer,
            engine.connect().execution_options(whichpairs_writes=True) as db,
            db.begin(),
        ):
            yield db

    def close(self) -> None:
        """Let go of connections; the log goes back into the file, where nobody else has it open."""
        super().close()
        if self._serving and self.path.exists():
            with suppress(sqlite3.Error), closing(sqlite3.connect(self.path, timeout=0.0)) as db:
                db.execute("PRAGMA journal_mode = DELETE")


def _begin(db: Connection) -> None:
    """A transaction that writes takes the file's lock at once: no deadlock on the way there."""
    writes = db.get_execution_options().get("whichpairs_writes", False)
    db.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
