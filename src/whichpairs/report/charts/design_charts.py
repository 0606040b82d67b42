"""The figures of the page. Imported only when a page is written: matplotlib is not light.

One accent colour is for what was picked; grey is for what it is compared with. Words stand beside
what they name; there are no legends.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from whichpairs.report.charts.canvas import (
    ACCENT,
    INK,
    PAPER,
    RULE,
    SOFT,
    draw,
    plain_log,
    steps,
    tick,
)
from whichpairs.report.data.design_curves import Curves

WIDE, NARROW = (736.0, 420.0), (352.0, 330.0)
PANEL, SMALL = (352.0, 240.0), (236.0, 206.0)
GROUPS = ((0, 0), (1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (17, 10**9))
"""How many pairs a prompt has, in bars."""


def budget_curve(
    curves: Curves, batches: Sequence[dict[str, Any]], label: str, *, narrow: bool = False
) -> Markup:
    """Predicted gap against labels, both on log axes.

    Args:
        batches: ``name, labels, gap, random`` of each batch that can stand on this curve,
            `labels` being all that were picked up to it.
    """

    def paint(axes: Axes) -> None:
        _paint_curves(axes, curves, narrow)
        for batch in batches:
            _paint_batch(axes, batch)
        _name_batches(axes, batches, narrow)
        low, high = axes.get_ylim()
        plain_log(axes, "y", steps(low, high))
        axes.set_ylim(low, high)
        plain_log(axes, "x", steps(*axes.get_xlim(), most=4 if narrow else 7))
        axes.minorticks_off()
        axes.grid(axis="y")
        axes.set_xlabel("labels picked in this run")
        axes.set_title("predicted gap", loc="left", fontsize=12, color=SOFT)

    name = "curve-narrow" if narrow else "curve"
    return draw(name, NARROW if narrow else WIDE, label, paint)


def _paint_curves(axes: Axes, curves: Curves, narrow: bool) -> None:
    n, mean, spread = (np.array(column) for column in zip(*curves.random, strict=True))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.fill_between(n, mean - 2 * spread, mean + 2 * spread, color=RULE, linewidth=0)
    axes.plot(n, mean, color=SOFT)
    at = len(n) // 2 if narrow else (len(n) * 2) // 3
    axes.annotate("random pairs", (n[at], mean[at]), (8, 6), textcoords="offset points", color=SOFT)
    if curves.best:
        b, value = (np.array(column) for column in zip(*curves.best, strict=True))
        axes.plot(b, value, color=ACCENT)
        axes.annotate(
            "best design",
            (b[-1], value[-1]),
            (-26, -6),
            textcoords="offset points",
            ha="right",
            color=ACCENT,
        )
    axes.set_xlim(n[0], n[-1] * 1.02)


def _paint_batch(axes: Axes, batch: dict[str, Any]) -> None:
    x = batch["labels"]
    if batch["random"] is not None:
        axes.plot([x, x], [batch["gap"], batch["random"]], color=INK, linewidth=0.8, linestyle=":")
        axes.plot(x, batch["random"], "o", color=SOFT, markerfacecolor=PAPER, markersize=6)
    axes.plot(x, batch["gap"], "o", color=ACCENT, markeredgecolor=PAPER, markersize=9)


def _name_batches(axes: Axes, batches: Sequence[dict[str, Any]], narrow: bool) -> None:
    shown = batches if len(batches) <= 4 else [batches[0], batches[-1]]
    for batch in shown:
        axes.annotate(
            batch["name"] if narrow or len(batches) > 4 else f"batch {batch['name']}",
            (batch["labels"], batch["gap"]),
            (-7, -15),
            textcoords="offset points",
            ha="right",
            color=ACCENT,
            fontweight="bold",
        )


def prompt_bars(name: str, mine: np.ndarray, others: np.ndarray | None, label: str) -> Markup:
    """How many prompts have so many pairs: picked (bars) against random of the same number (dots).

    Args:
        mine, others: pairs of every eligible prompt.
    """
    given = [mine] if others is None else [mine, others]
    top = max(int(x.max(initial=0)) for x in given)
    groups = [g for g in GROUPS if g[0] <= top]
    heights = [[int(((x >= a) & (x <= b)).sum()) for a, b in groups] for x in given]

    def paint(axes: Axes) -> None:
        x = np.arange(len(groups))
        axes.bar(x, heights[0], width=0.7, color=ACCENT)
        for dashes in heights[1:]:
            axes.plot(x, dashes, "_", color=INK, markersize=20, markeredgewidth=2)
        names = [str(a) if a == b else f"{a}–{b}" if b < 10**9 else f"{a}+" for a, b in groups]
        axes.set_xticks(x, names)
        axes.tick_params(axis="x", length=0, labelsize=11)
        axes.set_xlabel("pairs of one prompt")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: tick(y) if y else "0"))
        axes.grid(axis="y")
        axes.set_title("prompts", loc="left", fontsize=12, color=SOFT)
        axes.spines["left"].set_visible(False)

    return draw(name, SMALL, label, paint)


def two_densities(name: str, mine: np.ndarray, others: np.ndarray, axis: str, label: str) -> Markup:
    """Two histograms on a log axis: random candidates filled grey, picked pairs in the accent."""
    both = np.concatenate([mine, others])
    above = both[both > 0]
    low = max(float(np.percentile(above, 0.5)), 1e-6) if len(above) else 0.1
    edges = np.geomspace(low, max(float(both.max(initial=0.0)), low * 10) * 1.05, 37)
    centres = np.sqrt(edges[1:] * edges[:-1])

    def paint(axes: Axes) -> None:
        tops = []
        for values, style in ((others, {"fill": True, "color": RULE}), (mine, {"color": ACCENT})):
            heights, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
            share = heights / max(len(values), 1)
            if len(values):
                axes.stairs(share, edges, linewidth=2, **style)  # type: ignore[arg-type]
            tops.append((float(centres[int(share.argmax())]), float(share.max())))
        _name_peaks(axes, tops, edges)
        axes.set_xlabel(axis)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        plain_log(axes, "x", steps(edges[0], edges[-1], most=5))
        axes.set_ylim(0, max(*(top for _, top in tops), 0.01) * 1.2)

    return draw(name, SMALL, label, paint)


def _name_peaks(axes: Axes, tops: list[tuple[float, float]], edges: np.ndarray) -> None:
    """A word at each peak; where the peaks meet, one on each side of them."""
    across = np.log(edges[-1] / edges[0])
    highest = max(y for _, y in tops)
    (x0, y0), (x1, y1) = tops
    together = abs(np.log(x0 / x1)) < 0.25 * across and abs(y0 - y1) < 0.25 * highest
    for (x, y), other, word, colour in (
        (tops[0], x1, "random", SOFT),
        (tops[1], x0, "picked", ACCENT),
    ):
        if y == 0:
            continue
        left = x < other or (x == other and word == "random")
        near_end = np.log(x / edges[0]) > 0.8 * across
        side = "right" if (together and left) or near_end else "left" if together else "center"
        axes.annotate(
            word,
            (x, y),
            ((-12 if side == "right" else 12) if together else 0, -4 if together else 5),
            textcoords="offset points",
            ha=side,
            color=colour,
            fontweight="bold" if word == "picked" else "normal",
        )
