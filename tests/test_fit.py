"""The fit, the policy on a pool, the baselines and random's outlook, each beside a plain twin."""

from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import minimize

from pools import all_pairs, make_space, ragged_space
from whichpairs.design import (
    PairWeights,
    gap_criterion,
    information,
    policy_information,
    prior,
    random_outlook,
)
from whichpairs.design.batches.random import (
    best_versus_worst,
    random_pairs,
    reference_pairs,
    uniform_prompts,
)
from whichpairs.design.estimate.bradley_terry import (
    STRENGTHS,
    fit,
    fit_theta,
    folds,
    log_loss,
    quality,
)
from whichpairs.design.estimate.policy import policy_values
from whichpairs.label.simulate import simulate
from whichpairs.streams import Stream, stream


def data(n: int = 80, d: int = 3, seed: int = 0):
    rng = np.random.default_rng(seed)
    z, theta = rng.standard_normal((n, d)), np.array([1.0, -2.0, 0.5])
    wins = (rng.random(n) < 1 / (1 + np.exp(-0.7 * z @ theta))).astype(float)
    wins[::9] = 0.5
    return z, wins, theta


def test_fit_minimises_the_plain_loss() -> None:
    z, wins, _ = data()
    h0, beta = np.diag([0.3, 0.1, 2.0]), 0.7

    def loss(theta: np.ndarray) -> float:
        total = 0.5 * theta @ h0 @ theta
        for row, y in zip(z, wins, strict=True):
            p = 1 / (1 + np.exp(-beta * row @ theta))
            total -= y * np.log(p) + (1 - y) * np.log(1 - p)
        return total

    plain = minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-8}).x
    assert np.allclose(fit_theta(z, wins, beta, h0), plain, atol=1e-5)


def test_fit_survives_separable_labels() -> None:
    z = np.array([[1.0], [2.0], [3.0]])
    theta = fit_theta(z, np.ones(3), 1.0, np.array([[1e-6]]))
    assert np.isfinite(theta).all()
    assert theta[0] > 5


def test_swapping_a_and_b_mirrors_nothing_but_the_rows() -> None:
    z, wins, _ = data()
    h0 = np.eye(3)
    assert np.allclose(fit_theta(z, wins, 1.0, h0), fit_theta(-z, 1 - wins, 1.0, h0), atol=1e-9)


def test_cross_validation_shrinks_noise_and_spares_signal() -> None:
    z, wins, _ = data(800)
    prompts = np.arange(800) // 4
    signal = fit(z, wins, 0.7, np.eye(3), prompts)
    noise = fit(z, (np.random.default_rng(1).random(800) < 0.5) * 1.0, 0.7, np.eye(3), prompts)
    assert noise.strength > 4 * signal.strength
    assert set(signal.cv_log_loss) == set(STRENGTHS)
    assert signal.cv_log_loss[signal.strength] == min(signal.cv_log_loss.values())


def test_quality_by_hand() -> None:
    margins, wins = np.log([3.0, 1 / 3, 3.0, 1.0]), np.array([1.0, 0.0, 0.0, 0.5])
    found = quality(margins, wins)
    assert found.accuracy == pytest.approx(2 / 3)
    losses = [-np.log(0.75), -np.log(0.75), -np.log(0.25), -np.log(0.5)]
    assert found.log_loss == pytest.approx(np.mean(losses))
    # p = ¾ twice (one win), ¼ once (none), ½ once (½ observed)
    assert found.calibration_error == pytest.approx((2 * 0.25 + 0.25 + 0) / 4)
    assert sum(n for _, _, n in found.calibration) == 4


def test_policy_values_against_a_loop_and_the_gibbs_identity() -> None:
    rng, starts, beta = np.random.default_rng(0), np.array([0, 3, 4, 8]), 0.4
    phi, theta = rng.standard_normal((8, 2)), np.array([0.7, -1.1])
    reward, weight = rng.standard_normal(8), rng.uniform(0.5, 2, 8)
    got_r, got_kl = policy_values(phi, starts, theta, reward, weight)
    for p in range(3):
        rows = range(starts[p], starts[p + 1])
        ref = np.array([weight[k] for k in rows]) / sum(weight[k] for k in rows)
        pi = ref * np.exp([phi[k] @ theta for k in rows])
        pi /= pi.sum()
        assert got_r[p] == pytest.approx(sum(a * reward[k] for a, k in zip(pi, rows, strict=True)))
        assert got_kl[p] == pytest.approx(np.sum(pi * np.log(pi / ref)), abs=1e-12)
        gibbs = ref * np.exp(reward[list(rows)] / beta)
        best = beta * np.log(gibbs.sum())
        gibbs /= gibbs.sum()
        gap = best - (got_r[p] - beta * got_kl[p])
        assert gap == pytest.approx(beta * np.sum(pi * np.log(pi / gibbs)), abs=1e-12)


def test_random_pairs_are_uniform_over_candidates() -> None:
    space = ragged_space([4, 1, 3, 5], 1, excluded=np.array([1]))
    pairs = all_pairs(space)
    rng, counts = np.random.default_rng(0), dict.fromkeys(map(tuple, pairs.tolist()), 0)
    for _ in range(3000):
        for pair in random_pairs(space, 4, rng).tolist():
            counts[tuple(pair)] += 1
    expected = 3000 * 4 / len(pairs)
    chi2 = sum((c - expected) ** 2 / expected for c in counts.values())
    assert chi2 < 45  # 18 pairs: 99.99 % of a χ² of 17 is below 45


def test_uniform_prompts_and_reference_go_by_prompts_and_weights() -> None:
    """Prompts of 2 and of 6 completions, so many that hardly any pair is proposed twice."""
    space = ragged_space([2, 6] * 5000, 1)
    weight = np.tile([1.0, 1, 4, 1, 1, 1, 1, 1], 5000)
    rng = np.random.default_rng(0)
    drawn = np.concatenate([uniform_prompts(space, 200, rng) for _ in range(20)]) % 8
    assert np.mean(drawn[:, 0] < 2) == pytest.approx(0.5, abs=0.03)
    six = drawn[drawn[:, 0] >= 2]
    assert np.bincount(six.ravel())[2:] == pytest.approx(len(six) / 3, rel=0.2)
    drawn = np.concatenate([reference_pairs(space, 200, rng, weight) for _ in range(20)]) % 8
    # Prompts of 2 lose half their draws to i = j; those of 6 keep 1 − (16 + 5)/81.
    keep = np.array([0.5, 1 - 21 / 81])
    assert np.mean(drawn[:, 0] < 2) == pytest.approx(keep[0] / keep.sum(), abs=0.03)
    with_heavy = np.mean((drawn[drawn[:, 0] >= 2] == 2).any(axis=1))
    assert with_heavy == pytest.approx((2 * 4 * 5 / 81) / keep[1], abs=0.03)


@pytest.mark.parametrize("draw", [random_pairs, uniform_prompts, reference_pairs])
def test_baselines_can_spend_the_whole_pool(draw) -> None:
    space = ragged_space([3, 4, 2], 1, excluded=np.array([1]))
    pairs = draw(space, space.candidates, np.random.default_rng(0))
    assert sorted(map(tuple, pairs.tolist())) == sorted(map(tuple, all_pairs(space).tolist()))


def test_best_versus_worst_takes_every_prompts_widest_pair_first() -> None:
    space = ragged_space([3, 3], 1)
    score = np.array([0.0, 5.0, 1.0, 9.0, 2.0, 4.0])
    pairs = best_versus_worst(space, 3, np.random.default_rng(0), score)
    assert {tuple(p) for p in pairs[:2].tolist()} == {(0, 1), (3, 4)}
    assert tuple(pairs[2]) in {(1, 2), (3, 5)}


def test_random_outlook_is_the_plain_mean_and_finds_the_least_prefix() -> None:
    space = make_space(40, 6, 4)
    gap, weights, base = (
        gap_criterion(policy_information(space)),
        PairWeights(1.0),
        prior(space, 1.0),
    )

    def mean(n: int, most: int) -> float:
        values = []
        for draw in range(20):
            order = random_pairs(space, most, stream(3, Stream.RANDOM_BATCHES, draw))[:n]
            values.append(gap.value(base + information(space, order, weights)))
        return float(np.mean(values))

    most = min(space.candidates, 30 * 64)
    target = mean(57, most)
    found = random_outlook(space, gap, weights, base, 30, target, seed=3)
    assert found.value == pytest.approx(mean(30, most))
    assert found.labels_needed == 57
    assert mean(56, most) > target
    assert random_outlook(space, gap, weights, base, 30, 0.0, seed=3).labels_needed is None
    assert random_outlook(space, gap, weights, base, 30, 99.0, seed=3).labels_needed == 30


def test_an_answer_depends_on_seed_and_pair_not_on_the_order_shown() -> None:
    pairs = [(f"q{k}", f"c{k}a", f"c{k}b") for k in range(4000)]
    scores = np.tile([[1.0, 0.0]], (4000, 1))
    options = {"annotator": "x", "batch": "001", "seed": 1}
    shown = simulate(pairs, scores, 0.8, **options)
    mirrored = simulate([(q, b, a) for q, a, b in pairs], scores[:, ::-1], 0.8, **options)
    for one, two in combinations((shown, mirrored), 2):
        assert all((x.choice == "a") == (y.choice == "b") for x, y in zip(one, two, strict=True))
    p = 1 / (1 + np.exp(-1 / 0.8))
    assert np.mean([x.choice == "a" for x in shown]) == pytest.approx(p, abs=0.025)
    other = simulate(pairs, scores, 0.8, **{**options, "seed": 2})
    assert [x.choice for x in other] != [x.choice for x in shown]


def test_the_gradient_vanishes_at_the_fit() -> None:
    z, wins, _ = data()
    h0, beta = np.diag([0.3, 0.1, 2.0]), 0.7
    theta = fit_theta(z, wins, beta, h0)
    p = 1 / (1 + np.exp(-beta * z @ theta))
    assert np.abs(beta * z.T @ (p - wins) + h0 @ theta).max() < 1e-5
    assert np.abs(theta).max() > 0.1


def test_a_tie_is_half_a_win_of_each() -> None:
    z, wins, _ = data(30)
    wins[:12] = 0.5
    twice = np.concatenate([z, z])
    decided = np.concatenate([np.where(wins == 0.5, 1.0, wins), np.where(wins == 0.5, 0.0, wins)])
    whole = fit_theta(twice, decided, 0.7, 2.0 * np.eye(3))
    assert np.allclose(fit_theta(z, wins, 0.7, np.eye(3)), whole, atol=1e-7)


def test_labels_of_one_prompt_stay_in_one_fold() -> None:
    """Noise that is repeated within its prompt looks like signal to folds that cut prompts."""
    rng = np.random.default_rng(0)
    z = np.repeat(rng.standard_normal((40, 30)), 8, axis=0)
    wins = np.repeat((rng.random(40) < 0.5) * 1.0, 8)
    by_prompt = fit(z, wins, 1.0, np.eye(30), np.repeat(np.arange(40), 8))
    cut = fit(z, wins, 1.0, np.eye(30), np.arange(320))
    assert by_prompt.strength >= 64
    assert cut.strength <= 1
    given = fit(z, wins, 1.0, np.eye(30), np.arange(320), strength=7.0)
    assert (given.strength, given.cv_log_loss) == (7.0, {})
    assert np.allclose(given.theta, fit_theta(z, wins, 1.0, 7.0 * np.eye(30)))


def test_random_needs_more_labels_for_more() -> None:
    space = make_space(30, 5, 3)
    gap, weights, base = (
        gap_criterion(policy_information(space)),
        PairWeights(1.0),
        prior(space, 1.0),
    )
    values = [
        random_outlook(space, gap, weights, base, n, 0.0, seed=1).value for n in (20, 60, 140)
    ]
    assert values == sorted(values, reverse=True)
    targets = np.linspace(values[0], values[2], 6)
    needs = [
        random_outlook(space, gap, weights, base, 20, t, seed=1).labels_needed for t in targets
    ]
    assert needs[0] == 20
    assert None not in needs
    assert needs == sorted(needs)
    assert len(set(needs)) == 6
    # The same question, had 30 labels been picked: the answer does not hang on where it starts.
    again = random_outlook(space, gap, weights, base, 30, targets[3], seed=1, reach=15)
    assert again.searched == space.candidates == 300
    assert again.labels_needed == needs[3]
    short = random_outlook(space, gap, weights, base, 20, targets[5], seed=1, reach=2)
    assert short.labels_needed is None
    assert short.searched == 40


def test_the_policys_theta_is_the_ridge_fit_drawn_out() -> None:
    """By the geometric mean of two factors: of the left-out margins, and of the fitted ones."""
    rng, beta, h0 = np.random.default_rng(3), 0.4, np.diag([0.5, 1.0, 2.0, 4.0, 1.0, 1.0])
    z, star = rng.standard_normal((150, 6)), np.array([3.0, -6.0, 1.0, 2.0, 0.0, 4.0])
    wins = (rng.random(150) < 1 / (1 + np.exp(-beta * z @ star))).astype(float)
    prompts = np.arange(150) // 3
    found = fit(z, wins, beta, h0, prompts, seed=7)
    fold, left_out = folds(prompts, 7), np.zeros(150)
    for k in range(5):
        out = fold == k
        theta = fit_theta(z[~out], wins[~out], beta, found.strength * h0)
        left_out[out] = beta * z[out] @ theta
    ridge = fit_theta(z, wins, beta, found.strength * h0)

    def factor(margins: np.ndarray) -> float:
        tried = np.exp(np.linspace(-np.log(4), np.log(4), 4001))
        return float(tried[np.argmin([log_loss(c * margins, wins) for c in tried])])

    a, b = factor(left_out), factor(beta * z @ ridge)
    assert b > 1.05 > 0.95 * a  # so that each of the two is seen
    assert found.scale == pytest.approx(np.sqrt(a * b), rel=1e-3)
    assert np.allclose(found.theta, found.scale * ridge, rtol=1e-6)
    assert abs(found.scale - 1) > 0.03
