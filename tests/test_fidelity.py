"""The fidelity figure: its batches against brute force, its value against plain linear algebra."""

from itertools import pairwise

import numpy as np
import pytest

import tiny_models
from cli import ok, pool_rows, write_jsonl
from pools import all_pairs
from whichpairs.design import (
    PairSpace,
    PairWeights,
    gap_criterion,
    information,
    policy_information,
    prior,
)
from whichpairs.design.batches.random import random_pairs
from whichpairs.features.pca import principal_axes
from whichpairs.features.store import centred
from whichpairs.streams import Stream, stream
from whichpairs.workflow.features.fidelity import fidelity_loss, greedy_batch

SIZES = np.array([4, 5, 3, 6])
STARTS = np.concatenate([[0], np.cumsum(SIZES)]).astype(np.int64)


def features(dim: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return centred(rng.standard_normal((STARTS[-1], dim)) * np.arange(1, dim + 1) ** -0.7, SIZES)


def plain_f(x: np.ndarray, pairs) -> float:
    """tr(Ī M⁻¹) written out, at β = 1."""
    information_of_policy = sum(x[a:b].T @ x[a:b] / (b - a) for a, b in pairwise(STARTS)) / len(
        SIZES
    )
    every = np.array([x[i] - x[j] for i, j in all_pairs(PairSpace(x, STARTS))])
    m = np.eye(x.shape[1]) * np.mean(np.sum(every**2, axis=1)) / 1.5**2
    for i, j in pairs:
        m += np.outer(x[i] - x[j], x[i] - x[j]) / 4
    return float(np.trace(information_of_policy @ np.linalg.inv(m)))


def test_greedy_takes_the_best_pair_at_every_step():
    x = features(7)
    space = PairSpace(x, STARTS)
    candidates, chosen = [tuple(p) for p in all_pairs(space)], []
    for _ in range(9):
        left = [p for p in candidates if p not in chosen]
        chosen.append(min(left, key=lambda p: plain_f(x, [*chosen, p])))
    np.testing.assert_array_equal(greedy_batch(space, 9), chosen)
    everything = greedy_batch(space, len(candidates))
    assert sorted(map(tuple, everything.tolist())) == candidates


@pytest.mark.parametrize("wide", [5, 40])  # fewer and more dimensions than rows
def test_the_loss_is_the_share_of_the_gain_that_is_lost(wide):
    large, budget = features(wide), 6
    small = large @ np.random.default_rng(1).standard_normal((wide, 2))
    loss = fidelity_loss(small, large, STARTS, budget, seed=0)
    space = PairSpace(large, STARTS)
    best = plain_f(large, greedy_batch(space, budget))
    chosen = plain_f(large, greedy_batch(PairSpace(small, STARTS), budget))
    drawn = [
        plain_f(large, random_pairs(space, budget, stream(0, Stream.FIDELITY, k)))
        for k in range(20)
    ]
    assert loss == pytest.approx((chosen - best) / (np.mean(drawn) - best), rel=1e-8)
    assert loss > 0.02


def test_nothing_is_lost_by_a_rotation_and_nothing_is_known_without_spread():
    large = features(6)
    turn, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((9, 6)))
    assert fidelity_loss(large @ turn.T, large, STARTS, 6, seed=0) == pytest.approx(0.0, abs=1e-9)
    assert fidelity_loss(0 * large, large, STARTS, 6, seed=0) is None
    assert fidelity_loss(large, large, STARTS, len(all_pairs(PairSpace(large, STARTS))), 0) is None


def test_the_criterion_is_the_designs():
    x, pairs = features(5), np.array([[0, 1], [4, 7], [9, 10]])
    space = PairSpace(x, STARTS)
    m = prior(space, 1.0) + information(space, pairs, PairWeights(1.0))
    assert gap_criterion(policy_information(space)).value(m) == pytest.approx(plain_f(x, pairs))


@pytest.mark.parametrize("shape", [(60, 200), (200, 60)])
def test_axes_are_the_leading_eigenvectors(shape):
    rng = np.random.default_rng(3)
    x = rng.standard_normal(shape) * np.arange(1, shape[1] + 1) ** -0.5
    axes = principal_axes(x, 4).astype(np.float64)
    values, vectors = np.linalg.eigh(x.T @ x)
    np.testing.assert_allclose(axes.T @ axes, np.eye(4), atol=1e-5)
    np.testing.assert_allclose(np.abs(np.sum(axes * vectors[:, :-5:-1], axis=0)), 1, atol=1e-4)
    np.testing.assert_allclose(np.sum((x @ axes) ** 2, axis=0), values[:-5:-1], rtol=1e-5)
    assert all(axes[np.abs(axes[:, k]).argmax(), k] > 0 for k in range(4))
    few = principal_axes(x[:3], 10)
    assert few.shape == (shape[1], 3)
    np.testing.assert_allclose(x[:3] @ few @ few.T, x[:3], atol=1e-5)


@pytest.mark.slow
def test_every_feature_set_of_a_model_has_the_figure(capsys, tmp_path):
    run, model = tmp_path / "run", tiny_models.folder()
    ok(capsys, "import", write_jsonl(tmp_path / "p.jsonl", pool_rows(12, 5)), "--run", run)
    command = ["features", "--run", run, "--model", model, "--dim", 4, "--device", "cpu"]
    made = {}
    for projection in ("random", "pca"):
        more = ["--method", "gradient", "--projection", projection, "--name", projection]
        made[projection] = ok(capsys, *command, *more)
        found = made[projection]["fidelity"]
        assert found == {
            "loss": found["loss"],
            "dim": 4,
            "larger_dim": 64,
            "prompts": 12,
            "budget": 24,
        }
    assert 0 < made["pca"]["fidelity"]["loss"] < made["random"]["fidelity"]["loss"]
    hidden = ok(capsys, *command, "--method", "hidden")
    assert hidden["fidelity"]["larger_dim"] == 16  # the hidden size
    skipped = ok(capsys, *command, "--method", "gradient", "--no-fidelity")
    assert "fidelity" not in skipped
    loss = made["pca"]["fidelity"]["loss"]
    from whichpairs.workflow.status import status

    assert f"pca (projection loses {100 * loss:.2g} %)" in status(run).message
    from whichpairs.report.data.facts import gather
    from whichpairs.report.sections.solve import projections

    facts = gather(run, None)
    assert [name for name, _ in facts.fidelity] == ["hidden", "pca", "random"]
    assert f'value="{loss!r}"' in projections(facts)[1]


def test_pca_keeps_the_wide_gradients_coordinates(capsys, tmp_path, monkeypatch):
    """The file is the wide random projection on to the axes beside it, early or late."""
    from whichpairs.features.gradient import gradient_features
    from whichpairs.types import Example
    from whichpairs.workflow.features import stage

    rows, run, model = pool_rows(12, 5), tmp_path / "run", tiny_models.folder()
    ok(capsys, "import", write_jsonl(tmp_path / "p.jsonl", rows), "--run", run)
    command = ["features", "--run", run, "--model", model, "--dim", 6, "--method", "gradient"]
    ok(capsys, *command, "--no-fidelity", "--name", "late")
    monkeypatch.setattr(stage, "WIDE_ROWS", 10)
    ok(capsys, *command, "--no-fidelity", "--name", "early")
    late, early = (run / "features" / name for name in ("late", "early"))
    examples = [Example(r["prompt"], r["completion"], True) for r in rows]
    (wide,) = gradient_features(tiny_models.lm(), examples, dim=96, seed=0)
    wide = centred(wide, np.full(12, 5))
    axes = np.load(late / "axes.npy")
    np.testing.assert_allclose(np.load(late / "features.npy"), wide @ axes, atol=1e-4)
    np.testing.assert_allclose(axes, np.load(early / "axes.npy"), atol=1e-4)
    assert (late / "features.npy").read_bytes() == (early / "features.npy").read_bytes()
