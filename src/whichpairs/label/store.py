"""The label store: one SQLite file a run. A label once accepted is never lost or rewritten.

Every insertion is one transaction with a full sync; the order shown as A and B is stored with the
answer; a tie is a tie.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from whichpairs.errors import UserError
from whichpairs.types import Label

_SCHEMA = """
CREATE TABLE IF NOT EXISTS labels (
    label_id    INTEGER PRIMARY KEY,
    pair_id     TEXT NOT NULL,
    id_a        TEXT NOT NULL,
    id_b        TEXT NOT NULL CHECK (id_b <> id_a),
    choice      TEXT NOT NULL CHECK (choice IN ('a', 'b', 'tie')),
    annotator   TEXT NOT NULL,
    batch       TEXT NOT NULL,
    probability REAL CHECK (probability BETWEEN 0 AND 1),
    created     TEXT NOT NULL,
    UNIQUE (pair_id, annotator)
) STRICT;
CREATE TABLE IF NOT EXISTS sources (
    annotator   TEXT PRIMARY KEY,
    settings    TEXT NOT NULL
) STRICT;
"""
Settings = dict[str, Any]
_FIELDS = "pair_id, id_a, id_b, choice, annotator, batch, probability"


class LabelStore:
    """The labels of one run.

    Args:
        path: the SQLite file; made at the first insertion.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, labels: Iterable[Label], sources: Mapping[str, Settings] | None = None) -> int:
        """Accept all of `labels` or none; returns how many were new.

        The same answer again is no new label.

        Args:
            sources: for an annotator that is a program, its settings; kept from the first time.

        Raises:
            UserError: an annotator already answered one of these pairs otherwise.
        """
        created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        new = 0
        with self._open() as db, db:
            for name, settings in (sources or {}).items():
                row = (name, json.dumps(settings, sort_keys=True))
                db.execute("INSERT OR IGNORE INTO sources VALUES (?, ?)", row)
            for label in labels:
                new += self._add_one(db, label, created)
        return new

    def _add_one(self, db: sqlite3.Connection, label: Label, created: str) -> int:
        old = db.execute(
            "SELECT id_a, choice FROM labels WHERE pair_id = ? AND annotator = ?",
            (label.pair_id, label.annotator),
        ).fetchone()
        if old is not None:
            if _winner(old[0], label.id_a, label.id_b, old[1]) == _winner(
                label.id_a, label.id_a, label.id_b, label.choice
            ):
                return 0
            raise UserError(
                "a label once accepted is not rewritten",
                f"{label.annotator} already answered pair {label.pair_id} otherwise",
                "give the new answer under another annotator name",
            )
        values = (label.pair_id, label.id_a, label.id_b, label.choice, label.annotator)
        db.execute(
            f"INSERT INTO labels ({_FIELDS}, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, label.batch, label.probability, created),
        )
        return 1

    def all(self) -> list[Label]:
        """Every label, in the order accepted."""
        if not self.path.exists():
            return []
        with self._open() as db:
            rows = db.execute(f"SELECT {_FIELDS} FROM labels ORDER BY label_id").fetchall()
        return [Label(*row) for row in rows]

    def sources(self) -> dict[str, Settings]:
        """Settings of the annotators that are programs."""
        if not self.path.exists():
            return {}
        with self._open() as db:
            rows = db.execute("SELECT annotator, settings FROM sources").fetchall()
        return {name: json.loads(settings) for name, settings in rows}

    def pair_ids(self) -> set[str]:
        """Ids of the pairs that have at least one label."""
        return {label.pair_id for label in self.all()}

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, isolation_level="DEFERRED")) as db:
                db.execute("PRAGMA synchronous = FULL")
                db.executescript(_SCHEMA)
                yield db
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"{self.path} must be a whole, writable label store", f"SQLite says: {error}"
            ) from error


def _winner(shown_a: str, id_a: str, id_b: str, choice: str) -> str | None:
    """The id that won when `shown_a` stood first; None for a tie."""
    if choice == "tie":
        return None
    other = id_b if shown_a == id_a else id_a
    return shown_a if choice == "a" else other
