"""An OpenAI-compatible server on loopback, for tests: the tiny model of recipes/imdb, and a judge.

Its chat is the plain text of the messages, then ``Assistant:``. The judge (a model called ``judge``)
prefers the answer with the higher reward of recipes/imdb/reward, plus a bias for the one shown first.
"""

import json
import re
import threading
import time
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch

from whichpairs.evaluate.reward import load_reward
from whichpairs.generate.backend import Sampling, cut_at
from whichpairs.generate.transformers import sample
from whichpairs.lm.encode import decode, encode_prompt
from whichpairs.lm.model import load
from whichpairs.lm.sampler import draw

IMDB = Path(__file__).parent.parent / "recipes" / "imdb"
SHOWN = re.compile(r"\[answer ([AB]) ([0-9a-f]{16})\]\n(.*?)\n\[end of answer \1 \2\]", re.DOTALL)
_MODEL_LOCK = threading.Lock()


def contents(requests: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """A hash of every request, as a journal names it."""
    apis = {"/v1/chat/completions": "chat", "/v1/completions": "completions"}
    return [
        sha256(json.dumps([apis[path], body], sort_keys=True).encode()).hexdigest()
        for path, body in requests
    ]


@cache
def lm() -> Any:
    return load(IMDB / "model", device="cpu")


@cache
def reward() -> Any:
    return load_reward(IMDB / "reward")


def plain(messages: list[dict[str, str]]) -> str:
    """The conversation as the tiny model reads it."""
    return "".join(f"{m['role'].capitalize()}: {m['content']}\n" for m in messages) + "Assistant:"


class OpenAIServer:
    """A server in this process; use it in a `with`.

    Attributes:
        refusals: (status, headers, message) to answer first, one a request.
        key: what it demands as a bearer token.
        delay: seconds before each answer.
        most: completions it gives to one request, whatever `n` says.
        says_logprobs: whether it gives log-probabilities; says_usage: whether it counts tokens.
        rejects: names of parameters that it answers with 400.
        bias: logits the judge adds for the answer shown first; tie: margin below which it says so.
        spoken: what the judge says instead of its JSON, given its choice.
        answered: (path, body) of every request answered with 200, in the order sent.
        received: (path, body) of every POST; asked: when it came; keys: the token it came with.
    """

    def __init__(self, **told: Any) -> None:
        self.refusals: list[tuple[int, dict[str, str], str]] = []
        self.key: str | None = None
        self.delay, self.most = 0.0, 10**9
        self.says_logprobs = self.says_usage = True
        self.rejects: tuple[str, ...] = ()
        self.bias = self.tie = 0.0
        self.spoken: Callable[[str], str] = lambda choice: json.dumps({"winner": choice})
        self.models = ("tiny", "judge")
        self.answered: list[tuple[str, dict[str, Any]]] = []
        self.received: list[tuple[str, dict[str, Any]]] = []
        self.asked: list[float] = []
        self.keys: list[str] = []
        self.in_flight = self.most_in_flight = 0
        self.lock = threading.Lock()
        for name, value in told.items():
            assert hasattr(self, name)
            setattr(self, name, value)

    def __enter__(self) -> "OpenAIServer":
        owner = self

        class Handler(_Handler):
            server_of_tests = owner

        self._http = _Quiet(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def reply(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        chat = path.endswith("chat/completions")
        if body["model"] == "judge":
            texts = [self.judged(body["messages"][0]["content"])]
            choices = [{"index": 0, "finish_reason": "stop", "message": {"content": texts[0]}}]
            return {"choices": choices}
        choices, total = completions(body, chat, self.most, self.says_logprobs)
        usage = {"usage": {"completion_tokens": total}} if self.says_usage else {}
        return {"choices": choices, **usage}

    def judged(self, prompt: str) -> str:
        texts = {m[1]: m[3] for m in SHOWN.finditer(prompt)}
        a, b = reward()([texts["A"], texts["B"]])
        margin = a + self.bias - b
        return self.spoken("tie" if abs(margin) < self.tie else "A" if margin > 0 else "B")


def completions(
    body: dict[str, Any], chat: bool, most: int, says_logprobs: bool
) -> tuple[list[dict[str, Any]], int]:
    prompt = plain(body["messages"]) if chat else body["prompt"]
    stop = tuple(body.get("stop", ()))
    sampling = Sampling(
        min(body.get("n", 1), most),
        body.get("max_completion_tokens", body.get("max_tokens", 16)),
        body.get("temperature", 1.0) or 1e-6,
        body.get("top_p", 1.0),
        stop=stop,
    )
    seed = body.get("seed", time.monotonic_ns())
    with _MODEL_LOCK:
        torch.set_num_threads(1)
        samples = sample(lm(), [prompt], sampling, seed=seed)[0]
        wanted = bool(body.get("logprobs")) and says_logprobs
        ids = tokens(prompt, sampling, seed) if wanted else [[]] * len(samples)
        values = [token_logprobs(prompt, one) if wanted else [] for one in ids]
    choices = []
    for index, (one, logprobs) in enumerate(zip(samples, values, strict=True)):
        text = (
            {"message": {"role": "assistant", "content": one.text}} if chat else {"text": one.text}
        )
        given = None
        if wanted and chat:
            given = {"content": [{"token": "?", "logprob": value} for value in logprobs]}
        elif wanted:
            given = {"token_logprobs": logprobs, "tokens": ["?"] * len(logprobs)}
        finish = "stop" if one.finished else "length"
        choices.append({"index": index, "finish_reason": finish, "logprobs": given, **text})
    return choices[::-1], sum(one.tokens for one in samples)  # in no order, as servers may


def tokens(prompt: str, sampling: Sampling, seed: int) -> list[list[int]]:
    """The tokens drawn, up to the one that completes a stop string."""
    (drawn,) = draw(lm(), [encode_prompt(lm().tokenizer, prompt)], sampling, seed=seed)
    found = []
    for one in drawn:
        ids = list(one.ids)
        for end in range(1, len(ids) + 1):
            if cut_at(decode(lm().tokenizer, [ids[:end]])[0], sampling.stop)[1]:
                ids = ids[:end]
                break
        found.append(ids)
    return found


def token_logprobs(prompt: str, ids: list[int]) -> list[float]:
    """log π of each token, by one full pass."""
    start = list(encode_prompt(lm().tokenizer, prompt))
    with torch.inference_mode():
        logits = lm().model(input_ids=torch.tensor([start + ids])).logits[0].double()
    logprobs = logits.log_softmax(-1)
    return [float(logprobs[len(start) + k - 1, token]) for k, token in enumerate(ids)]


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of_tests: OpenAIServer

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        found = [{"id": name, "object": "model"} for name in self.server_of_tests.models]
        self._say(200, {"object": "list", "data": found})

    def do_POST(self) -> None:
        owner = self.server_of_tests
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with owner.lock:
            owner.received.append((self.path, body))
            owner.asked.append(time.monotonic())
            owner.keys.append(self.headers.get("Authorization", "").removeprefix("Bearer "))
            owner.in_flight += 1
            owner.most_in_flight = max(owner.most_in_flight, owner.in_flight)
            refusal = owner.refusals.pop(0) if owner.refusals else self._refusal(body)
        try:
            time.sleep(owner.delay)
            if refusal is not None:
                status, headers, message = refusal
                self._say(status, {"error": {"message": message}}, headers)
                return
            reply = owner.reply(self.path, body)
        finally:
            with owner.lock:
                owner.in_flight -= 1
        with owner.lock:
            owner.answered.append((self.path, body))
        self._say(200, reply)

    def _refusal(self, body: dict[str, Any]) -> tuple[int, dict[str, str], str] | None:
        owner = self.server_of_tests
        if owner.key is not None and owner.keys[-1] != owner.key:
            return 401, {}, f"Incorrect API key provided: {owner.keys[-1]}."
        if self.path not in ("/v1/completions", "/v1/chat/completions"):
            return 404, {}, f"there is no {self.path}"
        if body["model"] not in owner.models:
            return 404, {}, f"The model `{body['model']}` does not exist."
        for name in owner.rejects:
            if name in body:
                remedy = " Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
                return 400, {}, f"Unsupported parameter: '{name}'.{remedy}"
        return None

    def _say(
        self, status: int, reply: dict[str, Any], headers: dict[str, str] | None = None
    ) -> None:
        data = json.dumps(reply).encode()
        try:
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            pass  # whoever asked was killed
