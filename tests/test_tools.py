"""Answers by way of Argilla and Label Studio, from files that these tools wrote (`tests/exports/make.py`)."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli import fails, ok
from whichpairs.bench.labels.site import picked_run
from whichpairs.label.stores.place import open_store

EXPORTS = Path(__file__).parent / "exports"
PAIRS = 8
ANN, BOB = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
SAID = ["a", "b", "tie", "both_bad", None, None, "a", "b"]
"""Of the file's pairs, in its order: then a draft, then one that was passed over."""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    sides = [(f"good {k} <b>", f"bad {k} \N{SNOWMAN}") for k in range(PAIRS)]
    return picked_run(tmp_path, [f"Question {k}?" for k in range(PAIRS)], sides)


def asked(name: str) -> list[dict[str, str]]:
    """The pairs of a file, in its order."""
    text = (EXPORTS / name).read_text(encoding="utf-8")
    if name.endswith("jsonl"):
        return [json.loads(line) for line in text.splitlines()]
    return [row.get("data") or row["metadata"] for row in json.loads(text)]


@pytest.mark.parametrize(
    ("name", "rows", "who", "others"),
    [
        ("argilla-flat.jsonl", "argilla-flat.jsonl", ANN, {"draft": 1, "discarded": 1}),
        ("argilla-flat.parquet", "argilla-flat.jsonl", ANN, {"draft": 1, "discarded": 1}),
        ("label-studio.json", "label-studio.json", "1", {"draft": 1, "skipped": 1}),
    ],
)
def test_what_a_tool_wrote_is_read_whole(
    run: Path, capsys, name: str, rows: str, who: str, others: dict[str, int]
) -> None:
    take = ["label", "--run", run, "--from", EXPORTS / name]
    told = ok(capsys, *take)
    pairs, argilla = asked(rows), name.startswith("argilla")
    expected = [(p["pair_id"], who, s) for p, s in zip(pairs, SAID, strict=True) if s]
    expected += [(p["pair_id"], BOB, "b") for p in pairs[:3]] if argilla else []
    labels = open_store(run).all()
    found = [(x.pair_id, x.annotator, "both_bad" if x.both_bad else x.choice) for x in labels]
    assert sorted(found) == sorted(expected)
    sides = {p["pair_id"]: (p["id_a"], p["id_b"]) for p in pairs}
    assert all((x.id_a, x.id_b) == sides[x.pair_id] for x in labels)
    assert (told["new"], told["no_answers"]) == (len(expected), others)
    again = ok(capsys, *take)
    assert (again["new"], again["same"], again["done_before"]) == (0, len(expected), True)
    from whichpairs.cli import main

    with pytest.raises(SystemExit):
        main([str(word) for word in take])
    words = ", ".join(f"1 {what}" for what in sorted(others))
    assert f"Left out, as no answers: {words}." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("argilla-nested.json", "must say which responses were submitted"),
        ("argilla-flat.csv", "must be lists of one length"),
    ],
)
def test_forms_that_have_lost_something_are_refused(
    run: Path, capsys, name: str, rule: str
) -> None:
    said = fails(capsys, "label", "--run", run, "--from", EXPORTS / name)
    assert rule in said
    assert "to_datasets().to_json(" in said.replace("as JSON, not as CSV: ", "")
    assert open_store(run).all() == []


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda row: row.pop("pair_id"), "must have pair_id in their metadata"),
        (lambda row: row.update({"choice.responses": [["a", "b"]] * 2}), "must be one label"),
        (
            lambda row: [row.pop("choice.responses.status"), row.update({"x.responses": None})],
            "must have one question",
        ),
    ],
)
def test_other_records_of_argilla_are_refused(run: Path, tmp_path: Path, capsys, change, rule):
    row = asked("argilla-flat.jsonl")[0]
    change(row)
    (tmp_path / "x.jsonl").write_text(json.dumps(row) + "\n")
    assert rule in fails(capsys, "label", "--run", run, "--from", tmp_path / "x.jsonl")


def test_records_for_argilla_are_as_it_read_them(run: Path, tmp_path: Path, capsys) -> None:
    """What argilla 2.8.0 made of `share`'s files is in its own: the texts, and where the pair's ids are."""
    ok(capsys, "share", tmp_path / "out", "--run", run, "--to", "argilla", "--seed", 1)
    ours = json.loads((tmp_path / "out" / "person1.json").read_text(encoding="utf-8"))
    theirs = json.loads((EXPORTS / "argilla-nested.json").read_text(encoding="utf-8"))
    assert len(ours) == len(theirs) == PAIRS
    assert sorted(map(_said, ours)) == sorted(map(_said, theirs))
    settings = json.loads((tmp_path / "out" / "settings.json").read_text(encoding="utf-8"))
    read = json.loads((EXPORTS / "argilla-settings.json").read_text(encoding="utf-8"))
    for part in ("fields", "questions", "metadata"):
        for mine, its in zip(settings[part], read[part], strict=True):
            assert {k: its[k] for k in mine if k != "settings"} == {
                k: v for k, v in mine.items() if k != "settings"
            }
            assert its["settings"].items() >= mine["settings"].items()
    assert not any(one["visible_for_annotators"] for one in read["metadata"])  # A's and B's ids
    assert {one["name"] for one in read["metadata"]} == set(ours[0]["metadata"])


def _said(record: dict[str, Any]) -> list[str]:
    """A record but for its place and for which side is shown first: those are dealt anew."""
    fields, about = dict(record["fields"]), dict(record["metadata"])
    sides = sorted((about.pop(f"id_{side}"), fields.pop(f"completion_{side}")) for side in "ab")
    rest = (record["id"], sides, fields, about, record["suggestions"], record["vectors"])
    return [json.dumps(part, sort_keys=True) for part in rest]
