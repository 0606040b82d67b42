"""One sync for all who wait: transactions that share a commit (group commit).

A commit waits for the disk, and whoever comes meanwhile would wait for that and then for a sync of
their own. Here what came meanwhile goes into the next transaction together: nobody is told anything
before the disk has it, and a hundred who wait have waited for two syncs, not for a hundred.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from typing import Any, Generic, TypeVar

from whichpairs.errors import UserError

MOST = 64
"""Works in one transaction."""
T = TypeVar("T")
Db = TypeVar("Db")
_Work = tuple[Callable[[Db], Any], "Future[Any]"]


class Together(Generic[Db]):
    """Does what several threads want done, in as few transactions as they leave time for.

    A work that raises `UserError` must have written nothing yet: it is refused, and the others go
    on. Any other exception undoes the transaction; its works are then done again, each in one of
    its own.

    Args:
        transaction: begins one that writes, and commits it at its end: what it did is then on disk.
        idle: called after a commit when nothing waits.
    """

    def __init__(
        self,
        transaction: Callable[[], AbstractContextManager[Db]],
        idle: Callable[[], None] = lambda: None,
    ) -> None:
        self._transaction, self._idle = transaction, idle
        self._waiting = list[_Work[Db]]()
        self._woken = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def do(self, work: Callable[[Db], T]) -> T:
        """What `work` gives; it is on disk by then.

        Raises:
            UserError: it was refused, or the store cannot be written.
            RuntimeError: closed.
        """
        future: Future[T] = Future()
        with self._woken:
            if self._closed:
                raise RuntimeError("closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="labels", daemon=True)
                self._thread.start()
            self._waiting.append((work, future))
            self._woken.notify()
        return future.result()

    def close(self) -> None:
        """Finish what waits, then stop."""
        with self._woken:
            self._closed = True
            self._woken.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._woken:
                while not self._waiting and not self._closed:
                    self._woken.wait()
                some = self._waiting[:MOST]
                del self._waiting[:MOST]
            if not some:
                return
            self._commit(some)
            if not self._waiting:
                with suppress(Exception):  # it is tried again, and nobody's answer hangs on it
                    self._idle()

    def _commit(self, some: list[_Work[Db]]) -> None:
        found = list[tuple[Future[Any], Any, UserError | None]]()
        try:
            with self._transaction() as db:
                for work, future in some:
                    try:
                        found.append((future, work(db), None))
                    except UserError as error:
                        found.append((future, None, error))
        except BaseException as error:
            if len(some) == 1:
                some[0][1].set_exception(error)
                return
            for one in some:
                self._commit([one])
            return
        for future, result, refused in found:
            if refused is None:
                future.set_result(result)
            else:
                future.set_exception(refused)
