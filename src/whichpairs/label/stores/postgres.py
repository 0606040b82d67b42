"""A team's store: PostgreSQL, one schema a run."""

import re
import time
from collections.abc import Callable, Iterator

from sqlalchemy import Connection, Engine, QueuePool, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from whichpairs.errors import MissingExtraError, UserError
from whichpairs.label.stores.sql import Database, SqlStore

_ONE_WRITER = 0x77686963  # "whic": with the schema's own number, the lock of its writers


class PostgresStore(SqlStore):
    """A label store in PostgreSQL.

    Args:
        url: ``postgresql://USER@HOST/DATABASE``; a password is better in PGPASSWORD or ~/.pgpass.
        schema: of this run, lower-case letters, digits and underscores.
        clock: seconds since 1970.

    Raises:
        UserError: the URL is none, or psycopg is not installed.
    """

    def __init__(self, url: str, schema: str, *, clock: Callable[[], float] = time.time) -> None:
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", schema):
            raise UserError("a schema's name must be letters, digits and _", f"got {schema!r}")
        self._schema = schema
        try:
            self._engine = create_engine(
                make_url(url).set(drivername="postgresql+psycopg"),
                poolclass=QueuePool,
                pool_size=8,
                max_overflow=64,
                pool_pre_ping=True,
                connect_args={
                    "options": f"-csearch_path={schema} -csynchronous_commit=on",
                    "connect_timeout": 10,
                },
            )
        except ModuleNotFoundError as error:
            raise MissingExtraError(error.name or "psycopg", "serve") from None
        except (ArgumentError, ValueError):
            raise UserError(
                "a store's URL must be postgresql://USER@HOST/DATABASE", "this is none"
            ) from None
        place = self._engine.url.set(drivername="postgresql").render_as_string()
        where = Database(
            self._engine, place, self._write, lambda: True, "PostgreSQL says", _renumber
        )
        super().__init__(where, clock)

    def _write(self, engine: Engine) -> Iterator[Connection]:
        with engine.begin() as db:
            key = {"one": _ONE_WRITER, "other": self._schema}
            db.execute(text("SELECT pg_advisory_xact_lock(:one, hashtext(:other))"), key)
            if not self._ready:
                db.execute(text(f"CREATE SCHEMA IF NOT EXISTS {self._schema}"))
            yield db


def _renumber(db: Connection) -> None:
    for table, column in (("answers", "answer_id"), ("tasks", "place"), ("events", "event_id")):
        last = f"SELECT coalesce(max({column}), 0) + 1 FROM {table}"
        named = f"pg_get_serial_sequence('{table}', '{column}')"
        db.execute(text(f"SELECT setval({named}, ({last}), false)"))


def without_password(url: str) -> str:
    """The URL as it may be written down.

    Raises:
        UserError: it is none.
    """
    try:
        found = make_url(url)
    except (ArgumentError, ValueError):
        found = None
    if found is None or found.get_backend_name() != "postgresql" or not found.database:
        raise UserError("--store must be postgresql://USER@HOST/DATABASE", "got something else")
    return found.set(password=None).render_as_string()
