"""The linear programme of the limits: the plain programme's worth, and prices that hold for outsiders."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from limit_cases import feasible_batches, label_bounds, limits_on, plain_programme, plain_rows
from pools import all_pairs, ragged_space
from whichpairs.design import PairSpace, PairWeights
from whichpairs.design.batches.candidates import Candidates
from whichpairs.design.batches.linear_programme import best_counts, whole_counts
from whichpairs.design.problem.limits import Groups, Limits, check
from whichpairs.design.sweep.dominated import undominated
from whichpairs.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # beartype does

sizes = st.lists(st.integers(1, 5), min_size=1, max_size=5)


def candidates_of(space: PairSpace, pairs: np.ndarray, limits: Limits) -> Candidates:
    return Candidates.of(space, PairWeights(1.0), limits, np.sort(space.keys(pairs)))


def refused(space: PairSpace, budget: float, limits: Limits) -> bool:
    try:
        check(space, budget, limits)
    except UserError:
        return True
    return False


@st.composite
def programmes(draw) -> tuple[PairSpace, np.ndarray, np.ndarray, float, Limits]:
    """A space, its pairs, scores (with ties and zeros), a budget, limits."""
    space = ragged_space(draw(sizes), 2, 0)
    pairs = all_pairs(space)
    assume(len(pairs) > 0)
    limits, budget = draw(limits_on(space))
    some = st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0]) if draw(st.booleans()) else st.floats(0, 10)
    scores = np.array(draw(st.lists(some, min_size=len(pairs), max_size=len(pairs))), float)
    return space, pairs, scores, budget, limits


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(programmes())
def test_counts_are_worth_what_the_plain_programme_says(case) -> None:
    space, pairs, scores, budget, limits = case
    plain = plain_programme(space, pairs, scores, budget, limits)
    if plain is None and refused(space, budget, limits):
        return
    vertex = best_counts(candidates_of(space, pairs, limits), scores, budget, limits)
    if plain is None:
        assert vertex.short > 0.0
        return
    rows, room = plain_rows(space, pairs, budget, limits)
    assert (rows @ vertex.counts <= room + 1e-7).all()
    low, high = label_bounds(pairs, limits).T
    assert (low - 1e-9 <= vertex.counts).all()
    assert (vertex.counts <= high + 1e-9).all()
    assert scores @ vertex.counts == pytest.approx(plain, rel=1e-7, abs=1e-7)
    assert vertex.bound == pytest.approx(plain, rel=1e-7, abs=1e-7)
    assert len(vertex.prices) == (1 if limits.groups is None else len(limits.groups.names) + 1)


@pytest.mark.slow
@settings(deadline=None, max_examples=250)
@given(programmes(), st.data())
def test_prices_bound_what_pairs_outside_add(case, data) -> None:
    space, pairs, scores, budget, limits = case
    must = label_bounds(pairs, limits)[:, 0] > 0
    gone = np.array(data.draw(st.lists(st.booleans(), min_size=len(pairs), max_size=len(pairs))))
    gone &= ~must
    plain = plain_programme(space, pairs, scores, budget, limits)
    assume(plain is not None and not gone.all())
    left = candidates_of(space, pairs[~gone], limits)
    vertex = best_counts(left, scores[~gone], budget, limits)
    assume(plain_programme(space, pairs[~gone], scores[~gone], budget, limits) is not None)
    prompt = np.searchsorted(space.starts, pairs[:, 0], side="right") - 1
    heaps = 0 if limits.groups is None else len(limits.groups.names)
    heap = (
        np.full(len(pairs), heaps)
        if limits.groups is None
        else limits.groups.of[prompt] % (heaps + 1)
    )
    ceilings = np.zeros(heaps + 1)
    np.maximum.at(ceilings, heap[gone], (scores / limits.costs(pairs))[gone])
    assert plain <= vertex.bound + vertex.outside(ceilings, budget, limits) + 1e-7


@settings(deadline=None, max_examples=60)
@given(programmes())
def test_whole_counts_are_the_best_of_all_batches(case) -> None:
    space, pairs, scores, budget, limits = case
    assume((limits.repeats + 1) ** len(pairs) <= 20_000)
    batches = feasible_batches(space, budget, limits)
    whole = whole_counts(candidates_of(space, pairs, limits), scores, budget, limits)
    if not len(batches):
        assert whole is None
        return
    assert whole is not None
    assert (batches == whole).all(axis=1).any()
    assert scores @ whole == pytest.approx((batches @ scores).max(), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("others", [{}, {"per_completion": 99}], ids=["greedy", "programme"])
@pytest.mark.parametrize(
    ("most", "taken", "inside", "outside"),
    [(0.5, [10, 9, 5, 4], (8, 9), (1, 4)), (1.0, [10, 9, 8, 5], (4, 5), (4, 5))],
)
def test_a_group_that_is_full_has_its_own_price(others, most, taken, inside, outside) -> None:
    """One that merely has no more candidates has not: an outsider of it would be worth its label."""
    space = ragged_space([3, 3], 2)
    groups = Groups(("a", "b"), np.array([0, -1]), np.zeros(2), np.array([most, 1.0]))
    limits = Limits(groups=groups, **others)
    scores = np.array([10.0, 9.0, 8.0, 5.0, 4.0, 1.0])
    vertex = best_counts(candidates_of(space, all_pairs(space), limits), scores, 4, limits)
    assert sorted(scores[vertex.counts > 0.5], reverse=True) == taken
    assert inside[0] - 1e-9 <= vertex.prices[0] <= inside[1] + 1e-9
    assert outside[0] - 1e-9 <= vertex.prices[-1] <= outside[1] + 1e-9


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 3), st.booleans())
def test_what_is_sorted_out_is_dominated_often_enough(
    seed: int, most: int, repeats: int, shares: bool
) -> None:
    """Where a group must get its share, by pairs of the same cost."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 25))
    prompt = rng.integers(0, 3, n)
    scores, costs = rng.integers(0, 4, n).astype(float), rng.integers(1, 4, n).astype(float)
    keys = rng.permutation(n).astype(np.int64)
    groups = Groups(("a",), np.zeros(3, np.int64), np.full(1, 0.2), np.ones(1)) if shares else None
    limits = Limits(per_prompt=most, repeats=repeats, groups=groups)
    kept = undominated(prompt, scores, costs, keys, limits)
    for p in range(n):
        worth = (scores > scores[p]) | ((scores == scores[p]) & (keys < keys[p]))
        cheap = costs == costs[p] if shares else costs <= costs[p]
        better = worth & cheap & (prompt == prompt[p])
        assert kept[p] or repeats * np.count_nonzero(better) >= most
    for x in np.unique(prompt):
        assert kept[prompt == x].any()


def test_a_dear_pair_may_be_what_reaches_a_least_share() -> None:
    """One label a prompt; the cheap pair is worth as much, and leaves the group short."""
    space = PairSpace(np.eye(3, dtype=np.float32), np.array([0, 3]))
    groups = Groups(("a",), np.zeros(1, np.int64), np.array([0.2]), np.array([0.5]))
    limits = Limits(per_prompt=1, row_costs=np.array([0.25, 0.25, 1.0]), groups=groups)
    vertex = best_counts(candidates_of(space, all_pairs(space), limits), np.zeros(3), 4.0, limits)
    assert vertex.short == 0.0 or vertex.counts @ [0.5, 1.25, 1.25] >= 0.8 - 1e-9
    assert np.isfinite(vertex.bound)
