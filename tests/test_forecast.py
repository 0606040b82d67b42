"""The predicted gap: every part beside a slow twin, and one number wherever it is shown."""

import numpy as np
import pytest
from scipy.special import expit

from pools import make_space
from whichpairs.bench.pools.log_linear import log_linear
from whichpairs.design import PairSpace, prior
from whichpairs.design.batches.random import random_pairs
from whichpairs.design.estimate.bradley_terry import STRENGTHS, fit, fit_theta, folds
from whichpairs.design.estimate.policy import PoolObjective
from whichpairs.design.estimate.policy_gap import PolicyGaps
from whichpairs.design.estimate.refit import left_out_margins, refit
from whichpairs.design.forecast import predicted_gap as forecast_module
from whichpairs.design.forecast.predicted_gap import DRAWS, Forecast, Known

NONE = np.empty((0, 2), np.int64)


def nothing_known(dim: int) -> Known:
    return Known(NONE, np.empty(0), np.zeros(dim), NONE)


# --- the gap between two policies ----------------------------------------------------------------


def test_the_gap_is_what_j_loses() -> None:
    """β KL(π ‖ π*) = J(π*) − J(π) for the reward that π* is best for, at any distance."""
    space, beta, rng = make_space(12, 5, 4), 0.3, np.random.default_rng(0)
    reference = rng.uniform(0.5, 3.0, space.rows)
    thetas, star = 4.0 * rng.standard_normal((3, 4)), 4.0 * rng.standard_normal(4)
    phi = np.asarray(space.features, float)
    judge = PoolObjective(phi, space.starts, beta * (phi @ star), reference)
    gaps = PolicyGaps(space, reference, beta, seed=0)
    found = gaps.between(gaps.log_policies(thetas), gaps.log_policies(np.tile(star, (3, 1))))
    lost = [judge.objective(star, beta) - judge.objective(theta, beta) for theta in thetas]
    np.testing.assert_allclose(found, lost, rtol=1e-9)
    assert min(lost) > 0.0


def test_completions_of_no_weight_count_for_nothing() -> None:
    space = PairSpace(np.array([[0.0], [1.0], [9.0]]), np.array([0, 3]))
    reference = np.array([1.0, 1.0, 0.0])
    gaps = PolicyGaps(space, reference, 1.0, seed=0)
    found = gaps.between(gaps.log_policies(np.zeros((1, 1))), gaps.log_policies(np.ones((1, 1))))
    p = expit(1.0)
    assert found[0] == pytest.approx(0.5 * np.log(0.5 / (1 - p)) + 0.5 * np.log(0.5 / p))


# --- the quick refit -----------------------------------------------------------------------------


def labels(n: int, d: int, spread: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    wins = (rng.random(n) < expit(spread * x[:, 0])).astype(float)
    return x, wins


def test_left_out_margins_are_those_of_fits_without_the_label() -> None:
    x, wins = labels(60, 3, 1.5, 1)
    pilot = fit_theta(x, wins, 1.0, np.eye(3))
    found = left_out_margins(x, wins, pilot)
    for at, strength in enumerate(STRENGTHS):
        if not 0.25 <= strength <= 4.0:
            continue  # near the pilot's, where the quadratic model holds
        for k in range(0, 60, 7):
            kept = np.arange(60) != k
            theta = fit_theta(x[kept], wins[kept], 1.0, strength * np.eye(3))
            assert found[k, at] == pytest.approx(x[k] @ theta, abs=0.08)


@pytest.mark.parametrize("spread", [0.2, 2.0])
def test_a_refit_is_the_penalised_optimum_scaled(spread: float) -> None:
    x, wins = labels(200, 4, spread, 2)
    theta = refit(x, wins, np.zeros(4), choose=True)
    directions = [fit_theta(x, wins, 1.0, s * np.eye(4)) for s in STRENGTHS]
    cosines = [theta @ d / np.linalg.norm(theta) / np.linalg.norm(d) for d in directions]
    assert max(cosines) == pytest.approx(1.0, abs=1e-5)  # Newton ends at three digits
    one = refit(x, wins, np.zeros(4), choose=False)
    np.testing.assert_allclose(one, fit_theta(x, wins, 1.0, np.eye(4)), atol=1e-3)


def test_a_refit_is_about_the_default_fit() -> None:
    """Over draws, not in each: the two choose the ridge from different left-out labels."""
    quick, full = [], []
    for seed in range(12):
        x, wins = labels(120, 4, 1.0, seed)
        truth = np.array([1.0, 0.0, 0.0, 0.0])
        theta = fit(x, wins, 1.0, np.eye(4), np.arange(120)).theta
        quick.append(np.sum((refit(x, wins, truth, choose=True) - truth) ** 2))
        full.append(np.sum((theta - truth) ** 2))
    assert np.mean(quick) == pytest.approx(np.mean(full), rel=0.1)
    assert len(np.unique(folds(np.arange(120), 0))) == 5


# --- the belief ----------------------------------------------------------------------------------


def test_without_labels_the_belief_is_the_prior() -> None:
    space, beta = make_space(30, 6, 3), 0.2
    h0 = prior(space, beta, 0.7)
    forecast = Forecast(space, beta, None, h0, h0, nothing_known(3), seed=0)
    stars = forecast._stars
    assert stars.shape == (DRAWS, 3)
    np.testing.assert_allclose(stars[0::2] + stars[1::2], 0.0, atol=1e-9)  # mirror images
    [(weight, mean, root)] = forecast._belief()
    assert (weight, mean.tolist()) == (1.0, [0.0] * 3)
    np.testing.assert_allclose(root @ root.T @ h0, np.eye(3), atol=1e-9)
    z = space.differences(random_pairs(space, 300, np.random.default_rng(0)))
    spread = np.sqrt(np.mean([(beta * z @ root @ e) ** 2 for e in np.eye(3)]) * 3)
    assert spread == pytest.approx(0.7, rel=0.1)  # τ, on average over a pair and θ


def test_with_labels_it_is_a_mixture_over_the_scale() -> None:
    """In one dimension, by brute force over θ and the strength together."""
    space = PairSpace(np.linspace(-1, 1, 40)[:, None], np.arange(0, 41, 4))
    beta, h0 = 1.0, np.array([[0.8]])
    pairs = random_pairs(space, 12, np.random.default_rng(3))
    wins = (np.random.default_rng(4).random(12) < 0.7).astype(float)
    known = Known(pairs, wins, np.zeros(1), NONE)
    parts = Forecast(space, beta, None, h0, h0, known, seed=0)._belief()
    grid = np.linspace(-60, 60, 40_001)
    z = space.differences(pairs)[:, 0]
    likelihood = sum(y * np.log(expit(v * grid)) + (1 - y) * np.log(expit(-v * grid))
                     for v, y in zip(z, wins, strict=True))  # fmt: skip
    mass = {}
    for k in range(-5, 5):
        s = 4.0**k
        density = np.exp(likelihood - 0.5 * s * 0.8 * grid**2) * np.sqrt(s * 0.8)
        mass[s] = density.sum() * np.exp(-0.5 * (k / 2.0) ** 2)
    total = sum(mass.values())
    weights = {s: w for (w, _, _), s in zip(parts, reversed(STRENGTHS), strict=True)}
    for s, value in mass.items():
        assert weights[s] == pytest.approx(value / total, abs=0.03)
    assert sum(weights.values()) == pytest.approx(1.0)


def test_with_fewer_labels_than_features_it_is_the_posterior_under_the_prior() -> None:
    """The labels are there, so they are of θ* too: gaps grew with them once, by half and more."""
    d, beta = 12, 0.5
    space = make_space(30, 6, d)
    h0 = prior(space, beta)
    pairs = random_pairs(space, d - 1, np.random.default_rng(3))
    z = beta * space.differences(pairs)
    wins = np.tile([1.0, 0.0], d)[: d - 1]
    forecast = Forecast(space, beta, None, h0, h0, Known(pairs, wins, np.zeros(d), NONE), seed=0)
    [(weight, mean, root)] = forecast._belief()
    p = expit(z @ mean)
    assert weight == 1.0
    np.testing.assert_allclose(z.T @ (wins - p), h0 @ mean, atol=2e-3)
    hessian = z.T @ (z * (p * (1 - p))[:, None]) + h0
    np.testing.assert_allclose(root @ root.T @ hessian, np.eye(d), atol=2e-3)


def test_draws_lie_on_the_parts_in_proportion() -> None:
    space, beta = make_space(20, 5, 2), 1.0
    h0 = prior(space, beta)
    pairs = random_pairs(space, 30, np.random.default_rng(3))
    known = Known(pairs, np.tile([1.0, 0.0], 15), np.zeros(2), NONE)
    forecast = Forecast(space, beta, None, h0, h0, known, seed=0)
    parts = forecast._belief()
    mean = sum(weight * m for weight, m, _ in parts)
    np.testing.assert_allclose(
        forecast._stars.mean(axis=0), mean, atol=0.15 * np.abs(mean).max() + 0.02
    )


def test_labels_that_are_coins_do_not_predict_a_gap_of_nothing() -> None:
    """Cross-validation drives the ridge to its end, and θ to 0; the belief still knows what it ignores."""
    space, beta = make_space(30, 6, 4), 0.3
    h0 = prior(space, beta)
    pairs = random_pairs(space, 24, np.random.default_rng(1))
    wins = np.tile([1.0, 0.0], 12)
    found = []
    for known in (nothing_known(4), Known(pairs, wins, np.zeros(4), NONE)):
        found.append(Forecast(space, beta, None, h0, h0, known, seed=0).now().mean())
    assert found[1] > 0.05 * found[0]


# --- the gap of a batch --------------------------------------------------------------------------


def test_a_batch_is_valued_by_draws_of_truth_and_answers() -> None:
    """Draw by draw, by hand: the answers, the refit, and J lost."""
    space, beta, rng = make_space(16, 5, 3), 0.4, np.random.default_rng(5)
    h0 = prior(space, beta)
    order = random_pairs(space, 60, rng)
    old, pending, batch = order[:20], order[20:25], order[25:]
    wins = (rng.random(20) < 0.5).astype(float)
    known = Known(old, wins, np.zeros(3), pending)
    forecast = Forecast(space, beta, None, h0, h0, known, seed=9)
    found = forecast.after([batch])
    root = np.linalg.cholesky(np.linalg.inv(h0))  # H₀ is a multiple of 1
    phi = np.asarray(space.features, float)
    for draw in (0, 1, 7):
        star = forecast._stars[draw]
        new = np.concatenate([pending, batch])
        luck = np.random.default_rng([9, 33, draw]).random(len(new))
        z = beta * space.differences(new)
        x = np.concatenate([beta * space.differences(old), z]) @ root
        y = np.concatenate([wins, (luck < expit(z @ star)).astype(float)])
        hat = root @ refit(x, y, np.linalg.solve(root, star), choose=True)
        judge = PoolObjective(phi, space.starts, beta * (phi @ star), np.ones(space.rows))
        lost = judge.objective(star, beta) - judge.objective(hat, beta)
        assert found[draw] == pytest.approx(lost, rel=1e-6)


def test_before_any_label_the_policy_is_the_reference() -> None:
    space, beta = make_space(16, 5, 3), 0.4
    h0 = prior(space, beta)
    forecast = Forecast(space, beta, None, h0, h0, nothing_known(3), seed=0)
    phi = np.asarray(space.features, float)
    for draw in (0, 3):
        star = forecast._stars[draw]
        judge = PoolObjective(phi, space.starts, beta * (phi @ star), np.ones(space.rows))
        lost = judge.objective(star, beta) - judge.objective(np.zeros(3), beta)
        assert forecast.now()[draw] == pytest.approx(lost, rel=1e-9)


def test_what_random_needs_is_where_its_gap_is_the_batchs() -> None:
    world = log_linear(200, 6, 4, 0.8, beta=0.5, seed=1)
    space, h0 = world.space, prior(world.space, 0.5, 0.8)
    forecast = Forecast(space, 0.5, None, h0, h0, nothing_known(4), seed=2)
    far = space.differences(random_pairs(space, 3000, np.random.default_rng(0)))
    batch = random_pairs(space, 3000, np.random.default_rng(0))[np.argsort(-(far**2).sum(1))[:100]]
    reach = forecast.reach(batch, 100)
    assert reach.gap == pytest.approx(forecast.after([batch]).mean())
    assert reach.random == pytest.approx(forecast.random(100).mean())
    assert reach.gap < reach.random < reach.before
    assert reach.labels_needed is not None
    assert reach.labels_needed > 110
    assert forecast.random(reach.labels_needed).mean() == pytest.approx(reach.gap, rel=0.1)
    same = forecast.reach(None, 100)
    assert (same.gap, same.labels_needed, same.saving_error) == (same.random, 100, 0.0)
    assert forecast.reach(batch, 100, most=1).labels_needed is None


def test_random_needs_fewer_labels_than_a_batch_of_the_nearest_pairs() -> None:
    """It was told that random is as good, of whatever is worse than random."""
    world = log_linear(200, 6, 4, 0.8, beta=0.5, seed=1)
    space, h0 = world.space, prior(world.space, 0.5, 0.8)
    forecast = Forecast(space, 0.5, None, h0, h0, nothing_known(4), seed=2)
    drawn = random_pairs(space, 3000, np.random.default_rng(0))
    near = drawn[np.argsort((space.differences(drawn) ** 2).sum(1))[:200]]
    reach = forecast.reach(near, 200)
    assert reach.random < reach.gap < reach.before
    assert reach.labels_needed is not None
    assert 1 < reach.labels_needed < 150
    assert forecast.random(reach.labels_needed).mean() == pytest.approx(reach.gap, rel=0.15)
    assert forecast.reach(near, 200, search=False).labels_needed is None


@pytest.mark.parametrize(("times", "needed"), [(0.25, 400), (4.0, 25)])
def test_what_random_needs_is_found_on_the_draws_of_both(times, needed, monkeypatch) -> None:
    """Larger batches have fewer draws of θ*: their mean is of other truths, here of smaller gaps."""
    space = make_space(40, 8, 2)
    truths = np.concatenate([np.full(8, 1.0), np.full(56, 9.0)])

    def random(labels: int, draw: object = None) -> np.ndarray:
        return truths[: 64 if labels <= 100 else 8] / labels

    forecast = Forecast(space, 1.0, None, np.eye(2), np.eye(2), nothing_known(2), seed=2)
    monkeypatch.setattr(forecast, "random", random)
    monkeypatch.setattr(forecast, "after", lambda batches: times * truths / max(len(batches[0]), 1))
    reach = forecast.reach(random_pairs(space, 100, np.random.default_rng(0)), 100)
    assert reach.labels_needed == pytest.approx(needed, abs=1)


def test_few_prompts_leave_the_ridge_as_it_is() -> None:
    """As `fit` does: fewer prompts than folds choose nothing."""
    space, beta = make_space(3, 6, 2), 1.0
    h0 = prior(space, beta)
    forecast = Forecast(space, beta, None, h0, h0, nothing_known(2), seed=0)
    batch = random_pairs(space, 20, np.random.default_rng(0))
    root = np.linalg.cholesky(np.linalg.inv(h0))
    luck = np.random.default_rng([0, 33, 0]).random(20)
    y = (luck < expit(space.differences(batch) @ forecast._stars[0])).astype(float)
    expected = root @ fit_theta(space.differences(batch) @ root, y, 1.0, np.eye(2))
    np.testing.assert_allclose(forecast._hat(0, batch), expected, rtol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("beta", [1.0, 0.1])
def test_predicted_is_realised(beta: float) -> None:
    """A small cell of `make bench-forecast`, at β = 1 and at the tool's default."""
    predicted, realised = [], []
    for seed in range(16):
        world = log_linear(120, 5, 4, 0.5, beta=beta, seed=seed)
        h0 = prior(world.space, beta, 0.5)
        forecast = Forecast(world.space, beta, None, h0, prior(world.space, beta), nothing_known(4), seed=seed)  # fmt: skip
        predicted.append(forecast.random(64).mean())
        for again in range(2):
            pairs = random_pairs(world.space, 64, np.random.default_rng([seed, again]))
            z = world.space.differences(pairs)
            fitted = fit(z, world.answers(pairs, again), beta, world.prior, pairs[:, 0] // 5)
            assert world.begin is not None
            realised.append(world.objective(world.begin) - world.objective(fitted.theta))
    assert 0.75 < np.mean(predicted) / np.mean(realised) < 1.33


def test_a_batch_with_more_labels_than_random_can_fill_has_fewer_draws(monkeypatch) -> None:
    """Repeats within limits that random cannot fill: the two are compared on the draws of both."""
    space, beta = make_space(20, 5, 3), 0.5
    h0 = prior(space, beta)
    forecast = Forecast(space, beta, None, h0, h0, nothing_known(3), seed=0)
    monkeypatch.setattr(forecast_module, "WORK", 60 * forecast._refit_work(60))
    batch = np.repeat(random_pairs(space, 60, np.random.default_rng(0)), 2, axis=0)
    reach = forecast.reach(batch, 60, search=False)
    assert len(forecast.after([batch])) < len(forecast.random(60))
    assert np.isfinite(reach.saving_error)
