"""How a chat message is read as a plain text: all that it says, tool calls and names included."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

SAID = (
    "name",
    "tool_calls",
    "function_call",
    "tool_call_id",
    "reasoning_content",
    "reasoning",
    "thinking",
    "refusal",
)
"""What a message may say beside its role and content."""
CALLS = ("tool_calls", "function_call")
"""What stands in for the content of a message that has none."""


def spoken(message: Mapping[str, Any], said: Sequence[str] = SAID) -> str:
    """A message's content, and under it what else it says (of `said`) as JSON."""
    more = {key: message[key] for key in said if key in message}
    parts = [message["content"]] if message["content"] else []
    if more:
        parts.append(json.dumps(more, ensure_ascii=False))
    return "\n".join(parts)


def transcript(turns: Sequence[Mapping[str, Any]]) -> str:
    """Every turn after its role."""
    return "\n\n".join(f"{m['role'].capitalize()}: {spoken(m)}" for m in turns)
