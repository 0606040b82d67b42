"""Two pictures of the bench: labels saved in every cell, and regret against labels."""

from io import BytesIO

import numpy as np
import polars as pl

from whichpairs.bench.methods.registry import OURS, RANDOM
from whichpairs.bench.robustness.goals import Table, principal
from whichpairs.bench.robustness.grid import Cell
from whichpairs.bench.robustness.summary import curves

COLOURS = {
    RANDOM: "0.35",
    OURS: "#0b6e4f",
    "trusting": "#d98e04",
    "gap": "#b3412e",
    "oracle": "#4a6fa5",
}


EDGES = (1 / 12, 20)
"""Of the savings picture; a bar to an edge has no end that is known."""


def savings_picture(found: Table, best_rival: str | None) -> bytes:
    """PNG: a row a cell, a dot a method, bars for 95 % intervals."""
    from matplotlib.figure import Figure

    names = [*principal(found), *([best_rival] if best_rival else [])]
    cells = list(found)[::-1]
    figure = Figure(figsize=(8.5, 0.42 * len(cells) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    for k, name in enumerate(names):
        at = np.arange(len(cells)) + 0.13 * (len(names) / 2 - k)
        values = [found[cell][name] for cell in cells]
        mean = np.array([v.mean for v in values])
        low = mean - np.maximum([v.total.low for v in values], EDGES[0])  # no end: to the edge
        high = np.minimum([v.total.high for v in values], EDGES[1]) - mean
        low, high = np.clip(low, 0, None), np.clip(high, 0, None)
        colour = COLOURS.get(name, "#7b5ea7")
        axes.errorbar(mean, at, xerr=[low, high], fmt="o", ms=4, lw=1, color=colour, label=name)
    axes.axvline(1.0, color="0.35", lw=1)
    axes.set_xscale("log", base=2)
    axes.set_xticks([1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8], ["1/8", "1/4", "1/2", "1", "2", "4", "8"])
    axes.set_xlim(*EDGES)
    axes.set_yticks(np.arange(len(cells)), cells)
    axes.set_xlabel("labels saved: random's ÷ the method's at equal regret (geometric mean)")
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=len(names), frameon=False)
    return _png(figure)


def regret_picture(rows: pl.DataFrame, cells: tuple[Cell, ...]) -> bytes:
    """PNG: a panel a cell, mean regret against labels on log scales."""
    from matplotlib.figure import Figure

    across = 4
    down = -(-len(cells) // across)
    figure = Figure(figsize=(3.1 * across, 2.4 * down + 0.4), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).ravel()
    handles = {}
    for panel, cell in zip(panels, cells, strict=False):
        of = curves(rows, cell)
        for name in (RANDOM, "gap", "trusting", "oracle", OURS):
            if name in of:
                (line,) = panel.loglog(
                    of[name].labels, of[name].mean, "o-", ms=2.5, lw=1.2, color=COLOURS[name]
                )
                handles[name] = line
        panel.set_title(cell.name, fontsize=8)
        panel.tick_params(labelsize=7)
        panel.grid(color="0.92")
    for panel in panels[len(cells) :]:
        panel.set_visible(False)
    figure.supxlabel("labels", fontsize=9)
    figure.supylabel("regret J(θ†) − J(θ̂)", fontsize=9)
    figure.legend(
        handles.values(), handles.keys(), loc="outside upper center", ncols=5, frameon=False
    )
    return _png(figure)


def _png(figure: object) -> bytes:
    out = BytesIO()
    figure.savefig(out, format="png", dpi=110, metadata={"Software": None})  # type: ignore[attr-defined]
    return out.getvalue()
