"""Teaching in a run: training, export, status, report; held-out prompts, labelled pairs and equal texts."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import tiny_models
from cli import fails, ok, pool_rows, tree, write_jsonl
from test_dpo import PREFERENCES, SETTINGS
from whichpairs import (
    FeatureSettings,
    SelectSettings,
    UserError,
    compute_features,
    fit_labels,
    import_pool,
    label_simulated,
    select,
)
from whichpairs.design.estimate.calibrate import calibrated_probability
from whichpairs.report.data.commands import commands
from whichpairs.report.data.facts import gather
from whichpairs.report.sections.gains import _who
from whichpairs.train.dpo import set_aside, train_dpo
from whichpairs.train.trainer import Rows, make_trainer
from whichpairs.workflow.status import status
from whichpairs.workflow.train.teach import first_of_text
from whichpairs.workflow.workspace import workspace

pytestmark = pytest.mark.usefixtures("few_draws")

MODEL = str(tiny_models.folder())
TRAIN = ["--model", MODEL, "--device", "cpu", "--learning-rate", 3e-3, "--batch-size", 8]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> Path:
    """Twenty prompts of five completions; features that foretell the 60 labels."""
    folder = tmp_path_factory.mktemp("teach")
    rows = pool_rows(20)
    write_jsonl(folder / "pool.jsonl", rows)
    phi = np.random.default_rng(0).standard_normal((100, 3))
    phi[:, 0] = [row["score"] for row in rows]
    np.save(folder / "phi.npy", phi)
    run = folder / "run"
    import_pool(folder / "pool.jsonl", run, holdout=0.2, beta=0.3, seed=2)
    compute_features(run, FeatureSettings(method="file", file=folder / "phi.npy"))
    select(run, SelectSettings(budget=60, criterion="random", controls=6))
    label_simulated(run, "score")
    fit_labels(run)
    return run


@pytest.fixture
def run(fitted: Path, tmp_path: Path) -> Path:
    return shutil.copytree(fitted, tmp_path / "run")


@pytest.fixture
def taken(monkeypatch) -> list[Rows]:
    """The rows that reach TRL, one entry a training."""
    found: list[Rows] = []

    def keep(lm, rows, *args, **options):
        found.append(rows)
        return make_trainer(lm, rows, *args, **options)

    monkeypatch.setattr("whichpairs.train.dpo.make_trainer", keep)
    return found


def test_a_policy_is_taught_beside_its_labels(run: Path, capsys, taken) -> None:
    train = ["train", "--run", run, *TRAIN]
    done = ok(capsys, *train, "--teach", 16, "--label-weight", 2)
    assert done["labels"] == 60
    assert done["steps"] == 10  # of 76 pairs, eight a step
    taught = done["taught"]
    assert {k: v for k, v in taught.items() if k != "confidence"} == {
        "pairs": 16,
        "chosen_by": "random",
        "scale": 1.0,
        "label_weight": 2.0,
        "fit": "001",
        "pairs_left_out": 0,
    }
    assert 0.6 < taught["confidence"] < 1.0
    assert done["moved"]
    assert taken[0].weight.tolist() == [2.0] * 60 + [1.0] * 16
    assert taken[0].target[:60].tolist() == [1.0] * 60
    assert taken[0].target[60:].mean() == pytest.approx(taught["confidence"])
    assert ok(capsys, *train, "--teach", 16, "--label-weight", 2)["done_before"]
    manifest = json.loads((run / "policies/001/manifest.json").read_text())
    names = ("teach", "teach_pairs", "teach_scale", "label_weight", "fit")
    assert [manifest["settings"][n] for n in names] == [16, "random", 1.0, 2.0, "001"]
    assert "policies     001 (taught by fit 001 on 16 pairs)" in status(run).message
    facts = gather(run, None)
    assert _who(facts, "001") == "policy 001, taught by fit 001"
    assert _who(facts, "002") == "policy 002"
    [line] = [c for c in commands(facts.space) if "--teach" in c]
    for words in ("--teach 16", "--label-weight 2", "--fit 001"):
        assert words in line
    assert "--teach-" not in line  # as the defaults are


def test_what_is_exported_is_what_is_taught(run: Path, tmp_path: Path, capsys) -> None:
    """No label's pair, no held-out prompt; the fit's probabilities, row by row."""
    out = tmp_path / "soft.jsonl"
    command = ["export", out, "--run", run, "--teach", 40]
    done = ok(capsys, *command)
    assert (done["rows"], done["pairs"], done["taught"]["pairs"]) == (100, 60, 40)
    rows, beside = (
        [json.loads(x) for x in p.read_text().splitlines()] for p in (out, beside_of(out))
    )
    assert [row["taught"] for row in rows] == [False] * 60 + [True] * 40
    assert [row.get("taught", False) for row in beside] == [row["taught"] for row in rows]
    assert {row["probability"] for row in rows[:60]} <= {1.0} | {b["probability"] for b in beside}
    ids = [row["pair_id"] for row in beside]
    assert len(set(ids)) == 100
    with workspace(run) as space:
        pool, belief = space.pool, space.calibration("001", "file")
        phi = space.feature_set("file")[2]
        held = set(pool.prompts.filter(pool.prompts["holdout"])["prompt"])
        place = dict(zip(zip(*prompt_and_text(pool), strict=True), range(100), strict=True))
    assert len(held) == 4
    for row in rows[60:]:
        assert row["prompt"] not in held
        a, b = (place[row["prompt"], row[side]] for side in ("chosen", "rejected"))
        z = phi[[a]].astype(float) - phi[[b]]
        assert row["probability"] == pytest.approx(calibrated_probability(belief, z, 0.3)[0])

    drawn = tmp_path / "drawn.jsonl"
    ok(capsys, "export", drawn, "--run", run, "--teach", 40, "--teach-labels", "drawn")
    answers = [json.loads(x) for x in drawn.read_text().splitlines()]
    assert {tuple(row) for row in answers} == {("prompt", "chosen", "rejected")}
    turned = [one["chosen"] != row["chosen"] for one, row in zip(answers, rows, strict=True)]
    assert sum(turned[:60]) == 0 < sum(turned[60:]) < 20
    stated = [json.loads(x)["probability"] for x in beside_of(drawn).read_text().splitlines()]
    for k in range(60, 100):
        p = rows[k]["probability"]
        assert stated[k] == pytest.approx(1 - p if turned[k] else p)


def beside_of(out: Path) -> Path:
    return out.with_name(out.name + ".ids.jsonl")


def prompt_and_text(pool):
    names = dict(zip(pool.prompts["prompt_id"], pool.prompts["prompt"], strict=True))
    return [names[p] for p in pool.completions["prompt_id"]], pool.completions[
        "completion"
    ].to_list()


def test_equal_texts_are_one(run: Path) -> None:
    """A text that ended by itself, and the same cut off there, are two completions of one text."""
    with workspace(run) as space:
        table = space.pool.completions
        texts = table["completion"].to_list()
        texts[7] = texts[9] = texts[5]  # of one prompt
        texts[12] = texts[5]  # of another
        pool = replace(space.pool, completions=table.with_columns(completion=pl.Series(texts)))
    want = np.arange(100)
    want[[7, 9]] = 5
    assert np.array_equal(first_of_text(pool), want)


def test_labels_of_a_coin_teach_nothing(run: Path, tmp_path: Path, capsys) -> None:
    """One line, exit code 2, nothing written; labels that came after the fit are asked for first."""
    with workspace(run) as space:
        rng = np.random.default_rng(0)
        coins = [replace(x, choice="ab"[rng.integers(2)], probability=None) for x in space.labels]
        coins = [replace(x, annotator=f"coin {k}") for x in coins for k in range(6)]
        for x, y in zip(coins[::2], coins[1::2], strict=True):
            assert x.pair_id == y.pair_id
        space.store.add([replace(x, choice="ab"[k % 2]) for k, x in enumerate(coins)])
    train = ["train", "--run", run, *TRAIN, "--teach", 16]
    said = fails(capsys, *train)
    assert f"labels came, or changed, after fit 001. run: whichpairs fit --run {run}" in said
    ok(capsys, "fit", "--run", run)
    there = tree(run)
    said = fails(capsys, *train, "--fit", "001")
    assert f"after fit 001. run: whichpairs fit --run {run}, and leave out --fit" in said
    for command in (
        [*train, "--teach-scale", 100, "--teach-pairs", "margin"],
        ["export", tmp_path / "out.jsonl", "--run", run, "--teach", 16],
    ):
        said = fails(capsys, *command)
        assert "a fit can teach only where it foretells left-out labels better than a coin" in said
        assert "label more pairs, then run: whichpairs fit" in said
    assert tree(run) == there
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--teach", 0], "--teach must be at least 1 pair; got 0"),
        (["--teach", 9999], "asked for 9999; by random there are 100. pass --teach 100"),
        (
            ["--teach", 4, "--fit", "007"],
            "--fit must name one of the run's; got '007'; there is 001",
        ),
        (["--teach", 4, "--fit", "reference"], "got 'reference'; there is 001"),
        (["--teach-scale", 2], "got one of them without it. pass --teach N"),
        (["--teach", 4, "--label-weight", 0], "--label-weight must be a finite number above 0"),
        (["--teach", 4, "--teach-pairs", "worst"], "must be one of random, margin, best-worst"),
    ],
)
def test_mistakes(fitted: Path, capsys, options, said) -> None:
    there = tree(fitted)
    assert said in fails(capsys, "train", "--run", fitted, *TRAIN, *options)
    assert tree(fitted) == there


def test_a_fit_comes_first(fitted: Path, tmp_path: Path, capsys) -> None:
    run = shutil.copytree(fitted, tmp_path / "run")
    shutil.rmtree(run / "fits")
    said = fails(capsys, "train", "--run", run, *TRAIN, "--teach", 4)
    assert f"there is none. run: whichpairs fit --run {run}" in said


def test_beside_answers_and_never_in_validation(tmp_path: Path, taken) -> None:
    """Validation is by answers alone, and taught pairs of its prompts are left out. A hard answer is learnt
    as 1 whatever its probability, a taught pair by its own; by their weights."""
    settings = replace(SETTINGS, validation=0.34, seed=1, epochs=1, learning_rate=1e-12)
    kept, aside = set_aside(PREFERENCES, 0.34, 1)
    out = {p.chosen.prompt for p in aside}
    hard = [replace(p, probability=0.6, weight=3.0) for p in PREFERENCES]
    free = [replace(p, pair_id="free", probability=0.8) for p in PREFERENCES]
    inside = [p for p in free if p.chosen.prompt not in out]
    done = train_dpo(
        tiny_models.folder(), hard, settings, tmp_path / "p", taught=free, device="cpu"
    )
    assert (done.taught, done.aside, done.equal) == (len(inside), len(aside), 0)
    assert len(done.validation_losses) == 2
    [rows] = taken
    assert rows.target.tolist() == [1.0] * len(kept) + [0.8] * len(inside)
    assert rows.weight.tolist() == [3.0] * len(kept) + [1.0] * len(inside)
    only = [p for p in free if p.chosen.prompt in out]
    with pytest.raises(UserError, match="not set aside for validation; all"):
        train_dpo(tiny_models.folder(), hard, settings, tmp_path / "q", taught=only, device="cpu")
