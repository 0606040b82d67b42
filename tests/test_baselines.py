"""Random and its relatives: what they draw, and what is expected of them."""

import numpy as np
import pytest

from pools import all_pairs, make_space
from whichpairs.design import PairWeights, a_optimal, information, random_outlook
from whichpairs.design.batches.random import random_pairs, reference_pairs
from whichpairs.design.problem.space import PairSpace
from whichpairs.streams import Stream, stream


def test_reference_pairs_go_by_the_weights_of_both_ends() -> None:
    """Of three completions with weights 1, 2 and 5: pairs 2 : 5 : 10, and none where a weight is 0."""
    weight = np.tile([1.0, 2.0, 5.0], 4000)
    space = PairSpace(np.zeros((12_000, 1), np.float32), np.arange(0, 12_001, 3))
    picked = reference_pairs(space, 2000, np.random.default_rng(0), weight)
    ends = picked % 3
    share = [np.mean((ends == pair).all(axis=1)) for pair in ((0, 1), (0, 2), (1, 2))]
    assert share == pytest.approx(np.array([2, 5, 10]) / 17, abs=0.04)
    weight[::3] = 0.0
    ends = reference_pairs(space, 500, np.random.default_rng(1), weight) % 3
    assert (ends == [1, 2]).all()
    even = reference_pairs(space, 2000, np.random.default_rng(2)) % 3
    assert np.mean((even == [1, 2]).all(axis=1)) == pytest.approx(1 / 3, abs=0.04)


def test_the_outlook_s_error_is_that_of_the_mean_over_its_draws() -> None:
    space, weights, base = make_space(30, 4, 3), PairWeights(1.0), 0.1 * np.eye(3)
    found = random_outlook(space, a_optimal(3), weights, base, 20, 0.0, seed=3, draws=9, reach=2)
    values = []
    for draw in range(9):
        order = random_pairs(space, 40, stream(3, Stream.RANDOM_BATCHES, draw))
        values.append(a_optimal(3).value(base + information(space, order[:20], weights)))
    assert found.value == pytest.approx(np.mean(values))
    assert found.standard_error == pytest.approx(np.std(values, ddof=1) / 3)
    assert found.labels_needed is None
    one = random_outlook(space, a_optimal(3), weights, base, 20, 0.0, seed=3, draws=1, reach=2)
    assert np.isnan(one.standard_error)
    assert len(all_pairs(space)) > 40


def test_a_little_less_than_random_s_mean_takes_more_labels() -> None:
    space, weights, base = make_space(30, 4, 3), PairWeights(1.0), 0.1 * np.eye(3)
    some = (space, a_optimal(3), weights, base, 20)
    mean = random_outlook(*some, 0.0, seed=3, draws=9, reach=2).value
    assert random_outlook(*some, mean, seed=3, draws=9).labels_needed == 20
    assert random_outlook(*some, 0.97 * mean, seed=3, draws=9).labels_needed == 21
