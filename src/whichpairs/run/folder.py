"""The run folder: the thing a user owns. Stages add folders to it and never rewrite one another's.

    RUN/run.json                    format, β, seed, versions: settings of the whole run
    RUN/pool/                       prompts and completions, labels that came with them
    RUN/drawer/001/                 labels of further files, kept back as in pool/drawer.parquet
    RUN/scores/NAME/                a reward for every completion
    RUN/features/NAME/              φ, memory-mapped
    RUN/batches/001/                pairs picked for labelling
    RUN/labels.sqlite               every label accepted
    RUN/labels.json                 or the database that has them
    RUN/loop.json                   the options of a loop that is under way
    RUN/fits/001/, policies/…, evaluations/…, report.html

Every folder holds a `manifest.json` (a `Record`) and appears whole, by one rename.
"""

import fcntl
import importlib.metadata
import json
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from whichpairs.errors import UserError, plainly
from whichpairs.run.files import (
    recover,
    to_json,
    user_facing_os_errors,
    whole_folder,
    write_whole,
)

FORMAT = 1
DEFAULT_BETA = 0.1
_OURS = {".lock", ".new-run.json"}
"""What the first moments of a run leave behind."""
_PACKAGES = (
    "whichpairs",
    "numpy",
    "scipy",
    "polars",
    "scikit-learn",
    "torch",
    "transformers",
    "trl",
)


@dataclass(frozen=True)
class Record:
    """What made a folder: enough to make it again, and to know whether it is still up to date.

    Attributes:
        stage: the command, e.g. ``features``.
        settings: what the user chose.
        inputs: fingerprints of what was read.
        result: what came out, as the command's ``--json`` prints it.
        versions: of the software; created: UTC time.
    """

    stage: str
    settings: dict[str, Any]
    inputs: dict[str, Any]
    result: dict[str, Any]
    versions: dict[str, str] = field(default_factory=dict)
    created: str = ""


@dataclass(frozen=True)
class Run:
    """An open run folder.

    Attributes:
        root: the folder; beta: the run's KL weight β > 0; seed: the run's default seed.
    """

    root: Path
    beta: float
    seed: int

    def record(self, *parts: str) -> Record | None:
        """The record of a finished folder, or None."""
        path = self.root.joinpath(*parts) / "manifest.json"
        if not path.is_file():
            return None
        try:
            return Record(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{path} must be the manifest that whichpairs wrote",
                plainly(error)
                if isinstance(error, json.JSONDecodeError)
                else "it lacks a part, or has one too many",
                f"delete {path.parent} and run its stage again",
            ) from None

    def finished(self, kind: str) -> list[str]:
        """Names of the finished folders of a kind (``batches``, ``features`` …), sorted."""
        folder = self.root / kind
        if not folder.is_dir():
            return []
        return sorted(
            p.name
            for p in folder.iterdir()
            if not p.name.startswith(".") and (p / "manifest.json").is_file()
        )

    def next_number(self, kind: str) -> str:
        """The next free name ``001``, ``002`` … of a kind."""
        taken = [int(name) for name in self.finished(kind) if name.isdigit()]
        return f"{max(taken, default=0) + 1:03d}"

    def commit(
        self,
        parts: tuple[str, ...],
        stage: str,
        settings: dict[str, Any],
        inputs: dict[str, Any],
        make: Callable[[Path], dict[str, Any]],
    ) -> Record:
        """Fill a folder by `make` (which returns the result) and let it appear whole."""
        with whole_folder(self.root.joinpath(*parts)) as folder:
            result = make(folder)
            record = Record(stage, settings, inputs, result, versions(), now())
            (folder / "manifest.json").write_text(to_json(asdict(record)), encoding="utf-8")
        return record


def create_run(root: Path, beta: float | None, seed: int) -> Run:
    """The run at `root`, made new where there is none yet; a conflicting β is an error.

    Raises:
        UserError: the folder holds something else, or another β.
    """
    if (root / "run.json").is_file():
        run = open_run(root, beta if (root / "pool").is_dir() else None)
        if (root / "pool").is_dir():
            return run
    began = {"run.json", "pool.partial"} if (root / "run.json").is_file() else set()
    if _names(root) - began - _OURS:
        raise UserError(
            "a new run needs an empty or missing folder",
            f"{root} holds other files",
            "choose another --run",
        )
    run = Run(root, check_beta(DEFAULT_BETA if beta is None else beta), seed)
    settings = {"format": FORMAT, "beta": run.beta, "seed": seed, "created": now()}
    write_whole(root / "run.json", to_json({**settings, "versions": versions()}))
    return run


def open_run(root: Path, beta: float | None = None) -> Run:
    """The run at `root`.

    Args:
        beta: what the caller was told; None is no opinion.

    Raises:
        UserError: no run is there, or it has another β.
    """
    path = root / "run.json"
    if not path.is_file():
        raise UserError(
            "--run must name a run folder (one with a run.json)",
            f"{root} is none" if root.exists() else f"{root} does not exist",
            f"start one with: whichpairs import FILE --run {root}",
        )
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        run = Run(root, float(settings["beta"]), int(settings["seed"]))
        known = settings["format"] == FORMAT
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} must be what whichpairs wrote",
            plainly(error)
            if isinstance(error, json.JSONDecodeError)
            else "it lacks beta, seed or format",
            "put it back as it was, or start another run",
        ) from None
    if not known:
        raise UserError(f"run format must be {FORMAT}", f"{path} says {settings['format']}")
    if beta is not None and check_beta(beta) != run.beta:
        raise UserError(
            "a run has one beta",
            f"this one has {run.beta:g}, got --beta {beta:g}",
            "leave --beta out, or start another run",
        )
    return run


def check_beta(beta: float) -> float:
    """β itself, when it is finite and above 0."""
    if not 0.0 < beta < float("inf"):
        raise UserError("beta must be a finite number above 0", f"got {beta}")
    return float(beta)


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the run for this process; the system lets go when the process dies, however it dies.

    Raises:
        UserError: another process holds it, or the folder cannot be written to.
    """
    if root.exists() and not root.is_dir():
        raise UserError("--run must name a folder", f"{root} is a file")
    missing = [folder for folder in (root, *root.parents) if not folder.exists()]
    before, mine = _names(root), False
    with user_facing_os_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        handle = os.open(root / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
            raise UserError(
                "one process at a time may work on a run",
                f"process {holder} is working on {root}",
                "wait for it, or stop it",
            ) from None
        mine = True
        with user_facing_os_errors(root):
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        if (root / "run.json").is_file() or not _names(root) - _OURS:
            recover(root)
        yield
    except BaseException:
        if mine:
            _undo(root, _names(root) - before, missing)
        raise
    finally:
        os.close(handle)


def _names(root: Path) -> set[str]:
    return {p.name for p in root.iterdir()} if root.is_dir() else set()


def _undo(root: Path, new: set[str], folders: list[Path]) -> None:
    """Remove the beginning of a run that came to nothing, and the `folders` made for it."""
    if new <= {".lock", "run.json"}:
        with suppress(OSError):
            for name in new:
                (root / name).unlink(missing_ok=True)
            for folder in folders:
                folder.rmdir()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    return dict(_versions())


@cache
def _versions() -> dict[str, str]:
    """Every stage asks, and reading what is installed takes longer than many a stage."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def now() -> str:
    """UTC time, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
