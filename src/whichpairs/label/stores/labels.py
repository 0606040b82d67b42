"""Labels in a store: accepted all or none, read as they stand, and their whole history."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from sqlalchemy import Connection, Row, func, insert, select, update

from whichpairs.errors import UserError
from whichpairs.label.stores.base import Added, Answer, Settings
from whichpairs.label.stores.tables import ANSWERS, SOURCES, TASKS
from whichpairs.types import Choice, Label

_AT_ONCE = 400
"""Values in one statement: SQLite takes 32 766, PostgreSQL 65 535."""
_Said = tuple[str | None, float | None]
_Key = tuple[str, str]
_T = TypeVar("_T")


def stamp(seconds: float) -> str:
    """A time as the store writes it: UTC, ISO 8601, milliseconds."""
    when = datetime.fromtimestamp(seconds, UTC)
    return when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}Z"


@dataclass
class _Chain:
    """What an annotator has said of a pair: its first answer's number, all that was said, and
    whether the last is a label."""

    first: int | None
    said: list[_Said]
    label: bool

    def kind(self, label: Label) -> Literal["new", "same", "other", "outdated"]:
        """How an answer relates to what stands."""
        if not self.label:
            return "new"
        now = said(label)
        return "same" if self.said[-1] == now else "outdated" if now in self.said else "other"


def accept(
    db: Connection,
    labels: Sequence[Label],
    sources: Mapping[str, Settings],
    replace: bool,
    now: float,
) -> Added:
    """See `LabelStore.accept`."""
    added, last = Added(), {_key(label): said(label) for label in labels}
    known = set(read_sources(db))
    for name in sources.keys() - known:
        row = {"annotator": name, "settings": json.dumps(sources[name], sort_keys=True)}
        db.execute(insert(SOURCES).values(row))
    chains, rows = _chains(db, labels), list[dict[str, Any]]()

    def keep() -> None:
        for some in _parts(rows, _AT_ONCE * 10):
            db.execute(insert(ANSWERS), list(some))
        rows.clear()

    for label in labels:
        chain = chains.setdefault(_key(label), _Chain(None, [], False))
        kind: str = chain.kind(label)
        if kind in {"other", "outdated"} and replace:
            kind = "same" if chain.said[-1] == last[_key(label)] else "replaced"
        if kind == "other":
            raise UserError(
                "a label once accepted is not rewritten",
                f"{label.annotator} already answered pair {label.pair_id} otherwise",
                "give the new answer under another annotator name",
            )
        if kind in {"new", "replaced"}:
            if chain.said and chain.first is None:  # it is among the rows that wait
                keep()
                chain.first = _chains(db, [label])[_key(label)].first
            rows.append(_row(label, chain.first, now))
            chain.said.append(said(label))
            chain.label = True
        setattr(added, kind, getattr(added, kind) + 1)
    keep()
    if added.new + added.replaced:
        recount(db, {label.pair_id for label in labels})
    return added


def contradicted(db: Connection | None, labels: Sequence[Label]) -> list[int]:
    """See `LabelStore.contradicted`; without a connection nothing has been answered yet."""
    chains = {} if db is None else _chains(db, labels)
    first, found = dict[_Key, _Said](), list[int]()
    for place, label in enumerate(labels):
        chain = chains.get(_key(label))
        stands = chain.said[-1] if chain is not None and chain.label else None
        old = stands if stands is not None else first.setdefault(_key(label), said(label))
        outdated = chain is not None and chain.kind(label) == "outdated"
        if old != said(label) and not outdated:
            found.append(place)
    return found


def current(db: Connection) -> list[Label]:
    """See `LabelStore.all`."""
    first, last = ANSWERS.alias("first"), ANSWERS.alias("last")
    later = select(func.max(ANSWERS.c.answer_id)).where(ANSWERS.c.corrects == first.c.answer_id)
    on = last.c.answer_id == func.coalesce(later.scalar_subquery(), first.c.answer_id)
    rows = db.execute(
        select(last)
        .join_from(first, last, on)
        .where(first.c.corrects.is_(None), first.c.turn == 0)
        .order_by(first.c.answer_id)
    )
    return [as_label(row) for row in rows if is_label(row)]


def history(db: Connection) -> list[Label]:
    """See `LabelStore.history`."""
    chain = func.coalesce(ANSWERS.c.corrects, ANSWERS.c.answer_id)
    query = select(ANSWERS).where(ANSWERS.c.turn == 0).order_by(chain, ANSWERS.c.answer_id)
    return [as_label(row) for row in db.execute(query) if is_label(row)]


def every_answer(db: Connection) -> list[Answer]:
    """See `LabelStore.answers`."""
    rows = db.execute(select(ANSWERS).order_by(ANSWERS.c.answer_id)).mappings()
    return [Answer(**{**row, "late": bool(row["late"])}) for row in rows]


def read_sources(db: Connection) -> dict[str, Settings]:
    """See `LabelStore.sources`."""
    return {name: json.loads(settings) for name, settings in db.execute(select(SOURCES))}


def recount(db: Connection, pair_ids: Iterable[str]) -> None:
    """Bring up to date how many labels each of these pairs has, where it is in the queue."""
    for some in _parts(sorted(pair_ids), _AT_ONCE):
        asked = select(TASKS.c.pair_id, TASKS.c.given).where(TASKS.c.pair_id.in_(some))
        before = {row.pair_id: row.given for row in db.execute(asked)}
        for pair_id, given in _given(db, list(before)).items():
            if given != before[pair_id]:
                change = update(TASKS).where(TASKS.c.pair_id == pair_id).values(given=given)
                db.execute(change)


def given_to(db: Connection, pair_ids: Iterable[str]) -> dict[str, int]:
    """How many labels each of these pairs has."""
    found: dict[str, int] = {}
    for some in _parts(sorted(pair_ids), _AT_ONCE):
        found |= _given(db, some)
    return found


def _given(db: Connection, pair_ids: Sequence[str]) -> dict[str, int]:
    count, stands = dict.fromkeys(pair_ids, 0), dict[int, Row[Any]]()
    query = select(ANSWERS).where(ANSWERS.c.pair_id.in_(pair_ids), ANSWERS.c.turn == 0)
    for row in db.execute(query.order_by(ANSWERS.c.answer_id)):
        stands[row.answer_id if row.corrects is None else row.corrects] = row
    for row in stands.values():
        count[row.pair_id] += is_label(row)
    return count


def _parts(rows: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    for k in range(0, len(rows), size):
        yield rows[k : k + size]


def is_label(row: Row[Any]) -> bool:
    """Whether a row of answers is a label."""
    return not row.late and row.choice != "skip"


def as_label(row: Row[Any]) -> Label:
    """A row of answers as what is fitted: "both bad" is a tie with a mark."""
    both_bad = row.choice == "both_bad"
    choice: Choice = "tie" if both_bad else row.choice
    return Label(
        row.pair_id,
        row.id_a,
        row.id_b,
        choice,
        row.annotator,
        row.batch,
        row.probability,
        both_bad,
        row.strength,
    )


def said(label: Label) -> _Said:
    """The id that won (None for a tie), and P(the smaller id preferred), whatever stood first."""
    p, first = label.probability, label.id_a < label.id_b
    won = {"a": label.id_a, "b": label.id_b, "tie": None}[label.choice]
    return won, None if p is None else round(p if first else 1.0 - p, 12)


def _key(label: Label) -> _Key:
    return label.pair_id, label.annotator


def _row(label: Label, corrects: int | None, now: float) -> dict[str, Any]:
    names = ("pair_id", "annotator", "id_a", "id_b", "probability", "strength", "batch")
    choice = "both_bad" if label.both_bad else label.choice
    more = {"corrects": corrects, "turn": 0, "choice": choice, "late": 0, "created": stamp(now)}
    return {name: getattr(label, name) for name in names} | more


def _chains(db: Connection, labels: Sequence[Label]) -> dict[_Key, _Chain]:
    """What was said before, of the pairs and by the annotators of `labels`."""
    wanted, found = {_key(label) for label in labels}, dict[_Key, _Chain]()
    for some in _parts(sorted({label.pair_id for label in labels}), _AT_ONCE):
        query = select(ANSWERS).where(ANSWERS.c.pair_id.in_(some), ANSWERS.c.turn == 0)
        for row in db.execute(query.order_by(ANSWERS.c.answer_id)):
            if (row.pair_id, row.annotator) in wanted:
                new = _Chain(row.answer_id, [], False)
                chain = found.setdefault((row.pair_id, row.annotator), new)
                chain.label = is_label(row)
                if row.choice != "skip":
                    chain.said.append(said(as_label(row)))
    return found
