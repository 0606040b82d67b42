"""Rivals keep the rules of the bench, and each picks what a slow reading of its paper picks."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import digamma, entr, expit

from pools import all_pairs, ragged_space
from whichpairs.bench.methods import rank_all as rivals
from whichpairs.bench.methods.per_prompt import QUANTILE
from whichpairs.bench.methods.rank_all import ADAPTIVE, RIVALS
from whichpairs.bench.methods.turn import Desk, _check, run
from whichpairs.bench.pools.simulated_pool import World
from whichpairs.design.batches import random as baselines

SIZES = [5, 1, 4, 2, 6, 3, 4, 4]
BETA = 0.5


def make_world(sizes=SIZES, dim=3, seed=0, held_out=2) -> World:
    rng = np.random.default_rng([seed, 1])
    eligible = np.arange(len(sizes)) < len(sizes) - held_out
    space = ragged_space(sizes, dim, seed, eligible=eligible)
    reward = space.features @ rng.standard_normal(dim) * 1.5
    return World("ragged", space, reward, BETA, rng.uniform(0.5, 2.0, space.rows), ~eligible)


def make_desk(world: World, labels: int, seed: int = 0) -> Desk:
    """A desk after one random round."""
    asked, wins = np.empty((0, 2), np.int64), np.empty(0)
    if labels:
        asked = baselines.random_pairs(world.space, labels, np.random.default_rng(seed))
        wins = world.answers(asked, seed)
    return Desk(world, asked, wins, seed, int(labels > 0))


def with_heads(sizes, heads: np.ndarray, seed: int = 0) -> Desk:
    """A desk whose ensemble is given, (heads, rows)."""
    world = make_world(sizes, held_out=0)
    desk = Desk(world, np.empty((0, 2), np.int64), np.empty(0), seed, 0)
    desk.__dict__["heads"] = heads
    return desk


def as_set(pairs) -> set[tuple[int, int]]:
    return {(int(min(p)), int(max(p))) for p in pairs}


def by_prompt(desk: Desk) -> list[list[tuple[int, int]]]:
    pairs = [tuple(p) for p in all_pairs(desk.space).tolist()]
    prompt = np.searchsorted(desk.space.starts, [i for i, _ in pairs], side="right") - 1
    return [[p for p, x in zip(pairs, prompt, strict=True) if x == q] for q in np.unique(prompt)]


def best_of_each(desk: Desk, score) -> set[tuple[int, int]]:
    return {max(pairs, key=lambda p: score(*p)) for pairs in by_prompt(desk)}


def best(desk: Desk, count: int, score) -> set[tuple[int, int]]:
    pairs = [tuple(p) for p in all_pairs(desk.space).tolist()]
    return set(sorted(pairs, key=lambda p: -score(*p))[:count])


def z_of(desk: Desk, i: int, j: int) -> np.ndarray:
    phi = desk.space.features.astype(np.float64)
    return phi[i] - phi[j]


def plain_bands(desk: Desk) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread of the rewards, centred within every prompt."""
    heads = desk.heads.copy()
    for lo, hi in itertools.pairwise(desk.space.starts):
        for head in heads:
            if hi > lo:
                head[lo:hi] -= head[lo:hi].mean()
    return heads.mean(axis=0), heads.std(axis=0)


# The rules of the bench.


@pytest.mark.parametrize("name", RIVALS)
def test_three_rounds_until_nothing_is_left(name: str) -> None:
    world = make_world()
    steps = run(world, RIVALS[name], [7, 19, 35], seed=1)  # 35: every pair there is
    assert [step.labels for step in steps] == [7, 19, 35]


@given(
    sizes=st.lists(st.integers(0, 6), min_size=2, max_size=7),
    seed=st.integers(0, 99),
    share=st.floats(0.0, 1.0),
)
@settings(max_examples=12, deadline=None)
@pytest.mark.slow
def test_any_ragged_pool_and_budget(sizes: list[int], seed: int, share: float) -> None:
    world = make_world([3, *sizes, 4], seed=seed, held_out=1)
    labels = int(share * (world.space.candidates - 1))
    for method in RIVALS.values():
        desk = make_desk(world, labels, seed)
        budget = max(1, int((1.0 - share) * desk.space.candidates))
        _check(desk.space, np.sort(method(desk, budget), axis=1), budget)


@pytest.mark.parametrize("name", RIVALS)
def test_a_seed_fixes_the_picks(name: str) -> None:
    world = make_world()
    one, two = (RIVALS[name](make_desk(world, 6), 9) for _ in range(2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", ["near-tie", "certainty", "best-vs-worst"])
def test_margins_tie_at_random_before_the_first_label(name: str) -> None:
    world = make_world()
    picks = [as_set(RIVALS[name](make_desk(world, 0, seed), 5)) for seed in range(60)]
    assert set.union(*picks) == as_set(all_pairs(world.space))


@pytest.mark.parametrize("name", RIVALS)
def test_adaptive_are_those_that_look_at_answers(name: str) -> None:
    """Answers turned round change what an adaptive rule picks somewhere, and nothing of another."""
    changed = False
    for seed in range(6):
        world = make_world([6] * 8, seed=seed)
        one, two = make_desk(world, 25, seed), make_desk(world, 25, seed)
        two.wins = np.roll(1.0 - two.wins, 3)
        changed |= as_set(RIVALS[name](one, 3)) != as_set(RIVALS[name](two, 3))
    assert changed == (name in ADAPTIVE)


# Rules that rank all pairs.


def fisher(desk: Desk, i: int, j: int) -> float:
    p = float(expit(BETA * z_of(desk, i, j) @ desk.theta))
    return BETA**2 * p * (1.0 - p)


@pytest.fixture(params=range(4))
def desk(request) -> Desk:
    return make_desk(make_world(seed=request.param), 8, request.param)


def test_farthest(desk: Desk) -> None:
    expected = best(desk, 6, lambda i, j: float(np.linalg.norm(z_of(desk, i, j))))
    assert as_set(RIVALS["farthest"](desk, 6)) == expected


def test_near_tie_and_certainty_are_the_two_ends_of_the_margin(desk: Desk) -> None:
    def margin(i: int, j: int) -> float:
        return abs(float(z_of(desk, i, j) @ desk.theta))

    assert as_set(RIVALS["certainty"](desk, 6)) == best(desk, 6, margin)
    assert as_set(RIVALS["near-tie"](desk, 6)) == best(desk, 6, lambda i, j: -margin(i, j))


def test_apo(desk: Desk) -> None:
    v = desk.world.prior / BETA**2 + sum(np.outer(z, z) for z in desk.z)
    inverse = np.linalg.inv(v)
    expected = best(desk, 7, lambda i, j: z_of(desk, i, j) @ inverse @ z_of(desk, i, j))
    assert as_set(RIVALS["apo"](desk, 7)) == expected


def test_activedpo_makes_v_anew_after_every_batch(desk: Desk) -> None:
    v = desk.world.prior / BETA**2 + sum(np.outer(z, z) for z in desk.z)
    left = [tuple(p) for p in all_pairs(desk.space).tolist()]
    picked: list[tuple[int, int]] = []
    for _ in range(rivals.BATCHES):
        inverse = np.linalg.inv(v)
        left.sort(key=lambda p: -(z_of(desk, *p) @ inverse @ z_of(desk, *p)))
        batch, left = left[:2], left[2:]
        v = v + sum(np.outer(z_of(desk, *p), z_of(desk, *p)) for p in batch)
        picked += batch
    assert as_set(RIVALS["activedpo"](desk, 2 * rivals.BATCHES)) == set(picked)
    assert set(picked) != as_set(RIVALS["apo"](desk, 2 * rivals.BATCHES))


@pytest.mark.parametrize("past", [False, True])
def test_arm_fi_is_the_gradient_of_log_det(desk: Desk, past: bool) -> None:
    pairs = [tuple(p) for p in all_pairs(desk.space).tolist()]
    budget = 6
    info = {p: fisher(desk, *p) * np.outer(z_of(desk, *p), z_of(desk, *p)) for p in pairs}
    ground = desk.fit.strength * desk.world.prior
    if past:
        for pair in desk.asked.tolist():
            ground = ground + fisher(desk, *pair) * np.outer(z_of(desk, *pair), z_of(desk, *pair))
    m = ground + budget / len(pairs) * sum(info.values())

    def gradient(i: int, j: int, step: float = 1e-5) -> float:
        return float(np.linalg.slogdet(m + step * info[i, j])[1] / step)

    name = "arm-fi-past" if past else "arm-fi"
    assert as_set(RIVALS[name](desk, budget)) == best(desk, budget, gradient)


@pytest.mark.parametrize("working", [1, 3, 8192])
def test_adpo_is_greedy_with_explicit_determinants(desk: Desk, working: int, monkeypatch) -> None:
    monkeypatch.setattr(rivals, "WORKING_SET", working)
    left = [tuple(p) for p in all_pairs(desk.space).tolist()]
    m = desk.fit.strength * desk.world.prior
    for pair in desk.asked.tolist():
        m = m + fisher(desk, *pair) * np.outer(z_of(desk, *pair), z_of(desk, *pair))
    picked = []
    for _ in range(10):
        after = {p: m + fisher(desk, *p) * np.outer(z_of(desk, *p), z_of(desk, *p)) for p in left}
        chosen = max(left, key=lambda p: np.linalg.slogdet(after[p])[1])
        m = after[chosen]
        left.remove(chosen)
        picked.append(chosen)
    np.testing.assert_array_equal(RIVALS["adpo"](desk, 10), picked)


def plain_bald(desk: Desk, i: int, j: int) -> float:
    p = expit(desk.heads[:, i] - desk.heads[:, j])

    def h(q: np.ndarray) -> np.ndarray:
        return entr(q) + entr(1.0 - q)

    return float(h(p.mean()) - h(p).mean())


def test_bald(desk: Desk) -> None:
    expected = [plain_bald(desk, *p) for p in all_pairs(desk.space).tolist()]
    np.testing.assert_allclose(rivals.bald(desk), expected, atol=2e-6)


def test_bal_pm_is_greedy_over_disagreement_and_prompt_entropy(monkeypatch) -> None:
    monkeypatch.setattr(rivals, "NEIGHBOURS", 2)
    desk = make_desk(make_world([4] * 9, held_out=0), 6)
    groups = by_prompt(desk)
    phi = desk.space.features.astype(np.float64).reshape(9, 4, 3)
    shape = np.sqrt(((phi - phi.mean(axis=1, keepdims=True)) ** 2).mean(axis=1))
    shape /= shape.std(axis=0)
    apart = np.array([[np.linalg.norm(a - b) for b in shape] for a in shape])
    reach = np.sort(apart, axis=1)[:, 2]
    acquired = desk.prompts.tolist()

    def news(x: int) -> float:
        n = sum(x == y or apart[x, y] < reach[x] for y in acquired)
        return float(np.log(reach[x]) - digamma(n + 1) / 3)

    score = {p: plain_bald(desk, *p) for group in groups for p in group}
    scale = np.std([max(score[p] for p in g) for g in groups]) / np.std([news(x) for x in range(9)])
    picked = []
    for _ in range(12):
        value = [max(score[p] for p in groups[x]) + scale * news(x) for x in range(9)]
        x = int(np.argmax(value))
        pair = max(groups[x], key=score.__getitem__)
        groups[x].remove(pair)
        acquired.append(x)
        picked.append(pair)
    np.testing.assert_array_equal(RIVALS["bal-pm"](desk, 12), picked)


# Rules that go from prompt to prompt.


def test_best_vs_worst_is_the_slow_one_of_the_baselines(desk: Desk) -> None:
    reward = desk.space.features @ desk.theta
    for budget in (5, 8):  # prompts have 5 pairs and more between them, but for one
        ours = RIVALS["best-vs-worst"](desk, desk.space.candidates)[:budget]
        sizes = Counter(np.searchsorted(desk.space.starts, ours[:, 0], side="right").tolist())
        for prompt, count in sizes.items():
            pairs = next(
                g
                for g in by_prompt(desk)
                if np.searchsorted(desk.space.starts, g[0][0], side="right") == prompt
            )
            widest = sorted(pairs, key=lambda p: -abs(reward[p[0]] - reward[p[1]]))[:count]
            assert set(widest) <= as_set(ours)
    groups = len(by_prompt(desk))
    slow = baselines.best_versus_worst(desk.space, groups, np.random.default_rng(0), reward)
    assert as_set(RIVALS["best-vs-worst"](desk, groups)) == as_set(slow)


@pytest.mark.parametrize("seed", range(4))
def test_entropy_goes_by_the_policy(seed: int) -> None:
    desk = make_desk(make_world([4] * 9, seed=seed), 8, seed)
    policy = desk.world.reference * np.exp(desk.space.features.astype(np.float64) @ desk.theta)

    def h(pairs: list[tuple[int, int]]) -> float:
        prompt = int(np.searchsorted(desk.space.starts, pairs[0][0], side="right")) - 1
        p = policy[desk.space.starts[prompt] : desk.space.starts[prompt + 1]]
        p = p / p.sum()
        return float(-(p * np.log(p)).sum())

    order = sorted(by_prompt(desk), key=h, reverse=True)
    picked = RIVALS["entropy"](desk, len(order)).tolist()
    assert all(tuple(p) in pairs for p, pairs in zip(picked, order, strict=True))


def test_entropy_draws_the_pair_at_random() -> None:
    world = make_world([5, 2], held_out=0)
    seen = {tuple(RIVALS["entropy"](make_desk(world, 0, s), 1)[0].tolist()) for s in range(80)}
    assert seen == set(itertools.combinations(range(5), 2))


@pytest.fixture(params=range(12))
def ensemble(request) -> Desk:
    """Rewards of which some are far surer than others."""
    rng = np.random.default_rng([request.param, 9])
    sizes = [5, 1, 7, 2, 4, 0, 6]
    rows = sum(sizes)
    mean, spread = rng.standard_normal(rows), rng.choice([0.05, 0.5, 2.0], rows)
    return with_heads(sizes, mean + spread * rng.standard_normal((20, rows)))


def test_delta_ucb(ensemble: Desk) -> None:
    r, s = plain_bands(ensemble)
    expected = best_of_each(
        ensemble,
        lambda i, j: max(r[i] + s[i] - (r[j] - s[j]), r[j] + s[j] - (r[i] - s[i])),
    )
    assert as_set(RIVALS["delta-ucb"](ensemble, len(expected))) == expected


def test_delta_quantile(ensemble: Desk) -> None:
    r, s = plain_bands(ensemble)
    expected = set()
    for pairs in by_prompt(ensemble):
        ordered = [*pairs, *((j, i) for i, j in pairs)]
        ordered.sort(key=lambda p: -(r[p[0]] + s[p[0]] - r[p[1]] + s[p[1]]))
        expected |= as_set([ordered[int(QUANTILE * len(ordered))]])
    assert as_set(RIVALS["delta-quantile"](ensemble, len(expected))) == expected


def test_infomax(ensemble: Desk) -> None:
    r, s = plain_bands(ensemble)

    def width(i: int, j: int) -> float:
        upper = expit(r[i] + s[i] - (r[j] - s[j]))
        return float(upper - expit(r[i] - s[i] - (r[j] + s[j])))

    expected = best_of_each(ensemble, width)
    assert as_set(RIVALS["infomax"](ensemble, len(expected))) == expected


def test_maxminlcb_is_the_game_on_matrices_with_its_pruning(ensemble: Desk) -> None:
    r, s = plain_bands(ensemble)
    expected = set()
    for pairs in by_prompt(ensemble):
        rows = sorted({i for p in pairs for i in p})
        alive = [i for i in rows if all(r[i] + s[i] > r[j] - s[j] for j in rows if j != i)]
        if len(alive) == 1:  # their code compares the one with itself; the rule would go on
            alive = rows
        lower = {(i, j): r[i] - r[j] - s[i] - s[j] for i in alive for j in alive if i != j}
        leader = max(alive, key=lambda i: min(v for (a, _), v in lower.items() if a == i))
        answer = min((j for j in alive if j != leader), key=lambda j: lower[leader, j])
        expected |= as_set([(leader, answer)])
    assert as_set(RIVALS["maxminlcb"](ensemble, len(expected))) == expected


def test_enn_uncertainty(ensemble: Desk) -> None:
    expected = best_of_each(
        ensemble, lambda i, j: float(np.var(ensemble.heads[:, i] - ensemble.heads[:, j], ddof=1))
    )
    assert as_set(RIVALS["enn-uncertainty"](ensemble, len(expected))) == expected


def pairs_within(desk: Desk, name: str, size: int) -> Counter:
    """How often each pair of places is picked, prompts being alike."""
    picked = RIVALS[name](desk, len(desk.space.starts) - 1)
    return Counter(tuple(p) for p in np.sort(picked % size, axis=1).tolist())


def alike(mean: list[float], spread: list[float], prompts: int = 600) -> Desk:
    """Prompts with these rewards, apart for each completion; means within a prompt sum to 0."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((20, prompts, len(mean)))
    noise = (noise - noise.mean(axis=0)) / noise.std(axis=0)
    heads = np.asarray(mean) + np.asarray(spread) * noise
    return with_heads([len(mean)] * prompts, heads.reshape(20, -1))


def test_dts_compares_the_best_of_two_draws() -> None:
    surely = alike([3.0, 1.0, -1.0, -3.0], [0.01] * 4)
    assert pairs_within(surely, "dts", 4) == {(0, 1): 600}  # the draws agree: best, second best
    open_ = pairs_within(alike([4.0, 4.0, 4.0, -12.0], [1.0] * 4), "dts", 4)
    assert set(open_) == {(0, 1), (0, 2), (1, 2)}
    assert min(open_.values()) > 150  # of 200 expected


def test_drts_compares_the_best_of_one_draw_with_the_worst_of_another() -> None:
    for name in ("drts", "drts-heads"):
        surely = alike([3.0, 1.0, -1.0, -3.0], [0.01] * 4)
        assert pairs_within(surely, name, 4) == {(0, 3): 600}
        open_ = pairs_within(alike([10.0, 10.0, -10.0, -10.0], [1.0] * 4), name, 4)
        assert set(open_) == {(0, 2), (0, 3), (1, 2), (1, 3)}
        assert min(open_.values()) > 110  # of 150 expected


def test_enn_dts_asks_other_members_until_one_names_another() -> None:
    one, other = [3.0, 0.0, 2.0], [0.0, 3.0, 2.0]
    heads = np.array([one * 300] * 10 + [other * 300] * 10)
    found = pairs_within(with_heads([3] * 300, heads), "enn-dts", 3)
    assert found[0, 1] >= 295  # not (0, 2), where each member's own second best is


def test_members_keep_the_correlations_that_bands_lose() -> None:
    """Completions 0 and 1 rise and fall together: no member puts one far above the other."""
    rng = np.random.default_rng(0)
    shift = rng.standard_normal((20, 300, 1)) * 5.0
    heads = np.concatenate([shift + 0.2, shift, -2.0 * shift], axis=2).reshape(20, -1)
    desk = with_heads([3] * 300, heads)
    assert pairs_within(desk, "enn-uncertainty", 3)[0, 1] == 0
    assert pairs_within(desk, "enn-dts", 3)[0, 1] < 5
