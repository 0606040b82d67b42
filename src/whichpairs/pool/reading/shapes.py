"""The shapes in which preference data is published, brought to the three that `rows` reads.

A file that has the columns of a known data set, and for which the user names none, is read as that
data set's authors mean it. Beside that: several prompt columns become one, usual names stand in for
`prompt`, `completion` and the pair where those are not there, a list of objects (``{"model",
"response", "score"}``) becomes lists. Whatever is taken for something else is said (`reading`).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from whichpairs.errors import UserError
from whichpairs.pool.columns import Columns
from whichpairs.pool.raw.source import Source, show
from whichpairs.pool.reading.known import KNOWN, Reading
from whichpairs.pool.reading.messages import ROLE_KEYS, ROLES, chat_in_text, is_messages
from whichpairs.pool.reading.rows import LAST_TURN
from whichpairs.pool.reading.unread import meant
from whichpairs.wording import counted_of

PROMPTS = (
    "instruction",
    "question",
    "query",
    "messages",
    "conversations",
    "conversation",
    "context",
)
COMPLETIONS = (
    "completions",
    "responses",
    "response",
    "outputs",
    "output",
    "answers",
    "generations",
)
PAIRS = (
    ("chosen_response", "rejected_response"),
    ("preferred_output", "non_preferred_output"),
    ("preferred", "rejected"),
    ("chosen_answer", "rejected_answer"),
)
SYSTEMS = ("system", "system_prompt")
TEXTS = ("response", "completion", "answer", "text", "content", "output", "generation", "summary")
"""The key of the text in a list of objects."""


@dataclass(frozen=True)
class Arranged:
    """A source in a shape that `rows` reads, and how it got there.

    Attributes:
        reading: what was taken for what, a clause each.
        used: the columns of the file that were read.
        prompt: those of the prompt.
    """

    source: Source
    columns: Columns
    reading: tuple[str, ...] = ()
    used: frozenset[str] = frozenset()
    prompt: tuple[str, ...] = ("prompt",)


def arrange(source: Source, columns: Columns) -> Arranged:
    """Bring rows to a shape that `rows.understand` reads.

    Raises:
        UserError: a column is missing, or cells are of a kind that cannot be read.
    """
    reading: list[str] = []
    used: set[str] = set()
    known = _known(source) if _unnamed(columns) else None
    if known is not None:
        name, found = known
        reading.append(f"as {name} ({found.meaning})")
        used |= set(found.used)
        source = found.source
        columns = replace(
            columns,
            prompt=found.columns.prompt,
            completion=found.columns.completion,
            pair=found.columns.pair,
            label=found.columns.label,
            label_map=found.columns.label_map,
        )
    prompt = columns.prompts
    for step in (_cells, _chat_texts, _aliases, _chats, _join, _objects, _system):
        if step is _join:
            columns = _apart(source, columns)
            prompt = columns.prompts
        source, columns, more, read = step(source, columns)
        reading += more
        used |= read
    used |= meant(columns)
    if columns.completion in source.columns and not columns.pair_named:
        used -= set(columns.pair)  # labels beside completions are not read
    return Arranged(source, columns, tuple(reading), frozenset(used), prompt)


def _apart(source: Source, columns: Columns) -> Columns:
    """Several prompt columns in one name with commas, as several."""
    (name, *more) = columns.prompts
    if more or "," not in name or name in source.columns:
        return columns
    return replace(columns, prompt=tuple(part.strip() for part in name.split(",")))


Step = tuple[Source, Columns, list[str], set[str]]


def _unnamed(columns: Columns) -> bool:
    names = ("prompt", "completion", "pair", "label", "label_map")
    return all(getattr(columns, name) == getattr(Columns, name) for name in names)


def _known(source: Source) -> tuple[str, Reading] | None:
    for name, needs, read in KNOWN:
        if set(needs) <= set(source.columns):
            found: Reading | None = read(source)
            if found is not None:
                return name, found
    return None


def _cells(source: Source, columns: Columns) -> Step:
    """Cells of CSV that hold JSON lists become lists."""
    if not source.untyped:
        return source, columns, [], set()
    new, reading = dict(source.columns), []
    for name in (*columns.prompts, columns.completion, *columns.pair, *columns.scores):
        if name not in new:
            continue
        cells = [str(cell) for cell in new[name]]
        full = [cell for cell in cells if cell.strip()]
        if not full or not all(c.lstrip()[0] == "[" and c.rstrip()[-1] == "]" for c in full):
            continue
        lists = [_list(cell) for cell in cells]
        if all(one is not None for one, cell in zip(lists, cells, strict=True) if cell.strip()):
            new[name] = lists
            reading.append(f"the cells of {show(name)} as JSON lists")
        elif all(_pythonic(cell) for cell in full):
            raise UserError(
                "a cell of CSV must be a text, or a list written as JSON",
                f"the cells of {show(name)} are lists as Python prints them, e.g. {show(full[0])}",
                "write the rows as JSONL, before they become CSV: "
                "frame.to_json('pool.jsonl', orient='records', lines=True)",
            )
    return replace(source, columns=new, _values={}), columns, reading, set()


def _chat_texts(source: Source, columns: Columns) -> Step:
    """Chats that are stored as JSON text become messages: prompts each for itself, answers all or
    none."""
    new, reading = dict(source.columns), []
    for name in (*columns.prompts, columns.completion, *columns.pair):
        if name not in new:
            continue
        values = source.values(name)
        found = [chat_in_text(value) for value in values]
        chats = sum(one is not value for one, value in zip(found, values, strict=True))
        texts = sum(isinstance(value, str) and bool(value.strip()) for value in values)
        if chats and (name in columns.prompts or chats == texts):
            new[name] = found
            reading.append(f"{counted_of(chats, texts, 'text')} of {show(name)} as chats in JSON")
    return replace(source, columns=new, _values={}), columns, reading, set()


def _list(cell: str) -> list[Any] | None:
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) else None


def _pythonic(cell: str) -> bool:
    inner = cell.strip()[1:-1].strip()
    return inner[:1] in {"'", '"', "{", "["} and inner[-1:] in {"'", '"', "}", "]"}


def _aliases(source: Source, columns: Columns) -> Step:
    """Usual names where the default ones are not there."""
    there, reading = source.columns, []
    default = _unnamed(replace(columns, prompt=Columns.prompt))
    if default and columns.completion not in there and not set(columns.pair) <= set(there):
        pair = next((p for p in PAIRS if set(p) <= set(there)), None)
        many = [name for name in COMPLETIONS if name in there]
        if pair:
            columns = replace(columns, pair=pair)
            reading.append(f"{show(pair[0])} and {show(pair[1])} as chosen and rejected")
        elif len(many) == 1:
            columns = replace(columns, completion=many[0])
            reading.append(f"{show(many[0])} as the completion")
    if columns.prompt == Columns.prompt not in there and not _dialogues(source, columns):
        found: tuple[str, ...] = tuple(name for name in PROMPTS if name in there)
        if not found and "input" in there:
            found = ("input",)
        if found == ("instruction",) and "input" in there:
            found = ("instruction", "input")
        if len(found) == 1 or found == ("instruction", "input"):
            columns = replace(columns, prompt=found[0] if len(found) == 1 else found)
            reading.append(f"{' and '.join(map(show, found))} as the prompt")
    return source, columns, reading, set()


def _chats(source: Source, columns: Columns) -> Step:
    """Whole conversations in one column: the last turn is a completion of those before it."""
    name, usual = columns.prompt, _unnamed(replace(columns, prompt=Columns.prompt))
    meaningful = (columns.completion, *columns.pair)
    if not usual or not isinstance(name, str) or any(n in source.columns for n in meaningful):
        return source, columns, [], set()
    values = source.values(name) if name in source.columns else []
    if not values or not all(isinstance(v, list) and len(v) > 1 and is_messages(v) for v in values):
        return source, columns, [], set()
    ends = [value[-1] for value in values]
    if not any(ROLES.get(str(_role(end)).lower()) == "assistant" for end in ends):
        return source, columns, [], set()
    new = {**source.columns, name: [value[:-1] for value in values], "completion": ends}
    reading = [f"the last turn of {show(name)} as the completion"]
    return replace(source, columns=new, _values={}), columns, reading, {name}


def _role(message: dict[str, Any]) -> Any:
    return next((message[key] for key in ROLE_KEYS if key in message), None)


def _dialogues(source: Source, columns: Columns) -> bool:
    """Whether both columns of pairs hold whole conversations, which need no prompt beside them."""
    sides = [source.values(name)[:20] for name in columns.pair if name in source.columns]
    if len(sides) != 2 or columns.completion in source.columns:
        return False

    def whole(value: Any) -> bool:
        if isinstance(value, str):
            return LAST_TURN in value
        return isinstance(value, list) and is_messages(value) and len(value) > 1

    return all(any(map(whole, side)) for side in sides)


def _join(source: Source, columns: Columns) -> Step:
    """Several prompt columns as one."""
    names = columns.prompts
    if len(names) == 1:
        return source, columns, [], set()
    parts = [source.values(name) for name in names]
    joined = [_together(cells) for cells in zip(*parts, strict=True)]
    name = "+".join(names)
    new = {n: v for n, v in source.columns.items() if n not in names}
    source = replace(source, columns={name: joined, **new}, _values={})
    return source, replace(columns, prompt=name), [], set(names)


def _together(cells: tuple[Any, ...]) -> Any:
    """Texts joined by a blank line; what is no text is left for `rows` to refuse by its row."""
    said = [c for c in cells if c is not None and not (isinstance(c, str) and not c.strip())]
    strange = [c for c in said if not isinstance(c, str)]
    if strange:
        return strange[0] if len(said) == 1 else {"several parts": said}
    return "\n\n".join(said) if said else None


def _objects(source: Source, columns: Columns) -> Step:
    """A list of objects that are no messages becomes a list of texts, and lists of the rest."""
    name = columns.completion
    if name not in source.columns:
        return source, columns, [], set()
    values = source.values(name)
    if not all(value is None or isinstance(value, list) for value in values):
        return source, columns, [], set()
    example = next((value for value in values if value), None)
    if (
        example is None
        or not isinstance(example[0], dict)
        or any(k in example[0] for k in ROLE_KEYS)
    ):
        return source, columns, [], set()
    keys = list(
        dict.fromkeys(k for v in values if isinstance(v, list) for o in v for k in _keys(o))
    )
    text = next((key for key in TEXTS if key in keys), None)
    if text is None:
        said = [key for key in keys if isinstance(example[0].get(key), str)]
        raise UserError(
            "the completions of a prompt must be a list of texts, or of objects with a text",
            f"those of {show(name)} have the keys {', '.join(map(show, keys))}",
            f"flatten them, e.g. with: jq -c '.{name} |= map(.{said[0]})' FILE > pool.jsonl"
            if said
            else "write rows of a prompt and a completion, or of prompt, chosen and rejected",
        )
    new: dict[str, list[Any] | pl.Series] = dict(source.columns)
    others = [key for key in TEXTS if key in keys]
    new[name] = _taken(values, lambda one: next((one[k] for k in others if k in one), None))
    for key in keys:
        if key != text and key not in new:
            new[key] = _taken(values, lambda one, key=key: one.get(key))  # type: ignore[misc]
    more = ""
    if "rank" in keys and "minus_rank" not in new:
        new["minus_rank"] = _taken(values, lambda one: _minus(one.get("rank")))
        more = "; rank 1 is the best, so a score is in 'minus_rank'"
    reading = [f"the {show(text)} of the objects in {show(name)} as the completions{more}"]
    return replace(source, columns=new, _values={}), columns, reading, set()


def _keys(value: Any) -> list[str]:
    return list(value) if isinstance(value, dict) else []


def _taken(values: list[Any], take: Callable[[dict[str, Any]], Any]) -> list[Any]:
    """`take` of every object in the lists; what is no list stays."""
    return [
        [take(one) if isinstance(one, dict) else one for one in value]
        if isinstance(value, list)
        else value
        for value in values
    ]


def _minus(rank: Any) -> Any:
    return -rank if isinstance(rank, (int, float)) else rank


def _system(source: Source, columns: Columns) -> Step:
    """The usual system column, where the user does not say."""
    if columns.system is not None:
        return source, columns, [], set()
    used = meant(replace(columns, system=None))
    for name in SYSTEMS:
        if name in source.columns and name not in used:
            values = source.values(name)
            if any(isinstance(v, str) and v.strip() for v in values):
                reading = [f"{show(name)} as the system turn (--system-column '' leaves it out)"]
                return source, replace(columns, system=name), reading, {name}
    return source, replace(columns, system=""), [], set()
