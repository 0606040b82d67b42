"""A training that teaches nothing says so: the only step, pairs that are equal once they are cut."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import tiny_models
from cli import fails, ok, write_jsonl
from test_dpo import PREFERENCES, SETTINGS
from whichpairs import UserError
from whichpairs.lm.encode import encode
from whichpairs.lm.logprobs import completion_logprobs
from whichpairs.lm.model import load
from whichpairs.train.dpo import read_rows, train_dpo
from whichpairs.train.trainer import PairTrainer
from whichpairs.types import Example, Preference

MODEL = tiny_models.folder()
SAME = Preference("same", Example("It", " was a joy from"), Example("It", " was a joy and"))
"""Equal within four tokens: one of the prompt, three of the completion."""


def rates(total: int, ratio: float) -> list[float]:
    """The learning rate of every step, of a peak of 1."""
    arguments = SimpleNamespace(
        lr_scheduler_type="linear",
        lr_scheduler_kwargs={},
        warmup_steps=ratio,
        get_warmup_steps=lambda n: (
            math.ceil(n * arguments.warmup_steps)
            if arguments.warmup_steps < 1
            else arguments.warmup_steps
        ),
    )
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    trainer = PairTrainer.__new__(PairTrainer)
    trainer.args, trainer.lr_scheduler, trainer.optimizer = arguments, None, optimiser
    schedule, found = trainer.create_scheduler(total), []
    for _ in range(total):
        found.append(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()
    return found


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 0.999])
@pytest.mark.parametrize("total", [1, 2, 3, 10])
def test_warm_up_leaves_a_step(total, ratio):
    assert max(rates(total, ratio)) > 0
    if total == 1:
        assert rates(1, ratio) == [1.0]


def test_warm_up_is_a_share_of_many_steps():
    assert rates(10, 0.2) == pytest.approx([0, 0.5, *np.arange(8, 0, -1) / 8])


def test_one_step_learns(tmp_path):
    settings = replace(SETTINGS, epochs=1, batch_size=16)
    result = train_dpo(MODEL, PREFERENCES, settings, tmp_path / "p", device="cpu")
    assert (result.steps, result.moved) == (1, True)
    before, after = (load_file(p / "model.safetensors") for p in (MODEL, tmp_path / "p"))
    assert not any(torch.equal(before[name], after[name]) for name in before if "wte" in name)
    lm, policy = (load(p, device="cpu") for p in (MODEL, tmp_path / "p"))
    flat = [encode(lm.tokenizer, e) for p in PREFERENCES for e in (p.chosen, p.rejected)]
    change = completion_logprobs(policy, flat) - completion_logprobs(lm, flat)
    assert result.shift == pytest.approx(np.sqrt(np.mean(change**2)), rel=1e-5)
    assert result.final_loss < math.log(2)


@pytest.mark.parametrize("rank", [None, 2])
def test_a_policy_that_stays_is_seen(tmp_path, rank):
    still = replace(SETTINGS, epochs=1, learning_rate=1e-30, lora_rank=rank)
    result = train_dpo(MODEL, PREFERENCES[:4], still, tmp_path / "p", device="cpu")
    assert (result.moved, result.shift) == (False, pytest.approx(0, abs=1e-6))


def test_rows_equal_within_the_length_are_left_out():
    lm = tiny_models.lm()
    assert encode(lm.tokenizer, SAME.chosen) != encode(lm.tokenizer, SAME.rejected)
    rows = read_rows(lm, [*PREFERENCES[:3], SAME], replace(SETTINGS, max_length=4))
    assert (len(rows.pairs), rows.equal) == (3, 1)
    assert rows.reference.shape == (3, 2)
    assert rows.cut == 4
    whole = read_rows(lm, [*PREFERENCES[:3], SAME], SETTINGS)
    assert (len(whole.pairs), whole.equal, whole.cut) == (4, 0, 0)
    with pytest.raises(UserError, match="all 2 are equal within 4 tokens"):
        read_rows(lm, [SAME, SAME], replace(SETTINGS, max_length=4))


def trained(capsys, run: Path, *more: object) -> list[str]:
    """The lines that a training prints."""
    from whichpairs.cli import main

    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in ("train", "--run", run, "--model", MODEL, "--device", "cpu", *more)])
    assert stop.value.code == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.slow
def test_what_was_cut_and_not_learnt_is_said(tmp_path, capsys):
    rows = [
        {"prompt": "It", "chosen": " was a joy from", "rejected": " was a joy and"},
        {"prompt": "I saw", "chosen": " superb, and more of it", "rejected": " slept"},
        {"prompt": "A", "chosen": " cast", "rejected": " film"},
    ]
    run = tmp_path / "run"
    ok(capsys, "import", write_jsonl(tmp_path / "p.jsonl", rows), "--run", run)
    lines = trained(capsys, run, "--max-length", 4, "--learning-rate", 1e-30)
    assert lines[0].startswith("Policy 001: 2 labels, 1 step, loss 0.6931")
    assert "2 pairs were cut to fit --max-length." in lines
    assert "1 label was left out: two sides of the same tokens." in lines
    [said] = [line for line in lines if line.startswith("Nothing was learned")]
    assert "weights are the reference's; a larger --learning-rate" in said
    lines = trained(capsys, run, "--max-length", 4, "--learning-rate", 1e-6)
    assert any(line.startswith("The policy hardly moved: log π/π_ref") for line in lines)
    told = ok(capsys, "train", "--run", run, "--model", MODEL, "--learning-rate", 0.01)
    assert (told["cut"], told["equal"], told["moved"], told["labels"]) == (0, 0, True, 3)
    assert told["shift"] > 0.01


def test_nothing_but_equal_pairs_is_an_error(tmp_path, capsys):
    rows = [{"prompt": "It", "chosen": " was a joy from", "rejected": " was a joy and"}]
    run = tmp_path / "run"
    ok(capsys, "import", write_jsonl(tmp_path / "p.jsonl", rows), "--run", run)
    said = fails(capsys, "train", "--run", run, "--model", MODEL, "--max-length", 4)
    assert "all 1 are equal within 4 tokens" in said
    assert not list(run.glob("policies*/*"))
