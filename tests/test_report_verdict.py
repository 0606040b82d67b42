"""The page's verdict is the whole run's, of the evidence that there is, and nothing beside it says otherwise."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from whichpairs.errors import UserError
from whichpairs.pool.columns import Columns
from whichpairs.report.charts.run_charts import gap_curve
from whichpairs.report.compose import compose
from whichpairs.report.data.design_curves import beginning, picked_rows
from whichpairs.report.data.facts import Facts, gather
from whichpairs.report.data.random_arm import all_simulated, level, random_arm
from whichpairs.report.data.whole_run import Mean, Point, WholeRun, _Anew, whole_run
from whichpairs.report.sections.worth import worth
from whichpairs.report.stage import report
from whichpairs.workflow.evaluate.settings import EvaluateSettings
from whichpairs.workflow.evaluate.stage import evaluate_run
from whichpairs.workflow.features.settings import FeatureSettings
from whichpairs.workflow.features.stage import compute_features
from whichpairs.workflow.fit import fit_labels
from whichpairs.workflow.import_pool import import_pool
from whichpairs.workflow.label.stage import label_simulated
from whichpairs.workflow.select.settings import SelectSettings
from whichpairs.workflow.select.stage import Desk, select

pytestmark = pytest.mark.usefixtures("few_draws")


def picked(folder: Path, *batches: SelectSettings) -> Path:
    """40 prompts of 5 completions whose score is a word's, in batches that are answered by it."""
    rng = np.random.default_rng(0)
    words = ["red", "green", "blue", "dawn", "salt", "iron", "moss", "reed", "tide", "wolf"]
    source = folder.with_suffix(".jsonl")
    with source.open("w", encoding="utf-8") as file:
        for p in range(40):
            for _ in range(5):
                text = " ".join(rng.choice(words, 12))
                row = {"prompt": f"question {p}", "completion": text, "score": text.count("wolf")}
                file.write(json.dumps(row) + "\n")
    import_pool(source, folder, Columns(scores=("score",)), holdout=0.25, beta=0.5)
    compute_features(folder, FeatureSettings(method="text", dim=18))
    for k, settings in enumerate(batches):
        if k:
            label_simulated(folder, "score")
        select(folder, settings)
    return folder


GAP = SelectSettings(budget=40, criterion="gap", controls=5)
AGAIN = SelectSettings(budget=30, criterion="gap", controls=0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of one batch without a label; of two, answered; fitted and judged; at random; by people."""
    folder = tmp_path_factory.mktemp("runs")
    found = {"one": picked(folder / "one", GAP), "two": picked(folder / "two", GAP, AGAIN)}
    label_simulated(found["two"], "score")
    found["judged"] = Path(shutil.copytree(found["two"], folder / "judged"))
    fit_labels(found["judged"])
    evaluate_run(found["judged"], EvaluateSettings(score="score"))
    found["random"] = picked(folder / "random", SelectSettings(budget=20, criterion="random"))
    return found


KINDS = {"one": "predicted", "two": "predicted", "judged": "measured", "random": "unknown"}


def contradictions(facts: Facts, html: str) -> list[str]:
    """What on the page says another thing than its verdict."""
    head = re.sub(r"<[^>]*>", "", html[html.index("<h1>") : html.index("</h1>")])
    whole, arm = whole_run(facts), random_arm(facts)
    assert whole is not None
    found = []
    said = {float(n) for n in re.findall(r'<data class="needs" value="([^"]*)"', html)}
    if said - {float(whole.needs or 0)}:
        found.append(f"random needs {sorted(said)}")
    last = whole.end
    if f'value="{last.ours.mean!r}"' not in html or f'value="{last.random.mean!r}"' not in html:
        found.append("the run's gaps are not on the page")
    if arm is not None:
        better = "Worth it here" in head
        if better != (arm.ahead.low > 0) or ("Not worth" in head) != (arm.ahead.high < 0):
            found.append(f"{head}: {arm.ahead}")
    apart = last.random.mean - last.ours.mean
    fits = {
        "do the work of": apart > 0,
        "do better": apart < 0,
        "do as well": abs(apart) <= 2 * whole.apart,
    }
    if arm is None and any(words in head and not holds for words, holds in fits.items()):
        found.append(f"{head}: {last}")
    if arm is None and not whole.at_random and f"{whole.labels}" not in head:
        found.append(f"{head}: of {whole.labels} labels")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", list(KINDS))
def test_the_headline_contradicts_nothing_on_the_page(name: str, runs: dict[str, Path]) -> None:
    facts = gather(runs[name], None)
    html = compose(runs[name]).html
    assert contradictions(facts, html) == []
    assert f'class="evidence {KINDS[name]}"' in html
    labels = sum(one.labels for one in facts.asked)
    whole = whole_run(facts)
    assert whole is not None
    assert whole.labels == labels == whole.end.labels


def test_one_batch_is_shown_as_it_was_predicted(runs: dict[str, Path]) -> None:
    facts = gather(runs["one"], None)
    [batch], whole = facts.asked, whole_run(facts)
    assert whole is not None
    assert (whole.end.ours.mean, whole.end.random.mean) == (batch.gap, batch.random)
    assert (whole.needs, whole.seen) == (batch.needs, 0)


def test_hindsight_begins_anew_over_what_is_believed_now(runs: dict[str, Path]) -> None:
    """θ* of the belief of all labels, none of them known to either side; the mean over the same draws."""
    facts = gather(runs["two"], None)
    start = beginning(facts.space, facts.batches[-1][1])
    assert start is not None
    now = Desk(facts.space, SelectSettings(budget=1)).forecast
    anew = _Anew.of(start.desk, now)
    assert len(now.known.wins) == 70
    assert len(anew.known.wins) == 0
    assert np.array_equal(anew._stars, now._stars)
    assert not np.allclose(anew._stars, start.desk.forecast._stars)
    rows = np.concatenate([picked_rows(facts.space, name) for name in ("001", "002")])
    whole = whole_run(facts)
    assert whole is not None
    assert whole.end.ours.mean == float(anew.after([rows]).mean())
    assert whole.end.random.mean == float(anew.random(70).mean())
    assert whole.seen == 70


def test_hindsight_sees_a_run_that_asked_the_wrong_pairs(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pairs that lie nearest: random is to do better with fewer; the criterion's own are not."""
    facts = gather(runs["two"], None)
    start = beginning(facts.space, facts.batches[-1][1])
    assert start is not None
    pairs = start.desk.pairs
    every = np.concatenate([p.pairs for p in _all_pairs(pairs)])
    far = np.linalg.norm(pairs.differences(every), axis=1)
    near = every[np.argsort(far)]
    given = {"001": near[:40], "002": near[40:70]}
    module = "whichpairs.report.data.whole_run.picked_rows"
    monkeypatch.setattr(module, lambda space, name, repeated: given[name])
    whole = whole_run(facts)
    assert whole is not None
    assert whole.end.ours.mean > 1.5 * whole.end.random.mean
    assert whole.needs is not None
    assert whole.needs < 50
    said = worth(facts, whole, None)
    assert "Random pairs are predicted to do better" in said.headline.striptags()


class _Some:
    def __init__(self, pairs: np.ndarray) -> None:
        self.pairs = pairs


def _all_pairs(space) -> list[_Some]:
    rows = [
        np.stack(np.triu_indices(b - a, 1), axis=1) + a
        for a, b, ok in zip(space.starts[:-1], space.starts[1:], space.eligible, strict=True)
        if ok
    ]
    return [_Some(one.astype(np.int64)) for one in rows]


def test_the_random_arm_asks_fits_and_judges_as_the_run_did(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where its "random" pairs are the run's own, it is the run's own gain, prompt by prompt."""
    facts = gather(runs["judged"], None)
    arm = random_arm(facts)
    assert arm is not None
    gain = facts.evaluated_last.gain
    assert arm.ours[-1] == (70, gain)
    by_labels = dict(arm.random)
    assert sorted(by_labels) == [35, 70, 140]
    assert arm.ahead.mean == pytest.approx(gain.mean - by_labels[70].mean)
    rows = np.concatenate([picked_rows(facts.space, name) for name in ("001", "002")])
    module = "whichpairs.report.data.random_arm.random_pairs"
    monkeypatch.setattr(module, lambda pairs, n, rng: rows[:n])
    itself = random_arm(facts)
    assert itself is not None
    assert itself.ahead.mean == pytest.approx(0.0, abs=1e-9)


def test_nothing_is_measured_where_others_answered(runs: dict[str, Path]) -> None:
    assert random_arm(gather(runs["two"], None)) is None  # not judged
    space = gather(runs["judged"], None).space
    assert all_simulated(space, "score")
    assert not all_simulated(space, "another")
    space.labels.append(space.labels[0].__class__("p", "x", "y", "a", "Ada", "001"))
    assert not all_simulated(space, "score")


def point(ours: float, random: float) -> Point:
    return Point("002", 100, Mean(ours, 0.01), Mean(random, 0.01))


@pytest.mark.parametrize(
    ("needs", "ours", "random", "said"),
    [
        (180, 0.2, 0.3, "100 labels are predicted to do the work of 180 random ones"),
        (100, 0.2, 0.2, "Random pairs are predicted to do as well as these 100"),
        (
            60,
            0.3,
            0.2,
            "Random pairs are predicted to do better: 60 would do the work of these 100",
        ),
        (None, 0.2, 0.3, "100 labels are predicted to do the work of more than 900 random ones"),
    ],
)
def test_a_prediction_is_said_as_one(needs, ours, random, said, runs: dict[str, Path]) -> None:
    end = point(ours, random)
    whole = WholeRun(100, 90, (end,), 0.01, ((100, end.random),), needs, 900, False)
    found = worth(gather(runs["two"], None), whole, None)
    assert (found.kind, found.headline.striptags()) == ("predicted", said)
    assert "Nobody has asked random pairs here." in found.said.striptags()
    assert gap_curve(whole, "x").startswith("<svg")


def test_a_curve_is_read_off_between_its_points() -> None:
    class Value:
        def __init__(self, mean: float) -> None:
            self.mean = mean

    curve = tuple((n, Value(gain)) for n, gain in ((10, 1.0), (100, 3.0), (1000, 2.0)))
    assert level(curve, 2.0) == pytest.approx(10**1.5)
    assert level(curve, 0.5) is None
    assert level(curve, 3.5) is None


def test_money_and_hours_are_the_users(runs: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    report(runs["judged"], out, cost_per_label=0.5, seconds_per_label=48)
    text = re.sub(r"<[^>]*>", " ", out.read_text(encoding="utf-8"))
    tiles = re.sub(r"\s+", " ", text)
    assert "37.50 for 75 labels, 0.5 each" in tiles
    assert "1.0 h for 75 labels, 48 s each" in tiles
    for wrong in ({"cost_per_label": 0.0}, {"seconds_per_label": float("nan")}):
        with pytest.raises(UserError, match="per label must be a finite number above 0"):
            report(runs["judged"], out, **wrong)
