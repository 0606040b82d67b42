"""The figures of the page. Imported only when a page is written: matplotlib is not light.

One accent colour is for what was picked; grey is for what it is compared with. Words stand beside
what they name; there are no legends.
"""

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from whichpairs.report.charts.canvas import (
    ACCENT,
    INK,
    RULE,
    SOFT,
    draw,
    plain_log,
    steps,
    tick,
)

PANEL = (352.0, 240.0)
GROUPS = ((0, 0), (1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (17, 10**9))
"""How many pairs a prompt has, in bars."""


def prompt_groups(mine: np.ndarray, others: np.ndarray | None) -> tuple[list[str], list[list[int]]]:
    """Names of the bars, and their heights: of picked pairs, then of random ones where there are any."""
    given = [mine] if others is None else [mine, others]
    top = max(int(x.max(initial=0)) for x in given)
    groups = [g for g in GROUPS if g[0] <= top]
    names = [str(a) if a == b else f"{a}–{b}" if b < 10**9 else f"{a}+" for a, b in groups]
    return names, [[int(((x >= a) & (x <= b)).sum()) for a, b in groups] for x in given]


def prompt_bars(name: str, mine: np.ndarray, others: np.ndarray | None, label: str) -> Markup:
    """How many prompts have so many pairs: picked (bars) against random of the same number (dots).

    Args:
        mine, others: pairs of every eligible prompt.
    """
    names, heights = prompt_groups(mine, others)

    def paint(axes: Axes) -> None:
        x = np.arange(len(names))
        axes.bar(x, heights[0], width=0.7, color=ACCENT)
        for dashes in heights[1:]:
            axes.plot(x, dashes, "_", color=INK, markersize=20, markeredgewidth=2)
        axes.set_xticks(x, names)
        axes.tick_params(axis="x", length=0, labelsize=11)
        axes.set_xlabel("pairs of one prompt")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: tick(y) if y else "0"))
        axes.grid(axis="y")
        axes.set_title("prompts", loc="left", fontsize=12, color=SOFT)
        axes.spines["left"].set_visible(False)

    return draw(name, PANEL, label, paint)


def two_densities(name: str, mine: np.ndarray, others: np.ndarray, axis: str, label: str) -> Markup:
    """Two histograms on a log axis: random candidates filled grey, picked pairs in the accent."""
    both = np.concatenate([mine, others])
    above = both[both > 0]
    low = max(float(np.percentile(above, 0.5)), 1e-6) if len(above) else 0.1
    edges = np.geomspace(low, max(float(both.max(initial=0.0)), low * 10) * 1.05, 37)

    def paint(axes: Axes) -> None:
        tops = [0.01]
        for values, style in ((others, {"fill": True, "color": RULE}), (mine, {"color": ACCENT})):
            heights, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
            share = heights / max(len(values), 1)
            if len(values):
                axes.stairs(share, edges, linewidth=2, **style)  # type: ignore[arg-type]
            tops.append(float(share.max()))
        axes.set_title("— picked", loc="left", fontsize=12, color=ACCENT, fontweight="bold")
        if len(others):
            axes.set_title("■ random", loc="right", fontsize=12, color=SOFT)
        axes.set_xlabel(axis)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        plain_log(axes, "x", steps(edges[0], edges[-1], most=5))
        axes.set_ylim(0, max(tops) * 1.08)

    return draw(name, PANEL, label, paint)
