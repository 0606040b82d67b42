"""How exactly the design is settled between passes, where that is dear."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from pools import make_space
from test_solver import problem_on
from whichpairs.design import FrankWolfe, PairSpace, Problem, solve
from whichpairs.design.solver import frank_wolfe as solver
from whichpairs.design.solver import solution as records
from whichpairs.design.solver.mixture import Mix
from whichpairs.design.sweep.sweep import Best

QUICK = FrankWolfe(passes=4, tolerance=1e-6, integrality=0.0, swaps=0)


@pytest.fixture
def all_dear(monkeypatch) -> None:
    monkeypatch.setattr(solver, "INSTANT", 0.0)
    monkeypatch.setattr(solver, "DEAR", 0.0)


def watched(monkeypatch) -> tuple[list[float], list[float]]:
    """The gaps that passes find, and what inner steps are asked for, of solves to come."""
    gaps: list[float] = []
    asked: list[float] = []
    tighten, improve = solver._Solve._tighten, Mix.improve

    def look(work, m, best) -> float:
        gaps.append(tighten(work, m, best))
        return gaps[-1]

    def settle(mix: Mix, steps: int, tolerance: float) -> None:
        asked.append(tolerance)
        improve(mix, steps, tolerance)

    monkeypatch.setattr(solver._Solve, "_tighten", look)
    monkeypatch.setattr(Mix, "improve", settle)
    return gaps, asked


def few_of_a_steep_pool(dim: int = 16) -> Problem:
    """So few labels that equal shares of all pairs are far from the best."""
    return problem_on(make_space(300, 8, dim, steep=True), 3 * dim, ridge=1e-6)


@pytest.mark.slow
def test_the_gap_at_the_start_does_not_leave_the_first_mixture_unsettled(
    all_dear, monkeypatch
) -> None:
    gaps, asked = watched(monkeypatch)
    solve(few_of_a_steep_pool(), QUICK)
    assert gaps[0] > 1.0
    assert asked[0] == pytest.approx(solver.INNER)
    for gap, tolerance in zip(gaps[1:], asked[1:], strict=True):
        assert tolerance == pytest.approx(max(solver.INNER * gap, 1e-7))


@pytest.mark.slow
def test_a_solve_that_goes_on_does_not_take_its_pass_for_a_first_one(all_dear, monkeypatch) -> None:
    kept: list[records.Checkpoint] = []
    problem = few_of_a_steep_pool(8)
    whole = solve(problem, QUICK, keep=kept.append)
    assert len(kept) >= 2
    for checkpoint in kept:
        assert solve(problem, QUICK, resume=checkpoint).bound == whole.bound


def test_prompts_held_out_do_not_make_a_pass_dearer(monkeypatch) -> None:
    """A pass reads eligible prompts only, and so does that of a solve's sample."""
    whole = make_space(100, 8, 16)
    part = PairSpace(whole.features, whole.starts, np.arange(100) < 10)
    alone = PairSpace(whole.features[:80], whole.starts[:11])
    monkeypatch.setattr(solver, "INSTANT", 0.0)
    # A step on 60 candidates is as dear as a pass over 400 rows; the space has 800.
    monkeypatch.setattr(solver, "DEAR", (4 * 60 + 100 * 16) / (2 * 400))
    found = []
    for space in (whole, part, alone):
        work = solver._Solve(problem_on(space, 20, ridge=1e-3), QUICK, lambda report: None)
        work.mix = SimpleNamespace(candidates=range(60))
        found.append(work._inner(0.5, False))
    assert found == [1e-7, 0.05, 0.05]


def test_how_exact_inner_steps_are_does_not_depend_on_what_a_kernel_reads(monkeypatch) -> None:
    """Kernels differ in how many prompts later passes can leave out; no batch may differ for that."""
    problem = problem_on(make_space(500, 8, 16, steep=True), 150, ridge=1e-6)
    _, asked = watched(monkeypatch)
    monkeypatch.setattr(solver, "INSTANT", 0.0)
    # About 560 candidates: a step costs half a pass over all, five times one over a tenth.
    monkeypatch.setattr(solver, "DEAR", 1.0)
    sweep, found = solver.Sweep.__call__, set()
    for share in (1.0, 0.1):

        def reading(*args, share: float = share) -> Best:
            return replace(sweep(*args), visited=int(share * 500))

        monkeypatch.setattr(solver.Sweep, "__call__", reading)
        asked.clear()
        solution = solve(problem, replace(QUICK, passes=3, tolerance=1e-4, inner=4))
        assert solution.reports[-1].read == share
        found.add((solution.pairs.tobytes(), tuple(asked)))
    assert len(found) == 1


def test_what_is_told_and_tells_is_found_where_it_was() -> None:
    for name in ("Checkpoint", "FrankWolfe", "PassReport", "Solution"):
        assert getattr(solver, name) is getattr(records, name)
