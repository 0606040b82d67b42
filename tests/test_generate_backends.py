"""Pools from servers, from several sources, with stop strings; near-duplicates; and real kills."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import openai_server
import tiny_models
from cli import fails, ok, tree, write_jsonl
from openai_server import OpenAIServer, contents
from whichpairs.cli import main
from whichpairs.endpoint.journal import Journal
from whichpairs.errors import UserError
from whichpairs.generate.backend import Sampling, cut_at
from whichpairs.generate.transformers import sample
from whichpairs.lm.encode import decode, encode_prompt
from whichpairs.lm.model import load
from whichpairs.lm.sampler import draw
from whichpairs.pool.near_duplicates import near_duplicates

KILLS = int(os.environ.get("WHICHPAIRS_KILLS", "2"))
"""How often the jobs of the resume tests are killed; 20 is what we measure by hand."""
MODEL = openai_server.IMDB / "model"
PROMPTS = [f"The film {k} was" for k in range(6)]


def prompt_file(folder: Path, prompts=PROMPTS) -> Path:
    return write_jsonl(folder / "prompts.jsonl", [{"prompt": p} for p in prompts])


def completions(run: Path) -> pl.DataFrame:
    return pl.read_parquet(run / "pool" / "completions.parquet")


@pytest.mark.slow
def test_a_stop_string_ends_a_completion_where_the_full_one_has_it():
    lm, stop = openai_server.lm(), ("e m", "s a", ".")  # of several tokens, and of one
    prompts, long, short = PROMPTS[:3], Sampling(12, 20), Sampling(12, 20, stop=stop)
    found = sample(lm, prompts, short, seed=3)
    whole = draw(lm, [encode_prompt(lm.tokenizer, p) for p in prompts], long, seed=3)
    stopped = 0
    for samples, drawn in zip(found, whole, strict=True):
        for one, full in zip(samples, drawn, strict=True):
            ids = list(full.ids)
            texts = [decode(lm.tokenizer, [ids[:k]])[0] for k in range(1, len(ids) + 1)]
            ends = [k for k, text in enumerate(texts, 1) if any(s in text for s in stop)]
            end = ends[0] if ends else len(ids)
            assert one.tokens == end
            assert one.text == min((texts[end - 1].split(s)[0] for s in stop), key=len)
            assert one.finished == (bool(ends) or full.finished)
            prompt = next(p for p, many in zip(prompts, found, strict=True) if many is samples)
            logprob = sum(openai_server.token_logprobs(prompt, ids[:end]))
            assert one.logprob == pytest.approx(logprob, abs=1e-3)
            stopped += bool(ends)
    assert 5 < stopped < 36


def test_cut_at():
    assert cut_at("one two", ("two", "e t")) == ("on", True)
    assert cut_at("one", ("two",)) == ("one", False)
    with pytest.raises(UserError, match="stop string must not be empty"):
        Sampling(1, stop=("a", ""))


def jaccard_twin(texts: list[str]) -> list[bool]:
    def shingles(text):
        words = "".join(c if c.isalnum() or c == "_" else " " for c in text.casefold()).split()
        if len(words) < 3:
            return {tuple(words) or (text.strip(),)}
        return {tuple(words[i : i + 3]) for i in range(len(words) - 2)}

    sets = [shingles(t) for t in texts]
    return [
        any(len(a & b) / len(a | b) >= 0.8 - 1e-9 for b in sets[:i]) for i, a in enumerate(sets)
    ]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.text("ab. ", max_size=24), min_size=1, max_size=6), min_size=1, max_size=3)
)
def test_near_duplicates_are_those_of_the_slow_twin(groups):
    flat = [text for group in groups for text in group]
    starts = np.cumsum([0, *map(len, groups)])
    want = [x for group in groups for x in jaccard_twin(group)]
    assert near_duplicates(flat, starts).tolist() == want


def test_near_duplicates_by_hand():
    base = "one two three four five six seven eight nine ten eleven twelve"
    texts = [base, base.upper() + "!", base + " thirteen", base.replace("six", "6"), "Hm", "hm."]
    assert near_duplicates(texts, np.array([0, 6])).tolist() == [
        False,
        True,
        True,
        False,
        False,
        True,
    ]
    assert not near_duplicates([base, base], np.array([0, 1, 2])).any()
    many = [f"{base} {k} {k % 7} {k % 5}" for k in range(400 * 32)]
    start = time.monotonic()
    near_duplicates(many, np.arange(0, 400 * 32 + 1, 32))
    assert time.monotonic() - start < 5


@pytest.mark.slow
def test_a_pool_from_a_server_is_the_models(tmp_path: Path, capsys):
    file = prompt_file(tmp_path)
    with OpenAIServer() as server:
        shared = ["--prompts", file, "-n", 3, "--max-new-tokens", 8, "--stop", " the"]
        made = ok(
            capsys,
            *["generate", "--run", tmp_path / "run", "--model", "tiny", "--seed", 4],
            *["--server", server.url.replace("//", "//user:pass-word@"), *shared],
        )
    found = completions(tmp_path / "run")
    assert len(server.answered) == len(PROMPTS)
    for (_, body), text in zip(
        sorted(server.answered, key=lambda a: a[1]["prompt"]), PROMPTS, strict=True
    ):
        assert (body["prompt"], body["n"], body["stop"]) == (text, 3, [" the"])
        drawn = sample(
            openai_server.lm(), [text], Sampling(3, 8, stop=(" the",)), seed=body["seed"]
        )[0]
        ids = pl.read_parquet(tmp_path / "run/pool/prompts.parquet").filter(prompt=text)[
            "prompt_id"
        ]
        rows = found.filter(pl.col("prompt_id") == ids[0])
        unique = {one.text: one for one in reversed(drawn) if one.text.strip()}
        assert set(rows["completion"]) == set(unique)
        for row in rows.iter_rows(named=True):
            one = unique[row["completion"]]
            assert row["finished"] == one.finished
            assert row["logprob"] == pytest.approx(one.logprob, abs=1e-3)
            assert row["source"] == "tiny"
    assert made["near_duplicate_share"] == made["near_duplicates"] / made["completions"]
    held = b"".join(p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file())
    assert b"pass-word" not in held


def test_what_a_pool_leaves_out_is_said(tmp_path: Path, capsys):
    """A stop string that begins some completions leaves empty samples, and prompts without any other."""
    asked = [f"Film {k} was" for k in range(12)]
    file = prompt_file(tmp_path, [*asked, asked[0], asked[1]])
    words = ["generate", "--run", tmp_path / "run", "--prompts", file, "--model", MODEL, "-n", 1]
    words += ["--stop", "e", "--max-new-tokens", 3]
    with pytest.raises(SystemExit):
        main([str(word) for word in words])
    said = capsys.readouterr().out
    result = json.loads((tmp_path / "run" / "pool" / "manifest.json").read_text())["result"]
    pool, empty = completions(tmp_path / "run"), result["empty_samples_dropped"]
    assert 0 < empty == 12 - len(pool) == 12 - pool["prompt_id"].n_unique()
    assert f" {empty} empty samples left out." in said
    assert f" {empty} prompts got nothing but empty samples and are not in the pool." in said
    assert " 2 prompts repeat another of the file and were not asked again." in said
    assert f" {len(pool)} prompts with one completion: never picked." in said
    cut = int((~pool["finished"]).sum())
    assert cut > 0
    assert f" {cut} completions were cut off at --max-new-tokens." in said


def test_chat_and_system_prompts_are_the_pools(tmp_path: Path, capsys):
    talk = [{"role": "user", "content": "Hi"}]
    led = [{"role": "system", "content": "Own"}, *talk]
    file = prompt_file(tmp_path, ["The film", talk, led, talk])
    with OpenAIServer(says_logprobs=False) as server:
        base = ["generate", "--prompts", file, "-n", 2, "--max-new-tokens", 6]
        base += ["--server", server.url, "--model", "tiny"]
        assert ok(capsys, *base, "--run", tmp_path / "mixed")["prompts"] == 3
        paths = sorted(path for path, _ in server.answered)
        assert paths == ["/v1/chat/completions"] * 2 + ["/v1/completions"]
        server.answered.clear()
        ok(capsys, *base, "--run", tmp_path / "led", "--api", "chat", "--system", "Be brief")
        assert "takes plain prompts" in fails(
            capsys, *base, "--run", tmp_path / "no", "--api", "completions"
        )
        assert "chat or completions" in fails(capsys, *base, "--run", tmp_path / "no", "--api", "x")
    brief = {"role": "system", "content": "Be brief"}
    want = [[brief, {"role": "user", "content": "The film"}], [brief, *talk], led]
    asked = [body["messages"] for _, body in server.answered]
    assert sorted(asked, key=str) == sorted(want, key=str)
    prompts = pl.read_parquet(tmp_path / "led/pool/prompts.parquet")
    assert [json.loads(m) for m in prompts["messages"]] == want
    assert "logprob" not in completions(tmp_path / "led").columns


@pytest.mark.slow
def test_several_sources_in_one_pool(tmp_path: Path, capsys):
    file = prompt_file(tmp_path)
    with OpenAIServer() as server:
        (tmp_path / "sources.toml").write_text(
            f'[[source]]\nname = "cold"\nmodel = "{MODEL}"\ntemperature = 0.5\nn = 3\n'
            f'[[source]]\nname = "hot"\nmodel = "{MODEL}"\n'
            f'[[source]]\nserver = "{server.url}"\nmodel = "tiny"\nn = 1\nstop = ["."]\n'
        )
        command = ["generate", "--run", tmp_path / "run", "--prompts", file, "-n", 2]
        command += ["--max-new-tokens", 12, "--sources", tmp_path / "sources.toml", "--seed", 9]
        ok(capsys, *command)
        assert ok(capsys, *command)["done_before"]
        assert "was" in fails(capsys, *command[:-1], 8)
        assert len(server.answered) == len(PROMPTS)
    found = completions(tmp_path / "run")
    assert dict(found.group_by("source").len().iter_rows()) == {
        "cold": found.filter(source="cold").height,
        "hot": 2 * 6,
        "tiny": 6,
    }
    alone = sample(openai_server.lm(), PROMPTS, Sampling(3, 12, 0.5), seed=9)
    cold = {s.text for many in alone for s in many}
    assert set(found.filter(source="cold")["completion"]) == cold
    same_seed = sample(openai_server.lm(), PROMPTS, Sampling(2, 12), seed=9)
    hot = set(found.filter(source="hot")["completion"])
    assert not hot & {s.text for many in same_seed for s in many}  # a stream of its own
    manifest = json.loads((tmp_path / "run/pool/manifest.json").read_text())["settings"]
    assert [s["name"] for s in manifest["sources"]] == ["cold", "hot", "tiny"]
    ok(capsys, "report", "--run", tmp_path / "run")
    assert "--sources FILE" in (tmp_path / "run" / "report.html").read_text()


MISTAKES = {
    "no TOML": ("source = ", "TOML or JSON"),
    "no source": ("x = 1", "begin each source"),
    "unknown setting": ('[[source]]\nmodle = "x"', "has 'modle'"),
    "wrong kind": ('[[source]]\nn = "x"', "n must be a whole number"),
    "out of range": ("[[source]]\ntemperature = 0", "temperature must be above 0"),
    "one name twice": ("[[source]]\n[[source]]\nn = 1", "different names"),
    "no such back-end": ('[[source]]\nbackend = "x"', "a backend is one of"),
    "server without URL": ('[[source]]\nbackend = "server"', "base URL"),
    "no such precision": ('[[source]]\ndtype = "int8"', "dtype must be one of"),
    "stop of numbers": ("[[source]]\nstop = [1]", "list of texts"),
}


def test_a_pool_in_bfloat16(tmp_path: Path, capsys):
    """Weights and products are rounded, and the manifest says so."""
    command = ["generate", "--prompts", prompt_file(tmp_path), "--model", MODEL, "-n", 3]
    command += ["--max-new-tokens", 12, "--seed", 9, "--run"]
    for dtype in ("float32", "bfloat16"):
        ok(capsys, *command, tmp_path / dtype, "--dtype", dtype)
    half = completions(tmp_path / "bfloat16")
    lm = load(MODEL, device="cpu", dtype="bfloat16")
    drawn = sample(lm, PROMPTS, Sampling(3, 12), seed=9)
    assert set(half["completion"]) == {s.text for many in drawn for s in many}
    full = completions(tmp_path / "float32")
    assert half["logprob"].to_list() != full["logprob"].to_list()
    written = [
        json.loads((tmp_path / dtype / "pool/manifest.json").read_text())["settings"].get("dtype")
        for dtype in ("float32", "bfloat16")
    ]
    assert written == [None, "bfloat16"]
    assert "dtype" in fails(capsys, *command, tmp_path / "bfloat16")  # another pool


@pytest.mark.parametrize("case", MISTAKES)
def test_files_that_are_no_sources(case: str, tmp_path: Path, capsys):
    text, message = MISTAKES[case]
    (tmp_path / "s.toml").write_text(text)
    command = ["generate", "--run", tmp_path / "run", "--prompts", prompt_file(tmp_path)]
    before = tree(tmp_path)
    assert message in fails(capsys, *command, "--model", MODEL, "--sources", tmp_path / "s.toml")
    assert tree(tmp_path) == before


def test_a_server_that_says_no_leaves_nothing(tmp_path: Path, capsys):
    command = ["generate", "--run", tmp_path / "run", "--prompts", prompt_file(tmp_path)]
    before = tree(tmp_path)
    with OpenAIServer() as server:
        there = [*command, "--server", server.url]
        assert "The model `nope` does not exist" in fails(capsys, *there, "--model", "nope")
        assert tree(tmp_path) == before
        assert "needs a model" in fails(capsys, *there)
        assert "base URL" in fails(capsys, *command, "--model", "m", "--backend", "server")
        assert "vllm" in fails(capsys, *command, "--model", "m", "--backend", "vllm")
        for share, rule in ((1.5, "below 1"), (0.99, "leave prompts to pick from")):
            assert rule in fails(capsys, *there, "--model", "tiny", "--holdout", share)
        assert not server.answered  # nobody pays before the share is known to be right
        assert tree(tmp_path) == before
        # Five prompts answered, then no more: they are kept, and the rest is asked later.
        more = [*there, "--model", "tiny", "-n", 1, "--requests-at-once", 1, "--retries", 0]
        more += ["--max-new-tokens", 4]

        class Tired(OpenAIServer):
            def reply(self, path, body):
                if len(self.answered) >= 4:
                    self.refusals = [(500, {}, "tired")]
                return super().reply(path, body)

        with Tired() as tired:
            more[more.index(server.url)] = tired.url
            assert "says 500: tired" in fails(capsys, *more)
            had = contents(tired.answered)
        assert "--server URL" in ok(capsys, "status", "--run", tmp_path / "run")["next"]
        more[more.index(tired.url)] = server.url  # the same model elsewhere
        ok(capsys, *more)
    assert len(had) == 5
    assert not set(had) & set(contents(server.answered))
    assert len(server.answered) == 1


def alike(left: Path, right: Path) -> None:
    """Two pools, byte for byte but for the times in their manifests."""
    for name in ("prompts", "completions", "pairs"):
        file = Path("pool") / f"{name}.parquet"
        assert (left / file).read_bytes() == (right / file).read_bytes()
    assert {p.name for p in left.iterdir()} == {p.name for p in right.iterdir()}


def quietly(arguments: list[str]) -> None:
    """The command line in a forked process."""
    from whichpairs.cli import main

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    import torch

    torch.set_num_threads(1)
    main(arguments)


@pytest.mark.slow
def test_a_server_is_never_asked_twice_whatever_is_killed(tmp_path: Path, capsys):
    prompts = [f"{p} {k}" for k in range(12) for p in PROMPTS]
    file, at_once, rng = prompt_file(tmp_path, prompts), 3, random.Random(0)
    command = ["generate", "--prompts", str(file), "-n", "2", "--max-new-tokens", "3"]
    command += ["--model", "tiny", "--requests-at-once", str(at_once)]
    with OpenAIServer(most=1) as server:
        ok(capsys, *command, "--server", server.url, "--run", tmp_path / "whole")
    journal, had = tmp_path / "run/pool.partial/answers.jsonl", set()
    command += ["--run", str(tmp_path / "run")]
    with OpenAIServer(most=1) as server:
        command += ["--server", server.url]
        for _ in range(KILLS):
            start, seen = len(server.answered), len(server.received)
            stop = start + rng.randrange(1, 2 * 2 * len(prompts) // max(KILLS, 1) // 2)
            killed = subprocess.Popen([sys.executable, "-m", "whichpairs.cli", *command])
            while len(server.answered) < stop and killed.poll() is None:
                time.sleep(0.001)
            time.sleep(rng.random() * 0.01)
            os.kill(killed.pid, signal.SIGKILL)
            assert killed.wait() == -signal.SIGKILL
            time.sleep(0.1)  # what was still being answered
            assert not had & set(contents(server.received[seen:]))
            had = set(Journal(journal)._answers)
        last = len(server.received)
        assert 0 < len(had) < 2 * len(prompts)
        ok(capsys, *command)
        assert not had & set(contents(server.received[last:]))
        # Only what was in flight at a kill may have been asked again.
        assert len(server.received) <= 2 * len(prompts) + KILLS * at_once
        assert len(set(contents(server.received))) == 2 * len(prompts)
    alike(tmp_path / "run", tmp_path / "whole")


@pytest.mark.slow
def test_a_local_pool_is_the_same_whatever_is_killed(tmp_path: Path, capsys):
    """Forked processes, torch loaded once: each is killed by the system all the same."""
    forks = multiprocessing.get_context("forkserver")
    needed = ["torch", "transformers.models.gpt2.modeling_gpt2", "whichpairs.cli"]
    forks.set_forkserver_preload([*needed, "whichpairs.generate.transformers"])
    file = prompt_file(tmp_path, [f"{p} {k}" for k in range(100) for p in PROMPTS])
    command = ["generate", "--prompts", str(file), "-n", "2", "--max-new-tokens", "4"]
    command += ["--model", str(tiny_models.folder()), "--run"]
    ok(capsys, *command, tmp_path / "whole")
    run, rng, deaths, spell = tmp_path / "run", random.Random(1), 0, 60.0

    def chunks() -> int:
        return len(list(run.glob("pool.partial/???-*.jsonl")))

    for _ in range(KILLS):
        start, had = time.monotonic(), chunks()
        job = forks.Process(target=quietly, args=([*command, str(run)],))
        job.start()
        until = start + spell * rng.uniform(0.6, 1.4)  # about when its first chunk is written
        while job.is_alive() and time.monotonic() < until and chunks() == had:
            time.sleep(0.001)
        time.sleep(rng.random() * 0.05)
        job.kill()  # SIGKILL
        job.join()
        deaths += job.exitcode == -signal.SIGKILL
        spell = min(spell, time.monotonic() - start)
    assert deaths > KILLS / 2
    assert chunks() > 0 or (run / "pool").exists()
    ok(capsys, *command, run)
    alike(run, tmp_path / "whole")
