"""Hidden-state features, against one sequence at a time."""

import numpy as np
import pytest
import torch

import tiny_models
from tiny_models import EXAMPLES
from whichpairs.errors import UserError
from whichpairs.features import hidden
from whichpairs.features.hidden import hidden_features, hidden_projection
from whichpairs.lm.encode import encode_all
from whichpairs.types import Example

NOTHING = Example("The film", "", False)


def slow_state(lm, e, pooling) -> np.ndarray:
    """The last hidden state by the model's own list of them, without padding."""
    ids = torch.tensor([e.prompt_ids + e.completion_ids])
    states = lm.model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0]
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
