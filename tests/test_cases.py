"""Inputs as the world has them: each is read right, or refused in one true line with nothing written.

The small inputs stand here; those of ../shared/cases are read too, where that folder is.
"""

import json
import math
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cli import fails, ok
from whichpairs.cli import main

CASES = Path(__file__).parents[2] / "shared" / "cases"
DATA = CASES.parent / "data"


def user(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": text, **more}


def bot(text: str | None, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def call(place: str) -> list[dict[str, Any]]:
    function = {"name": "look", "arguments": {"q": place}}
    return [{"id": "1", "type": "function", "function": function}]


FISH, COD, EEL = user("Name a fish."), bot("Cod."), bot("Eel.")
GOOD = {"prompt": "Name a fish.", "chosen": "Cod.", "rejected": "Eel."}
ONE = [("Name a fish.", "Cod.", "Eel.")]
"""What most cases come to: prompt, preferred, other."""


@dataclass(frozen=True)
class Case:
    """An input and what becomes of it.

    Attributes:
        rows: of the JSONL, or the text of a file, or a data frame for a Parquet file.
        pairs: prompt, preferred and other (ties: with "=" in front of the prompt).
        texts: completions in their order, where there are no pairs.
        says, silent: what the message holds, and what it does not.
        refused: what the one line of a refusal holds.
    """

    rows: Any  # bytes are written as they are
    options: tuple[str, ...] = ()
    pairs: list[tuple[str, str, str]] | None = None
    texts: list[str] | None = None
    says: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    suffix: str = "jsonl"
    prompts: list[str] = field(default_factory=list)


def chats(**change: Any) -> list[dict[str, Any]]:
    return [{"chosen": [FISH, COD], "rejected": [FISH, EEL], **change}]


def many(odd: list[dict[str, Any]], good: int) -> list[dict[str, Any]]:
    """`good` rows, and the odd ones after the first of them."""
    rows = [GOOD | {"prompt": f"Name fish {i}."} for i in range(good)]
    return [rows[0], *odd, *rows[1:]]


EARLY = {
    "chosen": [user("Hi"), bot("Hello."), FISH, COD],
    "rejected": [user("Hi"), bot("Hey."), FISH, EEL],
}
HH = "\n\nHuman: Hi\n\nAssistant:"
SHP = {"history": "Name a fish.", "human_ref_A": "Eel.", "human_ref_B": "Cod.", "labels": 0}
STEER = {"prompt": "Name a fish.", "response_1": "Cod.", "response_2": "Eel."}
ARENA = {"conversation_a": [FISH, EEL], "conversation_b": [FISH, COD]}
FARM = {"instruction": "French.", "output_1": "chat", "output_2": "chien"}
OASST = [
    {"message_id": "1", "parent_id": None, "role": "prompter", "text": "Name a fish."},
    {"message_id": "2", "parent_id": "1", "role": "assistant", "text": "Eel.", "rank": 1},
    {"message_id": "3", "parent_id": "1", "role": "assistant", "text": "Cod.", "rank": 0},
    {"message_id": "4", "parent_id": "3", "role": "prompter", "text": "Why?"},
    {"message_id": "5", "parent_id": "4", "role": "assistant", "text": "So.", "rank": 0},
    {"message_id": "6", "parent_id": "9", "role": "assistant", "text": "Lost."},
]
TREE = {
    "message_tree_id": "1",
    "prompt": {
        "text": "Name a fish.",
        "role": "prompter",
        "replies": [
            {"text": "Cod.", "role": "assistant", "rank": 0, "replies": []},
            {"text": "Eel.", "role": "assistant", "rank": 1},
        ],
    },
}

READ: dict[str, Case] = {
    # roles and messages
    "Human and Assistant": Case(
        chats(
            chosen=[{"role": "Human", "content": "Name a fish."}, COD],
            rejected=[{"role": "human", "content": "Name a fish."}, EEL],
        ),
        pairs=ONE,
    ),
    "from and value": Case(
        [
            {
                "conversations": [{"from": "human", "value": "Name a fish."}],
                "chosen": {"from": "gpt", "value": "Cod."},
                "rejected": {"from": "gpt", "value": "Eel."},
            }
        ],
        pairs=ONE,
        says=("'conversations' as the prompt",),
    ),
    "a lone message on each side": Case([GOOD | {"chosen": COD, "rejected": EEL}], pairs=ONE),
    "a lone message as prompt": Case([GOOD | {"prompt": FISH}], pairs=ONE),
    "role model": Case(
        chats(
            chosen=[FISH, {"role": "model", "content": "Cod."}],
            rejected=[FISH, {"role": "bot", "content": "Eel."}],
        ),
        pairs=ONE,
    ),
    "text parts": Case(
        chats(
            chosen=[FISH, bot([{"type": "text", "text": "C"}, {"type": "text", "text": "od."}])],  # type: ignore[arg-type]
            rejected=[user([{"type": "text", "text": "Name a fish."}]), EEL],  # type: ignore[arg-type]
        ),
        pairs=ONE,
    ),
    "keys that are null, as Parquet has them": Case(
        chats(chosen=[FISH | {"name": None, "tool_calls": None}, COD | {"tool_calls": []}]),
        pairs=ONE,
    ),
    "messages beside lone turns (Axolotl)": Case(
        [{"messages": [FISH], "chosen": COD, "rejected": EEL}], pairs=ONE
    ),
    "the prompt's system turn not repeated": Case(
        chats(prompt=[{"role": "system", "content": "Be kind."}, FISH]),
        pairs=[("System: Be kind.\n\nUser: Name a fish.", "Cod.", "Eel.")],
    ),
    "OpenAI's preferences": Case(
        [
            {
                "input": {"messages": [FISH], "tools": []},
                "preferred_output": [COD],
                "non_preferred_output": [EEL],
            }
        ],
        pairs=ONE,
        says=("OpenAI",),
    ),
    # unread columns
    "two prompt columns": Case(
        [FARM | {"input": "cat", "won": 1}, FARM | {"input": "dog", "won": 2}],
        (
            *("--prompt-column", "instruction,input"),
            *("--pair-columns", "output_1,output_2", "--label-column", "won"),
        ),
        pairs=[("French.\n\ncat", "chat", "chien"), ("French.\n\ndog", "chien", "chat")],
        silent=("Attention", "not read"),
    ),
    "the second prompt column empty": Case(
        [{"q": "A?", "ctx": "", "completion": "x"}, {"q": "A?", "ctx": "c", "completion": "y"}],
        ("--prompt-column", "q,ctx"),
        texts=["x", "y"],
        prompts=["A?", "A?\n\nc"],
    ),
    "a column with a comma in its name": Case(
        [{"q,a": "A?", "completion": "x"}], ("--prompt-column", "q,a"), texts=["x"], prompts=["A?"]
    ),
    "an unread input merges prompts": Case(
        [FARM | {"input": "cat", "won": 1}, FARM | {"input": "dog", "won": 2}],
        (
            *("--prompt-column", "instruction"),
            *("--pair-columns", "output_1,output_2", "--label-column", "won"),
        ),
        pairs=[("French.", "chat", "chien"), ("French.", "chien", "chat")],
        says=(
            "Columns not read: 'input'",
            "Attention: rows that were taken for one prompt differ in 'input' (1 prompt)",
            "--prompt-column instruction,input",
        ),
    ),
    "an unread input of completions": Case(
        [
            {"instruction": "Do.", "input": x, "output": y, "model": m, "kind": "t"}
            for x, y, m in (("a", "A", "m"), ("b", "B", "n"), ("a", "C", "m"))
        ],
        ("--prompt-column", "instruction"),
        texts=["A", "B", "C"],
        says=("'output' as the completion", "differ in 'input' (1 prompt)"),
        silent=("differ in 'input' (1 prompt), 'model'", "'model' ("),
    ),
    "the same input in every row": Case(
        [{"prompt": "A?", "input": "i", "completion": x} for x in "ab"],
        texts=["a", "b"],
        says=("kept beside the completions, not read as part of the prompt: 'input'",),
        silent=("Attention",),
    ),
    "labels beside completions": Case(
        [{"prompt": "A?", "completion": x, "chosen": "Cod.", "rejected": "Eel."} for x in "ab"],
        texts=["a", "b"],
        says=("'chosen', 'rejected'",),
    ),
    "chats that differ in what cannot be joined": Case(
        [{**chats()[0], "tools": [{"name": name}]} for name in "ab"],
        says=("differ in 'tools' (1 prompt)", "write it into the prompt itself"),
        silent=("--prompt-column",),
    ),
    "a system column that says nothing": Case(
        [{"prompt": "A?", "completion": "a", "system": s} for s in (" ", None)],
        texts=["a"],
        silent=("Attention",),
    ),
    "objects with their text under two keys": Case(
        [{"prompt": "A?", "completion": [{"response": "a"}, {"text": "b"}]}],
        texts=["a", "b"],
        silent=("left out",),
    ),
    "a system column": Case(
        [
            GOOD | {"system": "Be kind."},
            {"prompt": "Name a fish.", "chosen": "Eel.", "rejected": "Cod.", "system": "Be rude."},
            GOOD | {"system": ""},
        ],
        pairs=[
            ("System: Be kind.\n\nUser: Name a fish.", "Cod.", "Eel."),
            ("System: Be rude.\n\nUser: Name a fish.", "Eel.", "Cod."),
            ("Name a fish.", "Cod.", "Eel."),
        ],
        says=("'system' as the system turn",),
        silent=("Attention", "not read"),
    ),
    "a system column that the chat repeats": Case(
        chats(
            system="Be kind.",
            chosen=[{"role": "system", "content": "Be kind."}, FISH, COD],
            rejected=[{"role": "system", "content": "Be kind."}, FISH, EEL],
        ),
        pairs=[("System: Be kind.\n\nUser: Name a fish.", "Cod.", "Eel.")],
    ),
    "a system column that is not to be read": Case(
        [GOOD | {"system": "a"}, GOOD | {"system": "b"}],
        ("--system-column", ""),
        pairs=ONE * 2,
        says=("Columns not read: 'system'", "differ in 'system'", "--system-column system"),
    ),
    "a system column of another name": Case(
        [GOOD | {"persona": "Be kind."}],
        ("--system-column", "persona"),
        pairs=[("System: Be kind.\n\nUser: Name a fish.", "Cod.", "Eel.")],
    ),
    # odd rows
    "turns that differ early, in one of 200": Case(
        many([EARLY], 199),
        says=(
            "1 of 200 rows left out: chosen and rejected must share every turn but the last "
            "(first: they differ in turn 2, before the last, in line 2 of",
            "left_out.jsonl",
        ),
    ),
    "one odd row of two": Case([EARLY, *chats()], pairs=ONE, says=("in line 1 of",)),
    "HH dialogues that differ early": Case(
        [
            {"chosen": HH + " a", "rejected": HH + " b"},
            {"chosen": HH + " a\n\nHuman: x\n\nAssistant: c", "rejected": HH + " b"},
        ],
        pairs=[(HH, " a", " b")],
        says=("1 of 2 rows left out", "line 2"),
    ),
    "two of 200, by reason": Case(
        many([EARLY, GOOD | {"chosen": 3}], 198),
        says=("2 of 200 rows left out: 1 because chosen and", "; 1 because both completions"),
    ),
    "as many as the user allows": Case(
        many([EARLY] * 3, 7), ("--max-bad", "0.3"), says=("3 of 10 rows left out",)
    ),
    "a broken line of 100": Case(
        "\n".join([json.dumps(r) for r in many([], 99)] + ["{oops}", ""]),
        says=("1 of 100 rows left out: JSON must be well-formed (first: line 100 of",),
    ),
    "an empty completion in a list": Case(
        [{"prompt": "A?", "completion": ["x", "", "y", None], "s": [3, 2, 1, None]}],
        ("--score-column", "s"),
        texts=["x", "y"],
        says=("2 empty completions left out",),
        silent=("rows left out",),
    ),
    "an empty text of 20": Case(
        [{"prompt": "A?", "completion": "" if i == 4 else f"x{i}"} for i in range(20)],
        says=("1 of 20 rows left out: a completion must not be empty (first: 'completion' is ''",),
    ),
    "a score that is missing": Case(
        [{"prompt": "A?", "completion": f"x{i}", "s": None if i == 1 else i} for i in range(3)],
        ("--score-column", "s"),
        texts=["x0", "x2"],
        says=("a score must be a finite number (first: 's' is null in line 2",),
    ),
    "pairs equal or with an empty side": Case(
        [
            GOOD,
            GOOD | {"rejected": "Cod."},
            GOOD | {"prompt": "B?", "rejected": ""},
            GOOD | {"rejected": "Cod."},
        ],
        pairs=ONE,
        says=("2 pairs of two equal texts left out", "1 pair with an empty side left out"),
        silent=("π_ref", "duplicates"),
    ),
    "a pair judged three times": Case(
        [GOOD, GOOD, {"prompt": "Name a fish.", "chosen": "Eel.", "rejected": "Cod."}],
        pairs=[*ONE, *ONE, ("Name a fish.", "Eel.", "Cod.")],
        says=("3 labels came",),
        silent=("π_ref", "duplicates"),
    ),
    "groups that disagree": Case(
        [{"prompt": "A?", "completion": x, "g": g} for x, g in (("x", 1), ("y", 1.0), ("z", 2))],
        ("--group-column", "g"),
        texts=["x", "y", "z"],
        says=("1 row gives its prompt another group",),
    ),
    # ids
    "whole numbers stored as floats": Case(
        pl.DataFrame(
            {"id": [1.0, 1.0, 2.0], "prompt": ["A?", "A?", "B?"], "completion": list("xyz")}
        ),
        ("--prompt-id-column", "id"),
        texts=["x", "y", "z"],
        suffix="parquet",
    ),
    "one id missing": Case(
        pl.DataFrame({"id": [1.0, None, 2.0], "prompt": list("ABC"), "completion": list("xyz")}),
        ("--prompt-id-column", "id"),
        texts=["x", "z"],
        says=("'id' is null in row 2",),
        suffix="parquet",
    ),
    "one id NaN": Case(
        pl.DataFrame({"id": [1.0, math.nan], "prompt": list("AB"), "completion": list("xy")}),
        ("--prompt-id-column", "id"),
        texts=["x"],
        says=("'id' is nan in row 2",),
        suffix="parquet",
    ),
    "a pair without an id": Case(
        [
            {"prompt": p, "chosen": f"{p}1", "rejected": f"{p}2", "id": k, "won": w}
            for k, p, w in ((None, "A", 1), (1, "B", "tie"), (2.0, "C", 2), (3, "D", 1))
        ],
        (
            *("--prompt-id-column", "id", "--label-column", "won"),
            *("--pair-columns", "chosen,rejected"),
        ),
        pairs=[("C", "C2", "C1"), ("D", "D1", "D2"), ("=B", "B1", "B2")],
        says=("'id' is null in line 1",),
    ),
    # tables
    "semicolons and decimal commas": Case(
        "prompt;completion;s\r\nA?;x;1,5\r\nA?;y;-2\r\n",
        ("--score-column", "s"),
        texts=["x", "y"],
        suffix="csv",
    ),
    "lists in the cells of a table": Case(
        'prompt,completion\nA?,"[""x"", ""y""]"\nB?,"[""z""]"\n',
        texts=["x", "y", "z"],
        says=("the cells of 'completion' as JSON lists",),
        suffix="csv",
    ),
    "chats in the cells of a table": Case(
        "chosen\trejected\n" + "\t".join(json.dumps([FISH, x]) for x in (COD, EEL)) + "\n",
        pairs=ONE,
        suffix="tsv",
    ),
    "an index that pandas wrote": Case(
        ",prompt,completion\n0,A?,x\n1,A?,y\n", texts=["x", "y"], suffix="csv"
    ),
    "texts that look like missing values": Case(
        "prompt,completion\nA?,NA\nA?,null\nA?,nan\nA?,007\n",
        texts=["NA", "null", "nan", "007"],
        suffix="csv",
    ),
    "bytes that are texts, of an older writer of Parquet": Case(
        pl.DataFrame({"prompt": [b"A\xc3\xa9?"] * 2, "completion": [b"x", b"y"]}),
        texts=["x", "y"],
        prompts=["Aé?"],
        suffix="parquet",
    ),
    "messages as structs of Parquet": Case(
        pl.DataFrame({"prompt": [FISH] * 2, "completion": [COD, EEL]}),
        texts=["Cod.", "Eel."],
        prompts=["Name a fish."],
        suffix="parquet",
    ),
    "categories of Parquet": Case(
        pl.DataFrame(
            {"prompt": ["A?", "B?"], "a": list("xy"), "b": list("zw"), "won": list("ab")}
        ).with_columns(pl.col("won", "prompt").cast(pl.Categorical)),
        ("--pair-columns", "a,b", "--label-column", "won"),
        pairs=[("A?", "x", "z"), ("B?", "w", "y")],
        suffix="parquet",
    ),
    # numbers
    "scores that are texts": Case(
        [
            {"prompt": "A?", "completion": x, "s": s}
            for x, s in zip("xyz", ("5", " 1e3", "-2."), strict=True)
        ],
        ("--score-column", "s"),
        texts=["x", "y", "z"],
    ),
    "scores of duplicates": Case(
        [
            {"prompt": "A?", "completion": x, "s": s, "m": s}
            for x, s in zip("xxy", (1, 3, 1), strict=True)
        ],
        ("--score-column", "s"),
        texts=["x", "y"],
        says=("weight; their scores are averaged; other columns are the first's",),
    ),
    "probabilities of a pair": Case(
        [{"prompt": "A?", "a": "x", "b": "y", "probability": p} for p in (0.9, 0.2, 0.5, 1, 0)],
        ("--pair-columns", "a,b", "--label-column", "probability"),
        pairs=[
            *[("A?", "x", "y"), ("A?", "y", "x"), ("A?", "x", "y"), ("A?", "y", "x")],
            ("=A?", "x", "y"),
        ],
        says=("2 first, 2 second, 1 tie",),
    ),
    # what is said
    "a prompt beside dialogues that begin otherwise": Case(
        [*chats(prompt="Name a bird."), *chats(prompt=" Name a  fish."), *chats(prompt=None)],
        pairs=ONE * 3,
        says=("Attention: in 1 row the column 'prompt' is another text", "(first: line 1 of"),
    ),
    "the prompt of a dialogue of several turns": Case(
        chats(
            prompt="Name a fish.",
            chosen=[user("Hi"), bot("Yes?"), FISH, COD],
            rejected=[user("Hi"), bot("Yes?"), FISH, EEL],
        ),
        silent=("Attention",),
    ),
    "ids of completions as those of prompts": Case(
        [{"id": i, "prompt": "A?", "completion": x} for i, x in enumerate("xy")],
        ("--prompt-id-column", "id"),
        texts=["x", "y"],
        says=("there is no pair to pick; --prompt-id-column tells apart even prompts of one text",),
    ),
    "columns that the pool has itself": Case(
        [{"prompt": "A?", "completion": x, "assistant_message": 1} for x in "xy"],
        says=("for the pool has an assistant_message of its own",),
    ),
    "a Kaggle row without an answer": Case(
        [
            {
                "prompt": '["A?"]',
                "response_a": a,
                "response_b": '["y"]',
                "winner_model_a": 0,
                "winner_model_b": 1,
                "winner_tie": 0,
            }
            for a in ('["x"]', "[null]")
        ],
        pairs=[("A?", "y", "x")],
        says=("1 pair with an empty side left out",),
    ),
    "a line whose object names a key twice, of 200": Case(
        "\n".join(
            ['{"prompt": "A?", "prompt": "B?", "completion": "x"}']
            + [json.dumps({"prompt": "A?", "completion": f"x{i}"}) for i in range(199)]
        ),
        prompts=["A?"],
        says=("name each key once (first: line 1 of", "holds 'prompt' twice"),
    ),
    # published shapes
    "UltraFeedback": Case(
        [
            {
                "instruction": "Name a fish.",
                "models": ["m", "n"],
                "completions": [
                    {"model": "m", "response": "Cod.", "overall_score": 9.0},
                    {"model": "n", "response": "Eel.", "overall_score": 1.0},
                ],
            }
        ],
        ("--score-column", "overall_score"),
        texts=["Cod.", "Eel."],
        says=("'instruction' as the prompt", "the 'response' of the objects in 'completions'"),
    ),
    "Nectar": Case(
        [
            {
                "prompt": HH,
                "answers": [{"answer": a, "rank": r} for a, r in (("x", 1.0), ("y", 2.0))],
            }
        ],
        ("--score-column", "minus_rank"),
        texts=["x", "y"],
        says=("rank 1 is the best",),
    ),
    "NeMo-RL": Case(
        [
            {
                "context": [FISH],
                "completions": [{"rank": 0, "completion": [COD]}, {"rank": 1, "completion": [EEL]}],
            }
        ],
        texts=["Cod.", "Eel."],
    ),
    "whole conversations": Case(
        [{"messages": [FISH, COD]}, {"messages": [FISH, EEL]}],
        texts=["Cod.", "Eel."],
        prompts=["Name a fish."],
        says=("the last turn of 'messages' as the completion",),
    ),
    "one whole conversation": Case(
        [{"conversations": [{"from": "human", "value": "A?"}, {"from": "gpt", "value": "x"}]}],
        texts=["x"],
        prompts=["A?"],
    ),
    "columns as lists": Case(
        json.dumps({"prompt": ["A?", "A?"], "completion": ["x", "y"]}),
        texts=["x", "y"],
        suffix="json",
    ),
    "a column called completions": Case(
        [{"prompt": "A?", "completions": ["x", "y"]}], texts=["x", "y"], says=("'completions' as",)
    ),
    "HelpSteer2": Case(
        [STEER | {"preference_strength": k} for k in (-3, 2, 0)],
        pairs=[*ONE, ("Name a fish.", "Eel.", "Cod."), ("=Name a fish.", "Cod.", "Eel.")],
        says=("HelpSteer2",),
    ),
    "SHP": Case([SHP, SHP | {"labels": 1}], pairs=[*ONE, ("Name a fish.", "Eel.", "Cod.")]),
    "SHP, every label 0": Case([SHP], pairs=ONE, says=("0 first, 1 second",)),
    "Arena votes": Case(
        [ARENA | {"winner": w} for w in ("model_b", "model_a", "tie", "tie (bothbad)")],
        pairs=[
            *ONE,
            ("Name a fish.", "Eel.", "Cod."),
            *[("=Name a fish.", "Eel.", "Cod.")] * 2,
        ],
    ),
    "Arena votes as Kaggle has them": Case(
        [
            {
                "prompt": '["Name a fish."]',
                "response_a": '["Eel."]',
                "response_b": '["Cod."]',
                "winner_model_a": 0,
                "winner_model_b": 1,
                "winner_tie": 0,
            },
            {
                "prompt": '["Hi", "Name a fish."]',
                "response_a": '["Hello.", "Eel."]',
                "response_b": '["Hey.", "Cod."]',
                "winner_model_a": 0,
                "winner_model_b": 1,
                "winner_tie": 0,
            },
        ],
        pairs=ONE,
        says=("differ in turn 2, before the last, in line 2",),
    ),
    "AlpacaFarm": Case(
        [FARM | {"input": "cat", "preference": 1}, FARM | {"input": "dog", "preference": 2}],
        pairs=[("French.\n\ncat", "chat", "chien"), ("French.\n\ndog", "chien", "chat")],
    ),
    "summarize-from-feedback": Case(
        [
            {
                "info": {"id": "t", "post": "Name a fish.", "article": None},
                "summaries": [{"text": "Eel."}, {"text": "Cod."}],
                "choice": 1,
            }
        ],
        pairs=ONE,
        says=("choice is an index",),
    ),
    "OASST messages": Case(
        OASST,
        ("--score-column", "minus_rank"),
        texts=["Eel.", "Cod.", "So."],
        prompts=["Name a fish.", "User: Name a fish.\n\nAssistant: Cod.\n\nUser: Why?"],
    ),
    "OASST trees": Case([TREE], texts=["Cod.", "Eel."], prompts=["Name a fish."]),
    "Intel's pairs": Case(
        [{"system": "", "question": "Name a fish.", "chosen": "Cod.", "rejected": "Eel."}],
        pairs=ONE,
        says=("'question' as the prompt",),
    ),
    "Argilla's pairs": Case(
        [{"instruction": "Name a fish.", "chosen_response": "Cod.", "rejected_response": "Eel."}],
        pairs=ONE,
    ),
}


def run_import(case: Case, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Import a case that must succeed; the message."""
    with pytest.raises(SystemExit) as stop:
        main(["import", str(written(case, folder)), "--run", str(folder / "run"), *case.options])
    out, err = capsys.readouterr()
    assert stop.value.code == 0, err
    return out


def written(case: Case, folder: Path) -> Path:
    path = folder / f"pool.{case.suffix}"
    if isinstance(case.rows, bytes):
        path.write_bytes(case.rows)
    elif isinstance(case.rows, pl.DataFrame):
        case.rows.write_parquet(path)
    elif isinstance(case.rows, str):
        path.write_text(case.rows, encoding="utf-8", newline="")
    else:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in case.rows))
    return path


def pool(run: Path) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    return tuple(  # type: ignore[return-value]
        pl.read_parquet(run / "pool" / f"{name}.parquet")
        for name in ("prompts", "completions", "pairs")
    )


def compared(run: Path) -> list[tuple[str, str, str]]:
    """Prompt, preferred, other; a tie's prompt has "=" in front."""
    prompts, completions, pairs = pool(run)
    prompt = dict(prompts.select("prompt_id", "prompt").iter_rows())
    text = dict(completions.select("completion_id", "completion").iter_rows())
    return [
        ("=" * tie + prompt[p], text[a], text[b])
        for p, a, b, tie in pairs.select("prompt_id", "chosen_id", "rejected_id", "tie").iter_rows()
    ]


@pytest.mark.parametrize("name", READ)
def test_read(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = READ[name]
    message = run_import(case, tmp_path, capsys)
    run = tmp_path / "run"
    if case.pairs is not None:
        assert compared(run) == case.pairs
    if case.texts is not None:
        assert pool(run)[1]["completion"].to_list() == case.texts
    if case.prompts:
        assert pool(run)[0]["prompt"].to_list() == case.prompts
    assert all(words in message for words in case.says), message
    assert not any(words in message for words in case.silent), message
    assert ("left_out.jsonl" in message) == (run / "pool" / "left_out.jsonl").exists()


MIXED = [
    {"prompt": "A?", "chosen": "x", "rejected": [bot("y")]},
    {"prompt": "B?", "chosen": "x", "rejected": [bot("y")]},
]
NO_TIE = [{"prompt": "A?", "a": "x", "b": "y", "won": v} for v in ("yes", "no", "x")]
IMAGE = [{"type": "image_url", "image_url": {"url": "x"}}]
WON = ("--pair-columns", "a,b", "--label-column", "won")
REFUSED: dict[str, Case] = {
    "a map of some values": Case(
        NO_TIE, (*WON, "--label-map", "yes=a"), refused=("--label-map yes=a,no=b,x=tie",)
    ),
    "a map of values that are not there": Case(
        NO_TIE,
        (*WON, "--label-map", "YES!=a"),
        refused=("none is 'yes!', which --label-map names", "e.g. --label-map yes=a,no=b,x=tie"),
    ),
    "chances under another name": Case(
        [{"prompt": "A?", "a": "x", "b": "y", "won": p} for p in (0.9, 0.2)],
        WON,
        refused=("may be probabilities", "Call the column probability"),
    ),
    "a Parquet file cut short": Case(
        "PAR1 and no end", suffix="parquet", refused=("is cut short, damaged", "fetch it again")
    ),
    "zeros": Case("\0" * 100, refused=("it holds zeros: it is no text",)),
    "an object without keys": Case("{}", suffix="json", refused=("; it has none. ",)),
    "an encoding of another script in which Windows has no letter": Case(
        b'{"prompt": "\x9dh\xd7\xd6", "completion": "x"}', refused=("encoding of another script",)
    ),
    "dates": Case(
        pl.DataFrame({"prompt": ["A?"] * 2, "completion": [date(2020, 1, 2)] * 2}),
        suffix="parquet",
        refused=("'completion' is 2020-01-02 in row 1",),
    ),
    "bytes that are no texts": Case(
        pl.DataFrame({"prompt": ["A?"], "completion": [b"\xff\xfe"]}),
        suffix="parquet",
        refused=("'completion' is 2 bytes that are no text",),
    ),
    "objects in place of a label": Case(
        [{"prompt": "A?", "a": "x", "b": "y", "won": {"w": True}}],
        WON,
        refused=("'won' is {\"w\": true} in line 1",),
    ),
    "every score missing": Case(
        [{"prompt": "A?", "completion": x, "s": None} for x in "xy"],
        ("--score-column", "s"),
        refused=("(and so is every other of 2 rows). mend them, or name another column",),
    ),
    "a comment before the header": Case(
        "# made by us\nprompt,completion\nA?,x\n",
        suffix="csv",
        refused=("must have 1 field, as", "take out the lines before the header"),
    ),
    "a quoted field that never ends": Case(
        'prompt,completion\nA?,"x\n', suffix="csv", refused=("a quoted field never ends",)
    ),
    "a name that is not alike": Case(
        [{"question": "A?", "answer": "x"}],
        refused=("must have the column 'completion'", "--completion-column NAME"),
    ),
    "a name in other case": Case(
        [{"Prompt": "A?", "Completion": "x"}], refused=("Did you mean 'Completion'?",)
    ),
    "objects of objects": Case(
        [{"prompt": "A?", "completions": [{"values": {"x": 1}}]}],
        refused=("have the keys 'values'", "write rows of a prompt and a completion"),
    ),
    "one column as both of a pair": Case(
        [{"prompt": "A?", "a": "x", "b": "y"}],
        ("--pair-columns", "a,a"),
        refused=("--pair-columns must be two columns", "both are 'a'"),
    ),
    "a label column without the pair's": Case(
        [{"prompt": "A?", "a": "x", "b": "y", "won": "a"}],
        ("--label-column", "won"),
        refused=("the column 'chosen'", "--pair-columns FIRST,SECOND"),
    ),
    "images beside a text": Case(
        chats(chosen=[FISH | {"images": ["a.png"]}, COD]),
        refused=("with 'images': only text can be read",),
    ),
    "a Git LFS pointer called .parquet": Case(
        "version https://git-lfs.github.com/spec/v1\n", suffix="parquet", refused=("git lfs pull",)
    ),
    "above the share": Case(
        many([EARLY] * 3, 197),
        refused=("at most 2 of 200 rows", "3 cannot be used: 3 because", "--max-bad 0.015"),
    ),
    "none allowed": Case(
        many([EARLY], 199), ("--max-bad", "0"), refused=("line 2", "--max-bad 0.005")
    ),
    "every row odd": Case([EARLY] * 3, refused=("turn 2", "every other of 3 rows")),
    "a share that is none": Case([GOOD], ("--max-bad", "2"), refused=("--max-bad", "got 2")),
    "a broken line of two": Case(json.dumps(GOOD) + "\n{oops}\n", refused=("line 2",)),
    "two turns of an Arena vote": Case(
        [
            {
                "conversation_a": EARLY["chosen"],
                "conversation_b": EARLY["rejected"],
                "winner": "model_a",
            }
        ],
        refused=("conversation_a and conversation_b", "differ in turn 2, before the last"),
    ),
    "a system turn on one side": Case(
        chats(chosen=[{"role": "system", "content": "Be kind."}, FISH, COD]),
        refused=("only the chosen begins with a system turn",),
    ),
    "another number of turns": Case(
        chats(chosen=[FISH, COD, user("Why?"), bot("So.")]), refused=("they have 4 and 2 turns",)
    ),
    "text on one side, chat on the other": Case(
        MIXED, refused=("line 1", "must be texts, or both lists")
    ),
    "an image": Case(
        chats(chosen=[FISH, {"role": "assistant", "content": IMAGE}]),
        refused=("a part of type 'image_url'", "line 1"),
    ),
    "null content without tool calls": Case(
        chats(chosen=[FISH, bot(None)]), refused=("content is null", "line 1")
    ),
    "two system turns": Case(
        chats(
            system="A",
            prompt=[{"role": "system", "content": "B"}, FISH],
            chosen=[COD],
            rejected=[EEL],
        ),
        refused=("one system turn", "--system-column ''"),
    ),
    "one id of two prompts": Case(
        [{"id": 1, "prompt": p, "completion": "x"} for p in "AB"],
        ("--prompt-id-column", "id"),
        refused=("must name one prompt", "line 1", "line 2"),
    ),
    "an id that is no whole number": Case(
        [{"id": 1.5, "prompt": "A?", "completion": "x"}],
        ("--prompt-id-column", "id"),
        refused=("'id' is 1.5 in line 1",),
    ),
    "an id too large for a float": Case(
        [{"id": 2.0**53, "prompt": "A?", "completion": "x"}],
        ("--prompt-id-column", "id"),
        refused=("'id' is 9007199254740992.0 in line 1",),
    ),
    "lists as Python prints them": Case(
        "prompt,completion\nA?,\"['x', 'y']\"\n",
        refused=("lists as Python prints them", "to_json('pool.jsonl', orient='records'"),
        suffix="csv",
    ),
    "objects without a text": Case(
        [{"prompt": "A?", "completions": [{"said": "x"}, {"said": "y"}]}],
        refused=("have the keys 'said'", "jq -c '.completions |= map(.said)'"),
    ),
    "splits in one file": Case(
        json.dumps({"train": [GOOD], "test": [GOOD]}),
        refused=("under 'train'", "jq -c '.train[]'"),
        suffix="json",
    ),
    "rows as lists": Case(
        json.dumps([["prompt", "completion"], ["A?", "x"]]),
        refused=("must be a JSON object", "orient='records'"),
        suffix="json",
    ),
    "two columns that may be the prompt": Case(
        [{"question": "A?", "query": "B?", "completion": "x"}],
        refused=("its columns are 'question', 'query'", "--prompt-column NAME"),
    ),
    "no columns that mean anything": Case(
        [{"x": 1, "y": 2}], refused=("its columns are 'x', 'y'", "--pair-columns FIRST,SECOND")
    ),
    "prompt columns that are no texts": Case(
        [{"a": "A?", "b": 3, "completion": "x"}],
        ("--prompt-column", "a,b"),
        refused=("must be a text", "line 1"),
    ),
    "a prompt column that is not there": Case(
        [{"instruction": "A?", "completion": "x"}],
        ("--prompt-column", "instruction,inputs"),
        refused=("must have the column 'inputs'",),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = REFUSED[name]
    path = written(case, tmp_path)
    message = fails(capsys, "import", path, "--run", tmp_path / "run", *case.options)
    assert all(words in message for words in case.refused), message
    assert "Error" not in message
    assert not (tmp_path / "run").exists()


def test_two_columns_of_one_name_in_parquet(tmp_path: Path, capsys) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = [arrow.array([x]) for x in ("A?", "x", "y")]
    names = ["prompt", "completion", "completion"]
    path = tmp_path / "pool.parquet"
    parquet.write_table(arrow.Table.from_arrays(columns, names=names), path)
    message = fails(capsys, "import", path, "--run", tmp_path / "run")
    assert "different names; 'completion' is there twice in" in message


# --- what the messages say to do, done ------------------------------------------------------------


def test_the_column_that_the_warning_names_parts_the_prompts(tmp_path: Path, capsys) -> None:
    case = READ["an unread input merges prompts"]
    message = run_import(case, tmp_path, capsys)
    option = message.rpartition("into another run with ")[2].rstrip(".\n").split()
    again = Case(case.rows, (*option, *case.options[2:]))
    (tmp_path / "again").mkdir()
    assert "Attention" not in run_import(again, tmp_path / "again", capsys)
    assert len(pool(tmp_path / "again" / "run")[0]) == 2


@pytest.mark.parametrize("name", ["above the share", "none allowed", "a broken line of two"])
def test_the_share_that_a_refusal_names_is_enough(name: str, tmp_path: Path, capsys) -> None:
    path = written(REFUSED[name], tmp_path)
    message = (
        fails(capsys, "import", path, "--run", tmp_path / "run")
        if name != "none allowed"
        else (fails(capsys, "import", path, "--run", tmp_path / "run", "--max-bad", "0"))
    )
    share = message.partition("--max-bad ")[2].split()[0] if name != "above the share" else "0.015"
    again = Case(REFUSED[name].rows, ("--max-bad", share))
    assert "rows left out" in run_import(again, tmp_path, capsys)


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not on this machine")
def test_the_jq_lines_flatten(tmp_path: Path, capsys) -> None:
    path = tmp_path / "pool.jsonl"
    texts = [{"n": 1, "said": "x"}, {"n": 2, "said": "y"}]
    for content in ({"rows": [{"prompt": "A?", "completions": texts}]},):
        source = tmp_path / "raw.json"
        source.write_text(json.dumps(content, indent=1))
        for _ in range(2):
            message = fails(capsys, "import", source, "--run", tmp_path / "run")
            line = message.partition("with: ")[2].strip()
            line = line.replace("FILE", shlex.quote(str(source))).rpartition(">")[0]
            done = subprocess.run(line, shell=True, check=True, capture_output=True)
            source = source.with_suffix(".jsonl").with_stem(source.stem + "x")
            source.write_bytes(done.stdout)
    with pytest.raises(SystemExit):
        main(["import", str(source), "--run", str(tmp_path / "run")])
    assert pool(tmp_path / "run")[1]["completion"].to_list() == ["x", "y"]
    assert not path.exists()


@pytest.mark.parametrize("name", ["a map of some values", "a map of values that are not there"])
def test_the_map_that_a_refusal_names_is_whole(name: str, tmp_path: Path, capsys) -> None:
    message = fails(
        capsys,
        "import",
        written(REFUSED[name], tmp_path),
        "--run",
        tmp_path / "run",
        *REFUSED[name].options,
    )
    given = message.rpartition("--label-map ")[2].strip()
    again = Case(NO_TIE, (*WON, "--label-map", given))
    assert "1 first, 1 second, 1 tie" in run_import(again, tmp_path, capsys)


def test_all_that_was_left_out_is_listed(tmp_path: Path, capsys) -> None:
    rows = many([EARLY, GOOD | {"chosen": " "}, GOOD | {"chosen": "Eel."}], 197)
    run_import(Case(rows), tmp_path, capsys)
    lines = (tmp_path / "run" / "pool" / "left_out.jsonl").read_text().splitlines()
    listed = [json.loads(line) for line in lines]
    assert [one["number"] for one in listed] == [2, 3, 4]
    assert [one["why"].split()[-1] for one in listed] == ["last", "sides", "differ"]
    assert "turn 2" in listed[0]["what"]


def test_another_import_says_what_differs(tmp_path: Path, capsys) -> None:
    path = written(Case([GOOD | {"system": "x", "q": "A?"}]), tmp_path)
    run = tmp_path / "run"
    run_import(Case([GOOD | {"system": "x", "q": "A?"}]), tmp_path, capsys)
    message = fails(capsys, "import", path, "--run", run, "--prompt-column", "q")
    assert "columns.prompt was 'prompt', now 'q'; what was read has changed" in message
    message = fails(
        capsys, "import", path, "--run", run, "--label-column", "won", "--max-bad", "0.5"
    )
    assert "must have the column 'won'" in message
    message = fails(capsys, "import", path, "--run", run, "--max-bad", "0.5")
    assert "max_bad was not given, now 0.5" in message
    assert "{" not in message


# --- the shared cases -----------------------------------------------------------------------------

COLOUR = "conversation_a,conversation_b"
WINNER = ("--pair-columns", "a,b", "--label-column", "winner")
ASKED = "a label column must say which of the two is preferred in one way"
ENCODINGS: dict[str, tuple[tuple[str, ...], dict[str, int], str]] = {
    "label-encodings/p.csv": (WINNER, {"labels": 3, "ties": 1}, ""),
    **{
        f"label-encodings/p{number}.jsonl": (WINNER, {"labels": labels, "ties": ties}, "")
        for number, labels, ties in (
            *((0, 2, 2), (1, 2, 0), (2, 2, 0), (3, 1, 1), (6, 2, 0)),
            *((7, 2, 0), (8, 3, 1), (10, 2, 0), (11, 1, 1)),
        )
    },
    **{f"label-encodings/p{number}.jsonl": (WINNER, {}, ASKED) for number in (4, 5, 12)},
    "label-encodings/p9.jsonl": (WINNER, {}, "'winner' is empty in 1 row, which is all"),
}
SHARED: dict[str, tuple[tuple[str, ...], dict[str, int], str]] = {
    "arena/p.jsonl": (
        ("--pair-columns", COLOUR, "--label-column", "winner"),
        {"prompts": 2, "labels": 2, "ties": 1},
        "",
    ),
    "arena/p3.jsonl": (
        ("--pair-columns", COLOUR, "--label-column", "winner"),
        {},
        "differ in turn 2, before the last",
    ),
    "compressed/p.jsonl": ((), {"completions": 2}, ""),
    "compressed/p.jsonl.gz": ((), {"completions": 2}, ""),
    "compressed/p.jsonl.zst": ((), {"completions": 2}, ""),
    "compressed/p.jsonl.bz2": ((), {"completions": 2}, ""),
    "compressed/renamed.jsonl": ((), {"completions": 2}, ""),
    "csv/excel.csv": (("--score-column", "score"), {"completions": 2}, ""),
    "csv/t.tsv": ((), {"completions": 2}, ""),
    "hh-differs-earlier/p.jsonl": ((), {"labels": 1, "rows_left_out": 1}, ""),
    "identical/p.jsonl": (
        (),
        {"labels": 2, "identical_pairs_dropped": 1, "empty_pairs_dropped": 1},
        "",
    ),
    "ids/nan.parquet": (("--prompt-id-column", "id"), {"prompts": 2, "rows_left_out": 1}, ""),
    "ids/fl.parquet": (("--prompt-id-column", "id"), {"completions": 3}, ""),
    "ids/same.jsonl": (("--prompt-id-column", "id"), {"prompts": 2, "completions": 3}, ""),
    "ids/sameid.jsonl": (("--prompt-id-column", "id"), {}, "must name one prompt"),
    "ids/p.parquet": (("--prompt-id-column", "id"), {"prompts": 2}, ""),
    "ids/u.parquet": (("--prompt-id-column", "id"), {"prompts": 2}, ""),
    "arena/p2.jsonl": (
        ("--pair-columns", COLOUR, "--label-column", "winner"),
        {},
        "--label-map '1=a,0=b' where 1 means that the first (conversation_a) won",
    ),
    "labels-0-1/choice.jsonl": (
        ("--pair-columns", "s0,s1", "--label-column", "choice"),
        {},
        "--label-map '0=a,1=b' where it is an index",
    ),
    "labels-0-1/shp.jsonl": ((), {"labels": 2}, ""),
    "unicode/utf16_fixed.jsonl": ((), {}, "no value begins at column 1"),
    "label-files/pool.jsonl": ((), {"prompts": 4, "completions": 12}, ""),
    **ENCODINGS,
    "ids/mix.jsonl": (("--prompt-id-column", "id"), {"prompts": 1, "completions": 3}, ""),
    "ids/mix2.jsonl": (("--prompt-id-column", "id"), {}, "must name one prompt"),
    "ids/p.jsonl": (("--prompt-id-column", "id"), {"prompts": 2, "completions": 3}, ""),
    "ids/z.csv": (("--prompt-id-column", "id"), {"prompts": 2, "completions": 3}, ""),
    "instruction-input/p.jsonl": (
        (
            "--prompt-column",
            "instruction,input",
            "--pair-columns",
            "output_1,output_2",
            "--label-column",
            "preference",
        ),
        {"prompts": 2, "labels": 2},
        "",
    ),
    "multiturn-earlier/p.jsonl": ((), {"labels": 1, "rows_left_out": 1}, ""),
    "roles/p.jsonl": ((), {"labels": 1}, ""),
    "roles/p2.jsonl": (("--prompt-column", "conversations"), {"labels": 1}, ""),
    "several-labels/p.jsonl": ((), {"labels": 3, "completions": 2}, ""),
    "summarize/p.jsonl": ((), {"labels": 1}, ""),
    "system-one-side/p.jsonl": ((), {}, "only the chosen begins with a system turn"),
    "system-one-side/p2.jsonl": ((), {"labels": 1}, ""),
    "system-one-side/p3.jsonl": ((), {"labels": 2, "prompts": 2}, ""),
    "tool-calls/p.jsonl": ((), {"labels": 2, "completions": 4}, ""),
    "tool-calls/p2.jsonl": ((), {"labels": 2, "prompts": 2}, ""),
    "tool-calls/p3.jsonl": ((), {"labels": 2}, ""),
    "ultrafeedback/p.jsonl": (
        ("--prompt-column", "instruction", "--completion-column", "completions"),
        {"completions": 2},
        "",
    ),
    "ultrafeedback/p5.jsonl": (
        ("--score-column", "score"),
        {"completions": 2, "empty_completions_dropped": 1},
        "",
    ),
    "unicode/utf16.jsonl": ((), {"completions": 2}, ""),
    "unicode/cr.jsonl": ((), {"completions": 2}, ""),
    "unicode/crlf_bom.jsonl": ((), {"completions": 7}, ""),
    "unicode/cp1252.csv": ((), {}, "iconv -f cp1252 -t utf-8"),
    "unicode/latin1.jsonl": ((), {}, "iconv -f latin1 -t utf-8"),
}


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not on this machine")
@pytest.mark.parametrize("name", SHARED)
def test_the_shared_cases(name: str, tmp_path: Path, capsys) -> None:
    options, counts, refused = SHARED[name]
    arguments = ("import", CASES / name, "--run", tmp_path / "run", *options)
    if refused:
        assert refused in fails(capsys, *arguments)
        assert not (tmp_path / "run").exists()
    else:
        found = ok(capsys, *arguments)
        assert {key: found[key] for key in counts} == counts


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data folder is not on this machine")
def test_the_official_hh_file(tmp_path: Path, capsys) -> None:
    both = pl.read_parquet(DATA / "hh_harmless_test.parquet").select("chosen", "rejected")
    message = run_import(Case(both, suffix="parquet"), tmp_path, capsys)
    assert "2303 labels came" in message
    assert "5 of 2312 rows left out: both dialogues of a pair must share" in message
    assert "row 1255 of" in message
    assert "4 pairs with an empty side left out" in message
