"""Data sets that people bring, by the columns that tell them, and what their columns mean."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from whichpairs.pool.columns import Columns
from whichpairs.pool.raw.source import Source
from whichpairs.pool.reading.trees import read_nested_trees, read_trees


@dataclass(frozen=True)
class Reading:
    """How a known data set is read.

    Attributes:
        source, columns: its rows in a shape that `rows` reads.
        used: the columns of the file that this took.
        meaning: what its labels mean, for the user.
    """

    source: Source
    columns: Columns
    used: tuple[str, ...]
    meaning: str


def _with(source: Source, dropped: Iterable[str] = (), **new: list[Any]) -> Source:
    kept = {n: v for n, v in source.columns.items() if n not in {*dropped, *new}}
    return replace(source, columns={**kept, **new}, _values={})


def _shp(source: Source) -> Reading:
    used = ("history", "human_ref_A", "human_ref_B", "labels")
    columns = Columns(
        prompt="history", pair=(used[1], used[2]), label="labels", label_map="1=a,0=b"
    )
    return Reading(source, columns, used, "labels 1: A is preferred, 0: B")


def _helpsteer(source: Source) -> Reading:
    used = ("prompt", "response_1", "response_2", "preference_strength")
    columns = Columns(
        pair=(used[1], used[2]), label=used[3], label_map="positive=b,negative=a,0=tie"
    )
    meaning = "preference_strength below 0: response_1 is preferred, above: response_2"
    return Reading(source, columns, used, meaning)


def _summaries(source: Source) -> Reading | None:
    pairs, infos = source.values("summaries"), source.values("info")
    if not any(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        return None
    new = _with(
        source,
        ("info", "summaries"),
        post=[_first(info, ("post", "article")) for info in infos],
        summary_0=[_text_at(pair, 0) for pair in pairs],
        summary_1=[_text_at(pair, 1) for pair in pairs],
    )
    columns = Columns(
        prompt="post", pair=("summary_0", "summary_1"), label="choice", label_map="0=a,1=b"
    )
    used = ("info", "summaries", "choice")
    return Reading(new, columns, used, "choice is an index, 1: the second summary is preferred")


def _text_at(pair: Any, place: int) -> Any:
    one = pair[place] if isinstance(pair, list) and len(pair) == 2 else None
    return one.get("text") if isinstance(one, dict) else one


def _first(info: Any, keys: tuple[str, ...]) -> Any:
    if not isinstance(info, dict):
        return info
    return next((info[key] for key in keys if info.get(key) is not None), None)


def _arena(source: Source) -> Reading:
    used = ("conversation_a", "conversation_b", "winner")
    columns = Columns(pair=(used[0], used[1]), label="winner")
    return Reading(source, columns, used, "winner names the preferred side; both bad is a tie")


def _kaggle(source: Source) -> Reading | None:
    """Arena's Kaggle set: texts of JSON lists, one entry a turn, and one column an outcome."""
    names = ("prompt", "response_a", "response_b")
    turns = [[_turns(cell) for cell in source.values(name)] for name in names]
    if not any(isinstance(cell, list) for cell in turns[0]):
        return None
    outcomes = ("winner_model_a", "winner_model_b", "winner_tie")
    marks = zip(*(source.values(name) for name in outcomes), strict=True)
    winner = [_marked(row, ("a", "b", "tie")) for row in marks]
    new = _with(
        source,
        (*names, *outcomes),
        conversation_a=[_dialogue(p, a) for p, a, _ in zip(*turns, strict=True)],
        conversation_b=[_dialogue(p, b) for p, _, b in zip(*turns, strict=True)],
        winner=winner,
    )
    columns = Columns(pair=("conversation_a", "conversation_b"), label="winner")
    return Reading(new, columns, (*names, *outcomes), "one column an outcome")


def _turns(cell: Any) -> Any:
    if not isinstance(cell, str) or not cell.lstrip().startswith("["):
        return cell
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell


def _marked(marks: tuple[Any, ...], names: tuple[str, ...]) -> str | None:
    """The one outcome that is marked with 1; None where it is not one."""
    found = [n for n, m in zip(names, marks, strict=True) if str(m).strip() in {"1", "1.0", "True"}]
    return found[0] if len(found) == 1 else None


def _dialogue(asked: Any, answered: Any) -> Any:
    """The turns of both sides one after the other, a missing answer as an empty one; what is not of
    equal length stays odd."""
    lists = isinstance(asked, list) and isinstance(answered, list)
    if not lists or len(asked) != len(answered):
        return None
    answered = ["" if one is None else one for one in answered]
    return [
        message
        for question, answer in zip(asked, answered, strict=True)
        for message in (
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        )
    ]


def _farm(source: Source) -> Reading:
    used = ("instruction", "output_1", "output_2", "preference")
    parts = ("instruction", "input") if "input" in source.columns else ("instruction",)
    columns = Columns(
        prompt=parts if len(parts) > 1 else parts[0],
        pair=("output_1", "output_2"),
        label="preference",
    )
    meaning = "preference 1: output_1 is preferred, 2: output_2"
    return Reading(source, columns, (*used, *parts), meaning)


def _openai(source: Source) -> Reading:
    values = source.values("input")
    prompts = [v.get("messages") if isinstance(v, dict) else v for v in values]
    used = ("input", "preferred_output", "non_preferred_output")
    columns = Columns(prompt="input", pair=("preferred_output", "non_preferred_output"))
    return Reading(_with(source, input=prompts), columns, used, "preferred_output is preferred")


def _trees(source: Source) -> Reading:
    used = ("message_id", "parent_id", "text", "role")
    meaning = "the replies to a message are completions of the turns up to it"
    return Reading(read_trees(source), Columns(completion="text"), used, meaning)


def _nested(source: Source) -> Reading | None:
    if not any(isinstance(v, dict) and "replies" in v for v in source.values("prompt")):
        return None
    meaning = "the replies to a message are completions of the turns up to it"
    return Reading(read_nested_trees(source), Columns(completion="text"), ("prompt",), meaning)


KNOWN: tuple[tuple[str, tuple[str, ...], Callable[[Source], Reading | None]], ...] = (
    ("summarize-from-feedback", ("info", "summaries", "choice"), _summaries),
    ("SHP", ("history", "human_ref_A", "human_ref_B", "labels"), _shp),
    ("HelpSteer2", ("prompt", "response_1", "response_2", "preference_strength"), _helpsteer),
    ("Arena votes", ("conversation_a", "conversation_b", "winner"), _arena),
    (
        "Arena votes (Kaggle)",
        ("prompt", "response_a", "response_b", "winner_model_a", "winner_model_b", "winner_tie"),
        _kaggle,
    ),
    ("AlpacaFarm", ("instruction", "output_1", "output_2", "preference"), _farm),
    ("OpenAI preferences", ("input", "preferred_output", "non_preferred_output"), _openai),
    ("OASST messages", ("message_id", "parent_id", "text", "role"), _trees),
    ("OASST trees", ("message_tree_id", "prompt"), _nested),
)
"""Name, the columns that tell it, and how it is read (None: it is something else after all)."""
