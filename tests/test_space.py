import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pools import all_pairs, ragged_space
from whichpairs.design import PairSpace
from whichpairs.errors import UserError

sizes = st.lists(st.integers(1, 9), min_size=1, max_size=12)


@settings(deadline=None, max_examples=60)
@given(sizes, st.integers(0, 5))
def test_unrank_walks_all_pairs_in_order(sizes: list[int], seed: int) -> None:
    space = ragged_space(sizes, 2, seed)
    ranks = np.arange(space.all_pairs)
    assert np.array_equal(space.unrank(ranks), all_pairs(space))


def test_unrank_is_exact_in_a_huge_prompt() -> None:
    m = 60_000
    space = PairSpace(np.zeros((m, 1), np.float32), np.array([0, m]))
    total = m * (m - 1) // 2
    for rank in (0, m - 2, m - 1, total // 2, total - 2, total - 1):
        i, j = space.unrank(np.array([rank]))[0]
        assert 0 <= i < j < m
        assert i * m - i * (i + 1) // 2 + (j - i - 1) == rank


@settings(deadline=None, max_examples=60)
@given(sizes, st.data())
def test_candidates_leave_out_the_held_out_and_the_excluded(sizes: list[int], data) -> None:
    eligible = np.array(
        data.draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes)))
    )
    free = ragged_space(sizes, 2)
    pairs = all_pairs(free)
    chosen = data.draw(st.lists(st.integers(0, max(len(pairs) - 1, 0)), max_size=5))
    excluded = free.keys(pairs[chosen]) if len(pairs) else np.empty(0, np.int64)
    space = ragged_space(sizes, 2, eligible=eligible, excluded=excluded)
    assert space.candidates == len(all_pairs(space))


def test_keys_round_trip_and_order_like_pairs() -> None:
    space = ragged_space([3, 4, 2], 2)
    pairs = all_pairs(space)
    keys = space.keys(pairs)
    assert np.all(np.diff(keys) > 0)
    assert np.array_equal(space.from_keys(keys), pairs)


def test_blocks_cover_every_eligible_prompt_once() -> None:
    sizes = [5] * 10_000
    eligible = np.arange(10_000) % 3 > 0
    space = ragged_space(sizes, 1, eligible=eligible)
    seen = np.zeros(10_000, int)
    for first, last in space.blocks():
        seen[first:last] += 1
    assert np.all(seen[eligible] == 1)
    assert len(list(space.blocks())) > 1


def test_starts_that_do_not_cover_the_rows_are_refused() -> None:
    with pytest.raises(UserError, match="got 0 to 5 for 4 rows"):
        PairSpace(np.zeros((4, 1), np.float32), np.array([0, 5]))
