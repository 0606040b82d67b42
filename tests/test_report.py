"""The page tells what the manifests say, claims no gain without evidence, and trusts no text."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from whichpairs.cli import main
from whichpairs.design.estimate.bradley_terry import Quality
from whichpairs.errors import UserError
from whichpairs.label.judge import RUBRIC
from whichpairs.pool.columns import Columns
from whichpairs.report.compose import compose
from whichpairs.report.data.applied import applied
from whichpairs.report.data.commands import commands
from whichpairs.report.data.design_curves import Curves, beginning, choice, picked_rows, standpoint
from whichpairs.report.data.effort import Prices, effort
from whichpairs.report.data.facts import Facts, gather
from whichpairs.report.data.records import fitted_of
from whichpairs.report.data.whole_run import WholeRun, whole_run
from whichpairs.report.page.format import common_start, excerpt, nearly, percent, signed, visible
from whichpairs.report.sections.gains import _evaluation_table
from whichpairs.report.sections.headline import Against, gain
from whichpairs.report.sections.headline import verdict as head_of
from whichpairs.report.sections.learned import _calibration, _fit_lead, _held_out
from whichpairs.report.sections.provenance import made
from whichpairs.report.sections.solve import convergence
from whichpairs.report.stage import report
from whichpairs.run.folder import Record, create_run, open_run
from whichpairs.wording import number
from whichpairs.workflow.evaluate.settings import EvaluateSettings
from whichpairs.workflow.evaluate.stage import evaluate_run
from whichpairs.workflow.features.settings import FeatureSettings
from whichpairs.workflow.features.stage import compute_features
from whichpairs.workflow.fit import fit_labels
from whichpairs.workflow.import_pool import import_pool
from whichpairs.workflow.label.stage import label_simulated
from whichpairs.workflow.select.settings import SelectSettings
from whichpairs.workflow.select.stage import select
from whichpairs.workflow.workspace import Workspace

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "bell \x07 escape \x1b[31m override \u202e end {{ 7 * 7 }} {n} $x_1$",
    "</p></section></style><iframe src='http://evil.example/'>",
]
pytestmark = pytest.mark.usefixtures("few_draws")
VOID = {"meta", "br", "hr", "img", "link", "input"}


class Reader(HTMLParser):
    """Elements, attributes, visible words and exact numbers of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.numbers: list[tuple[str, str]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "data":
            self.numbers.append((dict(attrs)["value"], ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "data":
            self.numbers[-1] = (self.numbers[-1][0], self.numbers[-1][1] + data)
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


@pytest.fixture(scope="module")
def pool_file(tmp_path_factory):
    """40 prompts of 5 completions; every text holds something hostile."""
    rng = np.random.default_rng(0)
    words = ["red", "green", "blue", "dawn", "salt", "iron", "moss", "reed", "tide", "wolf"]
    path = tmp_path_factory.mktemp("pool") / "pool.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for p in range(40):
            for c in range(5):
                text = " ".join(rng.choice(words, 12)) + f" {c} " + HOSTILE[c % len(HOSTILE)]
                row = {"prompt": f"{HOSTILE[p % 4]} question {p}", "completion": text}
                file.write(json.dumps(row | {"score": float(rng.normal())}) + "\n")
    return path


def imported(pool_file: Path, run: Path) -> Path:
    import_pool(pool_file, run, Columns(scores=("score",)), holdout=0.25, beta=0.5)
    return run


def picked(pool_file: Path, run: Path, budget: int = 20, **settings) -> Path:
    imported(pool_file, run)
    compute_features(run, FeatureSettings(method="text", dim=18))
    select(run, SelectSettings(budget=budget, **{"controls": 0, **settings}))
    return run


def verdict(facts: Facts, whole: WholeRun | None = None):
    """The head of the page, without a measurement."""
    return head_of(facts, Against(whole, None, effort(facts, Prices())))


def read(page: Path) -> Reader:
    return Reader(page.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def two_batches(pool_file, tmp_path_factory):
    """A run with two batches, the first labelled, fitted and evaluated; the second, adaptive, has
    more than the 72 labels behind it that are random first."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    picked(pool_file, run, budget=80, criterion="gap", controls=10)
    label_simulated(run, "score")
    fit_labels(run)
    evaluate_run(run, EvaluateSettings(score="score"))
    select(run, SelectSettings(budget=15, controls=0))
    return run


@pytest.fixture(scope="module")
def whole_page(two_batches):
    outcome = report(two_batches)
    assert outcome.result["file"] == str(two_batches / "report.html")
    assert str(two_batches / "report.html") in outcome.message
    assert not outcome.result["missing"]
    assert "Measured against random" in (two_batches / "report.html").read_text(encoding="utf-8")
    return (two_batches / "report.html").read_text(encoding="utf-8")


# --- safety ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_hostile_texts_stay_text(whole_page):
    page = Reader(whole_page)
    assert not page.open
    assert not {"script", "img", "iframe", "link", "object", "base", "form"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "alert(1)" in page.text
    assert "{{ 7 * 7 }} {n}" in page.text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", whole_page)
    assert r"\x1b[31m" in page.text


@pytest.mark.slow
def test_nothing_is_loaded(whole_page):
    page = Reader(whole_page)
    for name, value in page.attributes:
        if name in {"src", "href", "xlink:href", "srcset", "action", "data", "poster"}:
            assert value
            assert value.startswith("#")
    style = " ".join(re.findall(r"<style.*?</style>", whole_page, re.DOTALL))
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in whole_page


@pytest.mark.slow
def test_a_hostile_run_folder_and_column_stay_text(pool_file, tmp_path):
    hostile = tmp_path / "<img src=x>"
    rows = [json.loads(line) for line in pool_file.read_text(encoding="utf-8").splitlines()]
    source = tmp_path / "named.jsonl"
    named = [{**row, "<b>s</b>{x}": row["score"]} for row in rows]
    source.write_text("".join(json.dumps(row) + "\n" for row in named), encoding="utf-8")
    import_pool(source, hostile, Columns(scores=("<b>s</b>{x}",)), holdout=0.25)
    compute_features(hostile, FeatureSettings(method="text", dim=18))
    select(hostile, SelectSettings(budget=4))
    label_simulated(hostile, "<b>s</b>{x}")
    fit_labels(hostile)
    evaluate_run(hostile, EvaluateSettings(score="<b>s</b>{x}"))
    report(hostile)
    page = read(hostile / "report.html")
    assert "img" not in page.tags
    assert "<b>s</b>{x}" in page.text


# --- figures --------------------------------------------------------------------------------------


def test_figures_speak(whole_page):
    page = Reader(whole_page)
    figures = page.tags.count("figure")
    assert figures == 2 + 5 + 1 + 1 + 1 + 4
    assert page.tags.count("figcaption") == figures
    pictures = whole_page.count('role="img" aria-label="')
    assert pictures == page.tags.count("svg") == figures + 2  # curves are drawn for phones too
    assert whole_page.count('class="as-table"') == figures  # each is there as a table too
    assert page.tags.count("h1") == 1
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    for name in re.findall(r"url\(#([^)]+)\)", whole_page):
        assert name in ids
    assert "#0101" not in whole_page  # stand-in colours
    assert "DejaVu" not in whole_page


# --- numbers --------------------------------------------------------------------------------------


def test_numbers_are_the_manifests(two_batches, whole_page):
    page = Reader(whole_page)
    shown = dict(page.numbers)
    run = open_run(two_batches)
    for name in run.finished("batches"):
        r = run.record("batches", name).result
        for key in ("predicted_gap_before", "predicted_gap", "random_predicted_gap"):
            assert shown[repr(r[key])] == number(r[key])
        assert shown[repr(r["certificate"])] == percent(r["certificate"])
        assert shown[repr(r["labels_random_would_need"])] == str(r["labels_random_would_need"])
    assert shown[repr(1.0 - r["regret_share"])] == nearly(1.0 - r["regret_share"])  # the latest
    fit = run.record("fits", "001").result
    assert shown[repr(fit["cv_log_loss"])] == number(fit["cv_log_loss"])
    assert fit["held_out_labels"] == 10  # too few for a figure
    assert not {repr(fit[k]) for k in ("held_out_log_loss", "held_out_calibration_error")} & {
        *shown
    }
    gain = run.record("evaluations", "001").result["gain"]
    for key in ("low", "high"):
        assert shown[repr(gain[key])] == signed(gain[key])
    assert gain["mean"] in [float(value) for value, _ in page.numbers]


def test_the_head_is_the_manifests(two_batches):
    facts = gather(two_batches, None)
    head = verdict(facts)
    said = {word: dict(Reader(str(text)).numbers) for word, text in head.sentences}
    assert said["Picked"] == {"95": "95", repr(300): "300", "10": "10", "90": "90"}
    tiles = [dict(Reader(str(tile.value)).numbers) for tile in head.tiles]
    assert tiles[0] == {"95": "95"}
    assert repr(facts.judged[1].result["gain"]["low"]) in said["Gain"]


@pytest.mark.slow
def test_curves_are_of_the_belief_before_the_latest_batch(two_batches):
    """What select said of that batch and of random in its place lies on them, to the digit."""
    space = Workspace(open_run(two_batches))
    for name in ("001", "002"):
        record = space.run.record("batches", name)
        stood = standpoint(space, (name, record))
        size = record.result["picked"]
        curves = stood.curves((size, 8 * size), [size])
        assert stood.before == {"001": 0, "002": 80}[name]
        assert (
            dict((n, mean) for n, mean, _ in curves.random)[stood.before + size]
            == (record.result["random_predicted_gap"])
        )
        assert float(stood.desk.forecast.now().mean()) == record.result["predicted_gap_before"]
        rows = picked_rows(space, name)
        assert record.result["predicted_gap"] == pytest.approx(
            stood.desk.forecast.after([rows]).mean(), rel=0.5
        )  # of the same pairs in another order: other draws of the answers, eight of them
        assert curves.best[0][0] - stood.before == size
        assert curves.best[-1][1] < curves.best[0][1]


def test_scores_are_marginal_information(two_batches):
    """The score of a pair is what a little more of it takes off f, in units of the random median."""
    space = Workspace(open_run(two_batches))
    start = beginning(space, space.run.record("batches", "002"))
    found = choice(space, "002", start)
    m, weight = start.learned("002"), 0.5**2 / 4
    slopes = []
    for rows in (found.pairs[:3], found.others[:400]):
        z = start.desk.pairs.differences(rows)
        step = [1e-6 * weight * np.outer(one, one) for one in z]
        gap = start.desk.gap.value
        slopes.append([(gap(m - s) - gap(m + s)) / 2e-6 for s in step])
    ratio = np.array(slopes[0]) / slopes[1][0]
    assert found.scores[:3] / found.other_scores[0] == pytest.approx(ratio, rel=1e-4)
    assert np.median(found.other_scores) == pytest.approx(1.0)


def test_random_needs_is_read_off_the_curve():
    curves = Curves([(10, 1.0, 0.0), (100, 0.1, 0.0)], [])
    assert curves.random_needs(0.1**0.5) == pytest.approx(10**1.5)
    assert curves.random_needs(2.0) is None
    assert curves.random_needs(0.01) is None


# --- honesty --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_no_gain_is_claimed_without_an_evaluation(pool_file, tmp_path):
    run = picked(pool_file, tmp_path / "run")
    out = tmp_path / "other" / "page.html"
    outcome = report(run, out)
    text = read(out).text
    assert "Unknown: no fitted or trained policy has been evaluated" in text
    assert "rose by" not in text
    assert set(outcome.result["missing"]) == {"fit", "outcome", "gain"}
    assert "whichpairs label" in outcome.result["missing"]["fit"]
    assert not (run / "report.html").exists()
    label_simulated(run, "score")
    fit_labels(run)
    evaluate_run(run, EvaluateSettings(score="score", policy="reference"))
    report(run, out)
    text = read(out).text
    assert "Unknown: no fitted or trained policy has been evaluated" in text
    assert "rose by" not in text
    assert "is unknown: none of them has a label" in text
    assert "--controls" in text


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.1, 0.3, "rose by 0.2"), (-0.1, 0.3, "None shown"), (-0.3, -0.1, "FELL by 0.2"),
     (None, None, "Unknown")],
)  # fmt: skip
def test_a_gain_is_as_sure_as_its_interval(two_batches, low, high, said):
    facts = gather(two_batches, None)
    name, record = facts.evaluations[0]
    mean = 0.2 if low is None else (low + high) / 2
    value = {"mean": mean, "standard_error": None, "low": low, "high": high}
    facts.evaluations = [(name, replace(record, result={**record.result, "gain": value}))]
    sentence = str(gain(facts).striptags())
    assert said in sentence
    assert ("rose by" in sentence) == (low == 0.1)


def test_the_head_tells_predictions_and_who_was_taught(two_batches):
    """A saving is a prediction, and the first screen says that a gain is not the labels' alone."""
    facts = gather(two_batches, None)
    taught = {"fit": "001", "pairs": 3200}
    policy = Record("train", {}, {}, {"labels": 80, "taught": taught})
    evaluation = facts.evaluations[0][1]
    judged = replace(
        evaluation,
        settings={**evaluation.settings, "score": None, "reward": "folder"},
        result={**evaluation.result, "gain": {"mean": 0.2, "low": 0.1, "high": 0.3}},
    )
    facts = replace(facts, policies=[("001", policy)], evaluations=[("001", judged)])
    head = verdict(facts)
    said = {word: str(sentence.striptags()) for word, sentence in head.sentences}
    assert said["Policy"].startswith("Policy 001: DPO on 80 labels, and on 3")
    assert "that nobody was asked about, taught by fit 001" in said["Policy"]
    assert "of policy 001, taught by fit 001 rose by 0.2" in said["Gain"]
    assert "policy 001, taught by fit 001" in str(head.tiles[-1].words)
    plain = replace(policy, result={"labels": 80, "taught": None})
    sentences = dict(verdict(replace(facts, policies=[("001", plain)])).sentences)
    assert str(sentences["Policy"].striptags()) == "Policy 001: DPO on 80 labels."


@pytest.mark.slow
def test_labels_after_the_evaluated_fit_are_told(pool_file, tmp_path):
    run = picked(pool_file, tmp_path / "run")
    label_simulated(run, "score")
    fit_labels(run)
    evaluate_run(run, EvaluateSettings(score="score"))
    assert not verdict(gather(run, None)).warnings
    select(run, SelectSettings(budget=5))
    label_simulated(run, "score")
    (warning,) = verdict(gather(run, None)).warnings
    assert "Labels came after fit 001 was made" in warning


@pytest.mark.slow
def test_replaced_features_are_not_passed_off_as_those_of_the_batch(pool_file, tmp_path):
    run = picked(pool_file, tmp_path / "run")
    compute_features(run, FeatureSettings(method="text", dim=19), replace=True)
    text = Reader(compose(run).html).text
    assert "no longer there" in text
    assert "median picked pair" not in text


@pytest.mark.slow
def test_other_criteria_have_no_borrowed_certificate(pool_file, tmp_path):
    run = picked(pool_file, tmp_path / "run", criterion="random")
    outcome = report(run)
    text = read(run / "report.html").text
    assert "20 labels of random pairs: there is nothing to compare with random" in text
    assert "Batch 001 has none: this criterion has none" in text
    assert "convergence" in outcome.result["missing"]
    select(run, SelectSettings(budget=10, criterion="d-optimal"), another=True)
    text = Reader(compose(run).html).text
    assert "from the best possible D-efficiency" in text
    assert "−log det M" in text


def test_a_certificate_says_what_it_holds_for_and_once(two_batches, whole_page):
    facts = gather(two_batches, None)
    wary = facts.asked[-1]
    text = Reader(whole_page).text
    share = percent(wary.certificate).replace("\u2009", " ")
    said = f"If the model holds, the criterion of batch 002 is at most {share} above the least that any"
    assert f"{said} batch of its size can have (what caution costs included)." in text
    # One verdict on what a run is worth: the criterion's distance stands with the solve alone.
    head = verdict(facts)
    words = [*(str(t) for _, t in head.sentences), *(str(t.words) for t in head.tiles)]
    assert not any("closes" in one or "above the least" in one for one in words)
    assert "That is how well a criterion was solved, and not how many labels it saves." in text
    assert text.count("Of the distance in that value from a random batch to the bound") == 1
    assert "and the gap expected from the labels so far, warily of the model" in text
    assert text.count("the large dot is the batch that was picked, warily") == 1
    assert "A part of an adaptive batch is random" in text


def test_a_batch_without_a_bound_says_why(two_batches):
    facts = gather(two_batches, None)
    name, record = facts.batches[-1]
    nothing = {"certificate": None, "criterion_bound": None, "regret_share": None}
    facts.batches = [(name, replace(record, result={**record.result, **nothing}))]
    [lead] = convergence(facts).lead
    assert "its lower bound is not above 0 yet (more --passes)" in lead.striptags()


@pytest.mark.slow
def test_luck_of_a_random_start_is_no_merit(pool_file, tmp_path):
    run = picked(pool_file, tmp_path / "run")
    facts = gather(run, None)
    name, record = facts.batches[0]
    assert (record.result["criterion"], record.result["random_picked"]) == ("adaptive", 20)
    lucky = {"labels_random_would_need": 27, "regret_share": 1.02}
    facts.batches = [(name, replace(record, result={**record.result, **lucky}))]
    whole = whole_run(facts)
    head = verdict(facts, whole)
    assert whole.end.ours.mean == whole.end.random.mean
    assert "nothing to compare with random" in head.worth.headline.striptags()
    assert len(head.tiles) == 4
    assert "27" not in Reader(str(head.worth.headline)).text
    [lead, *_] = convergence(facts).lead
    assert " of its size can have (what chance costs included). That is" in lead.striptags()


# --- runs that have only begun --------------------------------------------------------------------


@pytest.mark.slow
def test_a_pool_alone_names_the_next_command(pool_file, tmp_path):
    run = imported(pool_file, tmp_path / "run")
    outcome = report(run)
    text = read(run / "report.html").text
    command = f"whichpairs features --run {run} --method text"
    assert f"Next{command}" in text
    assert outcome.result["sections"] == ["next", "made"]
    assert outcome.result["missing"]["budget"] == command
    assert "Nothing is picked yet" in text
    compute_features(run, FeatureSettings(method="text", dim=18))
    outcome = report(run)
    assert outcome.result["sections"] == ["budget", "next", "made"]
    text = read(run / "report.html").text
    assert "well-chosen pairs are predicted to do the work of" in text
    assert f"whichpairs select --run {run} --budget N" in text


def test_a_run_without_a_pool_has_a_page(tmp_path):
    create_run(tmp_path / "run", 0.1, 0)
    assert report(tmp_path / "run").result["sections"] == ["next", "made"]
    assert "whichpairs import FILE" in read(tmp_path / "run" / "report.html").text


def test_mistakes_are_named(tmp_path, two_batches):
    with pytest.raises(UserError, match="run folder"):
        report(tmp_path / "none")
    with pytest.raises(UserError, match="one beta"):
        report(two_batches, beta=0.1)
    with pytest.raises(UserError, match="is a folder"):
        report(two_batches, tmp_path)


# --- the commands, and words ----------------------------------------------------------------------


def test_the_commands_are_those_that_made_the_run(two_batches, capsys):
    lines = commands(gather(two_batches, None).space)
    stages = [shlex.split(line)[1] for line in lines]
    expected = ["import", "features", "select", "label", "fit", "evaluate", "select"]
    assert sorted(stages) == sorted(expected)
    assert stages[:2] == expected[:2]
    for line, stage in zip(lines, stages, strict=True):
        if stage in {"import", "features", "fit", "evaluate"}:
            with pytest.raises(SystemExit) as stopped:
                main([*shlex.split(line)[1:], "--json"])
            assert stopped.value.code == 0
            assert json.loads(capsys.readouterr().out)["done_before"], line
    assert "--budget 80" in lines[2]
    assert "--controls 10" in lines[2]
    assert "--criterion gap" in lines[2]
    [second] = [line for line in lines if "--budget 15" in line]
    assert "--criterion" not in second  # adaptive is the default
    assert f"whichpairs label --run {two_batches} --simulate score --temperature 1" in lines


def test_only_settings_that_applied_are_shown(two_batches):
    """An exact evaluation on the pool draws nothing: no length, no number of samples, no seed."""
    facts = gather(two_batches, None)
    [evaluate] = [x for x in commands(facts.space) if x.startswith("whichpairs evaluate")]
    assert "--max-new-tokens" not in evaluate
    shown = {str(row[0]).split()[0]: str(row[2]) for row in made(facts).tables[1].rows}
    assert "samples" not in shown["evaluations"]
    assert "seed" not in shown["evaluations"]
    assert "columns.pair" not in shown["pool"]
    assert "passes" in shown["batches"]
    record = Record("select", {"criterion": "random", "passes": 3, "budget": 9}, {}, {})
    assert applied("batches", record) == {"criterion": "random", "budget": 9}
    sampled = Record("evaluate", {"score": None, "reward": "folder", "samples": 8}, {}, {})
    assert applied("evaluations", sampled) == sampled.settings


def test_rows_of_evaluations_differ_by_what_differs(two_batches):
    """Two that differ in what was drawn are told apart; the reference has one row, not two alike."""
    facts = gather(two_batches, None)
    [(_, record)] = facts.evaluations

    def drawn(seed, policy="001"):
        settings = {**record.settings, "score": None, "reward": "folder", "seed": seed}
        settings |= {"samples": 8, "max_new_tokens": 64}
        return replace(record, settings=settings, result={**record.result, "policy": policy})

    found = [("001", drawn(1)), ("002", drawn(2)), ("003", drawn(2, "reference")), ("004", record)]
    rows = [str(row[0]) for row in _evaluation_table(replace(facts, evaluations=found)).rows]
    assert len(set(rows)) == len(rows) == 7
    assert rows[0].startswith("001: policy 001, by reward")
    assert rows[0].endswith('seed <data value="1">1</data>')
    assert rows[2].endswith('seed <data value="2">2</data>')
    assert rows[4].startswith("003: the reference, by")
    assert rows[5].startswith("004: fit ")


def test_judgements_and_capabilities_are_of_how_it_was_made(two_batches, tmp_path):
    copied = tmp_path / "copied"
    shutil.copytree(two_batches, copied)
    asked = {
        "judgements": {"policy": "001", "judge_model": "large", "rubric": RUBRIC, "samples": 4},
        "capabilities": {"policy": "001", "tasks": "items.jsonl"},
    }
    for kind, settings in asked.items():
        (copied / kind / "001").mkdir(parents=True)
        record = Record("evaluate", settings, {}, {}, {}, "2030-01-01T00:00:00Z")
        (copied / kind / "001" / "manifest.json").write_text(json.dumps(asdict(record)))
    facts = gather(copied, None)
    names = [str(row[0]) for row in made(facts).tables[1].rows]
    assert names[-2:] == ["judgements 001", "capabilities 001"]
    judged, checked = commands(facts.space)[-2:]
    assert "--judge URL --policy 001 --judge-model large --samples 4" in judged
    assert "--rubric" not in judged
    assert "--tasks items.jsonl" in checked


def test_importing_the_stage_is_light():
    code = "import sys, whichpairs.report.stage\n"
    code += "print([m for m in ('matplotlib', 'jinja2', 'torch', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_words_read_well():
    assert [number(x) for x in (0.0103237, 3049.4, 0.0, -2.5, 8e-16, 0.0999951)] == [
        "0.0103", "3\u202f049", "0", "−2.50", "0", "0.100",
    ]  # fmt: skip
    assert number(2.34e-7) == "2.34\u2009×\u200910⁻⁷"
    assert percent(0.0021939) == "0.22\u2009%"
    assert [nearly(x)[:-2] for x in (0.998826, 0.999999, 1.0, 0.5)] == [
        "99.88", "99.9999", "100", "50",
    ]  # fmt: skip
    assert visible("a\x00b\ud800\u202e\nc") == "a\\x00b\\ud800\\u202e\nc"


def test_excerpts_show_the_difference():
    same = "x" * 900
    start = common_start(same + "left", same + "right")
    assert "left" in excerpt(same + "left", start)[0]
    assert common_start("one", "two") == 0
    text, note = excerpt("y" * 1000)
    assert (len(text), note) == (401, "600 more characters")
    assert excerpt("z" * 430 + "  ") == ("z" * 430, "")


@pytest.mark.parametrize(
    ("answers", "share", "words"),
    [
        (30, 0.7, "Too few answers (30) to tell"),
        (10, 0.7031, "Too few answers (10) to tell"),
        (10, 0.999, "Too few answers (10) to tell"),  # two standard errors mean little there
        (2000, 0.7, "agree within noise"),
        (2000, 0.9, "too timid"),
        (2000, 0.55, "too sure"),
        (30, 0.999, "too timid"),
    ],
)
def test_what_is_said_of_calibration_needs_answers_enough(answers, share, words) -> None:
    held = Quality(answers, None, 0.5, 0.0, [(0.7, share, answers)])
    caption = str(_calibration(held).caption.striptags())
    assert words in caption
    lean = percent(abs(round(share - 0.7, 9))).replace("\u2009", " ")
    shown = f"½ by {lean} (±" in caption
    assert shown == ("too" in words and "Too few" not in words)  # a lean only where it is one


@pytest.mark.parametrize(
    ("labels", "accuracy", "loss", "words"),
    [
        (1, 1.0, 0.1, "1 answer of held-out prompts is too few to tell how well fit 002 predicts"),
        (29, 0.9, 0.4, "29 answers of held-out prompts are too few to tell"),
        (30, 0.65, 0.6, "A coin would often name as many"),
        (30, 0.9, 0.7, "That is no better than a coin."),
        (30, 0.9, 0.4, "names the preferred completion in 90 % of them"),
        (400, 0.6, 0.66, "(a coin: 0.693)."),
    ],
)
def test_what_is_said_of_a_fit_needs_answers_enough(labels, accuracy, loss, words) -> None:
    held = Quality(labels, accuracy, loss, 0.0, [])
    said = str(_fit_lead("002", held).striptags()).replace("\u2009", " ")
    assert words in said
    assert ("%" in said) == (labels >= 30)
    record = Record("fit", {}, {}, {"labels": 9, "prior_strength": 1.0, "cv_log_loss": 0.6})
    record.result.update(held_out_labels=labels, held_out=asdict(held))
    assert (_held_out(fitted_of("001", record)) == ["too few", "too few"]) == (labels < 30)
