"""Prompts and chat messages: what counts as one, its canonical JSON, a plain rendering to read.

A message is ``{"role", "content"}`` and whatever else it says (`SAID`: tool calls, names). All of
it tells prompts and completions apart; keys that are bookkeeping are not read.
"""

import json
from dataclasses import dataclass
from typing import Any

from whichpairs.chat import CALLS, SAID, spoken, transcript
from whichpairs.errors import UserError
from whichpairs.pool.raw.source import show
from whichpairs.types import Message
from whichpairs.wording import counted

Messages = list[Message]
ROLE_KEYS, CONTENT_KEYS = ("role", "from"), ("content", "value", "text")
MEDIA = ("images", "image", "audio", "audios", "video", "videos")
ROLES = {
    "human": "user",
    "user": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "ai": "assistant",
    "system": "system",
    "developer": "developer",
    "tool": "tool",
    "observation": "tool",
    "function": "function",
}
"""The usual spellings of roles, whatever their case; another role stays as it is written."""


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
    def for_model(self) -> str | tuple[Message, ...]:
        """The messages where there are any, else the text."""
        return self.text if self.messages is None else tuple(json.loads(self.messages))


@dataclass(frozen=True, slots=True)
class Reply:
    """A completion: its text and, where it says more (tool calls), its whole message as JSON.

    The text then holds the rest as JSON too, so that nothing that reads texts misses it.
    """

    text: str
    message: str | None = None


def prompt_of(value: Any, column: str, where: str) -> Prompt:
    """A prompt from a text (empty: the beginning of a text) or a list of chat messages.

    Raises:
        UserError: it is neither.
    """
    if is_messages(value):
        return prompt_from(messages(value, column, where))
    if not isinstance(value, str):
        raise UserError(
            "a prompt must be a text or a list of chat messages",
            f"{show(column)} is {show(value)} in {where}",
        )
    return Prompt(value)


def chat_in_text(value: Any) -> Any:
    """The messages of a chat (or the one message) that is stored as JSON text; else `value`
    itself."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return value
    turns = found if isinstance(found, list) else [found]
    return found if turns and all(map(_whole_message, turns)) else value


def _whole_message(value: object) -> bool:
    return (
        is_message(value)
        and isinstance(value, dict)
        and any(isinstance(value.get(k), str) for k in ROLE_KEYS)
        and any(k in value for k in CONTENT_KEYS)
    )


def prompt_from(turns: Messages) -> Prompt:
    """A prompt of messages."""
    return Prompt(render(turns), canonical(turns))


def with_system(prompt: Prompt, system: str, where: str) -> Prompt:
    """`prompt` as a conversation that begins with the system turn (none where it is blank).

    Raises:
        UserError: it begins with another one already.
    """
    if prompt.messages is None:
        turns = [] if blank(prompt.text) else [{"role": "user", "content": prompt.text}]
    else:
        turns = json.loads(prompt.messages)
    if blank(system):
        return prompt_from(turns) if turns else prompt
    first = {"role": "system", "content": system}
    if turns and turns[0]["role"] == "system":
        if turns[0] == first:
            return prompt_from(turns)
        raise UserError(
            "a prompt must have one system turn",
            f"{where} has one in the prompt and another in the system column",
            "pass --system-column '' to leave that column unread",
        )
    return prompt_from([first, *turns])


def blank(text: str) -> bool:
    """Whether there is nothing to read."""
    return not text or text.isspace()


def is_message(value: object) -> bool:
    """Whether `value` is meant as one chat message."""
    return isinstance(value, dict) and any(value.get(k) is not None for k in ROLE_KEYS)


def is_messages(value: object) -> bool:
    """Whether `value` is meant as chat messages: a list of objects, not of texts, or one alone."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(m, dict) for m in value)
    return is_message(value)


def messages(value: Any, what: str, where: str) -> Messages:
    """The messages in one spelling, with all that they say.

    Raises:
        UserError: a message lacks role or content, or holds what is no text.
    """
    listed = value if isinstance(value, list) else [value]
    return [_message(message, what, where) for message in listed]


def _message(message: dict[str, Any], what: str, where: str) -> Message:
    role = next((message[k] for k in ROLE_KEYS if message.get(k) is not None), None)
    if not isinstance(role, str):
        raise _broken(what, where, f"whose role is {show(role)}")
    content = next((message[k] for k in CONTENT_KEYS if message.get(k) is not None), None)
    media = next((k for k in MEDIA if message.get(k) not in (None, [], "")), None)
    if media:
        raise _broken(what, where, f"with {show(media)}: only text can be read")
    more = {k: plain(message[k]) for k in SAID if message.get(k) not in (None, [], "")}
    if isinstance(content, list):
        content = _joined(content, what, where)
    if not isinstance(content, str) and not (content is None and any(k in more for k in CALLS)):
        raise _broken(what, where, f"whose content is {show(content)}")
    return {"role": ROLES.get(role.strip().lower(), role), "content": content, **more}


def _joined(parts: list[Any], what: str, where: str) -> str | list[Any]:
    """The text of a content in parts, or the parts where they are not texts."""
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(kind, str) and kind not in {"text", "input_text", "output_text"}:
            raise _broken(what, where, f"with a part of type {show(kind)}: only text can be read")
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    whole = bool(texts) and all(isinstance(text, str) for text in texts)
    return "".join(map(str, texts)) if whole else parts


def _broken(what: str, where: str, how: str) -> UserError:
    return UserError(
        'chat messages must be {"role": text, "content": text}, or {"from", "value"}',
        f"the {what} in {where} has a message {how}",
    )


def plain(value: Any) -> Any:
    """What JSON makes of a value, objects with their keys in order."""
    return json.loads(json.dumps(value, sort_keys=True, default=str))


def canonical(value: Messages | Message) -> str:
    """JSON that is the same for the same messages."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def render(value: Messages) -> str:
    """A plain text to read: a lone user turn as it is, else every turn after its role."""
    if len(value) == 1 and value[0]["role"] == "user" and len(value[0]) == 2:
        return str(value[0]["content"])
    return transcript(value)


def shared_prompt(
    chosen: Messages, rejected: Messages, names: tuple[str, str], where: str
) -> Messages:
    """The turns that both begin with: all but the last of each.

    Raises:
        UserError: they differ before it (how is said).
    """
    if chosen[:-1] == rejected[:-1]:
        return chosen[:-1]
    one, other = names
    system = [turns[0]["role"] == "system" for turns in (chosen, rejected)]
    same = 0
    while chosen[same : same + 1] == rejected[same : same + 1]:
        same += 1
    if system[0] != system[1]:
        how = f"only the {one if system[0] else other} begins with a system turn"
    elif same < min(len(chosen), len(rejected)) - 1:
        how = f"they differ in turn {same + 1}, before the last"
    else:
        how = f"they have {len(chosen)} and {counted(len(rejected), 'turn')}"
    raise UserError(f"{one} and {other} must share every turn but the last", f"{how}, in {where}")


def final_turn(value: Messages, prompt: Messages, what: str, where: str) -> Reply:
    """The one assistant turn that follows `prompt` (which `value` may repeat).

    Raises:
        UserError: what follows is not exactly one assistant message.
    """
    rest = value
    for start in (prompt, prompt[1:] if prompt and prompt[0]["role"] == "system" else []):
        if start and value[: len(start)] == start:
            rest = value[len(start) :]
            break
    if len(rest) != 1 or rest[0]["role"] != "assistant":
        roles = ", ".join(show(m["role"]) for m in rest[:6]) or "none"
        raise UserError(
            "a conversation must end in exactly one assistant message after the prompt",
            f"the {what} in {where} has the roles {roles}"
            + (", and does not begin with the prompt" if prompt and rest is value else ""),
        )
    return reply(rest[0])


def reply(message: Message) -> Reply:
    """A completion from an assistant's message."""
    whole = canonical(message) if len(message) > 2 else None
    return Reply(spoken(message), whole)
