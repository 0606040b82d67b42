"""Gradient features, against the gradient of one completion at a time, projected as a whole."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

import tiny_models
from tiny_models import EXAMPLES
from whichpairs.errors import UserError
from whichpairs.features import gradient
from whichpairs.features.gradient import batch_gradients, coverage, gradient_features
from whichpairs.features.layers import find_layers
from whichpairs.features.projection import build_projection
from whichpairs.lm import logprobs
from whichpairs.lm.encode import encode_all
from whichpairs.types import Example

KINDS = ["gpt2", "gpt_neox", "llama", "qwen3", "gemma3"]


def explicit_gradient(lm, e) -> dict[str, torch.Tensor]:
    """∇ log π(y|x) of every parameter by autograd, one completion, no padding."""
    model = copy.deepcopy(lm.model).requires_grad_(True)
    ids = torch.tensor([e.prompt_ids + e.completion_ids])
    logp = model(input_ids=ids).logits[0, :-1].log_softmax(-1)
    logp = logp.gather(-1, ids[0, 1:, None])[len(e.prompt_ids) - 1 :].sum()
    named = dict(model.named_parameters())
    return dict(zip(named, torch.autograd.grad(logp, list(named.values())), strict=True))


def explicit_projection(layers, p, gradients) -> torch.Tensor:
    """P g from whole gradients: L G Rᵀ of each matrix with its bias as one more row or column."""
    blocks = torch.zeros(len(p.signs))
    for name, place in p.places.items():
        g = gradients[name]
        blocks[place] += (
            (p.sides[name][0] @ g @ p.sides[name][1].T).flatten() if name in p.sides else g
        )
    for layer in layers:
        if layer.is_matrix and layer.bias is not None:
            left, right = p.sides[layer.weight]
            b, g = p.biases[layer.bias], gradients[layer.bias]
            outer = (
                torch.outer(b, right @ g) if layer.kind == "conv1d" else torch.outer(left @ g, b)
            )
            blocks[p.places[layer.weight]] += outer.flatten()
    folded = torch.zeros(p.dim)
    for i, value in enumerate((blocks * p.signs).tolist()):
        folded[i % p.dim] += value
    return folded


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_the_projected_gradient(kind):
    lm = tiny_models.lm(kind)
    layers = find_layers(lm.model)
    projection = build_projection(layers, 24, 7)
    (rows,) = gradient_features(lm, EXAMPLES, dim=24, seed=7, batch_size=4)
    assert rows.dtype == np.float32
    for row, e in zip(rows, encode_all(lm.tokenizer, EXAMPLES), strict=True):
        want = explicit_projection(layers, projection, explicit_gradient(lm, e)).numpy()
        assert np.linalg.norm(row - want) < 1e-4 * np.linalg.norm(want)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gpt2", "qwen3"])
def test_inner_products_are_kept_in_expectation(kind):
    lm = tiny_models.lm(kind)
    layers, encoded = find_layers(lm.model), encode_all(lm.tokenizer, EXAMPLES[:4])
    full = [torch.cat([g.flatten() for g in explicit_gradient(lm, e).values()]) for e in encoded]
    exact = (torch.stack(full) @ torch.stack(full).T).double().numpy()
    scale = np.sqrt(np.outer(np.diag(exact), np.diag(exact)))
    draws = []
    for seed in range(100):
        rows = batch_gradients(lm, encoded, layers, build_projection(layers, 8, seed, side=3))
        draws.append((rows @ rows.T) / scale)
    error = np.std(draws, axis=0) / np.sqrt(len(draws))
    assert np.all(np.abs(np.mean(draws, axis=0) - exact / scale) < 4 * error)
    assert error.max() < 0.08  # so that the line above says something


def test_inner_products_of_norm_parameters_are_kept_in_expectation():
    norms = [layer for layer in find_layers(tiny_models.lm().model) if not layer.is_matrix]
    g = torch.rand(
        2, 160, generator=torch.Generator().manual_seed(0)
    )  # five norms of 16 weights and 16 biases, all of one sign
    exact = (g @ g.T).numpy()
    draws = []
    for seed in range(400):
        rows = build_projection(norms, 8, seed).fold(g).numpy()
        draws.append(rows @ rows.T)
    error = np.std(draws, axis=0) / np.sqrt(len(draws))
    assert np.all(np.abs(np.mean(draws, axis=0) - exact) < 4 * error)
    assert error.max() < 0.05 * exact.max()


def test_a_wide_projection_keeps_the_geometry_of_one_draw():
    lm = tiny_models.lm()
    encoded = encode_all(lm.tokenizer, EXAMPLES)
    full = [torch.cat([g.flatten() for g in explicit_gradient(lm, e).values()]) for e in encoded]
    exact = (torch.stack(full) @ torch.stack(full).T).numpy()
    (rows,) = gradient_features(lm, EXAMPLES, dim=4096, seed=0)
    scale = np.sqrt(np.outer(np.diag(exact), np.diag(exact)))
    assert np.abs((rows @ rows.T - exact) / scale).max() < 0.1


def test_rows_come_in_order_whatever_the_batches(monkeypatch):
    lm = tiny_models.lm()
    monkeypatch.setattr(gradient, "WINDOW", 2)
    whole = np.concatenate(list(gradient_features(lm, EXAMPLES, dim=32, seed=1, batch_size=2)))
    blocks = list(gradient_features(lm, EXAMPLES, dim=32, seed=1, batch_size=1))
    assert [len(b) for b in blocks] == [2, 2, 2]
    np.testing.assert_allclose(whole, np.concatenate(blocks), atol=1e-4 * np.abs(whole).max())
    other = np.concatenate(list(gradient_features(lm, EXAMPLES, dim=32, seed=2)))
    assert not np.allclose(whole, other)
    assert list(gradient_features(lm, [], dim=32, seed=2)) == []


def test_max_length_cuts_what_the_gradient_sees():
    lm = tiny_models.lm()
    tok = lm.tokenizer
    long = encode_all(tok, [EXAMPLES[1]], 10)[0]
    short = Example(tok.decode(long.prompt_ids), tok.decode(long.completion_ids), False)
    (cut,) = gradient_features(lm, [EXAMPLES[1]], dim=16, seed=0, max_length=10)
    (want,) = gradient_features(lm, [short], dim=16, seed=0)
    assert encode_all(tok, [short]) == [long]
    np.testing.assert_allclose(cut, want, rtol=1e-4)


def test_a_completion_of_no_token_has_no_gradient():
    nothing = Example("The film", "", False)
    (rows,) = gradient_features(tiny_models.lm(), [nothing, EXAMPLES[0]], dim=16, seed=0)
    assert not rows[0].any()
    assert rows[1].any()
    (alone,) = gradient_features(tiny_models.lm(), [nothing], dim=16, seed=0)
    assert not alone.any()


def test_the_model_is_left_as_it_was():
    lm = tiny_models.lm()
    lm = replace(lm, model=copy.deepcopy(lm.model).requires_grad_(True))
    rows = next(iter(gradient_features(lm, EXAMPLES, dim=16, seed=0)))
    assert all(p.requires_grad and p.grad is None for p in lm.model.parameters())
    assert not any(m._forward_hooks for m in lm.model.modules())
    (frozen,) = gradient_features(tiny_models.lm(), EXAMPLES, dim=16, seed=0)
    np.testing.assert_allclose(rows, frozen, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_these_architectures_are_covered_whole(kind):
    assert coverage(tiny_models.lm(kind)) == (1.0, [])


class Odd(torch.nn.Linear):
    """A linear layer that is not one."""

    def forward(self, x):
        return super().forward(x).square()


def test_a_matrix_shared_with_an_unknown_layer_is_left_out():
    lm = tiny_models.lm("gpt2")
    model = copy.deepcopy(lm.model)
    model.lm_head.__class__ = Odd
    assert coverage(replace(lm, model=model))[1] == ["transformer.wte.weight"]


def test_coverage_names_what_is_left_out():
    lm = tiny_models.lm("llama")
    model = copy.deepcopy(lm.model)
    model.model.layers[0].mlp.up_proj.__class__ = Odd
    share, missing = coverage(replace(lm, model=model))
    total = sum(p.numel() for p in model.parameters())
    assert missing == ["model.layers.0.mlp.up_proj.weight"]
    assert share == pytest.approx(1 - 16 * 24 / total)
    rows = next(iter(gradient_features(replace(lm, model=model), EXAMPLES, dim=8, seed=0)))
    assert np.isfinite(rows).all()


def test_a_layer_that_mixes_completions_is_an_error(monkeypatch):
    monkeypatch.setattr(
        logprobs, "takes_positions", lambda model: False
    )  # one row of positions for all
    with pytest.raises(UserError, match=r"keep the completions of a batch apart; transformer\.wpe"):
        next(iter(gradient_features(tiny_models.lm(), EXAMPLES, dim=8, seed=0)))
    assert not any(m._forward_hooks for m in tiny_models.lm().model.modules())


def test_bad_calls_are_user_errors():
    lm = tiny_models.lm()
    with pytest.raises(UserError, match="dim must be at least 1 and seed at least 0; got 0 and 1"):
        next(iter(gradient_features(lm, EXAMPLES, dim=0, seed=1)))
    with pytest.raises(UserError, match="must fit the 64 tokens"):
        next(iter(gradient_features(lm, [Example("a" * 99, "b")], dim=8, seed=1)))
