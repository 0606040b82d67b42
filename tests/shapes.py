"""The type checker behind the import hook of `conftest`: beartype, once for every signature."""

from collections.abc import Callable
from typing import Any

from beartype import beartype

KNOWN: dict[tuple[str, str, str], Callable[..., Any]] = {}


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function within a function is made anew at every call, and beartype would write its check anew.

    What comes here is only a stub with the signature of the function, so that equal ones are one.
    """
    if "<locals>" not in function.__qualname__:
        return beartype(function)
    key = (function.__module__, function.__qualname__, str(function.__annotations__))
    if key not in KNOWN:
        KNOWN[key] = beartype(function)
    return KNOWN[key]
