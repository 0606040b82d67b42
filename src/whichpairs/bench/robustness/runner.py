"""Runs the grid: many small jobs on processes, their rows in Parquet, resumable after any kill.

A job is one method on one cell with one seed. Its rows appear together, in a part file that is
written aside and renamed; a job whose rows are there is not run again, unless the code behind its
method, or the pool, is another now (`Job.code`). The methods on one world run one after the other
in one process, which finds θ† once; a process has one thread.
"""

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from whichpairs.bench.fingerprint import short
from whichpairs.bench.methods.registry import METHODS, PAIRED, PRINCIPAL, begins
from whichpairs.bench.methods.turn import run
from whichpairs.bench.robustness.grid import Cell, Grid
from whichpairs.run.files import write_whole
from whichpairs.types import SILENT, Progress

FLUSH_SECONDS = 20.0


@dataclass(frozen=True)
class Job:
    """One run of one method."""

    cell: Cell
    method: str
    seed: int

    @property
    def rounds(self) -> list[int]:
        """Its cumulative budgets."""
        beyond = self.cell.random_goes_to if self.method == "random" else ()
        return [*self.cell.budgets, *beyond]

    @property
    def code(self) -> str:
        """Digest of the code of its method and of the pool, and of a real pool's content."""
        return f"{_code(self.method, self.cell.run is None)}{self.cell.content}"

    @property
    def key(self) -> "Key":
        """What its rows are known by: a change of budgets, code or pool makes another job."""
        rounds = ",".join(map(str, self.rounds))
        return self.cell.name, self.method, self.seed, rounds, self.code


Key = tuple[str, str, int, str, str]


@lru_cache(maxsize=256)
def _code(method: str, drawn: bool) -> str:
    return short([*begins(method), *(["whichpairs.bench.pools.regimes"] if drawn else [])])


def jobs_of(grid: Grid, methods: Sequence[str]) -> list[Job]:
    """Every job, principal methods first, so that a grid cut short is of use."""
    groups = (
        ([m for m in methods if m in PAIRED], grid.seeds),
        ([m for m in methods if m in PRINCIPAL and m not in PAIRED], grid.ceiling_seeds),
        ([m for m in methods if m not in PRINCIPAL], grid.rival_seeds),
    )
    return [
        Job(cell, method, seed)
        for some, seeds in groups
        for seed in range(seeds)
        for cell in grid.cells
        for method in some
    ]


def run_grid(
    grid: Grid,
    out: Path,
    methods: Sequence[str],
    *,
    processes: int = 2,
    progress: Progress = SILENT,
) -> pl.DataFrame:
    """Run what is missing, and return the rows of all of the grid's jobs.

    Args:
        out: folder of the part files.
    """
    out.mkdir(parents=True, exist_ok=True)
    wanted = jobs_of(grid, methods)
    done = _keys(read_rows(out))
    missing = [job for job in wanted if job.key not in done]
    progress.start("bench", len(missing))
    parts = _Parts(out)
    context = get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=one_thread) as pool:
        futures = {pool.submit(do_all, some): len(some) for some in by_world(missing)}
        try:
            for future in as_completed(futures):
                parts.add(future.result())
                for _ in range(futures[future]):
                    progress.advance()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            parts.flush()
    progress.finish()
    keys = {job.key for job in wanted}
    rows = read_rows(out)
    return rows.filter(pl.Series([key in keys for key in _row_keys(rows)], dtype=pl.Boolean))


def by_world(jobs: Sequence[Job]) -> list[list[Job]]:
    """Neighbours on one world together."""
    return [list(some) for _, some in groupby(jobs, lambda job: (job.cell.name, job.seed))]


def do_all(jobs: Sequence[Job]) -> list[dict[str, object]]:
    """The rows of some jobs."""
    return [row for job in jobs for row in do(job)]


def do(job: Job) -> list[dict[str, object]]:
    """The rows of a job, one a round."""
    begun = time.perf_counter()
    world = job.cell.world(job.seed)
    steps = run(world, METHODS[job.method], job.rounds, job.seed)
    seconds = time.perf_counter() - begun
    cell, method, seed, rounds, code = job.key
    return [
        {
            "cell": cell,
            "method": method,
            "seed": seed,
            "rounds": rounds,
            "code": code,
            "labels": step.labels,
            "regret": float(step.regrets.mean()),
            "regrets": np.asarray(step.regrets, dtype=np.float32).tolist(),
            "strength": step.strength,
            "seconds": seconds,
        }
        for step in steps
    ]


_SCHEMA: dict[str, Any] = {
    "cell": pl.String,
    "method": pl.String,
    "seed": pl.Int64,
    "rounds": pl.String,
    "code": pl.String,
    "labels": pl.Int64,
    "regret": pl.Float64,
    "regrets": pl.List(pl.Float32),
    "strength": pl.Float64,
    "seconds": pl.Float64,
}


def read_rows(out: Path) -> pl.DataFrame:
    """All rows there are."""
    parts = sorted(out.glob("part-*.parquet"))
    if not parts:
        return pl.DataFrame(schema=_SCHEMA)
    rows = pl.concat([pl.read_parquet(part) for part in parts], how="diagonal")
    return rows if "code" in rows.columns else rows.with_columns(code=pl.lit(""))


class _Parts:
    """Rows on their way to the disk."""

    def __init__(self, out: Path) -> None:
        self.out, self.rows, self.flushed = out, list[dict[str, object]](), time.monotonic()

    def add(self, rows: list[dict[str, object]]) -> None:
        self.rows += rows
        if time.monotonic() - self.flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        self.flushed = time.monotonic()
        if not self.rows:
            return
        number = 1 + max(
            (int(p.stem.removeprefix("part-")) for p in self.out.glob("part-*.parquet")), default=0
        )
        frame = pl.DataFrame(self.rows, schema=_SCHEMA)
        buffer = BytesIO()
        frame.write_parquet(buffer)
        write_whole(self.out / f"part-{number:05d}.parquet", buffer.getvalue())
        self.rows = []


def one_thread() -> None:
    """As many processes as cores, and no more threads than processes."""
    threadpool_limits(1)


def _row_keys(rows: pl.DataFrame) -> Iterable[Key]:
    return rows.select("cell", "method", "seed", "rounds", "code").iter_rows()  # type: ignore[return-value]


def _keys(rows: pl.DataFrame) -> set[Key]:
    return set(_row_keys(rows))
