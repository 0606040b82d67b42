"""OASST's trees of messages: every reply is a completion of the turns from the root to its
parent."""

from typing import Any

from whichpairs.pool.raw.source import Source
from whichpairs.pool.reading.messages import ROLES

KEPT = ("rank", "lang", "message_id")
"""What is kept of a reply beside its text."""


def read_trees(source: Source) -> Source:
    """Messages one a row, each with its parent's id, as rows of prompt and reply."""
    names = ("message_id", "parent_id", "text", "role")
    columns = [source.values(name) for name in names]
    messages = [dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True)]
    for name in ("rank", "lang"):
        if name in source.columns:
            for message, value in zip(messages, source.values(name), strict=True):
                message[name] = value
    by_id = {message["message_id"]: message for message in messages}
    found = []
    for number, message in zip(source.numbers, messages, strict=True):
        if _role(message) == "assistant":
            path = _path(message, by_id)
            if path:
                found.append((number, [_turn(one) for one in path], message))
    return _rows(source, found)


def read_nested_trees(source: Source) -> Source:
    """Trees one a row, under ``prompt``, each message with its ``replies``."""
    found: list[tuple[int, list[dict[str, Any]], dict[str, Any]]] = []
    for number, root in zip(source.numbers, source.values("prompt"), strict=True):
        stack: list[tuple[list[dict[str, Any]], Any]] = [([], root)]
        while stack:
            path, message = stack.pop()
            if not isinstance(message, dict):
                continue
            if path and _role(message) == "assistant":
                found.append((number, path, message))
            replies = message.get("replies") or []
            stack += [([*path, _turn(message)], reply) for reply in reversed(replies)]
    return _rows(source, found)


def _path(message: dict[str, Any], by_id: dict[Any, dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages from the root to the parent; none where one is missing, or they go in a
    circle."""
    path: list[dict[str, Any]] = []
    while message["parent_id"] is not None:
        parent = by_id.get(message["parent_id"])
        if parent is None or len(path) > len(by_id):
            return []
        path.append(parent)
        message = parent
    return path[::-1]


def _role(message: dict[str, Any]) -> str:
    return ROLES.get(str(message.get("role")).lower(), "")


def _turn(message: dict[str, Any]) -> dict[str, Any]:
    return {"role": message.get("role"), "content": message.get("text")}


def _rows(source: Source, found: list[tuple[int, list[dict[str, Any]], dict[str, Any]]]) -> Source:
    columns: dict[str, list[Any]] = {
        "prompt": [path for _, path, _ in found],
        "text": [message.get("text") for _, _, message in found],
    }
    for name in KEPT:
        values = [message.get(name) for _, _, message in found]
        if any(value is not None for value in values):
            columns[name] = values
    if "rank" in columns:
        columns["minus_rank"] = [None if r is None else -r for r in columns["rank"]]
    numbers = [number for number, _, _ in found]
    return Source(source.name, {**columns}, numbers, source.unit, odd=source.odd)
