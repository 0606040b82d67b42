"""What the store behind a page does beyond `test_stores.py`: an answer and the next pair at once, one sync for many."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from whichpairs.errors import UserError
from whichpairs.label.stores import serving
from whichpairs.label.stores.base import Reply, Task
from whichpairs.label.stores.quick import Quick
from whichpairs.label.stores.serving import ServingStore
from whichpairs.label.stores.sqlite import SqliteStore
from whichpairs.label.stores.together import Together


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ServingStore]:
    one = ServingStore(SqliteStore(tmp_path / "x.sqlite", serving=True))
    yield one
    one.close()


def until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.001)


def tasks(count: int) -> list[Task]:
    return [Task(f"q{k}", f"x{k}", f"y{k}", "001") for k in range(count)]


def test_an_answer_and_what_follows_are_one_transaction(store: ServingStore) -> None:
    store.ask(tasks(5))
    first = store.lease("ann", 2, 60.0)
    before = store._commits
    receipt, loans = store.answer("ann", Reply(first[0].handle, "k", "a"), 2, 60.0)
    assert store._commits - before == 1
    assert receipt.kept == "new"
    assert [one.pair_id for one in loans] == ["q1", "q2"]
    with pytest.raises(UserError, match="answered once"):
        store.answer("ann", Reply(first[0].handle, "other", "b"), 5, 60.0)
    assert [one.pair_id for one in store.lease("bob", 5, 60.0)] == ["q3", "q4"]  # nothing was lent


def test_nobody_is_told_before_the_disk_has_it_and_those_who_wait_share_a_sync() -> None:
    syncs, may, at_it = list[int](), threading.Event(), threading.Event()
    done = list[int]()

    @contextmanager
    def transaction() -> Iterator[list[int]]:
        some = list[int]()
        yield some
        at_it.set()
        assert may.wait(10)  # the disk
        syncs.append(len(some))

    together = Together(transaction)
    people = [
        threading.Thread(
            target=lambda k=k: done.append(together.do(lambda db: (db.append(k), k)[1])),
            daemon=True,
        )
        for k in range(20)
    ]
    people[0].start()
    assert at_it.wait(10)
    for one in people[1:]:
        one.start()
    until(lambda: len(together._waiting) == 19)
    assert done == []
    may.set()
    for one in people:
        one.join(10)
    assert sorted(done) == list(range(20))
    assert syncs == [1, 19]
    together.close()


def test_what_one_breaks_the_others_keep(store: ServingStore) -> None:
    """A work that fails midway is undone alone; those of the same transaction are done again."""
    store.ask(tasks(3))
    loans = store.lease("ann", 3, 60.0)
    gate, together, begun = threading.Event(), store._together, store._transactions

    def slow(quick: Quick) -> None:
        assert gate.wait(10)

    def broken(quick: Quick) -> None:
        quick.reply("ann", Reply(loans[0].handle, "broken", "a"), 1.0)
        quick._run("INSERT INTO sources (annotator, settings) VALUES ('x', NULL)")

    told = dict[str, str]()

    def say(name: str, work) -> None:
        try:
            told[name] = str(together.do(work))
        except UserError as error:
            told[name] = str(error)

    works = {"slow": slow, "broken": broken}
    works["good"] = lambda quick: quick.reply("ann", Reply(loans[1].handle, "k1", "a"), 1.0)
    works["refused"] = lambda quick: quick.reply("ann", Reply("none", "k2", "a"), 1.0)
    people = [threading.Thread(target=say, args=one, daemon=True) for one in works.items()]
    people[0].start()
    until(lambda: store._transactions > begun)
    for one in people[1:]:
        one.start()
    until(lambda: len(together._waiting) == 3)
    gate.set()
    for one in people:
        one.join(10)
    assert "must be a whole, writable label store; SQLite says" in told["broken"].replace(":", ";")
    assert "kept='new'" in told["good"]
    assert "was not" in told["refused"]
    assert [(x.pair_id, x.key) for x in store.answers()] == [("q1", "k1")]
    assert store.left() == 2


def test_a_search_that_found_nothing_rests(store: ServingStore, monkeypatch) -> None:
    """Or else each page that waits at the end of a long queue would go through all of it, again and again."""
    monkeypatch.setattr(serving, "NOTICED", -1.0)
    monkeypatch.setattr(serving, "RESTS", 1e9)
    store.ask(tasks(1))
    assert len(store.lease("ann", 2, 60.0)) == 1
    searched = list[int]()
    free = Quick.free
    monkeypatch.setattr(Quick, "free", lambda *a: (searched.append(a[-1]), free(*a))[1])
    assert store.lease("bob", 2, 60.0) == []
    assert store.lease("bob", 2, 60.0) == []
    assert searched == [0]
    assert store.give_back("ann") == 1
    assert [one.pair_id for one in store.lease("bob", 2, 60.0)] == ["q0"]


def test_the_log_goes_into_the_file_when_nobody_waits(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(serving, "IDLE_COMMITS", 5)
    store = ServingStore(SqliteStore(tmp_path / "x.sqlite", serving=True))
    store.ask(tasks(50))
    before = (tmp_path / "x.sqlite").stat().st_size
    for k in range(8):
        store.lease(f"p{k}", 3, 60.0)
    store._together.close()
    assert store._commits < 5
    assert (tmp_path / "x.sqlite").stat().st_size > before
    store._store.close()
