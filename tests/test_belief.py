"""A belief over θ: expectations against quadrature and sampling, and what designs make of it."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from pools import all_pairs, make_space, ragged_space
from whichpairs.design import (
    Belief,
    FrankWolfe,
    Limits,
    PairWeights,
    Problem,
    gap_criterion,
    information,
    policy_information,
    prior,
    solve,
)
from whichpairs.design.batches.random import random_pairs
from whichpairs.design.problem.belief import expected_slope, in_range
from whichpairs.design.solver.frank_wolfe import solve_among
from whichpairs.design.strategies import bounded
from whichpairs.design.strategies.bounded import (
    LEVERAGE,
    Leverage,
    bounded_batch,
    bounded_within,
    random_share,
)
from whichpairs.design.sweep.sweep import best_pairs


def spd(d: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((3 * d, d))
    return x.T @ x


def slope_by_quadrature(mean: float, spread: float) -> float:
    nodes = np.linspace(-10, 10, 20_001)
    p = expit(mean + spread * nodes)
    return float(np.trapezoid(p * (1 - p) * norm.pdf(nodes), nodes))


@pytest.mark.parametrize("spread", [0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 40.0])
def test_expected_slope_is_close_to_the_integral_in_its_range(spread: float) -> None:
    for mean in np.array([0.0, 0.2, -0.5, 0.7, -0.9, 1.0]) * max(4.0, 1.5 * spread):
        assert in_range(np.array(mean), spread**2)
        found = expected_slope(np.array(mean), spread**2)
        assert found == pytest.approx(slope_by_quadrature(mean, spread), rel=0.09)


def test_pairs_whose_expected_slope_is_not_close_are_told_apart() -> None:
    """A margin of 10 ± 2 logits: the approximation is 3.7 times too large."""
    assert expected_slope(np.array(10.0), 4.0) > 3 * slope_by_quadrature(10.0, 2.0)
    z = np.array([[10.0, 2.0], [3.9, 2.0], [10.0, 7.0], [-10.0, 2.0], [10.0, 0.0]])
    weights = PairWeights(1.0, np.array([1.0, 0.0]), np.array([[0.0], [1.0]]))
    assert weights.beyond(z).tolist() == [True, False, False, True, False]
    assert not PairWeights(1.0, np.array([1.0, 0.0])).beyond(z).any()
    assert not PairWeights(1.0).beyond(z).any()


def test_expected_slope_is_exact_at_a_point_and_never_above_a_quarter() -> None:
    rng = np.random.default_rng(0)
    mean, variance = 4 * rng.standard_normal(1000), 9 * rng.random(1000)
    p = expit(mean)
    assert np.allclose(expected_slope(mean, 0.0), p * (1 - p), rtol=1e-14)
    assert expected_slope(mean, variance).max() <= 0.25


def test_weights_of_a_belief_against_their_plain_formula() -> None:
    beta, theta, precision = 0.7, np.array([1.0, -2.0, 0.5]), spd(3, 0)
    z = np.random.default_rng(1).standard_normal((20, 3))
    got = Belief(theta, precision).weights(beta)(z)
    covariance = np.linalg.inv(precision)
    for row, value in zip(z, got, strict=True):
        margin, variance = beta * row @ theta, beta**2 * row @ covariance @ row
        kappa = 1 / np.sqrt(1 + np.pi * variance / 8)
        p = expit(kappa * margin)
        assert value == pytest.approx(beta**2 * kappa * p * (1 - p), rel=1e-12)


def test_samples_have_the_belief_s_mean_and_covariance() -> None:
    belief = Belief(np.array([1.0, -1.0]), spd(2, 3))
    draws = belief.samples(40_000, seed=0)
    assert np.allclose(draws.mean(axis=0), belief.theta)  # exact: every draw has its mirror image
    assert np.allclose(np.cov(draws.T), np.linalg.inv(belief.precision), atol=0.005)
    assert Belief(belief.theta).samples(16, 0).tolist() == [belief.theta.tolist()]


def test_expected_policy_information_is_the_mean_over_draws() -> None:
    space, belief = ragged_space([3, 4, 2], 2), Belief(np.array([0.5, 1.0]), spd(2, 1))
    one_by_one = [policy_information(space, None, t[None]) for t in belief.samples(6, 9)]
    got = belief.policy_information(space, samples=6, seed=9)
    assert np.allclose(got, np.mean(one_by_one, axis=0))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_pass_by_a_belief_finds_the_best_pairs(threads: int) -> None:
    space = make_space(300, 6, 5, seed=2)
    weights = Belief(np.random.default_rng(0).standard_normal(5), spd(5, 4)).weights(1.3)
    factor = np.random.default_rng(1).standard_normal((5, 5))
    pairs = all_pairs(space)
    z = space.differences(pairs)
    scores = np.sum((z @ factor) ** 2, axis=1) * weights(z)
    best = best_pairs(space, factor, weights, 40, threads)
    order = np.argsort(-scores)[:40]
    assert best.pairs.tolist() == pairs[order].tolist()
    assert np.allclose(best.scores, scores[order])
    assert best.ceiling >= np.sort(scores)[-41]


def test_a_design_by_a_belief_is_certified() -> None:
    space = make_space(60, 5, 3, seed=5)
    belief = Belief(np.array([2.0, -1.0, 0.5]), spd(3, 2))
    gap = gap_criterion(belief.policy_information(space))
    weights = belief.weights(1.0)
    problem = Problem(space, gap, weights, 1e-3 * np.eye(3), 30)
    found = solve(problem, FrankWolfe(passes=30, tolerance=1e-4))
    rng = np.random.default_rng(0)
    pairs = all_pairs(space)
    for _ in range(200):
        some = pairs[rng.choice(len(pairs), 30, replace=False)]
        assert gap.value(problem.base + information(space, some, weights)) >= found.bound
    assert found.value <= 1.02 * found.bound


def heavy_space(seed: int = 0):
    space = make_space(300, 6, 3, seed=seed)
    radius = np.random.default_rng(seed).standard_t(2, size=(space.rows, 1)).astype(np.float32)
    space.features[:] *= radius
    return space


def test_leverage_is_one_on_average_and_does_not_depend_on_the_coordinates() -> None:
    space = heavy_space()
    z = space.differences(all_pairs(space))
    leverage = Leverage.of(space)(z)
    assert leverage.mean() == pytest.approx(1.0, rel=1e-4)
    inverse = np.linalg.inv(z.T @ z / len(z))
    assert np.allclose(leverage, np.einsum("ij,jk,ik->i", z, inverse, z) / 3, rtol=1e-4)
    turned = make_space(300, 6, 3)
    turned.features[:] = space.features @ np.array(
        [[1, 0.5, 0], [0, 1, 0.3], [0, 0, 0.7]], np.float32
    )
    again = Leverage.of(turned)(turned.differences(all_pairs(turned)))
    assert np.allclose(again, leverage, rtol=1e-2)


def test_a_bounded_batch_keeps_its_bounds_and_its_random_part() -> None:
    space = heavy_space(1)
    gap = gap_criterion(policy_information(space))
    problem = Problem(space, gap, PairWeights(1.0), prior(space, 1.0), 80)
    leverage = Leverage.of(space)
    found = bounded_batch(problem, leverage, np.random.default_rng(7), share=1 / 32)
    assert len(np.unique(space.keys(found.pairs))) == 80
    assert found.random == round(random_share(1 / 32) * 80) == 34
    drawn = random_pairs(space, found.random, np.random.default_rng(7))
    assert np.array_equal(found.pairs[: found.random], drawn)
    designed = found.pairs[found.random :]
    assert leverage(space.differences(designed)).max() <= LEVERAGE
    assert found.looked_at == 46 * 32
    assert 0 < found.too_far < found.looked_at

    def value(pairs: np.ndarray) -> float:
        return gap.value(problem.base + information(space, pairs, problem.weights))

    assert value(found.pairs) < value(random_pairs(space, 80, np.random.default_rng(0)))
    assert solve(problem).value < value(found.pairs)


def test_a_bounded_batch_of_a_tiny_pool_takes_the_nearest_where_few_are_near() -> None:
    space = heavy_space(2)
    tiny = space.some_prompts(2, seed=0)
    gap = gap_criterion(policy_information(tiny))
    problem = Problem(tiny, gap, PairWeights(1.0), prior(tiny, 1.0), tiny.candidates)
    found = bounded_batch(problem, Leverage.of(space), np.random.default_rng(0), share=0.1)
    assert len(np.unique(tiny.keys(found.pairs))) == tiny.candidates


def test_solve_among_everything_is_nearly_the_solver_s_batch() -> None:
    space = make_space(50, 5, 3, seed=3)
    gap = gap_criterion(policy_information(space))
    problem = Problem(space, gap, PairWeights(1.0), prior(space, 1.0), 60)
    among = solve_among(problem, all_pairs(space))
    value = gap.value(problem.base + information(space, among, problem.weights))
    assert value == pytest.approx(solve(problem).value, rel=0.01)


def test_prompt_means_and_sampled_prompts() -> None:
    space = ragged_space([3, 1, 4, 2], 2)
    rows = np.array([9, 0, 5, 3])
    plain = [
        space.features[a:b].astype(float).mean(axis=0) for a, b in ((8, 10), (0, 3), (4, 8), (3, 4))
    ]
    assert np.allclose(space.prompt_means(rows), plain)
    some = space.some_prompts(2, seed=1)
    assert np.count_nonzero(some.sizes) == 2
    assert set(np.flatnonzero(some.sizes)) <= {0, 2, 3}
    assert space.some_prompts(3, seed=1) is space


def test_what_is_drawn_at_random_counts_where_the_rest_is_designed(monkeypatch) -> None:
    space = heavy_space(1)
    gap = gap_criterion(policy_information(space))
    problem = Problem(space, gap, PairWeights(1.0), prior(space, 1.0), 80)
    left: list[Problem] = []

    def among(problem: Problem, pairs: np.ndarray) -> np.ndarray:
        left.append(problem)
        return solve_among(problem, pairs)

    monkeypatch.setattr(bounded, "solve_among", among)
    found = bounded_batch(problem, Leverage.of(space), np.random.default_rng(7), share=1 / 32)
    drawn = found.pairs[: found.random]
    assert np.allclose(left[0].base, problem.base + information(space, drawn, problem.weights))
    assert left[0].budget == 80 - found.random
    assert not left[0].space.not_excluded(drawn).any()


def test_designed_pairs_of_a_limited_batch_are_of_bounded_leverage_too() -> None:
    space = heavy_space(1)
    gap = gap_criterion(policy_information(space))
    limits = Limits(per_prompt=2)
    problem = Problem(space, gap, PairWeights(1.0), prior(space, 1.0), 80, limits)
    leverage = Leverage.of(space)
    found = bounded_within(problem, leverage, np.random.default_rng(7), share=1 / 8)
    assert leverage(space.differences(found.pairs[found.random :])).max() <= LEVERAGE
    assert leverage(space.differences(found.pairs[: found.random])).max() > LEVERAGE
    assert found.too_far > 0


def test_weights_are_even_to_the_bit_and_keep_their_digits_far_out() -> None:
    """z and −z are one pair: kinds (`design.problem.kinds`) were two for a last bit, and 0 beyond +37 logits."""
    z = np.random.default_rng(0).standard_normal((500, 4))
    for precision in (None, np.eye(4)):
        weights = Belief(np.array([2.0, -1.0, 0.5, 3.0]), precision).weights(0.7)
        assert np.array_equal(weights(z), weights(-z))
    far = np.array([-40.0, 40.0])
    np.testing.assert_allclose(expected_slope(far, 0.0), np.exp(-40.0), rtol=1e-12)
