"""A limit on requests a minute, kept by all threads together."""

import threading
import time


class Pace:
    """Lets requests go at even distances.

    Args:
        per_minute: the most, above 0; None: no limit.
    """

    def __init__(self, per_minute: float | None) -> None:
        self._gap = 0.0 if per_minute is None else 60.0 / per_minute
        self._next, self._lock = 0.0, threading.Lock()

    def wait(self) -> None:
        """Return when the caller's turn has come."""
        if not self._gap:
            return
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._gap
        time.sleep(turn - now)
