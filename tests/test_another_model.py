"""Another chat template, tokenizer setting, reward or score is another input: nothing old is reused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tiny_models
from cli import fails, ok, pool_rows, write_jsonl
from whichpairs.evaluate.linear_reward import LinearTextReward
from whichpairs.generate.sources import Source
from whichpairs.lm.folder import fingerprint

FILES = ["tokenizer_config.json", "chat_template.jinja", "generation_config.json"]
TEXTS = ["a good film", "a bad film", "fine and great", "awful and dull"]


def change(path: Path) -> None:
    """What it says stays the same, but it is another file."""
    old = path.read_text()
    path.write_text(old.replace("{", "{ ", 1) if path.suffix == ".json" else old + "{# #}")


def reward(folder: Path, liked: list[int]) -> None:
    LinearTextReward.fit(TEXTS * 3, liked * 3, 50).save(folder)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A chat model, a reward, and a run with scores, features, labels, a fit and a policy."""
    folder = tmp_path_factory.mktemp("base")
    shutil.copytree(tiny_models.folder(), folder / "model")
    tiny_models.chat_tokenizer().save_pretrained(folder / "model")
    reward(folder / "reward", [1, 0, 1, 0])
    rows = write_jsonl(folder / "pool.jsonl", pool_rows(8, 3))
    (folder / "texts.txt").write_text("A film.\nThe cast.\n")
    from whichpairs.cli import main

    run = str(folder / "run")
    for words in (
        f"import {rows} --run {run} --holdout 0.25 --score-column score",
        f"score --run {run} --reward {folder}/reward",
        f"features --run {run} --method text --dim 18",
        f"select --run {run} --budget 6 --criterion random",
        f"label --run {run} --simulate reward",
        f"fit --run {run}",
        f"train --run {run} --model {folder}/model --learning-rate 0.01",
    ):
        with pytest.raises(SystemExit) as stop:
            main(words.split())
        assert stop.value.code == 0, words
    return folder


@pytest.fixture
def here(base: Path, tmp_path: Path, monkeypatch) -> Path:
    """A copy that may be changed, of which the policy's reference is the copy's own model."""
    folder = Path(shutil.copytree(base, tmp_path / "base"))
    manifest = folder / "run" / "policies" / "001" / "manifest.json"
    record = json.loads(manifest.read_text())
    record["result"]["reference"] = str(folder / "model")
    manifest.write_text(json.dumps(record))
    monkeypatch.chdir(folder)
    return folder


def again(capsys, words: str, change: Callable[[], Any]) -> bool:
    """Whether a stage, done, and done again, does its work anew once something has changed."""
    ok(capsys, *words.split())
    before = sorted(str(p) for p in Path().glob("run/*/*/manifest.json"))
    ok(capsys, *words.split())
    assert before == sorted(str(p) for p in Path().glob("run/*/*/manifest.json"))
    change()
    ok(capsys, *words.split())
    return before != sorted(str(p) for p in Path().glob("run/*/*/manifest.json"))


@pytest.mark.parametrize("name", FILES)
def test_train(here, capsys, name):
    words = "train --run run --model model --learning-rate 0.01"
    assert again(capsys, words, lambda: change(here / "model" / name))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("method", ["hidden", "gradient"])
def test_features(here, capsys, name, method):
    words = ["features", "--run", "run", "--method", method, "--model", "model", "--dim", 4]
    words += ["--no-fidelity"]
    ok(capsys, *words)
    change(here / "model" / name)
    assert "model was" in fails(capsys, *words)


@pytest.mark.parametrize("name", FILES)
def test_generate(here, capsys, name):
    (here / "prompts.txt").write_text("It\n")
    words = ["generate", "--run", "new", "--model", "model", "--prompts", "prompts.txt", "-n", 3]
    words += ["--max-new-tokens", 4]
    assert not ok(capsys, *words)["done_before"]
    assert ok(capsys, *words)["done_before"]
    change(here / "model" / name)
    assert "model_fingerprint was" in fails(capsys, *words)


def test_a_local_model_of_vllm_goes_by_its_files(here):
    source = Source("a", "vllm", "model", None)  # type: ignore[arg-type]
    before = source.fingerprint()
    assert before == fingerprint(here / "model")
    change(here / "model" / FILES[0])
    assert source.fingerprint() != before
    assert Source("a", "vllm", "them/theirs", None).fingerprint() == "them/theirs"  # type: ignore[arg-type]


@pytest.mark.parametrize("what", ["reference", "reward"])
def test_evaluate_by_a_reward(here, capsys, what):
    words = "evaluate --run run --reward reward --samples 1 --max-new-tokens 2"
    other = {
        "reference": lambda: change(here / "model" / FILES[0]),
        "reward": lambda: reward(here / "reward", [0, 1, 0, 1]),
    }
    assert again(capsys, words, other[what])


def test_capability(here, capsys):
    words = "evaluate --run run --perplexity texts.txt"
    assert again(capsys, words, lambda: change(here / "model" / FILES[0]))


def scored_anew(capsys) -> None:
    reward(Path("other"), [0, 1, 0, 1])
    ok(capsys, "score", "--run", "run", "--reward", "other", "--replace")


def test_evaluate_by_a_score(here, capsys):
    assert again(capsys, "evaluate --run run --score reward", lambda: scored_anew(capsys))


def test_select_by_a_score(here, capsys):
    words = "select --run run --budget 3 --criterion best-vs-worst --score reward"
    ok(capsys, *words.split())
    ok(capsys, *words.split())
    scored_anew(capsys)
    assert "wait" in fails(capsys, *words.split())


def test_score(here, capsys):
    words = ["score", "--run", "run", "--reward", "reward", "--name", "mine"]
    ok(capsys, *words)
    assert ok(capsys, *words)["done_before"]
    reward(here / "reward", [0, 1, 0, 1])
    assert "reward was" in fails(capsys, *words)


def test_labels_of_one_run_come_from_one_score(here, capsys):
    ok(capsys, "select", "--run", "run", "--budget", 3, "--criterion", "random")
    scored_anew(capsys)
    said = fails(capsys, "label", "--run", "run", "--simulate", "reward")
    assert "the values of reward have changed since it gave labels" in said
