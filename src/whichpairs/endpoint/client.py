"""One client for every OpenAI-compatible server: many requests at a time, each answered once.

Servers differ: some leave out `n`, log-probabilities, token counts or seeds. What a server does not
say is None here, and completions that it leaves out are asked for again, with another seed.
"""

import os
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from whichpairs.endpoint.journal import Journal
from whichpairs.endpoint.rate_limit import Pace
from whichpairs.endpoint.refusal import explain, unlike
from whichpairs.endpoint.request import Answer, Request, read_answers, read_journalled
from whichpairs.endpoint.workers import as_they_come
from whichpairs.errors import MissingExtraError, UserError
from whichpairs.types import SILENT, Progress

__all__ = ["Answer", "Client", "Request", "ServerSettings"]

_PROBE_TIMEOUT = 10.0
"""Seconds in which a server shows that it is there."""


@dataclass(frozen=True)
class ServerSettings:
    """Where a server is, and how it is to be asked.

    Attributes:
        base_url: e.g. ``http://localhost:8000/v1``. User names, passwords and queries in it are
            used and never written down (`public_url` is what may be).
        model: the name under which the server knows the model.
        key_variable: the NAME of the environment variable that holds the key; where it is not
            set, no key is sent but the word ``none``.
        requests_at_once: requests in flight, at least 1.
        requests_per_minute: the most, retries included; None: no limit.
        retries: how often a request is sent again after a 408, 409, 429 or 5xx or a lost
            connection, waiting as `Retry-After` says, else 0.5 s, 1 s, 2 s … 8 s.
        timeout: seconds for one answer, above 0 and at most a day.

    Raises:
        UserError: a value out of range, or a URL that is none.
    """

    base_url: str = field(repr=False)
    model: str
    key_variable: str = "OPENAI_API_KEY"
    requests_at_once: int = 8
    requests_per_minute: float | None = None
    retries: int = 6
    timeout: float = 120.0

    def __post_init__(self) -> None:
        pace = self.requests_per_minute
        rules = [
            (_is_url(self.base_url), "a server needs an http:// or https:// URL", self.public_url),
            (bool(self.model.strip()), "a server needs the name of its model", repr(self.model)),
            (
                self.requests_at_once >= 1,
                "requests at once must be 1 or more",
                self.requests_at_once,
            ),
            (pace is None or pace > 0, "requests per minute must be above 0", pace),
            (self.retries >= 0, "retries must be 0 or more", self.retries),
            (
                0 < self.timeout <= 86400,
                "the timeout must be above 0 seconds and at most a day",
                self.timeout,
            ),
            (
                self.key_variable.isidentifier(),
                "the key is named by the environment variable that holds it, and never given",
                "what is no variable's name",  # a key, perhaps
            ),
        ]
        for holds, rule, received in rules:
            if not holds:
                raise UserError(rule, f"got {received}")

    @property
    def public_url(self) -> str:
        """The URL without user name, password, query and fragment."""
        if not _is_url(self.base_url):
            return "something else"  # which may hold a password, too
        parts = urlsplit(self.base_url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not appear in any message: the key, and what the URL holds besides a place."""
        parts = urlsplit(self.base_url)
        held = {os.environ.get(self.key_variable), parts.username, parts.password, parts.query}
        held |= {value for _, value in parse_qsl(parts.query)}
        if parts.password:
            user, word = unquote(parts.username or ""), unquote(parts.password)
            held |= {word, b64encode(f"{user}:{word}".encode()).decode()}  # as it is sent
        return tuple(sorted(secret for secret in held if secret))


class Client:
    """Asks one server.

    Args:
        settings: which one, and how.

    Raises:
        MissingExtraError: the package `openai` is not installed.
    """

    def __init__(self, settings: ServerSettings) -> None:
        try:
            import openai
        except ImportError:
            raise MissingExtraError("openai", "server") from None
        self.settings = settings
        self._pace = Pace(settings.requests_per_minute)
        self._openai = openai.OpenAI(
            base_url=settings.base_url,
            api_key=os.environ.get(settings.key_variable) or "none",
            max_retries=settings.retries,
            timeout=settings.timeout,
            http_client=openai.DefaultHttpxClient(
                timeout=settings.timeout,
                event_hooks={"request": [lambda _: self._pace.wait()]},
            ),
        )
        self._unlike: frozenset[str] = frozenset()
        self._reached, self._reaching = False, threading.Lock()

    def chat(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> tuple[Answer, ...]:
        """Answers to chat messages; the options are those of `Request`.

        Raises:
            UserError: the server cannot be reached, or says no; its words are in the message.
        """
        return self.ask(Request("chat", tuple(dict(m) for m in messages), **options))

    def complete(self, prompt: str, **options: Any) -> tuple[Answer, ...]:
        """Continuations of a plain text; the options are those of `Request`.

        Raises:
            UserError: the server cannot be reached, or says no; its words are in the message.
        """
        return self.ask(Request("completions", prompt, **options))

    def ask(self, request: Request, journal: Journal | None = None) -> tuple[Answer, ...]:
        """All `request.n` answers, asking again where the server gives fewer.

        Args:
            journal: answers had before, and where new ones are kept.

        Raises:
            UserError: the server cannot be reached, or says no.
        """
        answers: list[Answer] = []
        while len(answers) < request.n:
            part = request.rest(len(answers))
            key = part.key(self.settings.model)
            found = None if journal is None else journal.get(key)
            if found is None:
                given = self._send(part)
                if journal is not None:
                    journal.add(key, [answer.row for answer in given])
            else:
                given = read_journalled(found)
            answers += given
        return tuple(answers[: request.n])

    def ask_all(
        self,
        requests: Sequence[Request],
        *,
        journal: Journal | None = None,
        progress: Progress = SILENT,
    ) -> Iterator[tuple[int, tuple[Answer, ...]]]:
        """Ask all of `requests`, several at a time; answers are handed out as they come.

        Equal requests are asked once. What is answered does not depend on the order of arrival.

        Args:
            progress: told of every answer (the caller starts and finishes it).

        Yields:
            The place of a request in `requests`, and its answers.

        Raises:
            UserError: the server cannot be reached, or says no. What it answered until then is
                in the journal.
        """
        places: dict[str, list[int]] = {}
        for place, request in enumerate(requests):
            places.setdefault(request.key(self.settings.model), []).append(place)
        alike = list(places.values())
        distinct = [requests[same[0]] for same in alike]

        def ask(request: Request) -> tuple[Answer, ...]:
            return self.ask(request, journal)

        for number, answers in as_they_come(ask, distinct, self.settings.requests_at_once):
            for place in alike[number]:
                progress.advance()
                yield place, answers

    def _send(self, request: Request) -> tuple[Answer, ...]:
        import openai

        self._reach()
        while True:
            known = self._unlike
            path = "/chat/completions" if request.api == "chat" else "/completions"
            body = request.body(self.settings.model, known)
            try:
                reply = self._openai.post(path, cast_to=str, body=body)
            except openai.OpenAIError as error:
                self._unlike |= unlike(error)
                if self._unlike == known:
                    raise explain(error, self.settings) from None
            else:
                return read_answers(reply, request, self.settings.public_url, self.settings.secrets)

    def _reach(self) -> None:
        """Say at once, without retries, that nobody listens there."""
        import openai

        with self._reaching:
            if self._reached:
                return
            try:
                self._openai.with_options(max_retries=0, timeout=_PROBE_TIMEOUT).models.list()
            except openai.APITimeoutError:
                pass  # slow, but there
            except openai.APIConnectionError as error:
                raise explain(error, self.settings) from None
            except Exception:
                pass  # no list of models, or in no known form; but there
            self._reached = True


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "").encode("idna")  # raises where a label is empty or too long
        known = parts.scheme in ("http", "https") and parts.port != 0
        return known and bool(host) and text.isprintable() and " " not in text
    except ValueError:
        return False
