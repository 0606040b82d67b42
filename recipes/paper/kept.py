"""Cells that are computed once: a file each, in a folder that the code and settings behind them name."""

import hashlib
import json
import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whichpairs.bench.fingerprint import short
from whichpairs.run.files import to_json, write_whole

Cell = dict[str, Any]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """A cell and what makes it: `compute(*arguments)`, a function that another process can import."""

    path: Path
    compute: Callable[..., Cell]
    arguments: tuple[Any, ...]


def work_folder(out: Path, measures: Sequence[str], *what: object) -> Path:
    """A folder for these inputs: other code behind `measures`, or another `what`, gets another one."""
    key = json.dumps([short(measures), *map(str, what)])
    return out / hashlib.sha256(key.encode()).hexdigest()[:12]


def keep(job: Job) -> Cell:
    """The cell, from disk where it is there; with the ``seconds`` that it took."""
    if not job.path.exists():
        began = time.perf_counter()
        found = job.compute(*job.arguments)
        write_whole(job.path, to_json({**found, "seconds": round(time.perf_counter() - began, 1)}))
    return dict(json.loads(job.path.read_text(encoding="utf-8")))


def kept(jobs: Sequence[Job]) -> list[Cell]:
    """The cells that earlier calls have finished, in the order of the jobs."""
    return [keep(job) for job in jobs if job.path.exists()]


def keep_all(jobs: Sequence[Job], processes: int, say: Say) -> list[Cell]:
    """Every cell, each in a process of its own; a line as each ends."""
    left = [job for job in jobs if not job.path.exists()]
    if left:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=spawn) as pool:
            running = {pool.submit(keep, job): job for job in left}
            for count, done in enumerate(as_completed(running), start=1):
                took = done.result()["seconds"]
                say(f"{running[done].path.stem} ({took:.0f} s; {count} of {len(left)})")
    return kept(jobs)
