"""The figures of the robustness bench: what is asked, what was found, cell by cell."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from whichpairs.bench.grid import Cell
from whichpairs.bench.methods import CEILINGS, PRINCIPAL
from whichpairs.bench.summary import Saving, curves, saving

OURS, RANDOM = "whichpairs", "random"
Table = dict[str, dict[str, Saving]]
"""Cell → method → saving."""

HARM = 0.10
"""Share of random's regret that the upper end of ours − random may reach."""


def table(rows: pl.DataFrame, cells: tuple[Cell, ...], *, draws: int = 400) -> Table:
    """Every method's saving on every cell."""
    found: Table = {}
    for cell in cells:
        of = curves(rows, cell)
        found[cell.name] = {
            method: saving(of[RANDOM], curve, draws=draws)
            for method, curve in sorted(of.items())
            if method != RANDOM
        }
    return found


@dataclass(frozen=True)
class Figure:
    """One goal: its name, what was reached, whether, and where it was missed."""

    name: str
    value: float | None
    goal: str
    reached: bool
    missed: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For `robustness.json`."""
        return {
            "value": self.value,
            "goal": self.goal,
            "reached": self.reached,
            "missed": list(self.missed),
        }


def figures(found: Table, cells: tuple[Cell, ...], few: Table) -> list[Figure]:
    """P1, P2, P2b, P3 and harm, over the cells that are there.

    Args:
        few: the table on the rivals' seeds alone, on which P3 compares like with like.
    """
    by_group: dict[str, list[Cell]] = {}
    for cell in cells:
        by_group.setdefault(cell.group, []).append(cell)
    results: list[Figure | None] = []
    if "well-specified" in by_group:
        results.append(_p1(found, by_group["well-specified"]))
    if "real" in by_group:
        results.append(_p2(found, by_group["real"]))
    if "misspecified" in by_group:
        results.append(_p2b(found, by_group["misspecified"]))
    results += [_harm(found, cells), _p3(few, cells)]
    return [figure for figure in results if figure is not None]


def ceiling(of: Mapping[str, Saving]) -> float:
    """The best that a design which knows the truth, or any method, saved on a cell."""
    return max(one.mean for one in of.values())


def _p1(found: Table, cells: list[Cell]) -> Figure:
    shares, missed = [], []
    for cell in cells:
        ours = found[cell.name][OURS].mean
        best = ceiling(found[cell.name])
        shares.append(ours / best)
        if ours < 0.9 * best or (best >= 2.2 and ours < 2.0):
            missed.append(f"{cell.name}: {ours:.2f}, ceiling {best:.2f}")
    goal = "≥ 0.9 of the ceiling's saving in every regime; ≥ 2.0 where the ceiling's is ≥ 2.2"
    return Figure("P1", min(shares), goal, not missed, tuple(missed))


def _p2(found: Table, cells: list[Cell]) -> Figure:
    ours = geometric([found[c.name][OURS].mean for c in cells])
    best = geometric([ceiling(found[c.name]) for c in cells])
    need = min(1.5, 0.8 * best)
    goal = f"≥ min(1.5, 0.8 × the ceiling's {best:.2f}) = {need:.2f}"
    return Figure("P2", ours, goal, ours >= need)


def _p2b(found: Table, cells: list[Cell]) -> Figure:
    missed, values = [], []
    for cell in cells:
        ours, need = found[cell.name][OURS].mean, min(1.3, 0.8 * ceiling(found[cell.name]))
        values.append(ours)
        if ours < need:
            missed.append(f"{cell.name}: {ours:.2f} < {need:.2f}")
    goal = "≥ min(1.3, 0.8 × the ceiling's) in every regime"
    return Figure("P2b", min(values), goal, not missed, tuple(missed))


def _harm(found: Table, cells: tuple[Cell, ...]) -> Figure:
    missed, worst = [], -np.inf
    for cell in cells:
        one = found[cell.name][OURS]
        budgets = [cell.budgets[0], *one.labels.tolist()]
        for n, low, high in zip(budgets, one.harm[1], one.harm[2], strict=True):
            worst = max(worst, high)
            if high > HARM:
                sure = "significantly worse" if low > 0 else "not excluded"
                missed.append(f"{cell.name}, {n} labels: [{low:+.2f}, {high:+.2f}], {sure}")
    goal = f"upper 95 % limit of (ours − random) / random's regret ≤ {HARM:g} in every cell"
    return Figure("harm", float(worst), goal, not missed, tuple(missed))


def _p3(found: Table, cells: tuple[Cell, ...]) -> Figure | None:
    rivals = rival_means(found, cells)
    if not rivals:
        return None
    best = max(rivals, key=lambda name: rivals[name])
    ours = geometric([found[c.name][OURS].mean for c in cells])
    ratio = ours / rivals[best]
    return Figure("P3", ratio, f"≥ 1.2 × the best single rival ({best})", ratio >= 1.2)


def rival_means(found: Table, cells: tuple[Cell, ...]) -> dict[str, float]:
    """Geometric mean saving over all cells of every method that is neither ours nor an oracle's."""
    names = set.intersection(*(set(found[c.name]) for c in cells))
    rivals = names - {OURS, "trusting", *CEILINGS}
    return {name: geometric([found[c.name][name].mean for c in cells]) for name in sorted(rivals)}


def geometric(values: list[float]) -> float:
    """Geometric mean."""
    return float(np.exp(np.mean(np.log(values))))


def principal(found: Table) -> list[str]:
    """The principal methods that were run, random left out."""
    first = next(iter(found.values()))
    return [name for name in PRINCIPAL if name in first]
