"""The figures of the robustness bench: what is asked, what was found, cell by cell."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import polars as pl

from whichpairs.bench.markdown import Figure
from whichpairs.bench.methods.registry import NO_RIVALS, OURS, PRINCIPAL, RANDOM
from whichpairs.bench.robustness.grid import Cell
from whichpairs.bench.robustness.summary import DRAWS, Ratio, Saving, curves, saving, together

Table = dict[str, dict[str, Saving]]
"""Cell → method → saving."""

HARM = 0.10
"""Share of random's regret that the upper end of ours − random may reach."""


def table(rows: pl.DataFrame, cells: tuple[Cell, ...], *, draws: int = DRAWS) -> Table:
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
    results += [_harm(found, cells), _worse(found, cells), _p3(few, cells)]
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
    return Figure("P1", min(shares), goal=goal, reached=not missed, missed=tuple(missed))


def _p2(found: Table, cells: list[Cell]) -> Figure:
    ours = mean_saving(found, cells, OURS)
    best = geometric([ceiling(found[c.name]) for c in cells])
    need = min(1.5, 0.8 * best)
    goal = f"≥ min(1.5, 0.8 × the ceiling's {best:.2f}) = {need:.2f}"
    return Figure("P2", ours.mean, ours.low, ours.high, goal, ours.mean >= need)


def _p2b(found: Table, cells: list[Cell]) -> Figure:
    missed, worst = [], found[cells[0].name][OURS]
    for cell in cells:
        ours, need = found[cell.name][OURS], min(1.3, 0.8 * ceiling(found[cell.name]))
        worst = min(worst, ours, key=lambda one: one.mean)
        if ours.mean < need:
            missed.append(f"{cell.name}: {ours.mean:.2f} < {need:.2f}")
    goal = "≥ min(1.3, 0.8 × the ceiling's) in every regime"
    ends = worst.total.low, worst.total.high
    return Figure("P2b", worst.mean, *ends, goal, not missed, tuple(missed))


def budgets_of(cell: Cell, one: Saving) -> Iterable[tuple[int, float, float, float, bool]]:
    """Labels, harm with the ends of its interval, and whether it *is* random, at every budget."""
    labels = [cell.budgets[0], *one.labels.tolist()]
    return zip(labels, *one.harm.tolist(), one.same.tolist(), strict=True)


def compared(found: Table, cells: tuple[Cell, ...]) -> int:
    """Cells × budgets at which ours is not random itself."""
    return sum(not same for c in cells for *_, same in budgets_of(c, found[c.name][OURS]))


def _harm(found: Table, cells: tuple[Cell, ...]) -> Figure:
    missed, worst = [], (-np.inf, -np.inf)
    for cell in cells:
        for n, mean, low, high, _ in budgets_of(cell, found[cell.name][OURS]):
            worst = max(worst, (high, mean))
            if high > HARM:
                sure = "significantly worse" if low > 0 else "not excluded"
                missed.append(f"{cell.name}, {n} labels: [{low:+.2f}, {high:+.2f}], {sure}")
    goal = f"upper 95 % limit of (ours − random) / random's regret ≤ {HARM:g} in every cell"
    return Figure("harm", worst[0], goal=goal, reached=not missed, missed=tuple(missed))


def _worse(found: Table, cells: tuple[Cell, ...]) -> Figure:
    """Cells × budgets at which ours is significantly worse, of those where it is not random
    itself."""
    counted, where = compared(found, cells), []
    for cell in cells:
        for n, _, low, _, same in budgets_of(cell, found[cell.name][OURS]):
            if low > 0 and not same:
                where.append(f"{cell.name}, {n} labels")
    goal = f"0 of the {counted} cells × budgets at which {OURS} is not random itself"
    value = float(len(where))
    return Figure("worse than random", value, goal=goal, reached=not where, missed=tuple(where))


def _p3(few: Table, cells: tuple[Cell, ...]) -> Figure | None:
    rivals = rival_means(few, cells)
    if not rivals:
        return None
    best = max(rivals, key=lambda name: rivals[name])
    ours = mean_saving(few, cells, OURS)
    theirs = mean_saving(few, cells, best)
    ratio = ours.mean / theirs.mean
    goal = f"≥ 1.2 × the best single rival ({best})"
    return Figure("P3", ratio, goal=goal, reached=ratio >= 1.2)


def rivals_of(found: Table, cells: Sequence[Cell]) -> list[str]:
    """Methods run on all cells that are neither ours nor an oracle's."""
    names = set.intersection(*(set(found[c.name]) for c in cells))
    return sorted(names - set(NO_RIVALS))


def rival_means(found: Table, cells: Sequence[Cell]) -> dict[str, float]:
    """Geometric mean saving over the cells of every rival."""
    return {
        name: geometric([found[c.name][name].mean for c in cells])
        for name in rivals_of(found, cells)
    }


def mean_saving(found: Table, cells: Sequence[Cell], method: str) -> Ratio:
    """The geometric mean saving of a method over some cells."""
    return together([found[cell.name][method] for cell in cells])


def columns(cells: tuple[Cell, ...]) -> dict[str, list[Cell]]:
    """The cells behind each column of the tables: all, and each group."""
    groups = {group: [c for c in cells if c.group == group] for group in _groups(cells)}
    return {"all": list(cells), **groups}


def _groups(cells: tuple[Cell, ...]) -> list[str]:
    return list(dict.fromkeys(cell.group for cell in cells))


def geometric(values: Sequence[float]) -> float:
    """Geometric mean."""
    return float(np.exp(np.mean(np.log(values))))


def principal(found: Table) -> list[str]:
    """The principal methods that were run, random left out."""
    first = next(iter(found.values()))
    return [name for name in PRINCIPAL if name in first]
