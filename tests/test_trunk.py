"""What lies below the trained layers is computed once, and changes nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import tiny_models
from test_dpo import PREFERENCES, SETTINGS
from whichpairs.lm.encode import Encoded
from whichpairs.lm.logprobs import completion_logprobs
from whichpairs.lm.model import load
from whichpairs.train import trunk as room
from whichpairs.train.dpo import encode_pairs, train_dpo
from whichpairs.train.scope import arithmetic
from whichpairs.train.trunk import make_trunk


def sequences(lm) -> list[Encoded]:
    pairs, _ = encode_pairs(lm, PREFERENCES, None)
    return [e for pair in pairs for e in pair]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["llama", "gpt_neox"])
def test_log_probabilities_by_way_of_the_trunk(kind, dtype):
    lm = load(tiny_models.folder(kind), device="cpu")
    some = sequences(lm)
    trunk = make_trunk(lm, some, "top:1", dtype, batch_size=3)
    with arithmetic("cpu", dtype):
        want = completion_logprobs(lm, some)
        got = completion_logprobs(trunk.on(lm), some, batch_size=5)
    np.testing.assert_allclose(got, want, atol=1e-4 if dtype == "float32" else 0.05)
    # and the layers below are not asked again
    with torch.no_grad():
        for p in lm.model.get_submodule(
            "gpt_neox.layers.0" if kind == "gpt_neox" else "model.layers.0"
        ).parameters():
            p.zero_()
    with arithmetic("cpu", dtype):
        np.testing.assert_array_equal(completion_logprobs(trunk.on(lm), some, batch_size=5), got)
    assert abs(completion_logprobs(lm, some) - want).max() > 1e-3


def test_where_it_is_of_no_use(monkeypatch):
    llama = load(tiny_models.folder("llama"), device="cpu")
    some = sequences(llama)
    assert make_trunk(llama, some, "all", "float32") is None
    assert make_trunk(llama, some, "top:2", "float32") is None  # of two: nothing lies below
    # learned positions are added to what enters the model, a second time
    gpt2 = load(tiny_models.folder("gpt2"), device="cpu")
    assert make_trunk(gpt2, sequences(gpt2), "top:1", "float32") is None
    monkeypatch.setattr(room, "LARGEST", 1000)
    assert make_trunk(llama, some, "top:1", "float32") is None


@pytest.mark.parametrize("rank", [None, 2])
def test_a_training_is_the_same_with_and_without(rank, tmp_path, monkeypatch):
    settings = replace(SETTINGS, layers="top:1", lora_rank=rank, epochs=2)
    found = []
    for name, largest in (("with", room.LARGEST), ("without", 0)):
        monkeypatch.setattr(room, "LARGEST", largest)
        model, out = tiny_models.folder("llama"), tmp_path / name
        made, real = [], room.Above.through
        monkeypatch.setattr(
            room.Above,
            "through",
            lambda *a, real=real, made=made, **k: made.append(1) or real(*a, **k),
        )
        found.append(train_dpo(model, PREFERENCES, settings, out, device="cpu"))
        assert bool(made) == bool(largest)
    with_it, without = found
    np.testing.assert_allclose(with_it.losses, without.losses, atol=1e-5)
    assert with_it.final_loss == pytest.approx(without.final_loss, abs=1e-5)
    assert with_it.shift == pytest.approx(without.shift, rel=1e-3)
    assert with_it.moved
