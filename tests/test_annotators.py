"""Annotators' slopes, ties, biases and strengths: the formula against a slow twin, and answers of known annotators."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import check_grad

from cli import fails, ok
from whichpairs.bench.labels.site import picked_run
from whichpairs.design.estimate.annotators import (
    STRENGTHS,
    Said,
    fit_annotators,
    loss_and_gradient,
)

BETA = 0.5
CUTS = np.array([0.4, 1.2, 2.0, 3.0])


def answers(theta, slopes, counts, seed=0, strengths=False, bias=0.0, spread=2.0) -> Said:
    """What annotators of these slopes say, by noise added to x and cut: no formula of the code's."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(len(slopes)), counts)
    z = spread * rng.standard_normal((len(who), len(theta)))
    x = np.array(slopes)[who] * BETA * (z @ theta) + bias + rng.logistic(size=len(who))
    side = np.where(x > CUTS[0], 1, np.where(x < -CUTS[0], -1, 0))
    strength = np.searchsorted(CUTS, np.abs(x)) * (side != 0) * strengths
    return Said(z, who, side, strength)


def probability(x: float, side: int, strength: int, cuts: np.ndarray) -> float:
    """Of one answer, from the distribution function, case by case."""

    def below(t: float) -> float:
        return 1.0 / (1.0 + np.exp(-(t - x)))

    if side == 0:
        return below(cuts[0]) - below(-cuts[0])
    ends = np.append(cuts, np.inf)
    first, last = (ends[0], np.inf) if strength == 0 else (ends[strength - 1], ends[strength])
    if side == 1:
        return (1.0 if last == np.inf else below(last)) - below(first)
    return below(-first) - (0.0 if last == np.inf else below(-last))


def test_the_loss_is_that_of_the_model_and_the_gradient_its_own() -> None:
    rng, d, k, n = np.random.default_rng(1), 3, 2, 60
    side = rng.integers(-1, 2, n)
    said = Said(
        rng.standard_normal((n, d)),
        rng.integers(0, k, n),
        side,
        rng.integers(0, 5, n) * (side != 0),
    )
    assert set(said.strength[side != 0]) == set(range(STRENGTHS + 1))
    prior, p = np.diag([1.0, 2.0, 3.0]), 0.5 * rng.standard_normal(d + 3 * k + 3)
    theta, s, b, ties, steps = np.split(p, [d, d + k, d + 2 * k, d + 3 * k])
    slow = 0.0
    for z, w, one, j in zip(said.z, said.who, said.side, said.strength, strict=True):
        cuts = np.exp(ties[w]) + np.concatenate([[0.0], np.cumsum(np.exp(steps))])
        slow -= np.log(probability(s[w] * BETA * (z @ theta) + b[w], one, j, cuts))
    slow += 0.5 * (theta @ prior @ theta + ((s - 1) ** 2).sum() + 4 * (b**2).sum())
    slow += 0.5 * (((ties - np.log(0.5)) ** 2).sum() + (steps**2).sum())
    assert loss_and_gradient(p, said, BETA, prior)[0] == pytest.approx(slow, rel=1e-12)
    error = check_grad(
        lambda q: loss_and_gradient(q, said, BETA, prior)[0],
        lambda q: loss_and_gradient(q, said, BETA, prior)[1],
        p,
    )
    assert error < 1e-4


def test_parameters_come_back() -> None:
    theta = np.array([1.0, -0.5, 0.3, 0.0])
    said = answers(theta, [1.5, 1.0, 0.5], [1500] * 3, strengths=True, bias=0.3)
    found = fit_annotators(said, BETA, 0.1 * np.eye(4))
    scale = found.slopes.mean()
    np.testing.assert_allclose(found.slopes / scale, [1.5, 1.0, 0.5], atol=0.12)
    np.testing.assert_allclose(found.theta * scale, theta, atol=0.12)
    np.testing.assert_allclose(found.biases, 0.3, atol=0.15)
    np.testing.assert_allclose(found.ties, CUTS[0], atol=0.06)
    np.testing.assert_allclose(found.steps, np.diff(CUTS), atol=0.1)
    plain = Said(said.z, said.who, said.side, np.zeros_like(said.strength))
    fewer = fit_annotators(plain, BETA, 0.1 * np.eye(4))
    np.testing.assert_allclose(fewer.slopes / fewer.slopes.mean(), [1.5, 1.0, 0.5], atol=0.2)
    np.testing.assert_allclose(fewer.ties, CUTS[0], atol=0.06)


def test_intervals_hold_as_often_as_they_say() -> None:
    """Of the slope of somebody who answers at random, beside somebody who does not."""
    theta, held = np.array([1.0, -0.5]), 0
    for seed in range(40):
        found = fit_annotators(answers(theta, [1.0, 0.0], [120, 120], seed), BETA, np.eye(2))
        low, high = found.intervals()[1]
        held += low <= 0.0 <= high
    assert held >= 34  # 38 expected; fewer once in 10³


def test_a_random_and_a_contrary_annotator_are_found_and_do_no_harm() -> None:
    """Three good, one random, one contrary, a thousand answers: the policy of the good ones' answers alone."""
    rng, d = np.random.default_rng(5), 12
    worse = list[float]()
    for seed in range(6):
        theta = rng.standard_normal(d)
        said = answers(theta, [1.0, 1.0, 1.0, 0.0, -1.0], [200] * 5, seed, spread=1.0)
        found = fit_annotators(said, BETA, np.eye(d))
        assert found.kinds() == ["follows"] * 3 + ["chance", "contrary"]
        good = said.who < 3
        alone = fit_annotators(
            Said(said.z[good], said.who[good], said.side[good], said.strength[good]),
            BETA,
            np.eye(d),
        )
        worse.append(_gap(found.theta, theta, seed) / _gap(alone.theta, theta, seed))
    assert np.mean(worse) <= 1.1


def _gap(theta: np.ndarray, truth: np.ndarray, seed: int) -> float:
    """J(best) − J(policy) over random prompts of eight completions: β KL(π_θ ‖ π*)."""
    phi = np.random.default_rng(1000 + seed).standard_normal((50, 8, len(truth)))

    def log_policy(t: np.ndarray) -> np.ndarray:
        values = phi @ t
        return np.asarray(values - np.logaddexp.reduce(values, axis=1, keepdims=True))

    mine, best = log_policy(theta), log_policy(truth)
    return float(BETA * np.mean(np.sum(np.exp(mine) * (mine - best), axis=1)))


def test_a_fit_says_who_follows_and_minds_it_when_asked(tmp_path: Path, capsys) -> None:
    """Two who follow, one who tosses coins, one contrary: said by `fit`, minded by `fit --annotators`."""
    rng, n, d = np.random.default_rng(3), 240, 4
    run = picked_run(tmp_path, [f"Q{k}?" for k in range(n)], [(f"x{k}", f"y{k}") for k in range(n)])
    from whichpairs.run.folder import open_run
    from whichpairs.workflow.workspace import Workspace

    space = Workspace(open_run(run))
    phi = rng.standard_normal((2 * n, d)).astype(np.float32)
    np.save(tmp_path / "phi.npy", phi)
    ok(capsys, "features", "--run", run, "--method", "file", "--file", tmp_path / "phi.npy")
    margin = 12.0 * phi @ np.array([1.0, -1.0, 0.5, 0.0])
    slopes = {"ann": 1.0, "bob": 1.0, "cyd": 0.0, "dan": -1.0}
    for name, slope in slopes.items():
        rows = list[str]()
        for key, (_, a, b) in space.known_pairs.items():
            x = 0.1 * slope * float(np.subtract(*margin[space.pool.rows((a, b))])) + rng.logistic()
            choice = "a" if x > 0.4 else "b" if x < -0.4 else "tie"
            rows.append(json.dumps({"pair_id": key, "choice": choice}))
        (tmp_path / "s.jsonl").write_text("\n".join(rows))
        ok(capsys, "label", "--run", run, "--from", tmp_path / "s.jsonl", "--annotator", name)
        if name == "ann":
            alone = ok(capsys, "fit", "--run", run)
            assert "annotators" not in alone
            assert "two annotators with 20 labels" in fails(
                capsys, "fit", "--run", run, "--annotators"
            )
    plain, minded = ok(capsys, "fit", "--run", run), ok(capsys, "fit", "--run", run, "--annotators")
    kinds = {row["annotator"]: row["kind"] for row in plain["annotators"]}
    assert kinds == {"ann": "follows", "bob": "follows", "cyd": "chance", "dan": "contrary"}
    (line,) = plain["notes"]
    assert "no better than a coin" in line
    assert "contrary" in line
    assert minded["annotators"] == plain["annotators"]
    theta = [np.load(run / "fits" / one["fit"] / "theta.npy") for one in (alone, plain, minded)]
    true = np.array([1.0, -1.0, 0.5, 0.0])

    def cosine(t: np.ndarray) -> float:
        return float(t @ true / np.linalg.norm(t) / np.linalg.norm(true))

    assert cosine(theta[2]) > max(0.98, cosine(theta[1]))
    sizes = [float(np.linalg.norm(t)) for t in theta]
    assert (
        0.7 < sizes[2] / sizes[0] < 1.4
    )  # as of one who follows; all alike, they are watered down:
    assert sizes[1] < 0.6 * sizes[0]
    assert ok(capsys, "fit", "--run", run, "--annotators")["done_before"]
