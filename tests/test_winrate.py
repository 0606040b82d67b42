"""Win rates: by hand, and from a judge on loopback through the command line, killed and resumed."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import tiny_models
from cli import fails, ok, tree, write_jsonl
from openai_server import OpenAIServer
from whichpairs.errors import UserError
from whichpairs.evaluate.winrate import win_rate
from whichpairs.label.judge import Verdict
from whichpairs.lm.optional import quiet
from whichpairs.run.folder import create_run, open_run


def test_by_hand() -> None:
    verdicts = [
        Verdict("a", "a", "a"),
        Verdict("b", "b", "b"),
        Verdict("a", "a", "a"),  # of the third prompt alone
        Verdict("tie", "a", "b"),  # the order changed the answer
        Verdict("tie", "tie", "tie"),
        None,  # equal texts
        Verdict("tie", None, "a"),
        Verdict("tie", None, None),
    ]
    got = win_rate(verdicts, np.array([4, 4, 7, 9, 9, 9, 4, 4]))
    means = np.array([(1 + 0 + 0.5 + 0.5) / 4, 1.0, 0.5])
    assert got.rate.mean == pytest.approx(means.mean())
    error = means.std(ddof=1) / np.sqrt(3)
    assert got.rate.standard_error == pytest.approx(error)
    more = np.append(means, [0.0, 1.0])  # a share: one prompt won and one lost are added
    low = more.mean() - stats.t.ppf(0.975, 4) * more.std(ddof=1) / np.sqrt(5)
    assert got.rate.low == pytest.approx(low)
    assert got.rate.high == 1.0
    counts = (got.prompts, got.comparisons, got.wins, got.losses, got.ties)
    assert counts == (3, 8, 2, 1, 5)
    assert (got.identical, got.disagreements, got.unread) == (1, 1, 2)
    with pytest.raises(UserError, match="at least one comparison"):
        win_rate([], np.array([], dtype=np.int64))


def test_prompts_are_the_unit() -> None:
    """Eight copies of a prompt's verdict make nothing surer."""
    verdicts = [Verdict("a", "a", "a"), Verdict("b", "b", "b"), Verdict("a", "a", "a")]
    one = win_rate(verdicts, np.arange(3))
    many = win_rate([v for v in verdicts for _ in range(8)], np.repeat(np.arange(3), 8))
    assert many.rate == one.rate
    assert many.comparisons == 24


@pytest.fixture
def run(tmp_path: Path, capsys) -> Path:
    """A run with five held-out prompts and one policy: the tiny model with other weights."""
    rows = [
        {"prompt": f"Prompt {p} is", "completion": c}
        for p in range(20)
        for c in (" good", " bad", " ugly")
    ]
    source = write_jsonl(tmp_path / "pool.jsonl", rows)
    run = tmp_path / "run"
    ok(capsys, "import", source, "--run", run, "--holdout", 0.25, "--seed", 3)
    add_policy(run, "001", tiny_models.lm("gpt2", 3))
    return run


def add_policy(run: Path, name: str, lm) -> None:
    """A policy as training leaves it."""

    def make(folder: Path) -> dict:
        with quiet():
            lm.model.save_pretrained(folder / "model")
        lm.tokenizer.save_pretrained(folder / "model")
        return {"policy": name, "reference": str(tiny_models.folder())}

    open_run(run).commit(("policies", name), "train", {}, {}, make)


OPTIONS = ["--samples", 3, "--max-new-tokens", 20, "--device", "cpu"]


def test_a_judge_on_loopback(run: Path, capsys) -> None:
    torch.set_num_threads(1)
    with OpenAIServer(bias=0.3) as server:
        options = ["--judge", server.url, "--judge-model", "judge", *OPTIONS]
        found = ok(capsys, "evaluate", "--run", run, *options)
        rows = (run / "judgements" / "001" / "comparisons.jsonl").read_text().splitlines()
        compared = [json.loads(row) for row in rows]
        assert len(compared) == found["win_rate"]["comparisons"] == 15
        margins = server_margins(compared)
        first, second = margins + 0.3 > 0, margins - 0.3 > 0  # does the policy's win, shown so
        same = np.array([row["policy"] == row["against"] for row in compared])
        worth = np.where(same | (first != second), 0.5, first)
        rate = found["win_rate"]
        assert rate["rate"]["mean"] == pytest.approx(worth.mean())
        assert rate["rate"]["standard_error"] == pytest.approx(
            worth.reshape(5, 3).mean(1).std(ddof=1) / np.sqrt(5)
        )
        assert rate["disagreements"] == int(np.sum(~same & (first != second)))
        assert rate["identical"] == int(same.sum())
        assert len(server.answered) == 2 * 15 - 2 * int(same.sum())
        assert found["position_bias"]["disagree"] == pytest.approx(
            np.mean((first != second)[~same])
        )
        assert rate["wins"] > 0 < rate["losses"]
        before = tree(run)
        assert ok(capsys, "evaluate", "--run", run, *options)["done_before"]
        assert tree(run) == before
        assert len(server.answered) == 2 * 15 - 2 * int(same.sum())
        turned = ok(capsys, "evaluate", "--run", run, *options, "--policy", "reference",
                    "--against", "001")  # fmt: skip
        assert turned["win_rate"]["rate"]["mean"] == pytest.approx(1 - worth.mean())
        itself = ok(capsys, "evaluate", "--run", run, *options, "--against", "001")
        assert itself["win_rate"]["identical"] == itself["win_rate"]["ties"] == 15
        assert itself["position_bias"]["first"] is None


def server_margins(compared: list[dict]) -> np.ndarray:
    from openai_server import reward

    return reward()([r["policy"] for r in compared]) - reward()([r["against"] for r in compared])


@pytest.mark.slow
def test_nothing_is_asked_twice(run: Path, capsys) -> None:
    torch.set_num_threads(1)
    with OpenAIServer() as server:
        options = ["--judge", server.url, "--judge-model", "judge", *OPTIONS]
        options += ["--requests-at-once", 1, "--retries", 0]
        server.refusals = [(400, {}, "no more")] * 50
        whole = server.reply

        def dies(path: str, body: dict) -> dict:
            if len(server.answered) == 7:
                server.refusals = [(400, {}, "no more")] * 50
            return whole(path, body)

        server.refusals, server.reply = [], dies  # type: ignore[method-assign]
        message = fails(capsys, "evaluate", "--run", run, *options)
        assert "no more" in message
        assert not (run / "judgements").exists()
        had = len((run / "judge" / "answers.jsonl").read_text().splitlines())
        assert had >= 7
        server.refusals, server.reply = [], whole  # type: ignore[method-assign]
        sent = len(server.answered)
        found = ok(capsys, "evaluate", "--run", run, *options)
        different = found["win_rate"]["comparisons"] - found["win_rate"]["identical"]
        assert len(server.answered) - sent == 2 * different - had
        bodies = [json.dumps(body, sort_keys=True) for _, body in server.answered]
        assert len(set(bodies)) == len(bodies)


def test_mistakes(run: Path, tmp_path: Path, capsys) -> None:
    judge = ["evaluate", "--run", run, "--judge", "http://127.0.0.1:9/v1", *OPTIONS]
    assert "name of its model" in fails(capsys, *judge)
    assert "got '9'" in fails(capsys, *judge, "--judge-model", "judge", "--against", "9")
    both = fails(capsys, *judge, "--judge-model", "judge", "--tasks", "x.jsonl")
    assert "got --judge and --perplexity or --tasks" in both
    bare = tmp_path / "bare"
    create_run(bare, None, 0)
    rows = [{"prompt": "a", "completion": c} for c in "bc"]
    ok(capsys, "import", write_jsonl(tmp_path / "p.jsonl", rows), "--run", bare)
    judge[2] = bare
    assert "held-out prompts" in fails(capsys, *judge, "--judge-model", "judge")
