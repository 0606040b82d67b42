"""Passes: a kernel may let too much through and never too little; float64 decides, whoever computes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from kernels import KERNELS, BareTiles
from pools import all_pairs, make_space, ragged_space
from whichpairs.design import PairSpace, PairWeights
from whichpairs.design.exact.products import squared_lengths
from whichpairs.design.problem.limits import Groups, Limits
from whichpairs.design.sweep.kernel import Block, Kernel
from whichpairs.design.sweep.sweep import Known, Sweep, exact_scores, growth
from whichpairs.engine.kernels.choose import tiles_kernel
from whichpairs.engine.kernels.tiles import arithmetic, has_tiles, nearest_bf16

both = pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)


@st.composite
def blocks(draw) -> tuple[Block, np.ndarray]:
    """A block of ragged prompts (features shifted, scaled, repeated) and a factor, often nearly singular.
    Scores stay within float32's range."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    size = st.one_of(st.integers(1, 6), st.sampled_from([15, 16, 17, 32, 33, 50]))
    sizes = draw(st.lists(size, min_size=1, max_size=6))
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    wide = st.one_of(st.integers(1, 6), st.sampled_from([31, 33, 70]))
    dim, rank = draw(wide), draw(wide)
    grid = draw(st.booleans())
    phi = rng.integers(0, 2, (starts[-1], dim)) if grid else rng.standard_normal((starts[-1], dim))
    phi = phi + draw(st.sampled_from([0.0, 0.0, 30.0, 1e3])) * rng.standard_normal(dim)
    kind = draw(st.sampled_from(["f2", "f4", "f8"]))
    scale = 1.0 if kind == "f2" else 10.0 ** draw(st.integers(-8, 6))
    factor = rng.standard_normal((dim, rank)) * 10.0 ** draw(st.integers(-8, 8))
    factor *= 10.0 ** -rng.uniform(0, draw(st.sampled_from([0, 4, 8])), (dim, 1))
    costs = rng.uniform(0.1, 3.0, starts[-1]) if draw(st.booleans()) else None
    phi = (phi * scale).astype(kind)
    longest = None
    if draw(st.booleans()):
        longest = float(np.linalg.norm(phi.astype(float), axis=1).max()) * (1 + 1e-6)
    return Block(phi, starts, np.zeros(len(sizes)), costs, longest), factor


def plain_ratios(block: Block, factor: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs, prompts and score ÷ cost, in float64."""
    phi = block.phi.astype(np.float64)
    pairs = all_pairs(PairSpace(phi, block.starts))
    ratios = (((phi[pairs[:, 0]] - phi[pairs[:, 1]]) @ factor) ** 2).sum(axis=1)
    if block.costs is not None:
        ratios /= block.costs[pairs].sum(axis=1)
    return pairs, np.searchsorted(block.starts, pairs[:, 0], side="right") - 1, ratios


@pytest.mark.slow
@both
def test_every_pair_that_reaches_the_floor_gets_through(kernel: Kernel) -> None:
    @settings(deadline=None, max_examples=300)
    @given(blocks(), st.data())
    def holds(case, data) -> None:
        block, factor = case
        pairs, prompts, ratios = plain_ratios(block, factor)
        if not len(pairs):
            return
        floor = data.draw(st.sampled_from([0.0, *sorted(set(ratios.tolist()))]))
        floors = np.where(np.arange(len(block.floors)) % 3 == 2, 0.0, floor)
        with kernel.mapped(factor) as mapped:
            found = mapped.scan(Block(block.phi, block.starts, floors, block.costs, block.longest))
        assert (found.i < found.j).all()
        through = set(zip(found.i.tolist(), found.j.tolist(), strict=True))
        assert len(through) == len(found.i)
        reaches = ratios >= floors[prompts]
        assert {tuple(pair) for pair in pairs[reaches].tolist()} <= through
        assert (found.tops[prompts] >= ratios * (1 - 1e-12)).all()
        used = np.unique(pairs)
        longest = np.linalg.norm(block.phi[used].astype(float), axis=1).max()
        assert found.longest >= longest * (1 - 1e-6)

    holds()


@both
def test_a_pair_whose_score_underflows_gets_through(kernel: Kernel) -> None:
    phi = np.array([[1.3e-5, 0.0], [-1.3e-5, 2e-5]], np.float32)
    factor = np.diag([3e-16, 1e-20])
    floor = float((((phi[0] - phi[1]).astype(float) @ factor) ** 2).sum())
    for floors in (floor, 1e-3 * floor):
        with kernel.mapped(factor) as mapped:
            found = mapped.scan(Block(phi, np.array([0, 2]), np.array([floors])))
        assert (found.i.tolist(), found.j.tolist()) == ([0], [1])
        assert found.tops[0] >= floor


@both
def test_a_kernel_lets_little_more_through(kernel: Kernel) -> None:
    """In a well-behaved block, only pairs within rounding of the floor."""
    space = make_space(200, 8, 16)
    block = Block(space.features, space.starts, np.full(200, 40.0))
    pairs, _, ratios = plain_ratios(block, np.eye(16))
    with kernel.mapped(np.eye(16)) as mapped:
        found = mapped.scan(block)
    near, share = (38.5, 0.05) if kernel.name.endswith("bf16") else (39.99, 1e-3)
    assert np.count_nonzero(ratios >= 40.0) <= len(found.i) <= np.count_nonzero(ratios >= near)
    tops = np.maximum.reduceat(ratios, np.arange(0, len(pairs), 28))
    assert np.allclose(found.tops, tops, rtol=share)


@pytest.mark.slow
@both
def test_large_prompts_and_many_survivors(kernel: Kernel) -> None:
    """Prompts of several hundred completions between small ones, d no multiple of anything, floor 0."""
    rng = np.random.default_rng(0)
    sizes = [2, 300, 1, 14, 40, 256, 3, 3, 17, 520, 16, 5]
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    phi = rng.standard_normal((starts[-1], 45)).astype(np.float16)
    factor = rng.standard_normal((45, 50))
    pairs, prompts, ratios = plain_ratios(Block(phi, starts, np.zeros(12)), factor)
    for floor in (0.0, float(np.sort(ratios)[-50])):
        with kernel.mapped(factor) as mapped:
            found = mapped.scan(Block(phi, starts, np.full(12, floor)))
        reaches = ratios >= floor
        through = set(zip(found.i.tolist(), found.j.tolist(), strict=True))
        assert {tuple(pair) for pair in pairs[reaches].tolist()} <= through
        assert len(through) == len(found.i) <= max(1.3 * reaches.sum() + 50, len(pairs))
        assert len(pairs) > 150_000
        tops = np.zeros(12)
        np.maximum.at(tops, prompts, ratios)
        assert (found.tops >= tops).all()
        assert np.allclose(found.tops[tops > 0], tops[tops > 0], rtol=0.1)


@both
def test_what_is_no_number_gets_through(kernel: Kernel) -> None:
    rng = np.random.default_rng(0)
    for what in (np.nan, np.inf):
        phi = rng.standard_normal((60, 5)).astype(np.float32)
        phi[7] = what
        block = Block(phi, np.array([0, 20, 40, 60]), np.full(3, 1e30), longest=10.0)
        with kernel.mapped(np.eye(5)) as mapped, np.errstate(all="ignore"):
            found = mapped.scan(block)
        through = set(zip(found.i.tolist(), found.j.tolist(), strict=True))
        unknown = {(i, 7) for i in range(7)} | {(7, i) for i in range(8, 20)}
        assert unknown <= through
        assert not found.tops[0] < np.inf


@both
def test_features_halfway_between_two_numbers_of_bf16(kernel: Kernel) -> None:
    """Where rounding is worst: prompts of two opposite rows, each number a tie, the floor at the pair."""
    rng = np.random.default_rng(0)
    for case in range(600):
        dim, rank = 1 + case % 3, 1 + case // 3 % 3
        row = (1.0 + 2.0**-7 * rng.integers(0, 4, dim) + 2.0**-8) * 2.0 ** rng.integers(-3, 3, dim)
        row, factor = row * rng.choice([-1.0, 1.0], dim), np.ones((dim, rank))
        if case % 2:
            factor = rng.choice([-1.0, 1.0], (dim, rank)) * (1.0 + 2.0**-8)
        phi = np.stack([row, -rng.choice([1.0, 0.9]) * row]).astype(np.float16)
        score = float((((phi[0].astype(float) - phi[1]) @ factor) ** 2).sum())
        with kernel.mapped(factor) as mapped:
            found = mapped.scan(Block(phi, np.array([0, 2]), np.array([score])))
        assert (found.i.tolist(), found.j.tolist()) == ([0], [1])
        assert found.tops[0] >= score


@both
@pytest.mark.parametrize("factor", [np.zeros((4, 0)), np.zeros((4, 2)), np.full((4, 2), 1e39)])
def test_factors_of_nothing_and_of_too_much(kernel: Kernel, factor: np.ndarray) -> None:
    if kernel.name.startswith("tiles alone"):
        return
    block = Block(np.eye(4, dtype=np.float32), np.array([0, 4]), np.zeros(1))
    with np.errstate(all="ignore"), kernel.mapped(factor) as mapped:
        assert len(mapped.scan(block).i) == 6


@pytest.mark.skipif(not has_tiles(), reason="this processor has no matrix tiles")
@pytest.mark.parametrize("costly", [False, True])
def test_c_asks_of_a_pair_what_the_bound_says(costly: bool) -> None:
    """h in bf16 by a plain twin; what gets through is what `Error` says, every number of it made large
    enough to be seen, but for ties."""
    rng = np.random.default_rng(0)
    phi, factor = rng.standard_normal((4000, 40)).astype(np.float16), rng.standard_normal((40, 40))
    floor = 4000.0 if costly else 7000.0
    starts, costs = np.arange(0, 4001, 8), rng.uniform(0.5, 2.0, 4000)
    mapped = (in_bf16(phi.astype(np.float32)) @ in_bf16(factor)).astype(np.float32)
    h = in_bf16(mapped)
    longest = float(np.linalg.norm(phi.astype(float), axis=1).max())
    block = Block(phi, starts, np.full(500, floor), costs if costly else None, longest)
    pairs, prompts, _ = plain_ratios(block, factor)
    seen = ((h[pairs[:, 0]] - h[pairs[:, 1]]) ** 2).sum(axis=1).astype(np.float32)
    reach = np.sqrt((h**2).sum(axis=1).reshape(500, 8).max(axis=1))
    lengths = np.linalg.norm(phi.astype(float) * np.linalg.norm(factor, axis=1), axis=1)
    weighted = lengths.reshape(500, 8).max(axis=1)
    error = arithmetic(factor).error._replace(
        root_lost=0.4, flushed=0.2, gram=0.02, gram_lost=30.0, map=0.3, map_lost=0.2
    )
    bounds = [error.rounding(longest, *x) for x in zip(reach.tolist(), weighted, strict=True)]
    most = np.array([bounds[p].most(seen[k : k + 1]) for k, p in enumerate(prompts)])
    ratios = most[:, 0].astype(float)
    if costly:
        ratios = ratios / costs[pairs].sum(axis=1)
    with BareTiles().mapped(factor) as mapped:
        found = replace(mapped, error=np.array(error)).scan(block)
    through = set(zip(found.i.tolist(), found.j.tolist(), strict=True))
    near = 1e-4 * floor
    assert {tuple(pair) for pair in pairs[ratios > floor + near].tolist()} <= through
    assert through <= {tuple(pair) for pair in pairs[ratios > floor - near].tolist()}
    assert 30 < len(through) < len(pairs) / 2


def in_bf16(x: np.ndarray) -> np.ndarray:
    """The nearest bf16, by torch."""
    return torch.from_numpy(x.astype(np.float32)).to(torch.bfloat16).to(torch.float64).numpy()


def test_bits_of_bf16_are_torchs() -> None:
    x = np.random.default_rng(0).standard_normal((50, 7)) * 10.0 ** np.arange(-30, 33, 9)
    x[0], x[1, 0] = 0.0, 1.0 + 2.0**-8  # a tie
    bits = torch.from_numpy(x.astype(np.float32)).to(torch.bfloat16).view(torch.uint16).numpy()
    assert np.array_equal(nearest_bf16(x), bits)


@pytest.mark.skipif(not has_tiles(), reason="this processor has no matrix tiles")
def test_where_bf16_is_too_coarse_float32_goes_on() -> None:
    """Features far longer than what the factor leaves of them: from the first block that shows it."""
    rng = np.random.default_rng(0)
    turned, _ = np.linalg.qr(rng.standard_normal((8, 8)))
    factor = turned * ([1.0] * 3 + [1e-4] * 5)
    near = rng.standard_normal((4000, 8))
    for phi, coarse in ((near, False), (near + 300.0 * turned[:, 7], True)):
        space = PairSpace(phi.astype(np.float32), np.arange(0, 4001, 8))
        scores = exact_scores(space, all_pairs(space), factor, PairWeights(1.0))
        floors = np.full(500, 4.0 * float(np.sort(scores)[-100]))  # without β² ÷ 4
        kernel = tiles_kernel()
        with kernel.mapped(factor) as mapped:
            found = mapped.scan(Block(space.features, space.starts, floors))
            assert mapped.coarse == coarse
            again = mapped.scan(Block(space.features, space.starts, floors))
        assert 100 <= len(again.i) <= len(found.i) < 300
        with kernel.mapped(factor) as mapped:
            assert hasattr(mapped, "coarse") != coarse  # the next pass begins with another kernel


@pytest.mark.skipif(not has_tiles(), reason="this processor has no matrix tiles")
def test_where_many_pairs_reach_the_floor_few_blocks_are_scanned_twice() -> None:
    space = make_space(200, 8, 16)
    block, asked = Block(space.features, space.starts, np.full(200, 1e-3)), []
    with tiles_kernel().mapped(np.eye(16)) as mapped:
        finer = mapped.finer
        mapped.finer = type(
            "Counted", (), {"scan": lambda _, b: (asked.append(1), finer.scan(b))[1]}
        )()
        found = [len(mapped.scan(block).i) for _ in range(100)]
        assert set(found) == {5600}
        assert len(asked) == 7  # the 1st, 2nd, 4th … 64th
        assert not mapped.coarse


def twin_space(seed: int, dim: int, kind: str) -> PairSpace:
    """600 prompts of 3 to 7 of which many are copies of one another: scores tie exactly."""
    rng = np.random.default_rng(seed)
    kinds = rng.standard_normal((15, 7, dim)).astype(kind)
    which, sizes = rng.integers(0, 3, 600), np.resize([7, 3, 5, 4, 6], 600)
    rows = [kinds[w + 3 * (m - 3), :m] for w, m in zip(which, sizes, strict=True)]
    return PairSpace(np.concatenate(rows), np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    "limits",
    [
        Limits(),
        Limits(per_prompt=2),
        Limits(row_costs=1.0 + np.arange(3000) % 3),
        Limits(groups=Groups(("a", "b"), np.arange(600) % 3 - 1, np.zeros(2), np.ones(2))),
    ],
    ids=["none", "per_prompt", "costs", "groups"],
)
def test_kernels_threads_and_blocks_change_nothing(kind: str, limits: Limits, monkeypatch) -> None:
    """… of what a pass keeps, ties included."""
    found = set()
    for number, rows in ((2**21, 32768), (1, 7), (2, 100)):
        monkeypatch.setattr(PairSpace, "block_rows", property(lambda self, rows=rows: rows))
        for kernel in KERNELS:
            space = twin_space(1, 6, kind)
            sweep = Sweep(space, PairWeights(0.7), limits, kernel, threads=min(number, 2))
            heaps = 1 if limits.groups is None else 3
            factor = np.random.default_rng(2).standard_normal((6, 4))
            best = sweep(factor, np.full(heaps, 500), np.zeros(heaps))
            found.add((best.pairs.tobytes(), best.scores.tobytes(), best.ceilings.tobytes()))
            assert len(best.pairs) == 500 * heaps
    assert len(found) == 1


def test_a_pass_keeps_the_best_of_each_group_by_score_and_cost() -> None:
    rng = np.random.default_rng(3)
    space = ragged_space([5, 3, 1, 6, 4, 2, 5], 3, 3)
    groups = Groups(("a", "b"), np.array([0, 1, 0, -1, 1, 0, 0]), np.zeros(2), np.ones(2))
    limits = Limits(row_costs=rng.uniform(0.5, 2.0, space.rows), groups=groups)
    factor, pairs = rng.standard_normal((3, 3)), all_pairs(space)
    weights = PairWeights(0.7, rng.standard_normal(3), rng.standard_normal((3, 2)))
    ratios = exact_scores(space, pairs, factor, weights) / limits.costs(pairs)
    heap = groups.of[np.searchsorted(space.starts, pairs[:, 0], side="right") - 1] % 3
    keep, floors = np.array([4, 6, 2]), np.array([0.0, np.median(ratios), 0.0])
    best = Sweep(space, weights, limits)(factor, keep, floors)
    keys = set(space.keys(best.pairs).tolist())
    for h in range(3):
        inside = np.flatnonzero((heap == h) & (ratios >= floors[h]))
        expected = inside[np.argsort(-ratios[inside])][: keep[h]]
        assert set(space.keys(pairs[expected]).tolist()) <= keys
        keys -= set(space.keys(pairs[expected]).tolist())
        outside = np.setdiff1d(np.flatnonzero(heap == h), expected)
        assert best.ceilings[h] >= ratios[outside].max(initial=0.0)
    assert not keys


@pytest.mark.slow
@both
def test_screening_hides_no_pair_that_reaches_the_floor(kernel: Kernel) -> None:
    """With factors that change, ill-conditioned and rank-deficient ones among them."""

    @settings(deadline=None, max_examples=60)
    @given(st.integers(0, 10_000), st.integers(1, 5), st.sampled_from([0, 3, 6]), st.booleans())
    def holds(seed: int, rank: int, spread: int, costly: bool) -> None:
        rng = np.random.default_rng(seed)
        space = ragged_space(rng.integers(1, 6, 30).tolist(), 5, seed)
        limits = Limits(row_costs=rng.uniform(0.5, 2.0, space.rows)) if costly else Limits()
        sweep = Sweep(space, PairWeights(0.7), limits, kernel)
        old = rng.standard_normal((5, rank)) * 10.0 ** -rng.uniform(0, spread, (5, 1))
        new = old * rng.choice([0.5, 1.0, 2.0]) + rng.choice([0.0, 0.1]) * rng.standard_normal(
            (5, rank)
        )
        every = np.array([space.candidates])
        known = sweep(old, every, np.zeros(1)).known.grown(growth(new @ new.T, old @ old.T))
        pairs = all_pairs(space)
        ratios = exact_scores(space, pairs, new, sweep.weights) / limits.costs(pairs)
        floor = np.sort(ratios)[-max(len(pairs) // 10, 1)]
        best = sweep(new, every, np.array([floor]), known)
        expected = pairs[ratios >= floor]
        assert set(space.keys(best.pairs).tolist()) == set(space.keys(expected).tolist())

    holds()


def test_screening_saves_reading_where_little_changed() -> None:
    space = make_space(500, 6, 4)
    factor = np.eye(4)
    best = Sweep(space, PairWeights(1.0))(factor, np.array([100]), np.zeros(1))
    known = best.known.grown(growth(1.01 * np.eye(4), np.eye(4)))
    again = Sweep(space, PairWeights(1.0))(factor, np.array([100]), best.ceilings, known)
    assert np.array_equal(again.pairs, best.pairs)
    assert again.visited < 120 < best.visited == 500


def test_growth_is_the_largest_generalised_eigenvalue() -> None:
    assert growth(np.diag([2.0, 9.0]), np.diag([1.0, 3.0])) == pytest.approx(3.0, rel=1e-5)
    assert growth(np.eye(2), np.diag([1.0, 0.0])) == np.inf
    known = Known(np.array([0.0, 1.0, np.inf], np.float32), 1.0)
    assert known.grown(3.0).tops[1] >= 3.0
    assert known.grown(np.inf).tops.tolist() == [np.inf] * 3


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 600), st.sampled_from([1, 3, 33, 64, 257, 300]))
def test_lengths_do_not_depend_on_the_rows_beside(seed: int, rows: int, dim: int) -> None:
    rng = np.random.default_rng(seed)
    z, factor = rng.standard_normal((rows, dim)), rng.standard_normal((dim, dim))
    order = rng.permutation(rows)[: rng.integers(1, rows + 1)]
    with threadpool_limits(1):
        lengths = squared_lengths(z, factor)
        assert squared_lengths(z[order], factor).tobytes() == lengths[order].tobytes()
    assert np.allclose(lengths, ((z @ factor) ** 2).sum(axis=1), rtol=1e-12)


def test_weights_do_not_depend_on_the_rows_beside() -> None:
    rng = np.random.default_rng(0)
    z = rng.standard_normal((600, 33))
    weights = PairWeights(1.0, rng.standard_normal(33), rng.standard_normal((33, 33)))
    with threadpool_limits(1):
        for _ in range(10):
            order = rng.permutation(600)[: rng.integers(1, 600)]
            assert weights(z[order]).tobytes() == weights(z)[order].tobytes()


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_a_belief_misses_no_pair_of_features_far_from_0(kind: str) -> None:
    rng = np.random.default_rng(0)
    phi = rng.standard_normal((400, 8)) + 1e6 * rng.standard_normal(8)
    space = PairSpace(phi.astype(kind), np.arange(0, 401, 5))
    weights = PairWeights(1.0, rng.standard_normal(8), rng.standard_normal((8, 8)))
    pairs, factor = all_pairs(space), rng.standard_normal((8, 8))
    scores = exact_scores(space, pairs, factor, weights)
    floor = np.sort(scores)[-50] * (1 - 1e-9)
    best = Sweep(space, weights)(factor, np.array([800]), np.array([floor]))
    assert set(space.keys(pairs[scores > floor]).tolist()) <= set(space.keys(best.pairs).tolist())
