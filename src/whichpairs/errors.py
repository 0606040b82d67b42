"""Every error a user can meet, each in one line: the rule, what was received, the remedy.

The command line prints `str(error)` and exits with code 2; nothing has been written by then.
"""

import json
import re
from typing import Any

_LIMIT_OF_ONE = re.compile(r"\b((?:at most|at least) 1 (?:label|pair|prompt|completion))s\b")
"""A limit that is a number of the user's, where that is one."""


class WhichpairsError(Exception):
    """The root of all errors that whichpairs raises on purpose."""


class UserError(WhichpairsError):
    """A mistake that the user can mend.

    Args:
        rule: what must hold, e.g. ``budget must be between 1 and the 4512 candidate pairs``.
        received: what was found instead, e.g. ``got 0``.
        remedy: what to do, e.g. ``pass --budget 500``; may be empty where the rule says it.
    """

    def __init__(self, rule: str, received: str, remedy: str = "") -> None:
        self.rule, self.received, self.remedy = rule, received, remedy
        parts = [f"{rule}; {received}"] + ([remedy] if remedy else [])
        super().__init__(one_line(_LIMIT_OF_ONE.sub(r"\1", ". ".join(parts))))

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors cross process borders whole."""
        return UserError, (self.rule, self.received, self.remedy)


class MissingExtraError(UserError):
    """An optional dependency is not installed; the message names the pip command."""

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(
            f"this needs the optional dependency {module}",
            "it is not installed",
            f"Install it with: pip install 'whichpairs[{extra}]'",
        )


_PYTHON = re.compile(
    r"<class|object at 0x|NoneType|Errno|Traceback|__\w+__|b'\\|\w+Error\b|indices must|'\w+' "
    r"object|argument|\w+=\w+"
)
"""What a message has that speaks to programmers alone."""


def plainly(error: BaseException) -> str:
    """What an error of a library or of the system says, in words: no class names, no numbers of
    Errno.

    A library's own sentence is given in quotation marks, and only where a user can make sense of
    it.
    """
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 (from byte {error.start} on)"
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON (line {error.lineno}, column {error.colno})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    text = str(error).strip().partition("\n")[0].rstrip(". ")
    if not text or isinstance(error, KeyError) or _PYTHON.search(text):
        return "it is damaged, or not what it must be"
    return f"its reader says “{text}”"


def one_line(text: str, limit: int = 1000) -> str:
    """`text` with control characters and line breaks made visible, cut at `limit` characters."""
    clean = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"
