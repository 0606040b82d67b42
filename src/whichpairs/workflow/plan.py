"""Stage plan: what the labels will buy, before they are paid for, and how far to trust that."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whichpairs.design import FrankWolfe, PairSpace
from whichpairs.design.forecast.curve import Outlook
from whichpairs.design.forecast.predicted_gap import Reach
from whichpairs.design.problem.limits import check_budget
from whichpairs.design.strategies.adaptive import next_batch
from whichpairs.run.once import Outcome
from whichpairs.streams import Stream, stream
from whichpairs.wording import counted
from whichpairs.workflow.drawer import drawer_of, no_candidates
from whichpairs.workflow.loop.standing import LEAST_CONTROLS, few_controls
from whichpairs.workflow.select.criteria import adaptive_rng
from whichpairs.workflow.select.paper import draw_of, solved
from whichpairs.workflow.select.settings import SelectSettings
from whichpairs.workflow.select.stage import Desk
from whichpairs.workflow.settings.plan import PlanSettings
from whichpairs.workflow.workspace import Workspace, workspace

WORTH_IT = 1.2
"""A saving below this is called none: random is as good."""

WORTH = "worth it"

SIZES = (4, 8, 16, 32, 64)
"""Completions a prompt whose value is measured, those that the pool has."""

SIZE_DRAWS = 5


def plan(
    run: str | Path, settings: PlanSettings | None = None, *, beta: float | None = None
) -> Outcome:
    """Predicted gaps by budget for random and for ours, what is saved, and a plain verdict.

    Writes nothing.

    Raises:
        UserError: no pool, no features, or fewer candidate pairs than the budget.
    """
    settings = settings or PlanSettings()
    with workspace(run, beta) as space:
        chosen = (settings.criterion, settings.features)
        select = SelectSettings(1, *chosen, seed=settings.seed)
        desk = Desk(space, select)
        if desk.pairs.candidates == 0:
            raise no_candidates(space, "a plan")
        most = max(desk.pairs.candidates // 4, 1)  # what takes the whole pool leaves no choice
        budget = settings.budget or min(16 * desk.pairs.dim, most)
        check_budget(budget, desk.pairs.candidates)
        found = foresee(desk, budget)
        result = _result(found, budget, settings)
        result["criterion"] = settings.criterion
        # Where pairs have their answers already, no completion can be added that has one.
        more = drawer_of(space) is None and settings.criterion == "adaptive"
        result["completions"] = (
            _completions(desk, budget, result["predicted_gap"]) if more else None
        )
        result["rounds"] = rounds_so_far(space, desk.record.result["fingerprint"])
        result["trust"] = trust(result["rounds"])
        result["verdict"] = verdict(found.reach, budget)
    return Outcome(_message(result, settings), result)


@dataclass(frozen=True)
class Foresight:
    """Predicted gaps by budget, and at the one asked about what select would say.

    Attributes:
        outlook: by budget; reach: of the batch of the budget; random: how many of its labels are
            random.
    """

    outlook: Outlook
    reach: Reach
    random: int


def foresee(desk: Desk, budget: int) -> Foresight:
    """Predicted gaps at an eighth to eight times the budget: those of the very batches that select
    would pick, and random's."""
    most = desk.pairs.candidates
    ladder = np.geomspace(budget / 8, budget * 8, 13).round().astype(int)
    budgets = sorted({int(np.clip(n, 1, most)) for n in ladder} | {budget})
    found, randoms = [], []
    paper = solved(desk, FrankWolfe()) if desk.settings.criterion == "paper" else None
    for n in budgets:
        if paper is None:
            batch = next_batch(desk.pairs, desk.beta, desk.view, n, adaptive_rng(desk))
            picked, random = batch.pairs, batch.random
        else:
            picked = draw_of(desk, paper)(desk.pairs, n)
            random = paper.recorded(desk.pairs.keys(picked))["filled"]
        # Every candidate is what random picks, too.
        mine = None if random == n or n == most else picked
        found.append(desk.forecast.reach(mine, n, search=n == budget))
        randoms.append(random)
    outlook = Outlook(
        np.array(budgets),
        np.array([reach.random for reach in found]),
        np.array([reach.gap for reach in found]),
        found[0].before,
    )
    at = budgets.index(budget)
    return Foresight(outlook, found[at], randoms[at])


def verdict(reach: Reach, budget: int) -> str:
    """The answer in words."""
    if reach.labels_needed is None or reach.labels_needed >= WORTH_IT * budget:
        return WORTH
    return "random is as good here"


def _result(foreseen: Foresight, budget: int, settings: PlanSettings) -> dict[str, Any]:
    found, reach = foreseen.outlook, foreseen.reach
    needs = found.random_needs()
    # One number for what random needs at this budget: the one that select gives.
    needed = np.inf if reach.labels_needed is None else float(reach.labels_needed)
    needs[np.flatnonzero(found.budgets == budget)] = needed
    saved = needed / budget if np.isfinite(needed) else None
    result: dict[str, Any] = {
        "budget": budget,
        "random_picked": foreseen.random,
        "predicted_gap_now": reach.before,
        "predicted_gap": reach.gap,
        "predicted_gap_error": reach.error,
        "random_predicted_gap": reach.random,
        "predicted_saving_error": reach.saving_error,
        "labels_random_would_need": reach.labels_needed,
        "searched": reach.searched,
        "saved": saved,
        "flattens_at": found.flattens(),
        "curve": [
            {
                "labels": int(n),
                "random": float(r),
                "ours": float(o),
                "random_needs": None if np.isinf(m) else round(float(m)),
            }
            for n, r, o, m in zip(found.budgets, found.random, found.design, needs, strict=True)
        ],
    }
    if settings.cost_per_label is not None:
        cost = settings.cost_per_label
        result["cost"] = round(cost * budget, 2)
        more = None if saved is None else round(cost * (needed - budget), 2)
        result["money_saved"] = None if more is None else float(more) + 0.0
    if settings.target_gap is not None:
        result["target_gap"] = settings.target_gap
        for name, gaps in (("ours", found.design), ("random", found.random)):
            result[f"labels_to_target_{name}"] = _reaches(found.budgets, gaps, settings.target_gap)
    return result


def _reaches(budgets: np.ndarray, gaps: np.ndarray, target: float) -> int | None:
    """The least labels with this gap, log-log between budgets; None where the last has it not."""
    there = np.flatnonzero(gaps <= target)
    if len(there) == 0:
        return None
    to = int(there[0])
    if to == 0 or gaps[to] >= gaps[to - 1]:
        return int(budgets[to])
    way = np.log(gaps[to - 1] / target) / np.log(gaps[to - 1] / gaps[to])
    return int(np.ceil(budgets[to - 1] * (budgets[to] / budgets[to - 1]) ** way - 1e-9))


def _completions(desk: Desk, budget: int, gap: float) -> dict[str, Any] | None:
    """What more completions a prompt would buy, from subsamples of the pool.

    The predicted gap of our design at the budget with 4, 8, 16 … completions a prompt, and its
    log-linear extrapolation to twice the most, with the interval of the fit over subsamples.

    Args:
        gap: the plan's predicted gap at the budget, with the pool as it is.
    """
    most = int(np.median(desk.pairs.sizes[desk.pairs.sizes >= 2]))
    sizes = [m for m in SIZES if m <= most]
    if len(sizes) < 2:
        return None
    points = []
    for size in sizes:
        for draw in range(SIZE_DRAWS):
            some, rows = _subsample(desk.pairs, size, stream(desk.seed, Stream.PLAN_POOLS, draw))
            if some.candidates < budget:
                continue
            rng = stream(desk.seed, Stream.PLAN_POOL_BATCHES, draw)
            pairs = rows[next_batch(some, desk.beta, desk.view, budget, rng).pairs]
            points.append((size, float(desk.forecast.after([pairs]).mean())))
    if len({size for size, _ in points}) < 2:
        return None
    x, y = np.log([s for s, _ in points]), np.log([gap for _, gap in points])
    # The whole pool's is the plan's own number, and not another draw of it.
    y += np.log(gap) - np.mean(y[np.isclose(x, np.log(sizes[-1]))])
    design = np.stack([np.ones_like(x), x], axis=1)
    line, *_ = np.linalg.lstsq(design, y, rcond=None)
    left = y - design @ line
    spread = float(left @ left) / max(len(y) - 2, 1)
    to = np.array([1.0, np.log(2 * sizes[-1])])
    error = float(np.sqrt(spread * (1.0 + to @ np.linalg.solve(design.T @ design, to))))
    by_size = {
        str(m): float(np.exp(np.mean(y[np.isclose(x, np.log(m))])))
        for m in sizes
        if np.isclose(x, np.log(m)).any()
    }
    return {
        "predicted_gap": by_size,
        "extrapolated_to": 2 * sizes[-1],
        "extrapolated": float(np.exp(to @ line)),
        "low": float(np.exp(to @ line - 1.96 * error)),
        "high": float(np.exp(to @ line + 1.96 * error)),
    }


def _subsample(
    space: PairSpace, size: int, rng: np.random.Generator
) -> tuple[PairSpace, np.ndarray]:
    """A pool of at most `size` completions of every eligible prompt, drawn at random, and the rows
    of the whole one that these are.

    Pairs that were asked are candidates again: what they taught is in the information of the past.
    """
    owner = np.repeat(np.arange(len(space.sizes)), np.diff(space.starts))
    order = np.lexsort((rng.random(len(owner)), owner))
    place = np.arange(len(owner)) - space.starts[owner]  # place within the prompt, in this order
    rows = np.sort(order[(place < size) & (space.sizes[owner] >= 2)])
    counts = np.bincount(owner[rows], minlength=len(space.sizes))
    starts = np.concatenate([[0], np.cumsum(counts[counts > 0])]).astype(np.int64)
    return PairSpace(np.asarray(space.features[rows]), starts), rows


def rounds_so_far(space: Workspace, fingerprint: str) -> list[dict[str, Any]]:
    """What each fit of these features foretold of the control labels, beside what was found."""
    rounds = []
    for name in space.run.finished("fits"):
        record = space.run.record("fits", name)
        foretold = record.result.get("foretold_held_out") if record else None
        if record is None or foretold is None or record.inputs.get("features") != fingerprint:
            continue
        rounds.append({"fit": name, "labels": record.result["labels"], **foretold})
    return rounds


def trust(rounds: list[dict[str, Any]]) -> str:
    """How far the predictions may be trusted, by the control labels of the latest fit alone."""
    count = rounds[-1]["controls"] if rounds else 0
    if count < LEAST_CONTROLS:
        return f"unknown: {few_controls(count)} (select --controls, or loop)"
    last = rounds[-1]
    if last["standard_error"] is None:
        return f"unknown: the {count} control labels are of one prompt"
    z = (last["found"] - last["predicted"]) / max(last["standard_error"], 1e-12)
    if abs(z) <= 2.0:
        return (
            f"as far as {last['controls']} control labels can tell: their log loss was foretold as "
            f"{last['predicted']:.3f} and is {last['found']:.3f}"
        )
    way = "over-confident: predicted gaps are too small" if z > 0 else "over-cautious"
    return (
        f"little: the belief is {way} (log loss of {last['controls']} control labels foretold as "
        f"{last['predicted']:.3f}, found {last['found']:.3f})"
    )


def _random_part(r: dict[str, Any], settings: PlanSettings) -> str:
    share, default = r["random_picked"] / r["budget"], "" if settings.budget else _DEFAULT_BUDGET
    who = "default criterion" if r["criterion"] == "adaptive" else f"criterion {r['criterion']}"
    part = "all" if r["random_picked"] == r["budget"] else f"{100 * share:.0f} %"
    return f"The {who} would pick {part} of them at random{default}."


_DEFAULT_BUDGET = " (--budget asks about your own number of labels)"


def _saving(r: dict[str, Any]) -> str:
    if r["random_picked"] == r["budget"]:
        return "So there is nothing to save against random."
    if r["saved"] is not None and r["saved"] < 1.0:
        return (
            f"Random is predicted to need {counted(r['labels_random_would_need'], 'label')} only."
        )
    if r["saved"] == 1.0:
        return "What it would save is too little for the forecast to tell from nothing."
    if r["saved"] is None:
        return f"Random is not predicted to reach that gap with {counted(r['searched'], 'label')}."
    text = (
        "For the same gap random is predicted to need "
        f"{counted(r['labels_random_would_need'], 'label')}, "
    )
    text += f"{r['saved']:.2f} × as many"
    return text + (f"; less than {WORTH_IT:g} × is called none." if r["saved"] < WORTH_IT else ".")


_WHAT = (
    "Predicted gap after so many further labels: how far the trained policy stays below the best "
    "one "
    "(in J = E r − β KL; less is better).",
    "With random pairs; with ours (what select picks by default); and how many random pairs it "
    "takes "
    "to get as far as ours.",
    "",
)


def _table(r: dict[str, Any]) -> list[str]:
    """Predicted gaps by budget; where random does not get as far, more than the most looked at."""
    lines = [f"{'labels':>10}{'random':>12}{'ours':>12}{'random needs':>17}"]
    most = r["curve"][-1]["labels"]
    for row in r["curve"]:
        looked = max(r["searched"], row["labels"]) if row["labels"] == r["budget"] else most
        needs = f"over {looked}" if row["random_needs"] is None else str(row["random_needs"])
        lines.append(f"{row['labels']:>10}{row['random']:>12.4g}{row['ours']:>12.4g}{needs:>17}")
    return lines


def _message(r: dict[str, Any], settings: PlanSettings) -> str:
    lines = [*_WHAT, *_table(r), ""]
    lines.append(
        f"At {counted(r['budget'], 'further label')}: {r['verdict']} (a prediction, no evidence)."
    )
    lines += [_random_part(r, settings), _saving(r), _noise(r)]
    if settings.cost_per_label is not None:
        saved = r["money_saved"]
        tail = (
            ""
            if saved is None or r["verdict"] != WORTH
            else f"; random would cost {saved:g} more for the same gap"
        )
        lines.append(f"Cost: {r['cost']:g}{tail}.")
    if settings.target_gap is not None:
        for who in ("ours", "random"):
            n = r[f"labels_to_target_{who}"]
            most = r["curve"][-1]["labels"]
            reached = (
                counted(n, "label") if n is not None else f"more than {counted(most, 'label')}"
            )
            lines.append(f"A predicted gap of {settings.target_gap:g}: {who} needs {reached}.")
    if r["flattens_at"] is not None:
        lines.append(
            f"From about {r['flattens_at']} labels on, twice as many lower the gap by less than 5 "
            "% of "
            f"today's ({r['predicted_gap_now']:.4g})."
        )
    if r["completions"] is not None:
        c = r["completions"]
        now = list(c["predicted_gap"].items())[-1]
        lines.append(
            f"With {counted(c['extrapolated_to'], 'completion')} a prompt instead of {now[0]}: "
            "predicted gap "
            f"{c['extrapolated']:.4g} [{c['low']:.4g}, {c['high']:.4g}] instead of {now[1]:.4g}."
        )
    lines.append(f"How far to trust this: {r['trust']}.")
    return "\n".join(lines)


def _noise(r: dict[str, Any]) -> str:
    """Why a row may lie above the one before it."""
    text = (
        f"The forecast is simulated: at {counted(r['budget'], 'label')} our gap is "
        f"{r['predicted_gap']:.4g} "
    )
    text += f"± {2.0 * r['predicted_gap_error']:.2g}"
    if r["random_picked"] != r["budget"]:
        better = r["random_predicted_gap"] - r["predicted_gap"]
        text += f", random's less ours {better:.2g} ± {2.0 * r['predicted_saving_error']:.2g}"
    return text + " (two standard errors)."
