"""Every criterion against plain inverses, finite differences and its own values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pools import make_space
from whichpairs.design import (
    Criterion,
    DOptimal,
    FrankWolfe,
    Linear,
    PairWeights,
    Problem,
    Sum,
    a_optimal,
    c_optimal,
    check_dim,
    gap_criterion,
    i_optimal,
    policy_information,
    prior,
    solve,
)
from whichpairs.errors import UserError


def spd(d: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((2 * d, d))
    return x.T @ x


MIXED = Sum(((0.5, gap_criterion(spd(4, 9))), (2.0, DOptimal()), (0.1, a_optimal(4))))
CRITERIA = [
    gap_criterion(spd(4, 9)),
    Linear(np.outer(np.arange(4.0), np.arange(4.0))),
    a_optimal(4),
    c_optimal(np.array([1.0, -2.0, 0.0, 0.5])),
    i_optimal(spd(4, 7)),
    DOptimal(),
    MIXED,
    Sum(((3.0, MIXED), (1.0, c_optimal(np.ones(4))))),
]
every_criterion = pytest.mark.parametrize("criterion", CRITERIA, ids=lambda c: c.name)


def test_values_against_plain_inverses() -> None:
    m, c = spd(4, 1), np.array([1.0, -2.0, 0.0, 0.5])
    inverse = np.linalg.inv(m)
    assert gap_criterion(spd(4, 9)).value(m) == pytest.approx(np.trace(spd(4, 9) @ inverse))
    assert a_optimal(4).value(m) == pytest.approx(np.trace(inverse))
    assert c_optimal(c).value(m) == pytest.approx(c @ inverse @ c)
    x = np.random.default_rng(2).standard_normal((9, 4))
    mean_variance = np.mean([row @ inverse @ row for row in x])
    assert i_optimal(x.T @ x / 9).value(m) == pytest.approx(mean_variance)
    assert DOptimal().value(m) == pytest.approx(-np.log(np.linalg.det(m)))


@every_criterion
def test_score_factor_is_minus_the_gradient(criterion: Criterion) -> None:
    m, step = spd(4, 1), 1e-5
    factor = criterion.score_factor(m)
    numeric = np.zeros((4, 4))
    for i in range(4):
        for j in range(4):
            e = np.zeros((4, 4))
            e[i, j] += 0.5
            e[j, i] += 0.5
            up, down = criterion.value(m + step * e), criterion.value(m - step * e)
            numeric[i, j] = -(up - down) / (2 * step)
    assert np.allclose(factor @ factor.T, numeric, rtol=1e-5, atol=1e-7)


def changes(criterion: Criterion, m: np.ndarray, out: np.ndarray, into: np.ndarray) -> np.ndarray:
    """Of every swap of a row of `out` for one of `into`."""
    table = criterion.swaps(m, np.concatenate([out, into]))
    return table.changes(np.arange(len(out)), len(out) + np.arange(len(into)))


@every_criterion
@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 3))
def test_swap_changes_are_differences_of_values(
    criterion: Criterion, seed: int, outs: int, ins: int
) -> None:
    rng = np.random.default_rng(seed)
    out, into = rng.standard_normal((outs, 4)), rng.standard_normal((ins, 4))
    m = spd(4, seed) + out.T @ out
    before = criterion.value(m)
    plain = [
        [criterion.value(m - np.outer(p, p) + np.outer(q, q)) - before for q in into] for p in out
    ]
    got = changes(criterion, m, out, into)
    assert got.shape == (outs, ins)
    np.testing.assert_allclose(got, plain, rtol=1e-6, atol=1e-9 * abs(before))


@every_criterion
@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_changes_after_swaps_are_those_at_the_new_matrix(criterion: Criterion, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((8, 4))
    m = spd(4, seed) + rows.T @ rows
    table, places = criterion.swaps(m, rows), np.arange(8)
    for p, q in ((0, 5), (1, 6), (5, 0), (2, 7)):
        table = table.made(p, q)
        m = m - np.outer(rows[p], rows[p]) + np.outer(rows[q], rows[q])
        fresh = criterion.swaps(m, rows).changes(places, places)
        atol = 1e-8 * abs(criterion.value(m))
        np.testing.assert_allclose(table.changes(places, places), fresh, rtol=1e-6, atol=atol)


@every_criterion
def test_a_swap_that_leaves_a_direction_unknown_costs_infinity(criterion: Criterion) -> None:
    p = np.array([0.0, 0.0, 0.0, 2.0])
    m = np.diag([1.0, 2.0, 3.0, 0.0]) + np.outer(p, p)
    kept = np.array([0.5, 0.0, 0.0, 0.0])
    into = np.array([[1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    found = changes(criterion, m, np.array([p, kept]), into)
    assert np.array_equal(np.isinf(found), [[True, False], [False, False]])
    assert found[0, 0] > 0


def test_a_sum_adds_its_parts() -> None:
    m = spd(4, 1)
    rows = np.random.default_rng(4).standard_normal((3, 4)) / 10
    one, two = gap_criterion(spd(4, 9)), DOptimal()
    both = Sum(((0.5, one), (2.0, two)))
    assert both.name == "0.5 gap + 2 d-optimal"
    assert both.value(m) == pytest.approx(0.5 * one.value(m) + 2.0 * two.value(m))
    parts = [0.5 * changes(one, m, rows, rows), 2.0 * changes(two, m, rows, rows)]
    assert np.allclose(changes(both, m, rows, rows), parts[0] + parts[1])


def test_certificates_by_hand() -> None:
    linear, volume = a_optimal(4), DOptimal()
    assert linear.certificate(6.0, 5.0, 4) == pytest.approx(0.2)
    for nothing in (0.0, -1.0, -np.inf, np.inf, np.nan):
        assert linear.certificate(6.0, nothing, 4) is None
    # Twice the determinant in four dimensions: an efficiency of 2^(1/4).
    assert volume.certificate(np.log(2.0), 0.0, 4) == pytest.approx(2**0.25 - 1)
    assert volume.certificate(-3.0, -3.0, 4) == 0.0
    assert volume.certificate(1.0, -np.inf, 4) is None
    nested = Sum(((1.0, Sum(((2.0, linear),))), (0.5, c_optimal(np.ones(4)))))
    assert nested.certificate(6.0, 5.0, 4) == pytest.approx(0.2)
    assert nested.certificate(6.0, -5.0, 4) is None
    assert MIXED.certificate(6.0, 5.0, 4) is None


@pytest.mark.parametrize("criterion", [MIXED, Sum(((2.0, a_optimal(4)),)), c_optimal(np.ones(4))])
def test_the_solver_takes_any_criterion(criterion: Criterion) -> None:
    space = make_space(30, 5, 4)
    problem = Problem(space, criterion, PairWeights(1.0), prior(space, 1.0), 25)
    found = solve(problem, FrankWolfe(passes=40, tolerance=1e-4, inner=300))
    assert found.bound <= found.relaxed <= found.value
    assert found.value - found.bound <= 0.01 * abs(found.bound)


def test_a_sum_of_one_part_is_that_part_to_the_solver() -> None:
    space = make_space(30, 5, 4)
    gap = gap_criterion(policy_information(space))
    one, two = (
        solve(Problem(space, criterion, PairWeights(1.0), prior(space, 1.0), 25))
        for criterion in (gap, Sum(((1.0, gap),)))
    )
    assert np.array_equal(one.pairs, two.pairs)


def test_directions_that_are_not_identified_are_named() -> None:
    with pytest.raises(UserError, match="1 of 3 directions are not identified"):
        a_optimal(3).value(np.diag([1.0, 2.0, 0.0]))


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones((2, 3)), r"moment must be square; got shape \(2, 3\)"),
        (np.ones(3), r"moment must be square; got shape \(3,\)"),
        (np.ones((0, 0)), r"square; got shape \(0, 0\)|other than 0"),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), "must be finite; got NaN or ∞"),
        (
            np.array([[1.0, 0.5], [0.25, 1.0]]),
            "symmetric; it differs from its transpose by .* 0.25",
        ),
        (np.diag([3.0, -0.5]), "semidefinite; its least eigenvalue is -0.5, its largest 3"),
        (np.zeros((2, 2)), "other than 0; got 0 everywhere"),
    ],
)
def test_matrices_that_weigh_nothing_are_refused(matrix: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("moment", "i-optimal matrix")) as raised:
        i_optimal(matrix)
    assert "\n" not in str(raised.value)


def test_rounding_is_no_mistake() -> None:
    x = np.random.default_rng(0).standard_normal((3, 6))
    assert i_optimal(x.T @ x).value(np.eye(6)) == pytest.approx(np.sum(x**2))  # rank 3 of 6
    assert gap_criterion(np.zeros((2, 2))).value(np.eye(2)) == 0.0


@pytest.mark.parametrize(
    ("direction", "message"),
    [
        (np.zeros(3), "other than 0; got 0 everywhere"),
        (np.array([1.0, np.inf]), "finite vector other than 0; got NaN or ∞"),
        (np.eye(2), r"vector other than 0; got shape \(2, 2\)"),
        (np.array([1e200, 1.0]), "must be finite"),
    ],
)
def test_directions_that_point_nowhere_are_refused(direction: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message), np.errstate(over="ignore"):
        c_optimal(direction)


@pytest.mark.parametrize("weight", [0.0, -1.0, np.inf, np.nan])
def test_sums_have_positive_weights(weight: float) -> None:
    with pytest.raises(UserError, match=f"above 0; got {weight} for d-optimal"):
        Sum(((1.0, a_optimal(2)), (weight, DOptimal())))


def test_sums_have_parts() -> None:
    with pytest.raises(UserError, match="at least one; got none"):
        Sum(())


def test_a_matrix_must_be_for_these_features() -> None:
    with pytest.raises(UserError, match=r"a-optimal matrix must be 3 × 3.*got 4 × 4"):
        check_dim(Sum(((1.0, DOptimal()), (1.0, Sum(((1.0, a_optimal(4)),))))), 3)
    for criterion in CRITERIA:
        check_dim(criterion, 4)
