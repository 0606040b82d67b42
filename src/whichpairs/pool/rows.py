"""What the rows of a file mean: prompts, their completions, and which of two was preferred."""

from dataclasses import dataclass, field
from typing import Any

from whichpairs.errors import UserError
from whichpairs.pool.conventions import Answers, understand_answers
from whichpairs.pool.messages import (
    Messages,
    Prompt,
    blank,
    final_turn,
    is_messages,
    messages,
    prompt_of,
    shared_prompt,
)
from whichpairs.pool.sources import Source, no_column, show

LAST_TURN = "\n\nAssistant:"
"""Where Anthropic's HH dialogues (one string, the prompt included) hand over to the completion."""


@dataclass(frozen=True)
class Columns:
    """Which columns of the user's file hold what.

    Attributes:
        prompt: a text, or a list of chat messages.
        completion: a text, one assistant message in a list, or a list of either (all completions
            of the prompt).
        prompt_id: the user's own id of the prompt; None: made from the prompt.
        group: prompts of one group are held out together.
        scores: numbers, one a completion.
        weight: π_ref's weight of a completion, > 0; None: its multiplicity.
        pair: where there is no completion column, the two that hold a pair; the first is preferred.
        label: which of `pair` is preferred, as `conventions` reads it; None: always the first.
        label_map: what the values of `label` mean, e.g. ``0=a,1=b``; see `conventions.label_map`.
    """

    prompt: str = "prompt"
    completion: str = "completion"
    prompt_id: str | None = None
    group: str | None = None
    scores: tuple[str, ...] = ()
    weight: str | None = None
    pair: tuple[str, str] = ("chosen", "rejected")
    label: str | None = None
    label_map: str | None = None


@dataclass(frozen=True)
class Rows:
    """Rows understood, one entry a completion.

    Attributes:
        source: where they come from.
        shape: ``"single"`` (a completion a row), ``"list"`` or ``"pair"``.
        prompts: the prompt of every source row.
        row, place: the source row of every entry, and its place in that row's list.
        text: the completion of every entry.
        pairs, ties: pairs of entries; in `pairs` the preferred one comes first.
        empty_pairs: rows whose pair lacks a text on one side or both.
        answers: the label column, where there is one.
    """

    source: Source
    shape: str
    prompts: list[Prompt] = field(default_factory=list)
    row: list[int] = field(default_factory=list)
    place: list[int] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    pairs: list[tuple[int, int]] = field(default_factory=list)
    ties: list[tuple[int, int]] = field(default_factory=list)
    empty_pairs: list[int] = field(default_factory=list)
    answers: Answers | None = None

    def where(self, entry: int) -> str:
        """Where an entry stands, e.g. ``row 3 of pool.json, completion 2``."""
        place = f", completion {self.place[entry] + 1}" if self.shape == "list" else ""
        return self.source.at(self.row[entry]) + place

    def add(self, row: int, place: int, text: str) -> int:
        """One more entry; returns its number."""
        self.row.append(row)
        self.place.append(place)
        self.text.append(text)
        return len(self.text) - 1


def understand(source: Source, columns: Columns) -> Rows:
    """Read `source` as completions or as pairs, whichever columns it has.

    Raises:
        UserError: a column is missing, or a row is not what it must be (the row is named).
    """
    pair_named = columns.pair != Columns.pair or columns.label is not None
    named = columns.completion != Columns.completion
    if not pair_named and (named or columns.completion in source.columns):
        return _completions(source, columns)
    if not pair_named and not any(name in source.columns for name in columns.pair):
        raise no_column(source, columns.completion)
    return _pairs(source, columns)


def _completions(source: Source, columns: Columns) -> Rows:
    prompts, completions = source.values(columns.prompt), source.values(columns.completion)
    example = next((value for value in completions if value is not None), None)
    listed = isinstance(example, list) and not is_messages(example)
    rows = Rows(source, "list" if listed else "single")
    for row, (prompt, value) in enumerate(zip(prompts, completions, strict=True)):
        where = source.at(row)
        rows.prompts.append(prompt_of(prompt, columns.prompt, where))
        if rows.shape == "single":
            value = [value]
        elif not isinstance(value, list) or not value:
            raise UserError(
                "the completions of a prompt must be a list of texts",
                f"{show(columns.completion)} is {show(value)} in {where}",
            )
        for place, one in enumerate(value):
            entry = rows.add(row, place, "")
            rows.text[entry] = _text(one, prompt, columns.completion, rows.where(entry))
    return rows


def _text(value: Any, prompt: Any, column: str, where: str) -> str:
    """A completion's text, which must not be empty."""
    if is_messages(value):
        turns = messages(value, column, where)
        start = messages(prompt, "prompt", where) if is_messages(prompt) else []
        value = final_turn(turns, start, column, where)
    if not isinstance(value, str):
        raise UserError(
            "a completion must be a text or one assistant message",
            f"{show(column)} is {show(value)} in {where}",
        )
    if blank(value):
        raise UserError(
            "a completion must not be empty",
            f"{show(column)} is {show(value)} in {where}",
            "leave that row out",
        )
    return value


def _pairs(source: Source, columns: Columns) -> Rows:
    first, second = (source.values(name) for name in columns.pair)
    said = _answers(source, columns)
    choices = said.choices if said else ["a"] * len(first)
    if columns.prompt in source.columns or columns.prompt != Columns.prompt:
        prompts = source.values(columns.prompt)
    else:
        prompts = [None] * len(first)
    rows = Rows(source, "pair", answers=said)
    for row, sides in enumerate(zip(first, second, strict=True)):
        where = source.at(row)
        prompt, texts = _split(prompts[row], sides, source, columns, where)
        rows.prompts.append(prompt)
        entries = [rows.add(row, k, text) for k, text in enumerate(texts) if not blank(text)]
        if len(entries) < 2:
            rows.empty_pairs.append(row)
        elif choices[row] == "tie":
            rows.ties.append((entries[0], entries[1]))
        elif choices[row] is not None:
            first_won = choices[row] == "a"
            rows.pairs.append((entries[not first_won], entries[first_won]))
    return rows


def _answers(source: Source, columns: Columns) -> Answers | None:
    """The label column understood, where one is named."""
    if columns.label is None:
        if columns.label_map is not None:
            raise UserError(
                "--label-map says what the values of a label column mean",
                "no column is named",
                "pass --label-column NAME",
            )
        return None
    values = source.values(columns.label)
    return understand_answers(
        values, columns.label, source.at, names=columns.pair, given=columns.label_map
    )


def _split(
    prompt: Any, sides: tuple[Any, Any], source: Source, columns: Columns, where: str
) -> tuple[Prompt, list[str]]:
    """The prompt of a pair row, which both sides may repeat or alone hold, and the two texts."""
    if all(is_messages(side) for side in sides):
        return _split_chat(prompt, sides, columns, where)
    for side, name in zip(sides, columns.pair, strict=True):
        if not isinstance(side, str):
            raise UserError(
                "both completions of a pair must be texts, or both lists of chat messages",
                f"{show(name)} is {show(side)} in {where}",
            )
    if columns.prompt not in source.columns:
        prompt = _dialogue(sides, source, columns, where)
    found = prompt_of(prompt, columns.prompt, where)
    repeated = found.text.endswith(LAST_TURN) and all(s.startswith(found.text) for s in sides)
    return found, [side[len(found.text) :] if repeated else side for side in sides]


def _split_chat(
    prompt: Any, sides: tuple[Any, Any], columns: Columns, where: str
) -> tuple[Prompt, list[str]]:
    """The same for chat messages: a prompt in messages, else the turns both sides begin with."""
    named = list(zip(columns.pair, sides, strict=True))
    turns = [messages(side, name, where) for name, side in named]
    if is_messages(prompt):
        start: Messages = messages(prompt, columns.prompt, where)
    else:
        start = shared_prompt(turns[0], turns[1])
    texts = [final_turn(t, start, n, where) for t, n in zip(turns, columns.pair, strict=True)]
    return prompt_of(start or prompt, columns.prompt, where), texts


def _dialogue(sides: tuple[str, str], source: Source, columns: Columns, where: str) -> str:
    """The prompt that two HH dialogues share: all up to their last assistant turn."""
    a, b = (side[: side.rfind(LAST_TURN) + len(LAST_TURN)] for side in sides)
    if not all(LAST_TURN in side for side in sides):
        raise no_column(source, columns.prompt)
    if a != b:
        raise UserError(
            "both dialogues of a pair must share all but the last assistant turn",
            f"they differ before it in {where}",
        )
    return a
