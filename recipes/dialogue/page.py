"""How the experiment came out, in a table, a page and a picture; no winner is assumed."""

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

from whichpairs.bench.markdown import Figure
from whichpairs.evaluate.crossed import crossed_interval
from whichpairs.evaluate.interval import Interval, interval

Cells = list[dict[str, Any]]
PLAIN, OURS = "random", "by the fit, taught"
COLOURS = {
    PLAIN: "0.35",
    "random, taught": "#3a6ea5",
    OURS: "#0b6e4f",
    "gap": "#b3651b",
    "adaptive": "#7f7f2f",
    "signal": "#5b2a86",
}


@dataclass(frozen=True)
class Found:
    """What was measured.

    Attributes:
        cells: a row a trial; beside: a row a seed, ours against plain random at one KL (`versus`).
    """

    cells: Cells
    beside: Cells


COLUMNS = {
    "win_rate": ("wins against reference, %", 100.0),
    "score": ("judge's score", 1.0),
    "kl": ("KL, nats", 1.0),
    "gain": ("gain in J", 1.0),
    "perplexity": ("perplexity", 1.0),
}


def values(found: Found, method: str, name: str) -> np.ndarray:
    """A figure by seed and held-out prompt; perplexity, which is of no prompt, by seed."""
    rows = [one for one in found.cells if one["method"] == method]
    if name == "perplexity":
        return np.array([row[name] for row in rows])
    return np.array([row["by_prompt"][name] for row in rows])


def sure(values: np.ndarray, comparisons: int = 1) -> Interval:
    """For new trainings and new prompts, or for new trainings."""
    return crossed_interval(values, comparisons) if values.ndim == 2 else interval(values)


def short(found: Interval, digits: int) -> str:
    """Mean and interval."""
    return found.text(f".{digits}f")


def rows(found: Found) -> list[list[str]]:
    """The table's cells: one row a method, the reference first."""
    one = found.cells[0]
    score = one["reference_score"]["mean"]
    reference = ["50", f"{score:.3f}", "0", "0", f"{one['reference_perplexity']:.2f}"]
    lines = [["reference", *reference]]
    for method in methods(found):
        cells = [
            short(sure(scale * values(found, method, name)), 1 if scale > 1 else 3)
            for name, (_, scale) in COLUMNS.items()
        ]
        lines.append([method, *cells])
    return lines


def methods(found: Found) -> list[str]:
    """In their order."""
    return list(dict.fromkeys(one["method"] for one in found.cells))


def ahead(found: Found, method: str, name: str) -> Interval:
    """A method over random, by seed and prompt; all such intervals hold together (Bonferroni)."""
    others = [one for one in methods(found) if one != PLAIN]
    difference = values(found, method, name) - values(found, PLAIN, name)
    return sure(difference, max(1, len(others)))


def at_one_kl(found: Found) -> Interval | None:
    """P4c: how often ours beats plain random's policy, both at one KL; by seed and held-out prompt."""
    if not found.beside:
        return None
    return crossed_interval(np.array([one["won"] for one in found.beside]))


def over(found: Found, method: str) -> Interval:
    """Wins against the reference less a half; the intervals of all methods hold together."""
    return sure(values(found, method, "win_rate") - 0.5, len(methods(found)))


def figures(found: Found) -> list[Figure]:
    """Every comparison that the page speaks of, and each method's columns."""
    results = []
    if (won := at_one_kl(found)) is not None:
        good = won.mean >= 0.6 and won.low is not None and won.low > 0.52
        results.append(Figure.of("P4c", won, goal="≥ 0.6, the interval above 0.52", reached=good))
    for method in methods(found):
        if method != PLAIN:
            won = ahead(found, method, "win_rate")
            better = won.low is not None and won.low > 0
            goal = "above 0, in all comparisons together"
            name = f"{method} − random, points"
            results.append(Figure.of(name, won, 100.0, goal=goal, reached=better))
            results.append(Figure.of(f"{method} − random, J", ahead(found, method, "gain")))
        name = f"{method} − reference, points"
        results.append(Figure.of(name, over(found, method), 100.0))
        for column in COLUMNS:
            results.append(Figure.of(f"{method}, {column}", sure(values(found, method, column))))
    return results


def table(found: Found) -> str:
    """For the terminal."""
    head = ["", *(title for title, _ in COLUMNS.values())]
    body = [head, *rows(found)]
    widths = [max(len(line[k]) for line in body) for k in range(len(head))]
    lines = ["  ".join(f"{c:>{w}}" for c, w in zip(line, widths, strict=True)) for line in body]
    return "\n".join([heading(found), *lines])


def heading(found: Found) -> str:
    """What the figures are means of."""
    one, seeds = found.cells[0], len({cell["seed"] for cell in found.cells})
    return (
        f"{one['budget']} labels a trial, {one['held_out_prompts']} held-out prompts, "
        f"{one['samples']} replies to each; mean (95 % interval) over {seeds} trainings and the prompts, "
        "crossed (perplexity: over the trainings alone)"
    )


def verdicts(found: Found) -> str:
    """What the intervals allow to say of each method against the reference and against random."""
    lines = []
    if (won := at_one_kl(found)) is not None:
        kls = np.array([one["kl"] for one in found.beside]).mean(axis=(0, 2))
        before = np.array([one["kl_before"] for one in found.beside]).mean(axis=0)
        lines.append(
            f"P4c, {OURS} against {PLAIN} at one KL: wins {_percent(won)} of held-out replies (goal: 60 %, the interval "
            f"above 52 %); KL {kls[0]:.2f} and {kls[1]:.2f} nats, before one was drawn back {before[0]:.2f} and "
            f"{before[1]:.2f}"
        )
    for method in methods(found):
        lines.append(f"{method} against the reference: {points(over(found, method))}")
        if method != PLAIN:
            won, gain = ahead(found, method, "win_rate"), ahead(found, method, "gain")
            lines.append(f"{method} − random: {points(won)}")
            lines.append(f"{method} − random in J: {short(gain, 3)}")
    bias = [one["position_bias"] for one in found.cells]
    decided = sum(b["decided"] for b in bias)
    first = sum(b["first"] * b["decided"] for b in bias) / decided
    disagree = sum(b["disagree"] * b["compared"] for b in bias) / sum(b["compared"] for b in bias)
    lines.append(
        f"the judge: the reply shown first won {100 * first:.1f} % of {decided} answers; "
        f"the two orders disagree on {100 * disagree:.1f} % of the pairs"
    )
    return "\n".join(lines)


def _percent(found: Interval) -> str:
    ends = "" if found.low is None else f" ({100 * found.low:.1f} … {100 * (found.high or 1):.1f})"
    return f"{100 * found.mean:.1f} %{ends}"


def points(found: Interval) -> str:
    """A difference in win rate, and whether it is beyond the noise."""
    if found.low is None or found.high is None:
        return f"{100 * found.mean:+.1f} points (one seed: nothing can be said)"
    found = Interval(*(100 * end for end in (found.mean, 0.0, found.low, found.high)))
    assert found.low is not None
    assert found.high is not None
    noise = "better" if found.low > 0 else "worse" if found.high < 0 else "within the noise"
    return f"{found.text('+.1f')} points: {noise}"


def page(found: Found, about: dict[str, Any]) -> str:
    """The page beside the picture."""
    titles = ["", *(title for title, _ in COLUMNS.values())]
    lines = [
        f"# Dialogue: which pairs to have judged, for {about['model']}",
        "",
        "Made by `make dialogue` ([the recipe](../../recipes/dialogue/README.md) says what was done); "
        "figures of every trial: [dialogue.json](dialogue.json).",
        "",
        "![Win rate against the reference, and KL, by method](dialogue.png)",
        "",
        f"{heading(found)}.",
        "",
        "| " + " | ".join(titles) + " |",
        "|---" * len(titles) + "|",
        *("| " + " | ".join(line) + " |" for line in rows(found)),
        "",
        "".join(f"- {line}\n" for line in verdicts(found).splitlines()),
        "The comparisons against random hold together with 95 % (Bonferroni: each at 1 − 0.05 ÷ their number), "
        "and so do those against the reference. They are for new trainings (judge's noise, batches of DPO) and new "
        "prompts; one pool of replies to train on, one judge and one model, so nothing is said of others.",
        "",
        f"`{OURS}`: half of the labels on random pairs, half on the best against the worst as a fit of the first half sees "
        "them; then the fit teaches the policy on pairs that nobody was asked about. At one KL: the policy that went "
        "further has its weights drawn back towards the reference's until its KL on training prompts is the other's.",
        "",
        "The judge's score is in its logits, without its noise; the gain is in J = score − β KL over the "
        f"reference, β = {about['settings']['beta']:g}; perplexity is of the annotators' replies to the held-out "
        "prompts.",
        "",
        f"Settings: {about['settings']}. Seeds {about['seeds']}; trials took {about['seconds_of_all_trials']} s one after the other. Machine, "
        "versions and the fingerprint of the code: [dialogue.json](dialogue.json).",
    ]
    return "\n".join(lines) + "\n"


def draw(found: Found) -> bytes:
    """PNG: win rate and KL of every trial, and the interval of the mean win rate."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 2.9), layout="constrained")
    left.axvline(50, color="0.7", lw=1)
    for place, method in enumerate(reversed(methods(found))):
        by_prompt, colour = 100 * values(found, method, "win_rate"), COLOURS[method]
        rate, mean = by_prompt.mean(axis=1), sure(by_prompt)
        left.plot(rate, np.full(len(rate), place), "o", color=colour, alpha=0.35, ms=6, mew=0)
        if mean.low is not None and mean.high is not None:
            left.plot([mean.low, mean.high], [place, place], color=colour, lw=2)
        left.plot([mean.mean], [place], "D", color=colour, ms=6)
        left.annotate(method, (mean.mean, place + 0.2), ha="center", color=colour, fontsize=8)
        kl = values(found, method, "kl").mean(axis=1)
        right.plot(kl, rate, "o", color=colour, alpha=0.7, ms=6, mew=0)
    left.set(
        yticks=[],
        ylim=(-0.5, len(methods(found)) - 0.3),
        xlabel="% of replies that win against the reference's\n(dots: seeds; bar: 95 % interval)",
    )
    right.axhline(50, color="0.7", lw=1)
    right.set(xlabel="KL from the reference, nats", ylabel="wins, %")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    held = BytesIO()
    figure.savefig(held, format="png", dpi=160)
    plt.close(figure)
    return held.getvalue()
