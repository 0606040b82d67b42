"""Hidden-state features, against one sequence at a time."""

import numpy as np
import pytest
import torch

import tiny_models
from cli import fails, ok, write_jsonl
from tiny_models import EXAMPLES, SENTENCES
from whichpairs.errors import UserError
from whichpairs.features import hidden
from whichpairs.features.hidden import hidden_features, hidden_projection
from whichpairs.lm.encode import encode_all
from whichpairs.types import Example

NOTHING = Example("The film", "", False)


def slow_state(lm, e, pooling, layer=-1) -> np.ndarray:
    """A hidden state by the model's own list of them, without padding."""
    ids = torch.tensor([e.prompt_ids + e.completion_ids])
    states = lm.model(input_ids=ids, output_hidden_states=True).hidden_states[layer][0]
    first = len(e.prompt_ids) if pooling == "mean" and e.completion_ids else len(e) - 1
    return states[first:].mean(0).numpy()


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_states_are_those_of_one_sequence_at_a_time(kind, pooling, monkeypatch):
    lm = tiny_models.lm(kind)
    examples = [*EXAMPLES, NOTHING]
    monkeypatch.setattr(hidden, "WINDOW", 2)
    blocks = list(hidden_features(lm, examples, pooling=pooling, batch_size=2))
    assert [b.shape for b in blocks] == [(4, 16), (3, 16)]
    assert blocks[0].dtype == np.float32
    want = [slow_state(lm, e, pooling) for e in encode_all(lm.tokenizer, examples)]
    np.testing.assert_allclose(np.concatenate(blocks), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("kind", ["gpt2", "llama", "gpt_neox"])
def test_states_of_a_lower_layer(kind, layer):
    lm = tiny_models.lm(kind)
    examples = [*EXAMPLES, NOTHING]
    (block,) = hidden_features(lm, examples, pooling="mean", layer=layer)
    want = [slow_state(lm, e, "mean", layer) for e in encode_all(lm.tokenizer, examples)]
    np.testing.assert_allclose(block, want, rtol=1e-4, atol=1e-5)


def test_a_lower_layer_in_bfloat16_by_command(tmp_path, capsys):
    rows = [{"prompt": f"The film {p}", "completion": c} for p in range(6) for c in SENTENCES[:3]]
    run = tmp_path / "run"
    ok(capsys, "import", write_jsonl(tmp_path / "pool.jsonl", rows), "--run", run)
    model = tiny_models.folder("llama")
    command = ["features", "--run", run, "--method", "hidden", "--model", model, "--layer", 1]
    ok(capsys, *command, "--name", "full")
    ok(capsys, *command, "--name", "half", "--model-dtype", "bfloat16")
    full, half = (np.load(next((run / "features" / n).glob("*.npy"))) for n in ("full", "half"))
    assert 0 < np.abs(full - half).max() < 0.05 * np.abs(full).max()
    assert "from 0 to 1 of the model's 2; got 2" in fails(capsys, *command[:-1], 2, "--name", "x")
    text = ["features", "--run", run, "--method", "text", "--layer", 1]
    assert "--layer" in fails(capsys, *text)


def test_projection_is_linear_and_keeps_inner_products_in_expectation():
    lm = tiny_models.lm()
    (states,) = hidden_features(lm, EXAMPLES)
    (small,) = hidden_features(lm, EXAMPLES, dim=5, seed=3)
    np.testing.assert_allclose(small, states @ hidden_projection(16, 5, 3), rtol=1e-5)
    draws = [states @ hidden_projection(16, 5, seed) for seed in range(400)]
    products = np.array([d @ d.T for d in draws], dtype=np.float64)
    error = products.std(0) / np.sqrt(len(draws))
    assert np.all(np.abs(products.mean(0) - states @ states.T) < 4 * error)
    (whole,) = hidden_features(lm, EXAMPLES, dim=16)
    np.testing.assert_array_equal(whole, states)


def test_bad_calls_are_user_errors():
    lm = tiny_models.lm()
    with pytest.raises(UserError, match="pooling must be last or mean; got first"):
        next(iter(hidden_features(lm, EXAMPLES, pooling="first")))
    with pytest.raises(UserError, match="dim must be at least 1"):
        next(iter(hidden_features(lm, EXAMPLES, dim=0)))
