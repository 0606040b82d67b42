"""Rounds of select, label and fit: the plan, people, commands, kills, and when to stop."""

import json
import os
import random
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit

from cli import fails, ok, pool_rows, tree, write_jsonl
from whichpairs import LoopSettings, UserError, loop
from whichpairs.cli import main
from whichpairs.evaluate.interval import Interval, interval
from whichpairs.run.once import Outcome
from whichpairs.workflow.label import command as asking
from whichpairs.workflow.loop import stage as rounds
from whichpairs.workflow.loop import standing
from whichpairs.workflow.schedule import next_total, plan_rounds
from whichpairs.workflow.workspace import workspace

pytestmark = pytest.mark.usefixtures("few_draws")

SIMULATE = ["--simulate", "score", "--temperature", 2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[float, Path]:
    """Runs with a pool and features, by their share of held-out prompts; tests copy them."""
    folder, found = tmp_path_factory.mktemp("made"), {}
    source = write_jsonl(folder / "pool.jsonl", pool_rows(30, 5))
    phi = np.random.default_rng(0).standard_normal((150, 3)).astype(np.float32)
    phi[:, 0] += [row["score"] for row in pool_rows(30, 5)]
    np.save(folder / "phi.npy", phi)
    for share in (0.0, 0.05, 0.3):
        run = folder / f"run {share}"
        found[share] = run
        for command in (
            ["import", source, "--score-column", "score", "--holdout", share, "--beta", 0.3],
            ["features", "--method", "file", "--file", folder / "phi.npy"],
        ):
            with pytest.raises(SystemExit) as stop:
                main([str(part) for part in (*command, "--run", run)])
            assert stop.value.code == 0
    return found


@pytest.fixture
def run(made: dict[float, Path], tmp_path: Path) -> Path:
    return copied(made[0.3], tmp_path / "run")


def copied(run: Path, to: Path) -> Path:
    shutil.copytree(run, to)
    return to


def asked(run: Path) -> dict[str, list[str]]:
    """The pairs of every batch, in order."""
    with workspace(run) as space:
        return {name: [row["pair_id"] for row in rows] for name, rows in space.batches.items()}


def answers(run: Path, batch: str) -> list[dict]:
    """What the simulated labeller would say: the same whoever asks."""
    lines = (run / "batches" / batch / "pairs.jsonl").read_text().splitlines()
    ids = [json.loads(line)["pair_id"] for line in lines]
    return [{"pair_id": key, "choice": "ab"[sum(key.encode()) % 2]} for key in ids]


# --- the plan -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("already", "budget", "first", "rounds", "totals"),
    [
        (0, 500, 80, None, [80, 160, 320, 500]),
        (0, 640, 80, None, [80, 160, 320, 640]),
        (0, 330, 80, None, [80, 160, 330]),  # ten labels are no round
        (0, 100, 80, None, [100]),
        (0, 120, 80, None, [80, 120]),
        (0, 50, 80, None, [50]),
        (0, 1, 80, None, [1]),
        (100, 500, 80, None, [160, 320, 500]),
        (150, 500, 80, None, [320, 500]),  # as little is none at the beginning
        (60, 500, 80, None, [160, 320, 500]),
        (499, 500, 80, None, [500]),
        (500, 500, 80, None, []),
        (700, 500, 80, None, []),
        (0, 1000, 125, 4, [125, 250, 500, 1000]),
        (0, 1000, 900, 4, [125, 250, 500, 1000]),  # growth is doubling at least
        (0, 1000, 1, 4, [1, 10, 100, 1000]),
        (200, 1000, 100, 4, [300, 400, 600, 1000]),
        (0, 500, 80, 1, [500]),
        (0, 5, 80, 9, [1, 2, 3, 4, 5]),
        (0, 10, 80, 5, [1, 2, 3, 6, 10]),
        (500, 500, 80, 3, []),
    ],
)
def test_the_plan(already, budget, first, rounds, totals) -> None:
    assert plan_rounds(already, budget, first, rounds) == totals


@pytest.mark.slow
def test_a_plan_rises_to_the_budget_and_is_gone_on_with_from_anywhere() -> None:
    draw = random.Random(0)
    for _ in range(500):
        budget, first = draw.randint(1, 3000), draw.randint(1, 300)
        already, count = draw.randint(0, 300), draw.choice([None, *range(1, 12), 2000])
        plan = plan_rounds(already, budget, first, count)
        if already >= budget:
            assert plan == []
            continue
        assert plan[-1] == budget
        sizes = [b - a for a, b in pairwise([already, *plan])]
        assert min(sizes) >= 1
        if count is not None:
            assert len(plan) == min(count, budget - already)
        elif len(plan) > 1:
            assert sizes[-1] >= sizes[-2] / 3  # half a planned one
            assert all(
                total == first * 2**k for total in plan[:-1] for k in [np.log2(total / first)]
            )
        # from where a round ended the next is the planned one; from elsewhere the plan is met again
        for before, total in pairwise([already, *plan]):
            assert next_total(plan, already, before) == total
        at = draw.randint(already, budget - 1)
        assert at < next_total(plan, already, at) in plan
    assert next_total([80, 160, 320], 0, 70) == 160
    assert next_total([80, 160, 320], 0, 40) == 80
    assert next_total([80, 160, 320], 0, 319) == 320
    assert next_total([80, 160, 320], 0, 320) is None


# --- to a budget --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("criterion", [None, "random"])
def test_simulated_to_a_budget(criterion: str | None, run: Path, capsys) -> None:
    options = [*SIMULATE] if criterion is None else [*SIMULATE, "--criterion", criterion]
    found = ok(capsys, "loop", "--run", run, "--budget", 100, *options)
    assert found["plan"] == [12, 24, 48, 100]  # d = 3
    assert [(r["picked"], r["controls"]) for r in found["rounds"]] == [
        (11, 1),
        (11, 1),
        (21, 3),
        (47, 5),
    ]
    assert (found["labels"], found["waiting"], found["stopped"]) == (100, 0, "budget")
    assert found["next"].split()[:2] == ["whichpairs", "train"]
    assert [r["fit"] for r in found["rounds"]] == ["001", "002", "003", "004"]
    before = tree(run)
    again = ok(capsys, "loop", "--run", run, "--budget", 100, *options)
    assert again.pop("done_before")
    assert not found.pop("done_before")
    assert again == found
    assert ok(capsys, "loop", "--run", run, "--budget", 40, *options)["stopped"] == "budget"
    assert tree(run) == before
    more = ok(capsys, "loop", "--run", run, "--budget", 110, "--controls-share", 0.5, *options)
    assert [(r["picked"], r["controls"]) for r in more["rounds"]][4:] == [(5, 5)]
    assert [r["fit"] for r in more["rounds"]] == ["001", "002", "003", "004", "005"]


@pytest.mark.slow
def test_controls_are_of_held_out_prompts_and_never_fitted(run: Path, capsys) -> None:
    found = ok(capsys, "loop", "--run", run, "--budget", 70, "--controls-share", 0.3, *SIMULATE)
    with workspace(run) as space:
        held = set(space.pool.prompts.filter(space.pool.prompts["holdout"])["prompt_id"])
        rows = [row for batch in space.batches.values() for row in batch]
        last = space.run.record("fits", found["rounds"][-1]["fit"])
        votes, theta = (
            space.votes(held_out=True),
            space.calibration(space.run.finished("fits")[-1], "file"),
        )
        phi = np.asarray(space.feature_set(None)[2], float)
    assert sum(row["prompt_id"] in held for row in rows) == 21
    assert not any(row["prompt_id"] in held for name in space.batches for row in space.picked(name))
    assert (last.result["labels"], last.result["held_out_labels"]) == (49, 21)
    margins = theta.logits(phi[votes.pairs[:, 0]] - phi[votes.pairs[:, 1]], 0.3)
    p = expit(np.where(votes.wins == 1, margins, -margins))
    row = found["rounds"][-1]
    assert row["control_log_loss"] == pytest.approx(-np.mean(np.log(p)))
    assert row["control_accuracy"] == pytest.approx(np.mean(p > 0.5))
    assert row["control_log_loss"] == pytest.approx(last.result["held_out_log_loss"])


@pytest.mark.slow
def test_the_evidence_is_paired_on_all_controls_so_far(run: Path, capsys) -> None:
    found = ok(capsys, "loop", "--run", run, "--budget", 100, "--controls-share", 0.3, *SIMULATE)
    with workspace(run) as space:
        votes = space.votes(held_out=True)
        phi = np.asarray(space.feature_set(None)[2], float)
        losses = []
        for row in found["rounds"][-2:]:
            belief = space.calibration(row["fit"], "file")
            margins = belief.logits(phi[votes.pairs[:, 0]] - phi[votes.pairs[:, 1]], 0.3)
            losses.append(-np.log(expit(np.where(votes.wins == 1, margins, -margins))))
            assert row["control_log_loss"] == pytest.approx(losses[-1].mean())
    change = losses[1] - losses[0]
    evidence = found["evidence"]
    assert evidence["control_labels"] == len(change) == 30
    assert evidence["log_loss_change"]["mean"] == pytest.approx(change.mean())
    assert evidence["log_loss_change"]["standard_error"] == pytest.approx(stats.sem(change))
    low, high = interval(change).low, interval(change).high
    assert evidence["log_loss_change"]["low"] == pytest.approx(low)
    unclear = "too few to tell" if (high - low) / 2 > 0.05 else "no better within the noise"
    verdict = "better" if high < 0 else "worse" if low > 0 else unclear
    assert evidence["verdict"] == verdict


@pytest.mark.slow
def test_a_round_gains_what_its_own_belief_foretold(run: Path, capsys) -> None:
    found = ok(capsys, "loop", "--run", run, "--budget", 60, *SIMULATE)
    with workspace(run) as space:
        records = [space.run.record("batches", row["batch"]).result for row in found["rounds"]]
    for row, record in zip(found["rounds"], records, strict=True):
        gain = record["predicted_gap_before"] - record["predicted_gap"]
        assert row["predicted_gain"] == gain > 0
        assert f"{gain:.4g}" in standing.table([row])[1]
    assert found["evidence"]["predicted_gain"] == found["rounds"][-1]["predicted_gain"]
    for row in records:  # as batches were before they said so
        path = run / "batches" / row["batch"] / "manifest.json"
        manifest = json.loads(path.read_text())
        del manifest["result"]["predicted_gap_before"]
        path.write_text(json.dumps(manifest))
    old = ok(capsys, "loop", "--run", run, "--budget", 90, "--stop-gain", 1000, *SIMULATE)
    assert [row["predicted_gain"] for row in old["rounds"][:-1]] == [None] * 4
    assert "unknown" in standing.table(old["rounds"])[1]


@pytest.mark.slow
def test_control_pairs_run_out(made, tmp_path: Path, capsys) -> None:
    run = copied(made[0.05], tmp_path / "few")  # 2 prompts of 10 pairs
    options = ["--budget", 60, "--controls-share", 0.5, "--first", 30]
    found = ok(capsys, "loop", "--run", run, *options, *SIMULATE)
    assert [(r["picked"], r["controls"]) for r in found["rounds"]] == [(15, 15), (25, 5)]
    assert found["labels"] == 60
    [note] = found["notes"]
    assert "5 control pairs left of the 15" in note


def test_pairs_run_out(run: Path, capsys) -> None:
    found = ok(capsys, "loop", "--run", run, "--budget", 900, "--rounds", 2, *SIMULATE)
    assert found["stopped"] == "candidates"
    assert sum(r["picked"] for r in found["rounds"]) == 21 * 10
    assert found["next"].split()[1] == "train"
    again = ok(capsys, "loop", "--run", run, "--budget", 900, "--rounds", 2, *SIMULATE)
    assert (again["stopped"], again["done_before"]) == ("candidates", True)


@pytest.mark.slow
def test_labels_that_came_with_the_pool_are_of_the_budget(tmp_path: Path, capsys) -> None:
    rows = [
        {"prompt": f"q{k % 8}", "chosen": f"a fine answer {k}", "rejected": f"bad one {k * 7 % 11}"}
        for k in range(40)
    ]
    run = tmp_path / "run"
    source = write_jsonl(tmp_path / "pairs.jsonl", rows)
    ok(capsys, "import", source, "--run", run, "--holdout", 0.25)
    ok(capsys, "features", "--run", run, "--method", "text", "--dim", 18)
    before = tree(run)
    found = ok(capsys, "loop", "--run", run, "--budget", 40)
    assert (found["stopped"], found["labels"], found["rounds"]) == ("budget", 40, [])
    assert tree(run) == before
    found = ok(capsys, "loop", "--run", run, "--budget", 60)
    assert (found["stopped"], found["labels"], found["waiting"]) == ("waiting", 40, 20)
    assert [(r["picked"], r["controls"]) for r in found["rounds"]] == [(18, 2)]


# --- people -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_people_label_and_labels_come_late_and_out_of_order(run: Path, tmp_path, capsys) -> None:
    command = ["loop", "--run", run, "--budget", 45, "--first", 20]
    first = ok(capsys, *command)
    assert (first["stopped"], first["waiting"], first["labels"]) == ("waiting", 20, 0)
    assert shlex.split(first["next"])[1:4] == ["label", "--run", str(run)]
    assert shlex.split(first["then"])[1:] == [str(part) for part in command]
    before = tree(run)
    again = ok(capsys, *command)
    assert (again["waiting"], again["done_before"]) == (20, True)
    assert tree(run) == before
    said = answers(run, "001")
    for part, waiting in ((said[12:][::-1], 12), (said[:7], 5)):
        path = write_jsonl(tmp_path / "part.jsonl", part)
        ok(capsys, *[path if p == "ANSWERS.jsonl" else p for p in shlex.split(first["next"])[1:]])
        if waiting == 12:
            found = ok(capsys, *command)
            assert (found["waiting"], found["rounds"][0]["fit"]) == (12, None)
    found = ok(capsys, *command)
    assert (found["waiting"], found["labels"]) == (5, 15)
    assert list(asked(run)) == ["001"]
    ok(capsys, "label", "--run", run, "--from", write_jsonl(tmp_path / "rest.jsonl", said[7:12]))
    found = ok(capsys, *shlex.split(found["then"])[1:])
    assert [r["fit"] for r in found["rounds"]] == ["001", None]
    assert (found["waiting"], found["labels"]) == (25, 20)
    assert not set(asked(run)["001"]) & set(asked(run)["002"])
    path = write_jsonl(tmp_path / "b.jsonl", answers(run, "002"))
    ok(capsys, "label", "--run", run, "--from", path)
    found = ok(capsys, *command)
    assert (found["stopped"], found["labels"]) == ("budget", 45)
    assert [r["fit"] for r in found["rounds"]] == ["001", "002"]


@pytest.mark.slow
def test_top_up(run: Path, tmp_path: Path, capsys) -> None:
    command = ["loop", "--run", run, "--budget", 80, "--first", 20]
    ok(capsys, *command)
    found = ok(capsys, *command, "--top-up")
    assert (found["stopped"], found["waiting"]) == ("waiting", 40)
    assert "--top-up" not in found["then"]
    found = ok(capsys, *command, "--top-up")
    assert (found["waiting"], len(found["rounds"])) == (80, 3)
    before = tree(run)
    for options in ([], ["--top-up"]):  # nothing is left to pick
        found = ok(capsys, *command, *options)
        assert (found["stopped"], found["waiting"], found["done_before"]) == ("waiting", 80, True)
    assert tree(run) == before
    pairs = asked(run)
    assert len({key for keys in pairs.values() for key in keys}) == 80
    for batch in ("003", "001", "002"):  # the last first
        path = write_jsonl(tmp_path / "x.jsonl", answers(run, batch))
        ok(capsys, "label", "--run", run, "--from", path)
    found = ok(capsys, *command)
    assert (found["stopped"], found["labels"]) == ("budget", 80)
    assert [r["fit"] for r in found["rounds"]] == ["001"] * 3
    assert found["evidence"]["verdict"] == "unknown: only 8 control labels"
    assert found["evidence"]["log_loss_change"] is None


@pytest.mark.slow
def test_what_people_read(run: Path, made, tmp_path: Path, capsys) -> None:
    settings = LoopSettings(40, first=20)
    text = loop(run, settings).message
    assert (
        f"20 pairs wait for labels (0 of 40 are there):\n  20 of {run}/batches/001/pairs.jsonl"
        in text
    )
    assert text.splitlines()[-2:] == [
        f"Next: whichpairs label --run {run} --from ANSWERS.jsonl",
        f"Then: whichpairs loop --run {run} --budget 40 --first 20",
    ]
    blind = copied(made[0.0], tmp_path / "blind")
    text = loop(blind, LoopSettings(40, first=20, simulate="score", controls_share=0.0)).message
    table, rest = text.split("\n\n")
    assert len(table.splitlines()) == 3
    assert all(line.count("unknown") == 2 for line in table.splitlines()[1:])
    assert "better than the one before? Unknown: no control labels." in rest
    assert "Done: the run has 40 labels, and the budget is 40." in rest


# --- a labeller ---------------------------------------------------------------------------------------

SCRIPT = """
import json, sys
from pathlib import Path
*rest, asked, answers = sys.argv[1:]
rows = [json.loads(line) for line in open(asked)]
log = Path(rest[0])
calls = log.read_text().splitlines() if log.exists() else []
with log.open("a") as file: print(len(rows), file=file)
print("labelling", len(rows))
if len(calls) + 1 == int(rest[1]): rows = rows[:4] if rest[2] == "lazy" else rows
with open(answers, "w") as file:
    for row in rows:
        choice = "ab"[sum(row["pair_id"].encode()) % 2]
        if rest[2] == "muddled" and len(calls) + 1 == int(rest[1]): choice = "?"
        print(json.dumps({"pair_id": row["pair_id"], "choice": choice}), file=file)
if rest[2] == "fails" and len(calls) + 1 == int(rest[1]): sys.exit(3)
if rest[2] == "silent" and len(calls) + 1 == int(rest[1]): open(answers, "w")
"""


@pytest.fixture
def labeller(tmp_path: Path):
    """A command that is well behaved but in one call; and its log of pairs a call."""
    script, log = tmp_path / "my labeller.py", tmp_path / "a log"
    script.write_text(SCRIPT)

    def command(call: int = 0, how: str = "fine") -> str:
        return shlex.join([sys.executable, str(script), str(log), str(call), how])

    return command, lambda: [int(n) for n in log.read_text().split()]


@pytest.mark.slow
def test_a_labeller(run: Path, made, labeller, tmp_path: Path, capsys) -> None:
    command, log = labeller
    options = ["--budget", 80, "--first", 20, "--labeller", command()]
    found = ok(capsys, "loop", "--run", run, *options)
    assert (found["stopped"], found["labels"]) == ("budget", 80)
    assert log() == [20, 20, 40]
    by_hand = copied(made[0.3], tmp_path / "by hand")
    for batch in ("001", "002", "003"):
        ok(capsys, "loop", "--run", by_hand, "--budget", 80, "--first", 20)
        path = write_jsonl(tmp_path / "x.jsonl", answers(by_hand, batch))
        ok(capsys, "label", "--run", by_hand, "--from", path)
    assert asked(by_hand) == asked(run)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("fails", "the labeller must exit with 0; python"),
        ("silent", "the labeller must write its answers to"),
        ("muddled", "'choice' has '?' (line 1 and 19 more)"),
    ],
)
def test_a_labeller_that_fails_loses_nothing(
    how: str, message: str, run: Path, made, labeller, tmp_path: Path, capsys
) -> None:
    command, log = labeller
    options = ["--run", run, "--budget", 80, "--first", 20]
    error = fails(capsys, "loop", *options, "--labeller", command(2, how), "--json")
    assert message in error
    assert "go on with: whichpairs loop --run" in error
    with workspace(run) as space:
        assert (len(space.labels), len(space.pending())) == (20, 20)
    if how == "muddled":
        assert message in fails(capsys, "loop", *options, "--labeller", command())
        assert log() == [20, 20]  # not asked again, until the user says so
        [path] = (run / "answers").glob("002-1.answers.jsonl")
        path.unlink()
    found = ok(capsys, "loop", *options, "--labeller", command())
    assert (found["stopped"], found["labels"]) == ("budget", 80)
    assert log() == [20, 20, 20, 40]
    whole = copied(made[0.3], tmp_path / "whole")
    ok(capsys, "loop", "--run", whole, *options[2:], "--labeller", command())
    assert asked(whole) == asked(run)


@pytest.mark.slow
def test_a_labeller_that_leaves_some_is_asked_for_those_alone(run: Path, labeller, capsys) -> None:
    command, log = labeller
    options = ["--run", run, "--budget", 40, "--first", 20]
    found = ok(capsys, "loop", *options, "--labeller", command(1, "lazy"))
    assert (found["stopped"], found["waiting"], found["then"]) == ("waiting", 16, None)
    found = ok(capsys, *shlex.split(found["next"])[1:])
    assert (found["stopped"], found["labels"]) == ("budget", 40)
    assert log() == [20, 16, 20]


@pytest.mark.slow
def test_answers_of_a_killed_call_are_not_asked_for_again(
    run: Path, labeller, monkeypatch, capsys
) -> None:
    command, log = labeller
    settings = LoopSettings(40, first=20, labeller=command())
    with monkeypatch.context() as patch:
        patch.setattr(asking, "label_from_file", dies)
        with pytest.raises(Killed):
            loop(run, settings)
    found = loop(run, settings)
    assert found.result["labels"] == 40
    assert log() == [20, 20]


@pytest.mark.slow
def test_two_labellers_are_one_too_many(run: Path, labeller, tmp_path: Path, capsys) -> None:
    """The first call is killed, and its labeller lives on."""
    command, log = labeller
    go, began = tmp_path / "go", tmp_path / "began"
    code = (
        f"import pathlib, time; pathlib.Path({str(began)!r}).touch()\n"
        f"while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.01)"
    )
    slow = shlex.join([sys.executable, "-c", code])
    words = ["loop", "--run", str(run), "--budget", "40", "--first", "20"]
    first = subprocess.Popen([sys.executable, "-m", "whichpairs.cli", *words, "--labeller", slow])
    while not began.exists():
        time.sleep(0.01)
    first.kill()
    first.wait()
    error = fails(capsys, *words, "--labeller", command())
    assert "one labeller at a time" in error
    go.touch()
    for _ in range(500):
        time.sleep(0.01)
        with pytest.raises(SystemExit) as stop:
            main([*words, "--labeller", command()])
        if stop.value.code == 0:
            break
    capsys.readouterr()
    assert log() == [20, 20]


# --- kills --------------------------------------------------------------------------------------------


class Killed(BaseException):
    pass


def dies(*args, **kwargs):
    raise Killed


def kept(run: Path) -> tuple:
    """What a user would miss: batches, answers in order, and θ."""
    with workspace(run) as space:
        labels = [(x.pair_id, x.id_a, x.choice, x.batch) for x in space.labels]
        thetas = [space.theta(name, "file").tobytes() for name in space.run.finished("fits")]
    return asked(run), labels, thetas


@pytest.fixture(scope="module")
def unbroken(made, tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple, float]:
    """A run that nobody killed, and the seconds that it took."""
    run = copied(made[0.3], tmp_path_factory.mktemp("unbroken") / "run")
    began = time.perf_counter()
    loop(run, LoopSettings(60, simulate="score", temperature=2.0))
    return kept(run), time.perf_counter() - began


@pytest.mark.slow
def test_a_kill_after_every_stage(run: Path, unbroken, monkeypatch) -> None:
    """Every call dies as soon as a stage has changed anything."""

    def mortal(real):
        def call(*args, **kwargs):
            found = real(*args, **kwargs)
            if not found.done_before:
                raise Killed
            return found

        return call

    deaths = 0
    with monkeypatch.context() as patch:
        for name in ("select", "label_simulated", "fit_labels"):
            patch.setattr(rounds, name, mortal(getattr(rounds, name)))
        while True:
            try:
                found = loop(run, LoopSettings(60, simulate="score", temperature=2.0))
                break
            except Killed:
                deaths += 1
    assert deaths == 12  # four rounds of three stages
    assert found.done_before
    assert kept(run) == unbroken[0]


FORKS = """
import gc, json, os, random, shutil, signal, sys, time
from pathlib import Path
from whichpairs import LoopSettings, UserError, loop
from whichpairs.design.forecast import predicted_gap as forecast

forecast.DRAWS = 8  # as in the process that started this one
run, work, kills, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
settings = LoopSettings(60, simulate="score", temperature=2.0)
try: loop("/nowhere", settings)  # loads what a child would load
except UserError: pass
gc.collect(); gc.freeze()
draw, left = random.Random(0), 0
while left < kills:
    child, end = os.fork(), time.monotonic() + seconds * draw.random() * 0.4
    if not child:
        loop(work, settings)
        os._exit(0)
    while (done := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < end:
        time.sleep(0.002)
    if done == (0, 0):
        os.kill(child, signal.SIGKILL)
        done = os.waitpid(child, 0)
    if os.WIFSIGNALED(done[1]):
        left += 1
    else:  # it came to its end: from the beginning again
        assert done[1] == 0
        shutil.rmtree(work); shutil.copytree(run, work)
"""


@pytest.mark.slow
def test_kills_at_random_moments(run: Path, unbroken, tmp_path: Path) -> None:
    """SIGKILL, again and again, then one call to the end."""
    work = copied(run, tmp_path / "work")
    words = [sys.executable, "-c", FORKS, run, work, 12, unbroken[1]]
    threads = {"OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    subprocess.run([str(word) for word in words], check=True, env={**os.environ, **threads})
    loop(work, LoopSettings(60, simulate="score", temperature=2.0))
    assert kept(work) == unbroken[0]


# --- when to stop -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_stop_rule(run: Path, made, tmp_path: Path, capsys) -> None:
    clear = ["--budget", 80, "--first", 20, "--controls-share", 0.4, *SIMULATE]
    clear += ["--seed", 4]  # a draw whose last round is clearly better
    found = ok(capsys, "loop", "--run", copied(run, tmp_path / "x"), *clear, "--stop-gain", 1000)
    assert (found["stopped"], found["evidence"]["verdict"]) == ("budget", "better")
    clear[1] = 150  # what was better goes on, however little was predicted
    found = ok(capsys, "loop", "--run", tmp_path / "x", *clear, "--stop-gain", 1000)
    assert (found["stopped"], len(found["rounds"])) == ("budget", 4)
    # answers that are nearly a coin's
    options = ["--budget", 150, "--first", 20, "--controls-share", 0.4, "--simulate", "score"]
    options += ["--temperature", 10]
    whole = ok(capsys, "loop", "--run", copied(run, tmp_path / "whole"), *options)
    assert len(whole["rounds"]) == 4
    never = ok(capsys, "loop", "--run", copied(run, tmp_path / "0"), *options, "--stop-gain", 0)
    assert never["stopped"] == "budget"
    found = ok(capsys, "loop", "--run", run, *options, "--stop-gain", 1000)
    rows, evidence = found["rounds"], found["evidence"]
    assert found["stopped"] == "gain"
    assert 2 <= len(rows) < 4
    assert evidence["verdict"] in ("no better within the noise", "too few to tell", "worse")
    assert evidence["log_loss_change"]["high"] >= 0
    before = tree(run)
    again = ok(capsys, "loop", "--run", run, *options, "--stop-gain", 1000)
    assert (again["stopped"], again["done_before"]) == ("gain", True)
    assert tree(run) == before
    message = loop(run, LoopSettings(150, first=20, stop_gain=1000.0)).message
    assert f"predicted to gain {rows[-1]['predicted_gain']:.3g}, less than 1000, and" in message
    assert "and the controls show no better fit." in message
    on = ok(capsys, "loop", "--run", run, *options)  # without the rule it goes on, on the same plan
    assert on["stopped"] == "budget"
    assert asked(run) == asked(tmp_path / "whole")


@pytest.mark.slow
def test_the_stop_rule_needs_enough_controls(run: Path, made, tmp_path: Path, capsys) -> None:
    options = ["--budget", 80, "--first", 20, *SIMULATE, "--stop-gain", 1000]
    found = ok(capsys, "loop", "--run", run, *options)
    assert (found["stopped"], len(found["rounds"])) == ("budget", 3)
    assert found["evidence"]["verdict"] == "unknown: only 8 control labels"
    assert found["evidence"]["log_loss_change"]["mean"] != 0  # said, and not judged by
    text = loop(run, LoopSettings(80, first=20)).message
    assert "than the one before? Unknown: only 8 control labels." in text
    run = copied(made[0.0], tmp_path / "blind")
    options = ["--budget", 80, "--first", 20, "--controls-share", 0, *SIMULATE]
    found = ok(capsys, "loop", "--run", run, *options, "--stop-gain", 1000)
    assert (found["stopped"], len(found["rounds"])) == ("budget", 3)
    assert found["evidence"]["verdict"] == "unknown: no control labels"
    assert found["evidence"]["log_loss_change"] is None
    assert all(
        row["control_log_loss"] is row["control_accuracy"] is None for row in found["rounds"]
    )


@pytest.mark.parametrize(
    ("gain", "verdict", "stopped"),
    [
        (0.01, "no better within the noise", "gain"),
        (0.01, "too few to tell", "gain"),
        (0.01, "worse", "gain"),
        (0.01, "better", None),
        (0.01, "unknown: no control labels", None),
        (0.01, "unknown: only 29 control labels", None),
        (0.01, "unknown: no two fits to compare", None),
        (0.03, "no better within the noise", None),
        (0.02, "worse", None),  # no less than the gain asked for
        (0.0, "worse", "gain"),
        (None, "worse", None),
    ],
)
def test_the_stop_rule_in_every_case(gain, verdict, stopped, run: Path) -> None:
    evidence = {"predicted_gain": gain, "verdict": verdict}
    now = standing.Standing(3, 40, 0, 40, {}, 100, 20, [], evidence)
    desk = rounds._Rounds(run, LoopSettings(100, stop_gain=0.02), rounds.SILENT)
    assert desk._stopped(now) == stopped
    assert rounds._Rounds(run, LoopSettings(100), rounds.SILENT)._stopped(now) is None


@pytest.mark.parametrize(
    ("count", "change", "verdict"),
    [
        (30, [-0.2, -0.21, -0.19, -0.2], "better"),
        (30, [0.2, 0.21, 0.19, 0.2], "worse"),
        (30, [0.02, -0.03, 0.01, -0.005], "no better within the noise"),
        (30, [0.2, -0.3, 0.1, -0.05], "too few to tell"),
        (30, [0.0, 0.0], "no better within the noise"),
        (30, None, "unknown: no two fits to compare"),
        (29, [-0.2, -0.21, -0.19, -0.2], "unknown: only 29 control labels"),
        (1, [-0.2], "unknown: only 1 control label"),
        (0, None, "unknown: no control labels"),
    ],
)
def test_verdicts(count: int, change: list[float] | None, verdict: str) -> None:
    found = None if change is None else interval(np.array(change))
    assert standing._verdict(count, found) == verdict
    evidence = {"control_labels": count, "verdict": verdict}
    evidence["log_loss_change"] = None if found is None else asdict(found)
    assert ("a difference of 0.05 could not show" in standing.claim(evidence)) == (
        verdict == "too few to tell"
    )


def test_just_wide_enough_to_show_a_difference() -> None:
    def half(width: float) -> Interval:
        return Interval(mean=0.0, standard_error=width / 2, low=-width, high=width)

    assert standing._verdict(30, half(0.05)) == "no better within the noise"
    assert standing._verdict(30, half(0.0501)) == "too few to tell"


# --- while it runs, and after Ctrl-C ------------------------------------------------------------------


def said_next(run: Path, capsys) -> tuple[str, str | None]:
    found = ok(capsys, "status", "--run", run)
    return found["next"], found["then"]


def test_every_round_is_said_as_it_happens(run: Path, capsys) -> None:
    """One line a batch picked, answered, fitted: on standard error, also where nobody looks."""
    command = ["loop", "--run", run, "--budget", 24, "--criterion", "random", *SIMULATE]
    with pytest.raises(SystemExit) as stop:
        main([str(part) for part in command])
    out, err = capsys.readouterr()
    assert stop.value.code == 0
    lines = err.splitlines()
    assert lines[0] == (
        "batch 001: 11 pairs and 1 control picked by random; 12 of 24 labels are then asked"
    )
    assert lines[1] == "12 answers taken"
    assert lines[2].startswith("batch 001: fit 001, log loss ")
    assert lines[2].endswith(" on 1 control label (a coin: 0.6931)")
    assert lines[3].startswith("batch 002: 11 pairs and 1 control picked by random; 24 of 24")
    assert len(lines) == 6
    assert "11 pairs and 1" not in out
    assert not (run / "loop.json").exists()  # it is at its end


@pytest.mark.parametrize("moment", ["select", "label_simulated", "fit_labels"])
def test_ctrl_c_says_where_it_stands_and_what_goes_on(
    moment: str, run: Path, capsys, monkeypatch
) -> None:
    command = ["loop", "--run", run, "--budget", 24, "--criterion", "random", *SIMULATE]

    def stopped(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(rounds, moment, stopped)
        with pytest.raises(SystemExit) as stop:
            main([str(part) for part in command])
    last = capsys.readouterr().err.splitlines()[-1]
    assert stop.value.code == 130
    there, waiting = {"select": (0, 0), "label_simulated": (0, 12), "fit_labels": (12, 0)}[moment]
    assert f"stopped; {there} of 24 labels are there, {waiting} pairs wait" in last
    again = last.partition("Go on with: ")[2]
    assert said_next(run, capsys) == (again, None)
    found = ok(capsys, *shlex.split(again)[1:])
    assert (found["stopped"], found["labels"]) == ("budget", 24)
    assert said_next(run, capsys)[0].startswith("whichpairs train")


def test_ctrl_c_in_a_solve_ends_the_loop_not_the_solve_alone(run: Path, monkeypatch) -> None:
    def select(*args: object, **options: object) -> Outcome:
        found = rounds_select(*args, **options)
        return Outcome(found.message, {**found.result, "interrupted": True})

    rounds_select = rounds.select
    monkeypatch.setattr(rounds, "select", select)
    settings = LoopSettings(24, simulate="score", criterion="random")
    with pytest.raises(KeyboardInterrupt):
        loop(run, settings)
    assert "0 of 24 labels are there, 12 pairs wait" in rounds.where_it_stands(run, settings)


def test_a_batch_by_hand_in_the_place_of_the_loops_is_not_the_loops(
    run: Path, capsys, monkeypatch
) -> None:
    def stopped(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(rounds, "select", stopped)
        with pytest.raises(KeyboardInterrupt):
            loop(run, LoopSettings(24, simulate="score"))
    assert said_next(run, capsys)[0].startswith("whichpairs loop")
    ok(capsys, "select", "--run", run, "--budget", 5, "--criterion", "random")
    assert said_next(run, capsys)[0].startswith("whichpairs label")


def test_status_names_the_loop_until_somebody_picks_by_hand(
    run: Path, tmp_path: Path, capsys
) -> None:
    command = ["loop", "--run", run, "--budget", 24, "--criterion", "random"]
    again = shlex.join(["whichpairs", *map(str, command)])
    ok(capsys, *command)
    following, then = said_next(run, capsys)
    assert following == f"whichpairs label --run {run} --from FILE"
    assert then == again
    path = write_jsonl(tmp_path / "answers.jsonl", answers(run, "001"))
    ok(capsys, "label", "--run", run, "--from", path)
    assert said_next(run, capsys) == (again, None)
    ok(capsys, "select", "--run", run, "--budget", 5, "--criterion", "random")
    following, then = said_next(run, capsys)
    assert (following.split()[1], then) == ("label", None)
    (run / "loop.json").write_text('{"options": 3}')  # broken: as if it were not there
    assert said_next(run, capsys) == (following, None)


# --- mistakes -----------------------------------------------------------------------------------------

MISTAKES = {
    "budget 0": (["--budget", "0"], "budget must be a whole number of at least 1; got 0"),
    "negative budget": (["--budget", "-5"], "budget must be a whole number"),
    "budget not whole": (["--budget", "2.5"], "--budget"),
    "no budget": ([], "--budget"),
    "first 0": (["--budget", "9", "--first", "0"], "first must be a whole number"),
    "rounds 0": (["--budget", "9", "--rounds", "0"], "rounds must be a whole number"),
    "share": (["--budget", "9", "--controls-share", "0.95"], "between 0 and 0.9; got 0.95"),
    "negative share": (["--budget", "9", "--controls-share", "-0.1"], "between 0 and 0.9"),
    "share nan": (["--budget", "9", "--controls-share", "nan"], "between 0 and 0.9; got nan"),
    "gain": (["--budget", "9", "--stop-gain", "-1"], "the gain to stop at must be"),
    "gain nan": (["--budget", "9", "--stop-gain", "nan"], "the gain to stop at must be"),
    "two sources": (
        ["--budget", "9", "--simulate", "score", "--labeller", "cat"],
        "got --simulate and --labeller",
    ),
    "top-up": (["--budget", "9", "--simulate", "score", "--top-up"], "leave it out"),
    "no column": (["--budget", "9", "--simulate", "nope"], "got 'nope'; there is score"),
    "temperature": (["--budget", "9", "--simulate", "score", "--temperature", "0"], "temperature"),
    "no program": (["--budget", "9", "--labeller", "/no/such x"], "there is no '/no/such'"),
    "no command": (["--budget", "9", "--labeller", " "], "the labeller must be a command"),
    "open quote": (["--budget", "9", "--labeller", "cat 'x"], "opens a quotation mark"),
    "criterion": (["--budget", "9", "--criterion", "best"], "criterion must be one of"),
    "features": (["--budget", "9", "--features", "no"], "there is file"),
    "beta": (["--budget", "9", "--beta", "0.7"], "this one has 0.3, got --beta 0.7"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(case: str, run: Path, tmp_path: Path, capsys) -> None:
    options, message = MISTAKES[case]
    before = tree(tmp_path)
    assert message in fails(capsys, "loop", "--run", run, *options)
    assert tree(tmp_path) == before


def test_mistakes_on_other_runs(made, run: Path, tmp_path: Path, capsys) -> None:
    blind = copied(made[0.0], tmp_path / "blind")
    before = tree(tmp_path)
    error = fails(capsys, "loop", "--run", blind, "--budget", 9)
    assert "control pairs come from held-out prompts" in error
    assert "--controls-share 0" in error
    assert "must name a run folder" in fails(capsys, "loop", "--run", tmp_path, "--budget", 9)
    assert tree(tmp_path) == before
    ok(capsys, "loop", "--run", run, "--budget", 12, *SIMULATE)
    before = tree(tmp_path)
    error = fails(capsys, "loop", "--run", run, "--budget", 30, "--simulate", "score")
    assert "never rewritten" in error
    assert tree(tmp_path) == before


def test_settings_cannot_contradict_themselves() -> None:
    with pytest.raises(UserError, match="got --simulate and --labeller"):
        LoopSettings(9, simulate="score", labeller="cat")
    with pytest.raises(UserError, match="budget must be a whole number"):
        LoopSettings(True)
