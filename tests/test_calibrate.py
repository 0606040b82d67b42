"""Calibrated probabilities: beside integrals done slowly, in simulation, and for labels of a coin."""

import json

import numpy as np
import pytest
from scipy.special import expit

from whichpairs.bench.calibration.page import write
from whichpairs.bench.calibration.run import cell, convincing, coverage, shares, slope
from whichpairs.design.estimate.bradley_terry import fit, folds, log_loss
from whichpairs.design.estimate.calibrate import (
    CALIBRATED_STRENGTHS,
    as_array,
    calibrate,
    calibrated_probability,
    from_array,
    left_out_log_loss,
)

BETA = 0.4


def labels(n: int, dim: int, spread: float, seed: int):
    """Gaussian differences of unit variance and answers of Bradley and Terry."""
    rng = np.random.default_rng([seed, n, dim])
    z, theta = rng.standard_normal((n, dim)), rng.standard_normal(dim)
    theta *= spread / np.linalg.norm(theta) / BETA
    p = expit(BETA * z @ theta)
    return z, p, (rng.random(n) < p).astype(float)


def slow(z, wins, h0: float, new: float, strengths) -> float:
    """P(first preferred) at z = `new` in one dimension, by sums over θ and over strengths."""
    theta = np.linspace(-60, 60, 60001)
    top, bottom = 0.0, 0.0
    for s in strengths:
        density = np.sqrt(s * h0) * np.exp(-0.5 * s * h0 * theta**2)
        for row, y in zip(z[:, 0], wins, strict=True):
            q = expit(BETA * row * theta)
            density = density * q**y * (1 - q) ** (1 - y)
        top, bottom = top + np.sum(density * expit(BETA * new * theta)), bottom + density.sum()
    return float(top / bottom)


@pytest.mark.parametrize("strength", [1.0, 16.0, None])
def test_it_is_the_expectation_over_the_posterior(strength: float | None) -> None:
    z, _, wins = labels(40, 1, 1.5, 1)
    wins[::7] = 0.5
    h0 = np.array([[0.1]])
    belief = calibrate(z, wins, BETA, h0, strength=strength)
    tried = CALIBRATED_STRENGTHS if strength is None else (strength,)
    for new in (0.5, -1.0, 3.0):
        want = slow(z, wins, 0.1, new, tried)
        got = calibrated_probability(belief, np.array([[new]]), BETA)[0]
        assert got == pytest.approx(want, abs=0.012)
    if strength is not None:
        assert belief.strength == pytest.approx(strength)


def test_its_spread_holds_what_the_strengths_differ_by() -> None:
    """The law of total variance over strengths, by their evidence as sums over θ."""
    z, wins, h0 = np.linspace(0.2, 2.0, 12)[:, None], np.ones(12), 0.1
    wins[[1, 4]] = 0.0
    theta = np.linspace(-400, 400, 400001)
    likelihood = np.prod(
        [expit(BETA * r * theta * (2 * y - 1)) for r, y in zip(z[:, 0], wins, strict=True)], 0
    )
    share, means, variances = [], [], []
    for s in CALIBRATED_STRENGTHS:
        prior = np.sqrt(s) * np.exp(-0.5 * s * h0 * theta**2)
        share.append(np.sum(likelihood * prior))
        one = calibrate(z, wins, BETA, np.array([[h0]]), strength=s)
        means.append(one.theta[0])
        variances.append(one.root[0, 0] ** 2)
    share = np.array(share) / np.sum(share)
    mean = share @ means
    apart = share @ (np.array(means) - mean) ** 2
    assert apart > 0.2 * (share @ variances)
    got = calibrate(z, wins, BETA, np.array([[h0]])).root[0, 0] ** 2
    assert got == pytest.approx(share @ variances + apart, rel=0.1)


def test_labels_of_the_other_completion_mirror_it() -> None:
    z, _, wins = labels(60, 4, 1.0, 2)
    h0, new = np.eye(4), np.random.default_rng(0).standard_normal((5, 4))
    one = calibrated_probability(calibrate(z, wins, BETA, h0), new, BETA)
    two = calibrated_probability(calibrate(z, 1 - wins, BETA, h0), new, BETA)
    assert np.allclose(one, 1 - two, atol=1e-6)
    belief = calibrate(z, wins, BETA, h0)
    again = from_array(as_array(belief))
    assert np.array_equal(again.logits(new, BETA), belief.logits(new, BETA))
    assert again.strength == belief.strength


def test_it_is_calibrated_where_the_policys_margins_are_too_sure() -> None:
    """d = 32, 200 labels, margins of 1.5 logits: 24 worlds, fresh pairs."""
    said, policy, truth = [], [], []
    for seed in range(24):
        z, p, wins = labels(1200, 32, 1.5, seed)
        h0 = np.eye(32) * BETA**2 * 32 / 1.5**2
        belief = calibrate(z[:200], wins[:200], BETA, h0)
        said.append(belief.logits(z[200:], BETA))
        theta = fit(z[:200], wins[:200], BETA, h0, np.arange(200), seed=seed).theta
        policy.append(BETA * z[200:] @ theta)
        truth.append(p[200:])
    p = np.concatenate(truth)
    assert slope(np.concatenate(said), p) == pytest.approx(1.0, abs=0.1)
    assert slope(np.concatenate(policy), p) < 0.8
    assert log_loss(np.concatenate(said), p) < log_loss(np.concatenate(policy), p)


def test_labels_of_a_coin_say_a_half() -> None:
    worst, mean = 0.0, []
    for seed in range(12):
        z, _, _ = labels(400, 16, 1.0, seed)
        wins = (np.random.default_rng(seed).random(200) < 0.5).astype(float)
        h0 = np.eye(16) * BETA**2 * 16 / 1.5**2
        p = calibrated_probability(calibrate(z[:200], wins, BETA, h0), z[200:], BETA)
        worst = max(worst, float(np.abs(p - 0.5).max()))
        mean.append(float(np.abs(p - 0.5).mean()))
    assert np.median(mean) < 0.03
    assert worst < 0.35


def test_the_left_out_loss_is_of_what_is_said() -> None:
    z, _, wins = labels(90, 5, 1.0, 3)
    h0, prompts = np.eye(5), np.arange(90) // 3
    fold, logits = folds(prompts, 4), np.zeros(90)
    for k in range(5):
        out = fold == k
        logits[out] = calibrate(z[~out], wins[~out], BETA, h0).logits(z[out], BETA)
    assert left_out_log_loss(z, wins, BETA, h0, prompts, seed=4) == log_loss(logits, wins)
    assert left_out_log_loss(z[:9], wins[:9], BETA, h0, prompts[:9]) is None


@pytest.mark.slow
def test_the_bench_measures_and_writes_its_page(tmp_path) -> None:
    cells = [cell(1.5, 100, 8, dim=4), cell(0.1, 30, 8, dim=4)]
    covered = [coverage("shares", 20, 60), coverage("tails", 20, 60)]
    text = write(tmp_path, cells, covered, {50: convincing(4, 50, dim=4)}, 8)
    found = json.loads((tmp_path / "calibration.json").read_text())["figures"]
    assert (tmp_path / "calibration.md").read_text().strip() == text.strip()
    keys = {"value", "low", "high", "goal", "reached"}
    assert all(set(one) == keys for one in found.values())
    assert 0.7 < found["slope_1.5_100"]["value"] < 1.4
    assert found["slope_1.5_100"]["reached"] == (0.9 <= found["slope_1.5_100"]["value"] <= 1.1)
    assert found["slope_0.1_30"]["reached"] is None  # next to nothing to be learnt
    assert found["loss_over_coin_1.5_100"]["high"] < 0
    assert found["coverage_shares_20"]["value"] == covered[0].covered >= 0.85 > covered[0].plain
    # The slope of labels on twice their logit is a half.
    p = expit(np.linspace(-2, 2, 50))
    assert slope(2 * np.log(p / (1 - p)), p) == pytest.approx(0.5)


def test_simulated_shares_have_their_mean() -> None:
    for name, p, values in shares(20, 200):
        assert values.mean() == pytest.approx(p, abs=0.035), name
