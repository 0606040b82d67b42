"""The label store: one SQLite file a run. A label once accepted is never lost or rewritten.

Every insertion is one transaction with a full sync; the order shown as A and B is stored with the
answer; a tie is a tie. A correction stands beside what it supersedes, which stays.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
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
CREATE TABLE IF NOT EXISTS corrections (
    correction_id INTEGER PRIMARY KEY,
    label_id    INTEGER NOT NULL REFERENCES labels,
    id_a        TEXT NOT NULL,
    id_b        TEXT NOT NULL CHECK (id_b <> id_a),
    choice      TEXT NOT NULL CHECK (choice IN ('a', 'b', 'tie')),
    probability REAL CHECK (probability BETWEEN 0 AND 1),
    created     TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS correction_of ON corrections (label_id, correction_id);
CREATE TABLE IF NOT EXISTS sources (
    annotator   TEXT PRIMARY KEY,
    settings    TEXT NOT NULL
) STRICT;
"""
Settings = dict[str, Any]
_FIELDS = "pair_id, id_a, id_b, choice, annotator, batch, probability"
_NOW = """
SELECT l.pair_id, coalesce(c.id_a, l.id_a), coalesce(c.id_b, l.id_b), coalesce(c.choice, l.choice),
    l.annotator, l.batch, CASE WHEN c.label_id IS NULL THEN l.probability ELSE c.probability END
FROM labels l LEFT JOIN corrections c ON c.correction_id =
    (SELECT max(correction_id) FROM corrections WHERE label_id = l.label_id)
ORDER BY l.label_id
"""
_HISTORY = """
SELECT id_a, id_b, choice, probability FROM (
    SELECT 0 AS turn, id_a, id_b, choice, probability FROM labels
    WHERE pair_id = ? AND annotator = ?
    UNION ALL
    SELECT c.correction_id, c.id_a, c.id_b, c.choice, c.probability
    FROM corrections c JOIN labels l USING (label_id) WHERE l.pair_id = ? AND l.annotator = ?
) ORDER BY turn
"""


@dataclass
class Added:
    """What became of labels that were handed in.

    Attributes:
        new: pairs that this annotator had not answered; same: answers that were there.
        replaced: corrections; outdated: answers that a correction had superseded, left as they are.
    """

    new: int = 0
    same: int = 0
    replaced: int = 0
    outdated: int = 0


class LabelStore:
    """The labels of one run.

    Args:
        path: the SQLite file; made at the first insertion.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, labels: Iterable[Label], sources: Mapping[str, Settings] | None = None) -> int:
        """`accept` without corrections; returns how many labels were new."""
        return self.accept(labels, sources).new

    def accept(
        self,
        labels: Iterable[Label],
        sources: Mapping[str, Settings] | None = None,
        *,
        replace: bool = False,
    ) -> Added:
        """Accept all of `labels` or none.

        The same answer again is no new label. An answer that a correction superseded changes nothing
        when it is handed in again (unless `replace`).

        Args:
            sources: for an annotator that is a program, its settings; kept from the first time.
            replace: another answer of the same annotator supersedes the one before; both are kept.

        Raises:
            UserError: an annotator already answered one of these pairs otherwise, and not `replace`.
        """
        created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        labels, added = list(labels), Added()
        last = {_key(label): _said(label) for label in labels}
        with self._open() as db, db:
            for name, settings in (sources or {}).items():
                row = (name, json.dumps(settings, sort_keys=True))
                db.execute("INSERT OR IGNORE INTO sources VALUES (?, ?)", row)
            for label in labels:
                kind, now = _state(db, label)
                if kind in {"other", "outdated"} and replace:
                    kind = "same" if now == last[_key(label)] else "replaced"
                if kind == "other":
                    raise UserError(
                        "a label once accepted is not rewritten",
                        f"{label.annotator} already answered pair {label.pair_id} otherwise",
                        "give the new answer under another annotator name",
                    )
                if kind == "new":
                    _insert(db, label, created)
                elif kind == "replaced":
                    _correct(db, label, created)
                setattr(added, kind, getattr(added, kind) + 1)
        return added

    def contradicted(self, labels: Sequence[Label]) -> list[int]:
        """Which of `labels` their annotator has answered otherwise, here or earlier among them."""
        known = {_key(label): label for label in self.all()}
        found = []
        with self._open() as db:
            for place, label in enumerate(labels):
                old = known.setdefault(_key(label), label)
                if _said(old) != _said(label) and _state(db, label)[0] != "outdated":
                    found.append(place)
        return found

    def history(self) -> list[Label]:
        """Every answer ever accepted, superseded ones included, each label's together."""
        if not self.path.exists():
            return []
        with self._open() as db:
            rows = db.execute(
                f"SELECT {_FIELDS} FROM (SELECT label_id, 0 AS turn, {_FIELDS} FROM labels UNION ALL"
                " SELECT label_id, correction_id, l.pair_id, c.id_a, c.id_b, c.choice, l.annotator,"
                " l.batch, c.probability FROM corrections c JOIN labels l USING (label_id))"
                " ORDER BY label_id, turn"
            ).fetchall()
        return [Label(*row) for row in rows]

    def all(self) -> list[Label]:
        """Every label as it stands, in the order first accepted."""
        if not self.path.exists():
            return []
        with self._open() as db:
            rows = db.execute(_NOW).fetchall()
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


_Said = tuple[str | None, float | None]


def _state(db: sqlite3.Connection, label: Label) -> tuple[str, _Said | None]:
    """What stands for this pair and annotator, and how `label` relates to it: ``new``, ``same``,
    ``outdated`` (the same as what was superseded), or ``other``."""
    history = db.execute(_HISTORY, (*_key(label), *_key(label))).fetchall()
    said = [
        _said(replace(label, id_a=a, id_b=b, choice=c, probability=p)) for a, b, c, p in history
    ]
    if not said:
        return "new", None
    kind = "same" if said[-1] == _said(label) else "outdated" if _said(label) in said else "other"
    return kind, said[-1]


def _key(label: Label) -> tuple[str, str]:
    return label.pair_id, label.annotator


def _said(label: Label) -> _Said:
    """The id that won (None for a tie), and P(the smaller id preferred), whatever stood first."""
    p, first = label.probability, label.id_a < label.id_b
    won = {"a": label.id_a, "b": label.id_b, "tie": None}[label.choice]
    return won, None if p is None else round(p if first else 1.0 - p, 12)


def _insert(db: sqlite3.Connection, label: Label, created: str) -> None:
    values = (label.pair_id, label.id_a, label.id_b, label.choice, label.annotator)
    db.execute(
        f"INSERT INTO labels ({_FIELDS}, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (*values, label.batch, label.probability, created),
    )


def _correct(db: sqlite3.Connection, label: Label, created: str) -> None:
    said = (label.id_a, label.id_b, label.choice, label.probability, created)
    db.execute(
        "INSERT INTO corrections (label_id, id_a, id_b, choice, probability, created)"
        " SELECT label_id, ?, ?, ?, ?, ? FROM labels WHERE pair_id = ? AND annotator = ?",
        (*said, *_key(label)),
    )
