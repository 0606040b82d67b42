"""Tool calls, names and null contents: kept from the file to the export, seen by whatever reads texts."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cli import ok, write_jsonl
from whichpairs.label.judge import Question, ask_for
from whichpairs.pool.pool import load_pool
from whichpairs.pool.reading.read import read_pool


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def calls(place: str) -> list[dict[str, Any]]:
    return [
        {"id": "1", "type": "function", "function": {"arguments": {"q": place}, "name": "look"}}
    ]


def asks(place: str, content: str | None = "Let me look.") -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": calls(place)}


WEATHER = [user("Weather?")]
RESULT = {"role": "tool", "content": "Rain", "name": "look", "tool_call_id": "1"}


def imported(rows: list[dict[str, Any]], folder: Path, capsys) -> tuple[Path, dict[str, Any]]:
    path = write_jsonl(folder / "pool.jsonl", rows)
    return folder / "run", ok(capsys, "import", path, "--run", folder / "run")


def exported(run: Path, capsys) -> list[dict[str, Any]]:
    ok(capsys, "export", run.parent / "out.jsonl", "--run", run, "--to", "trl")
    return [json.loads(line) for line in (run.parent / "out.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("content", ["Let me look.", None, ""])
def test_different_calls_are_different_completions(content, tmp_path: Path, capsys) -> None:
    row = {
        "prompt": WEATHER,
        "chosen": [asks("Oslo", content)],
        "rejected": [asks("Rome", content)],
    }
    run, result = imported([row], tmp_path, capsys)
    assert result["labels"] == 1
    assert result["identical_pairs_dropped"] == 0
    table = pl.read_parquet(run / "pool" / "completions.parquet")
    assert ["Oslo" in text for text in table["completion"]] == [True, False]
    assert all(text.startswith(content or "{") for text in table["completion"])
    (out,) = exported(run, capsys)
    assert out == row


def test_different_calls_before_are_different_prompts(tmp_path: Path, capsys) -> None:
    rows = [
        {
            "prompt": [*WEATHER, asks(place, None), RESULT],
            "chosen": [{"role": "assistant", "content": f"Rain in {place}."}],
            "rejected": [{"role": "assistant", "content": "Sun."}],
        }
        for place in ("Oslo", "Rome")
    ]
    run, result = imported(rows, tmp_path, capsys)
    assert (result["prompts"], result["labels"]) == (2, 2)
    assert "assistant_message" not in pl.read_parquet(run / "pool" / "completions.parquet").columns
    assert exported(run, capsys) == rows
    prompts = pl.read_parquet(run / "pool" / "prompts.parquet")["prompt"]
    assert all('"tool_call_id": "1"' in text for text in prompts)


def test_a_name_or_a_result_tells_prompts_apart(tmp_path: Path) -> None:
    names = [{"name": "Ann"}, {"name": "Bob"}, {}]
    rows = [{"prompt": [user("Hi") | name], "completion": "Hello."} for name in names]
    tables = read_pool(write_jsonl(tmp_path / "p.jsonl", rows))
    assert len(tables.prompts) == 3


def test_the_order_of_a_calls_keys_says_nothing(tmp_path: Path) -> None:
    turned = json.loads(json.dumps(asks("Oslo"), sort_keys=True))
    assert list(turned) != list(asks("Oslo"))
    rows = [{"prompt": WEATHER, "completion": [one]} for one in (asks("Oslo"), turned)]
    tables = read_pool(write_jsonl(tmp_path / "p.jsonl", rows))
    assert tables.completions["weight"].to_list() == [2.0]


def test_a_text_that_looks_like_a_call_is_none(tmp_path: Path) -> None:
    first = read_pool(
        write_jsonl(tmp_path / "p.jsonl", [{"prompt": WEATHER, "completion": [asks("Oslo")]}])
    )
    text = first.completions["completion"][0]
    rows = [{"prompt": WEATHER, "completion": one} for one in ([asks("Oslo")], text)]
    tables = read_pool(write_jsonl(tmp_path / "p.jsonl", rows))
    assert tables.completions["completion"].to_list() == [text, text]
    assert tables.completions["completion_id"].n_unique() == 2
    assert tables.completions["assistant_message"].null_count() == 1


def test_a_text_prompt_is_exported_as_a_chat_beside_calls(tmp_path: Path, capsys) -> None:
    row = {"prompt": "Weather?", "chosen": [asks("Oslo")], "rejected": [asks("Rome")]}
    run, _ = imported([row], tmp_path, capsys)
    assert exported(run, capsys) == [row | {"prompt": WEATHER}]


def test_examples_and_the_judge_see_the_calls(tmp_path: Path, capsys) -> None:
    row = {
        "prompt": [*WEATHER, asks("Oslo", None), RESULT],
        "chosen": [asks("Rome")],
        "rejected": [{"role": "assistant", "content": "Rain."}],
    }
    run, result = imported([row], tmp_path, capsys)
    pool = load_pool(run / "pool", result["fingerprint"])
    called, plain = pool.examples([0, 1])
    assert called.message == asks("Rome")
    assert plain.message is None
    (asked,) = ask_for(Question(called.prompt, called.completion, plain.completion))
    assert '"q": "Oslo"' in asked["content"]
    assert '"q": "Rome"' in asked["content"]
    assert "None" not in asked["content"]
