"""Training in a run: kills, the epoch that is kept, logs, soft labels; the weights at the end."""

import json
import math
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import tiny_models
from cli import fails, ok, write_jsonl
from test_dpo import PREFERENCES, SETTINGS, margins
from whichpairs import UserError, train_policy
from whichpairs.lm.model import load
from whichpairs.run.once import Outcome
from whichpairs.train.callbacks import WHOLE, last_checkpoint
from whichpairs.train.dpo import set_aside, train_dpo
from whichpairs.types import Label, Preference
from whichpairs.workflow.train.preferences import preferences
from whichpairs.workflow.train.stage import _inputs, _scratch
from whichpairs.workflow.workspace import workspace

MODEL = str(tiny_models.folder())
ROWS = [
    {"prompt": p, "chosen": good, "rejected": bad}
    for p in ("The film is", "It", "I saw", "A naïve")
    for good, bad in (
        (" superb", " far from the best"),
        (" a joy", " worst"),
        (" was a joy from", " slept"),
    )
]


@pytest.fixture
def run(tmp_path: Path, capsys) -> Path:
    """A pool of pairs whose labels came with it."""
    source = write_jsonl(tmp_path / "pairs.jsonl", ROWS)
    ok(capsys, "import", source, "--run", tmp_path / "run", "--beta", 0.3, "--seed", 2)
    return tmp_path / "run"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


OPTIONS = {"learning_rate": 3e-3, "epochs": 5, "batch_size": 4, "device": "cpu"}
"""Twelve labels, four a step: 15 steps."""


SLOWLY = """
import sys, time
from whichpairs import train_policy

class Slow:
    def start(self, what, total): pass
    def advance(self, units=1, note=""): time.sleep(0.2)
    def finish(self): pass

import torch
torch.set_num_threads(1)
train_policy({run!r}, {model!r}, **{options!r}, progress=Slow())
"""


def train_and_die(run: Path, options: dict[str, Any]) -> None:
    """In a process of its own, with a KILL from outside in the midst of a step after two saves."""
    code = SLOWLY.format(run=str(run), model=MODEL, options=options)
    child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    deadline = time.monotonic() + 120
    try:
        while not list(run.glob("policies.partial/*/checkpoint-[4-9]*/" + WHOLE)):
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        child.kill()
    assert child.wait() == -signal.SIGKILL


class Steps:
    """A `Progress` that counts, and may stop the work as Ctrl-C does."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop, self.total, self.first, self.done = stop, 0, None, 0

    def start(self, what: str, total: int | None) -> None:
        self.total = total

    def advance(self, units: int = 1, note: str = "") -> None:
        self.first = units if self.first is None else self.first
        self.done += units
        if self.done == self.stop:
            raise KeyboardInterrupt

    def finish(self) -> None:
        pass


@pytest.mark.slow
def test_a_killed_training_goes_on(run: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    options = {**OPTIONS, "validation": 0.25, "log_to": "tensorboard"}
    again = shutil.copytree(run, tmp_path / "again")
    train_and_die(run, {**options, "save_every": 2})
    assert not list(run.glob("policies/0*"))
    [scratch] = (run / "policies.partial").iterdir()
    newest = max(int(p.name.split("-")[1]) for p in scratch.glob("checkpoint-*"))
    half = scratch / "checkpoint-99"  # as a kill within a save leaves it
    half.mkdir()
    (half / "trainer_state.json").write_text("{")
    steps = Steps()
    done = train_policy(run, MODEL, **options, save_every=2, progress=steps)
    assert steps.first == newest >= 4
    assert steps.total == steps.done == done.result["steps"] == 15
    assert not (run / "policies.partial").exists()
    assert len(list((done.folder / "runs").rglob("events.*"))) == 2
    the_same_as_unbroken(done, again, options)


def the_same_as_unbroken(done: Outcome, run: Path, options: dict[str, Any]) -> None:
    """To the last bit, on one thread."""
    whole = train_policy(run, MODEL, **options, save_every=0)
    assert same(weights(done.folder), weights(whole.folder))
    drop = ("seconds", "policy")
    results = [{k: v for k, v in x.result.items() if k not in drop} for x in (done, whole)]
    assert results[0] == results[1]


@pytest.mark.slow
def test_adapters_go_on_too(run: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    options = {**OPTIONS, "lora_rank": 2, "accumulation": 2}
    again = shutil.copytree(run, tmp_path / "again")
    with pytest.raises(KeyboardInterrupt):
        train_policy(run, MODEL, **options, save_every=4, progress=Steps(stop=7))
    other = {**options, "learning_rate": 1e-3}
    steps = Steps()
    train_policy(run, MODEL, **other, save_every=4, progress=steps)  # begins at the beginning
    assert steps.first == 1
    steps = Steps()
    done = train_policy(run, MODEL, **options, save_every=4, progress=steps)
    assert (steps.first, steps.done) == (4, 15)
    the_same_as_unbroken(done, again, options)


def test_a_checkpoint_is_of_one_model_and_one_set_of_labels(run: Path) -> None:
    def scratch(model: str) -> Path:
        with workspace(run) as space:
            rows, _ = preferences(space)
            return _scratch(space, {}, _inputs(space, model, rows, False))

    before = scratch(MODEL)
    assert before == scratch(MODEL)
    assert before != scratch(str(tiny_models.folder(seed=1)))
    with workspace(run) as space:
        one = space.labels[0]
        space.store.add([replace(one, annotator="another")])
    assert before != scratch(MODEL)


def test_only_whole_checkpoints_count(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    for step, whole in ((2, True), (10, True), (12, False)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if whole:
            (tmp_path / f"checkpoint-{step}" / WHOLE).write_text("{}")
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")
    assert not (tmp_path / "checkpoint-12").exists()


def test_the_epoch_with_the_least_validation_loss_is_kept(tmp_path: Path) -> None:
    settings = replace(SETTINGS, epochs=6, validation=0.34, seed=1)
    kept, aside = set_aside(PREFERENCES, 0.34, 1)
    assert len({p.chosen.prompt for p in kept}) == 2
    assert len({p.chosen.prompt for p in aside}) == 1
    odd = aside[2]  # one answer that the others contradict: confidence costs
    mixed = [Preference(p.pair_id, p.rejected, p.chosen) if p == odd else p for p in PREFERENCES]
    result = train_dpo(tiny_models.folder(), mixed, settings, tmp_path / "p", device="cpu")
    losses = result.validation_losses
    assert len(losses) == 7
    assert losses[0] == math.log(2)
    assert 0 < result.kept_epoch < 6  # it was over-trained by then
    assert min(losses) == losses[result.kept_epoch]
    policy = load(tmp_path / "p", device="cpu")
    m = margins(policy, tiny_models.lm()) * np.array([1 - 2 * (p == odd) for p in PREFERENCES])
    out = np.array([p in aside for p in PREFERENCES])
    assert np.mean(np.log1p(np.exp(-m[out]))) == pytest.approx(min(losses), abs=1e-6)
    assert np.mean(np.log1p(np.exp(-m[~out]))) == pytest.approx(result.final_loss, abs=1e-6)
    assert result.steps == 12


@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.slow
def test_training_that_only_harms_keeps_the_reference(rank, tmp_path: Path) -> None:
    settings = replace(SETTINGS, epochs=3, validation=0.34, lora_rank=rank)
    _, aside = set_aside(PREFERENCES, 0.34, SETTINGS.seed)
    turned = [Preference(p.pair_id, p.rejected, p.chosen) if p in aside else p for p in PREFERENCES]
    result = train_dpo(tiny_models.folder(), turned, settings, tmp_path / "p", device="cpu")
    assert result.kept_epoch == 0
    assert min(result.validation_losses[1:]) > math.log(2)
    assert result.final_loss == pytest.approx(math.log(2), abs=1e-9)
    before = load_file(tiny_models.folder() / "model.safetensors")
    assert same(load_file(tmp_path / "p" / "model.safetensors"), before)


def test_training_that_diverges_says_so(tmp_path: Path) -> None:
    settings = replace(SETTINGS, epochs=2, learning_rate=1e30)
    with pytest.raises(UserError, match=r"diverged.*use a smaller --learning-rate"):
        train_dpo(tiny_models.folder(), PREFERENCES, settings, tmp_path / "p", device="cpu")


def test_a_share_must_leave_prompts_on_both_sides(tmp_path: Path) -> None:
    for share in (0.1, 0.9):
        with pytest.raises(UserError, match="leave prompts on both sides"):
            set_aside(PREFERENCES, share, 0)
    assert set_aside(PREFERENCES, 0.0, 0) == (PREFERENCES, [])


def test_the_log_has_every_loss(run: Path, capsys) -> None:
    options = ["--learning-rate", 3e-3, "--batch-size", 4, "--log-to", "tensorboard"]
    ok(capsys, "train", "--run", run, "--model", MODEL, "--device", "cpu", *options)
    [events] = (run / "policies" / "001" / "runs").rglob("events.out.tfevents.*")
    log = EventAccumulator(str(events)).Reload()
    losses = [e.value for e in log.Scalars("train/loss")]
    assert losses[0] == pytest.approx(math.log(2), abs=1e-5)
    assert len(losses) == 3
    assert losses[2] < losses[0]
    right = [e.value for e in log.Scalars("train/rewards/accuracies")]
    assert [e.value for e in log.Scalars("train/rewards/margins")][2] > 0
    assert set(right) <= {0.0, 0.25, 0.5, 0.75, 1.0}


def test_a_log_that_is_not_installed(run: Path, capsys, monkeypatch) -> None:
    import whichpairs.train.dpo as module

    there = module.find_spec
    monkeypatch.setattr(module, "find_spec", lambda n: None if n == "wandb" else there(n))
    train = ["train", "--run", run, "--model", MODEL, "--log-to"]
    assert "pip install wandb" in fails(capsys, *train, "wandb")
    assert "must be one of none, tensorboard, wandb" in fails(capsys, *train, "paper")
    assert not (run / "policies").exists()
    assert not (run / "policies.partial").exists()


@pytest.mark.slow
def test_soft_labels_come_from_the_labels(run: Path, capsys) -> None:
    train = ["train", "--run", run, "--model", MODEL, "--device", "cpu", "--learning-rate", 3e-3]
    train += ["--epochs", 2]
    assert "labels that state a probability" in fails(capsys, *train, "--soft-labels")
    with workspace(run) as space:
        old = space.labels[:3]
        said = [("a", 0.8), ("b", 0.3), ("tie", None)]
        new = [
            Label(x.pair_id, x.id_a, x.id_b, choice, "second", "imported", p)
            for x, (choice, p) in zip(old, said, strict=True)
        ]
        space.store.add(new)
    with workspace(run) as space:
        hard, ties = preferences(space)
        assert (len(hard), ties) == (14, 1)
        soft, none = preferences(space, soft=True)
        assert (len(soft), none) == (15, 0)
        assert [p.probability for p in soft] == [*[None] * 12, 0.8, 0.7, 0.5]
        b = space.pool.examples([space.pool.row_of[old[1].id_b]])[0]
        assert soft[13].chosen == b
    first = ok(capsys, *train)
    second = ok(capsys, *train, "--soft-labels")
    assert (first["labels"], first["ties_left_out"]) == (14, 1)
    assert (second["labels"], second["ties_left_out"]) == (15, 0)
    assert not same(weights(run / "policies" / "001"), weights(run / "policies" / "002"))
    assert ok(capsys, *train, "--soft-labels")["done_before"]
    manifest = json.loads((run / "policies" / "001" / "manifest.json").read_text())
    assert (
        "soft_labels" not in manifest["settings"]
    )  # as manifests were before there was the choice


def test_which_prompts_are_set_aside_is_drawn_by_the_seed() -> None:
    """Every prompt about as often as another, whole prompts, and the same ones for the same seed."""
    prompts = list(dict.fromkeys(p.chosen.prompt for p in PREFERENCES))
    counts = dict.fromkeys(prompts, 0)
    for seed in range(60):
        kept, aside = set_aside(PREFERENCES, 0.34, seed)
        assert [p for p in PREFERENCES if p in kept or p in aside] == PREFERENCES
        out = {p.chosen.prompt for p in aside}
        assert len(out) == 1
        assert not out & {p.chosen.prompt for p in kept}
        counts[out.pop()] += 1
        assert set_aside(PREFERENCES, 0.34, seed) == (kept, aside)
    assert min(counts.values()) >= 10  # of 60, 20 each: below 10 once in 1 000
