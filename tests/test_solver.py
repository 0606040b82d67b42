"""The certificate must be true (nothing beats the bound) and tight (CVXPY agrees)."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import KERNELS
from limit_cases import relaxed_optimum
from pools import all_pairs, make_space, ragged_space
from whichpairs.bench.engine.measure import rounding
from whichpairs.design import (
    DOptimal,
    FrankWolfe,
    PairSpace,
    PairWeights,
    Problem,
    a_optimal,
    gap_criterion,
    information,
    policy_information,
    solve,
)
from whichpairs.design.batches.candidates import Candidates
from whichpairs.design.problem.information import random_second_moment
from whichpairs.design.problem.limits import Groups, Limits
from whichpairs.design.solver import exchange as exchange_module
from whichpairs.design.solver import frank_wolfe as solver
from whichpairs.design.solver.exchange import exchange
from whichpairs.design.solver.simplicial import mixture
from whichpairs.design.sweep.sweep import best_pairs, exact_scores
from whichpairs.errors import UserError

EXACT = FrankWolfe(passes=60, tolerance=1e-5, integrality=0.0, inner=400)


def problem_on(
    space: PairSpace, budget: int, *, ridge: float, criterion=None, theta=None
) -> Problem:
    weights = PairWeights(1.0) if theta is None else PairWeights(1.0, theta)
    scale = budget * np.trace(random_second_moment(space)) / 4 / space.dim
    base = ridge * scale * np.eye(space.dim)
    return Problem(
        space, criterion or gap_criterion(policy_information(space)), weights, base, budget
    )


def value_of(problem: Problem, pairs: np.ndarray) -> float:
    m = problem.base + information(problem.space, pairs, problem.weights)
    return problem.criterion.value(m)


tiny = st.tuples(
    st.lists(st.integers(1, 4), min_size=2, max_size=4),
    st.integers(1, 3),
    st.integers(0, 10_000),
    st.booleans(),
    st.booleans(),
)


@pytest.mark.slow
@settings(deadline=None, max_examples=30)
@given(tiny, st.data())
def test_no_batch_beats_the_bound(case, data) -> None:
    sizes, dim, seed, d_optimal, believing = case
    space = ragged_space(sizes, dim, seed)
    pairs = all_pairs(space)
    if not len(pairs):
        return
    budget = data.draw(st.integers(1, min(4, len(pairs))))
    theta = np.random.default_rng(seed).standard_normal(dim) if believing else None
    criterion = DOptimal() if d_optimal else None
    problem = problem_on(space, budget, ridge=0.05, criterion=criterion, theta=theta)
    solution = solve(problem, FrankWolfe(passes=data.draw(st.integers(2, 8))))
    best = min(value_of(problem, pairs[list(c)]) for c in combinations(range(len(pairs)), budget))
    slack = 1e-9 * abs(best) + 1e-12
    assert solution.bound <= best + slack
    assert best <= solution.value + slack
    assert solution.value == pytest.approx(value_of(problem, solution.pairs), rel=1e-9)


@pytest.mark.slow
@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(2, 30), st.booleans(), st.data())
def test_bound_and_relaxed_design_agree_with_cvxpy(seed, dim, budget, d_optimal, data) -> None:
    """To 10⁻⁵ where nothing stops the solve early: what remains is 1 % of the batch's own gap."""
    space = ragged_space([4, 5, 3, 4, 5], dim, seed)
    criterion = DOptimal() if d_optimal else None
    theta = np.random.default_rng(seed).standard_normal(dim) if data.draw(st.booleans()) else None
    problem = problem_on(space, budget, ridge=0.01, criterion=criterion, theta=theta)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solver._Solve, "_done", lambda self: False)
        tight = solve(problem, FrankWolfe(passes=5, tolerance=1e-7, inner=200, swaps=0))
    optimum = relaxed_optimum(problem)
    near = {"rel": 1e-5, "abs": 1e-5 * dim if d_optimal else 0.0}
    assert tight.relaxed == pytest.approx(optimum, **near)
    assert tight.bound == pytest.approx(optimum, **near)
    usual = solve(problem, EXACT)
    slack = 0.01 * (usual.reports[-1].batch - usual.bound) + 1e-4 * abs(optimum) + 1e-4 * d_optimal
    assert optimum - slack <= usual.bound <= optimum + 1e-5 * (abs(optimum) + d_optimal)


@pytest.mark.slow
@pytest.mark.parametrize("steep", [False, True])
def test_within_one_percent_in_fifteen_passes(steep: bool) -> None:
    """d = 64, 2.4 M candidate pairs, budget 5 000, ridge 10⁻⁶ of the mean information."""
    space = make_space(20_000, 16, 64, steep=steep)
    assert space.candidates == 2_400_000
    solution = solve(problem_on(space, 5000, ridge=1e-6), FrankWolfe(passes=15, threads=2))
    assert len(solution.pairs) == 5000
    assert 0 <= solution.value / solution.bound - 1 <= 0.01
    assert len(solution.reports) <= 15


def test_same_batch_on_one_and_two_threads() -> None:
    space = make_space(3000, 12, 16)
    problem = problem_on(space, 700, ridge=1e-3)
    one, two = (solve(problem, FrankWolfe(threads=t)) for t in (1, 2))
    assert one.pairs.tobytes() == two.pairs.tobytes()
    assert one.bound == two.bound


@pytest.mark.slow
def test_five_hundred_of_two_million_pairs_within_two_percent() -> None:
    """n a few times d, where rounding costs most and exchange steps mend it."""
    solution = solve(problem_on(make_space(20_000, 16, 64), 500, ridge=1e-6), FrankWolfe(threads=2))
    assert len(solution.pairs) == 500
    assert 0 <= solution.certificate <= 0.02


SAME = {
    "none": Limits(),
    "groups": Limits(
        per_prompt=2,
        groups=Groups(("a",), np.arange(240) % 2 - 1, np.array([0.2]), np.array([0.4])),
    ),
    "costs": Limits(row_costs=0.4 + 0.05 * (np.arange(1920) % 5)),
    "completions": Limits(per_completion=1),
}


@pytest.mark.slow
@pytest.mark.parametrize("limits", SAME.values(), ids=SAME)
@pytest.mark.parametrize("believing", [False, True])
def test_same_bytes_by_any_kernel_on_any_number_of_threads(limits: Limits, believing) -> None:
    """float16 features; a belief with a spread."""
    rng = np.random.default_rng(5)
    space = PairSpace(rng.standard_normal((1920, 12)).astype(np.float16), np.arange(0, 1921, 8))
    weights = PairWeights(1.0, 0.3 * rng.standard_normal(12), 0.1 * np.eye(12))
    criterion = gap_criterion(policy_information(space))
    weights = weights if believing else PairWeights(1.0)
    problem = Problem(space, criterion, weights, 0.01 * np.eye(12), 100, limits)
    found = set()
    for kernel, threads in zip(KERNELS, (1, 2, 2, 2), strict=False):
        method = FrankWolfe(passes=3, kernel=kernel, threads=threads, swaps=5, kicks=0)
        solution = solve(problem, method)
        found.add((solution.pairs.tobytes(), solution.bound, solution.scores.tobytes()))
    assert len(found) == 1


def test_batch_is_of_distinct_candidates_only() -> None:
    eligible = np.arange(30) % 3 > 0
    free = ragged_space([6] * 30, 4, eligible=eligible)
    excluded = free.keys(all_pairs(free)[::2])
    space = ragged_space([6] * 30, 4, eligible=eligible, excluded=excluded)
    solution = solve(problem_on(space, 100, ridge=1e-3))
    keys = space.keys(solution.pairs)
    assert len(set(keys.tolist())) == 100
    assert set(keys.tolist()) <= set(space.keys(all_pairs(space)).tolist())


def test_the_whole_pool_is_the_only_batch_of_its_size() -> None:
    space = ragged_space([3, 4], 2)
    solution = solve(problem_on(space, space.candidates, ridge=1e-3))
    assert np.array_equal(solution.pairs, all_pairs(space))
    assert solution.bound == pytest.approx(solution.value, rel=1e-9)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(1, 7), min_size=2, max_size=8),
    st.integers(0, 999),
    st.integers(1, 20),
    st.booleans(),
)
def test_a_pass_finds_the_best_pairs(sizes, seed: int, keep: int, believing: bool) -> None:
    space = ragged_space(sizes, 3, seed)
    pairs = all_pairs(space)
    if not len(pairs):
        return
    rng = np.random.default_rng(seed)
    weights = PairWeights(0.8, rng.standard_normal(3)) if believing else PairWeights(0.8)
    factor = rng.standard_normal((3, 3))
    plain = exact_scores(space, pairs, factor, weights)
    order = np.lexsort((space.keys(pairs), -plain))[:keep]
    best = best_pairs(space, factor, weights, keep)
    assert np.array_equal(best.pairs, pairs[order])
    outside = np.delete(plain, order)
    assert best.ceiling >= (outside.max() if len(outside) else 0.0)


def test_equal_scores_go_by_pair_order() -> None:
    features = np.tile(np.array([[0.0], [1.0], [0.0], [1.0]], np.float32), (50, 1))
    space = PairSpace(features, np.arange(0, 201, 4))
    best = best_pairs(space, np.eye(1), PairWeights(1.0), 10)
    ones = [tuple(p) for p in all_pairs(space) if (p[0] - p[1]) % 2][:10]
    assert [tuple(p) for p in best.pairs] == ones


def test_swapping_signs_or_order_of_completions_changes_no_value() -> None:
    space = ragged_space([5] * 12, 3, 7)
    mirrored = PairSpace(-space.features, space.starts)
    one, two = (solve(problem_on(s, 20, ridge=1e-3)) for s in (space, mirrored))
    assert np.array_equal(one.pairs, two.pairs)


def test_exchange_never_makes_a_batch_worse_and_mends_a_poor_one() -> None:
    problem = problem_on(ragged_space([6] * 20, 4, 3), 12, ridge=1e-3)
    pairs = all_pairs(problem.space)
    candidates = Candidates.of(
        problem.space, problem.weights, problem.limits, problem.space.keys(pairs)
    )
    start = np.zeros(len(pairs), np.int64)
    start[np.random.default_rng(0).choice(len(pairs), 12, replace=False)] = 1
    end = exchange(
        candidates,
        start,
        problem.base,
        problem.criterion,
        problem.budget,
        problem.limits,
        swaps=200,
        goal=-np.inf,
    )
    assert end.sum() == 12
    assert end.max() == 1
    before, after = (value_of(problem, np.repeat(pairs, k, axis=0)) for k in (start, end))
    bound = solve(problem, EXACT).bound
    assert after < before
    assert after <= 1.15 * bound


@pytest.mark.parametrize("near", [1, 16])
def test_exchange_ends_where_hardly_a_swap_helps(near: int, monkeypatch) -> None:
    """… however few candidates its shortlists are made from between two looks at all of them."""
    monkeypatch.setattr(exchange_module, "OUT", 3)
    monkeypatch.setattr(exchange_module, "IN", 4)
    monkeypatch.setattr(exchange_module, "NEAR", near)
    problem = problem_on(ragged_space([5] * 12, 3, 11), 10, ridge=1e-3)
    pairs = all_pairs(problem.space)
    c = Candidates.of(problem.space, problem.weights, problem.limits, problem.space.keys(pairs))
    start = np.zeros(len(pairs), np.int64)
    start[np.random.default_rng(1).choice(len(pairs), 10, replace=False)] = 1
    some = (problem.base, problem.criterion, problem.budget, problem.limits)
    end = exchange(c, start, *some, swaps=500, goal=-np.inf)
    m = problem.base + c.information(end.astype(float))
    value = problem.criterion.value(m)
    better = 0
    for p in np.flatnonzero(end):
        for q in np.flatnonzero(end == 0):
            after = m - np.outer(c.z[p], c.z[p]) + np.outer(c.z[q], c.z[q])
            better += problem.criterion.value(after) < value * (1.0 - 1e-6)
    assert better <= 0.02 * end.sum() * (end == 0).sum()
    three = exchange(c, start, *some, swaps=3, goal=-np.inf)
    assert 0 < np.abs(three - start).sum() <= 6


@pytest.mark.parametrize("ridge", [1e-3, 1e-6, 1e-9, 1e-12])
@pytest.mark.parametrize("criterion", [a_optimal(6), DOptimal()], ids=lambda c: c.name)
def test_a_mixture_gets_away_from_a_nearly_singular_vertex(criterion, ridge: float) -> None:
    first = np.diag([900.0, 30.0, 1.0, 0.0, 0.0, 0.0])
    parts = [first, first[::-1, ::-1].copy(), 0.01 * np.eye(6)]
    shares = mixture(criterion, ridge * np.eye(6), parts, np.array([1.0, 0.0, 0.0]))
    m = ridge * np.eye(6) + sum(share * part for share, part in zip(shares, parts, strict=True))
    even = ridge * np.eye(6) + 0.5 * (parts[0] + parts[1])
    assert criterion.value(m) <= criterion.value(even) + 1e-3


@pytest.mark.slow
def test_a_solve_gets_away_from_a_nearly_singular_vertex(monkeypatch) -> None:
    """128 of 2.4 million pairs, d = 64: its first vertex is nearly singular."""
    monkeypatch.setattr("whichpairs.design.solver.frank_wolfe.ROOMY", 0.0)
    found = rounding("uneven", 2, 0)
    assert found["certificate"] <= 0.2


@pytest.mark.parametrize("budget", [0, -3, 10_000])
def test_budgets_that_do_not_fit_are_refused(budget: int) -> None:
    space = ragged_space([3, 4], 2)
    with pytest.raises(UserError, match=f"between 1 and the 9 candidate pairs; got {budget}"):
        problem_on(space, budget, ridge=1e-3)
