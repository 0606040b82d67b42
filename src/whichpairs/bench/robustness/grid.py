"""What is measured: pools × methods × budgets × seeds, read from a committed TOML file."""

import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from whichpairs.bench.pools import regimes
from whichpairs.bench.pools.real import RealPool, real_pool
from whichpairs.bench.pools.simulated_pool import World
from whichpairs.errors import UserError, plainly


@dataclass(frozen=True)
class Cell:
    """One pool under one labeller: a row of the tables.

    Args:
        name: what the tables call it; group: ``well-specified``, ``misspecified`` or ``real``.
        budgets: cumulative, in labels; random_goes_to: further budgets for random alone.
        left_out: not looked at while the design was tuned.
        run, score, temperature, beta, without: of a real pool (see `real_pool`, `RealPool`).
    """

    name: str
    group: str
    budgets: tuple[int, ...]
    random_goes_to: tuple[int, ...] = ()
    left_out: bool = False
    run: str | None = None
    score: str = ""
    temperature: float = 1.0
    beta: float | None = 1.0
    without: tuple[int, ...] = ()

    def world(self, seed: int) -> World:
        """The pool with its truth; a synthetic one is drawn anew for every seed."""
        if self.run is None:
            return _drawn(self.name, seed)
        return _real_world(self)

    @property
    def content(self) -> str:
        """A digest of a real pool's arrays and labeller; empty where the name and seed say all."""
        return "" if self.run is None else _content(self)

    @property
    def one_pool(self) -> bool:
        """Whether all seeds share the pool, so that its prompts are resampled beside the seeds."""
        return self.run is not None


@lru_cache(maxsize=4)
def _arrays(run: str, score: str) -> RealPool:
    return real_pool(run, score)


@lru_cache(maxsize=2)
def _drawn(name: str, seed: int) -> World:
    """Kept for the next method on it: θ† is found once."""
    return regimes.draw(name, seed)


@lru_cache(maxsize=64)
def _content(cell: Cell) -> str:
    world = _real_world(cell)
    digest = hashlib.sha256(repr((world.beta, cell.temperature)).encode())
    space = world.space
    for array in (space.features, space.starts, world.reward, world.reference, world.judged):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:12]


@lru_cache(maxsize=8)
def _real_world(cell: Cell) -> World:
    assert cell.run is not None
    pool = _arrays(cell.run, cell.score)
    if cell.without:
        pool = pool.without(list(cell.without))
    return replace(pool.world(cell.temperature, cell.beta), name=cell.name)


@dataclass(frozen=True)
class Grid:
    """Cells, and how many seeds: for random and ours, for the ceilings beside them, for rivals."""

    cells: tuple[Cell, ...]
    seeds: int
    ceiling_seeds: int
    rival_seeds: int


def load_grid(path: Path | None = None, *, alpaca: str | None = None, quick: bool = False) -> Grid:
    """The grid of a TOML file (the committed one when None).

    Args:
        alpaca: run folder of the AlpacaEval pool; None leaves its cells out.
        quick: the few cells, seeds and budgets of the file's ``quick`` table.

    Raises:
        UserError: the file is not such a grid.
    """
    try:
        text = (
            (files("whichpairs.bench.robustness") / "grid.toml").read_text()
            if path is None
            else (path.read_text(encoding="utf-8"))
        )
        table = tomllib.loads(text)
        return _grid(table, alpaca, quick)
    except (OSError, KeyError, TypeError, tomllib.TOMLDecodeError) as error:
        raise UserError(
            "a grid is a TOML file like whichpairs/bench/robustness/grid.toml",
            f"{path}: {plainly(error)}",
        ) from None


def _grid(table: dict[str, Any], alpaca: str | None, quick: bool) -> Grid:
    left_out, few = table["left_out"], table["quick"]
    cells = []
    part = table["synthetic"]
    for name in few["regimes"] if quick else part["regimes"]:
        group = "well-specified" if name in regimes.WELL_SPECIFIED else "misspecified"
        cells.append(_cell(name, group, part, quick, left_out=name in left_out["regimes"]))
    if alpaca is not None:
        part = table["alpaca"]
        for row in part["cells"]:
            if quick and (row["temperature"] not in few["temperatures"] or "label" in row):
                continue
            cells.append(_alpaca_cell(row, part, quick, alpaca, left_out["temperatures"]))
    counts = few if quick else part
    names = ("seeds", "ceiling_seeds", "rival_seeds")
    return Grid(tuple(cells), *(counts[name] for name in names))


def _cell(name: str, group: str, part: dict[str, Any], quick: bool, **more: Any) -> Cell:
    budgets, beyond = tuple(part["budgets"]), tuple(part["random_goes_to"])
    if quick:
        budgets, beyond = budgets[:4], budgets[4:]
    return Cell(name, group, budgets, beyond, **more)


def _alpaca_cell(
    row: dict[str, Any], part: dict[str, Any], quick: bool, run: str, left_out: Sequence[float]
) -> Cell:
    name = f"AlpacaEval, T = {row['temperature']:g}"
    name += f", β = {row['beta']:g}" if row["beta"] != 1.0 else ""
    name += f", {row['label']}" if "label" in row else ""
    return _cell(
        name,
        "real",
        part,
        quick,
        left_out=row["temperature"] in left_out,
        run=run,
        score="judge_logit",
        temperature=float(row["temperature"]),
        beta=float(row["beta"]),
        without=tuple(row.get("without", ())),
    )


def user_cells(
    run: str,
    score: str,
    temperatures: Sequence[float],
    beta: float | None,
    budgets: Sequence[int],
) -> tuple[Cell, ...]:
    """Cells of a user's own pool, one a temperature.

    Args:
        beta: β; None is the run's.
        budgets: cumulative, rising; random alone goes on to twice and four times the last.

    Raises:
        UserError: the budgets do not rise, or ask for more than the pool has.
    """
    if len(budgets) < 2 or any(b <= a for a, b in zip([0, *budgets], budgets, strict=False)):
        raise UserError(
            "budgets must be two or more, and rise (the first is the round before any label)",
            f"got {list(budgets)}",
        )
    cells = []
    for temperature in temperatures:
        cell = Cell(
            f"{Path(run).name}, T = {temperature:g}",
            "real",
            tuple(budgets),
            run=run,
            score=score,
            temperature=temperature,
            beta=beta,
        )
        candidates = cell.world(0).space.candidates
        if budgets[-1] > candidates:
            raise UserError(
                f"budgets must be at most the {candidates} candidate pairs", f"got {budgets[-1]}"
            )
        beyond = tuple(k * budgets[-1] for k in (2, 4) if k * budgets[-1] <= candidates)
        cells.append(replace(cell, random_goes_to=beyond))
    return tuple(cells)
