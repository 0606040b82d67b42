import numpy as np
import pytest

from pools import all_pairs, make_space, ragged_space
from whichpairs.design import (
    Belief,
    PairSpace,
    PairWeights,
    gap_criterion,
    information,
    policy_information,
    prior,
)
from whichpairs.design.problem.information import random_second_moment


def test_information_is_the_plain_sum() -> None:
    space = ragged_space([3, 4], 3)
    pairs, theta = all_pairs(space), np.array([0.3, -1.0, 0.5])
    plain = np.zeros((3, 3))
    for i, j in pairs:
        z = space.features[i].astype(float) - space.features[j].astype(float)
        p = 1 / (1 + np.exp(-0.7 * z @ theta))
        plain += 0.7**2 * p * (1 - p) * np.outer(z, z)
    got = information(space, pairs, PairWeights(0.7, theta), chunk=4)
    assert np.allclose(got, plain, rtol=1e-12)


def test_plug_in_weights_are_those_at_theta_zero() -> None:
    space = ragged_space([4], 3)
    pairs = all_pairs(space)
    at_zero = PairWeights(0.3, np.zeros(3))(space.differences(pairs))
    assert np.allclose(at_zero, PairWeights(0.3)(space.differences(pairs)), rtol=1e-14)


@pytest.mark.parametrize("theta", [None, np.array([1.0, -2.0])])
def test_policy_information_is_the_mean_covariance(theta) -> None:
    eligible = np.array([True, True, False, True])
    space = ragged_space([3, 1, 4, 5], 2, eligible=eligible)
    weight = np.random.default_rng(1).uniform(0.5, 3, space.rows)
    covariances = []
    for p in (0, 3):
        rows = slice(space.starts[p], space.starts[p + 1])
        x = space.features[rows].astype(float)
        mass = weight[rows] * (1 if theta is None else np.exp(x @ theta))
        mass /= mass.sum()
        mean = mass @ x
        covariances.append(
            sum(m * np.outer(v - mean, v - mean) for m, v in zip(mass, x, strict=True))
        )
    thetas = None if theta is None else theta[None, :]
    assert np.allclose(policy_information(space, weight, thetas), np.mean(covariances, axis=0))


def test_policy_information_of_several_parameters_is_their_mean() -> None:
    space = ragged_space([3, 4, 5], 2)
    thetas = np.array([[1.0, -2.0], [0.5, 3.0]])
    one_by_one = [policy_information(space, None, theta[None, :]) for theta in thetas]
    assert np.allclose(policy_information(space, None, thetas), np.mean(one_by_one, axis=0))


@pytest.mark.parametrize("kind", ["same", "collinear", "one-hot"])
def test_dependent_features_in_half_precision_have_a_covariance(kind) -> None:
    rng = np.random.default_rng(2)
    features = {
        "same": np.tile(rng.standard_normal((5, 12)), (400, 1)),
        "collinear": np.outer(rng.standard_normal(2000), rng.standard_normal(12)),
        "one-hot": np.eye(8)[rng.integers(0, 8, 2000)],
    }[kind].astype(np.float16)
    space = PairSpace(features, np.arange(0, 2001, 5))
    found = policy_information(space)
    gap_criterion(found)  # one of negative eigenvalues is refused
    wide = policy_information(PairSpace(features.astype(np.float64), space.starts))
    np.testing.assert_allclose(found, wide, atol=1e-6 * np.trace(wide))


def test_random_second_moment_is_the_mean_over_pairs() -> None:
    space = ragged_space([3, 1, 5], 3)
    z = space.differences(all_pairs(space))
    assert np.allclose(random_second_moment(space), z.T @ z / len(z))


def test_prior_gives_a_random_pair_the_stated_margin_spread() -> None:
    space, beta, spread = make_space(40, 5, 4), 0.2, 1.5
    h0 = prior(space, beta, spread)
    z = space.differences(all_pairs(space))
    variances = beta**2 * np.einsum("ij,ij->i", z, np.linalg.solve(h0, z.T).T)
    assert variances.mean() == pytest.approx(spread**2)


@pytest.mark.parametrize(("m", "d", "beta", "n"), [(4, 3, 1.0, 100), (16, 8, 0.1, 700)])
def test_unit_anchor_of_random_pairs(m: int, d: int, beta: float, n: int) -> None:
    """θ = 0, H₀ → 0, random pairs: predicted gap d (m − 1) / (m β n), whatever the features."""
    space = make_space(50, m, d, steep=True)
    m_random = n * beta**2 / 4 * random_second_moment(space)
    predicted = beta / 2 * gap_criterion(policy_information(space)).value(m_random)
    assert predicted == pytest.approx(d * (m - 1) / (m * beta * n), rel=1e-9)


def test_of_policies_that_are_sure_it_is_semidefinite_too() -> None:
    """At β = 10⁻⁴ a margin of 1.5 logits is 15 000 in log π: each policy is a point, up to rounding."""
    rng = np.random.default_rng(0)
    for beta in (1e-2, 1e-4, 1e-6):
        for _ in range(20):
            space = PairSpace(rng.standard_normal((40, 4)), np.arange(0, 41, 4))
            belief = Belief(np.zeros(4), prior(space, beta))
            gap_criterion(belief.policy_information(space)).value(np.eye(4))
