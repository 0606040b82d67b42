"""What a server has answered is never asked, nor paid for, again: an append-only file of answers.

A line counts once it is on the disk. A process that dies between two lines loses nothing; one that
dies within a line loses that line, which is dropped when the journal is opened next.
"""

import json
import os
import threading
from pathlib import Path
from typing import Any


class Journal:
    """Answers by the key of their request, in a file of JSON lines ``{"key", "answer"}``.

    Several threads may add at once; one process at a time may have it open (the run's lock).

    Args:
        path: the file; it and its folder are made at the first answer.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file: int | None = None
        self._closed = False
        self._answers, self._whole = _read(path)

    def __len__(self) -> int:
        return len(self._answers)

    def __contains__(self, key: str) -> bool:
        return key in self._answers

    def get(self, key: str) -> Any:
        """The answer to the request of this key, as JSON gave it back; None where there is none."""
        return self._answers.get(key)

    def add(self, key: str, answer: Any) -> None:
        """Keep an answer; on return it is on the disk.

        A second answer to one key is dropped, and so is any after `close`.

        Raises:
            OSError: the disk is full, or the folder cannot be written to.
        """
        line = json.dumps({"key": key, "answer": answer}) + "\n"
        with self._lock:
            if key in self._answers or self._closed:
                return
            if self._file is None:
                self._file = self._open()
            data = line.encode()
            while data:
                data = data[os.write(self._file, data) :]
            os.fsync(self._file)
            self._answers[key] = json.loads(line)["answer"]

    def close(self) -> None:
        """Let go of the file, for good: whoever is still at work writes nothing any more."""
        with self._lock:
            self._closed = True
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _open(self) -> int:
        """The file, cut behind its last whole line, so that the next one stands alone."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        os.ftruncate(handle, self._whole)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return handle


def _read(path: Path) -> tuple[dict[str, Any], int]:
    """Every whole line's answer, and how many bytes the whole lines have."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}, 0
    whole = data.rfind(b"\n") + 1
    answers: dict[str, Any] = {}
    for line in data[:whole].split(b"\n"):
        try:
            row = json.loads(line)
            answers.setdefault(row["key"], row["answer"])
        except (ValueError, KeyError, TypeError, RecursionError):
            continue  # not whole either (a lost disk block): that request is asked again
    return answers, whole
