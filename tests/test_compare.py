"""Policies against one another: paired by prompt, with shared noise."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny_models
from cli import fails, ok, pool_rows, write_jsonl
from openai_server import IMDB
from test_winrate import add_policy
from whichpairs.errors import UserError
from whichpairs.evaluate.interval import interval
from whichpairs.workflow.evaluate.compare import compare_policies
from whichpairs.workflow.evaluate.settings import EvaluateSettings

SETTINGS = EvaluateSettings(
    reward=str(IMDB / "reward"), samples=4, max_new_tokens=8, seed=5, device="cpu"
)


@pytest.fixture
def run(tmp_path: Path, capsys) -> Path:
    """Six held-out prompts; 001 is another model, 002 the same again, 003 is the reference."""
    torch.set_num_threads(1)
    rows = [
        {"prompt": f"Prompt {p} is", "completion": c} for p in range(12) for c in (" good", " bad")
    ]
    source = write_jsonl(tmp_path / "pool.jsonl", rows)
    run = tmp_path / "run"
    ok(capsys, "import", source, "--run", run, "--holdout", 0.5, "--beta", 0.2)
    for name, seed in (("001", 1), ("002", 1), ("003", 0)):
        add_policy(run, name, tiny_models.lm("gpt2", seed))
    return run


def values(run: Path, number: str, who: str) -> np.ndarray:
    return np.load(run / "evaluations" / number / f"{who}.npy")


def evaluate(run: Path, *options: object) -> list[object]:
    base = ["evaluate", "--run", run, "--reward", IMDB / "reward", "--device", "cpu"]
    return [*base, "--samples", 4, "--max-new-tokens", 8, "--seed", 5, *options]


def test_a_policy_against_another(run: Path, capsys) -> None:
    found = ok(capsys, *evaluate(run, "--policy", "001", "--against", "003"))
    ours, theirs = values(run, "001", "policy"), values(run, "001", "against")
    j = (ours - theirs) @ np.array([1.0, -0.2])
    want = interval(j)
    assert len(j) == found["held_out_prompts"] == 6
    assert found["differences"]["J"] == pytest.approx(vars(want))
    assert found["differences"]["kl"]["mean"] == pytest.approx((ours - theirs)[:, 1].mean())
    assert found["against"] == "003"
    # the reference under another name has the reference's noise, and so its values
    np.testing.assert_array_equal(theirs, values(run, "001", "reference"))
    assert found["differences"]["J"] == found["gain"]
    apart = found["policy_values"]["J"]["standard_error"]
    assert 0 < want.standard_error != apart
    same = ok(capsys, *evaluate(run, "--policy", "001", "--against", "002"))
    assert same["differences"]["J"]["mean"] == same["differences"]["J"]["standard_error"] == 0.0
    assert same["policy_values"] == found["policy_values"]
    alone = ok(capsys, *evaluate(run, "--policy", "001"))
    assert alone.keys() == found.keys() - {"against", "against_values", "differences"} | {"gain"}
    assert ok(capsys, *evaluate(run, "--policy", "001", "--against", "002"))["done_before"]
    assert "--against must name one of" in fails(capsys, *evaluate(run, "--against", "9"))


@pytest.mark.slow
def test_fits_too(tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    source = write_jsonl(tmp_path / "pool.jsonl", pool_rows(20, 5))
    score = ["--score-column", "score"]
    ok(capsys, "import", source, "--run", run, "--holdout", 0.4, *score)
    ok(capsys, "features", "--run", run, "--method", "text", "--dim", 18)
    for budget in (10, 30):
        select = ["select", "--run", run, "--budget", budget, "--criterion", "random"]
        ok(capsys, *select)
        ok(capsys, "label", "--run", run, "--simulate", "score")
        ok(capsys, "fit", "--run", run)
    found = ok(capsys, "evaluate", "--run", run, "--score", "score", "--against", "001")
    gain = {
        name: ok(capsys, "evaluate", "--run", run, "--score", "score", "--policy", name)["gain"]
        for name in ("001", "002")
    }
    assert found["policy"] == "002"
    assert found["differences"]["J"]["mean"] == pytest.approx(
        gain["002"]["mean"] - gain["001"]["mean"]
    )
    assert found["differences"]["J"]["mean"] != 0.0


def test_groups_of_policies(run: Path) -> None:
    got = compare_policies(run, ["001", "003"], ["reference", "reference"], SETTINGS)
    first = values(run, "001", "policy") @ np.array([1.0, -0.2])
    base = values(run, "001", "reference") @ np.array([1.0, -0.2])
    assert vars(got.over_prompts["J"]) == pytest.approx(vars(interval((first - base) / 2)))
    seeds = np.array([(first - base).mean(), 0.0])
    assert vars(got.over_policies["J"]) == pytest.approx(vars(interval(seeds)))
    before = sorted((run / "evaluations").iterdir())
    uneven = compare_policies(run, ["001"], ["003", "reference"], SETTINGS)
    assert uneven.over_policies is None
    assert uneven.over_prompts["J"].mean == pytest.approx((first - base).mean())
    assert sorted((run / "evaluations").iterdir()) == before  # none is evaluated twice
    with pytest.raises(UserError, match="two groups of policies"):
        compare_policies(run, [], ["001"], SETTINGS)
    with pytest.raises(UserError, match="and a score or a reward"):
        compare_policies(run, ["001"], ["003"], replace(SETTINGS, reward=None, tasks="x"))


def test_the_reference_is_sampled_once(run: Path, capsys, monkeypatch) -> None:
    from whichpairs.evaluate import policy

    asked, real = [], policy.evaluate_policy
    monkeypatch.setattr(
        policy, "evaluate_policy", lambda *a, **k: asked.append(a[0].path) or real(*a, **k)
    )
    first = ok(capsys, *evaluate(run, "--policy", "001"))
    assert len(asked) == 2
    second = ok(capsys, *evaluate(run, "--policy", "003", "--against", "reference"))
    assert [Path(path).parent.name for path in asked[2:]] == ["003"]
    assert second["reference_values"] == first["reference_values"] == second["against_values"]
    ok(capsys, *evaluate(run, "--policy", "003", "--max-new-tokens", 7))  # other samples
    assert len(asked) == 5


def test_the_reference_before_any_policy(tmp_path: Path, run: Path, capsys) -> None:
    model = run.parent / "model"
    tiny_models.lm("gpt2", 0).model.save_pretrained(model)
    tiny_models.lm("gpt2", 0).tokenizer.save_pretrained(model)
    bare = tmp_path / "bare"
    ok(capsys, "import", tmp_path / "pool.jsonl", "--run", bare, "--holdout", 0.5, "--beta", 0.2)
    assert "or pass --model, for the reference" in fails(capsys, *evaluate(bare))
    found = ok(capsys, *evaluate(bare, "--model", model))
    assert found["policy"] == "reference"
    assert found["policy_values"]["reward"]["mean"] != 0.0
    wrong = fails(capsys, *evaluate(run, "--policy", "001", "--model", IMDB / "model"))
    assert "--model must be the model that the policy was trained from" in wrong


def test_an_evaluation_in_bfloat16(run: Path, capsys) -> None:
    exact = ok(capsys, *evaluate(run, "--policy", "001"))["policy_values"]
    found = ok(capsys, *evaluate(run, "--policy", "001", "--dtype", "bfloat16"))
    half = found["policy_values"]
    assert exact["kl"]["mean"] != half["kl"]["mean"] == pytest.approx(exact["kl"]["mean"], rel=0.3)
    assert not found["done_before"]
    assert "dtype must be one of" in fails(capsys, *evaluate(run, "--dtype", "int8"))
    ours = ["evaluate", "--run", run, "--score", "x", "--dtype", "bfloat16"]
    assert "--dtype" in fails(capsys, *ours)
