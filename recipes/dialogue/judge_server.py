"""An OpenAI-compatible server on loopback that holds the recipe's small judge.

    .venv/bin/python recipes/dialogue/judge_server.py --port 8123
    whichpairs label --run RUN --judge http://127.0.0.1:8123/v1 --judge-model small-judge-0

It reads the question that `whichpairs.label.judge` asks (the two answers between numbered marks) and replies with one
line of JSON. Its opinion of a question is

    margin = [score(A) − score(B)] / TEMPERATURE + noise + FAVOUR

with the score of recipes/dialogue/judge, standard logistic noise, so that without favour the answers are draws of a
Bradley–Terry model, and FAVOUR logits for the answer shown first, as judges have. The noise is a function of the two
answers, the prompt and the number that ends the model's name, and changes its sign with the order: the same question is
answered alike today and tomorrow, and both orders disagree only where the favour decides. Below TIE it is a tie.
"""

import argparse
import hashlib
import json
import math
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from whichpairs.evaluate.reward import TextReward, load_reward

JUDGE = Path(__file__).parent / "judge"
TEMPERATURE, FAVOUR, TIE = 0.2, 0.15, 0.05
"""Units of the score; logits; logits."""
MODEL = re.compile(r"small-judge-(\d{1,9})")
LARGEST_BODY = 1 << 20
_MARKED = r"\[{name} ([0-9a-f]{{16}})\]\n(.*?)\n\[end of {name} \1\]"


class SmallJudge:
    """Answers a question as the module says.

    Args:
        reward: what it likes.
    """

    def __init__(self, reward: TextReward) -> None:
        self.reward = reward
        self._lock = threading.Lock()

    def answer(self, model: str, question: str) -> str:
        """One line of JSON.

        Raises:
            ValueError: another model's name, or no such question.
        """
        seed = MODEL.fullmatch(model)
        if seed is None:
            raise ValueError(f"there is no model {model!r}; there is small-judge-N")
        margin = self.margin(*read_question(question), seed=int(seed[1]))
        winner = "tie" if abs(margin) < TIE else "A" if margin > 0 else "B"
        return json.dumps({"winner": winner})

    def margin(self, prompt: str, first: str, second: str, *, seed: int) -> float:
        """How far the answer shown first is ahead, logits."""
        with self._lock:
            ours, theirs = self.reward([first, second])
        if first == second:
            return FAVOUR
        ends = sorted((first, second))
        sign = 1.0 if ends[0] == first else -1.0
        noise = sign * logistic(json.dumps([seed, prompt, *ends]))
        return float((ours - theirs) / TEMPERATURE + noise + FAVOUR)


def read_question(text: str) -> tuple[str, str, str]:
    """Prompt, first and second answer of what `whichpairs.label.judge` asks.

    Raises:
        ValueError: it is no such question.
    """
    found, at = [], 0
    for name in ("prompt", "answer A", "answer B"):
        match = re.compile(_MARKED.format(name=name), re.DOTALL).search(text, at)
        if match is None:
            raise ValueError(f"the question has no {name!r} between marks")
        found.append(match[2])
        at = match.end()
    return found[0], found[1], found[2]


def logistic(key: str) -> float:
    """A draw of the standard logistic distribution that `key` alone decides."""
    bits = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    u = (bits + 0.5) / 2.0**64
    return math.log(u) - math.log1p(-u)


class Handler(BaseHTTPRequestHandler):
    """The two routes that a judge needs: the list of models, and chat completions."""

    protocol_version = "HTTP/1.1"  # one connection serves many questions
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave together
    judge: SmallJudge

    def do_GET(self) -> None:
        if self.path.rstrip("/") == "/v1/models":
            self._reply(200, {"object": "list", "data": [{"id": "small-judge-0"}]})
        else:
            self._refuse(404, f"there is no {self.path}")

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        if self.path.rstrip("/") != "/v1/chat/completions" or not 0 < size <= LARGEST_BODY:
            self.close_connection = True  # the body stays unread
            return self._refuse(404, f"there is no {self.path} for {size} bytes")
        try:
            body = json.loads(self.rfile.read(size))
            model, question = body["model"], body["messages"][-1]["content"]
            text = self.judge.answer(model, question)
        except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
            return self._refuse(400, str(error))
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return self._reply(200, {"object": "chat.completion", "model": model, "choices": [choice]})

    def _refuse(self, code: int, why: str) -> None:
        self._reply(code, {"error": {"message": why, "type": "invalid_request_error"}})

    def _reply(self, code: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of every request."""


class Server(ThreadingHTTPServer):
    """Many connections at once, which end with the process."""

    daemon_threads = True
    request_queue_size = 64


@contextmanager
def serving(folder: Path = JUDGE, port: int = 0) -> Iterator[str]:
    """The judge in a thread of this process, while the block runs; yields its base URL."""
    handler = type("JudgeHandler", (Handler,), {"judge": SmallJudge(load_reward(folder))})
    with Server(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        finally:
            server.shutdown()
            thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--judge", type=Path, default=JUDGE)
    parser.add_argument("--port", type=int, default=8123)
    options = parser.parse_args()
    with serving(options.judge, options.port) as url:
        print(f"The judge answers at {url} as small-judge-N; Ctrl-C ends it.", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
