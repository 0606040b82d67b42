"""Matplotlib as a typesetter: one SVG a figure, drawn at the size it is shown, in the page's colours.

The colours below are stand-ins. In the finished SVG they become the page's CSS variables, so that one
picture reads on light and on dark paper, and its text is text, in the page's typeface.
"""

import io
import math
import re
from typing import TYPE_CHECKING, Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from whichpairs.report.page.format import count
from whichpairs.wording import number

if TYPE_CHECKING:
    from collections.abc import Callable

INK, SOFT, RULE, ACCENT, WASH, PAPER, OTHER = (f"#0{k}0{k}0{k}" for k in range(1, 8))
_VARIABLES = ("ink", "soft", "rule", "accent", "wash", "paper", "other")
_PLAIN = {"Creator": None, "Date": None, "Format": None, "Type": None}
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 12,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": RULE,
    "axes.facecolor": "none",
    "axes.labelcolor": SOFT,
    "axes.labelsize": 12,
    "axes.linewidth": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "lines.linewidth": 2.0,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "xtick.major.size": 4,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
}


def draw(
    name: str, size: tuple[float, float], label: str, paint: "Callable[[Axes], None]"
) -> Markup:
    """An SVG element of `size` CSS pixels, painted by `paint`.

    Args:
        name: of the figure, different from every other on the page (ids are made from it).
        label: what a person who cannot see it should hear.
    """
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03)
        figure = Figure(figsize=(size[0] / 72.0, size[1] / 72.0), layout=layout)
        FigureCanvasSVG(figure)
        paint(figure.subplots())
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata=_PLAIN)
    return _embed(file.getvalue(), name, size, label)


def _embed(svg: str, name: str, size: tuple[float, float], label: str) -> Markup:
    """The SVG element alone, its ids its own, its colours the page's."""
    body = svg[svg.index("<svg") :]
    body = body[body.index(">") + 1 :]
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\b(id|clip-path|xlink:href)="((?:url\()?#?)', rf'\1="\g<2>{name}-', body)
    body = body.replace("xlink:href", "href")
    body = re.sub(r"#0([1-7])(?:0\1){2}", lambda found: _variable(found[1]), body)
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", body)
    body = re.sub(r"font-family: [^;\"]*;?", "", body)
    width, height = (round(side) for side in size)
    return Markup(
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(label)}">{body.strip()}'
    )


def _variable(digit: str) -> str:
    return f"var(--{_VARIABLES[int(digit) - 1]})"


def plain_log(axes: Axes, which: str, ticks: list[float] | None = None) -> None:
    """A log axis whose ticks are plain numbers."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    if ticks:
        axis.set_ticks(ticks)
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda x, _: tick(x)))


def tick(x: float) -> str:
    """A tick's number: ``1 000``, ``0.05``."""
    if abs(x) >= 10:
        return count(x)
    text = number(x, 2)
    return text.rstrip("0").rstrip(".") if "." in text and "×" not in text else text


def steps(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers (1, 2, 5 …) between two others, at most about `most` of them."""
    for kinds in ((1, 2, 5), (1, 3), (1,)):
        found = [
            k * 10.0**p
            for p in range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
            for k in kinds
            if low * 0.999 <= k * 10.0**p <= high * 1.001
        ]
        if 2 <= len(found) <= most:
            return found
    return found if len(found) >= 2 else [low, high]
