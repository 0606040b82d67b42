"""The page of the calibration bench, and its figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scipy import stats

from whichpairs.bench.markdown import About, Figure, table, write_page
from whichpairs.evaluate.interval import Interval

if TYPE_CHECKING:
    from whichpairs.bench.calibration.run import Cell, Coverage

LEAST_SIGNAL = 4.0
"""Nats that the true P must gain over a coin on all labels for a slope to have a goal."""
COVERED = 0.93
PASSING = 1 / 30
"""What the README allows labels of a coin."""

ABOUT = About("make bench-calibration", ("whichpairs.bench.calibration.run",))


def figures(
    cells: Sequence["Cell"], covered: Sequence["Coverage"], passed: dict[int, tuple[int, int]]
) -> dict[str, Figure]:
    """Every figure by name; without a goal where there is too little signal, or only to compare."""
    found: list[Figure] = []
    for c in cells:
        name = f"{c.spread:g}_{c.labels}"
        goal, reached = None, None
        if c.signal >= LEAST_SIGNAL:
            goal, reached = "0.9 to 1.1", 0.9 <= c.slope.mean <= 1.1
        found.append(Figure.of(f"slope_{name}", c.slope, goal=goal, reached=reached))
        found.append(Figure.of(f"policy_slope_{name}", c.policy_slope))
        no_worse = c.loss.low is not None and c.loss.low <= 0.0
        goal = "a coin's or less, within the interval"
        found.append(Figure.of(f"loss_over_coin_{name}", c.loss, goal=goal, reached=no_worse))
        found.append(Figure.of(f"policy_loss_over_coin_{name}", c.policy_loss))
    for one in covered:
        share = _share(round(one.covered * one.draws), one.draws)
        name, reached = f"coverage_{one.kind}_{one.units}", one.covered >= COVERED
        found.append(Figure.of(name, share, goal=f"at least {COVERED}", reached=reached))
    for labels, (count, trials) in passed.items():
        share = _share(count, trials)
        name, reached = f"coin_labels_convincing_{labels}", share.mean <= PASSING
        goal = "fewer than 1 in 30, as the README says"
        found.append(Figure.of(name, share, goal=goal, reached=reached))
    return {one.name: one for one in found}


def _share(count: int, of: int) -> Interval:
    ends = stats.binomtest(count, of).proportion_ci(method="exact")
    return Interval(count / of, None, float(ends.low), float(ends.high))


def page(
    found: dict[str, Figure],
    cells: Sequence["Cell"],
    covered: Sequence["Coverage"],
    passed: dict[int, tuple[int, int]],
    worlds: int,
) -> str:
    """``calibration.md``."""
    rows = []
    for c in cells:
        name = f"{c.spread:g}_{c.labels}"
        rows.append(
            [
                f"{c.spread:g}",
                str(c.labels),
                f"{c.signal:.1f}",
                c.slope.text(".2f"),
                _word(found[f"slope_{name}"].reached),
                f"{c.policy_slope.mean:.2f}",
                _scaled(c.loss),
                _word(found[f"loss_over_coin_{name}"].reached),
                f"{1e3 * c.policy_loss.mean:+.1f}",
            ]
        )
    cover = [
        [
            _KINDS[c.kind],
            str(c.units),
            f"{c.plain:.3f}",
            f"{c.covered:.3f}",
            _word(found[f"coverage_{c.kind}_{c.units}"].reached),
            c.where,
        ]
        for c in covered
    ]
    coin = []
    for labels, (count, trials) in passed.items():
        one = found[f"coin_labels_convincing_{labels}"]
        share = f"{one.value:.4f} ({one.low:.4f} … {one.high:.4f})"
        coin.append([str(labels), f"{count} of {trials}", share, _word(one.reached)])
    return _TEXT.format(
        rows=table(_HEAD, rows),
        cover=table(_COVER, cover),
        coin=table(["labels", "trials", "share (95 %)", "fewer than 1 in 30"], coin),
        worlds=worlds,
        draws=covered[0].draws,
    )


def _scaled(loss: Interval) -> str:
    assert loss.low is not None
    assert loss.high is not None
    return f"{1e3 * loss.mean:+.2f} ({1e3 * loss.low:+.2f} … {1e3 * loss.high:+.2f})"


def _word(reached: bool | None) -> str:
    return "no goal" if reached is None else "reached" if reached else "**missed**"


_KINDS = {"shares": "win rates by prompt", "tails": "KL and its like"}

_HEAD = [
    "margin sd",
    "labels",
    "signal, nats",
    "slope (95 %)",
    "0.9 to 1.1",
    "policy's slope",
    "loss − coin's (95 %)",
    "no worse",
    "policy's loss − coin's",
]
_COVER = ["of", "prompts", "Student's t", "ours", "at least 0.93", "our worst setting"]

_TEXT = """# Probabilities and intervals that mean what they say

Printed by `make bench-calibration`. Every figure with its interval, goal and the machine:
[calibration.json](calibration.json).

## Probabilities of a fit

Bradley–Terry answers to random pairs, 32 Gaussian features, θ\\* of random direction, {worlds} worlds a cell. The slope is that of
the logistic regression of fresh labels on the reported logit: 1 is calibrated, below 1 too sure, above 1 too timid. It is pooled
over the worlds (a world in which nothing was learnt has no slope of its own), with a 95 % bootstrap interval over worlds. *Signal*
is what the true probabilities would gain over a coin on all of a world's labels together. The last columns are log loss on fresh
pairs less a coin's, in thousandths of a nat. "Policy's" is σ(β zᵀθ) with the policy's θ, which was
reported until now, on the first of these worlds.

{rows}

Below 4 nats of signal over 32 features no method has a slope near 1 at a spread that it is not told: what the labels say of the
spread itself is too little, and one probability must serve worlds of several. There the goal is the loss alone (docs/log.md has
the slopes of a fit that is told another world's spread).

## Intervals

95 % intervals, {draws} draws a setting; the worst setting of each kind. Win rates: p from 0.5 to 0.98, 1 to 8 comparisons a prompt,
independent or alike within it, with and without ties. KL's like: normal, Student's t with 4 degrees of freedom, exponential,
gamma, log-normal. *Student's t* is what was used until now, at its own worst.

{cover}

## When a fit is convincing

The criterion `signal` builds on a fit once its left-out log loss beats a coin's by 4 nats over all labels. With labels of a coin
(32 features) that happens in

{coin}
"""


def write(
    folder: Path,
    cells: Sequence["Cell"],
    covered: Sequence["Coverage"],
    passed: dict[int, tuple[int, int]],
    worlds: int,
) -> str:
    """Write ``calibration.md`` and ``calibration.json``; the page."""
    found = figures(cells, covered, passed)
    text = page(found, cells, covered, passed, worlds)
    facts = {"worlds": worlds, "draws": covered[0].draws}
    write_page(folder, "calibration", ABOUT, list(found.values()), facts, text)
    return text
