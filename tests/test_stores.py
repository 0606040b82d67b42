"""What every label store must hold, whatever is behind it: SQLite, and PostgreSQL where its server is.

Threads, processes and kills included; the clock is the test's.
"""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect

from whichpairs.errors import UserError
from whichpairs.label.stores.base import LabelStore, Reply, Task
from whichpairs.label.stores.place import move_to, open_store
from whichpairs.label.stores.postgres import PostgresStore
from whichpairs.label.stores.serving import ServingStore
from whichpairs.label.stores.sql import SqlStore
from whichpairs.label.stores.sqlite import SqliteStore
from whichpairs.label.stores.tables import METADATA
from whichpairs.types import Label

Make = Callable[..., Any]


class Clock:
    """Seconds since 1970, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["sqlite", "postgres", "serving", "serving postgres"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Opens the test's own store, again and again."""
    made = list[Any]()
    serving, postgres = "serving" in request.param, "postgres" in request.param
    url = request.getfixturevalue("postgres") if postgres else ""

    def opened(clock: Callable[[], float] = time.time) -> Any:
        store: SqlStore
        if postgres:
            store = PostgresStore(url, f"s{abs(hash(str(tmp_path)))}", clock=clock)
        else:
            store = SqliteStore(tmp_path / "x.sqlite", serving=serving, clock=clock)
        made.append(ServingStore(store, clock) if serving else store)
        return made[-1]

    yield opened
    for store in made:
        store.close()


def plain(store: Any) -> SqlStore:
    """The store without what serves it."""
    return store._store if isinstance(store, ServingStore) else store  # type: ignore[no-any-return]


def tasks(count: int, wanted: int = 1) -> list[Task]:
    return [Task(f"q{k}", f"x{k}", f"y{k}", "001", wanted) for k in range(count)]


def say(store: LabelStore, name: str, choice: str = "a", **more: object) -> str:
    """An annotator's next answer; the pair."""
    one = store.lease(name, 1, 60.0)[0]
    store.reply(name, Reply(one.handle, f"k{one.handle}", choice, **more))  # type: ignore[arg-type]
    return one.pair_id


def test_an_answer_is_kept_with_all_it_says(make: Make) -> None:
    clock = Clock()
    store = make(clock)
    assert store.ask(tasks(2)) == 2
    assert store.ask(tasks(3)) == 1  # those that are there keep their place
    assert store.left() == 3
    one = store.lease("ann", 1, 60.0)[0]
    assert {one.id_a, one.id_b} == {"x0", "y0"}
    reply = Reply(one.handle, "key", "b", 3, "so much better", clock.now - 8.5, clock.now - 1)
    assert store.reply("ann", reply).kept == "new"
    (row,) = make().answers()
    assert (row.pair_id, row.annotator, row.turn, row.batch) == ("q0", "ann", 0, "001")
    assert (row.id_a, row.id_b, row.choice, row.strength) == (one.id_a, one.id_b, "b", 3)
    assert (row.comment, row.key, row.handle) == ("so much better", "key", one.handle)
    assert (row.shown, row.answered, row.created) == (
        "2023-11-14T22:13:11.500Z",
        "2023-11-14T22:13:19.000Z",
        "2023-11-14T22:13:20.000Z",
    )
    assert store.all() == [Label("q0", one.id_a, one.id_b, "b", "ann", "001", strength=3)]
    assert store.left() == 2
    assert store.lent("ann", one.handle) is not None
    assert store.lent("bob", one.handle) is None


def test_both_bad_is_a_tie_with_a_mark_and_a_skip_no_label(make: Make) -> None:
    store = make()
    store.ask(tasks(3))
    said = {say(store, "ann", choice): choice for choice in ("both_bad", "skip", "tie")}
    found = {x.pair_id: (x.choice, x.both_bad) for x in store.all()}
    assert {said[k]: v for k, v in found.items()} == {
        "both_bad": ("tie", True),
        "tie": ("tie", False),
    }
    assert store.left() == 1
    assert store.lease("ann", 5, 60.0) == []  # a skipped pair does not come again
    assert [one.pair_id for one in store.lease("bob", 5, 60.0)] == ["q1"]


def test_a_reply_sent_again_counts_once_and_a_correction_supersedes(make: Make) -> None:
    store = make()
    store.ask(tasks(1))
    one = store.lease("ann", 1, 60.0)[0]
    first = Reply(one.handle, "k1", "a")
    assert [store.reply("ann", first).kept for _ in range(3)] == ["new", "same", "same"]
    other = Reply(one.handle, "k2", "b", comment="on second thoughts")
    with pytest.raises(UserError, match="a pair is answered once"):
        store.reply("ann", other)
    assert store.reply("ann", replace(other, corrects=True)).kept == "corrected"
    assert store.reply("ann", first).kept == "same"  # late on the wire: it changes nothing
    assert [x.choice for x in store.all()] == ["b"]
    assert [x.choice for x in store.history()] == ["a", "b"]
    assert [(x.corrects, x.choice) for x in store.answers()] == [(None, "a"), (1, "b")]
    to_skip = Reply(one.handle, "k3", "skip", corrects=True)
    assert store.reply("ann", to_skip).kept == "corrected"
    assert store.all() == []
    assert store.left() == 1


def test_nobody_gets_a_pair_twice_and_no_pair_too_many_people(make: Make) -> None:
    store = make()
    store.ask(tasks(4, wanted=2))
    names = ["ann", "bob", "cyd"]
    got = {name: [one.pair_id for one in store.lease(name, 4, 60.0)] for name in names}
    assert got == {"ann": ["q0", "q1", "q2", "q3"], "bob": ["q0", "q1", "q2", "q3"], "cyd": []}
    assert [say(store, "ann") for _ in range(4)] == got["ann"]
    assert store.lease("ann", 4, 60.0) == []
    assert store.give_back("bob") == 4
    assert [say(store, "cyd") for _ in range(4)] == ["q0", "q1", "q2", "q3"]
    assert store.left() == 0
    assert max(Counter((x.pair_id, x.annotator) for x in store.answers()).values()) == 1


def test_a_lease_runs_out_and_comes_back_in_the_same_order(make: Make) -> None:
    clock = Clock()
    store = make(clock)
    store.ask(tasks(1))
    first = store.lease("ann", 2, 60.0)
    clock.now += 59.0
    assert [one.ends for one in store.lease("ann", 2, 60.0)] == [clock.now + 60.0]  # renewed
    clock.now += 59.0
    assert store.lease("bob", 1, 60.0) == []
    clock.now += 61.0
    theirs = store.lease("bob", 1, 60.0)
    assert [one.pair_id for one in theirs] == ["q0"]
    assert store.lease("ann", 1, 60.0) == []
    clock.now += 61.0
    again = store.lease("ann", 1, 60.0)[0]
    assert (again.handle, again.id_a) == (first[0].handle, first[0].id_a)
    assert store.reply("bob", Reply(theirs[0].handle, "k", "a")).kept == "late"  # ann has it now
    assert store.all() == []
    assert store.left() == 1
    assert store.reply("ann", Reply(again.handle, "k", "a")).kept == "new"
    assert [x.annotator for x in store.all()] == ["ann"]
    assert [(x.annotator, x.late) for x in store.answers()] == [("bob", True), ("ann", False)]
    assert store.reply("bob", Reply(theirs[0].handle, "k", "a")).kept == "late"


def test_a_late_reply_that_nobody_else_gives_is_a_label(make: Make) -> None:
    clock = Clock()
    store = make(clock)
    store.ask(tasks(1))
    one = store.lease("ann", 1, 60.0)[0]
    clock.now += 1e5
    assert store.reply("ann", Reply(one.handle, "k", "tie")).kept == "new"
    assert store.left() == 0


def test_repeats_are_planned_and_no_labels(make: Make) -> None:
    store = make()
    store.ask(tasks(30))
    asked = []
    for _ in range(30):
        one = store.lease("ann", 1, 60.0, repeat=0.5)[0]
        asked.append(one)
        store.reply("ann", Reply(one.handle, one.handle, "a"))
    again = [one for one in asked if one.turn]
    first = {one.pair_id: one for one in asked if not one.turn}
    assert 2 <= len(again) <= 18  # fewer than one in 10⁴ draws elsewhere
    assert all((first[r.pair_id].id_a, first[r.pair_id].id_b) == (r.id_b, r.id_a) for r in again)
    assert len({one.pair_id for one in again}) == len(again)
    assert len(store.all()) == len(first) == 30 - len(again) == 30 - store.left()


def test_an_answer_from_elsewhere_takes_a_pair_from_the_queue(make: Make) -> None:
    store = make()
    store.ask(tasks(2))
    store.add([Label("q0", "y0", "x0", "a", "judge", "001")], {"judge": {"kind": "judge"}})
    assert store.left() == 1
    assert [one.pair_id for one in store.lease("ann", 2, 60.0)] == ["q1"]
    assert store.ask([Task("q9", "x", "y", "001")]) == 1
    store.add([Label("q9", "y", "x", "tie", "ann", "001", both_bad=True, strength=None)])
    assert store.lease("bob", 2, 60.0) == []
    assert store.all()[-1].both_bad
    store.ask([Task("q10", "x", "y", "001", 2)])
    store.add([Label("q10", "x", "y", "a", "cyd", "001")])
    assert store.lease("cyd", 5, 60.0) == []  # who answered in a file is not asked again
    assert [one.pair_id for one in store.lease("dan", 5, 60.0)] == ["q10"]
    assert store.sources() == {"judge": {"kind": "judge"}}


@pytest.mark.parametrize(
    ("reply", "rule"),
    [
        (Reply("none", "k", "a"), "a reply is to a pair that was shown to you"),
        (Reply("", "k", "c"), "choice must be one of"),  # type: ignore[arg-type]
        (Reply("", "k", "a", 5), "strength must be"),
        (Reply("", "k", "tie", 2), "strength must be"),
        (Reply("", "k", "a", comment="x" * 4001), "a comment must have at most 4000"),
        (Reply("", "k", "a", comment="x\0"), "none of them null"),
        (Reply("", "", "a"), "key must be"),
        (Reply("", "k\n", "a"), "key must be"),
    ],
)
def test_a_reply_that_breaks_a_rule_is_refused(tmp_path: Path, reply: Reply, rule: str) -> None:
    store = SqliteStore(tmp_path / "x.sqlite")
    store.ask(tasks(1))
    handle = reply.handle or store.lease("ann", 1, 60.0)[0].handle
    with pytest.raises(UserError, match=rule):
        store.reply("ann", replace(reply, handle=handle))
    with pytest.raises(UserError):  # another's lease
        store.reply("bob", Reply(handle, "k", "a"))
    assert store.answers() == []


def test_no_answer_can_be_rewritten_or_erased(make: Make) -> None:
    from sqlalchemy import delete, update

    from whichpairs.label.stores.tables import ANSWERS

    store = make()
    store.add([Label("q", "x", "y", "a", "ann", "001")])
    for statement in (update(ANSWERS).values(choice="b"), delete(ANSWERS)):
        with pytest.raises(UserError, match="never"), plain(store)._open(True) as db:
            db.execute(statement)
    assert [x.choice for x in store.all()] == ["a"]


def test_events_are_kept(make: Make) -> None:
    store = make()
    store.note("paused", data={"by": "owner"})
    store.note("quiz", "ann", {"right": 3})
    assert [(e.kind, e.annotator, e.data) for e in make().events()] == [
        ("paused", None, {"by": "owner"}),
        ("quiz", "ann", {"right": 3}),
    ]
    assert [e.kind for e in store.events("quiz", "none")] == ["quiz"]


@pytest.mark.slow
@pytest.mark.parametrize("make", ["serving", "serving postgres"], indirect=True)
def test_fifty_at_once(make: Make) -> None:
    """Two stores, as two processes have them; a third of the pairs wants two answers."""
    stores = [make(), make()]
    asked = [replace(t, wanted=2 if k % 3 == 0 else 1) for k, t in enumerate(tasks(60))]
    stores[0].ask(asked)
    accepted = list[tuple[str, str]]()

    def work(k: int) -> None:
        store, name = stores[k % 2], f"p{k}"
        while loans := store.lease(name, 2, 60.0):
            for one in loans:
                kept = store.reply(name, Reply(one.handle, one.handle, "b")).kept
                if kept == "new":
                    accepted.append((one.pair_id, name))

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(work, range(50)))
    labels = stores[1].all()
    assert sorted(accepted) == sorted((x.pair_id, x.annotator) for x in labels)
    assert Counter(x.pair_id for x in labels) == {t.pair_id: t.wanted for t in asked}


KILLED = """
import sys, time
from pathlib import Path
from whichpairs.label.stores.serving import open_serving
from whichpairs.label.stores.base import Reply
store = open_serving(Path(sys.argv[1]))
name = sys.argv[2]
while loans := store.lease(name, 1, 0.5):
    one = loans[0]
    if store.reply(name, Reply(one.handle, one.handle, "a")).kept == "new":
        print(one.pair_id, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("back", ["sqlite", "postgres"])
def test_killed_processes_lose_nothing_that_was_acknowledged(
    tmp_path: Path, request: pytest.FixtureRequest, back: str
) -> None:
    if back == "postgres":
        move_to(tmp_path, request.getfixturevalue("postgres"))
    store = open_store(tmp_path)
    store.ask(tasks(1500))

    def begin(name: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", KILLED, str(tmp_path), name]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    running = [begin(f"p{k}") for k in range(3)]
    acknowledged = list[str]()
    for process in running:
        assert process.stdout is not None
        acknowledged += [process.stdout.readline().strip() for _ in range(20)]
        os.kill(process.pid, signal.SIGKILL)
        acknowledged += [line.strip() for line in process.stdout if line.endswith("\n")]
        process.wait()
    found = Counter(x.pair_id for x in store.all())
    assert max(found.values()) == 1
    assert len(acknowledged) >= 60
    assert set(acknowledged) <= set(found)
    time.sleep(0.6)  # what they had been lent comes back
    loans = {one.pair_id for one in store.lease("ann", 1500, 60.0)}
    assert loans | set(found) == {t.pair_id for t in tasks(1500)}
    store.close()


OLD = """
CREATE TABLE labels (label_id INTEGER PRIMARY KEY, pair_id TEXT NOT NULL, id_a TEXT NOT NULL,
    id_b TEXT NOT NULL CHECK (id_b <> id_a), choice TEXT NOT NULL CHECK (choice IN ('a', 'b', 'tie')),
    annotator TEXT NOT NULL, batch TEXT NOT NULL, probability REAL CHECK (probability BETWEEN 0 AND 1),
    created TEXT NOT NULL, UNIQUE (pair_id, annotator)) STRICT;
CREATE TABLE corrections (correction_id INTEGER PRIMARY KEY, label_id INTEGER NOT NULL REFERENCES labels,
    id_a TEXT NOT NULL, id_b TEXT NOT NULL CHECK (id_b <> id_a),
    choice TEXT NOT NULL CHECK (choice IN ('a', 'b', 'tie')),
    probability REAL CHECK (probability BETWEEN 0 AND 1), created TEXT NOT NULL) STRICT;
CREATE INDEX correction_of ON corrections (label_id, correction_id);
CREATE TABLE sources (annotator TEXT PRIMARY KEY, settings TEXT NOT NULL) STRICT;
INSERT INTO labels VALUES (1, 'q0', 'x', 'y', 'a', 'ann', '001', 0.75, '2026-01-01T00:00:00Z'),
    (2, 'q1', 'x', 'y', 'tie', 'ann', '001', NULL, '2026-01-02T00:00:00Z'),
    (5, 'q1', 'y', 'x', 'b', 'simulated:s', '002', 0.5, '2026-01-03T00:00:00Z');
INSERT INTO corrections VALUES (1, 2, 'x', 'y', 'a', NULL, '2026-01-04T00:00:00Z'),
    (2, 2, 'y', 'x', 'a', 0.9, '2026-01-05T00:00:00Z');
INSERT INTO sources VALUES ('simulated:s', '{"kind": "simulated"}');
"""


def old_store(path: Path) -> SqliteStore:
    """A file as whichpairs wrote it before forms had numbers."""
    with sqlite3.connect(path) as db:
        db.executescript(OLD)
    db.close()
    return SqliteStore(path)


def test_an_old_store_is_migrated_without_loss(tmp_path: Path) -> None:
    store = old_store(tmp_path / "labels.sqlite")
    ann = Label("q1", "x", "y", "tie", "ann", "001")
    other = Label("q1", "y", "x", "b", "simulated:s", "002", 0.5)
    first = Label("q0", "x", "y", "a", "ann", "001", 0.75)
    now = replace(ann, id_a="y", id_b="x", choice="a", probability=0.9)
    assert store.all() == [first, now, other]
    assert store.history() == [first, ann, replace(ann, choice="a"), now, other]
    assert store.sources() == {"simulated:s": {"kind": "simulated"}}
    assert [x.created[:10] for x in store.answers()] == [
        f"2026-01-0{day}" for day in (1, 2, 3, 4, 5)
    ]
    assert store.add([now, first]) == 0
    assert store.accept([ann]).outdated == 1
    with sqlite3.connect(tmp_path / "labels.sqlite") as db:
        names = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
        assert not any(name.startswith("old_") or name == "correction_of" for name in names)
        assert len(db.execute("SELECT * FROM labels").fetchall()) == 3  # as a view
    db.close()


def test_a_migration_that_is_killed_has_not_begun(tmp_path: Path, monkeypatch) -> None:
    from whichpairs.label.stores import migrations

    store = old_store(tmp_path / "labels.sqlite")
    before = (tmp_path / "labels.sqlite").read_bytes()
    broken = migrations._ONLY_ADDED | {"sqlite": "CREATE TRIGGER nonsense"}
    monkeypatch.setattr(migrations, "_ONLY_ADDED", broken)
    with pytest.raises(UserError, match="SQLite says"):
        store.all()
    monkeypatch.undo()
    assert (tmp_path / "labels.sqlite").read_bytes() == before
    assert len(store.all()) == 3


def test_every_way_leads_to_the_same_tables(make: Make, tmp_path: Path) -> None:
    """What the queries name is what the steps make, from an old file and from nothing."""
    for store in (make(), old_store(tmp_path / "old.sqlite")):
        store.events()
        store.note("x")
        with plain(store)._open(False) as db:
            look = inspect(db)
            made = {t: {c["name"] for c in look.get_columns(t)} for t in look.get_table_names()}
        assert made.pop("whichpairs_schema") == {"version"}
        assert made == {t.name: {c.name for c in t.columns} for t in METADATA.sorted_tables}


def test_a_newer_store_is_refused_in_one_line(make: Make) -> None:
    store = make()
    store.note("x")
    with plain(store)._open(True) as db:
        db.exec_driver_sql("INSERT INTO whichpairs_schema VALUES (9)")
    for read in ("all", "sources"):
        with pytest.raises(UserError, match="has form 9, of a newer whichpairs") as error:
            getattr(make(), read)()
        assert "\n" not in str(error.value)


def test_a_run_moves_to_postgres_with_all_that_was_said(tmp_path: Path, request) -> None:
    url = request.getfixturevalue("postgres")
    store = old_store(tmp_path / "labels.sqlite")
    store.ask(tasks(4))
    say(store, "ann", "both_bad", comment="🙈 \u202e")
    before = store.answers(), store.all(), store.events(), store.left()
    assert move_to(tmp_path, url)
    assert not move_to(tmp_path, url)
    moved = open_store(tmp_path)
    assert isinstance(moved, PostgresStore)
    assert (moved.answers(), moved.all(), moved.events(), moved.left()) == before
    assert moved.lease("bob", 1, 60.0)[0].pair_id == "q3"
    moved.give_back("bob")
    say(moved, "cyd")
    assert len(moved.answers()) == 7
    with pytest.raises(UserError, match="a run's labels are in one place"):
        move_to(tmp_path, "postgresql://nobody@localhost/other")
    moved.close()


@pytest.mark.parametrize("url", ["nonsense", "mysql://x/y", "postgresql://host"])
def test_what_is_no_url_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(UserError, match="--store must be postgresql://"):
        move_to(tmp_path, url)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="PostgreSQL says") as error:
        move_to(tmp_path, "postgresql://u:secret@127.0.0.1:9/x")
    assert "secret" not in str(error.value)
    assert list(tmp_path.iterdir()) == []
