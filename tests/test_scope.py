"""Which layers DPO changes, and training in bfloat16."""

import json
import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

import tiny_gguf
import tiny_models
from cli import fails, ok, write_jsonl
from test_dpo import PREFERENCES, SETTINGS
from test_dpo_run import ROWS
from whichpairs.errors import UserError
from whichpairs.lm.folder import identity
from whichpairs.lm.model import load
from whichpairs.train.dpo import train_dpo
from whichpairs.train.scope import chosen_blocks, linear_layers, set_trained

INNER = {"gpt2": "transformer.h.1", "gpt_neox": "gpt_neox.layers.1", "llama": "model.layers.1"}


@pytest.mark.parametrize("kind", INNER)
def test_the_top_layers_alone_are_trained(kind):
    lm = load(tiny_models.folder(kind), device="cpu")
    set_trained(lm, "top:1")
    asked = {name for name, p in lm.model.named_parameters() if p.requires_grad}
    every = {name for name, _ in lm.model.named_parameters()}
    assert asked == {name for name in every if name.startswith(INNER[kind] + ".")}
    assert len(asked) > 5
    linear = linear_layers(lm, "top:1")
    weights = {
        n for n in asked if n.endswith("weight") and dict(lm.model.named_parameters())[n].ndim == 2
    }
    assert {f"{name}.weight" for name in linear} == weights
    set_trained(lm, "top:2")
    both = {name for name, p in lm.model.named_parameters() if p.requires_grad}
    assert both == {n for n in every if n.startswith((INNER[kind] + ".", INNER[kind][:-1] + "0."))}
    set_trained(lm, "all")
    assert all(p.requires_grad for p in lm.model.parameters())
    assert linear_layers(lm, "all") == "all-linear"
    with pytest.raises(UserError, match="from 1 to the 2 layers of the model; got top:3"):
        chosen_blocks(lm, "top:3")


@pytest.mark.parametrize(
    ("rank", "dtype"), [(None, "float32"), (None, "bfloat16"), (2, "bfloat16")], ids=str
)
def test_a_policy_differs_from_its_reference_in_those_layers_only(rank, dtype, tmp_path):
    settings = replace(SETTINGS, lora_rank=rank, dtype=dtype, layers="top:1", validation=0.4)
    done = train_dpo(
        tiny_models.folder("llama"), PREFERENCES, settings, tmp_path / "p", device="cpu"
    )
    before = load_file(tiny_models.folder("llama") / "model.safetensors")
    after = load_file(tmp_path / "p" / "model.safetensors")
    assert {w.dtype for w in after.values()} == {torch.float32}
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith("model.layers.1.") for name in moved)
    assert any("q_proj" in name for name in moved)
    assert any("norm" in name for name in moved) == (rank is None)
    assert done.moved
    assert done.validation_losses[0] == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.slow
def test_bfloat16_begins_at_log_two_and_ends_near_float32(tmp_path):
    found = {}
    for dtype in ("float32", "bfloat16"):
        settings = replace(SETTINGS, dtype=dtype, batch_size=12, epochs=4)
        out = tmp_path / dtype
        found[dtype] = train_dpo(
            tiny_models.folder("llama"), PREFERENCES, settings, out, device="cpu"
        )
    half, full = found["bfloat16"], found["float32"]
    assert half.losses != full.losses
    assert half.losses[0] == pytest.approx(math.log(2), abs=2e-3)
    gained = math.log(2) - full.final_loss
    assert gained > 0.05
    assert math.log(2) - half.final_loss == pytest.approx(gained, rel=0.2)
    assert half.mean_margin == pytest.approx(full.mean_margin, rel=0.2)


@pytest.mark.slow
def test_a_reference_that_is_kept_has_margins_of_zero(tmp_path):
    """Reference and policy are scored in one arithmetic, so rounding is not taken for learning."""
    settings = replace(SETTINGS, dtype="bfloat16", learning_rate=1e-12, epochs=1)
    done = train_dpo(
        tiny_models.folder("llama"), PREFERENCES, settings, tmp_path / "p", device="cpu"
    )
    assert done.shift == 0
    assert done.final_loss == pytest.approx(math.log(2), abs=1e-12)


@pytest.mark.slow
def test_a_run_trains_from_a_gguf_file_and_says_how(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tiny_gguf.write(tmp_path / "m.gguf")
    run = tmp_path / "run"
    ok(capsys, "import", write_jsonl(tmp_path / "pairs.jsonl", ROWS), "--run", run, "--seed", 2)
    train = ("train", "--run", run, "--model", file, "--device", "cpu", "--learning-rate", 3e-3)
    assert "got top:0" in fails(capsys, *train, "--layers", "top:0")
    assert "from 1 to the 2 layers of the model; got top:9" in fails(
        capsys, *train, "--layers", "top:9"
    )
    assert "dtype must be one of float32, bfloat16; got half" in fails(
        capsys, *train, "--dtype", "half"
    )
    how = ("--layers", "top:1", "--dtype", "bfloat16")
    done = ok(capsys, *train, *how)
    assert done["reference"] == str(file)
    assert ok(capsys, *train, *how)["done_before"]
    manifest = json.loads((run / "policies" / "001" / "manifest.json").read_text())
    assert (manifest["settings"]["layers"], manifest["settings"]["dtype"]) == ("top:1", "bfloat16")
    assert manifest["inputs"]["model"] == identity(file)
    plain = ok(capsys, *train)
    assert plain["policy"] == "002"
    manifest = json.loads((run / "policies" / "002" / "manifest.json").read_text())
    assert not {"layers", "dtype"} & set(manifest["settings"])
