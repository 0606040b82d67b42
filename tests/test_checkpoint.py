"""A solve that was killed goes on to the same batch; Ctrl-C ends it with the best one so far."""

import io
from dataclasses import fields

import numpy as np
import pytest

from limit_cases import label_bounds, plain_rows
from pools import all_pairs, make_space, ragged_space
from whichpairs.design import (
    DOptimal,
    FrankWolfe,
    PairWeights,
    Problem,
    gap_criterion,
    policy_information,
    solve,
)
from whichpairs.design.batches.candidates import Candidates
from whichpairs.design.batches.linear_programme import best_counts
from whichpairs.design.problem.limits import Groups, Limits
from whichpairs.design.solver import mixture as mixing
from whichpairs.design.solver.frank_wolfe import Checkpoint, PassReport

METHOD = FrankWolfe(passes=6, tolerance=1e-7, inner=3, swaps=20, kicks=1)


def groups(prompts: int) -> Groups:
    return Groups(
        ("a", "b"), np.arange(prompts) % 3 - 1, np.array([0.1, 0.2]), np.array([0.5, 0.4])
    )


CASES = {
    "none": Limits(),
    "groups": Limits(groups=groups(150), per_prompt=2),
    "costs": Limits(row_costs=0.3 + 0.1 * (np.arange(900) % 5)),
    "completions": Limits(per_completion=1, repeats=2),
    "must": Limits(must=np.array([[0, 1], [300, 303]])),
}


def problem_of(name: str) -> Problem:
    space = make_space(150, 6, 5, steep=True)
    criterion = DOptimal() if name == "costs" else gap_criterion(policy_information(space))
    theta = np.linspace(-1.0, 1.0, 5) if name == "must" else None
    return Problem(space, criterion, PairWeights(1.0, theta), 0.3 * np.eye(5), 60, CASES[name])


def through_a_file(checkpoint: Checkpoint) -> Checkpoint:
    """As plain arrays: what `np.savez` keeps."""
    arrays = {
        f.name: getattr(checkpoint, f.name) for f in fields(checkpoint) if f.name != "reports"
    }
    reports = [[getattr(r, f.name) for f in fields(r)] for r in checkpoint.reports]
    file = io.BytesIO()
    np.savez(file, reports=np.array(reports, float), **arrays)
    file.seek(0)
    held = np.load(file, allow_pickle=False)
    back = [
        PassReport(
            int(n),
            *map(float, rest[:3]),
            None if np.isnan(rest[3]) else float(rest[3]),
            *map(float, rest[4:]),
        )
        for n, *rest in held["reports"].tolist()
    ]
    arrays = {name: held[name] for name in arrays}
    arrays.update({name: float(held[name]) for name in ("longest", "bound", "room")})
    return Checkpoint(**arrays, reports=tuple(back))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_going_on_from_any_checkpoint_ends_in_the_same_bytes(name: str) -> None:
    problem, kept = problem_of(name), []
    whole = solve(problem, METHOD, keep=lambda c: kept.append(through_a_file(c)))
    assert len(kept) >= 2
    for number, checkpoint in enumerate(kept, 1):
        seen: list[PassReport] = []
        again = solve(problem, METHOD, seen.append, resume=checkpoint)
        assert again.pairs.tobytes() == whole.pairs.tobytes()
        assert again.bound == whole.bound
        assert again.value == whole.value
        assert [r.number for r in again.reports] == [r.number for r in whole.reports]
        assert [r.number for r in seen] == list(range(number + 1, len(whole.reports) + 1))
        assert again.reports[-1].seconds >= checkpoint.reports[-1].seconds


def test_what_a_checkpoint_holds_does_not_change_as_the_solve_goes_on(monkeypatch) -> None:
    """Even where vertices are merged for want of room."""
    monkeypatch.setattr(mixing, "MEMORY", 0.0)
    problem, rng = problem_of("none"), np.random.default_rng(0)
    keys = problem.space.keys(all_pairs(problem.space))
    c = Candidates.of(problem.space, problem.weights, problem.limits, keys)
    vertices = [
        best_counts(c, rng.uniform(0, 1, len(c)), 60, problem.limits).counts for _ in range(8)
    ]
    mix = mixing.Mix.of(problem, c, vertices, np.full(8, 1 / 8))
    held, before = mix.shares, mix.counts
    mix._make_room()
    assert held.tolist() == [1 / 8] * 8
    assert len(mix.shares) == 7
    assert np.allclose(mix.counts, before)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("after", [1, 2])
def test_ctrl_c_ends_with_the_best_batch_so_far(name: str, after: int) -> None:
    problem = problem_of(name)

    def watch(report: PassReport) -> None:
        if report.number == after:
            raise KeyboardInterrupt

    solution = solve(problem, METHOD, watch)
    assert solution.interrupted
    assert len(solution.reports) == after
    pairs = all_pairs(problem.space)
    places = np.searchsorted(problem.space.keys(pairs), problem.space.keys(solution.pairs))
    counts = np.bincount(places, minlength=len(pairs))
    rows, room = plain_rows(problem.space, pairs, problem.budget, problem.limits)
    assert (rows @ counts <= room + 1e-9).all()
    assert (counts >= label_bounds(pairs, problem.limits)[:, 0]).all()
    assert counts.sum() == 60 or not problem.limits.unit_costs
    done = solve(problem, METHOD)
    assert not done.interrupted
    assert solution.bound <= done.value
    assert done.bound <= solution.value


def test_ctrl_c_before_there_is_a_batch_is_passed_on(monkeypatch) -> None:
    def interrupted(*_) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("whichpairs.design.solver.frank_wolfe.Sweep.__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        solve(problem_of("none"), METHOD)


def test_ctrl_c_during_exchange_steps_ends_with_the_batch_before_them(monkeypatch) -> None:
    def interrupted(*_, **__) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("whichpairs.design.solver.polish.exchange", interrupted)
    space = ragged_space([5] * 20, 4, 1)
    criterion = gap_criterion(policy_information(space))
    try:
        solution = solve(Problem(space, criterion, PairWeights(1.0), 0.01 * np.eye(4), 9))
    except KeyboardInterrupt:
        pytest.fail("the batch was lost")
    assert solution.interrupted
    assert len(solution.pairs) == 9


def test_ctrl_c_while_candidates_are_exchanged_for_others_ends_with_the_batch(monkeypatch) -> None:
    whole = mixing.Mix.moved

    def interrupted() -> Candidates:
        raise KeyboardInterrupt

    monkeypatch.setattr(mixing.Mix, "moved", lambda mix, make: whole(mix, interrupted))
    solution = solve(problem_of("none"), METHOD)
    assert solution.interrupted
    assert len(solution.reports) == 1
    assert len(solution.pairs) == 60
