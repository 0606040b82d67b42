"""Where the picked pairs lie in the pool: a map of its prompts, and shares by group."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from whichpairs.report.charts.canvas import ACCENT, INK, RULE, SOFT, draw

MAP = (352.0, 330.0)


def pool_map(points: np.ndarray, picked: np.ndarray, words: Sequence[str], label: str) -> Markup:
    """Prompts as dots: grey those not asked about, filled those that were, larger with more pairs.

    Args:
        points: of every prompt, (prompts, 2); picked: pairs of each, (prompts,).
        words: what stands at the left, right, bottom and top end; empty where nothing tells them.
    """

    def paint(axes: Axes) -> None:
        none, some = picked == 0, picked > 0
        axes.scatter(points[none, 0], points[none, 1], s=9, color=RULE, linewidths=0)
        size = 14.0 + 14.0 * np.minimum(picked[some], 12)
        axes.scatter(
            points[some, 0], points[some, 1], s=size, color=ACCENT, alpha=0.55, linewidths=0
        )
        axes.set(xticks=[], yticks=[])
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        axes.margins(0.04)
        left, right, low, high = words
        style = {"fontsize": 11, "color": SOFT, "transform": axes.transAxes}
        for x, y, text, ha, turn in (
            (0.0, -0.04, f"← {left}" * bool(left), "left", 0),
            (1.0, -0.04, f"{right} →" * bool(right), "right", 0),
            (-0.02, 0.0, f"← {low}" * bool(low), "left", 90),
            (-0.02, 1.0, f"{high} →" * bool(high), "right", 90),
        ):
            if turn:
                place = {"ha": "right", "va": "bottom" if ha == "left" else "top"}
            else:
                place = {"ha": ha, "va": "top"}
            axes.text(x, y, text, rotation=turn, **place, **style)  # type: ignore[arg-type]

    return draw("pool-map", MAP, label, paint)


def group_bars(
    names: Sequence[str], mine: Sequence[float], others: Sequence[float], label: str
) -> Markup:
    """Shares of picked pairs (bars) and of random ones (marks), a row a group."""

    def paint(axes: Axes) -> None:
        y = np.arange(len(names))[::-1]
        axes.barh(y, mine, height=0.62, color=ACCENT)
        axes.plot(others, y, "|", color=INK, markersize=16, markeredgewidth=2)
        axes.set_yticks(y, [name if len(name) < 22 else name[:20] + "…" for name in names])
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:.0f} %"))
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        axes.set_title("share of the pairs", loc="left", fontsize=12, color=SOFT)

    return draw("groups", (352.0, 78.0 + 27.0 * len(names)), label, paint)
