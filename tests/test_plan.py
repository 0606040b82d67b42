"""What labels will buy: curves by hand and by a slow twin, and the plan of a run by its command."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from cli import fails, ok, pool_rows, tree, write_jsonl
from whichpairs.cli import main
from whichpairs.design import Belief
from whichpairs.design.forecast.curve import Outlook
from whichpairs.design.forecast.predicted_gap import Reach
from whichpairs.workflow.fit import foretold
from whichpairs.workflow.plan import _table, plan, trust, verdict
from whichpairs.workflow.settings.plan import PlanSettings
from whichpairs.workflow.workspace import workspace

pytestmark = pytest.mark.usefixtures("few_draws")

LADDER = np.array([10, 20, 40, 80])


def curves(random: list[float], design: list[float], now: float = 16.0) -> Outlook:
    return Outlook(LADDER, np.array(random, float), np.array(design, float), float(now))


# --- curves by hand -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("random", "design", "needs"),
    [
        # 1/n for random; ours has its gap with half the labels, and the last is not on the curve
        ([8, 4, 2, 1], [4, 2, 1, 0.5], [20, 40, 80, np.inf]),
        ([8, 4, 2, 1], [8, 4, 2, 1], LADDER),
        # between two budgets: log-log, so that √8 lies half way from 4 to 2
        ([8, 4, 2, 1], [8, 8**0.5, 2, 1], [10, 20 * 2**0.5, 40, 80]),
        # crossing: worse at first, where random needs no more than the first budget, better later
        ([8, 4, 2, 1], [9, 8, 2, 0.9], [10, 10, 40, np.inf]),
        ([8, 4, 2, 1], [12, 6, 1.5, 1], [10, 10 * 2 ** np.log2(8 / 6), 40 * 2 ** np.log2(2 / 1.5), 80]),
        # flat: the least budget that has it
        ([3, 3, 3, 3], [3, 3, 3, 3], [10, 10, 10, 10]),
        ([3, 3, 3, 3], [2, 2, 2, 2], [np.inf] * 4),
        ([8, 4, 4, 2], [8, 4, 3, 2], [10, 20, 40 * 2 ** np.log2(4 / 3), 80]),
        ([8, 4, 4, 4], [8, 4, 4, 4 * (1 + 1e-12)], [10, 20, 20, 20]),
        # sums in another order are no difference
        ([8, 4, 2, 1], [8, 4, 2, 1 - 1e-13], LADDER),
    ],
)  # fmt: skip
def test_what_random_needs(random, design, needs) -> None:
    found = curves(random, design)
    np.testing.assert_allclose(found.random_needs(), needs, rtol=1e-9)
    np.testing.assert_allclose(found.saved(), np.array(needs) / LADDER, rtol=1e-9)


def test_noise_that_makes_random_rise_is_smoothed() -> None:
    """log 2 and log 4 in the wrong order become their mean, log √8, at 20 and at 40."""
    found = curves([8, 2, 4, 1], [8, 8**0.5, 8**0.5, 1])
    np.testing.assert_allclose(found.random_needs(), [10, 20, 20, 80])


@pytest.mark.parametrize(
    ("design", "now", "at"),
    [
        ([8, 4, 2, 1], 16, None),  # the last doubling still lowers it by 1/16
        ([8, 4, 2, 1], 21, 40),  # 1 of 21
        ([8, 4, 2, 1], 41, 20),
        ([8, 4, 2, 1], 100, 10),
        ([1, 1, 1, 1], 16, 10),
        ([8, 7.5, 2, 1.9], 16, 40),  # little at first is no flat curve: what comes after counts
        ([1, 2, 1, 0.99], 1.5, 40),  # nor is noise
    ],
)
def test_where_the_curve_flattens(design, now, at) -> None:
    assert curves([8, 4, 2, 1], design, now).flattens() == at


def test_a_doubling_is_one_on_any_ladder() -> None:
    """The gap 100/n, today 100: from n to 2 n it falls by 50/n, less than 5 from n > 10 on."""
    for ratio in (2.0, 2**0.5, 1.3, 3.0):
        budgets = np.unique(np.geomspace(1, 400, int(np.log(400) / np.log(ratio)) + 1).round())
        gaps = 100.0 / budgets
        found = Outlook(budgets.astype(int), gaps, gaps, 100.0).flattens()
        assert found == budgets[budgets > 10][0]
    short = Outlook(np.array([8, 9, 10]), np.ones(3), np.ones(3), 1.0)
    assert short.flattens() is None  # no doubling on the curve
    assert Outlook(np.array([3]), np.ones(1), np.ones(1), 1.0).flattens() is None
    found = Outlook(LADDER, 100.0 / LADDER, 100.0 / LADDER, 100.0)
    assert found.flattens(0.01) is None
    assert found.flattens(0.02) == 40  # 1.25 of 100
    assert found.flattens(0.03) == 20


# --- what a belief foretells --------------------------------------------------------------------------


def test_what_is_foretold_by_hand() -> None:
    """A point: P = σ(β zᵀθ). Two prompts, of losses a, b and c."""
    z, theta = np.array([[1.0], [2.0], [-1.0]]), np.array([2.0])
    wins = np.array([1.0, 0.0, 0.5])
    found = foretold(Belief(theta), 0.5, z, wins, np.array([4, 4, 9]))
    p = 1 / (1 + np.exp(-np.array([1.0, 2.0, -1.0])))
    entropy = -p * np.log(p) - (1 - p) * np.log(1 - p)
    a, b, c = -np.log(p[0]), -np.log(1 - p[1]), -np.log(p[2] * (1 - p[2])) / 2
    assert found["controls"] == 3
    assert found["predicted"] == pytest.approx(entropy.mean())
    assert found["found"] == pytest.approx((a + b + c) / 3)
    one = a + b - 2 * (a + b + c) / 3  # the other prompt's sum is its opposite
    assert found["standard_error"] == pytest.approx(np.sqrt(2 * 2 * one**2) / 3)


def test_a_prompt_a_label_is_the_plain_standard_error() -> None:
    rng = np.random.default_rng(0)
    z, wins = rng.standard_normal((40, 3)), (rng.random(40) < 0.5).astype(float)
    belief = Belief(np.array([1.0, 0.5, -2.0]), np.diag([1.0, 4.0, 0.5]))
    found = foretold(belief, 0.7, z, wins, np.arange(40))
    variance = 0.49 * np.einsum("ij,j,ij->i", z, [1.0, 0.25, 2.0], z)
    margin = 0.7 * (z @ belief.theta) / np.sqrt(1 + np.pi * variance / 8)
    p = expit(np.where(wins == 1, margin, -margin))
    assert found["found"] == pytest.approx(-np.mean(np.log(p)))
    error = np.std(-np.log(p), ddof=1) / np.sqrt(40)
    assert found["standard_error"] == pytest.approx(error)
    assert foretold(belief, 0.7, z, wins, np.zeros(40, int))["standard_error"] is None
    far = foretold(Belief(np.array([1e6, 0, 0])), 1.0, z, wins, np.arange(40))
    assert np.isfinite([far["found"], far["predicted"]]).all()


def test_answers_of_the_belief_itself_are_foretold() -> None:
    rng = np.random.default_rng(1)
    z = rng.standard_normal((20000, 3))
    belief = Belief(np.array([1.0, 0.5, -1.0]), np.eye(3))
    theta = belief.theta + rng.standard_normal((20000, 3))
    wins = (rng.random(20000) < expit(np.sum(z * theta, axis=1))).astype(float)
    found = foretold(belief, 1.0, z, wins, np.arange(20000))
    assert abs(found["found"] - found["predicted"]) < 3 * found["standard_error"]


def control_round(found: float, controls: int = 50, error: float | None = 0.02) -> dict:
    return {"controls": controls, "predicted": 0.6, "found": found, "standard_error": error}


@pytest.mark.parametrize(
    ("rounds", "words"),
    [
        ([], "unknown: no control labels"),
        ([control_round(0.9, 29)], "unknown: only 29 control labels"),
        ([control_round(0.9, 50, None)], "unknown: the 50 control labels are of one prompt"),
        ([control_round(0.63)], "as far as 50 control labels can tell"),
        ([control_round(0.57)], "as far as 50 control labels can tell"),
        ([control_round(0.65)], "over-confident: predicted gaps are too small (log loss of 50"),
        ([control_round(0.55)], "over-cautious"),
        ([control_round(0.9), control_round(0.6)], "foretold as 0.600 and is 0.600"),
    ],
)
def test_how_far_to_trust(rounds, words) -> None:
    assert words in trust(rounds)


def test_the_verdict() -> None:
    def of(needed: int | None) -> str:
        return verdict(Reach(3.0, 1.0, 2.0, 0.1, 0.1, needed, 6400), 100)

    assert of(None) == of(120) == of(300) == "worth it"
    assert of(119) == of(100) == "random is as good here"


# --- a run --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a pool and three features; tests copy it."""
    folder = tmp_path_factory.mktemp("made")
    source = write_jsonl(folder / "pool.jsonl", pool_rows(40, 8))
    rng = np.random.default_rng(0)
    phi = rng.standard_normal((320, 3)).astype(np.float32) * [3.0, 1.0, 0.3]
    phi[:, 0] += [row["score"] for row in pool_rows(40, 8)]
    np.save(folder / "phi.npy", phi.astype(np.float32))
    for command in (
        ["import", source, "--score-column", "score", "--holdout", 0.3, "--beta", 0.3],
        ["features", "--method", "file", "--file", folder / "phi.npy"],
    ):
        with pytest.raises(SystemExit) as stop:
            main([str(part) for part in (*command, "--run", folder / "run")])
        assert stop.value.code == 0
    return folder / "run"


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "run")


def labelled(run: Path, capsys, budget: int, controls: int) -> dict:
    """One more round; its fit."""
    ok(capsys, "select", "--run", run, "--budget", budget, "--controls", controls)
    ok(capsys, "label", "--run", run, "--simulate", "score", "--temperature", 2)
    return ok(capsys, "fit", "--run", run)


@pytest.mark.slow
def test_before_labels_and_after(run: Path, capsys) -> None:
    before = tree(run)
    first = ok(capsys, "plan", "--run", run)
    assert tree(run) == before
    assert (first["budget"], first["rounds"]) == (48, [])
    assert first["trust"].startswith("unknown: no control labels")
    curve = first["curve"]
    assert [row["labels"] for row in curve][::2] == [6, 12, 24, 48, 96, 192, 384]
    for name in ("random", "ours"):
        gaps = [row[name] for row in curve][::4]
        assert gaps == sorted(gaps, reverse=True)
    for row in curve:  # the first 4 d picks are random, so nothing is saved, and nothing lost
        assert (row["ours"] == row["random"]) == (row["labels"] <= 12)
    [at] = [row for row in curve if row["labels"] == 48]
    assert first["predicted_gap"] == at["ours"] < at["random"] == first["random_predicted_gap"]
    assert first["labels_random_would_need"] == at["random_needs"] >= 48
    assert first["saved"] == pytest.approx(at["random_needs"] / 48)
    assert 12 < first["random_picked"] < 48
    assert 6 <= first["flattens_at"] < 384
    now = first["completions"]["predicted_gap"]["8"]
    assert now == pytest.approx(first["predicted_gap"])  # one number for the pool as it is
    assert first["completions"]["extrapolated_to"] == 16
    assert set(first["completions"]["predicted_gap"]) == {"4", "8"}
    assert first["completions"]["low"] < first["completions"]["extrapolated"]

    fits = [labelled(run, capsys, 20, 20), labelled(run, capsys, 30, 20)]
    before = tree(run)
    second = ok(capsys, "plan", "--run", run)
    assert tree(run) == before
    assert [(r["fit"], r["labels"], r["controls"]) for r in second["rounds"]] == [
        ("001", 20, 20),
        ("002", 50, 40),
    ]
    for row, fit in zip(second["rounds"], fits, strict=True):
        assert row.items() >= fit["foretold_held_out"].items()
        assert 0 < row["predicted"] < np.log(2) + 1e-9
    last = second["rounds"][-1]
    assert "40 control labels" in second["trust"]
    sure = abs(last["found"] - last["predicted"]) <= 2 * last["standard_error"]
    assert second["trust"].startswith("as far as") == sure
    assert second["predicted_gap_now"] != first["predicted_gap_now"]
    assert second == ok(capsys, "plan", "--run", run)


@pytest.mark.slow
def test_the_fit_foretells_by_its_posterior(run: Path, capsys) -> None:
    found = labelled(run, capsys, 25, 0)
    assert found["foretold_held_out"] is None
    found = labelled(run, capsys, 10, 15)
    with workspace(run) as space:
        votes, held = space.votes(held_out=False), space.votes(held_out=True)
        phi, beta = np.asarray(space.feature_set(None)[2], float), space.run.beta
        theta, pool = space.theta(found["fit"], "file"), space.pool
    squares = [
        np.sum((phi[i] - phi[j]) ** 2)
        for p in np.flatnonzero(~pool.holdout)
        for i in range(pool.starts[p], pool.starts[p + 1])
        for j in range(pool.starts[p], i)
    ]
    precision = found["prior_strength"] * np.eye(3) * beta**2 * np.mean(squares) / 1.5**2
    for i, j in votes.pairs.tolist():
        p = expit(beta * (phi[i] - phi[j]) @ theta)
        precision += beta**2 * p * (1 - p) * np.outer(phi[i] - phi[j], phi[i] - phi[j])
    entropies, losses = [], []
    for (i, j), won in zip(held.pairs.tolist(), held.wins, strict=True):
        z = phi[i] - phi[j]
        variance = beta**2 * z @ np.linalg.inv(precision) @ z
        p = expit(beta * z @ theta / np.sqrt(1 + np.pi * variance / 8))
        entropies.append(-p * np.log(p) - (1 - p) * np.log(1 - p))
        losses.append(-won * np.log(p) - (1 - won) * np.log(1 - p))
    said = found["foretold_held_out"]
    assert said["controls"] == 15
    assert said["predicted"] == pytest.approx(np.mean(entropies), rel=1e-7)
    assert said["found"] == pytest.approx(np.mean(losses), rel=1e-7)


@pytest.mark.slow
def test_fits_that_foretold_nothing_are_passed_over(run: Path, capsys) -> None:
    labelled(run, capsys, 20, 15)
    labelled(run, capsys, 10, 15)
    path = run / "fits" / "001" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["result"]["foretold_held_out"]  # as fits were before they foretold
    path.write_text(json.dumps(manifest))
    assert [r["fit"] for r in ok(capsys, "plan", "--run", run)["rounds"]] == ["002"]
    path = run / "fits" / "002" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["inputs"]["features"] = "of others"
    path.write_text(json.dumps(manifest))
    found = ok(capsys, "plan", "--run", run)
    assert found["rounds"] == []
    assert found["trust"].startswith("unknown")


@pytest.mark.slow
def test_money_and_a_target(run: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(
        "whichpairs.design.forecast.predicted_gap.DRAWS", 64
    )  # eight cannot tell what is saved
    plain = ok(capsys, "plan", "--run", run, "--budget", 60)
    assert not {"cost", "money_saved", "target_gap", "labels_to_target_ours"} & set(plain)
    rows = {row["labels"]: row for row in plain["curve"]}
    target = rows[120]["random"]
    command = ["plan", "--run", run, "--budget", 60]
    found = ok(capsys, *command, "--cost-per-label", 0.5, "--target-gap", target)
    assert found.items() >= plain.items()
    assert found["cost"] == 30.0
    assert found["money_saved"] == pytest.approx(0.5 * 60 * (plain["saved"] - 1), abs=0.01)
    assert found["labels_to_target_random"] == 120
    above = max(n for n in rows if rows[n]["ours"] > target)
    below = min(n for n in rows if rows[n]["ours"] <= target)
    line = np.log([rows[below]["ours"], rows[above]["ours"]])
    between = np.exp(np.interp(np.log(target), line, np.log([below, above])))
    assert found["labels_to_target_ours"] == np.ceil(between - 1e-6)
    never = plan(run, PlanSettings(0.5, 1e-9, 60))
    assert never.result["labels_to_target_ours"] is never.result["labels_to_target_random"] is None
    text = never.message
    assert "Cost: 30; random would cost" in text
    assert f"A predicted gap of 1e-09: random needs more than {max(rows)} labels." in text
    assert f"At 60 further labels: {plain['verdict']} (a prediction, no evidence)." in text
    assert f"random is predicted to need {plain['labels_random_would_need']} labels" in text
    assert "How far to trust this: unknown: no control labels" in text
    assert text.startswith("Predicted gap after so many further labels: how far the trained policy")


def test_where_random_does_not_get_there_a_number_is_said() -> None:
    """Of the last budget what was looked at; of the one asked about how far the search went."""
    rows = [(10, None), (20, 30), (80, None)]
    curve = [{"labels": n, "random": 2.0, "ours": 1.0, "random_needs": k} for n, k in rows]
    found = _table({"curve": curve, "budget": 10, "searched": 640})
    assert [line.split()[3:] for line in found[1:]] == [["over", "640"], ["30"], ["over", "80"]]
    assert len({len(line) for line in found}) == 1


@pytest.mark.slow
def test_where_random_is_as_good_it_says_so(run: Path, capsys) -> None:
    """A budget that goes to random labels anyway."""
    found = ok(capsys, "plan", "--run", run, "--budget", 9)
    assert found["saved"] == pytest.approx(1.0)
    assert found["verdict"] == "random is as good here"


@pytest.mark.slow
def test_every_candidate_is_the_same_batch_for_both(run: Path, capsys) -> None:
    found = ok(capsys, "plan", "--run", run, "--budget", 28 * 28)
    assert found["curve"][-1]["labels"] == 28 * 28
    assert found["saved"] == pytest.approx(1.0, abs=0.01)
    assert found["verdict"] == "random is as good here"
    assert ok(capsys, "plan", "--run", run, "--budget", 1)["curve"][0]["labels"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--budget", 28 * 28 + 1],
            "budget must be between 1 and the 784 candidate pairs; got 785",
        ),
        (["--budget", 0], "budget must be a whole number of at least 1; got 0"),
        (["--cost-per-label", 0], "cost per label must be a finite number above 0; got 0"),
        (["--cost-per-label", "nan"], "cost per label must be a finite number above 0; got nan"),
        (["--target-gap", -1], "target gap must be a finite number above 0; got -1"),
        (["--target-gap", "inf"], "target gap must be a finite number above 0; got inf"),
        (["--features", "nope"], "this needs features named 'nope'"),
        (["--beta", 0.7], "this one has 0.3, got --beta 0.7"),
    ],
)
def test_mistakes(options: list, message: str, run: Path, capsys) -> None:
    before = tree(run)
    assert message in fails(capsys, "plan", "--run", run, *options)
    assert tree(run) == before


@pytest.mark.slow
def test_mistakes_on_other_runs(run: Path, tmp_path: Path, capsys) -> None:
    assert "must name a run folder" in fails(capsys, "plan", "--run", tmp_path / "nowhere")
    for _ in range(2):
        labelled(run, capsys, 392, 0)
    before = tree(run)
    assert "a plan needs candidate pairs" in fails(capsys, "plan", "--run", run)
    assert tree(run) == before
    shutil.rmtree(run / "features")
    assert "this needs features" in fails(capsys, "plan", "--run", run)
