"""When a server says no: its own words in one line, without secrets, and what can be done."""

from typing import TYPE_CHECKING, Any, Protocol

from whichpairs.errors import UserError, one_line

if TYPE_CHECKING:
    import openai

LONGEST = 300
"""Characters of a server's words that are passed on."""


class _Settings(Protocol):
    model: str
    key_variable: str
    retries: int

    @property
    def public_url(self) -> str: ...

    @property
    def secrets(self) -> tuple[str, ...]: ...


def explain(error: "openai.OpenAIError", settings: Any) -> UserError:
    """The user's line for an error of the package `openai`."""
    import openai

    url, words = settings.public_url, scrub(_words(error), settings.secrets)
    kept = "what it answered so far is kept: run the same command again"
    if isinstance(error, openai.APITimeoutError):
        return UserError("the server must answer in time", f"{url} did not; {words}", kept)
    if isinstance(error, openai.APIConnectionError):
        return UserError(
            "the server must be reachable", f"{url} is not: {words}", "start it, or mend the URL"
        )
    code = getattr(error, "status_code", None)
    remedies = {
        401: f"put a valid key into the environment variable {settings.key_variable}",
        403: f"the key in the environment variable {settings.key_variable} must be allowed this",
        404: f"check the model's name ({settings.model!r}) and the base URL (most end in /v1)",
        429: (
            f"after {settings.retries} retries it still does; ask less at once or a minute; {kept}"
        ),
    }
    later = kept if code is not None and code >= 500 else ""
    return UserError(
        "the server must accept the request",
        f"{url} says {code or 'no'}: {words}",
        remedies.get(code or 0, later),
    )


def unlike(error: "openai.OpenAIError") -> frozenset[str]:
    """What this server refuses and some requests can do without; see `Request.body`."""
    import openai

    if not isinstance(error, (openai.BadRequestError, openai.UnprocessableEntityError)):
        return frozenset()
    words = _words(error)
    marks = {
        "max_tokens": "max_completion_tokens",
        "logprobs": "logprobs",
        "temperature": "temperature",
    }
    return frozenset(name for name, mark in marks.items() if mark in words)


def scrub(text: str, secrets: tuple[str, ...]) -> str:
    """`text` in one line of at most `LONGEST` characters, secrets starred out."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return one_line(text, LONGEST)


def _words(error: "openai.OpenAIError") -> str:
    """What the server said, or why it could not be heard."""
    body = getattr(error, "body", None)
    if isinstance(body, dict):
        said = body.get("message") or body.get("detail") or body.get("error")
        if said:
            return str(said)
    if isinstance(body, str) and body.strip():
        return body.strip()
    cause = error.__cause__
    return str(error) if cause is None else f"{error} ({cause})"
