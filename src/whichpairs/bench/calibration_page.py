"""The page of the calibration bench, and its figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scipy import stats

from whichpairs.bench.machine import machine
from whichpairs.evaluate.interval import Interval
from whichpairs.pool.files import to_json, write_whole
from whichpairs.pool.run import versions

if TYPE_CHECKING:
    from whichpairs.bench.calibration import Cell, Coverage

LEAST_SIGNAL = 4.0
"""Nats that the true P must gain over a coin on all labels for a slope to have a goal."""
COVERED = 0.93
PASSING = 1 / 30
"""What the README allows labels of a coin."""

Figure = dict[str, Any]


def figures(
    cells: Sequence["Cell"], covered: Sequence["Coverage"], passed: dict[int, tuple[int, int]]
) -> dict[str, Figure]:
    """Every figure by name: value, low, high, goal, reached (null: too little signal for a goal)."""
    found: dict[str, Figure] = {}
    for c in cells:
        name, told = f"{c.spread:g}_{c.labels}", c.signal >= LEAST_SIGNAL
        goal = "0.9 to 1.1" if told else "none: fewer than 4 nats of signal"
        inside = 0.9 <= c.slope.mean <= 1.1
        found[f"slope_{name}"] = _figure(c.slope, goal, inside if told else None)
        found[f"policy_slope_{name}"] = _figure(c.policy_slope, "none: for comparison", None)
        no_worse = c.loss.low is not None and c.loss.low <= 0.0
        goal = "at most 0 (a coin's), within the interval"
        found[f"loss_over_coin_{name}"] = _figure(c.loss, goal, no_worse)
        goal = "none: for comparison"
        found[f"policy_loss_over_coin_{name}"] = _figure(c.policy_loss, goal, None)
    for one in covered:
        share = _share(round(one.covered * one.draws), one.draws)
        found[f"coverage_{one.kind}_{one.units}"] = _figure(
            share, f"at least {COVERED}", one.covered >= COVERED
        )
    for labels, (count, trials) in passed.items():
        share = _share(count, trials)
        found[f"coin_labels_convincing_{labels}"] = _figure(
            share, "fewer than 1 in 30, as the README says", share.mean <= PASSING
        )
    return found


def _share(count: int, of: int) -> Interval:
    ends = stats.binomtest(count, of).proportion_ci(method="exact")
    share = count / of
    return Interval(share, None, float(ends.low), float(ends.high))


def _figure(value: Interval, goal: str, reached: bool | None) -> Figure:
    return {
        "value": value.mean,
        "low": value.low,
        "high": value.high,
        "goal": goal,
        "reached": reached,
    }


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
        slope, loss = found[f"slope_{name}"], found[f"loss_over_coin_{name}"]
        rows.append(
            f"| {c.spread:g} | {c.labels} | {c.signal:.1f} | {c.slope.text('.2f')} | "
            f"{_word(slope['reached'])} | {c.policy_slope.mean:.2f} | "
            f"{_scaled(c.loss)} | {_word(loss['reached'])} | {1e3 * c.policy_loss.mean:+.1f} |"
        )
    cover = [
        f"| {_KINDS[c.kind]} | {c.units} | {c.plain:.3f} | {c.covered:.3f} | "
        f"{_word(found[f'coverage_{c.kind}_{c.units}']['reached'])} | {c.where} |"
        for c in covered
    ]
    coin = []
    for labels in passed:
        one = found[f"coin_labels_convincing_{labels}"]
        coin.append(
            f"| {labels} | {passed[labels][0]} of {passed[labels][1]} | {one['value']:.4f} "
            f"({one['low']:.4f} … {one['high']:.4f}) | {_word(one['reached'])} |"
        )
    return _TEXT.format(
        rows="\n".join(rows),
        cover="\n".join(cover),
        coin="\n".join(coin),
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

| margin sd | labels | signal, nats | slope (95 %) | 0.9 to 1.1 | policy's slope | loss − coin's (95 %) | no worse | policy's loss − coin's |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
{rows}

Below 4 nats of signal over 32 features no method has a slope near 1 at a spread that it is not told: what the labels say of the
spread itself is too little, and one probability must serve worlds of several. There the goal is the loss alone (docs/log.md has
the slopes of a fit that is told another world's spread).

## Intervals

95 % intervals, {draws} draws a setting; the worst setting of each kind. Win rates: p from 0.5 to 0.98, 1 to 8 comparisons a prompt,
independent or alike within it, with and without ties. KL's like: normal, Student's t with 4 degrees of freedom, exponential,
gamma, log-normal. *Student's t* is what was used until now, at its own worst.

| of | prompts | Student's t | ours | at least 0.93 | our worst setting |
| --- | --- | --- | --- | --- | --- |
{cover}

## When a fit is convincing

The criterion `signal` builds on a fit once its left-out log loss beats a coin's by 4 nats over all labels. With labels of a coin
(32 features) that happens in

| labels | trials | share (95 %) | fewer than 1 in 30 |
| --- | --- | --- | --- |
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
    about = {"worlds": worlds, "versions": versions(), "machine": machine()}
    write_whole(folder / "calibration.json", to_json({"figures": found, **about}))
    write_whole(folder / "calibration.md", text)
    return text
