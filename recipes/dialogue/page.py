"""How the experiment came out, in a table, a page and a picture; no winner is assumed."""

from io import BytesIO
from typing import Any

import numpy as np

from whichpairs.bench.markdown import Figure
from whichpairs.evaluate.crossed import crossed_interval
from whichpairs.evaluate.interval import Interval, interval

Cells = list[dict[str, Any]]
NAMES = {
    "random": "random pairs",
    "gap": "gap (the plug-in design)",
    "adaptive": "adaptive (ours)",
    "signal": "signal (ours)",
}
COLOURS = {"random": "0.35", "gap": "#b3651b", "adaptive": "#0b6e4f", "signal": "#5b2a86"}
COLUMNS = {
    "win_rate": ("wins against reference, %", 100.0),
    "score": ("judge's score", 1.0),
    "kl": ("KL, nats", 1.0),
    "gain": ("gain in J", 1.0),
    "perplexity": ("perplexity", 1.0),
}


def values(found: Cells, method: str, name: str) -> np.ndarray:
    """A figure by seed and held-out prompt; perplexity, which is of no prompt, by seed."""
    rows = [one for one in found if one["criterion"] == method]
    if name == "perplexity":
        return np.array([row[name] for row in rows])
    return np.array([row["by_prompt"][name] for row in rows])


def sure(values: np.ndarray, comparisons: int = 1) -> Interval:
    """For new trainings and new prompts, or for new trainings."""
    return crossed_interval(values, comparisons) if values.ndim == 2 else interval(values)


def short(found: Interval, digits: int) -> str:
    """Mean and interval."""
    return found.text(f".{digits}f")


def rows(found: Cells) -> list[list[str]]:
    """The table's cells: one row a method, the reference first."""
    one = found[0]
    score = one["reference_score"]["mean"]
    reference = ["50", f"{score:.3f}", "0", "0", f"{one['reference_perplexity']:.2f}"]
    lines = [["reference", *reference]]
    for method in methods(found):
        cells = [
            short(sure(scale * values(found, method, name)), 1 if scale > 1 else 3)
            for name, (_, scale) in COLUMNS.items()
        ]
        lines.append([NAMES[method], *cells])
    return lines


def methods(found: Cells) -> list[str]:
    """In their order."""
    return list(dict.fromkeys(one["criterion"] for one in found))


def ahead(found: Cells, method: str, name: str) -> Interval:
    """A method over random, by seed and prompt; all such intervals hold together (Bonferroni)."""
    others = [one for one in methods(found) if one != "random"]
    difference = values(found, method, name) - values(found, "random", name)
    return sure(difference, max(1, len(others)))


def over(found: Cells, method: str) -> Interval:
    """Wins against the reference less a half; the intervals of all methods hold together."""
    return sure(values(found, method, "win_rate") - 0.5, len(methods(found)))


def figures(found: Cells) -> list[Figure]:
    """Every comparison that the page speaks of, and each method's columns."""
    results = []
    for method in methods(found):
        if method != "random":
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


def table(found: Cells) -> str:
    """For the terminal."""
    head = ["", *(title for title, _ in COLUMNS.values())]
    body = [head, *rows(found)]
    widths = [max(len(line[k]) for line in body) for k in range(len(head))]
    lines = ["  ".join(f"{c:>{w}}" for c, w in zip(line, widths, strict=True)) for line in body]
    return "\n".join([heading(found), *lines])


def heading(found: Cells) -> str:
    """What the figures are means of."""
    one, seeds = found[0], len({cell["seed"] for cell in found})
    return (
        f"{one['budget']} labels a trial, {one['held_out_prompts']} held-out prompts, "
        f"{one['samples']} replies to each; mean (95 % interval) over {seeds} trainings and the prompts, "
        "crossed (perplexity: over the trainings alone)"
    )


def verdicts(found: Cells) -> str:
    """What the intervals allow to say of each method against the reference and against random."""
    lines = []
    for method in methods(found):
        lines.append(f"{NAMES[method]} against the reference: {points(over(found, method))}")
        if method != "random":
            won, gain = ahead(found, method, "win_rate"), ahead(found, method, "gain")
            lines.append(f"{NAMES[method]} − random: {points(won)}")
            lines.append(f"{NAMES[method]} − random in J: {short(gain, 3)}")
    bias = [one["position_bias"] for one in found]
    decided = sum(b["decided"] for b in bias)
    first = sum(b["first"] * b["decided"] for b in bias) / decided
    disagree = sum(b["disagree"] * b["compared"] for b in bias) / sum(b["compared"] for b in bias)
    lines.append(
        f"the judge: the reply shown first won {100 * first:.1f} % of {decided} answers; "
        f"the two orders disagree on {100 * disagree:.1f} % of the pairs"
    )
    return "\n".join(lines)


def points(found: Interval) -> str:
    """A difference in win rate, and whether it is beyond the noise."""
    if found.low is None or found.high is None:
        return f"{100 * found.mean:+.1f} points (one seed: nothing can be said)"
    found = Interval(*(100 * end for end in (found.mean, 0.0, found.low, found.high)))
    assert found.low is not None
    assert found.high is not None
    noise = "better" if found.low > 0 else "worse" if found.high < 0 else "within the noise"
    return f"{found.text('+.1f')} points: {noise}"


def page(found: Cells, about: dict[str, Any]) -> str:
    """The page beside the picture."""
    titles = ["", *(title for title, _ in COLUMNS.values())]
    lines = [
        "# Dialogue: which pairs to have judged",
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
        "The judge's score is in its logits, without its noise; the gain is in J = score − β KL over the "
        f"reference, β = {about['settings']['beta']:g}; perplexity is of the annotators' replies to the held-out "
        "prompts.",
        "",
        f"Seeds {about['seeds']}; trials took {about['seconds_of_all_trials']} s one after the other. Machine, "
        "versions and the fingerprint of the code: [dialogue.json](dialogue.json).",
    ]
    return "\n".join(lines) + "\n"


def draw(found: Cells) -> bytes:
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
        left.annotate(
            NAMES[method], (mean.mean, place + 0.2), ha="center", color=colour, fontsize=8
        )
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
