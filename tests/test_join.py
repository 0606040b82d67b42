"""Feature sets side by side, and columns of the pool as features, against plain arrays."""

from pathlib import Path

import numpy as np
import pytest

from cli import fails, ok, pool_rows, write_jsonl
from whichpairs.errors import UserError
from whichpairs.features.columns import categories, numbers
from whichpairs.features.store import centred
from whichpairs.workflow.workspace import workspace

STARTS = np.array([0, 20, 30])
SIZES = np.diff(STARTS)


def test_categories_are_centred_indicators_the_rare_ones_together():
    values = ["b"] * 12 + ["a"] * 13 + ["x", "y", None, "x", None]
    found = categories(values, STARTS, "model")
    plain = [
        [v == "a", v == "b", v in ("x", "y"), v is None] for v in values
    ]  # by frequency; rare; missing
    want = np.array(plain, float)
    for lo, hi in ((0, 20), (20, 30)):
        want[lo:hi] -= want[lo:hi].mean(axis=0)
    np.testing.assert_allclose(found.rows, want, atol=1e-12)
    assert (found.rare, found.missing) == (2, 2)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([str(k) for k in range(30)], "model has 30 different values, 0 of them in so many"),
        (["a"] * 30, "model has 1 different values, 1 of them in so many"),
        ([None] * 30, "model has 0 different values, 0 of them in so many"),
    ],
)
def test_a_column_that_says_nothing_is_refused(values, said):
    with pytest.raises(UserError, match=said):
        categories(values, STARTS, "model")


def test_too_many_categories_are_refused():
    values = [str(k % 300) for k in range(3000)]
    with pytest.raises(UserError, match="at most 256 of them; model has 300 that 10"):
        categories(values, np.array([0, 3000]), "model")


def test_numbers_are_standardised_and_what_is_missing_is_said():
    x = np.random.default_rng(0).standard_normal(30) * 7 + 100
    whole = numbers(x, STARTS, "size")
    assert whole.rows.shape == (30, 1)
    assert np.sqrt(np.mean(whole.rows**2)) == pytest.approx(1.0)
    np.testing.assert_allclose(np.corrcoef(whole.rows[:20, 0], x[:20])[0, 1], 1.0)
    x[[3, 25]] = np.nan
    part = numbers(x, STARTS, "size")
    assert part.missing == 2
    assert part.rows[[3, 25], 0].tolist() == [0.0, 0.0]
    known = ~np.isnan(x)
    spread = np.concatenate([x[:20] - np.nanmean(x[:20]), x[20:] - np.nanmean(x[20:])])
    want = spread[known] / np.sqrt(np.mean(spread[known] ** 2))
    np.testing.assert_allclose(part.rows[known, 0], want)
    assert part.rows[:, 1] == pytest.approx(centred(np.isnan(x)[:, None], SIZES)[:, 0])
    x[4] = np.inf
    with pytest.raises(UserError, match="size is infinite in row 4"):
        numbers(x, STARTS, "size")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from whichpairs.workflow.features.settings import FeatureSettings
    from whichpairs.workflow.features.stage import compute_features
    from whichpairs.workflow.import_pool import import_pool

    folder, rng = tmp_path_factory.mktemp("join"), np.random.default_rng(0)
    rows = pool_rows(12, 5) + pool_rows(13, 1)[12:]  # the last prompt has one completion
    for k, row in enumerate(rows):
        row |= {"model": "abc"[rng.integers(3)], "words": float(rng.integers(9)), "same": "s"}
        row["tags"] = [1, k]
    import_pool(write_jsonl(folder / "pool.jsonl", rows), folder / "run")
    np.save(folder / "phi.npy", rng.standard_normal((61, 6)) * [9, 5, 3, 1, 1, 0.1])
    settings = FeatureSettings("file", name="emb", file=str(folder / "phi.npy"))
    compute_features(folder / "run", settings)
    return folder / "run"


def test_blocks_are_of_one_size(run: Path, capsys) -> None:
    command = ["features", "--run", run, "--method", "join"]
    found = ok(capsys, *command, "--sets", "emb,column:model,column:words")
    assert found["dim"] == 6 + 3 + 1
    assert found["blocks"] == {
        "emb": {"dim": 6},
        "column:model": {"dim": 3, "rare": 0, "missing": 0},
        "column:words": {"dim": 1, "rare": 0, "missing": 0},
    }
    phi = np.load(run / "features" / "join" / "features.npy").astype(float)
    emb = np.load(run / "features" / "emb" / "features.npy").astype(float)
    for part in (phi[:, :6], phi[:, 6:9], phi[:, 9:]):
        assert np.sum(part[:60] ** 2) / 60 == pytest.approx(1.0, rel=1e-5)
    np.testing.assert_allclose(phi[:, :6] * emb[0, 0] / phi[0, 0], emb, rtol=1e-4, atol=1e-5)
    with workspace(run) as space:
        model = np.array(space.pool.completions["model"].to_list())
    assert len(np.unique(np.round(phi[:5, 6:9], 5), axis=0)) == len(set(model[:5]))
    again = ok(capsys, *command, "--sets", "emb,column:model,column:words")
    assert again["fingerprint"] == found["fingerprint"]


def test_the_papers_features_are_standardised_and_projected(run: Path, capsys) -> None:
    command = ["features", "--run", run, "--method", "join", "--sets", "emb", "--standardise"]
    found = ok(capsys, *command, "--dim", 2, "--name", "paper")
    emb = np.load(run / "features" / "emb" / "features.npy").astype(float)[:60]
    emb /= np.sqrt(np.mean(emb**2, axis=0))
    _, _, vectors = np.linalg.svd(emb)
    phi = np.load(run / "features" / "paper" / "features.npy")[:60]
    np.testing.assert_allclose(np.abs(phi), np.abs(emb @ vectors[:2].T), atol=1e-4)
    assert found["fidelity"]["dim"] == 2
    assert found["fidelity"]["larger_dim"] == 6
    assert 0.0 < found["fidelity"]["loss"] < 1.5
    assert (run / "features" / "paper" / "axes.npy").is_file()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--sets", "emb,emb"], "--sets must be different names with commas between"),
        (["--sets", "emb,other"], "this needs features named 'other'"),
        (
            ["--sets", "column:nothing"],
            "got 'nothing'; there is finished, score, model, words, same, tags",
        ),
        (["--sets", "emb,column:same"], "'same' has 1 different values"),
        (["--sets", "column:tags"], "'tags' holds something else"),
        ([], "--method join needs --sets"),
    ],
)
def test_wrong_sets_are_refused(run: Path, capsys, options, said) -> None:
    assert said in fails(
        capsys, "features", "--run", run, "--method", "join", "--name", "x", *options
    )
    assert not (run / "features" / "x").exists()
