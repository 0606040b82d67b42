"""The sections of the page: figures, what the paper did beside what was done here, tables."""

from dataclasses import dataclass, field
from typing import Any

import hh
import numpy as np
import selection
import synthetic
from frontier import Area, Runs, area
from kept import Cell, kept
from picture import Panel, frontier_panel, gaps_panel
from runs import BASELINES, METHODS

from whichpairs.bench.markdown import Figure, shown, table
from whichpairs.evaluate.crossed import crossed_interval
from whichpairs.evaluate.interval import Interval

OURS = ("gap", "paper")
P4D = {"prompts": "P4d_prompt", "responses": "P4d_response"}
GOAL = "above 0 beyond the noise, against the first and against random"
SIDES = ("", "the paper", "here")


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        facts: what the page's JSON has of it; panels: of the picture.
    """

    title: str
    lines: list[str]
    figures: list[Figure] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    panels: list[Panel] = field(default_factory=list)

    def text(self) -> str:
        """In Markdown."""
        return "\n".join(["", f"## {self.title}", "", *self.lines])


def goals(figures: list[Figure]) -> str:
    """Those that have a goal, and where it is missed."""
    rows = [
        [one.name, shown(one, 3), str(one.goal), "reached" if one.reached else "**missed**"]
        for one in figures
        if one.goal is not None
    ]
    lines = [table(("figure", "found", "goal", ""), rows)]
    lines += [f"{one.name}: {'; '.join(one.missed)}.\n" for one in figures if one.missed]
    return "\n".join(lines)


def missing(title: str, why: str, figures: list[Figure] | None = None) -> Section:
    """A part that was not run."""
    return Section(title, [f"**Not run**: {why}"], figures or [])


def of_synthetic(worlds: int, cells: list[Cell]) -> Section:
    """Gaps of the designs over uniform's, by world and budget."""
    title = "Synthetic: tabular and contextual"
    if len(cells) < 2 * worlds:
        return missing(title, f"{len(cells)} of {2 * worlds} worlds are there.")
    figures, rows = [], []
    for name in synthetic.WORLDS:
        uniform = synthetic.gaps(cells, name, "uniform").mean(axis=0)
        rows.append([name, "uniform: mean gap", *(f"{gap:.4f}" for gap in uniform)])
        for design in [d for d in synthetic.DESIGNS if d != "uniform"]:
            found = synthetic.ratios(cells, name, design)
            rows.append([name, design, *(_ratio(one) for one in found)])
            figures += [
                Figure.of(f"{name}: gap of {design} ÷ uniform's, {n} labels", one)
                for n, one in zip(synthetic.BUDGETS, found, strict=True)
            ]
    sides = [
        ["tabular", "d = 100 completions", f"one prompt, {synthetic.TABULAR} completions"],
        [
            "contextual",
            "linear, φ = [x; a; x∘a]",
            f"the same; {synthetic.CONTEXTS} contexts × {synthetic.ACTIONS} actions, d = {3 * synthetic.FEATURES}",
        ],
        [
            "π_ref and reward",
            "π_ref far from uniform, reward of small variance",
            f"log π_ref spreads by {synthetic.FAR:g} (standard deviation), the reward by {synthetic.SMALL:g} logits",
        ],
        [
            "designs",
            "its own, against uniform, π_ref-weighted and the oracle's",
            "the same four; labels are independent draws from each",
        ],
        [
            "estimate",
            "DPO",
            f"DPO's in feature space under the default prior, β = {synthetic.BETA:g}",
        ],
        ["result", "not known to us in numbers", "the table below"],
    ]
    lines = [
        table(SIDES, sides),
        f"Mean gap J(π*) − J(π_θ̂) of each design ÷ uniform's, with 95 % intervals over {worlds} worlds "
        f"({synthetic.DRAWS} label sets in each); below 1 is better than uniform.",
        "",
        table(("world", "design", *(f"{n} labels" for n in synthetic.BUDGETS)), rows),
    ]
    panels = [gaps_panel(name, cells) for name in synthetic.WORLDS]
    return Section(title, lines, figures, {"worlds": worlds, "cells": cells}, panels)


def _ratio(one: Interval) -> str:
    return f"{one.mean:.2f} [{one.low:.2f}, {one.high:.2f}]"


def frontiers(plan: selection.Plan, cells: list[Cell]) -> tuple[list[int], dict[str, Runs]]:
    """The runs that all methods have finished, and every method's policies over them."""
    there = {(one["method"], one["run"]): one["policies"] for one in cells}
    done = [r for r in range(plan.size.runs) if all((m, r) in there for m in METHODS)]
    base = kept([selection.reference_job(plan)])
    if not done or not base:
        return [], {}

    def of(method: str, name: str) -> np.ndarray:
        places = range(len(plan.strengths))
        return np.array([[there[method, r][k][name] for r in done] for k in places])

    start = np.array(base[0]["reward"])
    return done, {m: Runs(of(m, "kl"), of(m, "reward") - start) for m in METHODS}


def areas(found: dict[str, Runs], ours: str) -> dict[str, Area]:
    """Of one of ours against each baseline; their intervals hold together."""
    return {base: area(found[ours], found[base], len(BASELINES)) for base in BASELINES}


def p4d(kind: str, found: dict[str, Runs]) -> Figure:
    """The smaller of the two areas; reached where both intervals are above 0."""
    if not found:
        return Figure(P4D[kind], None, goal=GOAL, reached=False, missed=("not measured",))
    both = areas(found, "gap")
    least = min(both.values(), key=lambda one: one.value)
    missed = tuple(
        f"gap − {base}: {_area(one)}"
        for base, one in both.items()
        if one.low is None or one.low <= 0
    )
    return Figure(P4D[kind], least.value, least.low, least.high, GOAL, not missed, missed)


def _area(one: Area) -> str:
    return shown(Figure("", one.value, one.low, one.high), 3)


def of_selection(plan: selection.Plan | None, kind: str, why: str = "") -> Section:
    """Frontiers of one kind of selection."""
    title = f"IMDb: {'prompt' if kind == 'prompts' else 'response'} selection"
    if plan is None:
        return missing(title, why, [p4d(kind, {})])
    cells = kept(plan.jobs())
    done, found = frontiers(plan, cells)
    headline = p4d(kind, found)
    if not found:
        return missing(title, f"{len(cells)} of {len(plan.jobs())} cells are there.", [headline])
    figures, versus = [headline], []
    for ours in OURS:
        for base, one in areas(found, ours).items():
            figures.append(Figure(f"{kind}: area, {ours} − {base}", one.value, one.low, one.high))
            versus.append([f"{ours} − {base}", _area(one), f"{one.height:+.3f}", f"{one.upto:.2f}"])
    size = plan.size
    lines = [
        table(SIDES, _selection_sides(plan, kind, len(done))),
        f"{headline.name} = {shown(headline, 3)} ({'reached' if headline.reached else '**missed**'}; goal: {GOAL}): the smaller of "
        "gap's two areas below.",
        "",
        f"Means over {len(done)} runs and {size.held_out} held-out openings ({size.samples} samples of each), with 95 % intervals "
        "over both, crossed:",
        "",
        table(
            (
                "method",
                "rate, epochs",
                "KL, nats",
                "reward over the reference's",
                "mean margin of its pairs, logits",
            ),
            _policies(plan, found, cells),
        ),
        "Area between the frontiers, reward × nats, with an interval (a bootstrap over runs and openings; the two of a method hold "
        "together); the same ÷ the KL that both reach: the mean difference in reward at equal KL.",
        "",
        table(("", "area", "mean difference in reward", "up to a KL of, nats"), versus),
    ]
    facts = {"size": vars(size), "models": vars(plan.models), "settings": plan.common}
    facts |= {"runs": done, "cells": cells}
    return Section(title, lines, figures, facts, [frontier_panel(kind, found)])


def _selection_sides(plan: selection.Plan, kind: str, runs: int) -> list[list[str]]:
    size, prompts = plan.size, kind == "prompts"
    there = f"{size.prompts} prompts × {size.completions} completions, one pool for all runs"
    return [
        ["policy", "GPT-2-large fine-tuned on IMDb", f"`{_name(plan.models.policy)}`"],
        ["reward", "sentiment classifier", f"`{_name(plan.models.reward)}`"],
        ["pool", "1 000 prompts × 2" if prompts else "175 prompts × 8", there],
        [
            "labels",
            "N = 175" if prompts else "one pair a prompt",
            f"N = {size.labels}, one pair a prompt",
        ],
        ["runs", "30" if prompts else "80", str(runs)],
        [
            "against",
            "the first 175" if prompts else "the first two answers",
            "the same, and random pairs",
        ],
        ["result", "reward–KL frontiers; not known to us in numbers", "below"],
    ]


def _name(path: str) -> str:
    return "/".join(path.replace("\\", "/").split("/")[-2:])


def _policies(plan: selection.Plan, found: dict[str, Runs], cells: list[Cell]) -> list[list[str]]:
    rows = []
    for method in METHODS:
        margin = np.mean([one["margin"] for one in cells if one["method"] == method])
        for k, (rate, epochs) in enumerate(plan.strengths):
            both = (crossed_interval(x[k]) for x in (found[method].kl, found[method].reward))
            how = f"{rate:g}, {epochs}"
            rows.append([method, how, *(one.text(".3f") for one in both), f"{margin:.2f}"])
    return rows


def of_hh(plan: hh.Plan | None, why: str = "") -> Section:
    """What is picked of an existing set, and what policies taught by it win."""
    title = "HH: a part of the pairs that there are"
    if plan is None:
        return missing(title, why)
    batches, cells = kept(plan.batches()), kept(plan.trainings())
    if len(batches) < len(plan.batches()):
        return missing(title, f"{len(batches)} of {len(plan.batches())} batches are there.")
    sides = [
        ["policy", "Pythia-2.8B fine-tuned on the chosen replies", "`dialogue/model` (1 M parameters), fine-tuned on HH dialogues"],
        ["set", "160 800 pairs", f"{batches[0]['candidate_pairs']} pairs of the harmless-base test split: those that fit the model's context and are of no shipped prompt"],
        ["picked", "80 400 and 96 480 (50 % and 60 %)", " and ".join(str(_labels(batches, s)) for s in plan.shares)],
        ["training", "β 0.1, RMSprop 10⁻⁶, batch 64, one epoch", f"β {hh.BETA:g}, AdamW {plan.learning_rate:g}, batch {plan.batch_size}, {plan.epochs} epochs: as the dialogue recipe tuned it for random"],
        ["judge", "GPT-4.1, 500 test prompts, against the chosen reply, a tie ½", f"`dialogue/judge` in both orders, {plan.held_out} prompts, the same"],
        ["temperatures", "0.25, 0.7, 1.0", ", ".join(f"{t:g}" for t in hh.TEMPERATURES)],
        ["θ₀", "a ridge fit to log π_ref", "0: the replies are people's, and have no log π_ref"],
        ["against", "the first N", "the first N, and random ones"],
        ["result", "not known to us in numbers", "below"],
    ]  # fmt: skip
    lines = [
        table(SIDES, sides),
        "What is picked; the gap that `select` predicts of it (θ* drawn from the prior, labels drawn, the estimate refitted: one formula for every "
        "method, by simulation, and not the trace that `gap` minimises; random's is the mean over random batches); and how many of its pairs "
        "are in `gap`'s batch:",
        "",
        table(
            ("share", "method", "pairs", "predicted gap", "÷ random's", "also in gap's"),
            _picked(plan, batches),
        ),
    ]
    chance = _chance(batches)
    figures = [
        Figure(
            f"HH, {100 * one['share']:.0f} %: predicted gap of {one['method']} ÷ random's",
            one["predicted_gap"] / chance[one["share"]],
        )
        for one in batches
        if one["method"] != "random"
    ]
    facts = {"batches": [{k: v for k, v in one.items() if k != "pairs"} for one in batches]}
    if len(cells) < len(plan.trainings()):
        lines.append(
            f"**Policies not run yet**: {len(cells)} of {len(plan.trainings())} cells are there (`make paper SECTIONS=hh` goes on)."
        )
        return Section(title, lines, figures, facts)
    more, rows = _wins(plan, cells)
    lines += [
        f"Wins against the chosen reply, % (a tie is half a win), and less each baseline's, with 95 % intervals over {plan.runs} runs and "
        f"{plan.held_out} prompts, crossed:",
        "",
        table(
            ("share", "method", "temperature", "wins, %", *(f"− {b}'s, points" for b in BASELINES)),
            rows,
        ),
    ]
    return Section(title, lines, figures + more, facts | {"cells": cells})


def _chance(batches: list[Cell]) -> dict[float, float]:
    """What the theory foretells of random pairs, by share."""
    return {one["share"]: one["predicted_gap"] for one in batches if one["method"] == "random"}


def _labels(batches: list[Cell], share: float) -> int:
    return next(one["labels"] for one in batches if one["share"] == share)


def _picked(plan: hh.Plan, batches: list[Cell]) -> list[list[str]]:
    ours = {one["share"]: set(one["pairs"]) for one in batches if one["method"] == "gap"}
    chance = _chance(batches)
    rows = []
    for one in batches:
        both = len(ours[one["share"]] & set(one["pairs"])) / len(one["pairs"])
        gaps = f"{one['predicted_gap']:.5f}", f"{one['predicted_gap'] / chance[one['share']]:.3f}"
        share = f"{100 * one['share']:.0f} %"
        rows.append([share, one["method"], str(one["labels"]), *gaps, f"{100 * both:.0f} %"])
    return rows


def _wins(plan: hh.Plan, cells: list[Cell]) -> tuple[list[Figure], list[list[str]]]:
    """Figures and rows; values by run and prompt."""

    def of(method: str, share: float, k: int) -> np.ndarray:
        rows = [c for c in cells if c["method"] == method and c["share"] == share]
        return 100 * np.array([c["wins"][k] for c in sorted(rows, key=lambda c: c["run"])])

    figures, rows = [], []
    start = next(one for one in cells if one["method"] == "reference")["wins"]
    for k, t in enumerate(hh.TEMPERATURES):
        rows.append(["", "reference", f"{t:g}", f"{100 * np.mean(start[k]):.1f}", "", ""])
    for share in plan.shares:
        for method in METHODS:
            for k, t in enumerate(hh.TEMPERATURES):
                own = of(method, share, k)
                wins = _shares(crossed_interval(own)).text(".1f")
                line = [f"{100 * share:.0f} %", method, f"{t:g}", wins]
                for base in BASELINES:
                    if method in BASELINES:
                        line.append("")
                        continue
                    ahead = crossed_interval(own - of(base, share, k), len(hh.TEMPERATURES))
                    line.append(ahead.text("+.1f"))
                    name = f"HH, {100 * share:.0f} %, temperature {t:g}: {method} − {base}, points"
                    figures.append(Figure.of(name, ahead))
                rows.append(line)
    return figures, rows


def _shares(one: Interval) -> Interval:
    """Per cent: none below 0 or above 100."""
    ends = (None if end is None else min(max(end, 0.0), 100.0) for end in (one.low, one.high))
    return Interval(one.mean, one.standard_error, *ends)
