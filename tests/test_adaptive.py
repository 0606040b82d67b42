"""Adaptive batches: random first, then by the posterior, warily where the reward may bend."""

import numpy as np
import pytest

from whichpairs.bench.methods.turn import Desk
from whichpairs.bench.pools import regimes
from whichpairs.design import Belief, Problem, information
from whichpairs.design.batches.random import random_pairs
from whichpairs.design.estimate.bradley_terry import (
    Fit,
    best_scale,
    fit,
    fit_theta,
    folds,
    log_loss,
    posterior,
)
from whichpairs.design.strategies import adaptive
from whichpairs.design.strategies.adaptive import Evidence, View, look, next_batch
from whichpairs.design.strategies.bounded import BoundedBatch, bounded_batch


def evidence_of(world, labels: int, seed: int = 0) -> tuple[Desk, Evidence]:
    pairs = random_pairs(world.space, labels, np.random.default_rng(seed))
    desk = Desk(world, pairs, world.answers(pairs, seed), seed, 1)
    return desk, Evidence(desk.asked, desk.wins, desk.prompts, desk.fit)


def view_of(world, desk: Desk, evidence: Evidence) -> View:
    return look(desk.space, world.beta, world.prior, world.reference, evidence, seed=0)


def test_the_first_labels_are_random_and_the_rest_is_not() -> None:
    world = regimes.draw("strong", 0)
    space, d = world.space, world.space.dim
    view = look(space, 1.0, world.prior, None, Evidence.none(d), seed=0)
    assert view.belief.theta.tolist() == [0.0] * d
    assert np.array_equal(view.base, world.prior)
    only = next_batch(space, 1.0, view, 4 * d, np.random.default_rng(5))
    assert only.random == 4 * d
    assert only.looked_at == 0
    assert np.array_equal(only.pairs, random_pairs(space, 4 * d, np.random.default_rng(5)))
    more = next_batch(space, 1.0, view, 8 * d, np.random.default_rng(5))
    assert more.random == 4 * d + 28  # 0.4 + 1/32 of the rest
    assert np.array_equal(more.pairs[: 4 * d], only.pairs)
    assert len(np.unique(space.keys(more.pairs))) == 8 * d
    norms = np.linalg.norm(space.differences(more.pairs), axis=1)
    assert norms[more.random :].mean() > 1.1 * norms[: more.random].mean()


def test_first_random_labels_count_where_the_rest_is_designed(monkeypatch) -> None:
    world = regimes.draw("strong", 0)
    space, d = world.space, world.space.dim
    view = look(space, 1.0, world.prior, None, Evidence.none(d), seed=0)
    left: list[Problem] = []

    def batch(problem: Problem, *some, **options):
        left.append(problem)
        return bounded_batch(problem, *some, **options)

    monkeypatch.setattr(adaptive, "bounded_batch", batch)
    found = next_batch(space, 1.0, view, 8 * d, np.random.default_rng(5))
    drawn, weights = found.pairs[: 4 * d], view.belief.weights(1.0)
    assert np.allclose(left[0].base, view.base + information(space, drawn, weights))
    assert left[0].budget == 4 * d
    assert not left[0].space.not_excluded(drawn).any()


def test_a_designed_batch_worse_than_random_is_replaced_by_a_random_one(monkeypatch) -> None:
    world = regimes.draw("strong", 0)
    desk, evidence = evidence_of(world, 200)
    view = view_of(world, desk, evidence)
    sound = next_batch(desk.space, 1.0, view, 60, np.random.default_rng(0))
    assert sound.versus is not None
    assert not sound.versus.replaced
    near = desk.space.unrank(np.arange(60))  # one prompt's pairs, and a few more

    def batch(problem: Problem, *some, **options):
        return BoundedBatch(near, 0, 60, 0)

    monkeypatch.setattr(adaptive, "bounded_batch", batch)
    found = next_batch(desk.space, 1.0, view, 60, np.random.default_rng(0))
    assert found.versus is not None
    assert found.versus.replaced
    assert found.random == len(found.pairs) == len(np.unique(desk.space.keys(found.pairs))) == 60
    weights = view.belief.weights(1.0)
    values = [
        view.gap.value(view.base + information(desk.space, pairs, weights))
        for pairs in (found.pairs, near)
    ]
    assert values[0] < found.versus.random < values[1] == pytest.approx(found.versus.found)


def test_pending_pairs_count_as_known_and_are_not_picked_again() -> None:
    world = regimes.draw("strong", 0)
    desk, evidence = evidence_of(world, 100)
    pending = random_pairs(desk.space, 50, np.random.default_rng(9))
    free = desk.space.without(pending)
    with_pending = Evidence(evidence.pairs, evidence.wins, evidence.prompts, evidence.fit, pending)
    view = look(free, 1.0, world.prior, None, with_pending, seed=0)
    gain = view.base - view_of(world, desk, evidence).base
    z = free.differences(pending)
    weights = view.belief.weights(1.0)(z)
    assert np.allclose(gain, z.T @ (z * weights[:, None]))
    batch = next_batch(free, 1.0, view, 40, np.random.default_rng(0))
    assert not np.isin(free.keys(batch.pairs), free.keys(pending)).any()


@pytest.mark.slow
def test_a_certificate_changes_no_batch() -> None:
    world = regimes.draw("strong", 0)
    desk, evidence = evidence_of(world, 200)
    view = view_of(world, desk, evidence)
    plain, certified = (
        next_batch(desk.space, 1.0, view, 60, np.random.default_rng(0), certify=certify)
        for certify in (False, True)
    )
    assert np.array_equal(plain.pairs, certified.pairs)
    assert plain.solution is None
    assert certified.solution is not None
    m = view.base + information(desk.space, plain.pairs, view.belief.weights(1.0))
    assert view.gap.value(m) >= certified.solution.bound


def test_the_posterior_moves_the_picks_from_foregone_pairs() -> None:
    """With strong rewards, pairs whose answer is foregone are not asked; at θ = 0 they would be."""
    world = regimes.draw("strong", 0)
    desk, evidence = evidence_of(world, 400)
    picked = next_batch(
        desk.space, 1.0, view_of(world, desk, evidence), 200, np.random.default_rng(0)
    )
    blind = look(desk.space, 1.0, world.prior, None, Evidence.none(16), seed=0)
    blind = View(blind.belief, blind.base, blind.gap, 400)
    unseen = next_batch(desk.space, 1.0, blind, 200, np.random.default_rng(0))

    def margin(pairs: np.ndarray) -> float:
        designed = pairs[86:]
        return float(np.abs(world.reward[designed[:, 0]] - world.reward[designed[:, 1]]).mean())

    assert margin(picked.pairs) < 0.5 * margin(unseen.pairs)


def test_the_posterior_is_the_inverse_hessian_at_the_fit() -> None:
    rng = np.random.default_rng(0)
    z, wins = rng.standard_normal((40, 3)), rng.integers(0, 2, 40).astype(float)
    theta, prior, beta = np.array([0.5, -1.0, 2.0]), np.diag([1.0, 2.0, 3.0]), 0.6
    belief = posterior(Fit(theta, 4.0, {}), z, beta, prior)

    def loss(t: np.ndarray) -> float:
        return len(z) * log_loss(beta * (z @ t), wins) + 2.0 * t @ prior @ t

    step, hessian = 1e-4, np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            a, b = step * np.eye(3)[i], step * np.eye(3)[j]
            hessian[i, j] = (
                loss(theta + a + b)
                - loss(theta + a - b)
                - loss(theta - a + b)
                + loss(theta - a - b)
            ) / (4 * step**2)
    assert belief.precision is not None
    assert np.allclose(belief.precision, hessian, rtol=1e-4, atol=1e-4)


def test_the_scale_of_a_fit_is_between_the_left_out_and_the_fitted_one() -> None:
    world = regimes.draw("strong", 1)
    desk, _ = evidence_of(world, 128)
    found = fit(desk.z, desk.wins, 1.0, world.prior, desk.prompts, seed=0)
    fitted = best_scale(desk.z @ (found.theta / found.scale), desk.wins)
    assert fitted > 1.0  # a ridge shrinks
    assert min(1.0, fitted) * 0.5 < found.scale < fitted
    margins = np.array([2.0, -1.0, 0.5, 3.0])
    wins = np.array([1.0, 1.0, 0.0, 1.0])
    scale = best_scale(margins, wins)
    for other in (0.9 * scale, 1.1 * scale):
        assert log_loss(scale * margins, wins) < log_loss(other * margins, wins)


@pytest.mark.parametrize("labels", [0, 1, 3])
def test_few_labels_are_enough_to_go_on(labels: int) -> None:
    world = regimes.draw("weak", 0)
    desk, evidence = evidence_of(world, max(labels, 1))
    if labels == 0:
        evidence = Evidence.none(world.space.dim)
    view = view_of(world, desk, evidence)
    assert isinstance(view.belief, Belief)
    batch = next_batch(desk.space, 1.0, view, 100, np.random.default_rng(0))
    assert len(batch.pairs) == 100


def test_the_base_is_the_chosen_prior_and_the_information_of_the_labels() -> None:
    world = regimes.draw("strong", 0)
    desk, evidence = evidence_of(world, 300)
    assert evidence.fit.strength != 1.0
    view = view_of(world, desk, evidence)
    weights = view.belief.weights(1.0)(desk.z)
    plain = evidence.fit.strength * world.prior + desk.z.T @ (desk.z * weights[:, None])
    assert np.allclose(view.base, plain)


def test_fewer_labels_than_features_are_not_believed() -> None:
    world = regimes.draw("strong", 0)
    desk, evidence = evidence_of(world, 15)
    view = view_of(world, desk, evidence)
    assert view.belief.theta.tolist() == [0.0] * 16
    assert np.array_equal(view.belief.precision, world.prior)
    assert np.linalg.eigvalsh(view.base - world.prior)[-1] > 0  # what was asked counts


def test_the_reference_policy_decides_what_the_policy_needs_to_know() -> None:
    world = regimes.draw("strong", 0)
    desk, evidence = evidence_of(world, 100)
    one_only = np.where(np.arange(world.space.rows) % 16 < 2, 1.0, 1e-9)
    plain, few = (
        look(desk.space, 1.0, world.prior, weight, evidence, seed=0).gap.matrix
        for weight in (None, one_only)
    )
    assert np.trace(few) < 0.7 * np.trace(plain)


def test_the_share_grows_with_all_labels_there_are() -> None:
    world = regimes.draw("strong", 0)
    desk, evidence = evidence_of(world, 2000)
    view = view_of(world, desk, evidence)
    batch = next_batch(desk.space, 1.0, view, 100, np.random.default_rng(0))
    share = 2100 / (512 * 16)
    assert batch.random == round((0.4 + share) * 100)
    assert batch.looked_at == round((100 - batch.random) / share)


def test_the_scale_is_the_geometric_mean_of_two() -> None:
    world = regimes.draw("strong", 1)
    desk, _ = evidence_of(world, 200)
    found = fit(desk.z, desk.wins, 1.0, world.prior, desk.prompts, seed=3)
    fold, out = folds(desk.prompts, 3), np.zeros(200)
    for k in range(5):
        theta = fit_theta(
            desk.z[fold != k], desk.wins[fold != k], 1.0, found.strength * world.prior
        )
        out[fold == k] = desk.z[fold == k] @ theta
    inside = desk.z @ (found.theta / found.scale)
    expected = (best_scale(out, desk.wins) * best_scale(inside, desk.wins)) ** 0.5
    assert found.scale == pytest.approx(expected, rel=1e-2)


def test_labels_of_few_prompts_are_fitted_with_the_default_prior() -> None:
    rng = np.random.default_rng(0)
    z, wins = rng.standard_normal((12, 3)), rng.integers(0, 2, 12).astype(float)
    assert fit(z, wins, 1.0, np.eye(3), np.zeros(12, int)).strength == 1.0
