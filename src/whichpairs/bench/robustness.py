"""`docs/results/robustness.md` and `.json`: the tables of the bench, losses in full."""

import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from whichpairs.bench.figures import (
    OURS,
    Figure,
    Table,
    figures,
    geometric,
    principal,
    rival_means,
    table,
)
from whichpairs.bench.grid import Cell, Grid
from whichpairs.bench.picture import regret_picture, savings_picture
from whichpairs.bench.planner import planner_section
from whichpairs.bench.summary import Saving
from whichpairs.pool.files import write_whole
from whichpairs.pool.run import versions


def write_results(
    rows: pl.DataFrame,
    grid: Grid,
    folder: Path,
    *,
    command: str,
    processes: int = 2,
    own: bool = False,
) -> tuple[list[Figure], Table]:
    """Write ``robustness.md``, ``.json`` and two pictures; returns the figures and the table.

    Args:
        command: what regenerates them; processes: for the planner's section.
        own: the cells are a user's: no goals of ours, and nothing was tuned on them.
    """
    found = table(rows, grid.cells)
    few = table(rows.filter(pl.col("seed") < grid.rival_seeds), grid.cells)
    results = figures(found, grid.cells, few)
    rivals = rival_means(few, grid.cells)
    best = max(rivals, key=lambda name: rivals[name]) if rivals else None
    planner = planner_section(grid.cells, found, processes)
    facts = {
        "command": command,
        "made": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
        "machine": f"{platform.machine()}, {platform.processor() or platform.system()}",
        "versions": versions(),
        "seeds": {
            "random and ours": grid.seeds,
            "oracle, plug-in, trusting": grid.ceiling_seeds,
            "rivals": grid.rival_seeds,
        },
    }
    ours = [] if own else [_goals(results), _left_out(found, grid.cells)]
    parts = [
        _head(facts, rows),
        *ours,
        _cells(found, grid.cells, best),
        _budgets(found, grid.cells),
        _losses(found, grid.cells),
        _ranking(few, found, grid.cells, rivals),
        planner["markdown"],
    ]
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "robustness-savings.png", savings_picture(found, best))
    write_whole(folder / "robustness-regret.png", regret_picture(rows, grid.cells))
    write_whole(folder / "robustness.md", "\n\n".join(parts) + "\n")
    as_json = {
        **facts,
        "figures": {figure.name: figure.as_json() for figure in results},
        "cells": {cell: {m: _plain(s) for m, s in of.items()} for cell, of in found.items()},
        "planner": planner["json"],
    }
    write_whole(folder / "robustness.json", json.dumps(as_json, indent=1) + "\n")
    return results, found


def in_words(found: Table, seeds: int) -> list[str]:
    """A plain verdict a cell."""
    lines = []
    for cell, of in found.items():
        one = of[OURS]
        if one.low > 1.0:
            verdict = "worth it"
        elif one.high < 1.0:
            verdict = "random is better here"
        else:
            verdict = "random is as good here, so far as these seeds tell"
        lines.append(
            f"{cell}: {verdict}. Labels saved {_interval(one)}; regret against random's at "
            f"{one.labels[-1]} labels {one.harm[0][-1]:+.0%} [{one.harm[1][-1]:+.0%}, "
            f"{one.harm[2][-1]:+.0%}]"
        )
    if seeds < 8:
        lines.append(f"{seeds} seeds are few: intervals over them are too narrow (--seeds 20).")
    return lines


def _plain(one: Saving) -> dict[str, Any]:
    names = ("mean", "low", "high")
    lists = ("labels", "ratios", "beyond", "regrets", "harm")
    plain: dict[str, Any] = {name: round(getattr(one, name), 4) for name in names}
    for name in lists:
        values = getattr(one, name)
        plain[name] = values.round(5).tolist()
    return plain


def _head(facts: Mapping[str, Any], rows: pl.DataFrame) -> str:
    runs = rows.select("cell", "method", "seed").n_unique()
    hours = rows.unique(["cell", "method", "seed"])["seconds"].sum() / 3600
    return (
        "# Robustness: labels saved against random, and harm\n\n"
        f"Printed by `{facts['command']}` on {facts['made']} ({facts['machine']}, "
        f"{runs} runs, {hours:.1f} core-hours; seeds: "
        + ", ".join(f"{who} {count}" for who, count in facts["seeds"].items())
        + f"; "
        f"numpy {facts['versions']['numpy']}, scipy {facts['versions']['scipy']}).\n\n"
        "Regret is J(θ†) − J(θ̂) on held-out prompts; *labels saved* is random's labels ÷ the "
        "method's at equal regret, geometric mean over all budgets but the first, with a 95 % "
        "bootstrap interval; ≥ and ≤ mark ratios that leave random's curve. One estimator, the "
        "same rounds, labels and pools for all. *Oracle* knows θ† (and is no upper bound: the ceiling is the best of all); *trusting* is ours without its "
        "caution; *plug-in* is the paper's design."
    )


def _goals(results: list[Figure]) -> str:
    lines = ["## Goals", "", "| figure | found | goal | reached |", "|---|---|---|---|"]
    for one in results:
        value = "none" if one.value is None else f"{one.value:.2f}"
        lines.append(f"| {one.name} | {value} | {one.goal} | {'yes' if one.reached else 'no'} |")
    for one in results:
        if one.missed:
            lines += ["", f"{one.name} is missed in:", ""]
            lines += [f"- {text}" for text in one.missed]
    return "\n".join(lines)


def _left_out(found: Table, cells: tuple[Cell, ...]) -> str:
    lines = [
        "## Tuned on, and left out",
        "",
        "Geometric mean of ours over the cells that the design was tuned on, and over those that the "
        "committed grid leaves out of tuning (docs/log.md says what was seen of them, and when).",
        "",
        "| cells | tuned on | left out |",
        "|---|---|---|",
    ]
    for group in dict.fromkeys(cell.group for cell in cells):
        shown = []
        for left_out in (False, True):
            some = [c for c in cells if c.group == group and c.left_out is left_out]
            values = [found[c.name][OURS].mean for c in some]
            shown.append(f"{geometric(values):.2f} ({len(some)})" if some else "none")
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
        shown = [_interval(found[cell.name][name]) for name in names]
        mark = " (left out)" if cell.left_out else ""
        lines.append(f"| {cell.name}{mark} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def _interval(one: Saving) -> str:
    sign = "≥ " if one.beyond.max() > 0 else "≤ " if one.beyond.min() < 0 else ""
    return f"{sign}{one.mean:.2f} [{one.low:.2f}, {one.high:.2f}]"


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
    rows = []
    for cell in cells:
        one = found[cell.name][OURS]
        for k, n in enumerate([cell.budgets[0], *one.labels.tolist()]):
            mean, low, high = one.harm[:, k]
            if mean > 0:
                rows.append(f"| {cell.name} | {n} | {mean:+.3f} | [{low:+.3f}, {high:+.3f}] |")
    lines = ["## Where random wins", ""]
    if not rows:
        return "\n".join([*lines, "In no cell is ours worse than random on average."])
    lines += [
        "Every cell in which our mean regret is above random's (difference ÷ random's regret).",
        "",
        "| cell | labels | mean | 95 % interval |",
        "|---|---|---|---|",
    ]
    return "\n".join(lines + rows)


def _ranking(few: Table, found: Table, cells: tuple[Cell, ...], rivals: dict[str, float]) -> str:
    names = [OURS, *sorted(rivals, key=lambda name: -rivals[name])]
    groups = list(dict.fromkeys(cell.group for cell in cells))
    lines = [
        "## All methods",
        "",
        "Labels saved, geometric means over cells, on the rivals' seeds; ours on all of its own too.",
        "",
        "| method | all | " + " | ".join(groups) + " |",
        "|---" * (len(groups) + 2) + "|",
    ]
    rows = [(f"{OURS}, all seeds", OURS, found), *((name, name, few) for name in names)]
    for shown_as, name, of in rows:
        values = {c.name: of[c.name][name].mean for c in cells}
        shown = [f"{geometric(list(values.values())):.2f}"]
        for group in groups:
            shown.append(f"{geometric([values[c.name] for c in cells if c.group == group]):.2f}")
        lines.append(f"| {shown_as} | " + " | ".join(shown) + " |")
    return "\n".join(lines)
