"""Several threads that work through a list, and hand out each result as it comes.

Plain daemon threads instead of an executor: a Ctrl-C does not have to wait for requests in flight.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def as_they_come(
    work: Callable[[Item], Result], items: Sequence[Item], threads: int
) -> Iterator[tuple[int, Result]]:
    """`work` on every item, `threads` at a time, begun in order, handed out in order of arrival.

    Yields:
        The place of an item, and its result.

    Raises:
        Exception: the first that `work` raised, when all that was begun is done; nothing new is
            begun after it.
    """
    todo, lock, stopped = iter(enumerate(items)), threading.Lock(), threading.Event()
    done: SimpleQueue[tuple[int, Result | BaseException, bool]] = SimpleQueue()

    def labour() -> None:
        while not stopped.is_set():
            with lock:
                place, item = next(todo, (-1, None))
            if place < 0:
                return
            try:
                done.put((place, work(item), True))  # type: ignore[arg-type]
            except BaseException as error:  # whatever it is, it is raised where results are read
                done.put((place, error, False))
                return

    crew = [threading.Thread(target=labour, daemon=True) for _ in range(min(threads, len(items)))]
    for thread in crew:
        thread.start()
    try:
        for _ in items:
            place, result, fine = done.get()
            if not fine:
                stopped.set()
                for thread in crew:
                    thread.join()
                raise result  # type: ignore[misc]
            yield place, result  # type: ignore[misc]
    finally:
        stopped.set()
