"""The signal design: its value against simulated first steps of DPO, and what a batch holds."""

import numpy as np
import pytest
from scipy.special import expit

from whichpairs.design import PairSpace, prior
from whichpairs.design.batches.random import random_pairs
from whichpairs.design.estimate.bradley_terry import fit
from whichpairs.design.strategies.adaptive import Evidence, look, signal_batch
from whichpairs.design.strategies.strongest import signal, strongest_pairs
from whichpairs.errors import UserError
from whichpairs.workflow.select.batch import batch_message


def space(prompts: int = 6, m: int = 5, d: int = 3) -> PairSpace:
    features = np.random.default_rng(0).standard_normal((prompts * m, d))
    return PairSpace(features, np.arange(0, prompts * m + 1, m))


def test_it_is_what_the_first_step_of_dpo_brings() -> None:
    """By finite differences of DPO's loss at the reference, and labels drawn one by one."""
    rng, beta, theta, z = np.random.default_rng(1), 0.3, np.array([2.0, -1.0]), np.array([1.5, 0.5])

    def step(sign: int) -> np.ndarray:
        def loss(at: np.ndarray) -> float:
            return float(-np.log(expit(sign * beta * (z @ at))))

        return -np.array([(loss(1e-5 * e) - loss(-1e-5 * e)) / 2e-5 for e in np.eye(2)])

    won = rng.random(200_000) < expit(beta * (z @ theta))
    brought = np.where(won, step(1) @ theta, step(-1) @ theta).mean()
    assert signal(np.array([[beta * (z @ theta)]]))[0] == pytest.approx(brought, rel=0.02)


def test_a_batch_is_the_strongest_of_all_within_the_caps() -> None:
    pairs, beta = space(), 0.5
    thetas = np.random.default_rng(2).standard_normal((4, 3))
    batch = strongest_pairs(pairs, thetas, beta, 9, spread=2)
    everything = pairs.unrank(np.arange(pairs.all_pairs))
    value = [
        np.mean([0.5 * np.tanh(beta * z @ t / 2) * beta * (z @ t) for t in thetas])
        for z in pairs.differences(everything)
    ]
    taken, kept = dict.fromkeys(range(6), 0), []
    for p in np.argsort(-np.array(value)):
        prompt = everything[p][0] // 5
        if taken[prompt] < 2 * 2 and len(kept) < 9:
            taken[prompt] += 1
            kept.append(everything[p].tolist())
    assert batch.tolist() == kept


def test_no_pair_twice_and_the_caps_give_way_where_prompts_run_out() -> None:
    pairs, one = space(prompts=3, m=4), np.ones((1, 3))
    excluded = pairs.keys(pairs.unrank(np.arange(0, 11)))  # most of the first two prompts
    some = PairSpace(pairs.features, pairs.starts, None, excluded)
    batch = strongest_pairs(some, one, 0.1, some.candidates, spread=1)
    assert len(np.unique(some.keys(batch))) == some.candidates == 7
    assert some.not_excluded(batch).all()
    uneven = PairSpace(np.random.default_rng(3).standard_normal((14, 3)), np.array([0, 10, 14]))
    batch = strongest_pairs(uneven, one, 0.1, 14, spread=1)  # of 45 and 6 pairs, 7 each at first
    assert [np.count_nonzero(batch[:, 0] < 10), np.count_nonzero(batch[:, 0] >= 10)] == [8, 6]
    with pytest.raises(UserError, match="7"):
        strongest_pairs(some, one, 0.1, 8)


def test_all_is_random_until_the_fit_convinces_and_half_of_it_after() -> None:
    """Labels of a strong linear reward convince, coin flips do not."""
    pairs, beta, rng = space(prompts=60, m=6), 0.5, np.random.default_rng(4)
    asked = random_pairs(pairs, 300, rng)
    z, h0, theta = pairs.differences(asked), prior(pairs, beta), np.array([4.0, -3.0, 0.0])
    for wins, believed in (
        ((rng.random(300) < expit(beta * (z @ theta))).astype(float), True),
        (rng.integers(0, 2, 300).astype(float), False),
    ):
        fitted = fit(z, wins, beta, h0, asked[:, 0] // 6)
        evidence = Evidence(asked, wins, asked[:, 0] // 6, fitted)
        assert evidence.convincing is believed
        rest = pairs.without(asked)
        view = look(rest, beta, h0, None, evidence, seed=0, least=1)
        batch = signal_batch(rest, beta, view, evidence, 40, np.random.default_rng(5), seed=0)
        assert batch.random == (20 if believed else 40)
        said = {"criterion": "signal", "random_picked": batch.random, "picked": 40, "budget": 40}
        names = ("candidate_pairs", "controls", "predicted_gap", "predicted_gap_before")
        said |= dict.fromkeys(names, 0)
        said |= {"random_predicted_gap": 1, "labels_random_would_need": 50, "certificate": None}
        message = batch_message(said | {"batch_file": ""})
        assert ("random would need" in message) is believed
        assert ("all at random (no fit" in message) is not believed
        worse = batch_message(said | {"batch_file": "", "labels_random_would_need": 40})
        assert ("random of as many labels is as good" in worse) is believed
        better = batch_message(said | {"batch_file": "", "labels_random_would_need": 30})
        assert ("random would need 30 labels only" in better) is believed
        assert len(np.unique(rest.keys(batch.pairs))) == 40
        margins = np.abs(beta * rest.differences(batch.pairs) @ theta)
        assert bool(margins[20:].mean() > 2 * margins[:20].mean()) is believed
