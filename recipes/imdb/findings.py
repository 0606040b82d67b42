"""How the experiment came out: labels saved, a table, a page and a picture; no winner is assumed.

*Labels saved* counts at the levels of J that random reaches at its budgets and that exceed the
reference by two standard errors: the labels that random needs for such a level, over those that the
method needs, both read off isotonic fits of mean J on log labels. Intervals are percentiles of a
bootstrap over seeds and held-out prompts, both drawn anew ("pigeonhole": Owen, Annals of Applied
Statistics 1, 2007), at levels widened for few seeds and for the number of methods.
"""

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

from whichpairs.bench.markdown import Figure
from whichpairs.bench.robustness.summary import Bounded, Ratio, bounds, needed, ratio_of
from whichpairs.evaluate.crossed import crossed_interval
from whichpairs.evaluate.interval import Interval

Cells = list[dict[str, Any]]
COLOURS = {
    "random": "0.35",
    "random, taught": "#3a6ea5",
    "by the fit, taught": "#0b6e4f",
    "design, taught": "#5b2a86",
    "true reward": "#c9a227",
    "design": "#b3651b",
    "by the fit": "#9f2f4f",
    "paper": "#7f7f2f",
    "signal, taught": "#2f9f8f",
}
PLAIN, TAUGHT, OURS = "random", "random, taught", "design, taught"
DRAWS = 2000
GOALS = {
    "P4a": (PLAIN, OURS, 4.0, 2.0, "≥ 4, the interval above 2"),
    "P4b": (TAUGHT, OURS, 1.5, 1.1, "≥ 1.5, the interval above 1.1"),
}
"""Labels saved: against which method, by which, the least mean and the least lower end; and in words."""


@dataclass(frozen=True)
class Saved:
    """Labels saved by one method.

    Attributes:
        levels: random's budgets whose J counts; ratios: labels saved at each.
        beyond: +1 where the method's smallest budget is above the level already, so that the ratio
            is a lower bound; −1 where its largest is below, so that it is an upper bound; else 0.
        total: geometric mean over the levels with its interval, None where none counts.
    """

    levels: tuple[int, ...]
    ratios: tuple[float, ...]
    beyond: tuple[int, ...]
    total: Ratio | None

    def __str__(self) -> str:
        if self.total is None:
            return "not to be said: random nowhere beats the reference by two standard errors"
        return str(self.total)


def gains(found: Cells, method: str, quantity: str = "gain") -> tuple[np.ndarray, np.ndarray]:
    """Budgets, and J over the reference (or reward, or KL) by budget, seed and held-out prompt."""
    rows = [c for c in found if c["method"] == method]
    budgets = np.array(sorted({c["budget"] for c in rows}))
    table = {(c["seed"], c["budget"]): c["by_prompt"][quantity] for c in rows}
    seeds = sorted({c["seed"] for c in rows})
    return budgets, np.array([[table[s, b] for s in seeds] for b in budgets])


def saved(
    found: Cells, method: str, comparisons: int = 1, seed: int = 0, base: str = PLAIN
) -> Saved:
    """Labels saved by `method` against another, random unless told otherwise, on one pool size.

    Args:
        comparisons: how many such intervals are to hold together.
    """
    labels, other = gains(found, base)
    own_labels, own = gains(found, method)
    mean = other.mean(axis=(1, 2))
    errors = [crossed_interval(values).standard_error for values in other]
    if None in errors or len(labels) < 2:
        return Saved((), (), (), None)
    counts = np.flatnonzero((mean >= 2 * np.array(errors, dtype=float)) & (mean > 0))
    if len(counts) == 0:
        return Saved((), (), (), None)
    known = labels, own_labels, counts
    ratios, beyond = _ratios(mean, own.mean(axis=(1, 2)), *known)
    rng = np.random.default_rng(seed)
    prompts = _weights(other.shape[2], rng)
    ours, theirs = (
        np.einsum("bsp,ds,dp->db", x, _weights(x.shape[1], rng), prompts, optimize=True)
        for x in (own, other)
    )
    logs = np.stack(bounds(*_ratios(theirs, ours, *known)))
    total = ratio_of([Bounded(ratios, beyond, logs)], min(other.shape[1:]), comparisons)
    return Saved(
        tuple(labels[counts].tolist()), tuple(ratios.tolist()), tuple(beyond.tolist()), total
    )


def _weights(count: int, rng: np.random.Generator) -> np.ndarray:
    """How much each of `count` weighs in each draw of a bootstrap, (draws, count)."""
    return rng.multinomial(count, np.full(count, 1 / count), size=DRAWS) / count


def _ratios(
    base: np.ndarray,
    own: np.ndarray,
    labels: np.ndarray,
    own_labels: np.ndarray,
    counts: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Random's labels over the method's, both read off isotonic fits, at the levels that count.

    Also which of them are bounds.
    """
    levels = -base[..., counts]
    ours, sides = needed(own_labels.astype(float), -own, levels)
    theirs, _ = needed(labels.astype(float), -base, levels)
    return theirs / ours, -sides


def rows(found: Cells) -> list[list[str]]:
    """Table rows: method, labels, reward, KL, J over the reference, its difference to random's."""
    lines, together = [], comparisons(found)
    for method in methods(found):
        budgets, own = gains(found, method)
        for k, budget in enumerate(budgets):
            line = [method, str(budget)]
            for name in ("reward", "kl"):
                line.append(_short(crossed_interval(gains(found, method, name)[1][k])))
            line.append(_short(crossed_interval(own[k])))
            ahead = _ahead(found, method, int(budget))
            line.append("" if ahead is None else _short(crossed_interval(ahead, together)))
            lines.append(line)
    return lines


def _ahead(found: Cells, method: str, budget: int) -> np.ndarray | None:
    """J over random's with as many labels, by seed and prompt; None for random, or where that was not run."""
    labels, base = gains(found, PLAIN)
    own_labels, own = gains(found, method)
    if method == PLAIN or budget not in labels:
        return None
    return np.asarray(own[own_labels == budget][0] - base[labels == budget][0])


def methods(found: Cells) -> list[str]:
    """In their order."""
    return list(dict.fromkeys(c["method"] for c in found))


def comparisons(found: Cells) -> int:
    """How many differences to random's J a table has, whose intervals hold together."""
    others = {(c["method"], c["budget"]) for c in found if c["method"] != PLAIN}
    return max(1, sum(_ahead(found, *other) is not None for other in others))


def figures(found: Cells) -> list[Figure]:
    """Labels saved by each method, and J over random's at each budget."""
    results = []
    for size, part in _by_size(found):
        others = [m for m in methods(part) if m != "random"]
        results += goals(part)
        for method in methods(part):
            for budget, own in zip(*gains(part, method), strict=True):
                results.append(Figure.of(f"J, {method}, {budget} labels", crossed_interval(own)))
        for method in others:
            s = saved(part, method, len(others)).total
            of = f"{method}, pools of {size}"
            name = f"labels saved by {of}"
            ends = (None, None, None) if s is None else (s.mean, s.low, s.high)
            results.append(Figure(name, *ends))
            for budget in gains(part, method)[0].tolist():
                ahead = _ahead(part, method, budget)
                if ahead is not None:
                    found_ahead = crossed_interval(ahead, comparisons(part))
                    results.append(
                        Figure.of(f"J over random's by {of}, {budget} labels", found_ahead)
                    )
    return results


def goals(part: Cells) -> list[Figure]:
    """P4a and P4b, where the methods that they compare are there."""
    results = []
    for name, (base, method, least, low, words) in GOALS.items():
        if {base, method} <= set(methods(part)):
            s = saved(part, method, base=base).total
            ends = (None, None, None) if s is None else (s.mean, s.low, s.high)
            ok = s is not None and s.mean >= least and s.low > low
            results.append(Figure(name, *ends, goal=words, reached=ok))
    return results


def in_words(found: Cells) -> dict[str, str]:
    """Labels saved as they are shown, ≥ or ≤ where they are bounds, by the names of `figures`."""
    words = {}
    for size, part in _by_size(found):
        others = [m for m in methods(part) if m != PLAIN]
        ours = {
            f"labels saved by {m}, pools of {size}": saved(part, m, len(others)) for m in others
        }
        ours |= {
            name: saved(part, method, base=base)
            for name, (base, method, *_) in GOALS.items()
            if {base, method} <= set(methods(part))
        }
        words |= {name: str(one.total) for name, one in ours.items() if one.total is not None}
    return words


HEAD = ("method", "labels", "reward", "KL, nats", "J over the reference", "J over random's")


def table(found: Cells) -> str:
    """For the terminal: one table a pool size, and what the labels saved are."""
    text = []
    for size, part in _by_size(found):
        body = [list(HEAD), *rows(part)]
        widths = [max(len(line[k]) for line in body) for k in range(len(HEAD))]
        text += ["", _heading(size, part)]
        text += ["  ".join(f"{c:>{w}}" for c, w in zip(line, widths, strict=True)) for line in body]
        text += ["", *savings(part), *refusals(part), ""]
    return "\n".join(text)


def savings(part: Cells) -> list[str]:
    """A line for each method."""
    others = [m for m in methods(part) if m != "random"]
    lines = []
    for method in others:
        s = saved(part, method, len(others))
        each = ", ".join(
            f"{('', '≥ ', '≤ ')[side]}{ratio:.2f} at random's {level}"
            for level, ratio, side in zip(s.levels, s.ratios, s.beyond, strict=True)
        )
        lines.append(f"labels saved, {method}: {s}" + (f"; {each}" if each else ""))
    for name, (base, method, _, _, words) in GOALS.items():
        if {base, method} <= set(methods(part)):
            s = saved(part, method, base=base)
            lines.append(f"{name}, {method} against {base} (alone; goal {words}): {s}")
    return lines


def refusals(part: Cells) -> list[str]:
    """A line for each method and budget where a fit knew too little to teach, and the labels alone trained."""
    lines = []
    for method, budget in sorted({(c["method"], c["budget"]) for c in part if c["teach"]}):
        some = [c for c in part if (c["method"], c["budget"]) == (method, budget)]
        refused = sum(not c["taught"] for c in some)
        if refused:
            lines.append(
                f"{method}, {budget} labels: in {refused} of {len(some)} trainings the fit knew too little to teach, "
                "and the labels alone trained the policy"
            )
    return lines


def _by_size(found: Cells) -> list[tuple[int, Cells]]:
    sizes = sorted({c["pool_size"] for c in found})
    return [(size, [c for c in found if c["pool_size"] == size]) for size in sizes]


def _heading(size: int, part: Cells) -> str:
    seeds, held = len({c["seed"] for c in part}), part[0]["evaluation"]["held_out_prompts"]
    reference = part[0]["evaluation"]["reference_values"]["J"]["mean"]
    return (
        f"Pools of {size}: {held} held-out prompts, the reference's J {reference:.4f}; "
        f"mean (95 % interval) over {seeds} trainings and the prompts, crossed; J over random's: the "
        f"{comparisons(part)} intervals hold together (Bonferroni)"
    )


def _short(found: Interval) -> str:
    return found.text(".3f")


def page(found: Cells, about: dict[str, Any]) -> str:
    """The page beside the picture."""
    lines = [
        f"# IMDb: which pairs to compare for DPO of {about['model']}",
        "",
        "Made by `make imdb` ([the recipe](../../recipes/imdb/README.md) says what was done); every",
        "trial: [imdb.json](imdb.json). *Labels saved*: the labels that random needs ÷ those that the",
        "method needs for the same J, geometric mean over the levels of J that random reaches and that",
        "exceed the reference by two standard errors, with intervals that hold together with 95 % over new",
        "trainings and new prompts (not over other models or pools). ≥: the method is above random's level",
        "with its fewest labels; ≤: below it with its most; ?: some of both, so that the number is no bound.",
        "",
        "![J over the reference by labels, and reward against KL](imdb.png)",
    ]
    for size, part in _by_size(found):
        lines += ["", f"{_heading(size, part)}.", "", "| " + " | ".join(HEAD) + " |"]
        lines += ["|---" * len(HEAD) + "|"]
        lines += ["| " + " | ".join(line) + " |" for line in rows(part)]
        lines += ["", *(f"- {line}" for line in [*savings(part), *refusals(part)])]
    lines += [
        "",
        f"Seeds {about['seeds']}; trials took {about['seconds_of_all_trials']} s "
        f"one after the other, the last call {about['seconds_of_this_call']} s. {about['model']}; DPO as tuned for "
        f"random, and how the fit teaches: {about['settings']}. Methods: {about['methods']}. "
        "Machine, versions and the fingerprint of the code: [imdb.json](imdb.json).",
    ]
    return "\n".join(lines) + "\n"


def draw(found: Cells) -> bytes:
    """PNG: J over the reference by labels with intervals, and reward against KL of every trial."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    _, part = _by_size(found)[len(_by_size(found)) // 2]
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.8, 3.4), layout="constrained")
    left.axhline(0, color="0.7", lw=1)
    there = {c["method"] for c in part}
    for method, colour in ((m, c) for m, c in COLOURS.items() if m in there):
        labels, values = gains(part, method)
        means = [crossed_interval(some) for some in values]
        left.plot(labels, [m.mean for m in means], "o-", color=colour, label=method, ms=4)
        if means[0].low is not None:
            left.fill_between(
                labels, [m.low for m in means], [m.high for m in means], color=colour, alpha=0.12
            )
        ends = [c["evaluation"]["policy_values"] for c in part if c["method"] == method]
        x, y = ([e[q]["mean"] for e in ends] for q in ("kl", "reward"))
        right.plot(x, y, "o", color=colour, alpha=0.55, ms=4, mew=0)
    left.set(xscale="log", xlabel="labels", ylabel="J over the reference")
    budgets = sorted({c["budget"] for c in part})
    left.set_xticks(budgets, [str(b) for b in budgets], minor=False)
    left.minorticks_off()
    left.legend(frameon=False, fontsize=8)
    right.set(xlabel="KL from the reference, nats", ylabel="reward")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    held = BytesIO()
    figure.savefig(held, format="png", dpi=160)
    plt.close(figure)
    return held.getvalue()
