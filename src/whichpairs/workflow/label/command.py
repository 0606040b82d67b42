"""A labeller that is a command: it is given a file of pairs, and writes a file of answers.

Pairs cost money. So answers stay in the run folder until they are accepted, no pair is asked for
twice, and two calls never ask at once.
"""

import fcntl
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whichpairs.errors import UserError
from whichpairs.pool.raw.source import show
from whichpairs.run.files import user_facing_os_errors, write_whole
from whichpairs.workflow.label.stage import label_from_file
from whichpairs.workflow.workspace import IMPORTED, workspace

LABELLER = "labeller"
"""The annotator of a labeller's answers, where they name none."""


def command_words(labeller: str) -> list[str]:
    """The words of a command that is to label.

    Raises:
        UserError: it is no command, or there is no such program.
    """
    try:
        words = shlex.split(labeller)
    except ValueError as error:
        open_quote = "quotation" in str(error)
        raise UserError(
            "the labeller must be a command",
            f"{show(labeller)} {'opens a quotation mark' if open_quote else 'ends in a backslash'}",
            "close it" if open_quote else "take it out, or write it twice",
        ) from None
    if not words:
        raise UserError("the labeller must be a command", f"got {show(labeller)}")
    if shutil.which(words[0]) is None:
        raise UserError("the labeller must be a program", f"there is no {show(words[0])}")
    return words


def ask(root: Path, command: list[str], again: str) -> int:
    """Have a command answer what waits, batch by batch; returns how many labels are new.

    It gets two more arguments: a file of pairs, and the path for its answers, RUN/answers/…, where
    they stay. Answers of a command that did not exit with 0 are not read.

    Raises:
        UserError: the command failed, or what it wrote is no file of answers.
    """
    new = 0
    for batch in _waiting(root):
        with _sole_labeller(root) as lock:
            new += _ask_batch(root, batch, _Labeller(command, again, lock))
    return new


def _waiting(root: Path) -> list[str]:
    with workspace(root) as space:
        return sorted({space.known_pairs[key][0] for key in space.pending()} - {IMPORTED})


@dataclass(frozen=True)
class _Labeller:
    """A command, how to go on after it failed, and the lock that it holds while it lives."""

    command: list[str]
    again: str
    lock: int

    def answer(self, asked: Path, answers: Path) -> None:
        """Run it to its end."""
        remedy = f"What was labelled is kept; go on with: {self.again}"
        name, words = Path(self.command[0]).name, [*self.command, str(asked), str(answers)]
        try:  # our standard output is for --json
            done = subprocess.run(words, stdout=2, check=False, pass_fds=(self.lock,))
        except OSError as error:
            raise UserError("the labeller must be a program", f"{name}: {error.strerror}") from None
        if done.returncode:
            raise UserError("the labeller must exit with 0", f"{name}: {done.returncode}", remedy)
        if not answers.is_file() or not answers.stat().st_size:
            raise UserError(f"the labeller must write its answers to {answers}", "got none", remedy)


def _ask_batch(root: Path, batch: str, labeller: _Labeller) -> int:
    folder, end, new = (root / "answers").resolve(), ".answers.jsonl", 0
    there = [p.name.removesuffix(end).rpartition("-")[2] for p in folder.glob(f"{batch}-*{end}")]
    last = max(map(int, there), default=0)
    if last:  # a kill may have come before its labels were accepted
        new += _accept(root, folder / f"{batch}-{last}{end}", labeller.again)
    asked, target = folder / f"{batch}-{last + 1}.pairs.jsonl", folder / f"{batch}-{last + 1}{end}"
    with workspace(root) as space:
        rows = _missing(space.batches[batch], space.waiting())
        if rows == space.batches[batch]:
            asked = root.resolve() / "batches" / batch / "pairs.jsonl"
        elif rows:
            write_whole(asked, "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows))
    if not rows:
        return new
    part = target.with_suffix(".part")
    labeller.answer(asked, part)
    with user_facing_os_errors(target):
        os.replace(part, target)
    return new + _accept(root, target, labeller.again)


def _missing(rows: list[dict[str, Any]], waiting: dict[str, int]) -> list[dict[str, Any]]:
    """The rows that wait, with ``labels`` as many as they still wait for."""
    found = [dict(row) for row in rows if row["pair_id"] in waiting]
    for row in found:
        if row.get("labels", 1) != waiting[row["pair_id"]]:
            row["labels"] = waiting[row["pair_id"]]
    return found


def _accept(root: Path, answers: Path, again: str) -> int:
    try:
        return int(label_from_file(root, answers, annotator=LABELLER).result["new"])
    except UserError as error:
        remedy = f"Mend that file, or delete it to ask again; go on with: {again}"
        raise UserError(error.rule, error.received, remedy) from None


@contextmanager
def _sole_labeller(root: Path) -> Iterator[int]:
    """No pair is paid for twice: a second call is told to wait, also for a labeller that outlived
    its killed call (it inherits the lock)."""
    folder = root / "answers"
    with user_facing_os_errors(folder):
        folder.mkdir(exist_ok=True)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                "one labeller at a time may answer a run's pairs",
                f"one is still at work on {root}",
                "wait for it, or stop it",
            ) from None
        yield handle
    finally:
        os.close(handle)
