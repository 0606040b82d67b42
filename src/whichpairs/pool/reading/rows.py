"""What the rows of a file mean: prompts, their completions, and which of two was preferred."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from whichpairs.errors import UserError
from whichpairs.pool.columns import Columns
from whichpairs.pool.raw.source import OddRow, Source, no_column, show
from whichpairs.pool.reading.conventions import Answers, understand_answers
from whichpairs.pool.reading.messages import (
    Messages,
    Prompt,
    Reply,
    blank,
    final_turn,
    is_messages,
    messages,
    prompt_from,
    prompt_of,
    shared_prompt,
    with_system,
)

LAST_TURN = "\n\nAssistant:"
"""Where Anthropic's HH dialogues (one string, the prompt included) hand over to the completion."""
NOBODY = Prompt("")


@dataclass
class Rows:
    """Rows understood, one entry a completion.

    Attributes:
        source: where they come from.
        shape: ``"single"`` (a completion a row), ``"list"`` or ``"pair"``.
        prompts: the prompt of every source row (`NOBODY` where it is odd).
        lengths: how many completions every source row had, the empty ones included.
        row, place: the source row of every entry, and its place in that row's list.
        text: the completion of every entry; message: the whole of it, where it says more.
        pairs, ties: pairs of entries; in `pairs` the preferred one comes first.
        empty_pairs: rows whose pair lacks a text on one side or both.
        answers: the label column, where there is one.
        empty: rows and places of list entries without a text, which are left out.
        odd: rows left out, and why, in the order in which they were found.
        unlike: rows whose prompt column holds another text than the dialogue beside it begins with,
            which counts.
    """

    source: Source
    shape: str
    prompts: list[Prompt] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    row: list[int] = field(default_factory=list)
    place: list[int] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    message: list[str | None] = field(default_factory=list)
    pairs: list[tuple[int, int]] = field(default_factory=list)
    ties: list[tuple[int, int]] = field(default_factory=list)
    empty_pairs: list[int] = field(default_factory=list)
    answers: Answers | None = None
    empty: list[tuple[int, int]] = field(default_factory=list)
    odd: list[OddRow] = field(default_factory=list)
    unlike: list[int] = field(default_factory=list)

    def where(self, entry: int) -> str:
        """Where an entry stands, e.g. ``row 3 of pool.json, completion 2``."""
        return self.at(self.row[entry], self.place[entry])

    def at(self, row: int, place: int) -> str:
        """The same by row and place."""
        listed = f", completion {place + 1}" if self.shape == "list" else ""
        return self.source.at(row) + listed

    def add(self, row: int, place: int, one: Reply) -> int:
        """One more entry; returns its number."""
        self.row.append(row)
        self.place.append(place)
        self.text.append(one.text)
        self.message.append(one.message)
        return len(self.text) - 1

    def leave_out(self, row: int, error: UserError) -> None:
        """Set a row apart whose entries are not there (yet)."""
        number = self.source.numbers[row]
        self.odd.append(OddRow(number, error.rule, error.received, error.remedy))

    def drop(self, faults: dict[int, UserError]) -> None:
        """Set rows apart whose entries are there."""
        if not faults:
            return
        for row, error in sorted(faults.items()):
            self.leave_out(row, error)
        kept = [entry for entry, row in enumerate(self.row) if row not in faults]
        new = {entry: place for place, entry in enumerate(kept)}
        self.pairs = _renumber(self.pairs, new)
        self.ties = _renumber(self.ties, new)
        self.empty_pairs = [row for row in self.empty_pairs if row not in faults]
        self.empty = [(row, place) for row, place in self.empty if row not in faults]
        for name in ("row", "place", "text", "message"):
            values = getattr(self, name)
            setattr(self, name, [values[entry] for entry in kept])


def _renumber(pairs: Iterable[tuple[int, int]], new: dict[int, int]) -> list[tuple[int, int]]:
    return [(new[a], new[b]) for a, b in pairs if a in new]


def understand(source: Source, columns: Columns) -> Rows:
    """Read `source` as completions or as pairs, whichever columns it has (see `shapes.arrange`).

    Raises:
        UserError: a column is missing.
    """
    pair_named = columns.pair_named
    named = columns.completion != Columns.completion
    if not pair_named and (named or columns.completion in source.columns):
        return _completions(source, columns)
    if not pair_named and not any(name in source.columns for name in columns.pair):
        raise no_column(
            source,
            columns.completion,
            "name yours: --completion-column NAME, or for pairs --pair-columns FIRST,SECOND",
        )
    return _pairs(source, columns)


def read_prompt_rows(source: Source, columns: Columns) -> list[Prompt]:
    """The prompt of every row.

    Raises:
        UserError: one is none (its row is named).
    """
    (column,) = columns.prompts
    systems = _systems(source, columns)
    return [
        _prepend(prompt_of(value, column, source.at(row)), systems, row, source)
        for row, value in enumerate(source.values(column))
    ]


def _completions(source: Source, columns: Columns) -> Rows:
    (column,) = columns.prompts
    if column not in source.columns:
        raise no_column(source, column, "name yours: --prompt-column NAME, or several: A,B")
    prompts, completions = source.values(column), source.values(columns.completion)
    systems = _systems(source, columns)
    example = next((value for value in completions if value is not None), None)
    listed = isinstance(example, list) and not is_messages(example)
    rows = Rows(source, "list" if listed else "single")
    for row, (prompt, value) in enumerate(zip(prompts, completions, strict=True)):
        rows.lengths.append(len(value) if listed and isinstance(value, list) else 1)
        try:
            found = prompt_of(prompt, column, source.at(row))
            replies = _replies(rows, row, value, prompt, columns)
            found = _prepend(found, systems, row, source)
        except UserError as error:
            rows.prompts.append(NOBODY)
            rows.leave_out(row, error)
            continue
        rows.prompts.append(found)
        for place, one in enumerate(replies):
            if one is None:
                rows.empty.append((row, place))
            else:
                rows.add(row, place, one)
    return rows


def _replies(rows: Rows, row: int, value: Any, prompt: Any, columns: Columns) -> list[Reply | None]:
    """A row's completions; in a list, those without a text are None.

    Raises:
        UserError: the row holds none, or something else.
    """
    if rows.shape == "single":
        return [_text(value, prompt, columns.completion, rows.source.at(row))]
    if not isinstance(value, list) or not value:
        raise UserError(
            "the completions of a prompt must be a list of texts",
            f"{show(columns.completion)} is {show(value)} in {rows.source.at(row)}",
        )
    replies = [
        None
        if one is None or (isinstance(one, str) and blank(one))
        else _text(one, prompt, columns.completion, rows.at(row, place))
        for place, one in enumerate(value)
    ]
    if not any(replies):
        raise UserError(
            "a prompt must have a completion that is not empty",
            f"all {len(value)} are empty in {rows.source.at(row)}",
            "leave that row out",
        )
    return replies


def _text(value: Any, prompt: Any, column: str, where: str) -> Reply:
    """A completion, which must not be empty."""
    one = value
    if is_messages(value):
        turns = messages(value, column, where)
        start = messages(prompt, "prompt", where) if is_messages(prompt) else []
        one = final_turn(turns, start, column, where)
    elif isinstance(value, str):
        one = Reply(value)
    else:
        raise UserError(
            "a completion must be a text or one assistant message",
            f"{show(column)} is {show(value)} in {where}",
        )
    if blank(one.text):
        raise UserError(
            "a completion must not be empty",
            f"{show(column)} is {show(value)} in {where}",
            "leave that row out",
        )
    return one


def _systems(source: Source, columns: Columns) -> list[Any] | None:
    """The system turns, where a column has any."""
    if not columns.system:
        return None
    values = source.values(columns.system)
    said = any(
        value is not None and not (isinstance(value, str) and blank(value)) for value in values
    )
    return values if said else None


def _prepend(prompt: Prompt, systems: list[Any] | None, row: int, source: Source) -> Prompt:
    if systems is None:
        return prompt
    system = "" if systems[row] is None else systems[row]
    if not isinstance(system, str):
        raise UserError("a system turn must be a text", f"it is {show(system)} in {source.at(row)}")
    return with_system(prompt, system, source.at(row))


def _pairs(source: Source, columns: Columns) -> Rows:
    if columns.pair[0] == columns.pair[1]:
        raise UserError("--pair-columns must be two columns", f"both are {show(columns.pair[0])}")
    for name in columns.pair:
        if name not in source.columns:
            raise no_column(source, name, "name yours: --pair-columns FIRST,SECOND")
    first, second = (source.values(name) for name in columns.pair)
    (column,) = columns.prompts
    if column in source.columns or column != Columns.prompt:
        prompts = source.values(column)
    else:
        prompts = [None] * len(first)
    systems = _systems(source, columns)
    rows = Rows(source, "pair")
    found: dict[int, list[Reply]] = {}
    for row, sides in enumerate(zip(first, second, strict=True)):
        rows.lengths.append(2)
        try:
            prompt, replies = _split(prompts[row], sides, source, columns, source.at(row))
            prompt = _prepend(prompt, systems, row, source)
        except UserError as error:
            rows.prompts.append(NOBODY)
            rows.leave_out(row, error)
            continue
        rows.prompts.append(prompt)
        found[row] = replies
        if _unlike(prompts[row], prompt, sides):
            rows.unlike.append(row)
    rows.answers = _answers(source, columns, list(found))
    choices = rows.answers.choices if rows.answers else ["a"] * len(found)
    for (row, replies), choice in zip(found.items(), choices, strict=True):
        entries = [rows.add(row, k, one) for k, one in enumerate(replies) if not blank(one.text)]
        if len(entries) < 2:
            rows.empty_pairs.append(row)
        elif choice == "tie":
            rows.ties.append((entries[0], entries[1]))
        elif choice is not None:
            first_won = choice == "a"
            rows.pairs.append((entries[not first_won], entries[first_won]))
    return rows


def _answers(source: Source, columns: Columns, used: list[int]) -> Answers | None:
    """The label column of the rows `used` understood, where one is named."""
    if columns.label is None:
        if columns.label_map is not None:
            raise UserError(
                "--label-map says what the values of a label column mean",
                "no column is named",
                "pass --label-column NAME",
            )
        return None
    values = source.values(columns.label)
    if not used:
        return None
    return understand_answers(
        [values[row] for row in used],
        columns.label,
        lambda place: source.at(used[place]),
        names=columns.pair,
        given=columns.label_map,
    )


def _split(
    prompt: Any, sides: tuple[Any, Any], source: Source, columns: Columns, where: str
) -> tuple[Prompt, list[Reply]]:
    """The prompt of a pair row, which both sides may repeat or alone hold, and the two replies."""
    (column,) = columns.prompts
    if all(is_messages(side) for side in sides):
        return _split_chat(prompt, sides, columns, where)
    for side, name in zip(sides, columns.pair, strict=True):
        if not isinstance(side, str):
            raise UserError(
                "both completions of a pair must be texts, or both lists of chat messages",
                f"{show(name)} is {show(side)} in {where}",
            )
    if column not in source.columns:
        prompt = _dialogue(sides, source, columns, where)
    found = prompt_of(prompt, column, where)
    repeated = found.text.endswith(LAST_TURN) and all(s.startswith(found.text) for s in sides)
    return found, [Reply(side[len(found.text) :] if repeated else side) for side in sides]


def _split_chat(
    prompt: Any, sides: tuple[Any, Any], columns: Columns, where: str
) -> tuple[Prompt, list[Reply]]:
    """The same for chat messages: a prompt in messages, else the turns both sides begin with."""
    (column,) = columns.prompts
    named = list(zip(columns.pair, sides, strict=True))
    one, other = (messages(side, name, where) for name, side in named)
    if is_messages(prompt):
        start: Messages = messages(prompt, column, where)
        if len(one) > 1 and len(other) > 1:
            shared_prompt(one, other, columns.pair, where)
    else:
        start = shared_prompt(one, other, columns.pair, where)
    replies = [
        final_turn(t, start, n, where) for t, n in zip((one, other), columns.pair, strict=True)
    ]
    return prompt_from(start) if start else prompt_of(prompt, column, where), replies


def _unlike(said: Any, prompt: Prompt, sides: tuple[Any, Any]) -> bool:
    """Whether a text beside dialogues is another than what they begin with: none of its turns, nor
    all."""
    if not isinstance(said, str) or blank(said) or not all(map(is_messages, sides)):
        return False
    turns = (prompt.text,) if prompt.messages is None else prompt.for_model
    texts = [turn if isinstance(turn, str) else str(turn["content"]) for turn in turns]
    known = {" ".join(text.split()) for text in (*texts, prompt.text)}
    return " ".join(said.split()) not in known


def _dialogue(sides: tuple[str, str], source: Source, columns: Columns, where: str) -> str:
    """The prompt that two HH dialogues share: all up to their last assistant turn."""
    a, b = (side[: side.rfind(LAST_TURN) + len(LAST_TURN)] for side in sides)
    if not all(LAST_TURN in side for side in sides):
        raise no_column(source, columns.prompts[0])
    if a != b:
        raise UserError(
            "both dialogues of a pair must share all but the last assistant turn",
            f"they differ before it in {where}",
        )
    return a
