"""Files that are either whole or absent: write aside, fsync, rename."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from whichpairs.errors import UserError, plainly

ASIDE, OLD = ".new-", ".old-"
"""Prefixes of what is being written, and of what is being replaced."""


@contextmanager
def user_facing_os_errors(path: Path) -> Iterator[None]:
    """Turn a full disk, a read-only folder and their like into one line for the user."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path} must be writable, with room on its disk",
            f"the system says: {error.strerror or error}",
            "free some space or choose another folder",
        ) from error


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give a fresh folder to fill; on success it becomes `target` in one rename, else it vanishes.

    A `target` that is already there is replaced, and comes back if the process fails or dies in
    between (`recover`).
    """
    aside, old = target.parent / (ASIDE + target.name), target.parent / (OLD + target.name)
    first = not target.parent.exists()
    with user_facing_os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        try:
            yield aside
            for file in sorted(aside.rglob("*")):
                _sync(file)
            _sync(aside)
            if target.exists():
                os.replace(target, old)
            os.replace(aside, target)
            _sync(target.parent)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            with suppress(OSError):
                if old.exists() and not target.exists():
                    os.replace(old, target)
                if first:
                    target.parent.rmdir()
            raise
        shutil.rmtree(old, ignore_errors=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write `content` to `path` so that it is the old content or the new, never a part."""
    aside = path.parent / (ASIDE + path.name)
    with user_facing_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            aside.write_bytes(content.encode() if isinstance(content, str) else content)
            _sync(aside)
            os.replace(aside, path)
            _sync(path.parent)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


def recover(root: Path) -> None:
    """Clear what a killed process left in the run `root`, and restore what it had moved away.

    Only there and in the folders of its stages: what lies deeper is never written in place.
    """
    with user_facing_os_errors(root):
        for old in [*root.glob(f"{OLD}*"), *root.glob(f"*/{OLD}*")]:
            target = old.parent / old.name.removeprefix(OLD)
            if target.exists():
                shutil.rmtree(old)
            else:
                os.replace(old, target)
        for aside in [*root.glob(f"{ASIDE}*"), *root.glob(f"*/{ASIDE}*")]:
            if aside.is_dir():
                shutil.rmtree(aside)
            else:
                aside.unlink(missing_ok=True)


def read_array(path: Path) -> np.ndarray:
    """A ``.npy`` file of the run.

    Raises:
        UserError: it is missing or not whole.
    """
    try:
        return np.array(np.lib.format.open_memmap(path, mode="r"))
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(
            "the run's files must be whole",
            f"{path}: {plainly(error)}",
            f"delete {path.parent} and run its stage again",
        ) from None


def to_json(value: Any) -> str:
    """Pretty JSON with sorted keys; NaN is refused."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
