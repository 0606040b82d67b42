"""The pictures of the page’s first screen: the whole run against random pairs, predicted and measured.

The run is a filled dot and a full line, random pairs a ring and a dashed one: they are told apart without
colour.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from whichpairs.evaluate.interval import Interval
from whichpairs.report.charts.canvas import (
    ACCENT,
    PAPER,
    RULE,
    SOFT,
    draw,
    plain_log,
    steps,
    tick,
)
from whichpairs.report.data.design_curves import Curves
from whichpairs.report.data.random_arm import Arm
from whichpairs.report.data.whole_run import WholeRun

WIDE, NARROW = (736.0, 330.0), (352.0, 300.0)


def gap_curve(whole: WholeRun, label: str, *, narrow: bool = False) -> Markup:
    """Predicted gap against labels, both on log axes, with two standard errors of each mean."""

    def paint(axes: Axes) -> None:
        _paint_random(axes, whole)
        at = [point.labels for point in whole.points]
        mean = [point.ours.mean for point in whole.points]
        ends = [point.ours.ends for point in whole.points]
        if not whole.at_random:
            _whiskers(axes, [n * 0.985 for n in at], ends, ACCENT)
            _whiskers(axes, [n * 1.015 for n in at], [p.random.ends for p in whole.points], SOFT)
            axes.plot(
                at,
                mean,
                color=ACCENT,
                marker="o",
                markersize=8,
                markeredgecolor=PAPER,
                label="this run",
            )
        _frame(axes, narrow)
        _legend(axes, "upper right")
        axes.set_title("predicted gap (less is better)", loc="left", fontsize=12, color=SOFT)

    name = "gap-narrow" if narrow else "gap"
    return draw(name, NARROW if narrow else WIDE, label, paint)


def _paint_random(axes: Axes, whole: WholeRun) -> None:
    every = dict(whole.curve) | {p.labels: p.random for p in whole.points}
    n = sorted(every)
    mean = np.array([every[k].mean for k in n])
    low, high = (np.array([every[k].ends[side] for k in n]) for side in (0, 1))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.fill_between(n, np.maximum(low, mean / 4), high, color=RULE, linewidth=0, alpha=0.6)
    marks = [n.index(point.labels) for point in whole.points]
    axes.plot(
        *(n, mean, "--o"),
        color=SOFT,
        markerfacecolor=PAPER,
        markersize=7,
        markevery=marks,
        label="random pairs",
    )
    axes.set_xlim(n[0] * 0.95, n[-1] * 1.06)


def _legend(axes: Axes, where: Literal["upper right", "lower right"]) -> None:
    """Names in the colour of their lines (a ring's inside is the paper's, and would not be seen)."""
    legend = axes.legend(frameon=False, loc=where, handlelength=2.6)
    for text, line in zip(legend.get_texts(), legend.get_lines(), strict=True):
        text.set_color(line.get_color())


def _frame(axes: Axes, narrow: bool) -> None:
    low, high = axes.get_ylim()
    plain_log(axes, "y", steps(low, high))
    axes.set_ylim(low, high)
    plain_log(axes, "x", steps(*axes.get_xlim(), most=4 if narrow else 7))
    axes.minorticks_off()
    axes.grid(axis="y")
    axes.set_xlabel("labels, controls not counted")


def _whiskers(
    axes: Axes, at: Sequence[float], ends: Sequence[tuple[float, float]], colour: str
) -> None:
    low, high = zip(*ends, strict=True)
    axes.vlines(at, np.maximum(low, 1e-12), high, color=colour, linewidth=1.4)


def gain_curve(arm: Arm, label: str, *, narrow: bool = False) -> Markup:
    """Measured gain in J against labels, with 95 % intervals."""

    def paint(axes: Axes) -> None:
        axes.set_xscale("log")
        _measured(axes, arm.random, 1.02, SOFT, "--", PAPER, "random pairs")
        _measured(axes, arm.ours, 0.98, ACCENT, "-", ACCENT, "this run")
        both = [*arm.ours, *arm.random]
        n = [labels for labels, _ in both]
        axes.set_xlim(min(n) * 0.85, max(n) * 1.18)
        _legend(axes, "lower right")
        plain_log(axes, "x", steps(*axes.get_xlim(), most=4 if narrow else 7))
        axes.minorticks_off()
        axes.grid(axis="y")
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: tick(y) if y else "0"))
        axes.set_xlabel("labels, controls not counted")
        title = "measured gain in J on held-out prompts (more is better)"
        axes.set_title(
            "measured gain in J (more is better)" if narrow else title,
            loc="left",
            fontsize=12,
            color=SOFT,
        )

    name = "gain-narrow" if narrow else "gain-curve"
    return draw(name, NARROW if narrow else WIDE, label, paint)


def _measured(
    axes: Axes,
    rows: Sequence[tuple[int, Interval]],
    shift: float,
    colour: str,
    line: str,
    face: str,
    name: str,
) -> None:
    at = [n * shift for n, _ in rows]
    ends = [
        (v.mean if v.low is None else v.low, v.mean if v.high is None else v.high) for _, v in rows
    ]
    low, high = zip(*ends, strict=True)
    axes.vlines(at, low, high, color=colour, linewidth=1.4)
    mean = [v.mean for _, v in rows]
    axes.plot(
        *(at, mean),
        color=colour,
        linestyle=line,
        marker="o",
        markersize=8,
        markerfacecolor=face,
        label=name,
    )


def outlook_curve(curves: Curves, label: str, *, narrow: bool = False) -> Markup:
    """Predicted gap against labels of a pool that nothing is picked from yet."""

    def paint(axes: Axes) -> None:
        n, mean, spread = (np.array(column) for column in zip(*curves.random, strict=True))
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.fill_between(n, mean - 2 * spread, mean + 2 * spread, color=RULE, linewidth=0)
        axes.plot(n, mean, color=SOFT, linestyle="--")
        at = len(n) // 2
        axes.annotate(
            "random pairs", (n[at], mean[at]), (8, 6), textcoords="offset points", color=SOFT
        )
        if curves.best:
            b, value = (np.array(column) for column in zip(*curves.best, strict=True))
            axes.plot(b, value, color=ACCENT, marker="o", markersize=6, markeredgecolor=PAPER)
            axes.annotate(
                "best design",
                (b[-1], value[-1]),
                (-8, -16),
                textcoords="offset points",
                ha="right",
                color=ACCENT,
            )
        axes.set_xlim(n[0] * 0.95, n[-1] * 1.06)
        _frame(axes, narrow)
        axes.set_title("predicted gap (less is better)", loc="left", fontsize=12, color=SOFT)

    name = "outlook-narrow" if narrow else "outlook"
    return draw(name, NARROW if narrow else WIDE, label, paint)
