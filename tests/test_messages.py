"""What commands say: of options without effect, of odd inputs, in the singular, and without Python's words."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from cli import fails, pool_rows, tree, write_jsonl
from whichpairs.cli import main
from whichpairs.errors import UserError, plainly
from whichpairs.evaluate.linear_reward import LinearTextReward
from whichpairs.label.stores.sqlite import SqliteStore
from whichpairs.pool.columns import Columns
from whichpairs.run.files import read_array
from whichpairs.wording import counted, counted_of, listed
from whichpairs.workflow.features.settings import FeatureSettings
from whichpairs.workflow.features.stage import compute_features
from whichpairs.workflow.import_pool import import_pool
from whichpairs.workflow.label.command import command_words
from whichpairs.workflow.select.settings import SelectSettings
from whichpairs.workflow.select.stage import select
from whichpairs.workflow.train.stage import FAR, _walked_off


def said(capsys, *arguments: object) -> str:
    """What a command that succeeds prints."""
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    assert stop.value.code == 0, err
    return str(out)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A run with a batch of 8 pairs, none of them answered."""
    folder = tmp_path_factory.mktemp("messages")
    source = write_jsonl(folder / "pool.jsonl", pool_rows(10, 4))
    import_pool(source, folder / "run", Columns(scores=("score",)), holdout=0.2)
    np.save(folder / "phi.npy", np.random.default_rng(0).standard_normal((40, 3)))
    compute_features(folder / "run", FeatureSettings("file", file=str(folder / "phi.npy")))
    select(folder / "run", SelectSettings(8, "random", controls=0))
    return folder / "run"


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


GENERATE = ["generate", "--prompts", "{txt}", "--model", "m"]
UNREAD = {
    "label seed": (
        ["label", "--from", "x", "--seed", 0],
        "--seed is for --simulate; got it with --from",
    ),
    "label rubric": (
        ["label", "--simulate", "score", "--rubric", "r", "--timeout", 120],
        "--rubric and --timeout are for --judge; got them with --simulate",
    ),
    "label temperature": (
        ["label", "--judge", "http://localhost:9", "--temperature", 1],
        "--temperature is for --simulate",
    ),
    "evaluate samples": (
        ["evaluate", "--score", "score", "--samples", 8],
        "--samples is for --reward or --judge; got it with --score",
    ),
    "evaluate device": (
        ["evaluate", "--score", "score", "--device", "auto"],
        "--device is for --reward, --judge, --perplexity or --tasks",
    ),
    "evaluate temperature": (
        ["evaluate", "--judge", "http://localhost:9", "--temperature", 1],
        "--temperature is for --score or --reward",
    ),
    "evaluate column of tasks": (
        ["evaluate", "--tasks", "x.jsonl", "--text-column", "t"],
        "--text-column is for --perplexity; got it with --tasks",
    ),
    "evaluate column of lines": (
        ["evaluate", "--perplexity", "x.txt", "--text-column", "t"],
        "--text-column is for a file with columns",
    ),
    "features pooling": (
        ["features", "--method", "text", "--pooling", "last", "--model", "x"],
        "--model is for gradient, hidden or embed; --pooling is for hidden; got them with text",
    ),
    "features sets": (
        ["features", "--method", "embed", "--sets", "a,b"],
        "--sets is for join; got it with embed",
    ),
    "generate column of lines": (
        [*GENERATE, "--prompt-column", "prompt"],
        "--prompt-column is for files with columns",
    ),
    "generate retries": (
        [*GENERATE, "--retries", 6],
        "the back-end transformers does not read --retries",
    ),
    "generate device": (
        [*GENERATE, "--server", "http://localhost:9/v1", "--device", "cpu", "--batch-size", 8],
        "the back-end server does not read --batch-size or --device",
    ),
    "generate sources": (
        [*GENERATE, "--sources", "{sources}", "--temperature", 1, "--top-p", 1],
        "sets --model or --temperature itself",
    ),
}


@pytest.mark.parametrize("case", UNREAD)
def test_an_option_that_nothing_reads_is_refused(case: str, run: Path, tmp_path, capsys) -> None:
    words, message = UNREAD[case]
    source = (
        '[[source]]\nname = "a"\nserver = "http://localhost:9/v1"\nmodel = "x"\ntemperature = 1\n'
    )
    (tmp_path / "sources.toml").write_text(source)
    (tmp_path / "p.txt").write_text("One\n")
    files = {"{txt}": tmp_path / "p.txt", "{sources}": tmp_path / "sources.toml"}
    given = [files.get(w, w) if isinstance(w, str) else w for w in words]
    folder = tmp_path / "new" if words[0] == "generate" else run
    before = tree(tmp_path)
    assert message in fails(capsys, *given, "--run", folder)
    assert tree(tmp_path) == before


def test_what_has_no_effect_is_said(run: Path, tmp_path: Path, capsys) -> None:
    keys = [
        json.loads(x)["pair_id"] for x in (run / "batches/001/pairs.jsonl").read_text().splitlines()
    ]
    rows = [{"pair_id": keys[0], "probability": 0.9, "annotator": "ann"}]
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    more = ["--annotator", "bob", "--label-map", "1=a", "--replace"]
    text = said(capsys, "label", "--run", run, "--from", path, *more)
    assert "1 label from" in text
    assert "7 pairs wait" in text
    assert "--annotator had no effect: every row names its own." in text
    assert "--label-map had no effect" in text
    assert "--replace had no effect" in text
    text = said(capsys, "label", "--run", run, "--simulate", "score")
    text = said(capsys, "export", tmp_path / "out.jsonl", "--run", run, "--join")
    assert "--join had no effect: no pair has several answers." in text
    text = said(capsys, "fit", "--run", run, "--seed", 3, "--strength", 1)
    assert "--seed had no effect" not in text
    reward = Path(__file__).parents[1] / "recipes/imdb/reward"
    assert "no effect" not in said(capsys, "score", "--run", run, "--reward", reward)
    text = said(capsys, "score", "--run", run, "--reward", reward, "--replace")
    assert "--replace had no effect: nothing was computed anew." in text


def test_odd_probabilities_are_said_or_refused(run: Path, tmp_path: Path, capsys) -> None:
    keys = [
        json.loads(x)["pair_id"] for x in (run / "batches/001/pairs.jsonl").read_text().splitlines()
    ]
    rows = [
        {"pair_id": keys[0], "choice": "tie", "probability": 0.6},
        {"pair_id": keys[1], "choice": "a", "probability": float("nan")},
    ]
    path = tmp_path / "a.jsonl"
    for bad, message in (
        ({"choice": "tie", "probability": 0.9}, "the probability of a tie must be nearer to 0.5"),
        ({"choice": "a", "probability": float("inf")}, "probability must be between 0 and 1"),
    ):
        write_jsonl(path, [*rows, {"pair_id": keys[2], **bad}])
        line = fails(capsys, "label", "--run", run, "--from", path)
        assert f"1 of 3 rows of {path} cannot be read: line 3: {message}" in line
    text = said(capsys, "label", "--run", run, "--from", write_jsonl(path, rows))
    assert "1 tie has a probability other than 0.5" in text
    assert "(line 1: 0.6)" in text
    assert "1 row has NaN as its probability, which is read as none stated (line 2)." in text
    found = {label.pair_id: label.probability for label in SqliteStore(run / "labels.sqlite").all()}
    assert found == {keys[0]: 0.6, keys[1]: None}


def test_chats_in_json_text_and_prompts_that_are_nearly_one(tmp_path: Path, capsys) -> None:
    chat = json.dumps([{"role": "user", "content": "Where?"}])
    answer = json.dumps({"role": "assistant", "content": "Here."})
    texts = [chat, "Caf\u00e9 here", "Cafe\u0301  here", '["a list"]']
    rows = [{"prompt": p, "completion": c} for p in texts for c in ("Yes.", answer)]
    text = said(
        capsys, "import", write_jsonl(tmp_path / "p.jsonl", rows), "--run", tmp_path / "run"
    )
    assert "Read 2 of 8 texts of 'prompt' as chats in JSON" in text
    assert "'completion' as chats" not in text
    assert "1 prompt equals an earlier one but for blanks or the form of accents" in text
    assert "(first: 'Cafe\u0301  here')" in text
    rows = [{"prompt": chat, "completion": answer}]
    text = said(
        capsys, "import", write_jsonl(tmp_path / "q.jsonl", rows), "--run", tmp_path / "two"
    )
    assert "1 completion of 1 prompt (0 held out)." in text
    assert "1 of 1 text of 'completion' as chats in JSON" in text
    assert "1 prompt with one completion: never picked." in text
    completions = (tmp_path / "two/pool/completions.parquet").read_bytes()
    assert b"Here." in completions
    assert b"assistant" not in completions


def test_a_policy_that_walked_off() -> None:
    class Space:
        class run:
            beta, root = 0.1, "RUN"

    calm = {"final_loss": 0.5, "fall": 10 * FAR - 0.1}
    assert _walked_off(calm, Space) == ""  # type: ignore[arg-type]
    far = _walked_off({**calm, "fall": 8.0}, Space)  # type: ignore[arg-type]
    assert "less likely by 8 nats" in far
    assert "pays 0.8, 0.5 or more" in far
    worse = _walked_off({**calm, "final_loss": 0.9}, Space)  # type: ignore[arg-type]
    assert "loses 0.9000 nats a label, more than the reference (0.6931)" in worse


PYTHON = ("Error", "Errno", "<class", "Traceback", "object", "dict", "{'")


def test_no_python_in_messages(run: Path, tmp_path: Path, capsys) -> None:
    lines = []
    for words in ("say 'this", "end\\"):
        with pytest.raises(UserError) as caught:
            command_words(words)
        lines.append(str(caught.value))
    assert "opens a quotation mark. close it" in lines[0]
    (tmp_path / "a.npy").write_bytes(b"no array")
    with pytest.raises(UserError) as caught:
        read_array(tmp_path / "a.npy")
    lines.append(str(caught.value))
    for settings in ("{", "[]", json.dumps({"kind": "x"})):
        (tmp_path / "reward.json").write_text(settings)
        np.savez(tmp_path / "reward.npy")
        os.replace(tmp_path / "reward.npy.npz", tmp_path / "reward.npy")
        with pytest.raises(UserError) as caught:
            LinearTextReward.load(tmp_path)
        lines.append(str(caught.value))
    assert "reward.json: it is not JSON (line 1, column 2)" in lines[3]
    (run / "pool/pairs.parquet").write_bytes(b"PAR1")
    lines.append(fails(capsys, "fit", "--run", run))
    assert "pool/pairs.parquet: " in lines[-1]
    for settings in ("{", "[]", "{}"):
        (run / "run.json").write_text(settings)
        lines.append(fails(capsys, "fit", "--run", run))
    assert "it lacks beta, seed or format. put it back" in lines[-1]
    for line in lines:
        assert not [word for word in PYTHON if word in line], line
    assert plainly(KeyError("x")) == "it is damaged, or not what it must be"
    assert plainly(ValueError("Bad header. \nmore")) == "its reader says “Bad header”"
    assert plainly(FileNotFoundError("No file (os error 2)")) == "there is no such file"


def test_numbers_and_their_nouns() -> None:
    assert [counted(n, "label") for n in (0, 1, 2)] == ["0 labels", "1 label", "2 labels"]
    assert counted(1, "pair waits", "pairs wait") == "1 pair waits"
    assert (counted_of(1, 1, "prompt"), counted_of(1, 3, "prompt")) == (
        "1 of 1 prompt",
        "1 of 3 prompts",
    )
    assert [listed(list(x)) for x in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]
