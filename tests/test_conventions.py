"""How a column of preferences is read: by the one convention that fits all of it, else by asking."""

import json
from pathlib import Path

import pytest

from cli import fails, ok, write_jsonl
from whichpairs.errors import UserError
from whichpairs.pool.reading.conventions import label_map, understand_answers

A, B, TIE, NONE = "a", "b", "tie", None
AB = ("answer_a", "answer_b")


def read(values, names=AB, given=None):
    return understand_answers(
        values, "winner", lambda row: f"line {row + 1}", names=names, given=given
    )


READ = {
    "documented": ([1, 2, 0, "tie"], [A, B, TIE, TIE]),
    "whole floats": ([1.0, 2.0, 0.0], [A, B, TIE]),
    "CSV": (["1.0", "2.0", "0.0"], [A, B, TIE]),
    "1 and 2": ([1, 2], [A, B]),
    "0 and 2": ([0, 2], [TIE, B]),
    "AlpacaEval's 1.5": ([1, 1.5, 2], [A, TIE, B]),
    "a half alone": ([0.5], [TIE]),
    "letters": (["A", "B", "b", " a "], [A, B, B, A]),
    "sides": (["left", "Right"], [A, B]),
    "ordinals": (["first", "second", "2nd"], [A, B, B]),
    "Arena": (["model_a", "model_b", "tie", "tie (bothbad)"], [A, B, TIE, TIE]),
    "Arena's older words": (["Model A", "model-b", "bothbad", "both_bad"], [A, B, TIE, TIE]),
    "numbered names": (["response_1", "Response 2"], [A, B]),
    "MT-bench": (["[[A]]", "[[B]]"], [A, B]),
    "Arena-hard": (["A>B", "B>>A", "A=B", "A<<B"], [A, B, TIE, B]),
    "in words": (["A is slightly better", "B is better", "Both bad", "neither"], [A, B, TIE, TIE]),
    "column names": (["answer_b", "Answer_A"], [B, A]),
    "some without": ([1, None, 2, "", float("nan")], [A, NONE, B, NONE, NONE]),
    "decided by one 2": ([1, 1, 0, 2], [A, A, TIE, B]),
}


@pytest.mark.parametrize("case", READ)
def test_what_can_be_meant_in_one_way_is_read(case: str) -> None:
    values, wanted = READ[case]
    assert read(values).choices == wanted


MIRROR = {A: B, B: A, TIE: TIE, NONE: NONE}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, 2, 0, 1], [2, 1, 0, 2]),
        (["A", "B", "tie"], ["B", "A", "tie"]),
        (["left", "right", "tie"], ["right", "left", "tie"]),
        (["model_a", "model_b", "tie (bothbad)"], ["model_b", "model_a", "tie (bothbad)"]),
        (["first", "second"], ["second", "first"]),
        (["A>B", "A<<B", "A=B"], ["B>A", "B<<A", "B=A"]),
        ([1, 1.5, 2], [2, 1.5, 1]),
    ],
)
def test_swapping_the_two_mirrors_every_label(one: list, other: list) -> None:
    wanted = [MIRROR[choice] for choice in read(one).choices]
    assert read(other).choices == wanted


@pytest.mark.parametrize(
    ("names", "values", "wanted"),
    [
        # the same file, its columns named in the other order: A is still the one in the column …A
        (("human_ref_B", "human_ref_A"), ["A", "model_b"], [B, A]),
        (("right_text", "left"), ["left", "right"], [B, B]),
        (("right", "left"), ["left", "right"], [B, A]),
        (("y", "x"), ["x", "y", "X"], [B, A, B]),
        (("outputB", "outputA"), ["A", "B"], [B, A]),
        (("data", "beta"), ["A", "B"], [A, B]),
    ],
)
def test_words_go_by_the_names_of_the_columns(names, values, wanted) -> None:
    if names == ("right_text", "left"):
        values, wanted = ["left"], [B]
    assert read(values, names).choices == wanted


ASKED = {
    "an index or a score": ([0, 1], "--label-map '1=a,0=b'"),
    "ones alone": ([1, 1], "--label-map '0=a,1=b'"),
    "noughts alone": (["0"], "(as in SHP)"),
    "with ties in words": ([0, 1, "tie"], "--label-map '0=a,1=b'"),
    "scores of the first": ([0, 0.5, 1], "--label-map '1=a,0=b,0.5=tie'"),
    "a sign": ([-1, 0, 1], "--label-map 'positive=b,negative=a,0=tie'"),
    "HelpSteer2": ([-3, 2, 0, 1], "(as in HelpSteer2)"),
    "true and false": ([True, False], "--label-map True=a,False=b"),
    "three": ([1, 2, 3], "'1' (line 1), '2' (line 2), '3' (line 3)"),
    "one odd word": ([1, 2, "n/a", "n/a"], "'n/a' (line 3 and 1 more)"),
    "a word for the rest": (["A", "B", "C"], "--label-map C=tie"),
    "scores": ([x / 2 for x in range(3, 20)], "name another --label-column"),
    "chances": ([x / 10 for x in range(10)], "Call the column probability"),
}


@pytest.mark.parametrize("case", ASKED)
def test_what_can_be_meant_in_several_ways_is_asked(case: str) -> None:
    values, message = ASKED[case]
    with pytest.raises(UserError) as error:
        read(values)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("values", "given", "wanted"),
    [
        ([0, 1], "1=a,0=b", [B, A]),
        ([0, 1], "0=a,1=b", [A, B]),
        (["0.0", "1.0"], "0=a, 1=b", [A, B]),
        ([0, 0.5, 1], "1=a,0=b,0.5=tie", [B, TIE, A]),
        ([-1, 0, 1], "positive=a,negative=b,0=tie", [B, TIE, A]),
        ([-3, 2, 0, 1], "positive=b,negative=a,0=tie", [A, B, TIE, B]),
        ([-1, 0, 1], "positive=b,negative=a", [A, TIE, B]),
        ([True, False], "True=a,False=b", [A, B]),
        (["true", "FALSE"], "true=b,false=a", [B, A]),
        ([1, 2, 3], "3=tie", [A, B, TIE]),
        ([1, 2, "n/a"], "n/a=skip", [A, B, NONE]),
        (["tie, both good", "x=y", "A"], "tie, both good=tie,x=y=b", [TIE, B, A]),
        ([1, 2], "1=b,2=a", [B, A]),
    ],
)
def test_a_map_comes_first(values, given, wanted) -> None:
    assert read(values, given=given).choices == wanted


@pytest.mark.parametrize(
    ("names", "values"),
    [
        (("response_2", "response_1"), [1, 2]),
        (("s0", "s1"), [0, 1, 2]),
        (("out_0", "out_1"), [1, 0]),
    ],
)
def test_numbers_against_the_names_of_the_columns_are_asked(names, values) -> None:
    with pytest.raises(UserError, match="--label-map"):
        read(values, names)


@pytest.mark.parametrize("case", [c for c in ASKED if c not in ("scores", "chances")])
def test_the_remedy_works_when_followed(case: str) -> None:
    with pytest.raises(UserError) as error:
        read(ASKED[case][0])
    remedy = str(error.value).split("--label-map ")[1]
    given = remedy.split("'")[1] if remedy.startswith("'") else remedy.split()[0]
    assert len(read(ASKED[case][0], given=given).choices) == len(ASKED[case][0])


@pytest.mark.parametrize("text", ["", "1", "1=c", "1=a,1=b", "=a", "1=a,,2=b", "1=a,2"])
def test_maps_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="VALUE=a,VALUE=b"):
        label_map(text)


@pytest.mark.parametrize("values", [[["a"]], [{"x": 1}, 1], [None, ""]])
def test_values_that_are_no_labels(values: list) -> None:
    with pytest.raises(UserError, match="label"):
        read(values)


# --- import ---------------------------------------------------------------------------------------

SHP = [
    {"history": "Name a fish.", "human_ref_A": "Cod.", "human_ref_B": "Chair.", "labels": 1},
    {"history": "Name a bird.", "human_ref_A": "Table.", "human_ref_B": "Owl.", "labels": 0},
]
OPTIONS = ["--prompt-column", "history", "--pair-columns", "human_ref_A,human_ref_B"]


def test_a_column_of_0_and_1_is_not_guessed_and_the_tally_is_said(tmp_path: Path, capsys) -> None:
    source, run = write_jsonl(tmp_path / "shp.jsonl", SHP), tmp_path / "run"
    command = ["import", source, "--run", run, *OPTIONS, "--label-column", "labels"]
    said = fails(capsys, *command)
    assert "'labels' has '1' (line 1), '0' (line 2), which" in said
    assert "1 means that the first (human_ref_A) won (as in SHP)" in said
    assert not run.exists()
    found = ok(capsys, *command, "--label-map", "1=a,0=b")
    assert found["label_column"] == "1 first, 1 second, 0 ties (1 = first, 0 = second)"
    out = tmp_path / "out.jsonl"
    ok(capsys, "export", out, "--run", run)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["chosen"], row["rejected"]) for row in rows] == [
        ("Cod.", "Chair."),
        ("Owl.", "Table."),
    ]
    assert "--label-map says" in fails(
        capsys, "import", source, "--run", run, *OPTIONS, "--label-map", "1=a"
    )


def test_pairs_without_a_label_stay_in_the_pool(tmp_path: Path, capsys) -> None:
    rows = [{**SHP[0], "labels": "A"}, {**SHP[1], "labels": None}]
    source = write_jsonl(tmp_path / "x.jsonl", rows)
    command = ["import", source, "--run", tmp_path / "run", *OPTIONS, "--label-column", "labels"]
    found = ok(capsys, *command)
    assert (found["completions"], found["labels"]) == (4, 1)
    assert found["label_column"] == "1 first, 0 second, 0 ties, 1 without an answer (A = first)"
