"""A fit that teaches: which pairs, with which probabilities, when not; and a policy taught by it."""

import numpy as np
import pytest
from scipy.special import expit, softmax
from threadpoolctl import threadpool_limits

from whichpairs import UserError
from whichpairs.design.estimate.calibrate import (
    Calibration,
    calibrate,
    calibrated_probability,
    left_out_log_loss,
)
from whichpairs.train.teach import teach
from whichpairs.train.teach_pairs import _worst_of, choose

BETA = 0.5
KNOWN = {"left_out": 0.6, "labels": 100}


@pytest.fixture(scope="module")
def world():
    """Prompts of 1 to 9 completions, of which some are equal; held-out prompts; labelled pairs."""
    rng = np.random.default_rng(4)
    sizes = np.array([1, 6, 9, 4, 7, 2, 8, 5])
    starts = np.concatenate([[0], np.cumsum(sizes)])
    same = np.arange(starts[-1])
    same[[4, 6]] = same[3], same[1]  # of the prompt that owns rows 1 to 6
    same[22] = same[20]
    phi = rng.standard_normal((len(same), 5)).astype(np.float32)[same]
    eligible = np.array([True, True, True, False, True, True, True, True])
    labelled = np.array([[6, 2], [8, 7], [17, 18], [16, 17], [3, 4], [22, 21]])
    z, theta = rng.standard_normal((60, 5)), rng.standard_normal(5)
    wins = (rng.random(60) < expit(2 * z @ theta)).astype(float)
    belief = calibrate(z, wins, BETA, np.eye(5))
    return {
        "features": phi,
        "starts": starts,
        "belief": belief,
        "beta": BETA,
        "eligible": eligible,
        "labelled": labelled,
        "same": same,
        **KNOWN,
    }


def candidates(world) -> list[tuple[int, int]]:
    """By loops: pairs of first rows of two texts of a training prompt that have no label."""
    same = world["same"]
    known = {frozenset((same[a], same[b])) for a, b in world["labelled"]}
    found = []
    for p, (lo, hi) in enumerate(zip(world["starts"][:-1], world["starts"][1:], strict=True)):
        for i in range(lo, hi):
            for j in range(i + 1, hi):
                distinct = same[i] == i and same[j] == j
                if world["eligible"][p] and distinct and frozenset((i, j)) not in known:
                    found.append((i, j))
    return found


def chosen(world, count: int, pairs: str, seed: int) -> np.ndarray:
    """Only which pairs, without the fit's probabilities."""
    known = {name: world[name] for name in ("eligible", "labelled", "same")}
    rng = np.random.default_rng(seed)
    return choose(pairs, lambda: scores(world), world["starts"], count, rng, **known)


def as_set(pairs) -> set[tuple[int, int]]:
    return {(min(p), max(p)) for p in pairs.tolist()}


def scores(world) -> np.ndarray:
    return BETA * world["features"].astype(float) @ world["belief"].theta


def prompt_of(world, row: int) -> int:
    return int(np.searchsorted(world["starts"], row, side="right") - 1)


def falling(world, prompt: int) -> list[int]:
    """The first rows of a prompt's texts, best first."""
    lo, hi = world["starts"][prompt], world["starts"][prompt + 1]
    rows = [r for r in range(lo, hi) if world["same"][r] == r]
    return sorted(rows, key=lambda r: -scores(world)[r])


def test_every_candidate_can_be_taught_and_no_other(world) -> None:
    there = candidates(world)
    for pairs in ("random", "margin"):
        assert as_set(teach(**world, count=len(there), pairs=pairs).pairs) == set(there)
        with pytest.raises(UserError, match=rf"there are {len(there)}. pass --teach {len(there)}$"):
            teach(**world, count=len(there) + 1, pairs=pairs)


def test_soft_labels_are_the_fits_probabilities(world) -> None:
    """Pair by pair, whatever the block; the believed better one first; scaled in logits."""
    lesson = teach(**world, count=30)
    for (a, b), p in zip(lesson.pairs, lesson.probability, strict=True):
        z = world["features"][[a]].astype(float) - world["features"][[b]]
        want = calibrated_probability(world["belief"], z, BETA)[0]
        assert p == pytest.approx(want, abs=1e-12)
        assert p >= 0.5
    assert lesson.confidence == pytest.approx(np.mean(lesson.probability))
    assert len({tuple(sorted(p)) == tuple(p) for p in lesson.pairs.tolist()}) == 2
    scaled = teach(**world, count=30, scale=2.5)
    assert np.array_equal(scaled.pairs, lesson.pairs)
    odds = lesson.probability / (1 - lesson.probability)
    assert scaled.probability == pytest.approx(odds**2.5 / (1 + odds**2.5))


def test_random_is_uniform(world) -> None:
    there = candidates(world)
    counts = dict.fromkeys(there, 0)
    for seed in range(300):
        for pair in as_set(chosen(world, 10, "random", seed)):
            counts[pair] += 1
    expected = 300 * 10 / len(there)
    spread = np.sqrt(expected * (1 - 10 / len(there)))
    assert max(abs(np.array(list(counts.values())) - expected)) < 4.5 * spread


def test_margin_takes_the_widest(world) -> None:
    s = scores(world)
    there = sorted(candidates(world), key=lambda p: -abs(s[p[0]] - s[p[1]]))
    for count in (1, 7, 40):
        got = teach(**world, count=count, pairs="margin").pairs
        assert [(min(p), max(p)) for p in got.tolist()] == there[:count]


def test_best_against_worst_pairs_the_ends(world) -> None:
    """Round by round, every prompt once a round; a labelled pair is passed over."""
    there, rounds = candidates(world), []
    for turn in range(4):
        ends = [(falling(world, p), p) for p in range(8)]
        one = [(r[turn], r[-1 - turn]) for r, _ in ends if turn < len(r) // 2]
        rounds.append({tuple(sorted(pair)) for pair in one} & set(there))
    total = sum(map(len, rounds))
    got = [tuple(sorted(p)) for p in teach(**world, count=total, pairs="best-worst").pairs.tolist()]
    at = 0
    for one in rounds:
        assert set(got[at : at + len(one)]) == one
        at += len(one)
    orders = {
        tuple(teach(**world, count=3, pairs="best-worst", seed=k).pairs[:, 0]) for k in range(9)
    }
    assert len(orders) > 1
    with pytest.raises(UserError, match=rf"by best-worst there are {total}"):
        teach(**world, count=total + 1, pairs="best-worst")


def test_best_against_the_worst_of_five(world) -> None:
    """The worst of five random others that are worse: their median rank, not the last."""
    there, first = candidates(world), {p: falling(world, p) for p in range(8)}
    places, s = [], scores(world)
    for seed in range(200):
        got = chosen(world, len(first) - 3, "best-worst-of-5", seed)
        assert as_set(got) <= set(there)
        for pair in got.tolist():
            best, worst = sorted(pair, key=lambda row: -s[row])
            rows = first[prompt_of(world, best)]
            if rows[0] == best and len(rows) == 9:
                places.append(rows.index(worst))
    # The largest of 5 places out of 1 … 8: P(k) = C(k − 1, 4) / 56, mean 5 · 9 / 6.
    assert min(places) == 5
    assert np.mean(places) == pytest.approx(7.5, abs=0.25)
    most = sum(len(r) - 1 for p, r in first.items() if world["eligible"][p])
    with pytest.raises(UserError, match="by best-worst-of-5 there are"):
        teach(**world, count=most + 1, pairs="best-worst-of-5")


def test_the_worst_of_fewer_is_the_last() -> None:
    drawn = _worst_of(np.array([1, 2, 5, 6] * 500), np.random.default_rng(0)).reshape(500, 4)
    assert (drawn[:, :3] == [0, 1, 4]).all()
    assert np.mean(drawn[:, 3] == 5) == pytest.approx(5 / 6, abs=0.05)
    assert drawn[:, 3].min() == 4


@pytest.mark.parametrize("pairs", ["random", "margin", "best-worst", "best-worst-of-5"])
def test_any_number_of_threads_teaches_the_same(pairs: str) -> None:
    rng = np.random.default_rng(0)
    phi = rng.standard_normal((9000, 300)).astype(np.float32)  # so wide that threads do matter
    root = np.tril(rng.standard_normal((300, 300))) / 25
    belief = Calibration(rng.standard_normal(300), root, 1.0)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            starts = np.arange(0, 9001, 10)
            found.append(teach(phi, starts, belief, BETA, 600, pairs=pairs, **KNOWN))
    assert found[0].pairs.tobytes() == found[1].pairs.tobytes()
    assert found[0].probability.tobytes() == found[1].probability.tobytes()


def test_a_fit_that_knows_nothing_does_not_teach(world) -> None:
    for left_out, labels, why in (
        (None, 12, "its 12 labels are of too few prompts"),
        (0.6832, 100, "0.6832 (a coin: 0.6931), 0.99 nats in all"),
        (0.7, 10_000, "by 2 nats in all"),
        (float("nan"), 100, "nats in all"),
    ):
        with pytest.raises(UserError) as error:
            teach(**{**world, "left_out": left_out, "labels": labels}, count=5, scale=50.0)
        assert why in str(error.value)
    faint = Calibration(world["belief"].theta / 100, world["belief"].root, 1.0)
    with pytest.raises(
        UserError, match=r"0\.02 or more from ½ on average; after 100 labels it is 0\.00"
    ):
        teach(**{**world, "belief": faint}, count=5, scale=50.0)


def test_answers_are_drawn_by_their_probability(world) -> None:
    lesson = teach(**world, count=60)
    kept = np.mean([lesson.drawn(s)[:, 0] == lesson.pairs[:, 0] for s in range(400)], axis=0)
    assert np.abs(kept - lesson.probability).max() < 0.1
    assert np.array_equal(lesson.drawn(3), lesson.drawn(3))
    assert (np.sort(lesson.drawn(3)) == np.sort(lesson.pairs)).all()


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"count": 0}, "--teach must be at least 1"),
        ({"pairs": "best"}, "one of random, margin, best-worst, best-worst-of-5; got best"),
        ({"scale": 0.0}, "--teach-scale must be"),
        ({"scale": float("nan")}, "--teach-scale must be"),
    ],
)
def test_settings_out_of_range(world, values, rule) -> None:
    with pytest.raises(UserError, match=rule):
        teach(**{**world, "count": 5, **values})


def test_a_taught_policy_is_better_than_one_of_the_labels_alone() -> None:
    """A log-linear policy with ten times the features that the reward has, 150 labels, DPO by gradient
    steps from the reference; each at its best of three lengths; unseen prompts."""
    prompts, m, d, labels = 120, 8, 12, 150
    starts, inside = np.arange(0, prompts * m + 1, m), np.arange(prompts) < prompts // 2
    gains = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        wide = rng.standard_normal((prompts * m, 10 * d))
        phi, theta = wide[:, :d], rng.standard_normal(d)
        reward = phi @ theta * 1.5 / np.linalg.norm(theta)
        first = m * rng.integers(0, prompts // 2, labels)
        a = rng.integers(0, m, labels)
        pairs = first[:, None] + np.stack([a, (a + rng.integers(1, m, labels)) % m], axis=1)
        z = phi[pairs[:, 0]] - phi[pairs[:, 1]]
        wins = (rng.random(labels) < expit(reward[pairs] @ [1, -1])).astype(float)
        prior = np.eye(d) * BETA**2 * 2 * d / 1.5**2
        left_out = left_out_log_loss(z, wins, BETA, prior, pairs[:, 0] // m, strength=1.0)
        belief = calibrate(z, wins, BETA, prior, strength=1.0)
        known = {"left_out": left_out, "labels": labels, "labelled": pairs, "eligible": inside}
        lesson = teach(phi, starts, belief, BETA, 1500, **known)
        learnt = [
            dpo(wide, pairs, wins, reward, m),
            dpo(
                wide,
                np.concatenate([pairs, lesson.pairs]),
                np.concatenate([wins, lesson.probability]),
                reward,
                m,
            ),
        ]
        gains.append([max(one) for one in learnt])
    plain, taught = np.array(gains).T
    assert (taught > plain + 0.3).all()
    assert (plain > 0.1).all()


def dpo(psi, pairs, target, reward, m) -> list[float]:
    """J on the second half of the prompts, less the reference's, after 10, 30 and 100 steps."""
    z, theta, found = psi[pairs[:, 0]] - psi[pairs[:, 1]], np.zeros(psi.shape[1]), []
    for step in range(1, 101):
        theta -= 0.25 * BETA * z.T @ (expit(BETA * z @ theta) - target) / len(z)
        if step in (10, 30, 100):
            p = softmax((psi @ theta).reshape(-1, m), axis=1)
            j = np.sum((p - 1 / m) * reward.reshape(-1, m) - BETA * p * np.log(m * p), axis=1)
            found.append(float(j[len(j) // 2 :].mean()))
    return found
