"""The certificate under every limit, against all batches of tiny pools."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from limit_cases import (
    KINDS,
    counts_of,
    feasible,
    feasible_batches,
    limited,
    limits_on,
    relaxed_optimum,
)
from pools import all_pairs, ragged_space
from whichpairs.design import (
    DOptimal,
    FrankWolfe,
    PairSpace,
    PairWeights,
    Problem,
    Sum,
    a_optimal,
    c_optimal,
    gap_criterion,
    i_optimal,
    information,
    policy_information,
    solve,
)
from whichpairs.design.batches.candidates import Candidates
from whichpairs.design.batches.integral import Ledger, roundings
from whichpairs.design.problem.limits import Groups, Limits
from whichpairs.design.solver import frank_wolfe as solver
from whichpairs.design.solver.exchange import exchange, kicked
from whichpairs.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # beartype does

KINDS_OF_CRITERIA = ("gap", "a", "c", "i", "d", "sum")


def criterion_of(kind: str, space: PairSpace, seed: int):
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((space.dim, space.dim))
    match kind:
        case "gap":
            return gap_criterion(policy_information(space) + 1e-3 * np.eye(space.dim))
        case "a":
            return a_optimal(space.dim)
        case "c":
            return c_optimal(root[0])
        case "i":
            return i_optimal(root @ root.T)
        case "d":
            return DOptimal()
    return Sum(((0.7, a_optimal(space.dim)), (0.4, DOptimal())))


@st.composite
def tiny_spaces(draw) -> PairSpace:
    """At most nine candidates, some prompts held out, some pairs out of reach."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    space = ragged_space(sizes, draw(st.integers(1, 3)), draw(st.integers(0, 10_000)))
    assume(1 <= len(all_pairs(space)) <= 9)
    if draw(st.booleans()):
        pairs = all_pairs(space)
        gone = draw(st.sets(st.integers(0, len(pairs) - 1), max_size=2))
        space = space.without(pairs[sorted(gone)])
        assume(space.candidates > 0)
    return space


@st.composite
def tiny_problems(draw, kinds: tuple[str, ...] = KINDS):
    """What `Problem` takes, all of it drawn: labels given before stand in the base."""
    space = draw(tiny_spaces())
    limits, budget = draw(limits_on(space, kinds))
    seed = draw(st.integers(0, 99))
    rng = np.random.default_rng(seed)
    theta = rng.standard_normal(space.dim) if draw(st.booleans()) else None
    weights = PairWeights(0.8, theta)
    base = draw(st.sampled_from([0.01, 0.1, 1.0])) * np.eye(space.dim)
    if draw(st.booleans()):
        base += information(space, all_pairs(space)[:2], weights)
    kind = draw(st.sampled_from(KINDS_OF_CRITERIA))
    return space, criterion_of(kind, space, seed), weights, base, budget, limits


def values_of(case, batches: np.ndarray) -> np.ndarray:
    space, criterion, weights, base, _, _ = case
    z = space.differences(all_pairs(space))
    z = z * np.sqrt(weights(z))[:, None]
    return np.array([criterion.value(base + z.T @ (u[:, None] * z)) for u in batches])


def assert_certified(case, solution, batches: np.ndarray) -> None:
    values = values_of(case, batches)
    slack = 1e-9 * abs(values.min()) + 1e-12
    assert solution.bound <= values.min() + slack
    assert values.min() <= solution.value + slack
    counts = counts_of(case[0], solution.pairs)
    assert (batches == counts).all(axis=1).any()
    assert solution.value == pytest.approx(values_of(case, counts[None])[0], rel=1e-9, abs=1e-12)
    assert len(solution.scores) == len(solution.pairs)


def assert_solved(case, passes: int) -> None:
    """Certified where there is a batch; else the error names what is in the way."""
    batches = feasible_batches(case[0], case[4], case[5])
    if len(batches):
        assert_certified(case, solve(Problem(*case), FrankWolfe(passes=passes)), batches)
        return
    with pytest.raises(UserError, match=r"^(?!None).* must "):
        solve(Problem(*case), FrankWolfe(passes=passes))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_no_batch_within_one_limit_beats_the_bound(kind: str) -> None:
    @settings(deadline=None, max_examples=15)
    @given(tiny_problems((kind,)), st.integers(1, 6))
    def holds(case, passes: int) -> None:
        assert_solved(case, passes)

    holds()


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(tiny_problems(), st.integers(1, 6))
def test_no_batch_within_any_limits_beats_the_bound(case, passes: int) -> None:
    assert_solved(case, passes)


def test_a_batch_of_costs_that_only_a_search_finds_is_found() -> None:
    """Greedy spends the budget of 6 on group a's cheap best pair, and no pair of a then reaches 3."""
    space = PairSpace(
        np.array([[0.0], [3.0], [0.0], [1.0], [0.0], [1.0]], np.float32), np.arange(0, 7, 2)
    )
    groups = Groups(("a",), np.array([0, 0, -1]), np.array([0.5]), np.array([0.75]))
    limits = Limits(row_costs=np.array([1.0, 1.0, 1.5, 1.5, 1.0, 1.0]), groups=groups)
    problem = Problem(space, a_optimal(1), PairWeights(1.0), np.eye(1), 6.0, limits)
    assert space.keys(solve(problem).pairs).tolist()[0] == space.keys(np.array([[2, 3]]))[0]


@pytest.mark.parametrize("kind", KINDS_OF_CRITERIA)
def test_pairs_of_equal_completions_teach_nothing(kind: str) -> None:
    space = PairSpace(np.ones((6, 2), np.float32), np.array([0, 3, 6]))
    criterion = criterion_of("a" if kind == "gap" else kind, space, 0)
    solution = solve(Problem(space, criterion, PairWeights(1.0), 2.0 * np.eye(2), 3))
    assert solution.value == pytest.approx(criterion.value(2.0 * np.eye(2)))
    assert solution.bound == pytest.approx(solution.value, abs=1e-9)
    assert solution.pairs.tolist() == [[0, 1], [0, 2], [1, 2]]


TWO = [
    ("per_prompt", "row_costs"),
    ("per_completion", "groups"),
    ("groups", "row_costs"),
    ("must", "per_completion"),
    ("repeats", "per_completion"),
    ("groups", "per_prompt"),
]


@pytest.mark.parametrize("kinds", [(kind,) for kind in KINDS] + TWO, ids="+".join)
@pytest.mark.parametrize("d_optimal", [False, True])
def test_relaxed_design_and_bound_agree_with_cvxpy(kinds, d_optimal, monkeypatch) -> None:
    """To 10⁻⁵; where passes keep few pairs the bound, which then rests on prices, stays below."""
    monkeypatch.setattr(solver._Solve, "_done", lambda self: False)
    for seed in range(2):
        rng = np.random.default_rng(seed)
        space = ragged_space([4, 5, 3, 4, 2, 5], 1 + seed % 3, seed)
        criterion = DOptimal() if d_optimal else gap_criterion(policy_information(space))
        limits = limited(kinds, space, rng)
        problem = Problem(space, criterion, PairWeights(1.0), 0.05 * np.eye(space.dim), 9, limits)
        method = FrankWolfe(passes=6, tolerance=1e-7, inner=200, swaps=0)
        solution, optimum = solve(problem, method), relaxed_optimum(problem)
        assert solution.relaxed == pytest.approx(optimum, rel=1e-5)
        assert solution.bound == pytest.approx(optimum, rel=1e-5)
        with monkeypatch.context() as few:
            few.setattr(solver._Solve, "_keep_at_most", lambda self: np.full(self.heaps, 12))
            assert solve(problem, method).bound <= optimum + 1e-6 * abs(optimum)


@pytest.mark.parametrize("kinds", [(kind,) for kind in KINDS] + TWO, ids="+".join)
def test_rounding_exchange_and_kicks_stay_within_the_limits(kinds) -> None:
    """… and exchange never ends worse than it began."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        space = ragged_space([4, 5, 3, 4, 2, 5], 3, seed)
        limits, budget = limited(kinds, space, rng), 9
        base, criterion = 0.05 * np.eye(3), [a_optimal(3), DOptimal()][seed % 2]
        c = Candidates.of(space, PairWeights(1.0), limits, space.keys(all_pairs(space)))
        likings = rng.uniform(0, 1, (2, len(c)))

        def value(counts: np.ndarray, c=c, base=base, criterion=criterion) -> float:
            return criterion.value(base + c.information(counts.astype(float)))

        for counts in roundings(c, likings[0] * 2, likings[1], budget, limits):
            if Ledger.of(c, counts, budget, limits).missing() is not None:
                continue
            assert feasible(space, limits, budget, counts)
            better = exchange(c, counts, base, criterion, budget, limits, swaps=50, goal=-np.inf)
            assert feasible(space, limits, budget, better)
            assert better.sum() == 9 or not limits.unit_costs
            assert value(better) <= value(counts)
            moved = kicked(c, better, budget, limits, rng)
            if moved is not None:
                assert feasible(space, limits, budget, moved)
                assert moved.sum() == 9 or not limits.unit_costs
                assert Ledger.of(c, moved, budget, limits).missing() is None
