"""Reading pools: every format and shape gives the same tables; every mistake names its row."""

import csv
import hashlib
import json
import random
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whichpairs.errors import MissingExtraError, UserError
from whichpairs.pool.columns import Columns
from whichpairs.pool.reading.read import pool_from_samples, read_pool, read_prompts

DATA = Path(__file__).parents[2] / "shared" / "data"
USER, REPLY = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}
ROWS = [
    {"prompt": "Why?", "completion": "Because.", "score": 1.5, "model": "a"},
    {"prompt": "How?", "completion": "Thus.", "score": 2.0, "model": "b"},
    {"prompt": "Why?", "completion": "No idea.", "score": -1.0, "model": "c"},
    {"prompt": "Why?", "completion": "Because.", "score": 2.5, "model": "d"},
]


def jsonl(folder: Path, rows: list[Any], name: str = "pool.jsonl") -> Path:
    path = folder / name
    path.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def sha(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


# --- what is read ---------------------------------------------------------------------------------


def test_a_small_pool_by_hand(tmp_path: Path) -> None:
    tables = read_pool(jsonl(tmp_path, ROWS), Columns(scores=("score",)))
    why, how = "p5d8a995a6fa7", "p0ea5977074d1"
    assert tables.prompts.rows() == [(why, "Why?", None, None), (how, "How?", None, None)]
    names = "completion_id prompt_id completion weight finished score model"
    assert " ".join(tables.completions.columns) == names
    assert tables.completions.rows() == [
        ("c" + sha(why + "\0Because.", 16), why, "Because.", 2.0, True, 2.0, "a"),
        ("c" + sha(why + "\0No idea.", 16), why, "No idea.", 1.0, True, -1.0, "c"),
        ("c" + sha(how + "\0Thus.", 16), how, "Thus.", 1.0, True, 2.0, "b"),
    ]
    assert why == "p" + sha("Why?", 12)
    assert tables.counts["rows_read"] == 4
    assert tables.counts["duplicates_merged"] == 1
    assert tables.counts["single_completion_prompts"] == 1
    assert len(tables.pairs) == len(tables.ties) == 0
    assert tables.pairs.columns == ["prompt_id", "chosen_id", "rejected_id"]


def save_as(rows: list[dict[str, Any]], folder: Path, kind: str) -> str:
    path = folder / f"pool.{kind}"
    if kind in {"jsonl", "ndjson"}:
        jsonl(folder, rows, path.name)
    elif kind == "json":
        path.write_text(json.dumps(rows))
    elif kind == "data.json":
        path.write_text(json.dumps({"version": 1, "data": rows}))
    elif kind == "parquet":
        pl.DataFrame(rows).write_parquet(path)
    elif kind == "csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        import datasets

        table = datasets.Dataset.from_list(rows)
        other = datasets.Dataset.from_list(rows[:1])
        folders = {
            "dataset": table,
            "one": datasets.DatasetDict({"prefs": table}),
            "train": datasets.DatasetDict({"test": other, "train": table}),
            "named:prefs": datasets.DatasetDict({"prefs": table, "train": other}),
        }
        folders[kind].save_to_disk(folder / kind.partition(":")[0])
        return str(folder / kind)
    return str(path)


@pytest.mark.parametrize(
    "kind",
    "jsonl ndjson json data.json parquet csv dataset one train named:prefs".split(),  # noqa: SIM905
)
def test_every_format_gives_the_same_tables(tmp_path: Path, kind: str) -> None:
    columns = Columns(scores=("score",), group="model")
    expected = read_pool(jsonl(tmp_path, ROWS, "expected.jsonl"), columns)
    tables = read_pool(save_as(ROWS, tmp_path, kind), columns)
    assert tables.prompts.equals(expected.prompts)
    assert tables.completions.equals(expected.completions)
    assert tables.completions.schema == expected.completions.schema
    assert tables.counts == expected.counts


def test_lists_are_read_as_their_rows_would_be(tmp_path: Path) -> None:
    rows = [
        {"prompt": "A", "completion": ["x", "y", "x"], "s": [1, 2, 3], "w": [1.0, 1.0, 0.5]},
        {"prompt": "B", "completion": ["z"], "s": [4], "w": [2.0]},
    ]
    extra = [{"model": ["m", "n", "o"], "tags": ["t"]}, {"model": ["p"], "tags": ["u", "v"]}]
    lists = [a | b for a, b in zip(rows, extra, strict=True)]
    flat = [
        {"prompt": r["prompt"], "completion": c, "s": s, "w": w, "model": m, "tags": r["tags"]}
        for r in lists
        for c, s, w, m in zip(r["completion"], r["s"], r["w"], r["model"], strict=True)
    ]
    columns = Columns(scores=("s",), weight="w")
    for kind in ("jsonl", "parquet"):
        tables = read_pool(save_as(lists, tmp_path, kind), columns)
        expected = read_pool(jsonl(tmp_path, flat, "flat.jsonl"), columns)
        assert tables.completions.equals(expected.completions)
        assert tables.completions["weight"].to_list() == [1.5, 1.0, 2.0]
        assert tables.completions["s"].to_list() == pytest.approx([(1 + 0.5 * 3) / 1.5, 2.0, 4.0])
        assert tables.completions["model"].to_list() == ["m", "n", "p"]
        assert tables.completions["tags"].to_list() == [["t"], ["t"], ["u", "v"]]
        assert tables.counts["rows_read"] == 2


def test_a_users_ids_groups_and_finished(tmp_path: Path) -> None:
    rows = [
        {
            "id": 7,
            "prompt": "P",
            "completion": "a",
            "topic": "x",
            "finished": False,
            "prompt_id": 1,
        },
        {"id": 7, "prompt": "P", "completion": "b", "topic": "y", "finished": None, "prompt_id": 2},
        {"id": "a/../b", "prompt": "P", "completion": "a", "topic": None, "finished": True},
    ]
    tables = read_pool(jsonl(tmp_path, rows), Columns(prompt_id="id", group="topic"))
    assert tables.prompts.rows() == [("7", "P", None, "x"), ("a/../b", "P", None, None)]
    assert tables.completions["finished"].to_list() == [False, True, True]
    assert tables.completions["completion_id"][0] == "c" + sha("7\0a", 16)
    assert tables.completions["completion_id"].n_unique() == 3
    assert tables.completions["prompt_id_as_read"].to_list() == [1, 2, None]
    assert tables.counts["group_conflicts"] == 1


def test_further_columns_of_json_keep_what_they_hold(tmp_path: Path) -> None:
    values = {
        "number": [1, 2.5, None],
        "mixed": [1, "a", None],
        "objects": [{"a": 1}, {"b": 2}, None],
        "lists": [[1, 2], [3], None],
        "nothing": [None, None, None],
        "deep": [[{"a": 1}], [{"b": 2}], None],
        "huge": [10**30, 1, None],
    }
    rows = [
        {"prompt": "P", "completion": c, **{k: v[i] for k, v in values.items()}}
        for i, c in enumerate("abc")
    ]
    found = read_pool(jsonl(tmp_path, rows), Columns()).completions
    assert found["number"].to_list() == [1.0, 2.5, None]
    assert found["lists"].to_list() == [[1, 2], [3], None]
    assert found["nothing"].to_list() == [None] * 3
    for name in ("mixed", "objects", "deep", "huge"):
        texts = found[name].to_list()
        assert [t and json.loads(t) for t in texts] == values[name]
    found.write_parquet(tmp_path / "out.parquet")
    assert pl.read_parquet(tmp_path / "out.parquet").equals(found)


texts = st.text(min_size=1, max_size=4).filter(lambda t: not t.isspace())
pool_rows = st.lists(
    st.tuples(st.sampled_from(["p", "q", "r\n"]), texts, st.integers(-9, 9), st.integers(1, 4)),
    min_size=1,
    max_size=20,
)


def slow_twin(rows: list[Any]) -> dict[str, dict[str, tuple[float, float]]]:
    """Weight and mean score of every completion, by prompt, in order of appearance."""
    pool: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
    for prompt, text, score, weight in rows:
        total, mean = pool[prompt].get(text, (0.0, 0.0))
        mean = (mean * total + score * weight) / (total + weight)
        pool[prompt][text] = (total + weight, mean)
    return pool


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(rows=pool_rows, seed=st.integers(0, 99))
def test_tables_match_a_slow_twin_in_any_order_of_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], seed: int
) -> None:
    folder = tmp_path_factory.mktemp("pool")
    names = ("prompt", "completion", "s", "w")
    records = [dict(zip(names, row, strict=True)) for row in rows]
    tables = read_pool(jsonl(folder, records), Columns(scores=("s",), weight="w"))
    twin = slow_twin(rows)
    assert tables.prompts["prompt"].to_list() == list(twin)
    flat = [(p, t, *values) for p, many in twin.items() for t, values in many.items()]
    found = tables.completions.join(tables.prompts, on="prompt_id", maintain_order="left")
    assert found.select("prompt", "completion").rows() == [(p, t) for p, t, _, _ in flat]
    np.testing.assert_allclose(found["weight"], [w for _, _, w, _ in flat])
    np.testing.assert_allclose(found["s"], [s for _, _, _, s in flat], atol=1e-12)

    random.Random(seed).shuffle(records)
    again = read_pool(jsonl(folder, records), Columns(scores=("s",)))
    assert set(again.completions["completion_id"]) == set(found["completion_id"])
    assert set(again.prompts.rows()) == set(tables.prompts.rows())
    assert again.completions["weight"].sum() == len(rows)
    assert len(again.completions) + again.counts["duplicates_merged"] == len(rows)


# --- pairs and conversations ----------------------------------------------------------------------


def texts_of_pairs(tables: Any) -> list[tuple[str, str]]:
    text = dict(tables.completions.select("completion_id", "completion").rows())
    return [(text[c], text[r]) for _, c, r in tables.pairs.rows()]


def test_plain_pairs(tmp_path: Path) -> None:
    rows = [("P", "a", "b"), ("P", "b", "c"), ("P", "a", "b"), ("P", "d", "d"), ("Q", "e", " \n")]
    path = jsonl(
        tmp_path, [dict(zip(("prompt", "chosen", "rejected"), r, strict=True)) for r in rows]
    )
    tables = read_pool(path, Columns())
    assert texts_of_pairs(tables) == [("a", "b"), ("b", "c"), ("a", "b")]
    assert tables.completions["completion"].to_list() == ["a", "b", "c", "d", "e"]
    assert tables.completions["weight"].to_list() == [1.0] * 5
    assert tables.pairs["prompt_id"].unique().to_list() == [tables.prompts["prompt_id"][0]]
    wanted = {
        "identical_pairs_dropped": 1,
        "empty_pairs_dropped": 1,
        "single_completion_prompts": 1,
    }
    assert wanted.items() <= tables.counts.items()


def test_labelled_pairs_with_ties(tmp_path: Path) -> None:
    labels = [1, 2, 0, "tie", 2.0, "2"]
    rows = [{"prompt": f"P{i}", "x": "left", "y": "right", "won": w} for i, w in enumerate(labels)]
    tables = read_pool(jsonl(tmp_path, rows), Columns(pair=("x", "y"), label="won"))
    left, right = ("left", "right"), ("right", "left")
    assert texts_of_pairs(tables) == [left, right, right, right]
    assert len(tables.ties) == tables.counts["ties"] == 2
    assert tables.ties.columns == ["prompt_id", "first_id", "second_id"]


SYSTEM, ASK = turn("system", "Be kind."), turn("user", "Again?")
CHAT = [SYSTEM, USER, REPLY, ASK]
GOOD, BAD = [turn("assistant", "Yes.")], [turn("assistant", "No.")]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": CHAT, "chosen": GOOD, "rejected": BAD},
        {"prompt": CHAT, "chosen": CHAT + GOOD, "rejected": CHAT + BAD},
        {"chosen": CHAT + GOOD, "rejected": CHAT + BAD},
        {"prompt": "Again?", "chosen": CHAT + GOOD, "rejected": CHAT + BAD},
        {"prompt": [m | {"name": None} for m in CHAT], "chosen": GOOD, "rejected": BAD},
    ],
)
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_conversational_pairs(tmp_path: Path, row: dict[str, Any], kind: str) -> None:
    tables = read_pool(save_as([row], tmp_path, kind), Columns())
    assert texts_of_pairs(tables) == [("Yes.", "No.")]
    messages = json.dumps(CHAT, separators=(",", ":"))
    text = "System: Be kind.\n\nUser: Hi\n\nAssistant: Hello.\n\nUser: Again?"
    assert tables.prompts.rows() == [("p" + sha(messages, 12), text, messages, None)]


def test_conversational_completions_and_a_lone_user_turn(tmp_path: Path) -> None:
    rows = [
        {"prompt": [USER], "completion": [REPLY]},
        {"prompt": [USER], "completion": "Hey."},
        {"prompt": [USER], "completion": [USER, turn("assistant", "Ho.")]},
        {"prompt": "Hi", "completion": "Hello."},
    ]
    tables = read_pool(jsonl(tmp_path, rows), Columns())
    assert tables.prompts["prompt"].to_list() == ["Hi", "Hi"]
    assert tables.prompts["messages"].to_list() == ['[{"role":"user","content":"Hi"}]', None]
    assert tables.completions["completion"].to_list() == ["Hello.", "Hey.", "Ho.", "Hello."]
    listed = [{"prompt": [USER], "completion": [[REPLY], [turn("assistant", "Hey.")]]}]
    tables = read_pool(jsonl(tmp_path, listed), Columns())
    assert tables.completions["completion"].to_list() == ["Hello.", "Hey."]


def test_equal_conversations_are_an_identical_pair(tmp_path: Path) -> None:
    path = jsonl(tmp_path, [{"chosen": [USER, REPLY], "rejected": [USER, REPLY]}])
    tables = read_pool(path, Columns())
    assert tables.counts["identical_pairs_dropped"] == 1
    assert tables.completions["completion"].to_list() == ["Hello."]


@pytest.mark.parametrize("with_prompt", [True, False])
def test_hh_dialogues_are_taken_apart(tmp_path: Path, with_prompt: bool) -> None:
    prompt = "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Go\n\nAssistant:"
    row = {"chosen": prompt + " Fine.", "rejected": prompt + " Never."}
    tables = read_pool(
        jsonl(tmp_path, [row | {"prompt": prompt} if with_prompt else row]), Columns()
    )
    assert tables.prompts["prompt"].to_list() == [prompt]
    assert texts_of_pairs(tables) == [(" Fine.", " Never.")]


# --- hostile but legal ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet", "dataset"])
def test_hostile_text_comes_through_unharmed(tmp_path: Path, kind: str) -> None:
    nasty = ["a\0b\x1b[31m\r\nc", "\u2028 \x85 \x0b line", "=1+1", '"\\', "123", "𝕏\u202e", "null"]
    nasty.append("x" * 1_000_000)
    rows = [{"prompt": "<script>/../\r", "completion": text} for text in nasty]
    tables = read_pool(save_as(rows, tmp_path, kind), Columns())
    assert tables.completions["completion"].to_list() == nasty
    assert tables.prompts["prompt"].to_list() == ["<script>/../\r"]


def test_blank_lines_a_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "pool.JSONL"
    lines = [json.dumps(row) for row in ROWS]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n\r\n".join(lines).encode() + b"\r\n \n")
    assert read_pool(path, Columns()).counts["rows_read"] == 4
    path.write_text("\n\n" + lines[0] + "\n\n{")
    with pytest.raises(UserError, match=r"line 5 of .*pool.JSONL"):
        read_pool(path, Columns())


@pytest.mark.slow
def test_a_hundred_thousand_rows_in_seconds(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"prompt {i // 20} " * 10, "completion": f"text {i % 10} " * 10, "s": i}
        for i in range(100_000)
    ]
    path = jsonl(tmp_path, rows)
    start = time.perf_counter()
    tables = read_pool(path, Columns(scores=("s",)))
    assert time.perf_counter() - start < 20  # measured: 1.5 s on an idle core
    assert tables.counts["completions"] == 50_000
    assert tables.completions["s"][:2].to_list() == [5.0, 6.0]


# --- the user's mistakes --------------------------------------------------------------------------


def complaint(path: str | Path, columns: Columns | None = None) -> str:
    with pytest.raises(UserError) as caught:
        read_pool(path, columns or Columns(), max_bad=0)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) <= 1000
    return message


OK = {"prompt": "P", "completion": "a"}
MISTAKES = {
    "null completion": (OK | {"completion": None}, {}, ["'completion' is null", "line 2"]),
    "null prompt": (OK | {"prompt": None}, {}, ["'prompt' is null", "line 2"]),
    "number as completion": (OK | {"completion": 3}, {}, ["'completion' is 3", "line 2"]),
    "number as prompt": (OK | {"prompt": 3.5}, {}, ["'prompt' is 3.5", "line 2"]),
    "empty completion": (OK | {"completion": ""}, {}, ["must not be empty", "line 2"]),
    "blank completion": (OK | {"completion": "\n\t "}, {}, ["not be empty", r"\n\t", "line 2"]),
    "no object": ([1, 2], {}, ["must be a JSON object", "line 2", "[1, 2]"]),
    "null score": (OK | {"s": None}, {"scores": ("s",)}, ["'s' is null", "line 2"]),
    "score as text": (OK | {"s": "1 of 5"}, {"scores": ("s",)}, ["'s' is '1 of 5'", "line 2"]),
    "NaN score": (OK | {"s": float("nan")}, {"scores": ("s",)}, ["'s' is nan", "line 2"]),
    "infinite score": (OK | {"s": float("inf")}, {"scores": ("s",)}, ["'s' is inf", "line 2"]),
    "huge score": (OK | {"s": 10**400}, {"scores": ("s",)}, ["score must be", "line 2"]),
    "true as score": (OK | {"s": True}, {"scores": ("s",)}, ["'s' is true", "line 2"]),
    "weight of 0": (OK | {"s": 0}, {"weight": "s"}, ["weight must be", "above 0", "line 2"]),
    "negative weight": (OK | {"s": -1}, {"weight": "s"}, ["'s' is -1", "line 2"]),
    "null id": (OK | {"s": None}, {"prompt_id": "s"}, ["id must be", "line 2"]),
    "empty id": (OK | {"s": ""}, {"prompt_id": "s"}, ["id must be", "line 2"]),
    "id with NUL": (OK | {"s": "a\0"}, {"prompt_id": "s"}, ["id must be", "line 2"]),
    "id of two": (OK | {"prompt": "Q", "s": 1}, {"prompt_id": "s"}, ["'1'", "line 1", "line 2"]),
    "finished as text": (OK | {"finished": "no"}, {}, ["finished must be", "'no'", "line 2"]),
    "list among texts": (OK | {"completion": ["a"]}, {}, ["'completion' is [\"a\"]", "line 2"]),
    "score named twice": (OK | {"s": 1}, {"scores": ("s", "s")}, ["different names"]),
    "score named weight": (OK | {"s": 1}, {"scores": ("weight",)}, ["none of completion_id"]),
    "chat without role": (OK | {"completion": [{"text": "a"}]}, {}, ["role is null", "line 2"]),
    "chat of parts": (
        OK | {"prompt": [{"role": "user", "content": [{"type": "text"}]}]},
        {},
        ["content is [", "line 2"],
    ),
    "user turn last": (OK | {"completion": [USER]}, {}, ["assistant message", "'user'", "line 2"]),
    "two replies": (OK | {"completion": [REPLY, REPLY]}, {}, ["exactly one", "line 2"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_bad_row_is_named(tmp_path: Path, name: str) -> None:
    row, columns, wanted = MISTAKES[name]
    message = complaint(jsonl(tmp_path, [OK | {"s": 1}, row]), Columns(**columns))
    assert all(part in message for part in wanted), message


LISTS = {"prompt": "P", "completion": ["a", "b"], "s": [1, 2]}
LIST_MISTAKES = {
    "short scores": (LISTS | {"s": [1]}, ["'s' has 1 for 2 completions", "row 2"]),
    "scalar score": (LISTS | {"s": 1}, ["'s' is 1 for 2 completions", "row 2"]),
    "no scores": (LISTS | {"s": None}, ["'s' is null for 2", "row 2"]),
    "null in scores": (LISTS | {"s": [1, None]}, ["'s' is null", "row 2", "completion 2"]),
    "no completions": (LISTS | {"completion": []}, ["must be a list of texts", "row 2"]),
    "text among lists": (LISTS | {"completion": "a"}, ["must be a list of texts", "row 2"]),
    "nothing in list": (LISTS | {"completion": ["", None]}, ["all 2 are empty", "row 2"]),
    "number in list": (LISTS | {"completion": ["a", 3]}, ["is 3", "row 2", "completion 2"]),
    "short finished": (LISTS | {"finished": [True]}, ["'missing'", "row 2", "completion 2"]),
}


@pytest.mark.parametrize("name", LIST_MISTAKES)
def test_a_bad_list_is_named(tmp_path: Path, name: str) -> None:
    row, wanted = LIST_MISTAKES[name]
    path = tmp_path / "pool.json"
    path.write_text(json.dumps([LISTS, row]))
    message = complaint(path, Columns(scores=("s",)))
    assert all(part in message for part in wanted), message


PAIR = {"prompt": "P", "chosen": "a", "rejected": "b", "won": 2}
PAIR_MISTAKES = {
    "null side": (PAIR | {"rejected": None}, {}, ["'rejected' is null", "line 2"]),
    "text and chat": (PAIR | {"chosen": [USER, REPLY]}, {}, ["both lists", "line 2"]),
    "no such label": (
        PAIR | {"won": 3},
        {"label": "won"},
        ["in one way", "'3' (line 2)", "2=a,3=b"],
    ),
    "true as label": (PAIR | {"won": True}, {"label": "won"}, ["'True' (line 2)"]),
    "score of pairs": (PAIR, {"scores": ("won",)}, ["pairs", "'won'"]),
    "null prompt": (PAIR | {"prompt": None}, {}, ["'prompt' is null", "line 2"]),
    "no reply": (
        PAIR | {"chosen": [USER, REPLY], "rejected": [USER, ASK]},
        {},
        ["the rejected in line 2", "exactly one assistant", "roles 'user'"],
    ),
    "another turn before": (
        PAIR | {"chosen": [USER, REPLY], "rejected": [ASK, REPLY]},
        {},
        ["differ in turn 1, before the last", "line 2"],  # the reason, not the roles
    ),
}


@pytest.mark.parametrize("name", PAIR_MISTAKES)
def test_a_bad_pair_is_named(tmp_path: Path, name: str) -> None:
    row, columns, wanted = PAIR_MISTAKES[name]
    message = complaint(jsonl(tmp_path, [PAIR, row]), Columns(**columns))
    assert all(part in message for part in wanted), message


def test_hh_dialogues_that_part_early_are_an_error(tmp_path: Path) -> None:
    a, b = "\n\nHuman: A\n\nAssistant: x", "\n\nHuman: B\n\nAssistant: x"
    assert "line 1" in complaint(jsonl(tmp_path, [{"chosen": a, "rejected": b}]))
    message = complaint(jsonl(tmp_path, [{"chosen": "x", "rejected": "y"}]))
    assert "must have the column 'prompt'" in message


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("a.jsonl", b"", "at least one row"),
        ("a.jsonl", b"\n \n", "at least one row"),
        ("a.json", b" ", "at least one row"),
        ("a.json", b"[]", "at least one row"),
        ("a.csv", b"", "at least one row"),
        ("a.csv", b"prompt,completion\n", "at least one row"),
        ("a.jsonl", b'{"prompt": "P", "completion": "a"}\n{"prompt": \n', "line 2 of"),
        ("a.jsonl", b"[" * 100_000, "nested too deeply"),
        ("a.json", b'{"prompt": 1}\n{"prompt": 2}', "must have the column 'completion'"),
        ("a.json", b'{"rows": []}', 'or {"data": [...]}'),
        ("a.json", b'[{"prompt": "P", "completion": "a"}, 7]', "row 2 of"),
        ("a.jsonl", b'{"a": 1}\n{"b": "\xff"}', "line 2 holds the byte 0xff"),
        ("a.csv", "prompt,completion\nP,é".encode("latin1"), "line 2 holds the byte 0xe9"),
        ("a.jsonl", b'{"prompt": "\\ud800", "completion": "a"}', "surrogate"),
        ("a.csv", b"prompt,completion\nP,a\nP,b,c\n", "line 3 of"),
        ("a.csv", b'prompt,completion\nP,"a\nb"\nP,"b\nc\nd', "line 4 of"),
        ("a.csv", b"prompt,prompt\nP,a\n", "'prompt' is there twice"),
        ("a.csv", b'prompt,completion\n"P\nP",a\nP,\n', "line 4 of"),
        ("a.csv", b'prompt,completion\n"P\nP",\nP,a\n', "line 2 of"),
        ("a.parquet", b"PAR1 half a file", "Parquet files must be whole"),
        ("a.xlsx", b"x", "ends in '.xlsx'"),
        ("a", b"x", "its name has no suffix"),
    ],
)
def test_a_broken_file(tmp_path: Path, name: str, content: bytes, wanted: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert wanted in complaint(tmp_path / name)


def test_numbers_in_csv_are_read_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("prompt,completion,s,finished\nP,1,1e3,true\nP,2, -2 ,False\n")
    found = read_pool(path, Columns(scores=("s",))).completions
    assert found["s"].to_list() == [1000.0, -2.0]
    assert found["finished"].to_list() == [True, False]
    path.write_text("prompt,completion,s\nP,1,1\nP,2,1_0\n")
    assert "'s' is '1_0' in line 3" in complaint(path, Columns(scores=("s",)))


def test_a_missing_column_names_the_closest(tmp_path: Path) -> None:
    path = jsonl(tmp_path, [{"prompts": "P", "completion": "a", "x\n": 1}])
    message = complaint(path)
    assert "must have the column 'prompt'; its columns are 'prompts', 'completion', " in message
    assert "Did you mean 'prompts'?" in message
    assert r"x\n" in message
    for columns in (
        Columns(prompt="prompts", completion="answer"),
        Columns(prompt="prompts", scores=("answer",)),
        Columns(prompt="prompts", weight="answer"),
        Columns(prompt="prompts", prompt_id="answer"),
        Columns(prompt="prompts", group="answer"),
        Columns(prompt="prompts", label="answer"),
        Columns(prompt="prompts", pair=("answer", "x")),
    ):
        assert "must have the column" in complaint(path, columns)


def test_missing_files_and_other_folders(tmp_path: Path) -> None:
    assert "there is no" in complaint(tmp_path / "none.jsonl")
    assert r"a\x1b[0m" in complaint("a\x1b[0m")
    assert "there is no ''" in complaint("")
    assert "there is no" in complaint("x" * 5000)
    assert "state.json" in complaint(tmp_path)
    (tmp_path / "state.json").write_text("{")
    assert "must be whole" in complaint(tmp_path)


def test_splits_must_be_named(tmp_path: Path) -> None:
    import datasets

    table = datasets.Dataset.from_list(ROWS)
    datasets.DatasetDict({"x": table, "y": table}).save_to_disk(tmp_path / "two")
    message = complaint(tmp_path / "two")
    assert "'x', 'y'" in message
    assert f"{tmp_path / 'two'}:x" in message
    assert "'x', 'y'" in complaint(f"{tmp_path / 'two'}:z")
    table.save_to_disk(tmp_path / "flat")
    assert "has none" in complaint(f"{tmp_path / 'flat'}:x")


def test_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def load_dataset(name: str) -> datasets.DatasetDict:
        assert name == "org/name"
        return datasets.DatasetDict({"prefs": datasets.Dataset.from_list(ROWS)})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert read_pool("org/name", Columns()).counts["rows_read"] == 4
    assert read_pool("org/name:prefs", Columns()).counts["rows_read"] == 4

    def offline(name: str) -> None:
        raise ConnectionError("Couldn't reach the Hub\n  File trace")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    message = complaint("org/name")
    assert "org/name must be a file here or a data set on the hub" in message
    assert message.endswith("datasets says: Couldn't reach the Hub")  # no Python exception's name
    assert "trace" not in message
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'whichpairs\[hub\]'"):
        read_pool("org/name", Columns())


# --- prompts and samples --------------------------------------------------------------------------


def test_prompts_to_generate_from(tmp_path: Path) -> None:
    text = tmp_path / "prompts.txt"
    text.write_bytes("One \u2028 line\r\n\nTwo\n".encode())
    assert read_prompts(text) == ["One \u2028 line", "Two"]
    text.write_text("\n")
    with pytest.raises(UserError, match="at least one prompt"):
        read_prompts(text)
    rows = [{"q": "One"}, {"q": [USER | {"name": None}]}, {"q": "One"}, {"q": ""}]
    assert read_prompts(jsonl(tmp_path, rows), "q") == ["One", (USER,), "One", ""]
    with pytest.raises(UserError, match="must have the column 'prompt'"):
        read_prompts(jsonl(tmp_path, rows))
    with pytest.raises(UserError, match="'q' is null in line 2"):
        read_prompts(jsonl(tmp_path, [{"q": "One"}, {"q": None}]), "q")
    with pytest.raises(UserError, match="there is no"):
        read_prompts(tmp_path / "none.txt")
    assert read_prompts(save_as(ROWS, tmp_path, "csv")) == ["Why?", "How?", "Why?", "Why?"]


def test_samples_are_what_reading_them_would_give(tmp_path: Path) -> None:
    prompts: list[Any] = ["", (USER,)]
    drawn = [
        [{"text": "a", "finished": False, "n": 1}, {"text": " ", "finished": True, "n": 2}],
        [{"text": t, "finished": True, "n": 3} for t in "bcb"],
    ]
    tables = pool_from_samples(prompts, drawn)
    rows = [
        {"prompt": p, "completion": s["text"], "finished": s["finished"], "n": s["n"]}
        for p, many in zip(["", [USER]], drawn, strict=True)
        for s in many
        if s["text"] != " "
    ]
    expected = read_pool(jsonl(tmp_path, rows), Columns())
    assert tables.completions.equals(expected.completions)
    assert tables.prompts.equals(expected.prompts)
    assert tables.completions["weight"].to_list() == [1.0, 2.0, 1.0]
    assert tables.counts["empty_samples_dropped"] == 1
    with pytest.raises(UserError, match="all of 1 sample of the model is empty"):
        pool_from_samples(["P"], [[{"text": "", "finished": True}]])


# --- real files -----------------------------------------------------------------------------------


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data folder is not on this machine")
@pytest.mark.parametrize(
    ("file", "columns", "counts"),
    [
        ("ultrafeedback_binarized", Columns(), (1200, 1200, 2393, 1193, 0)),
        ("hh_harmless_test", Columns(), (2312, 2310, 4620, 2308, 0)),
        (
            "hh_harmless_test",
            Columns(pair=("chosen_reply", "rejected_reply")),
            (2312, 2310, 4620, 2308, 0),
        ),
        (
            "human_pairs",
            Columns(pair=("response_1", "response_2"), label="label", group="source"),
            (4023, 2369, 5659, 3373, 585),
        ),
        (
            "alpaca_eval_core",
            Columns(prompt_id="prompt_id", group="dataset", scores=("judge_logit",)),
            (45046, 805, 44212, 0, 0),
        ),
    ],
)
def test_real_files(file: str, columns: Columns, counts: tuple[int, ...]) -> None:
    tables = read_pool(DATA / f"{file}.parquet", columns)
    names = ("rows_read", "prompts", "completions")
    found = (*(tables.counts[name] for name in names), len(tables.pairs), len(tables.ties))
    assert found == counts
    assert tables.completions["completion_id"].n_unique() == len(tables.completions)
    runs = tables.completions["prompt_id"].rle().struct.field("value").to_list()
    assert runs == tables.prompts["prompt_id"].to_list()
