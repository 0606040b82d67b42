"""Files of pairs that a user names: to be picked whatever they teach, or never."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from whichpairs.errors import UserError, plainly
from whichpairs.pool.pool import Pool, pair_id

_LINE = 'a line must be a pair\'s id, or {"id_a": …, "id_b": …}'


@dataclass(frozen=True)
class NamedPairs:
    """Rows of the pairs that must be picked, and of those that must not, each (n, 2) with i < j."""

    must: np.ndarray
    must_not: np.ndarray

    def checked(self, pool: Pool) -> "NamedPairs":
        """Itself.

        Raises:
            UserError: a pair stands in both.
        """
        both = set(map(tuple, self.must.tolist())) & set(map(tuple, self.must_not.tolist()))
        if both:
            i, j = min(both)
            raise UserError(
                "a pair cannot stand in both --must and --must-not",
                f"pair {pair_id(pool.ids[i], pool.ids[j])} does ({len(both)} such)",
            )
        return self


def file_hash(path: str) -> str:
    """SHA-256 of a file of pairs.

    Raises:
        UserError: it cannot be read.
    """
    return hashlib.sha256(_read(path)).hexdigest()


def read_pairs(
    path: str, pool: Pool, known: Mapping[str, tuple[str, str, str]], option: str
) -> np.ndarray:
    """The pairs of a file, (n, 2) with i < j, in the order of the pool; twice there is once.

    Each line is a pair's id (as a batch file has it), plain or in JSON, or an object with ``id_a``
    and ``id_b``, or with ``pair_id``; so a batch file will do. Empty lines are skipped.

    Args:
        known: pairs whose ids are known: ``(batch, id_a, id_b)``; others are looked for.
        option: what the file is for, in messages.

    Raises:
        UserError: the file cannot be read, or a line names no pair of the pool (with its number).
    """
    try:
        text = _read(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"the file of {option} must be UTF-8", f"{path}: {plainly(error)}"
        ) from None
    lines = [
        (f"{path}, line {number}", _parse(line.strip(), f"{path}, line {number}"))
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]
    ids = _ids({name for _, name in lines if isinstance(name, str)}, pool, known)
    rows = {_rows(name, where, pool, ids) for where, name in lines}
    return np.array(sorted(rows), np.int64).reshape(-1, 2)


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(
            "a file of pairs must be there and readable", f"{path}: {error.strerror}"
        ) from None


def _parse(line: str, where: str) -> str | tuple[str, str]:
    """A pair's id, or its two completion ids."""
    if line[0] not in '{["':
        return line
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError):
        raise UserError(_LINE, f"{where}: it is no JSON") from None
    if (
        isinstance(row, dict)
        and isinstance(row.get("id_a"), str)
        and isinstance(row.get("id_b"), str)
    ):
        return row["id_a"], row["id_b"]
    name = row.get("pair_id") if isinstance(row, dict) else row
    if not isinstance(name, str):
        raise UserError(_LINE, f"{where}: {line[:80]}")
    return name


def _rows(
    name: str | tuple[str, str], where: str, pool: Pool, ids: Mapping[str, tuple[str, str]]
) -> tuple[int, int]:
    both = ids.get(name) if isinstance(name, str) else name
    if both is None:
        raise UserError("a named pair must be one of the pool", f"{where}: {name!r} is none")
    for one in both:
        if one not in pool.row_of:
            raise UserError(
                "a named pair must be one of the pool", f"{where}: no completion is {one!r}"
            )
    i, j = sorted(pool.row_of[one] for one in both)
    if i == j or pool.prompt_of[i] != pool.prompt_of[j]:
        raise UserError(
            "a pair is two completions of one prompt", f"{where}: {both[0]!r} and {both[1]!r}"
        )
    return i, j


def _ids(
    wanted: set[str], pool: Pool, known: Mapping[str, tuple[str, str, str]]
) -> dict[str, tuple[str, str]]:
    """The completions of pairs by their ids: of those known, and then of the whole pool."""
    found = {name: known[name][1:] for name in wanted if name in known}
    for a, b in _all(pool) if len(found) < len(wanted) else ():
        name = pair_id(a, b)
        if name in wanted:
            found[name] = (a, b)
            if len(found) == len(wanted):
                break
    return found


def _all(pool: Pool) -> Iterable[tuple[str, str]]:
    for low, high in zip(pool.starts[:-1], pool.starts[1:], strict=True):
        yield from combinations(pool.ids[low:high], 2)
