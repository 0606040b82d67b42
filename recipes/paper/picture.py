"""The page's picture: the synthetic gaps against labels, and reward against KL of every method."""

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import synthetic
from frontier import Runs
from kept import Cell

COLOURS = {
    **{"uniform": "0.35", "reference": "#c9a227", "oracle": "#4a6fa5", "paper": "#b3651b"},
    **{"the first": "#c9a227", "random": "0.35", "gap": "#0b6e4f"},
}
Panel = Callable[[Any], None]
"""Draws into one axes of matplotlib."""


def gaps_panel(name: str, cells: list[Cell]) -> Panel:
    """Mean gap of every design by labels."""

    def draw(axes: Any) -> None:
        for design in synthetic.DESIGNS:
            mean = synthetic.gaps(cells, name, design).mean(axis=0)
            axes.loglog(synthetic.BUDGETS, mean, "o-", ms=3, color=COLOURS[design], label=design)
        axes.set(title=name, xlabel="labels", ylabel="gap J(π*) − J(π_θ̂)")
        axes.set_xticks(synthetic.BUDGETS, [str(n) for n in synthetic.BUDGETS])
        axes.minorticks_off()

    return draw


def frontier_panel(kind: str, found: dict[str, Runs]) -> Panel:
    """Every method's frontier, and a dot for each of its policies."""

    def draw(axes: Any) -> None:
        for method, of in found.items():
            _, runs, prompts = of.kl.shape
            x, y = of.curve(np.full(runs, 1 / runs), np.full(prompts, 1 / prompts))
            axes.plot(x, y, "-", lw=1.4, color=COLOURS[method], label=method)
            axes.plot(
                of.kl.mean(axis=2).ravel(),
                of.reward.mean(axis=2).ravel(),
                "o",
                ms=3,
                mew=0,
                alpha=0.5,
                color=COLOURS[method],
            )
        axes.axhline(0, color="0.8", lw=1, zorder=0)
        axes.set(title=f"IMDb, {kind}", xlabel="KL, nats", ylabel="reward over the reference's")

    return draw


def draw(panels: Sequence[Panel]) -> bytes | None:
    """PNG of the panels side by side; None where there is none."""
    if not panels:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4 * len(panels), 3.2), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        panel(axes)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=7)
    out = BytesIO()
    figure.savefig(out, format="png", dpi=130, metadata={"Software": None})
    return out.getvalue()
