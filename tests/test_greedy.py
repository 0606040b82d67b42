"""Three greedy methods against one slow reading of greedy: an explicit inverse and Python loops."""

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pools import all_pairs, make_space, ragged_space
from whichpairs.bench.methods import greedy_scan
from whichpairs.bench.methods.greedy import _Design, accelerated_greedy, lazy_greedy, naive_greedy
from whichpairs.bench.methods.greedy_scan import BATCH, Queue
from whichpairs.design import PairSpace
from whichpairs.errors import UserError

METHODS = [naive_greedy, accelerated_greedy, lazy_greedy]
WEIGHT = 0.0625

every = pytest.mark.parametrize("method", METHODS)


def plainly(space: PairSpace, base: np.ndarray, budget: int) -> tuple[np.ndarray, float]:
    """Of all candidates the largest log det, by loops; ties by key."""
    pairs, m, picks = all_pairs(space).tolist(), base.copy(), []
    phi = space.features.astype(np.float64)
    for _ in range(budget):
        inverse = np.linalg.inv(m)
        gains = []
        for i, j in pairs:
            z = phi[i] - phi[j]
            gains.append(np.log1p(WEIGHT * z @ inverse @ z))
        best = next(at for at, gain in enumerate(gains) if gain >= max(gains) * (1 - 1e-9))
        i, j = pairs.pop(best)
        picks.append((i, j))
        m = m + WEIGHT * np.outer(phi[i] - phi[j], phi[i] - phi[j])
    return np.array(picks), -np.linalg.slogdet(m)[1]


def some_base(dim: int, seed: int, ridge: float = 0.05) -> np.ndarray:
    root = np.random.default_rng([seed, 9]).standard_normal((dim, dim))
    return ridge * (np.eye(dim) + root @ root.T / dim)


tiny = st.tuples(
    st.lists(st.integers(1, 5), min_size=2, max_size=6).filter(lambda s: max(s) > 1),
    st.integers(1, 4),
    st.integers(0, 10_000),
)


@every
@settings(deadline=None, max_examples=40)
@given(tiny, st.data())
def test_every_method_picks_what_plain_greedy_picks(method, case, data) -> None:
    sizes, dim, seed = case
    eligible = np.array(
        data.draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes)))
    )
    eligible[np.argmax(sizes)] = True
    space = ragged_space(sizes, dim, seed, eligible=eligible)
    among = all_pairs(ragged_space(sizes, dim, seed))
    out = among[np.random.default_rng(seed).random(len(among)) < 0.2]
    if space.without(out).candidates:
        space = space.without(out)
    budget = data.draw(st.integers(1, space.candidates))
    base = some_base(dim, seed)
    picks, value = plainly(space, base, budget)
    run = method(space, base, WEIGHT, budget)
    assert run.finished
    np.testing.assert_array_equal(run.pairs, picks)
    assert run.value == pytest.approx(value, abs=1e-9)


@every
def test_many_picks_of_a_half_precision_pool(method) -> None:
    space = make_space(30, 6, 5, 3, steep=True)
    space = PairSpace((space.features * 3 + 50).astype(np.float16), space.starts)
    base = some_base(5, 3, ridge=1e-3)
    picks, value = plainly(space, base, 200)
    run = method(space, base, WEIGHT, 200)
    np.testing.assert_array_equal(run.pairs, picks)
    assert run.value == pytest.approx(value, abs=1e-8)


@every
def test_equal_gains_go_by_key(method) -> None:
    once = ragged_space([3, 4], 3, 1)
    phi = np.concatenate([once.features, once.features, once.features[:3]])
    space = PairSpace(phi, np.array([0, 3, 7, 10, 14, 17]))
    base = some_base(3, 1)
    picks, _ = plainly(space, base, 20)
    np.testing.assert_array_equal(method(space, base, WEIGHT, 20).pairs, picks)


@every
def test_what_only_rounding_tells_apart_goes_by_key(method) -> None:
    angles = np.random.default_rng(0).uniform(0, np.pi, 800)
    half = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    phi = np.stack([half, -half], axis=1).reshape(-1, 2)
    space = PairSpace(phi, np.arange(0, 1601, 2))
    assert method(space, np.eye(2), WEIGHT, 1).pairs.tolist() == [[0, 1]]


@every
def test_pairs_that_tell_nothing_go_by_key(method) -> None:
    space = PairSpace(np.ones((8, 2), np.float32), np.array([0, 4, 8]))
    space = space.without(np.array([[0, 2], [4, 5]]))
    run = method(space, np.eye(2), WEIGHT, 10)
    np.testing.assert_array_equal(run.pairs, all_pairs(space))


@every
def test_picks_do_not_depend_on_threads_or_blocks(method, monkeypatch) -> None:
    space, base = make_space(40, 5, 4, 7), some_base(4, 7)
    expected = method(space, base, WEIGHT, 50, threads=1).pairs
    monkeypatch.setattr(greedy_scan, "TILE", 16)
    monkeypatch.setattr(greedy_scan, "FILL", 10)
    monkeypatch.setattr("whichpairs.bench.methods.greedy.CHUNK", 7)
    np.testing.assert_array_equal(method(space, base, WEIGHT, 50, threads=3).pairs, expected)


@every
def test_a_deadline_leaves_the_first_picks(method, monkeypatch) -> None:
    space, base = make_space(10, 5, 4, 7), some_base(4, 7)
    whole = method(space, base, WEIGHT, 30)
    ticks = iter(range(10**6))
    monkeypatch.setattr(
        "whichpairs.bench.methods.greedy_scan.time.perf_counter", lambda: next(ticks)
    )
    none = method(space, base, WEIGHT, 30, threads=1, deadline_s=1)
    assert len(none.pairs) == 0
    assert not none.finished
    assert none.value == pytest.approx(-np.linalg.slogdet(base)[1])
    some = method(space, base, WEIGHT, 30, threads=1, deadline_s=60)
    assert 0 < len(some.pairs) < 30
    assert not some.finished
    np.testing.assert_array_equal(some.pairs, whole.pairs[: len(some.pairs)])


@pytest.mark.parametrize(("method", "sweeps"), [(naive_greedy, 10), (accelerated_greedy, 9)])
def test_work_is_counted(method, sweeps) -> None:
    space, base = make_space(50, 6, 4, 2), some_base(4, 2)
    run = method(space, base, WEIGHT, 10)
    assert run.evaluations == sweeps * space.all_pairs
    assert run.pairs_per_second == pytest.approx(run.evaluations / run.seconds_picks)


def test_lazy_greedy_counts_what_it_makes_anew(monkeypatch) -> None:
    made, plain = [], _Design.gains
    monkeypatch.setattr(_Design, "gains", lambda self, z: made.append(len(z)) or plain(self, z))
    space, base = make_space(500, 6, 4, 2), 100.0 * some_base(4, 2)
    run = lazy_greedy(space, base, WEIGHT, 20)
    assert run.evaluations == sum(made)
    assert 20 <= run.evaluations < 20 * space.all_pairs / 10


@every
@pytest.mark.parametrize("budget", [0, 11])
def test_a_budget_beyond_the_candidates_is_refused(method, budget) -> None:
    with pytest.raises(UserError, match="between 1 and the 10 candidate pairs"):
        method(make_space(1, 5, 2), np.eye(2), WEIGHT, budget)


@pytest.mark.slow
@given(st.integers(0, 10_000), st.integers(1, 300))
@settings(deadline=None, max_examples=60)
def test_the_queue_gives_the_largest_as_gains_fall(seed, count) -> None:
    rng = np.random.default_rng(seed)
    gains = np.exp2(rng.uniform(-60, 0, count)) * rng.integers(0, 2, count)
    bounds = np.nextafter(gains.astype(np.float32), np.float32(np.inf))
    queue = Queue(bounds, lambda ranks: 3 * ranks)
    for pick in range(count):
        key, _ = queue.best(pick, gains.repeat(3).take, 0.0)
        rank = key // 3
        assert rank == np.argmax(gains)
        gains *= rng.uniform(0.2, 1.0, count)
        gains[rank] = -1.0


def by_heap(gains: np.ndarray, falls: np.ndarray) -> int:
    """Gains that lazy greedy makes anew with a binary heap."""
    heap = [(-gain, key, -1) for key, gain in enumerate(gains)]
    heapq.heapify(heap)
    made, now = 0, gains.copy()
    for pick, fall in enumerate(falls):
        while heap[0][2] != pick:
            key = heapq.heappop(heap)[1]
            heapq.heappush(heap, (-now[key], key, pick))
            made += 1
        heapq.heappop(heap)
        now *= fall
    return made


@pytest.mark.parametrize(("spread", "fall"), [(0.001, 0.9999), (0.3, 0.99), (8.0, 0.5)])
def test_the_queue_makes_few_more_than_a_heap(spread, fall) -> None:
    rng = np.random.default_rng(0)
    gains = np.exp(-spread * rng.random(5000))
    falls = rng.uniform(fall, 1.0, (40, 5000))
    queue, now, made = Queue(gains.astype(np.float32) * np.float32(1.0001), np.asarray), gains, 0
    for pick in range(40):
        made += queue.best(pick, now.take, 0.0)[1]
        now = now * falls[pick]
    assert made <= 2 * by_heap(gains, falls) + 40 * BATCH
