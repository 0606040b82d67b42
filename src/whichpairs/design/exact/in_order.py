"""Work on threads whose result does not depend on how many there are."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(work: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """`work` of every item, in the items' order, on threads, a few ahead of the one asked for."""
    if threads <= 1:
        yield from map(work, items)
        return
    rest = iter(items)
    with ThreadPoolExecutor(max_workers=threads) as pool:
        ahead: deque[Future[R]] = deque(pool.submit(work, x) for x in islice(rest, 2 * threads))
        while ahead:
            done = ahead.popleft().result()
            ahead.extend(pool.submit(work, item) for item in islice(rest, 1))
            yield done
