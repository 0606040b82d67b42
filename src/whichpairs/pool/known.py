"""Data sets that people bring, by the columns that tell them, and what their columns mean."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from whichpairs.pool.rows import Columns
from whichpairs.pool.source import Source
from whichpairs.pool.trees import read_nested_trees, read_trees

ARENA = {"model_a": "1", "model_b": "2", "tie": "tie", "tie (bothbad)": "tie", "both_bad": "tie"}


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


def _labels(values: list[Any], meaning: dict[Any, str]) -> list[Any]:
    """Labels as 1, 2 or tie; what means nothing stays, and is refused by its row."""
    return [meaning.get(_plain(value), value) for value in values]


def _plain(value: Any) -> Any:
    """A label as the tables of this module have it: whole numbers as text."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip().lower()


def _shp(source: Source) -> Reading:
    labels = _labels(source.values("labels"), {"1": "1", "0": "2"})
    used = ("history", "human_ref_A", "human_ref_B", "labels")
    columns = Columns(prompt="history", pair=used[1:3], label="labels")  # type: ignore[arg-type]
    return Reading(_with(source, labels=labels), columns, used, "labels 1: A is preferred, 0: B")


def _helpsteer(source: Source) -> Reading:
    strength = source.values("preference_strength")
    signs = {str(k): ("tie" if k == 0 else "1" if k < 0 else "2") for k in range(-3, 4)}
    used = ("prompt", "response_1", "response_2", "preference_strength")
    new = _with(source, preference_strength=_labels(strength, signs))
    columns = Columns(pair=("response_1", "response_2"), label="preference_strength")
    return Reading(
        new, columns, used, "preference_strength below 0: response_1 is preferred, 0: a tie"
    )


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
        choice=_labels(source.values("choice"), {"0": "1", "1": "2"}),
    )
    columns = Columns(prompt="post", pair=("summary_0", "summary_1"), label="choice")
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
    meaning = {**ARENA, "1": "1", "2": "2", "0": "tie"}
    new = _with(source, winner=_labels(source.values("winner"), meaning))
    columns = Columns(pair=used[:2], label="winner")  # type: ignore[arg-type]
    return Reading(new, columns, used, "winner names the preferred side; both bad is a tie")


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
    ("AlpacaFarm", ("instruction", "output_1", "output_2", "preference"), _farm),
    ("OpenAI preferences", ("input", "preferred_output", "non_preferred_output"), _openai),
    ("OASST messages", ("message_id", "parent_id", "text", "role"), _trees),
    ("OASST trees", ("message_tree_id", "prompt"), _nested),
)
"""Name, the columns that tell it, and how it is read (None: it is something else after all)."""
