"""The bound is true to the last digit, however badly conditioned M is: checked in rational numbers."""

from fractions import Fraction
from math import log

import numpy as np
import pytest

from whichpairs.design import (
    DOptimal,
    Linear,
    PairSpace,
    PairWeights,
    Problem,
    Sum,
    a_optimal,
    c_optimal,
    gap_criterion,
    i_optimal,
    solve,
)
from whichpairs.design.batches.candidates import Candidates
from whichpairs.design.solver.certificate import lower_bound, unit_of

DIM = 6


def some_matrix() -> np.ndarray:
    root = np.random.default_rng(3).standard_normal((DIM, DIM))
    return root @ root.T


CRITERIA = {
    "a": a_optimal(DIM),
    "c": c_optimal(np.arange(1.0, DIM + 1)),
    "d": DOptimal(),
    "gap": gap_criterion(some_matrix()),
    "i": i_optimal(np.diag(np.arange(1.0, DIM + 1))),
    "linear sum": Sum(((1.0, a_optimal(DIM)), (0.5, gap_criterion(some_matrix())))),
    "sum": Sum(((1e-9, a_optimal(DIM)), (2.0, DOptimal()))),
}


def whole_pool(criterion, seed: int, *, condition: float, ridge: float = 0.0) -> Problem:
    """All 60 pairs of a pool are to be labelled, so that its f is the optimum; M's eigenvectors lie
    anywhere and its eigenvalues fall to 1 ÷ `condition`."""
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.standard_normal((DIM, DIM)))
    fall = np.geomspace(1.0, condition**-0.5, DIM)
    space = PairSpace((rng.standard_normal((24, DIM)) * fall) @ turn, np.arange(0, 25, 6))
    return Problem(space, criterion, PairWeights(1.0), ridge * np.eye(DIM), space.candidates)


def candidates_of(problem: Problem) -> Candidates:
    space = problem.space
    keys = space.keys(space.unrank(np.arange(space.candidates)))
    return Candidates.of(space, problem.weights, problem.limits, keys)


def exact(problem: Problem) -> float:
    """f of all pairs, in rational numbers."""
    half = np.vectorize(Fraction, otypes=[object])
    z = half(candidates_of(problem).z)
    return exact_value(problem.criterion, half(problem.base) + z.T @ z)


def exact_value(criterion, m: np.ndarray) -> float:
    if isinstance(criterion, Sum):
        return sum(weight * exact_value(part, m) for weight, part in criterion.parts)
    weighs = criterion.matrix if isinstance(criterion, Linear) else np.eye(DIM)
    both = np.hstack([m, np.vectorize(Fraction, otypes=[object])(weighs)])
    volume = Fraction(1)
    for i in range(DIM):  # Gauss and Jordan: m becomes 1, and W becomes M⁻¹ W
        volume *= both[i, i]
        both[i] = both[i] / both[i, i]
        for j in range(DIM):
            if j != i:
                both[j] = both[j] - both[j, i] * both[i]
    if isinstance(criterion, Linear):
        return float(sum(both[i, DIM + i] for i in range(DIM)))
    return log(volume.denominator) - log(volume.numerator)


def bound_of(problem: Problem, m: np.ndarray | None = None) -> float:
    """The lower bound from the scores at M, of all pairs or another."""
    c = candidates_of(problem)
    m = problem.base + c.information(np.ones(len(c))) if m is None else m
    factor = problem.criterion.score_factor(m)
    return lower_bound(problem, m, factor, float(c.scores(factor).sum()))


@pytest.mark.parametrize("name", CRITERIA)
def test_no_bound_is_above_the_optimum_where_m_is_nearly_singular(name: str) -> None:
    """At a condition number of about 10¹⁰, and no further below than that makes of ε."""
    for seed in range(40):
        problem = whole_pool(CRITERIA[name], seed, condition=1e10)
        optimum, bound = exact(problem), bound_of(problem)
        unit = unit_of(problem.criterion, optimum, DIM)
        assert bound <= optimum, seed
        assert bound >= optimum - 1e-3 * unit, seed


@pytest.mark.slow
@pytest.mark.parametrize("name", CRITERIA)
def test_a_bound_at_another_matrix_and_with_a_prior_is_none_too_high(name: str) -> None:
    for seed in range(20):
        problem = whole_pool(CRITERIA[name], seed, condition=1e10, ridge=1e-9)
        c = candidates_of(problem)
        for times in (0.3, 1.0, 7.0):
            m = problem.base + times * c.information(np.ones(len(c)))
            assert bound_of(problem, m) <= exact(problem), (seed, times)


@pytest.mark.parametrize("name", CRITERIA)
def test_a_whole_solve_of_a_nearly_singular_pool_is_certified_truly(name: str) -> None:
    for seed in range(3):
        problem = whole_pool(CRITERIA[name], seed, condition=1e10)
        assert solve(problem).bound <= exact(problem)


@pytest.mark.parametrize("name", CRITERIA)
def test_where_m_is_well_conditioned_nothing_is_lost(name: str) -> None:
    problem = whole_pool(CRITERIA[name], 0, condition=4.0)
    optimum = exact(problem)
    unit = unit_of(problem.criterion, optimum, DIM)
    assert optimum - 1e-11 * unit <= bound_of(problem) <= optimum


@pytest.mark.parametrize("dim", [64, 512])
def test_a_well_conditioned_bound_of_many_features_is_no_looser(dim: int) -> None:
    """By less than 10⁻⁹: M is what 4 d random pairs teach."""
    rng = np.random.default_rng(dim)
    space = PairSpace(rng.standard_normal((8 * dim, dim)), np.arange(0, 8 * dim + 1, 2))
    problem = Problem(space, a_optimal(dim), PairWeights(1.0), np.zeros((dim, dim)), 4 * dim)
    c = candidates_of(problem)
    m = c.information(np.ones(len(c)))
    assert bound_of(problem, m) == pytest.approx(problem.criterion.value(m), rel=1e-9)


def test_badly_scaled_features_cost_nothing() -> None:
    """Rounding follows the scales of features, and so does what is taken off for it."""
    rng = np.random.default_rng(0)
    phi = rng.standard_normal((24, DIM)) * 10.0 ** -np.arange(DIM)
    space = PairSpace(phi, np.arange(0, 25, 6))
    problem = Problem(space, DOptimal(), PairWeights(1.0), np.zeros((DIM, DIM)), space.candidates)
    optimum = exact(problem)
    assert optimum - 1e-10 <= bound_of(problem) <= optimum


def test_the_unit_of_a_sum_with_a_logarithm_does_not_vanish_with_f() -> None:
    mixed = Sum(((1.0, a_optimal(3)), (0.1, DOptimal())))
    assert unit_of(mixed, 0.0, 3) == pytest.approx(0.3)
    assert unit_of(mixed, 5.0, 3) == 5.0
    assert unit_of(DOptimal(), 0.0, 3) == pytest.approx(3.0)
