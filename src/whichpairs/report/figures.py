"""The page's figures: numbers in, SVG out. One accent for what was picked, grey for all else.

Drawn without pyplot, so that no global state is touched; text stays text, in the page's own font.
"""

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from whichpairs.report.numbers import count, fixed, sig

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from whichpairs.report.facts import Curve, Taught

INK, MUTED, FAINT, ACCENT = "#1f2328", "#62676e", "#d5d7da", "#b8430f"
WIDE, HALF = (460.0, 285.0), (330.0, 230.0)
"""Sizes in points; at about this width the page shows them on a phone, so 10 points stay legible."""

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.size": 10.0,
    "axes.labelsize": 10.0,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "text.color": INK,
    "lines.solid_capstyle": "round",
}
_FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"


def gap_curve(curve: "Curve", batches: list[tuple[int, float, float | None]], needs: str) -> str:
    """Predicted gap against labels, both axes logarithmic.

    Args:
        batches: (labels so far, predicted gap, lower bound or None).
        needs: what to write where random reaches the last batch's gap; may be empty.
    """

    def draw(ax: "Axes") -> None:
        ax.set(xscale="log", yscale="log", xlabel="labels", ylabel="predicted gap")
        ax.fill_between(curve.labels, curve.low, curve.high, color=FAINT, alpha=0.6, lw=0)
        ax.plot(curve.labels, curve.mean, color=MUTED, lw=1.5)
        at = max(len(curve.labels) // 3 - 1, 0)
        _note(ax, "random pairs", curve.labels[at], curve.high[at], MUTED, (6, 6))
        for index, (labels, gap, bound) in enumerate(batches):
            ax.plot(labels, gap, "o", ms=7, color=ACCENT, zorder=3)
            if bound is not None:
                ax.plot(labels, bound, "_", ms=15, mew=1.2, color=ACCENT, zorder=2)
            text = f"batch {index + 1}: {sig(gap)}" if len(batches) > 1 else f"picked: {sig(gap)}"
            _note(ax, text, labels, gap, ACCENT, (-9, -13), "right")
        reach = curve.needs(batches[-1][1]) if batches else None
        if reach is not None and needs:
            labels, gap, _ = batches[-1]
            ax.plot([labels, reach], [gap, gap], color=ACCENT, lw=1, ls=(0, (2, 2)))
            ax.plot(reach, gap, "o", ms=5, mfc="white", mec=MUTED, zorder=3)
            _note(ax, needs, reach, gap, INK, (3, 9))
        lowest = min([float(curve.mean[-1]), *(g for _, g, _ in batches)])
        ax.set_ylim(bottom=lowest / 1.6)
        _log_ticks(ax)

    return _drawn("gap", WIDE, draw)


def pairs_per_prompt(pairs: np.ndarray) -> str:
    """How many prompts have 0, 1, 2 … picked pairs (`pairs`: one number a prompt)."""

    def draw(ax: "Axes") -> None:
        top = int(pairs.max(initial=1))
        width = max(1, -(-(top + 1) // 24))
        edges = np.arange(0, top + width + 1, width) - 0.5
        heights, _ = np.histogram(pairs, edges)
        ax.bar(edges[:-1] + width / 2, heights, 0.82 * width, color=ACCENT)
        ax.set(xlabel="picked pairs a prompt", ylabel="prompts")
        ax.yaxis.get_major_locator().set_params(integer=True, nbins=4)
        ax.xaxis.get_major_locator().set_params(integer=True)

    return _drawn("perprompt", HALF, draw)


def teaching(taught: "Taught") -> str:
    """What one label teaches: picked pairs against random candidates, on a logarithmic axis."""

    def draw(ax: "Axes") -> None:
        both = [np.maximum(x, 1e-300) for x in (taught.random, taught.picked)]
        low = min(max(float(np.quantile(both[0], 0.01)), 1e-12), float(both[1].min(initial=1.0)))
        high = max(float(x.max(initial=low)) for x in both) * 1.05
        edges = np.geomspace(low, max(high, 2.0 * low), 36)
        for values, colour, name in zip(both, (MUTED, ACCENT), ("random", "picked"), strict=True):
            share = np.histogram(np.clip(values, low, high), edges)[0] / max(len(values), 1)
            ax.stairs(
                share, edges, fill=True, color=colour, alpha=0.28 if colour == MUTED else 0.75
            )
            peak = int(share.argmax())
            _note(ax, name, edges[peak], share[peak], colour, (0, 4), "center")
        ax.set(xscale="log", xlabel="predicted gap that one more such label removes", yticks=[])
        ax.margins(y=0.16)
        ax.spines["left"].set_visible(False)
        _log_ticks(ax)

    return _drawn("teaching", HALF, draw)


def convergence(name: str, batch: list[float], bound: list[float | None]) -> str:
    """The batch's value and the best lower bound so far, a pass at a time."""

    def draw(ax: "Axes") -> None:
        passes = np.arange(1, len(batch) + 1)
        best = np.maximum.accumulate([-np.inf if b is None else b for b in bound])
        known = np.isfinite(best)
        spread = max(batch) - min(batch)
        floor = min(batch) - max(0.6 * spread, 1e-3 * abs(min(batch)))
        ax.plot(passes, batch, "-o", ms=4, lw=1.5, color=ACCENT)
        ax.plot(passes[known], best[known], "-o", ms=4, lw=1.5, color=MUTED)
        ax.set_ylim(floor, max(batch) + 0.12 * (max(batch) - floor))
        ax.set(xlabel="pass", xticks=_few(passes), xlim=(0.7, len(batch) + 0.3))
        _note(ax, "batch", 1, batch[0], ACCENT, (8, 2))
        seen = np.flatnonzero(known & (best >= floor))
        if len(seen):
            _note(ax, "lower bound", passes[seen[0]], best[seen[0]], MUTED, (6, -12))
        _plain(ax.yaxis)

    return _drawn(f"convergence{name}", HALF, draw)


def calibration(bins: list[tuple[float, float, int]]) -> str:
    """Observed share of wins against the predicted probability, with 95 % Wilson intervals."""

    def draw(ax: "Axes") -> None:
        ax.plot([0, 1], [0, 1], color=FAINT, lw=1.2, zorder=0)
        for predicted, observed, n in bins:
            centre = (observed + 1.92 / n) / (1 + 3.84 / n)
            half = 1.96 / (1 + 3.84 / n) * np.sqrt(observed * (1 - observed) / n + 0.96 / n**2)
            ax.plot([predicted] * 2, [centre - half, centre + half], color=FAINT, lw=1.6, zorder=1)
        most = max((n for _, _, n in bins), default=1)
        areas = [14 + 110 * n / most for _, _, n in bins]
        ax.scatter([b[0] for b in bins], [b[1] for b in bins], areas, color=ACCENT, zorder=2, lw=0)
        ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
        ax.set(xlim=(0, 1), ylim=(-0.02, 1.02), xticks=ticks, yticks=ticks, aspect="equal")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        ax.set(xlabel="predicted: A is preferred", ylabel="observed")
        _note(ax, "perfect", 0.93, 0.93, MUTED, (-4, 2), "right")

    return _drawn("calibration", (330.0, 300.0), draw)


Whisker = tuple[str, float, float | None, float | None, bool]
"""A row's name, mean, ends of its interval, and whether it is the picked policy's."""


def whiskers(name: str, rows: list[Whisker], zero: bool, plus: bool = False) -> str:
    """Dots with their intervals, one row each, from the top; a line at zero where it matters."""

    def draw(ax: "Axes") -> None:
        if zero:
            ax.axvline(0.0, color=FAINT, lw=1.2)
            ends = [e for r in rows for e in (*r[1:4], 0.0) if e is not None]
            room = 0.14 * max(max(ends) - min(ends), 1e-9)
            ax.set_xlim(min(ends) - room, max(ends) + room)
        for index, (_, mean, low, high, own) in enumerate(rows):
            colour = ACCENT if own else MUTED
            if low is not None and high is not None:
                ax.plot([low, high], [-index] * 2, color=colour, lw=2)
            ax.plot(mean, -index, "o", ms=7, color=colour)
            _note(ax, fixed(mean, plus=plus), mean, -index, colour, (0, 8), "center")
        ax.set(yticks=[-k for k in range(len(rows))], ylim=(-len(rows) + 0.5, 0.75))
        ax.set_yticklabels([row[0] for row in rows], color=INK)
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        ax.xaxis.get_major_locator().set_params(nbins=5)

    return _drawn(name, (HALF[0], 62.0 + 42.0 * len(rows)), draw)


def _note(
    ax: "Axes",
    text: str,
    x: float,
    y: float,
    colour: str,
    offset: tuple[float, float],
    align: str = "left",
) -> None:
    ax.annotate(text, (x, y), offset, textcoords="offset points", color=colour, ha=align)


def _log_ticks(ax: "Axes") -> None:
    """Ticks at 1, 2 and 5 (at 1 alone over many decades), written as plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    for axis in (ax.xaxis, ax.yaxis):
        if axis.get_scale() != "log":
            continue
        low, high = axis.get_view_interval()
        decades = np.log10(high / low)
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.2 else (1.0,)))
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())
        _plain(axis)


def _plain(axis: Any) -> None:
    axis.set_major_formatter(
        lambda value, _: (
            count(round(value))
            if abs(value) >= 10
            else sig(value, 3).rstrip("0")
            if "." in sig(value, 3) and not sig(value, 3).endswith("0.")
            else sig(value, 3)
        )
    )


def _few(passes: np.ndarray) -> list[int]:
    step = -(-len(passes) // 8)
    return [int(p) for p in passes[::step]]


def _drawn(name: str, size: tuple[float, float], draw: Callable[["Axes"], None]) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(size[0] / 72.0, size[1] / 72.0), layout="constrained")
        draw(figure.subplots())
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return _inline(buffer.getvalue(), name)


def _inline(svg: str, name: str) -> str:
    """The drawing alone, fit to stand in a page beside others: its own ids, the page's font."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) (?:height|width)="[^"]*"', r"\1", svg)
    svg = re.sub(r'(<svg[^>]*?) (?:height|width)="[^"]*"', r"\1", svg)
    svg = svg.replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "")
    svg = svg.replace("xlink:href=", "href=")
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace('href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", rf"font: \1px {_FONT}", svg)
    return svg.replace("<svg", '<svg aria-hidden="true" focusable="false"', 1)
