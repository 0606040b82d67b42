"""Does the planner tell the truth? Predicted against realised gaps, and its verdict against
savings.

Both where the truth is known. The bare formula is (β/2) tr(I(θ*) M⁻¹) at θ* for the maximum-
likelihood fit; the planner's own is the predicted gap that every command shows: expected over the
belief that the labels give, for the default estimator (`design.forecast.predicted_gap`).
"""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from whichpairs.bench.fingerprint import short
from whichpairs.bench.methods.registry import METHODS, OURS, RANDOM
from whichpairs.bench.methods.turn import Desk
from whichpairs.bench.pools.regimes import WELL_SPECIFIED
from whichpairs.bench.pools.simulated_pool import World
from whichpairs.bench.robustness.goals import Table
from whichpairs.bench.robustness.grid import Cell
from whichpairs.bench.robustness.runner import one_thread
from whichpairs.design import PairWeights, gap_criterion, information, policy_information
from whichpairs.design.estimate.bradley_terry import fit_theta
from whichpairs.design.forecast.curve import Outlook
from whichpairs.design.forecast.predicted_gap import Forecast, Known
from whichpairs.design.strategies.adaptive import Evidence, View, look, next_batch
from whichpairs.run.files import write_whole
from whichpairs.workflow.plan import WORTH_IT

SEEDS = 6
VAGUE = 1e-3
"""The ridge of the maximum-likelihood fit, as a share of the default prior."""


@dataclass(frozen=True)
class Moment:
    """A run after some labels: gaps predicted and found, by formula.

    Attributes:
        bare, bare_found: of the maximum-likelihood fit; planned, found: of the default one.
    """

    cell: str
    method: str
    labels: int
    dim: int
    bare: float
    bare_found: float
    planned: float
    found: float


PLAN = "plan"


@dataclass(frozen=True)
class _Ask:
    """One piece of work: a run of a method measured at every budget, or a plan; and its code."""

    cell: Cell
    method: str
    seed: int
    code: str


def _answer(ask: _Ask, kept: Path) -> Any:
    """As plain JSON, from its file where it is there."""
    name = hashlib.sha256(repr(ask).encode()).hexdigest()[:20]
    path = kept / f"{name}.json"
    if not path.exists():
        if ask.method == PLAN:
            found: Any = foretell(ask.cell, ask.seed).saved
        else:
            found = [asdict(moment) for moment in moments(ask.cell, ask.method, ask.seed)]
        write_whole(path, json.dumps(found))
    return json.loads(path.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Foretold:
    """What the planner said of a cell after the first round: labels saved in all, by budget."""

    cell: str
    saved: dict[int, float]


def moments(cell: Cell, method: str, seed: int) -> list[Moment]:
    """A run of `method`, measured at every budget."""
    world = cell.world(seed)
    asked, wins, found = np.empty((0, 2), np.int64), np.empty(0), []
    desk = Desk(world, asked, wins, seed, 0)
    for number, budget in enumerate(cell.budgets):
        picked = np.sort(METHODS[method](desk, budget - len(asked)), axis=1)
        asked = np.concatenate([asked, picked])
        wins = np.concatenate([wins, world.answers(picked, seed)])
        desk = after = Desk(world, asked, wins, seed, number + 1)
        free = fit_theta(after.z, wins, world.beta, VAGUE * world.prior)
        found.append(
            Moment(
                cell.name,
                method,
                budget,
                world.space.dim,
                _bare(world, asked),
                float(world.regrets(free).mean()),
                float(_forecast(after).now().mean()),
                float(world.regrets(after.theta).mean()),
            )
        )
    return found


def _view(desk: Desk) -> View:
    evidence = Evidence(desk.asked, desk.wins, desk.prompts, desk.fit)
    world = desk.world
    return look(desk.space, world.beta, world.prior, world.reference, evidence, seed=desk.seed)


def _forecast(desk: Desk) -> Forecast:
    world, none = desk.world, np.empty((0, 2), np.int64)
    known = Known(desk.asked, desk.wins, desk.theta, none)
    return Forecast(
        desk.space,
        world.beta,
        world.reference,
        world.prior,
        world.prior,
        known,
        seed=desk.seed,
    )


def _bare(world: World, asked: np.ndarray) -> float:
    """(β/2) tr(I(θ†) M⁻¹) with the labels' information at θ†."""
    gap = gap_criterion(policy_information(world.space, world.reference, world.best[None, :]))
    weights = PairWeights(world.beta, world.best)
    m = VAGUE * world.prior + information(world.space, asked, weights)
    return world.beta / 2 * gap.value(m)


def foretell(cell: Cell, seed: int) -> Foretold:
    """The plan after the first, random round: labels saved in all, at every later budget."""
    world = cell.world(seed)
    nothing = Desk(world, np.empty((0, 2), np.int64), np.empty(0), seed, 0)
    asked = METHODS[RANDOM](nothing, cell.budgets[0])
    desk = Desk(world, asked, world.answers(asked, seed), seed, 1)
    view, known, forecast = _view(desk), len(asked), _forecast(desk)
    # Beyond the last budget too, so that what random needs can be read off.
    ladder = sorted({n - known for n in cell.budgets[1:]} | {2 * cell.budgets[-1]})
    budgets = [n for n in ladder if n <= desk.space.candidates]
    random, design = [], []
    for n in budgets:
        rng = np.random.default_rng(n)
        batch = next_batch(desk.space, world.beta, view, n, rng).pairs
        random.append(float(forecast.random(n).mean()))
        design.append(float(forecast.after([batch]).mean()))
    now = float(forecast.now().mean())
    found = Outlook(np.array(budgets), np.array(random), np.array(design), now)
    saved = (known + found.random_needs()) / (known + found.budgets)
    every = {int(known + n): float(s) for n, s in zip(found.budgets, saved, strict=True)}
    return Foretold(cell.name, {n: every[n] for n in cell.budgets[1:] if n in every})


def planner_section(
    cells: Sequence[Cell], found: Table, processes: int, kept: Path
) -> dict[str, Any]:
    """Tables and JSON of both questions.

    Args:
        kept: folder in which what was computed stays; what its code or pool leave as it is is not
            computed again.
    """
    code = short(["whichpairs.bench.robustness.planner"])
    asks = [
        _Ask(cell, method, seed, f"{code}{cell.content}")
        for cell in cells
        for method, seeds in ((RANDOM, SEEDS), (OURS, SEEDS), (PLAN, 3))
        if method == PLAN or cell.name in WELL_SPECIFIED
        for seed in range(seeds)
    ]
    context = get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=one_thread) as pool:
        answers = list(pool.map(_answer, asks, [kept / "planner"] * len(asks)))
    every = list(zip(asks, answers, strict=True))
    all_moments = [Moment(**row) for ask, rows in every if ask.method != PLAN for row in rows]
    foretold = [
        Foretold(ask.cell.name, {int(n): s for n, s in saved.items()})
        for ask, saved in every
        if ask.method == PLAN
    ]
    ratios = _ratios(all_moments)
    verdicts = _verdicts(foretold, found)
    return {"markdown": _markdown(ratios, verdicts), "json": {"ratios": ratios, **verdicts}}


def _ratios(found: Sequence[Moment]) -> list[dict[str, Any]]:
    """Predicted ÷ realised, means over seeds before the division."""
    rows = []
    for key in dict.fromkeys((m.cell, m.method, m.labels) for m in found):
        some = [m for m in found if (m.cell, m.method, m.labels) == key]
        mean = {
            name: float(np.mean([getattr(m, name) for m in some]))
            for name in ("bare", "bare_found", "planned", "found")
        }
        rows.append(
            {
                "cell": key[0],
                "method": key[1],
                "labels": key[2],
                "labels_a_dimension": key[2] / some[0].dim,
                "bare": mean["bare"] / mean["bare_found"],
                "planned": mean["planned"] / mean["found"],
            }
        )
    return rows


def _verdicts(foretold: Sequence[Foretold], found: Table) -> dict[str, Any]:
    """Worth it or not, said and true, over cells × budgets."""
    rows = []
    for cell in dict.fromkeys(one.cell for one in foretold):
        plans = [one.saved for one in foretold if one.cell == cell]
        ours = found[cell][OURS]
        for n, ratio in zip(ours.labels.tolist(), ours.ratios.tolist(), strict=True):
            said = [plan[n] for plan in plans if n in plan]
            if said:
                rows.append(
                    {"cell": cell, "labels": n, "said": float(np.median(said)), "true": ratio}
                )
    called = np.array([row["said"] >= WORTH_IT for row in rows], dtype=bool)
    worth = np.array([row["true"] >= WORTH_IT for row in rows], dtype=bool)
    yes = float(called[worth].mean()) if worth.any() else None
    no = float((~called[~worth]).mean()) if (~worth).any() else None
    balanced = None if yes is None or no is None else (yes + no) / 2
    return {"verdicts": rows, "worth_it_found": yes, "not_found": no, "balanced_accuracy": balanced}


def _markdown(ratios: list[dict[str, Any]], verdicts: dict[str, Any]) -> str:
    bare = [r for r in ratios if r["labels_a_dimension"] >= 16]
    planned = [r for r in ratios if r["labels_a_dimension"] >= 4]
    lines = [
        "## The planner",
        "",
        "Predicted ÷ realised gap on the well-specified regimes; the goal is 0.8 to 1.25 by the "
        "bare "
        "formula at 16 d labels or more, and by the planner at 4 d or more.",
        "",
        f"- bare formula: {_within(bare, 'bare')}",
        f"- planner: {_within(planned, 'planned')}",
        "",
        "| regime | method | " + " | ".join(f"budget {k}" for k in range(1, 7)) + " |",
        "|---" * 8 + "|",
    ]
    for key in dict.fromkeys((r["cell"], r["method"]) for r in ratios):
        some = [r for r in ratios if (r["cell"], r["method"]) == key]
        shown = [f"{r['labels']}: {r['bare']:.2f}, {r['planned']:.2f}" for r in some]
        lines.append(f"| {key[0]} | {key[1]} | " + " | ".join(shown) + " |")
    v = verdicts
    if v["balanced_accuracy"] is not None:
        lines += [
            "",
            f'Verdict ("worth it": a saving of ≥ {WORTH_IT}) after the first, random round, over '
            f"{len(v['verdicts'])} cells × budgets: balanced accuracy {v['balanced_accuracy']:.2f} "
            f"(goal 0.90): of those worth it {v['worth_it_found']:.2f} are called so, of the "
            "others "
            f"{v['not_found']:.2f} are called random's.",
        ]
    return "\n".join(lines)


def _within(rows: list[dict[str, Any]], name: str) -> str:
    if not rows:
        return "no cells"
    values = np.array([row[name] for row in rows])
    inside = int(np.count_nonzero((values >= 0.8) & (values <= 1.25)))
    return (
        f"{inside} of {len(values)} within; {values.min():.2f} to {values.max():.2f}, "
        f"median {np.median(values):.2f}"
    )
