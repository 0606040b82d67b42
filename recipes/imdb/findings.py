"""How the experiment came out: labels saved, a table, a page and a picture; no winner is assumed.

*Labels saved* counts at the levels of J that random reaches at its budgets and that exceed the
reference by two standard errors: the labels that random needs for such a level, over those that the
method needs, both read off isotonic fits of mean J on log labels. Intervals are percentiles of a
bootstrap over seeds.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whichpairs.bench.summary import needed
from whichpairs.evaluate.interval import Interval, interval

Cells = list[dict[str, Any]]
COLOURS = {
    "random": "0.35",
    "ours": "#0b6e4f",
    "plug-in": "#b3651b",
    "true reward": "#c9a227",
    "reference": "#5b2a86",
    "best-vs-worst": "#2f6f9f",
    "d-optimal": "#9f2f4f",
    "plug-in on words": "#7f7f2f",
}
DRAWS = 2000


@dataclass(frozen=True)
class Saved:
    """Labels saved by one method.

    Attributes:
        levels: random's budgets whose J counts; ratios: labels saved at each.
        sides: −1 where the method's smallest budget is above the level already, so that the ratio
            is a lower bound; +1 where its largest is below, so that it is an upper bound; else 0.
        mean: geometric mean over the levels, None where none counts; low, high: its 95 % interval.
    """

    levels: tuple[int, ...]
    ratios: tuple[float, ...]
    sides: tuple[int, ...]
    mean: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        if self.mean is None:
            return "not to be said: random nowhere beats the reference by two standard errors"
        bound = {-1: "at least ", 1: "at most "}.get(sum(set(self.sides)), "")
        return f"{bound}{self.mean:.2f} ({self.low:.2f} to {self.high:.2f})"


def gains(found: Cells, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Budgets, and J over the reference by seed and budget."""
    rows = [c for c in found if c["method"] == method]
    budgets = np.array(sorted({c["budget"] for c in rows}))
    table = {(c["seed"], c["budget"]): c["evaluation"]["gain"]["mean"] for c in rows}
    seeds = sorted({c["seed"] for c in rows})
    return budgets, np.array([[table[s, b] for b in budgets] for s in seeds])


def saved(found: Cells, method: str, seed: int = 0) -> Saved:
    """Labels saved by `method` against random, on one pool size."""
    labels, base = gains(found, "random")
    _, own = gains(found, method)
    mean, error = base.mean(0), base.std(0, ddof=min(1, len(base) - 1)) / np.sqrt(len(base))
    counts = np.flatnonzero((mean >= 2 * error) & (mean > 0))
    if len(base) < 2 or len(counts) == 0 or len(labels) < 2:
        return Saved((), (), (), None, None, None)
    ratios, sides = _ratios(labels, base.mean(0), own.mean(0), counts)
    rng, draws = np.random.default_rng(seed), []
    for _ in range(DRAWS):
        ours, theirs = (rng.integers(len(x), size=len(x)) for x in (own, base))
        some, _ = _ratios(labels, base[theirs].mean(0), own[ours].mean(0), counts)
        draws.append(np.exp(np.log(some).mean()))
    low, high = np.percentile(draws, [2.5, 97.5])
    return Saved(
        tuple(labels[counts].tolist()),
        tuple(ratios.tolist()),
        tuple(sides.tolist()),
        float(np.exp(np.log(ratios).mean())),
        float(low),
        float(high),
    )


def _ratios(
    labels: np.ndarray, base: np.ndarray, own: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Random's labels over the method's, both read off isotonic fits, at the levels that count.

    Also on which side of the grid the method's are.
    """
    n = labels.astype(float)
    ours, sides = needed(n, -own, -base[counts])
    theirs, _ = needed(n, -base, -base[counts])
    return theirs / ours, sides


def rows(found: Cells) -> list[list[str]]:
    """Table rows: method, labels, reward, KL, J over the reference, its difference to random's."""
    lines = []
    for method in dict.fromkeys(c["method"] for c in found):
        for k, budget in enumerate(gains(found, method)[0]):
            cells = [c for c in found if c["method"] == method and c["budget"] == budget]
            line = [method, str(budget)]
            for name in ("reward", "kl"):
                values = [c["evaluation"]["policy_values"][name]["mean"] for c in cells]
                line.append(_short(interval(np.array(values))))
            own, base = gains(found, method)[1][:, k], gains(found, "random")[1][:, k]
            line.append(_short(interval(own)))
            line.append("" if method == "random" else _short(interval(own - base)))
            lines.append(line)
    return lines


HEAD = ("method", "labels", "reward", "KL, nats", "J over the reference", "J over random's")


def table(found: Cells) -> str:
    """For the terminal: one table a pool size, and what the labels saved are."""
    text = []
    for size, part in _by_size(found):
        body = [list(HEAD), *rows(part)]
        widths = [max(len(line[k]) for line in body) for k in range(len(HEAD))]
        text += ["", _heading(size, part)]
        text += ["  ".join(f"{c:>{w}}" for c, w in zip(line, widths, strict=True)) for line in body]
        text += ["", *savings(part), ""]
    return "\n".join(text)


def savings(part: Cells) -> list[str]:
    """A line for each method."""
    methods = [m for m in dict.fromkeys(c["method"] for c in part) if m != "random"]
    lines = []
    for method in methods:
        s = saved(part, method)
        each = ", ".join(
            f"{('', '≤ ', '≥ ')[side]}{ratio:.2f} at random's {level}"
            for level, ratio, side in zip(s.levels, s.ratios, s.sides, strict=True)
        )
        lines.append(f"labels saved by {method}: {s}" + (f"; {each}" if each else ""))
    return lines


def _by_size(found: Cells) -> list[tuple[int, Cells]]:
    sizes = sorted({c["pool_size"] for c in found})
    return [(size, [c for c in found if c["pool_size"] == size]) for size in sizes]


def _heading(size: int, part: Cells) -> str:
    seeds, held = len({c["seed"] for c in part}), part[0]["evaluation"]["held_out_prompts"]
    reference = part[0]["evaluation"]["reference_values"]["J"]["mean"]
    return (
        f"Pools of {size}: {held} held-out prompts, the reference's J {reference:.4f}; "
        f"mean ± half a 95 % interval over {seeds} seeds"
    )


def _short(found: Interval) -> str:
    if found.low is None or found.high is None:
        return f"{found.mean:.3f}"
    return f"{found.mean:.3f} ± {(found.high - found.low) / 2:.3f}"


def page(found: Cells, about: dict[str, Any]) -> str:
    """The page beside the picture."""
    lines = [
        "# IMDb: which pairs to compare for DPO of a small language model",
        "",
        "Made by `make imdb` ([the recipe](../../recipes/imdb/README.md) says what was done); every",
        "trial: [imdb.json](imdb.json). *Labels saved*: the labels that random needs ÷ those that the",
        "method needs for the same J, geometric mean over the levels of J that random reaches and that",
        "exceed the reference by two standard errors, with its 95 % interval (goal: ≥ 2.0, above 1.3).",
        "*True reward* is no method but the room there is: each prompt's best against its worst, by the",
        "reward that answers. *Ours* is a second version, made after the cells of a first one on these very",
        "openings had been seen ([the log](../log.md)).",
        "",
        "![J over the reference by labels, and reward against KL](imdb.png)",
    ]
    for size, part in _by_size(found):
        lines += ["", f"{_heading(size, part)}.", "", "| " + " | ".join(HEAD) + " |"]
        lines += ["|---" * len(HEAD) + "|"]
        lines += ["| " + " | ".join(line) + " |" for line in rows(part)]
        lines += ["", *(f"- {line}" for line in savings(part))]
    lines += [
        "",
        f"Seeds {about['seeds']}; {about['machine']}; trials took {about['seconds_of_all_trials']} s "
        f"one after the other, the last call {about['seconds_of_this_call']} s. DPO as tuned for "
        f"random: {about['tuned_for_random']}. Methods: {about['methods']}. "
        f"Versions: {about['versions']}.",
    ]
    return "\n".join(lines) + "\n"


def draw(found: Cells, path: Path) -> None:
    """J over the reference by labels with intervals, and reward against KL of every trial."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    _, part = _by_size(found)[len(_by_size(found)) // 2]
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.8, 3.4), layout="constrained")
    left.axhline(0, color="0.7", lw=1)
    there = {c["method"] for c in part}
    for method, colour in ((m, c) for m, c in COLOURS.items() if m in there):
        labels, values = gains(part, method)
        means = [interval(column) for column in values.T]
        left.plot(labels, [m.mean for m in means], "o-", color=colour, label=method, ms=4)
        if means[0].low is not None:
            left.fill_between(
                labels, [m.low for m in means], [m.high for m in means], color=colour, alpha=0.12
            )
        ends = [c["evaluation"]["policy_values"] for c in part if c["method"] == method]
        x, y = ([e[q]["mean"] for e in ends] for q in ("kl", "reward"))
        right.plot(x, y, "o", color=colour, alpha=0.55, ms=4, mew=0)
    left.set(xscale="log", xlabel="labels", ylabel="J over the reference")
    left.set_xticks(labels, [str(b) for b in labels], minor=False)
    left.minorticks_off()
    left.legend(frameon=False, fontsize=8)
    right.set(xlabel="KL from the reference, nats", ylabel="reward")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=160)
    plt.close(figure)
