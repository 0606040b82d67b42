"""The small figures of results: passes of a solve, calibration of a fit, means with intervals."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from whichpairs.evaluate.interval import Interval
from whichpairs.report.charts.canvas import ACCENT, INK, PAPER, RULE, SOFT, draw, tick
from whichpairs.report.charts.design_charts import PANEL
from whichpairs.report.data.records import Fitted, Pass


def convergence(
    name: str,
    passes: Sequence[Pass],
    final: float | None,
    axis: str,
    label: str,
) -> Markup:
    """Value of the batch, and the lower bound, pass by pass.

    Args:
        final: the value of the batch as it was written: after exchange steps, or picked warily.
    """
    at = [row.number for row in passes]
    value = [row.batch for row in passes]
    bound = [np.nan if row.bound is None else row.bound for row in passes]

    def paint(axes: Axes) -> None:
        axes.plot(at, bound, color=SOFT, marker="o", markersize=4)
        axes.plot(at, value, color=ACCENT, marker="o", markersize=5)
        axes.plot(
            at[-1],
            value[-1] if final is None else final,
            "o",
            color=ACCENT,
            markersize=9,
            markeredgecolor=PAPER,
        )
        _name_lines(axes, at, value, bound, value[-1] if final is None else final)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlim(at[0] - 0.3, at[-1] + 0.4)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: tick(y) if y else "0"))
        axes.grid(axis="y")
        axes.set_xlabel("pass over all pairs")
        axes.set_title(axis, loc="left", fontsize=12, color=SOFT)
        axes.spines["left"].set_visible(False)

    return draw(name, PANEL, label, paint)


def _name_lines(
    axes: Axes, at: list[int], value: list[float], bound: list[float], final: float
) -> None:
    """Words beside both lines; a value that is a gap gets an axis from 0."""
    axes.annotate("batch", (at[0], value[0]), (9, 2), textcoords="offset points", color=ACCENT)
    found = [k for k, b in enumerate(bound) if np.isfinite(b)]
    if min(value) > 0:
        axes.set_ylim(0, max(*value, final) * 1.12)
        found = [k for k in found if bound[k] > 0]
    if found:
        where = (at[found[0]], bound[found[0]])
        axes.annotate("lower bound", where, (4, -15), textcoords="offset points", color=SOFT)


def calibration(rows: Sequence[Sequence[float]], label: str) -> Markup:
    """Observed share against predicted probability, a dot a bin, with two standard errors."""
    p, share, n = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    error = 2 * np.sqrt(np.maximum(p * (1 - p), 0.0) / n)

    def paint(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=RULE, linewidth=1.5)
        axes.annotate("as\npredicted", (1, 1), (6, -8), textcoords="offset points", color=SOFT)
        low, high = np.clip(share - error, 0, 1), np.clip(share + error, 0, 1)
        axes.vlines(p, low, high, color=ACCENT, linewidth=1.2)
        axes.scatter(p, share, s=16 + 180 * n / n.max(), color=ACCENT, edgecolor=PAPER, zorder=3)
        axes.set(xlim=(0, 1.02), ylim=(-0.03, 1.05), aspect="equal")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks([0, 0.25, 0.5, 0.75, 1], ["0", "¼", "½", "¾", "1"])
        axes.grid(True)
        axes.set_xlabel("predicted probability that A wins")
        axes.set_title("share that A won", loc="left", fontsize=12, color=SOFT)

    return draw("calibration", (352.0, 352.0), label, paint)


def dots(name: str, rows: Sequence[tuple[str, Interval, bool]], label: str, zero: bool) -> Markup:
    """Means with their intervals, a row each, the accent for the marked ones; `zero` draws a line."""

    def paint(axes: Axes) -> None:
        for k, (who, value, marked) in enumerate(reversed(rows)):
            colour = ACCENT if marked else SOFT
            if value.low is not None and value.high is not None:
                axes.plot([value.low, value.high], [k, k], color=colour, linewidth=2.5)
            axes.plot(value.mean, k, "o", color=colour, markeredgecolor=PAPER, markersize=10)
            axes.annotate(
                who,
                (value.mean, k),
                (0, 11),
                textcoords="offset points",
                ha="center",
                color=colour,
                fontweight="bold" if marked else "normal",
            )
        if zero:
            axes.axvline(0.0, color=INK, linewidth=1)
        axes.margins(x=0.22)
        axes.set_ylim(-0.6, len(rows) - 0.2)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda x, _: tick(x) if abs(x) > 1e-12 else "0")
        )

    return draw(name, (352.0, 64.0 + 46.0 * len(rows)), label, paint)


def foretold(rows: Sequence[Fitted], label: str) -> Markup:
    """Log loss on control labels by fit: as foretold (rings) and as found (dots, two standard errors)."""
    told = [(one.labels, one.foretold) for one in rows if one.foretold is not None]
    at = np.arange(len(told))

    def paint(axes: Axes) -> None:
        coin = float(np.log(2.0))
        axes.axhline(coin, color=RULE, linewidth=1.5)
        axes.annotate(
            "a coin",
            (at[-1] + 0.35, coin),
            (0, 4),
            textcoords="offset points",
            color=SOFT,
            ha="right",
        )
        for k, (_, one) in enumerate(told):
            wide = 2.0 * (one.error or 0.0)
            axes.vlines(k + 0.06, one.found - wide, one.found + wide, color=ACCENT, linewidth=1.4)
        predicted = [one.predicted for _, one in told]
        axes.plot(at - 0.06, predicted, "o", color=SOFT, markerfacecolor=PAPER, markersize=8)
        found = [one.found for _, one in told]
        axes.plot(at + 0.06, found, "o", color=ACCENT, markeredgecolor=PAPER, markersize=9)
        for word, y, colour, side in (
            ("foretold", predicted, SOFT, "right"),
            ("found", found, ACCENT, "left"),
        ):
            shift = -9 if side == "right" else 9
            axes.annotate(
                word, (at[0], y[0]), (shift, -4), textcoords="offset points", ha=side, color=colour
            )
        axes.set_xlim(-0.9, len(told) - 0.4)
        axes.set_xticks(at, [str(labels) for labels, _ in told])
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="y")
        axes.set_xlabel("labels of the fit")
        axes.set_title("log loss on control labels", loc="left", fontsize=12, color=SOFT)
        axes.spines["left"].set_visible(False)

    return draw("foretold", PANEL, label, paint)
