"""The type checker behind the import hook of `conftest`: beartype, with no check made or done twice.

jaxtyping hands it stubs with the signature of a function: one that takes its arguments, before the call,
and one that takes them again and returns its value, after it.
"""

from collections.abc import Callable
from typing import Any

from beartype import beartype

KNOWN: dict[tuple[str, str, str], Callable[..., Any]] = {}


def checked(stub: Callable[..., Any]) -> Callable[..., Any]:
    """Arguments are looked at before the call alone. A function within a function is made anew at every
    call of the outer one, and beartype would write its check anew: equal stubs share one.
    """
    if stub.__annotations__.get("return", Any) is not Any:
        stub.__annotations__ = {"return": stub.__annotations__["return"]}
    if "<locals>" not in stub.__qualname__:
        return beartype(stub)
    key = (stub.__module__, stub.__qualname__, str(stub.__annotations__))
    if key not in KNOWN:
        KNOWN[key] = beartype(stub)
    return KNOWN[key]
