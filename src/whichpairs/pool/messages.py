"""Prompts and chat messages: what counts as one, its canonical JSON, a plain rendering to read."""

import json
from dataclasses import dataclass
from typing import Any

from whichpairs.errors import UserError
from whichpairs.pool.sources import show

Messages = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt's text to read and, where it is a conversation, its messages as canonical JSON."""

    text: str
    messages: str | None = None

    @property
    def key(self) -> str:
        """What tells prompts apart."""
        return self.text if self.messages is None else self.messages

    @property
    def for_model(self) -> str | tuple[dict[str, str], ...]:
        """The messages where there are any, else the text."""
        return self.text if self.messages is None else tuple(json.loads(self.messages))


def prompt_of(value: Any, column: str, where: str) -> Prompt:
    """A prompt from a text (empty: the beginning of a text) or a list of chat messages.

    Raises:
        UserError: it is neither.
    """
    if is_messages(value):
        turns = messages(value, column, where)
        return Prompt(render(turns), canonical(turns))
    if not isinstance(value, str):
        raise UserError(
            "a prompt must be a text or a list of chat messages",
            f"{show(column)} is {show(value)} in {where}",
        )
    return Prompt(value)


def blank(text: str) -> bool:
    """Whether there is nothing to read."""
    return not text or text.isspace()


def is_messages(value: object) -> bool:
    """Whether `value` is meant as chat messages: a list of objects, not of texts."""
    return isinstance(value, list) and bool(value) and all(isinstance(m, dict) for m in value)


def messages(value: list[dict[str, Any]], what: str, where: str) -> Messages:
    """The messages with their ``role`` and ``content`` and nothing else.

    Raises:
        UserError: a message lacks one of the two, or it is no text.
    """
    for message in value:
        for key in ("role", "content"):
            if not isinstance(message.get(key), str):
                raise UserError(
                    'chat messages must be {"role": text, "content": text}',
                    f"the {what} in {where} has a message whose {key} is {show(message.get(key))}",
                )
    return [{"role": m["role"], "content": m["content"]} for m in value]


def canonical(value: Messages) -> str:
    """JSON that is the same for the same messages."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def render(value: Messages) -> str:
    """A plain text to read: a lone user turn as it is, else every turn after its role."""
    if len(value) == 1 and value[0]["role"] == "user":
        return value[0]["content"]
    return "\n\n".join(f"{m['role'].capitalize()}: {m['content']}" for m in value)


def shared_prompt(chosen: Messages, rejected: Messages) -> Messages:
    """The turns both begin with, leaving each at least its last one."""
    longest = min(len(chosen), len(rejected)) - 1
    same = 0
    while same < longest and chosen[same] == rejected[same]:
        same += 1
    return chosen[:same]


def final_turn(value: Messages, prompt: Messages, what: str, where: str) -> str:
    """The text of the one assistant turn that follows `prompt` (which `value` may repeat).

    Raises:
        UserError: what follows is not exactly one assistant message.
    """
    rest = value[len(prompt) :] if prompt and value[: len(prompt)] == prompt else value
    if len(rest) != 1 or rest[0]["role"] != "assistant":
        roles = ", ".join(show(m["role"]) for m in rest[:6]) or "none"
        raise UserError(
            "a conversation must end in exactly one assistant message after the prompt",
            f"the {what} in {where} has the roles {roles}",
        )
    return rest[0]["content"]
