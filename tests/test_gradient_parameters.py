"""Gradients of the head alone and of LoRA's adapters, and length normalisation, against autograd."""

import copy
import math

import numpy as np
import pytest
import torch

import tiny_models
from test_gradient import explicit_gradient
from tiny_models import EXAMPLES
from whichpairs.errors import UserError
from whichpairs.features.gradient import gradient_features
from whichpairs.features.layers import choose_layers
from whichpairs.features.projection import _side, build_projection, lora_init
from whichpairs.lm.encode import encode_all

DIM, SEED, RANK = 24, 7, 4


def fold(blocks: torch.Tensor, p) -> np.ndarray:
    """Signs and folding, number by number."""
    folded = torch.zeros(p.dim)
    for i, value in enumerate((blocks * p.signs[: len(blocks)]).tolist()):
        folded[i % p.dim] += value
    return folded.numpy()


def logprob(model, e) -> torch.Tensor:
    ids = torch.tensor([e.prompt_ids + e.completion_ids])
    logp = model(input_ids=ids).logits[0, :-1].log_softmax(-1)
    return logp.gather(-1, ids[0, 1:, None])[len(e.prompt_ids) - 1 :].sum()


@pytest.mark.parametrize("kind", ["gpt2", "qwen3", "llama", "gpt_neox"])
def test_last_layer_is_the_heads_own_use_of_its_matrix(kind):
    lm = tiny_models.lm(kind)
    model = copy.deepcopy(lm.model)
    head = model.get_output_embeddings()
    head.weight = torch.nn.Parameter(head.weight.detach().clone())  # untied from the embedding
    (layer,) = choose_layers(lm, "last-layer")
    p = build_projection([layer], DIM, SEED)
    left, right = p.sides[layer.weight]
    (rows,) = gradient_features(lm, EXAMPLES, dim=DIM, seed=SEED, parameters="last-layer")
    for row, e in zip(rows, encode_all(lm.tokenizer, EXAMPLES), strict=True):
        (g,) = torch.autograd.grad(logprob(model, e), [head.weight])
        want = fold((left @ g @ right.T).flatten(), p)
        assert np.linalg.norm(row - want) < 1e-4 * np.linalg.norm(want)
    if kind == "qwen3":  # tied: the whole gradient has the embedding's use too
        whole = explicit_gradient(lm, encode_all(lm.tokenizer, EXAMPLES[:1])[0])[layer.weight]
        full = fold((left @ whole @ right.T).flatten(), p)
        assert np.linalg.norm(rows[0] - full) > 0.05 * np.linalg.norm(full)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_lora_is_the_gradient_of_pefts_own_adapters(kind):
    from peft import LoraConfig, get_peft_model

    lm = tiny_models.lm(kind)
    layers = choose_layers(lm, "lora")
    configuration = LoraConfig(
        r=RANK,
        lora_alpha=2 * RANK,
        target_modules="all-linear",
        fan_in_fan_out=kind == "gpt2",
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(copy.deepcopy(lm.model), configuration)
    adapters = dict(model.named_parameters())
    a, b = (
        {x.name: adapters[f"base_model.model.{x.name}.lora_{side}.default.weight"] for x in layers}
        for side in "AB"
    )
    assert {n for n in adapters if "lora_B" in n} == {
        f"base_model.model.{x.name}.lora_B.default.weight" for x in layers
    }
    for layer in layers:
        bound = 1 / math.sqrt(a[layer.name].shape[1])  # what peft draws from
        assert 0.5 * bound < a[layer.name].abs().max() <= bound
        drawn = lora_init(RANK, a[layer.name].shape[1], SEED, layer.weight)
        assert 0.5 * bound < np.abs(drawn).max() <= bound
        a[layer.name].data = torch.from_numpy(drawn)
    p = build_projection(layers, DIM, SEED, lora_rank=RANK)
    (rows,) = gradient_features(lm, EXAMPLES, dim=DIM, seed=SEED, parameters="lora", lora_rank=RANK)
    for row, e in zip(rows, encode_all(lm.tokenizer, EXAMPLES), strict=True):
        gradients = torch.autograd.grad(logprob(model, e), [*b.values(), *a.values()])
        assert not any(g.any() for g in gradients[len(b) :])  # A's, since B = 0
        blocks = torch.zeros(len(p.signs))
        for layer, g in zip(layers, gradients, strict=False):
            blocks[p.places[layer.weight]] = adapter_block(layer, g)
        want = fold(blocks, p)
        assert np.linalg.norm(row - want) < 1e-4 * np.linalg.norm(want)


def adapter_block(layer, g: torch.Tensor) -> torch.Tensor:
    """L G Rᵀ of the gradient G (rows × r) of B, in the order of the weight's own axes."""
    conv = layer.kind == "conv1d"
    k = 32
    left = torch.from_numpy(_side(k, len(g), SEED, f"{layer.weight}[{1 if conv else 0}]"))
    right = torch.from_numpy(_side(k, RANK, SEED, f"{layer.weight}[rank]"))
    block = left @ g @ right.T
    return (block.T if conv else block).flatten()


def test_normalisation_divides_by_tokens_or_their_root():
    lm = tiny_models.lm()
    tokens = np.array([len(e.completion_ids) for e in encode_all(lm.tokenizer, EXAMPLES)])
    assert len(set(tokens.tolist())) > 3

    def rows(how: str) -> np.ndarray:
        return next(gradient_features(lm, EXAMPLES, dim=8, seed=0, normalise=how))

    plain = rows("none")
    np.testing.assert_allclose(rows("mean") * tokens[:, None], plain, rtol=1e-5)
    np.testing.assert_allclose(rows("sqrt") * np.sqrt(tokens)[:, None], plain, rtol=1e-5)


def test_bad_choices_are_user_errors():
    lm = tiny_models.lm()
    for wrong in ({"parameters": "some"}, {"normalise": "length"}, {"lora_rank": 0}):
        with pytest.raises(UserError, match="parameters one of all, last-layer, lora"):
            next(iter(gradient_features(lm, EXAMPLES, dim=8, seed=1, **wrong)))
