"""Features in shards are the same features."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pools import make_space
from test_solver import problem_on
from whichpairs.design import FrankWolfe, PairSpace, policy_information, solve
from whichpairs.design.problem.shards import Shards
from whichpairs.errors import UserError


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.data())
def test_rows_of_shards_are_the_rows_of_the_whole(sizes, data) -> None:
    whole = np.random.default_rng(0).standard_normal((sum(sizes), 3)).astype(np.float16)
    shards = Shards(np.split(whole, np.cumsum(sizes)[:-1]))
    assert (len(shards), shards.shape, shards.dtype) == (len(whole), whole.shape, whole.dtype)
    first, last = (data.draw(st.integers(0, len(whole))) for _ in range(2))
    assert np.array_equal(shards[first:last], whole[first:last])
    assert np.array_equal(shards[first:last:2], whole[first:last:2])
    if len(whole):
        rows = data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=6))
        rows = np.array(rows, np.int64)
        assert np.array_equal(shards[rows], whole[rows])
        assert np.array_equal(shards[rows[:, None]], whole[rows[:, None]])


def test_a_solve_over_shards_on_disk_is_the_solve_over_one_array(tmp_path: Path) -> None:
    space = make_space(400, 8, 5)
    paths = [tmp_path / f"{n}.npy" for n in range(3)]
    for path, part in zip(paths, np.split(space.features, [1000, 1003]), strict=True):
        np.save(path, part)
    apart = PairSpace(Shards.open(paths), space.starts)
    assert np.array_equal(policy_information(apart), policy_information(space))
    one, two = (solve(problem_on(s, 90, ridge=1e-3), FrankWolfe()) for s in (space, apart))
    assert one.pairs.tobytes() == two.pairs.tobytes()
    assert one.bound == two.bound


def test_shards_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="one width and one type; got 2 shards"):
        Shards([np.zeros((2, 3)), np.zeros((2, 4))])
    with pytest.raises(UserError, match="one width and one type; got 0 shards"):
        Shards([])
    bad = tmp_path / "bad.npy"
    bad.write_bytes(b"no array")
    with pytest.raises(UserError, match=r"a shard must be a \.npy file"):
        Shards.open([bad])
