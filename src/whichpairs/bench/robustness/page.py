"""`docs/results/robustness.md` and `.json`: the tables of the bench, losses in full."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from whichpairs.bench.markdown import About, Figure, goals, write_page
from whichpairs.bench.methods.registry import OURS
from whichpairs.bench.robustness.goals import (
    Table,
    budgets_of,
    columns,
    compared,
    figures,
    mean_saving,
    principal,
    rival_means,
    rivals_of,
    table,
)
from whichpairs.bench.robustness.grid import Cell, Grid
from whichpairs.bench.robustness.pictures import regret_picture, savings_picture
from whichpairs.bench.robustness.planner import planner_section
from whichpairs.bench.robustness.summary import Ratio, Saving, together

MEASURES = (
    "whichpairs.bench.robustness.runner",
    "whichpairs.bench.robustness.goals",
    "whichpairs.bench.robustness.planner",
    "whichpairs.bench.robustness.grid:load_grid",
    "whichpairs.workflow.features.stage:_text",
    "whichpairs.features.store:write_features",
)
"""Where the measuring of this page begins: the grid, its runs, and the features of the real pool.
How that pool is read is left out: what it came to, as arrays, is in every row's key
(`Cell.content`)."""


def write_results(
    rows: pl.DataFrame,
    grid: Grid,
    folder: Path,
    *,
    command: str,
    kept: Path,
    processes: int = 2,
    own: bool = False,
) -> tuple[list[Figure], Table]:
    """Write ``robustness.md``, ``.json`` and two pictures; returns the figures and the table.

    Args:
        command: what regenerates them; kept: folder of what the planner's section computes once;
            processes: for it.
        own: the cells are a user's: no goals of ours, and nothing was tuned on them.
    """
    found = table(rows, grid.cells)
    few = table(rows.filter(pl.col("seed") < grid.rival_seeds), grid.cells)
    results = figures(found, grid.cells, few)
    rivals = rival_means(few, grid.cells)
    best = max(rivals, key=lambda name: rivals[name]) if rivals else None
    planner = planner_section(grid.cells, found, processes, kept)
    seeds = {
        "random and ours": grid.seeds,
        "oracle, gap, trusting": grid.ceiling_seeds,
        "rivals": grid.rival_seeds,
    }
    head = _head(command, seeds, rows)
    ours = [] if own else ["## Goals\n\n" + goals(results), _left_out(found, grid.cells)]
    parts = [
        head,
        *ours,
        _cells(found, grid.cells, best),
        _budgets(found, grid.cells),
        _losses(found, grid.cells),
        _ranking(few, found, grid.cells, rivals),
        planner["markdown"],
    ]
    facts = {
        "seeds": seeds,
        "columns": _columns(few, found, grid.cells),
        "compared": compared(found, grid.cells),
        "by_budget": _by_budget(found, grid.cells),
        "cells": {cell: {m: _plain(s) for m, s in of.items()} for cell, of in found.items()},
        "seconds": _seconds(rows),
        "planner": planner["json"],
    }
    pictures = {
        "robustness-savings.png": savings_picture(found, best),
        "robustness-regret.png": regret_picture(rows, grid.cells),
    }
    about = About(command, MEASURES)
    write_page(folder, "robustness", about, results, facts, "\n\n".join(parts), pictures)
    return results, found


def in_words(found: Table, seeds: int) -> list[str]:
    """A plain verdict a cell."""
    lines = []
    for cell, of in found.items():
        one = of[OURS]
        lines.append(
            f"{cell}: {one.total.verdict}. Labels saved {one.total}; regret against random's at "
            f"{one.labels[-1]} labels {one.harm[0][-1]:+.0%} [{one.harm[1][-1]:+.0%}, "
            f"{one.harm[2][-1]:+.0%}]"
        )
    if seeds < 8:
        lines.append(f"{seeds} seeds are few: more narrow the intervals (--seeds 20).")
    return lines


def plain_ratio(one: Ratio) -> dict[str, Any]:
    """For JSON: null where an end of the interval is not known."""
    return {
        "value": round(one.mean, 4),
        "low": round(one.low, 4) if one.low > 0.0 else None,
        "high": round(one.high, 4) if np.isfinite(one.high) else None,
        "shown": str(one),
        "verdict": str(one.verdict),
    }


def _plain(one: Saving) -> dict[str, Any]:
    plain: dict[str, Any] = plain_ratio(one.total)
    for name in ("labels", "ratios", "beyond", "regrets", "harm"):
        plain[name] = _finite(np.asarray(getattr(one, name), dtype=np.float64).round(5).tolist())
    return plain | {"same": one.same.tolist()}


def _finite(values: Any) -> Any:
    """Lists in which null stands for what is not known."""
    if isinstance(values, list):
        return [_finite(value) for value in values]
    return values if np.isfinite(values) else None


def _columns(few: Table, found: Table, cells: tuple[Cell, ...]) -> dict[str, Any]:
    """Labels saved by column of the tables: ours on all seeds, and every method on the rivals'."""
    return {
        column: {
            "cells": len(some),
            "all seeds": plain_ratio(mean_saving(found, some, OURS)),
            "rivals' seeds": {
                name: plain_ratio(mean_saving(few, some, name))
                for name in (OURS, *rivals_of(few, cells))
            },
        }
        for column, some in columns(cells).items()
    }


def _by_budget(found: Table, cells: tuple[Cell, ...]) -> dict[str, Any]:
    """Ours, at each budget after the first, by column, where its cells have the same budgets."""
    shown = {}
    for column, some in columns(cells).items():
        if len({cell.budgets for cell in some}) == 1:
            each = [found[cell.name][OURS] for cell in some]
            at = [plain_ratio(together(each, k)) for k in range(len(each[0].labels))]
            shown[column] = dict(zip(map(str, each[0].labels.tolist()), at, strict=True))
    return shown


def _seconds(rows: pl.DataFrame) -> dict[str, Any]:
    """Core-seconds by cell and by method."""
    runs = rows.unique(["cell", "method", "seed"])
    return {
        by: {
            name: round(seconds, 1)
            for name, seconds in runs.group_by(by).agg(pl.col("seconds").sum()).sort(by).iter_rows()
        }
        for by in ("cell", "method")
    }


def _head(command: str, seeds: Mapping[str, int], rows: pl.DataFrame) -> str:
    runs = rows.unique(["cell", "method", "seed"])
    hours = runs["seconds"].sum() / 3600
    return (
        "# Robustness: labels saved against random, and harm\n\n"
        f"Printed by `{command}` ({len(runs)} runs, {hours:.1f} core-hours; seeds: "
        + ", ".join(f"{who} {count}" for who, count in seeds.items())
        + "; machine, versions, and the fingerprint of the code: "
        "[robustness.json](robustness.json)).\n\n"
        "Regret is J(θ†) − J(θ̂) on held-out prompts; *labels saved* is random's labels ÷ the "
        "method's at equal regret, geometric mean over all budgets but the first, with a 95 % "
        "bootstrap interval over seeds (and, where all seeds share one pool, over its held-out "
        "prompts; "
        "not over pools); ≥ and ≤ mark ratios that leave random's curve, which are bounds, and an "
        "interval "
        "that rests on such ends at 0 or ∞. One estimator, the same rounds, labels and pools for "
        "all; a "
        "policy fitted in feature space. *adaptive*, *gap*, *signal* and the baselines are those "
        "of "
        "`whichpairs select`; *oracle* knows θ† (and is no upper bound: the ceiling is the best "
        "of all); "
        "*trusting* is adaptive without its caution; *gap* is the paper's plug-in design."
    )


def _left_out(found: Table, cells: tuple[Cell, ...]) -> str:
    lines = [
        "## Tuned on, and left out",
        "",
        "Geometric mean of ours over the cells that the design was tuned on, and over those that "
        "the "
        "committed grid leaves out of tuning (docs/log.md says what was seen of them, and when).",
        "",
        "| cells | tuned on | left out |",
        "|---|---|---|",
    ]
    for group in dict.fromkeys(cell.group for cell in cells):
        shown = []
        for left_out in (False, True):
            some = [c for c in cells if c.group == group and c.left_out is left_out]
            ratio = mean_saving(found, some, OURS) if some else None
            shown.append(f"{ratio} ({len(some)})" if ratio else "none")
        lines.append(f"| {group} | {shown[0]} | {shown[1]} |")
    return "\n".join(lines)


def _cells(found: Table, cells: tuple[Cell, ...], best: str | None) -> str:
    names = [*principal(found), *([best] if best else [])]
    lines = [
        "## Labels saved, by cell",
        "",
        "![Labels saved](robustness-savings.png)",
        "",
        "| cell | " + " | ".join(names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for cell in cells:
        shown = [str(found[cell.name][name].total) for name in names]
        mark = " (left out)" if cell.left_out else ""
        lines.append(f"| {cell.name}{mark} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def _budgets(found: Table, cells: tuple[Cell, ...]) -> str:
    lines = [
        "## Ours, by budget",
        "",
        "![Regret against labels](robustness-regret.png)",
        "",
        "Labels saved at each budget, and the 95 % interval of (ours − random) / random's regret.",
        "",
        "| cell | " + " | ".join(f"budget {k}" for k in range(1, 7)) + " |",
        "|---" * 7 + "|",
    ]
    for cell in cells:
        one = found[cell.name][OURS]
        shown = [f"{cell.budgets[0]}: [{one.harm[1][0]:+.2f}, {one.harm[2][0]:+.2f}]"]
        for k, n in enumerate(one.labels):
            mark = {1: "≥ ", 0: "", -1: "≤ "}[int(one.beyond[k])]
            low, high = one.harm[1][k + 1], one.harm[2][k + 1]
            shown.append(f"{n}: {mark}{one.ratios[k]:.2f} [{low:+.2f}, {high:+.2f}]")
        lines.append(f"| {cell.name} | " + " | ".join(shown + [""] * (6 - len(shown))) + " |")
    return "\n".join(lines)


def _losses(found: Table, cells: tuple[Cell, ...]) -> str:
    rows, counted, worse = [], compared(found, cells), 0
    for cell in cells:
        for n, mean, low, high, same in budgets_of(cell, found[cell.name][OURS]):
            worse += low > 0 and not same
            if mean > 0 and not same:
                rows.append(f"| {cell.name} | {n} | {mean:+.3f} | [{low:+.3f}, {high:+.3f}] |")
    lines = ["## Where random wins", ""]
    if not rows:
        return "\n".join([*lines, "In no cell is ours worse than random on average."])
    lines += [
        "Every cell in which our mean regret is above random's (difference ÷ random's regret). Of "
        f"{counted} "
        f"cells × budgets at which ours is not random itself, {worse} "
        f"{'is' if worse == 1 else 'are'} significantly worse; by chance alone, were there no "
        "difference "
        f"anywhere, about {counted * 0.025:.1f} would be.",
        "",
        "| cell | labels | mean | 95 % interval |",
        "|---|---|---|---|",
    ]
    return "\n".join(lines + rows)


def _ranking(few: Table, found: Table, cells: tuple[Cell, ...], rivals: dict[str, float]) -> str:
    names = [OURS, *sorted(rivals, key=lambda name: -rivals[name])]
    names += [name for name in ("signal",) if all(name in few[c.name] for c in cells)]
    parts = columns(cells)
    best = {
        column: max(rivals, key=lambda name, some=some: mean_saving(few, some, name).mean)  # type: ignore[misc]
        for column, some in parts.items()
        if rivals
    }
    lines = [
        "## All methods",
        "",
        "Labels saved, geometric means over cells, on the rivals' seeds; ours on all of its own "
        "too. The best "
        "rival of each column is in bold.",
        "",
        "| method | " + " | ".join(parts) + " |",
        "|---" * (len(parts) + 1) + "|",
    ]
    rows = [(f"{OURS}, all seeds", OURS, found), *((name, name, few) for name in names)]
    for shown_as, name, of in rows:
        shown = []
        for column, some in parts.items():
            ratio = mean_saving(of, some, name)
            text = f"{ratio.sign}{ratio.mean:.2f}"
            shown.append(f"**{text}**" if best.get(column) == name else text)
        lines.append(f"| {shown_as} | " + " | ".join(shown) + " |")
    return "\n".join(lines)
