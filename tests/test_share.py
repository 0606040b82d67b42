"""Pairs dealt out to people as files, and the same files filled in."""

import csv
import io
import json
from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli import fails, ok
from whichpairs.bench.labels.site import picked_run
from whichpairs.errors import UserError
from whichpairs.label.exchange.sheets import deal
from whichpairs.label.stores.base import Task
from whichpairs.label.stores.place import open_store
from whichpairs.label.stores.serving import ServingStore
from whichpairs.label.stores.sqlite import SqliteStore
from whichpairs.workflow.label.serve import open_project


def tasks(count: int, wanted: int = 1) -> list[Task]:
    return [Task(f"q{k}", "x", "y", "001", wanted) for k in range(count)]


@pytest.mark.parametrize(
    ("people", "overlap", "wanted"),
    [(3, 0.1, 1), (5, 0.5, 1), (1, 0.0, 1), (4, 0.2, 3), (2, 1.0, 1)],
)
def test_pairs_are_dealt_fairly(people: int, overlap: float, wanted: int) -> None:
    asked_for = [
        replace(task, wanted=max(wanted, 2 if k < 100 * overlap else 1))
        for k, task in enumerate(tasks(100))
    ]
    hands = deal(asked_for, people, np.random.default_rng(1))
    asked = [[question.task.pair_id for question in hand] for hand in hands]
    assert all(len(set(hand)) == len(hand) for hand in asked)  # nobody twice
    answers = Counter(Counter(name for hand in asked for name in hand).values())
    if wanted == 1:
        assert answers == Counter(
            {k: v for k, v in {1: 100 - round(100 * overlap), 2: round(100 * overlap)}.items() if v}
        )
    else:
        assert answers == {wanted: 100}
    sizes = [len(hand) for hand in asked]
    assert max(sizes) - min(sizes) <= 2
    both = [len(set(a) & set(b)) for a, b in combinations(asked, 2)]
    if overlap and wanted == 1:
        assert min(both) > 0  # every two can be compared
        assert max(both) - min(both) <= max(4, 0.4 * max(both))
    swapped = [question.swapped for hand in hands for question in hand]
    assert 0.35 < np.mean(swapped) < 0.65


def test_a_pair_goes_to_each_person_once() -> None:
    with pytest.raises(UserError, match="one is to be answered by 2 of 1"):
        deal(tasks(3, 2), 1, np.random.default_rng(1))
    with pytest.raises(UserError, match="one is to be answered by 3 of 2"):
        deal(tasks(3, 3), 2, np.random.default_rng(1))


def fill(path: Path, choose: Any) -> Path:
    """The file as the person or the tool gives it back."""
    if path.suffix == ".json":  # as Label Studio exports
        done = []
        for number, task in enumerate(json.loads(path.read_text()), 1):
            value = {"choices": [choose(task["data"])]}
            result = {"type": "choices", "value": value, "from_name": "choice", "to_name": "prompt"}
            made = {"id": number, "completed_by": 7, "was_cancelled": False, "result": [result]}
            done.append({"id": number, **task, "annotations": [made], "predictions": []})
        back = path.with_name("export.json")
        back.write_text(json.dumps(done))
        return back
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".csv":
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        out = io.StringIO()
        writer = csv.DictWriter(out, rows[0].keys())
        writer.writeheader()
        writer.writerows({**row, "choice": choose(row)} for row in rows)
        path.write_text(out.getvalue(), encoding="utf-8")
        return path
    lines = [json.loads(line) for line in text.split("\n") if line]
    path.write_text("".join(json.dumps({**r, "choice": choose(r)}) + "\n" for r in lines))
    return path


@pytest.mark.parametrize("form", ["jsonl", "csv", "label-studio"])
def test_what_is_shared_comes_back(tmp_path: Path, capsys, form: str) -> None:
    """The better text wins whichever side it was on; both bad stays marked; twice is once."""
    texts = [(f"=good {k}", f'bad {k}, "quoted"\nin two lines') for k in range(9)] + [
        ("-bad", "bad")
    ]
    run = picked_run(tmp_path, [f"Q{k}?" for k in range(10)], texts)
    found = ok(
        capsys,
        "share",
        tmp_path / "out",
        "--run",
        run,
        "--people",
        3,
        "--overlap",
        0.2,
        "--to",
        form,
    )
    assert (found["pairs"], found["questions"]) == (10, 12)

    def choose(row: dict[str, Any]) -> str:
        a, b = "good" in row["completion_a"], "good" in row["completion_b"]
        return "both_bad" if a == b else "a" if a else "b"

    sheets = sorted((tmp_path / "out").glob("person*"))
    assert len(sheets) == 3
    new = 0
    for number, sheet in enumerate(sheets, 1):
        back = fill(sheet, choose)
        take = ["label", "--run", run, "--from", back]
        take += [] if form == "label-studio" else ["--annotator", f"p{number}"]
        if form == "label-studio":  # the tool's own names of people
            back.write_text(
                back.read_text().replace('"completed_by": 7', f'"completed_by": {number}')
            )
        told = ok(capsys, *take)
        new += told["new"]
        again = ok(capsys, *take)
        assert (again["new"], again["done_before"]) == (0, True)
    assert new == 12
    labels = open_store(run).all()
    assert len({(x.pair_id, x.annotator) for x in labels}) == 12
    from whichpairs.run.folder import open_run
    from whichpairs.workflow.workspace import Workspace

    pool = Workspace(open_run(run)).pool
    text = pool.completions["completion"]
    for x in labels:
        won = {"a": x.id_a, "b": x.id_b, "tie": None}[x.choice]
        if won is None:
            assert x.both_bad
        else:
            assert text[pool.row_of[won]].startswith("=good")
    if form == "label-studio":
        assert (tmp_path / "out" / "config.xml").read_text().count("hotkey=") == 4
    assert "none does" in fails(capsys, "share", tmp_path / "more", "--run", run)


def test_a_sheet_is_not_read_as_formulas(tmp_path: Path, capsys) -> None:
    run = picked_run(tmp_path, ["=Q"], [("=cmd|' /C calc'!A0", "+1")])
    ok(capsys, "share", tmp_path / "out", "--run", run, "--to", "csv")
    sheet = tmp_path / "out" / "person1.csv"
    rows = list(csv.DictReader(io.StringIO(sheet.read_text(), newline="")))
    assert {
        row[name][0] for row in rows for name in ("prompt", "completion_a", "completion_b")
    } == {"'"}
    from whichpairs.cli import main

    with pytest.raises(SystemExit):
        main(
            [
                "label",
                "--run",
                str(run),
                "--from",
                str(fill(sheet, lambda row: "a")),
                "--annotator",
                "p",
            ]
        )
    assert "Attention" not in capsys.readouterr().out
    for options, rule in (
        (["--to", "xlsx"], "--to must be one of"),
        (["--people", "0"], "none does"),
    ):
        assert rule in fails(capsys, "share", tmp_path / "new", "--run", run, *options)
    assert "new or empty" in fails(capsys, "share", tmp_path / "out", "--run", run)


def planned(run: Path) -> set[str]:
    """The pairs that a second person answers, as the run says by row."""
    path = run / "overlap" / "001.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    assert all(row["labels"] == 2 and row["id_a"] != row["id_b"] for row in rows)
    return {row["pair_id"] for row in rows}


def test_second_answers_are_planned_and_said_by_row(tmp_path: Path, capsys) -> None:
    """One plan for `share` and `serve`; a greater share adds, a smaller one takes nothing back."""
    run = picked_run(
        tmp_path, [f"Q{k}?" for k in range(20)], [(f"x{k}", f"y{k}") for k in range(20)]
    )
    lone = ("share", tmp_path / "no", "--run", run, "--overlap", 0.2)
    assert "a pair goes to each person once" in fails(capsys, *lone)
    assert planned(run) == set()  # nothing was written
    found = ok(capsys, "share", tmp_path / "a", "--run", run, "--people", 3, "--overlap", 0.2)
    assert (found["questions"], found["overlap"]) == (24, 4)
    first = planned(run)
    hands = [sheet.read_text().splitlines() for sheet in sorted((tmp_path / "a").glob("*.jsonl"))]
    dealt = Counter(json.loads(line)["pair_id"] for hand in hands for line in hand)
    assert {key for key, count in dealt.items() if count == 2} == first
    tasks_of = lambda share: open_project(run, lambda space: None, share).tasks()  # noqa: E731
    assert {t.pair_id: t.wanted for t in tasks_of(0.0)} == {key: dealt[key] for key in dealt}
    store = ServingStore(SqliteStore(tmp_path / "queue.sqlite"))
    assert store.ask(tasks_of(0.0)) == 20
    assert store.left() == 24
    assert store.ask(tasks_of(0.5)) == 0
    assert store.left() == 30  # those that were in the queue now want more
    store.close()
    assert len(planned(run)) == 10
    assert first < planned(run)
    assert ok(capsys, "share", tmp_path / "b", "--run", run, "--people", 2)["questions"] == 30
    (run / "overlap" / "001.jsonl").write_text("{")
    assert "a plan of second answers must be whole" in fails(
        capsys, "share", tmp_path / "c", "--run", run
    )
    wrong = ("share", tmp_path / "c", "--run", run, "--overlap", 1.5)
    assert "--overlap must be in [0, 1]" in fails(capsys, *wrong)


def test_a_pair_of_two_waits_for_its_second_answer(tmp_path: Path, capsys) -> None:
    run = picked_run(tmp_path, [f"Q{k}?" for k in range(4)], [(f"x{k}", f"y{k}") for k in range(4)])
    ok(capsys, "share", tmp_path / "a", "--run", run, "--people", 2, "--overlap", 0.5)
    for number in (1, 2):
        sheet = fill(tmp_path / "a" / f"person{number}.jsonl", lambda row: "a")
        lines = sheet.read_text().splitlines()
        sheet.write_text("\n".join(lines[:2]) + "\n")  # each answers two of their three
        ok(capsys, "label", "--run", run, "--from", sheet, "--annotator", f"p{number}")
    said = Counter(x.pair_id for x in open_store(run).all())
    left = ok(capsys, "share", tmp_path / "b", "--run", run, "--people", 2)
    assert left["questions"] == 6 - said.total() == 2
