"""What is sent to a server and what comes back, as small records; and the key that names a
request."""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any, Literal

from whichpairs.endpoint.refusal import scrub
from whichpairs.errors import UserError, one_line
from whichpairs.types import Message

Api = Literal["chat", "completions"]


@dataclass(frozen=True, slots=True)
class Answer:
    """One completion from a server.

    Attributes:
        text: what was written.
        finish: ``"stop"``, ``"length"`` or what else the server says; ``""`` where it says nothing.
        tokens: how many were drawn, where the server says so, else None.
        logprob: their summed log-probability in nats, where the server says so, else None.
            Servers differ in whether the end token is among them, and most give probabilities at
            temperature 1.
    """

    text: str
    finish: str
    tokens: int | None = None
    logprob: float | None = None

    @property
    def row(self) -> list[Any]:
        """As a journal keeps it."""
        return [self.text, self.finish, self.tokens, self.logprob]


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a server.

    Attributes:
        api: ``"chat"`` (the server applies its chat template) or ``"completions"`` (plain text).
        prompt: messages for chat, a text for completions.
        n: answers wanted; max_tokens: the most tokens of one.
        temperature: 0 or more; top_p: in (0, 1]; top_k: 0 is off (not every server knows it).
        stop: strings before which an answer ends.
        seed: None leaves it to the server.
        logprobs: whether to ask for log-probabilities.
    """

    api: Api
    prompt: str | tuple[Message, ...]
    n: int = 1
    max_tokens: int = 512
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: bool = False

    def body(self, model: str, leave_out: frozenset[str] = frozenset()) -> dict[str, Any]:
        """The JSON that is posted.

        Args:
            leave_out: names that this server refuses; ``max_tokens`` is then called
                ``max_completion_tokens``, and of temperatures only 0 is left out: what a judge
                loses by it is its repeatability, what a pool would lose is what it was to be.
        """
        chat = self.api == "chat"
        optional = {
            "n": (self.n, 1),
            "top_p": (self.top_p, 1.0),
            "top_k": (self.top_k, 0),
            "stop": (list(self.stop), []),
            "seed": (self.seed, None),
            "logprobs": ((True if chat else 1) if self.logprobs else None, None),
        }
        warm = {"temperature": self.temperature}
        long = "max_completion_tokens" if "max_tokens" in leave_out else "max_tokens"
        return {
            "model": model,
            "messages" if chat else "prompt": list(self.prompt) if chat else self.prompt,
            long: self.max_tokens,
            **({} if self.temperature == 0 and "temperature" in leave_out else warm),
            **{k: v for k, (v, off) in optional.items() if v != off and k not in leave_out},
        }

    def key(self, model: str) -> str:
        """What names this request: 64 hex digits over all that is asked, and of which model."""
        content = json.dumps([self.api, self.body(model)], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def rest(self, had: int) -> "Request":
        """What is still to be asked after `had` answers: with a seed of its own, else they
        repeat."""
        if had == 0:
            return self
        seed = None if self.seed is None else derived_seed(self.seed, had)
        return replace(self, n=self.n - had, seed=seed)


def derived_seed(*parts: int | str) -> int:
    """A seed in 0 … 2³¹ − 1 (every server takes those) that depends on all of `parts`."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def read_answers(
    reply: str, request: Request, url: str, secrets: tuple[str, ...] = ()
) -> tuple[Answer, ...]:
    """The answers in a server's reply.

    Raises:
        UserError: it is not what the protocol says.
    """
    try:
        found = json.loads(reply)
        choices = sorted(found["choices"], key=lambda choice: choice.get("index") or 0)
        usage = found.get("usage") or {}
        alone = usage.get("completion_tokens") if len(choices) == 1 else None
        answers = tuple(_answer(choice, alone) for choice in choices)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        answers = ()
    if not answers:
        raise UserError(
            f"the server must answer {request.api} requests as the OpenAI protocol says",
            f"{url} answered: {one_line(scrub(reply, secrets), 200)}",
            "check the base URL; most end in /v1",
        )
    return answers


def read_journalled(rows: Any) -> tuple[Answer, ...]:
    """The answers that a journal kept."""
    return tuple(Answer(*row) for row in rows)


def _answer(choice: dict[str, Any], alone: int | None) -> Answer:
    """One choice; `alone`: the reply's token count where it has no other choice."""
    text = choice["message"]["content"] if "message" in choice else choice["text"]
    given = choice.get("logprobs") or {}
    if given.get("content") is not None:  # chat
        values = [token["logprob"] for token in given["content"]]
    else:
        values = list(given.get("token_logprobs") or [])
    total = float(sum(values)) if values and None not in values else None
    tokens = alone if alone is not None else len(values) if values else None
    return Answer(text or "", choice.get("finish_reason") or "", tokens, total)
