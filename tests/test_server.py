"""The client and its journal, against a real server on loopback; what it may do, that server does."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import openai_server
import tiny_models
from openai_server import OpenAIServer, contents
from whichpairs.endpoint.client import Client, Request, ServerSettings
from whichpairs.endpoint.journal import Journal
from whichpairs.errors import UserError
from whichpairs.lm.encode import Encoded, encode_prompt
from whichpairs.lm.logprobs import completion_logprobs

CHAT = ({"role": "user", "content": "The film"},)
DRAW = {"n": 3, "max_tokens": 8, "seed": 5, "logprobs": True}


def client(server: OpenAIServer, **settings) -> Client:
    return Client(ServerSettings(server.url, **{"model": "tiny", "retries": 2, **settings}))


def requests(count: int, n: int = 2, **more) -> list[Request]:
    return [
        Request("completions", f"The film {i}", n=n, max_tokens=4, seed=i, **more)
        for i in range(count)
    ]


@pytest.mark.slow
def test_texts_ends_tokens_and_logprobs_are_the_models():
    with OpenAIServer() as server:
        plain = client(server).complete("The film", **DRAW)
        again = client(server).complete("The film", **DRAW)
        other = client(server).complete("The film", **{**DRAW, "seed": 6})
        chat = client(server).chat(CHAT, **DRAW)
    assert plain == again
    assert plain != other
    lm = openai_server.lm()
    for answers, text in ((plain, "The film"), (chat, openai_server.plain(list(CHAT)))):
        prompt = encode_prompt(lm.tokenizer, text)
        sampling = openai_server.Sampling(3, 8)
        drawn = openai_server.draw(lm, [prompt], sampling, seed=5)[0]
        logprobs = completion_logprobs(lm, [Encoded(prompt, one.ids) for one in drawn])
        assert [a.tokens for a in answers] == [len(one.ids) for one in drawn]
        assert [a.finish == "stop" for a in answers] == [one.finished for one in drawn]
        np.testing.assert_allclose([a.logprob for a in answers], logprobs, atol=1e-4)
        texts = openai_server.decode(lm.tokenizer, [one.ids for one in drawn])
        assert [a.text for a in answers] == texts


@pytest.mark.slow
def test_a_server_that_gives_fewer_answers_is_asked_again_with_other_seeds():
    with OpenAIServer(most=2, says_logprobs=False, says_usage=False) as server:
        answers = client(server).complete("The film", **{**DRAW, "n": 5})
    assert [body.get("n", 1) for _, body in server.answered] == [5, 3, 1]
    assert len({body["seed"] for _, body in server.answered}) == 3
    assert len({a.text for a in answers}) == 5
    assert {(a.tokens, a.logprob) for a in answers} == {(None, None)}


@pytest.mark.slow
def test_answers_do_not_depend_on_order_or_company():
    asked = requests(7)
    with OpenAIServer() as server:
        many = dict(client(server, requests_at_once=4).ask_all(asked))
        assert 2 <= server.most_in_flight <= 4
        one = dict(client(server, requests_at_once=1).ask_all(asked[::-1]))
        twice = dict(client(server).ask_all([asked[0], asked[1], asked[0]]))
    assert many == {6 - place: answers for place, answers in one.items()}
    assert twice == {0: many[0], 1: many[1], 2: many[0]}
    assert len(server.answered) == 7 + 7 + 2


def test_answers_come_as_they_are_ready():
    class Slow(OpenAIServer):
        def reply(self, path, body):
            time.sleep(0.6 if body["prompt"] == "The film 0" else 0.0)
            return super().reply(path, body)

    with Slow() as server:
        places = [place for place, _ in client(server, requests_at_once=2).ask_all(requests(4))]
    assert places[-1] == 0
    assert sorted(places) == [0, 1, 2, 3]


@pytest.mark.slow
def test_refusals_are_waited_out():
    wait = (429, {"Retry-After": "0.4"}, "slow down")
    with OpenAIServer(refusals=[wait, (500, {}, "oops")]) as server:
        answers = client(server).complete("The film", n=1, max_tokens=3)
    assert len(answers) == 1
    first, second, third = server.asked
    assert 0.4 <= second - first < 1.5
    assert 0.3 <= third - second < 3  # 1 s, less a random quarter


def test_requests_a_minute():
    with OpenAIServer(refusals=[(500, {"Retry-After": "0.001"}, "once")]) as server:
        limited = client(server, requests_per_minute=60 / 0.2)
        assert len(list(limited.ask_all(requests(3, n=1)))) == 3
    gaps = np.diff(server.asked)  # the one that was sent again is counted too
    assert len(gaps) == 3
    assert gaps.min() > 0.1
    assert gaps.sum() > 0.55


SECRET = "sk-very-secret-key"


def test_the_servers_no_is_one_line_without_the_key(monkeypatch):
    monkeypatch.setenv("MY_KEY", SECRET)
    with OpenAIServer(key="another") as server:
        with pytest.raises(UserError) as caught:
            client(server, key_variable="MY_KEY").complete("x")
        assert server.keys == [SECRET]
        server.key = SECRET
        assert client(server, key_variable="MY_KEY").complete("x", max_tokens=2)
        assert "says 401: Incorrect API key provided: ***." in str(caught.value)
        assert "environment variable MY_KEY" in str(caught.value)
        server.key = None
        with pytest.raises(UserError, match=r"says 404: The model `nope` does not exist"):
            client(server, model="nope").complete("x")
        server.refusals = [(400, {}, "context\nlength " + "x" * 900)]
        with pytest.raises(UserError, match=r"says 400: context\\nlength x+…$"):
            client(server).complete("x")
        server.refusals = [(429, {"Retry-After": "0.01"}, "quota")] * 9
        with pytest.raises(UserError, match=r"says 429: quota. after 2 retries it still does"):
            client(server).complete("x")
        assert len(server.refusals) == 6
        server.refusals = []
        web_page = Client(ServerSettings(server.url[:-3] + "/nope", "tiny", retries=0))
        with pytest.raises(UserError, match="most end in /v1"):
            web_page.complete("x")


def test_a_server_that_echoes_what_it_was_sent_tells_no_secret(monkeypatch):
    monkeypatch.setenv("MY_KEY", SECRET)
    with OpenAIServer() as server:
        server.reply = lambda path, body: {"echo": server.keys}  # type: ignore[method-assign]
        for place in ("//", "//me:pass%20word@"):
            url = server.url.replace("//", place)
            settings = ServerSettings(url, "tiny", key_variable="MY_KEY")
            with pytest.raises(UserError, match="as the OpenAI protocol says") as caught:
                Client(settings).complete("x")
            told = str(caught.value) + repr(settings)
            assert "***" in told
            for secret in (SECRET, "pass word", "pass%20word", "bWU6cGFzcyB3b3Jk"):
                assert secret not in told
    assert "t0ken" in ServerSettings("http://h/v1?token=t0ken", "tiny").secrets


def test_nobody_there_is_said_at_once():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = time.monotonic()
    settings = ServerSettings(f"http://me:pass-word@127.0.0.1:{port}/v1?token=t0ken", "tiny")
    with pytest.raises(UserError) as caught:
        Client(settings).complete("x")
    assert time.monotonic() - start < 3
    assert f"http://127.0.0.1:{port}/v1 is not" in str(caught.value)
    assert "pass-word" not in str(caught.value)
    assert "t0ken" not in str(caught.value)
    assert "pass-word" not in settings.public_url


def test_what_a_server_refuses_and_can_be_done_without():
    with OpenAIServer(rejects=("max_tokens", "logprobs")) as server:
        asking = client(server, requests_at_once=3)
        found = dict(asking.ask_all(requests(5, logprobs=True)))
    assert len(found) == 5
    assert all(a.logprob is None for answers in found.values() for a in answers)
    assert all("max_completion_tokens" in body for _, body in server.answered)
    with OpenAIServer(rejects=("temperature",)) as server:
        assert client(server).complete("x", temperature=0.0, max_tokens=1)
        assert "temperature" not in server.answered[0][1]
        with pytest.raises(UserError, match="Unsupported parameter: 'temperature'"):
            client(server).complete("x", temperature=0.5, max_tokens=1)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"base_url": "user:pass@localhost/v1"}, "http:// or https:// URL; got something else"),
        ({"base_url": "http://h:port/v1"}, "http:// or https:// URL"),
        ({"base_url": "http://u:p@h/\x01v1"}, "http:// or https:// URL; got something else"),
        ({"base_url": "http://a..b/v1"}, "http:// or https:// URL"),
        ({"model": " "}, "name of its model"),
        ({"requests_at_once": 0}, "requests at once"),
        ({"requests_per_minute": 0.0}, "requests per minute"),
        ({"retries": -1}, "retries"),
        ({"timeout": 0.0}, "timeout"),
        ({"timeout": float("inf")}, "at most a day"),
        ({"key_variable": SECRET}, "never given; got what is no variable's name$"),
    ],
)
def test_settings_out_of_range(settings, rule):
    with pytest.raises(UserError, match=rule):
        ServerSettings(**{"base_url": "http://localhost/v1", "model": "m", **settings})


def test_a_journal_drops_a_torn_line_and_goes_on(tmp_path: Path):
    path = tmp_path / "in" / "answers.jsonl"
    journal = Journal(path)
    journal.add("one", ["é", 1])
    journal.add("two", None)
    journal.add("one", "later")
    whole = path.read_bytes()
    assert whole.count(b"\n") == 2
    for cut in range(1, 20):  # a kill inside the second line leaves the first
        path.write_bytes(whole[:-cut])
        again = Journal(path)
        assert again.get("one") == ["é", 1]
        assert ("two" in again) is False
        again.add("three", cut)
        again.close()
        assert Journal(path).get("three") == cut
        assert len(Journal(path)) == 2
    path.write_bytes(b"\0" * 40 + b"\n[1]\n" + whole)  # a lost block, and a line of something else
    assert len(Journal(path)) == 2


def test_what_is_in_the_journal_is_not_asked(tmp_path: Path):
    asked = requests(6, n=3)
    with OpenAIServer(most=2) as server:
        journal = Journal(tmp_path / "a.jsonl")
        first = dict(client(server).ask_all(asked[:4], journal=journal))
        server.received.clear()
        again = Journal(tmp_path / "a.jsonl")
        second = dict(client(server).ask_all(asked, journal=again))
    assert {k: v for k, v in second.items() if k < 4} == first
    assert {body["prompt"] for _, body in server.received} == {"The film 4", "The film 5"}
    assert set(contents(server.answered)) == set(Journal(tmp_path / "a.jsonl")._answers)
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert all(set(json.loads(line)) == {"key", "answer"} for line in lines)


def test_an_error_keeps_what_came_before(tmp_path: Path):
    with OpenAIServer() as server:
        refused = [*requests(5), Request("completions", "no", top_k=3, max_tokens=1)]
        server.rejects = ("top_k",)
        journal = Journal(tmp_path / "a.jsonl")
        with pytest.raises(UserError, match="Unsupported parameter: 'top_k'"):
            list(client(server, requests_at_once=1).ask_all(refused, journal=journal))
    assert len(Journal(tmp_path / "a.jsonl")) == 5


@pytest.mark.slow
def test_transformers_serve_answers_us(tmp_path: Path):
    """It leaves out `n` and log-probabilities."""
    model = tmp_path / "chat"
    tiny = tiny_models.folder("gpt2")
    model.mkdir()
    for file in tiny.iterdir():
        (model / file.name).write_bytes(file.read_bytes())
    tiny_models.chat_tokenizer().save_pretrained(model)
    drawing = {"do_sample": True, "eos_token_id": 0, "pad_token_id": 0}
    (model / "generation_config.json").write_text(json.dumps(drawing))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "transformers"), "serve", str(model)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    with (tmp_path / "log").open("w") as log:
        serving = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        )
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and serving.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        found = Client(
            ServerSettings(f"http://127.0.0.1:{port}/v1", str(model), requests_at_once=1)
        )
        answers = found.chat(CHAT, n=3, max_tokens=6, seed=1, logprobs=True)
        plain = found.complete("The film", n=2, max_tokens=6, seed=1)
    except UserError as error:
        raise AssertionError((tmp_path / "log").read_text()[-2000:]) from error
    finally:
        serving.kill()
        serving.wait()
    assert len(answers) == 3
    assert len({a.text for a in answers}) == 3
    assert all(a.finish in ("stop", "length") and 1 <= a.tokens <= 6 for a in answers)
    assert {a.logprob for a in answers} == {None}
    assert len({a.text for a in plain}) == 2
