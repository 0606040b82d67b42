"""The paper's method against slow twins: θ₀ by lstsq, w by multiplicative steps, the draw by counting."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from cli import fails, ok, pool_rows, write_jsonl
from pools import all_pairs, make_space, ragged_space
from whichpairs.bench.methods.registry import METHODS
from whichpairs.bench.methods.turn import Desk
from whichpairs.bench.pools import regimes
from whichpairs.design import FrankWolfe, PairSpace
from whichpairs.design.batches.ordered import within
from whichpairs.design.problem.limits import Limits
from whichpairs.design.strategies import shares
from whichpairs.design.strategies.paper import (
    by_weight,
    paper_design,
    paper_information,
    reference_theta,
)
from whichpairs.design.strategies.shares import Shares
from whichpairs.errors import UserError
from whichpairs.pool.pool import pair_id
from whichpairs.workflow.features.settings import FeatureSettings
from whichpairs.workflow.features.stage import compute_features
from whichpairs.workflow.import_pool import import_pool
from whichpairs.workflow.plan import plan
from whichpairs.workflow.select.settings import SelectSettings
from whichpairs.workflow.select.stage import select as select_pairs
from whichpairs.workflow.settings.plan import PlanSettings
from whichpairs.workflow.workspace import workspace

pytestmark = pytest.mark.usefixtures("few_draws")

BETA, RIDGE = 0.4, 1e-3


def plain_information(space: PairSpace, theta: np.ndarray) -> np.ndarray:
    """E_x Cov_{π_θ} φ, a prompt at a time."""
    found = []
    for lo, hi in pairwise(space.starts):
        if hi - lo < 2:
            continue
        phi = np.asarray(space.features[lo:hi], float)
        share = np.exp(phi @ theta)
        found.append(np.cov(phi.T, aweights=share / share.sum(), ddof=0))
    return np.mean(found, axis=0)


def plain_weights(space: PairSpace, information: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """g of every pair and w, by w ← w √(s / Σ w s) (Fellman 1974) until no pair could lower f by 1e-5."""
    phi = np.asarray(space.features, float)
    g = BETA * np.array([phi[i] - phi[j] for i, j in all_pairs(space)])
    w = np.full(len(g), 1 / len(g))
    for _ in range(100_000):
        inverse = np.linalg.inv(RIDGE * np.eye(space.dim) + g.T @ (g * w[:, None]))
        score = np.einsum("ij,ij->i", g @ (inverse @ information @ inverse), g)
        if score.max() - w @ score < 1e-5 * np.trace(information @ inverse):
            return g, w
        w = w * np.sqrt(score / (w @ score))
        w /= w.sum()
    raise AssertionError("no end")


def test_theta_is_the_ridge_fit_of_log_probabilities():
    space = ragged_space([4, 1, 7, 2, 5], 3, seed=1)
    logprob = -30.0 + 5.0 * np.random.default_rng(2).standard_normal(space.rows)
    logprob[[1, 6]] = np.nan  # not known
    eligible = np.array([True, True, True, False, True])
    some = PairSpace(space.features, space.starts, eligible)
    rows, columns, right = 0, [], []
    for p, (lo, hi) in enumerate(pairwise(space.starts)):
        known = [r for r in range(lo, hi) if np.isfinite(logprob[r])]
        if not eligible[p] or hi - lo < 2:
            continue
        phi = np.asarray(space.features[known], float)
        columns.append(phi - phi.mean(axis=0))
        right.append(logprob[known] - logprob[known].mean())
        rows += len(known)
    assert rows == 14
    ridge = np.sqrt(0.05 * rows) * np.eye(3)
    want, *_ = np.linalg.lstsq(np.vstack([*columns, ridge]), np.concatenate([*right, np.zeros(3)]))
    np.testing.assert_allclose(reference_theta(some, logprob, 0.05), want, rtol=1e-9)
    assert not reference_theta(some, np.full(space.rows, np.nan)).any()


@pytest.mark.parametrize(("seed", "at_once"), [(0, shares.ALL), (1, shares.ALL), (0, 12), (1, 5)])
def test_weights_are_those_of_a_plain_solver(seed, at_once, monkeypatch):
    """Also where passes have to bring in the pairs that count."""
    monkeypatch.setattr(shares, "ALL", at_once)
    monkeypatch.setattr(shares, "NEW_A_DIMENSION", 2)
    space = ragged_space([5, 6, 1, 8, 7, 6, 9], 4, seed)
    theta = 0.3 * np.random.default_rng(seed).standard_normal(4)
    information = paper_information(space, theta)
    np.testing.assert_allclose(information, plain_information(space, theta), rtol=1e-9)
    found = paper_design(space, BETA, information, method=FrankWolfe(tolerance=1e-4))
    g, w = plain_weights(space, information)
    assert len(g) == len(all_pairs(space)) <= 200

    def matrix(weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return RIDGE * np.eye(4) + rows.T @ (rows * weights[:, None])

    mine = BETA * space.differences(space.from_keys(found.keys))
    best = np.trace(information @ np.linalg.inv(matrix(w, g)))
    value = np.trace(information @ np.linalg.inv(matrix(found.weights, mine)))
    assert value == pytest.approx(best, rel=1e-3)
    assert found.value == pytest.approx(value, rel=1e-9)
    assert found.bound <= best * (1 + 1e-12)
    assert found.bound == pytest.approx(best, rel=1e-3)
    np.testing.assert_allclose(
        matrix(found.weights, mine), matrix(w, g), atol=0.02 * np.abs(matrix(w, g)).max()
    )
    assert found.weights.sum() == pytest.approx(1.0)
    assert (found.weights > 0.0).all()
    assert at_once >= len(g) or len(found.reports) > 1


def test_equal_pairs_share_their_weight():
    x = np.array([[0.0], [1.0]] * 6 + [[0.0], [0.2]], np.float32)
    space = PairSpace(x, np.arange(0, 15, 2))
    found = paper_design(space, BETA, paper_information(space, None))
    np.testing.assert_array_equal(found.keys[:6], [2 * k * 14 + 2 * k + 1 for k in range(6)])
    np.testing.assert_allclose(found.weights[:6], found.weights[0])
    assert found.weights[:6].sum() > 0.998


def test_the_draw_is_without_replacement_in_proportion_to_the_weights():
    space = make_space(1, 4, 2)  # pairs 01 02 03 12 13 23
    pairs, w = all_pairs(space), np.array([0.5, 0.3, 0.15, 0.05, 0.0, 0.0])
    keys = space.keys(pairs)
    design = Shares(keys[:4], w[:4], 1.0, 1.0)
    rng, draws, seen = np.random.default_rng(0), 500, np.zeros((2, 6))
    place = {int(key): k for k, key in enumerate(keys)}
    for _ in range(draws):
        order = [place[int(k)] for k in space.keys(by_weight(design, rng)(space, 4))]
        assert sorted(order) == list(range(4))
        seen[0, order[0]] += 1
        seen[1, order[:2]] += 1
    # Among the first two: w_i + Σ_{j ≠ i} w_j w_i / (1 − w_j).
    second = [sum(w[j] * w[i] / (1 - w[j]) for j in range(4) if j != i) for i in range(6)]
    for found, want in zip(seen / draws, (w, w + second), strict=True):
        assert np.all(np.abs(found - want) <= 4.5 * np.sqrt(want * (1 - want) / draws))
    last = {tuple(map(tuple, by_weight(design, rng)(space, 6)[4:].tolist())) for _ in range(20)}
    assert last == {
        ((1, 3), (2, 3)),
        ((2, 3), (1, 3)),
    }  # pairs 13 and 23 have no weight: the last, at random


def test_the_draw_keeps_limits_and_asks_no_pair_twice():
    space = make_space(8, 5, 3)
    design = paper_design(space, BETA, paper_information(space, None))
    rng = np.random.default_rng(1)
    batch = within(space, 16, Limits(per_prompt=2), by_weight(design, rng))
    assert np.bincount(batch[:, 0] // 5, minlength=8).tolist() == [2] * 8
    asked = space.without(space.from_keys(design.keys[:4]))
    others = by_weight(design, rng)(asked, 40)
    assert len(np.unique(asked.keys(others))) == 40
    assert not np.isin(design.keys[:4], asked.keys(others)).any()
    liked = design.weights[4:] @ np.isin(design.keys[4:], asked.keys(others))
    assert liked > 0.9 * design.weights[4:].sum()


def test_a_policy_on_single_completions_is_refused():
    space = make_space(3, 4, 2)
    with pytest.raises(UserError, match="spread over more than one completion"):
        paper_information(space, np.array([1e5, 1e5]))


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose pool says every completion's logprob but one's."""
    folder, rng = tmp_path_factory.mktemp("paper"), np.random.default_rng(0)
    rows = pool_rows(12, 5)
    for row in rows:
        row["logprob"] = -20.0 + 2.0 * rng.standard_normal()
    rows[3]["logprob"] = None
    source = write_jsonl(folder / "pool.jsonl", rows)
    import_pool(source, folder / "run", beta=0.3)
    np.save(folder / "phi.npy", rng.standard_normal((60, 4)))
    compute_features(folder / "run", FeatureSettings("file", file=str(folder / "phi.npy")))
    return folder / "run"


@pytest.mark.slow
def test_select_draws_by_the_design_of_the_pools_logprobs(pool: Path, capsys) -> None:
    select = ["select", "--run", pool, "--criterion", "paper", "--controls", 0, "--another"]
    found = ok(capsys, *select, "--budget", 40, "--tolerance", 1e-4)
    said = found["paper"]
    assert said["logprobs"] == 59
    assert said["without_logprob"] == 1
    assert 0 < said["by_weight"] <= said["support"] <= 110
    assert said["by_weight"] + said["filled"] == found["picked"] == 40
    assert 0.0 <= said["certificate"] < 1e-3
    assert found["certificate"] is None
    with workspace(pool) as space:
        _, _, phi = space.feature_set(None)
        pairs = PairSpace(np.asarray(phi), space.pool.starts)
        theta = reference_theta(pairs, space.pool.numbers("logprob"))
        want = paper_design(pairs, 0.3, plain_information(pairs, theta))
        drawn = {row["pair_id"] for row in space.batches["001"]}
        ids = np.array(space.pool.ids)[pairs.from_keys(want.keys)]
        held = np.array([pair_id(a, b) in drawn for a, b in ids])
    assert np.abs(theta).max() > 0.1
    assert said["value"] == pytest.approx(want.value, rel=1e-3)
    assert want.weights @ held > 0.9
    few = ok(capsys, *select, "--budget", 12, "--per-prompt", 1, "--ridge", 0.1)
    assert few["labels"] == 12
    assert few["paper"]["ridge"] == 0.1
    for bad, said in (
        (
            ["--criterion", "gap", "--ridge", 0.1],
            "--ridge is for the criterion paper; got it with gap",
        ),
        (["--criterion", "paper", "--ridge", 0], "ridge must be a finite number above 0; got 0"),
    ):
        assert said in fails(capsys, "select", "--run", pool, "--budget", 5, *bad)


def test_plan_foresees_the_papers_batches(pool: Path) -> None:
    found = plan(pool, PlanSettings(budget=20, criterion="paper"))
    assert "The criterion paper would pick" in found.message
    assert found.result["curve"][-1]["ours"] < found.result["predicted_gap_now"]
    with pytest.raises(UserError, match="one of adaptive, paper; got 'gap'"):
        PlanSettings(criterion="gap")


def test_a_pool_without_logprobs_counts_its_completions(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "pool.jsonl", pool_rows(6, 4))
    import_pool(source, tmp_path / "run")
    np.save(tmp_path / "phi.npy", np.random.default_rng(0).standard_normal((24, 3)))
    compute_features(tmp_path / "run", FeatureSettings("file", file=str(tmp_path / "phi.npy")))
    found = select_pairs(tmp_path / "run", SelectSettings(10, "paper"))
    assert "the pool says no logprob, so completions count by their weight" in found.message
    assert found.result["paper"]["logprobs"] == 0


def test_the_bench_has_both() -> None:
    world = regimes.draw("far reference", 0)
    desk = Desk(world, np.empty((0, 2), np.int64), np.empty(0), 0, 0)
    theta = reference_theta(desk.space, np.log(world.reference))
    assert np.abs(theta).max() > 0.01
    assert METHODS["gap"] is not METHODS["paper"]
