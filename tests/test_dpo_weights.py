"""Weights of pairs, soft labels and parts of a batch: the loss, its gradient, stock TRL beside it."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Dataset
from trl.trainer.dpo_trainer import DPOTrainer

import tiny_models
from test_dpo import PREFERENCES, SETTINGS
from whichpairs.errors import UserError
from whichpairs.lm.encode import encode_all
from whichpairs.lm.logprobs import completion_logprobs
from whichpairs.lm.model import load
from whichpairs.lm.optional import quiet
from whichpairs.train.dpo import read_rows, train_dpo
from whichpairs.train.trainer import as_dataset, make_trainer
from whichpairs.types import Example, Preference

WEIGHTS = [0.5, 2.0, 0.0, 1.0, 3.0, 0.25, 1.0, 1.0, 4.0, 1.5, 0.1, 2.0]
SOFT = [0.9, 0.2, 0.5, 1.0, 0.0, 0.7, 0.6, 0.35, 0.8, 0.99, 0.5, 0.65]
WEIGHTED = [replace(p, weight=w) for p, w in zip(PREFERENCES, WEIGHTS, strict=True)]
DOUBTED = [replace(p, probability=s) for p, s in zip(WEIGHTED, SOFT, strict=True)]
TOGETHER = replace(SETTINGS, soft_labels=True)


def loss_and_gradient(preferences, settings, tmp_path):
    """TRL's loss of all rows in one batch for a policy that is not the reference, and ∂loss/∂θ."""
    lm = load(tiny_models.folder(), device="cpu")
    rows = read_rows(lm, preferences, settings)
    with quiet():
        trainer = make_trainer(lm, rows, settings, str(tmp_path))
    trainer.model.load_state_dict(tiny_models.lm("gpt2", 1).model.state_dict())
    batch = trainer.data_collator(list(as_dataset(rows)))
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    return float(loss.detach()), {n: p.grad.clone() for n, p in trainer.model.named_parameters()}


def margins(policy, preferences, beta):
    """β's margins of each preference against the tiny model, scored one completion at a time."""
    reference = tiny_models.lm()
    flat = encode_all(reference.tokenizer, [e for p in preferences for e in (p.chosen, p.rejected)])
    ratio = np.array(
        [completion_logprobs(policy, [e])[0] - completion_logprobs(reference, [e])[0] for e in flat]
    )
    return beta * (ratio[::2] - ratio[1::2])


def close(a, b, tolerance=2e-6):
    size = max(float(x.abs().max()) for x in a.values())
    assert a.keys() == b.keys()
    assert max(float((a[n] - b[n]).abs().max()) for n in a) < tolerance * max(1.0, size)


def test_the_weighted_loss_is_the_formula(tmp_path):
    loss, _ = loss_and_gradient(WEIGHTED, SETTINGS, tmp_path)
    m = margins(tiny_models.lm("gpt2", 1), WEIGHTED, SETTINGS.beta)
    w = np.array(WEIGHTS)
    assert np.ptp(m) > 1
    assert loss == pytest.approx(float(w @ np.log1p(np.exp(-m)) / w.sum()), rel=1e-5)
    plain, _ = loss_and_gradient(PREFERENCES, SETTINGS, tmp_path)
    assert abs(plain - loss) > 0.01


def test_the_soft_loss_is_the_cross_entropy(tmp_path):
    loss, gradient = loss_and_gradient(DOUBTED, TOGETHER, tmp_path)
    m = margins(tiny_models.lm("gpt2", 1), DOUBTED, SETTINGS.beta)
    w, p = np.array(WEIGHTS), np.array(SOFT)
    each = -p * np.log(1 / (1 + np.exp(-m))) - (1 - p) * np.log(1 / (1 + np.exp(m)))
    assert loss == pytest.approx(float(w @ each / w.sum()), rel=1e-5)
    both = [replace(x, weight=x.weight * x.probability) for x in DOUBTED] + [
        Preference(x.pair_id, x.rejected, x.chosen, weight=x.weight * (1 - x.probability))
        for x in DOUBTED
    ]
    twice, gradient_of_both = loss_and_gradient(both, SETTINGS, tmp_path)
    assert twice == pytest.approx(loss, rel=1e-5)
    close(gradient, gradient_of_both)
    hard, _ = loss_and_gradient(DOUBTED, SETTINGS, tmp_path)
    assert abs(hard - loss) > 0.01


def test_a_weight_of_two_is_the_row_twice(tmp_path):
    counts = [2, 1, 3, 1, 0, 1, 1, 2, 1, 1, 0, 4]
    weighted = [replace(p, weight=float(c)) for p, c in zip(PREFERENCES, counts, strict=True)]
    repeated = [p for p, c in zip(PREFERENCES, counts, strict=True) for _ in range(c)]
    loss, gradient = loss_and_gradient(weighted, SETTINGS, tmp_path)
    again, gradient_of_repeated = loss_and_gradient(repeated, SETTINGS, tmp_path)
    assert loss == pytest.approx(again, rel=1e-6)
    close(gradient, gradient_of_repeated)
    _, unweighted = loss_and_gradient(PREFERENCES, SETTINGS, tmp_path)
    with pytest.raises(AssertionError):
        close(gradient, unweighted)


def test_small_batches_are_right_on_average(tmp_path):
    """The mean of the batches' losses over an epoch is the weighted loss of the whole set."""
    lm = load(tiny_models.folder(), device="cpu")
    rows = read_rows(lm, WEIGHTED, SETTINGS)
    with quiet():
        trainer = make_trainer(lm, rows, SETTINGS, str(tmp_path))
    trainer.model.load_state_dict(tiny_models.lm("gpt2", 1).model.state_dict())
    data = list(as_dataset(rows))
    parts = [trainer.data_collator(data[k : k + 3]) for k in range(0, 12, 3)]
    got = np.mean([trainer.compute_loss(trainer.model, part).item() for part in parts])
    whole, _ = loss_and_gradient(WEIGHTED, SETTINGS, tmp_path)
    assert got == pytest.approx(whole, rel=1e-5)


class Stock(DPOTrainer):
    """TRL's loss, untouched, on data that is ready."""

    def _prepare_dataset(self, dataset: Dataset, *_, **__):
        return dataset

    def _precompute_ref_logps(self, dataset: Dataset, *_, **__):
        return dataset

    def _send_telemetry(self):
        pass


@torch.no_grad()
def logits(model):
    """What a model says: weights that do nothing (a bias of keys) follow the last digits' noise."""
    return model(input_ids=torch.tensor([[5, 9, 40, 77, 12, 300, 8]])).logits


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_equal_weights_train_as_stock_trl_does(kind, tmp_path):
    ours = train_dpo(
        tiny_models.folder(kind), PREFERENCES, SETTINGS, tmp_path / "ours", device="cpu"
    )
    lm = load(tiny_models.folder(kind), device="cpu")
    rows = read_rows(lm, PREFERENCES, SETTINGS)
    with quiet():
        arguments = make_trainer(copy.deepcopy(lm), rows, SETTINGS, str(tmp_path / "x")).args
        stock = Stock(
            model=lm.model.requires_grad_(True),
            args=arguments,
            train_dataset=as_dataset(rows).remove_columns(["weight", "target"]),
            processing_class=lm.tokenizer,
        )
        stock.train()
    told = [x for x in stock.state.log_history if "loss" in x]
    np.testing.assert_allclose(ours.losses, [x["loss"] for x in told], rtol=1e-5)
    mine = logits(load(tmp_path / "ours", device="cpu").model)
    torch.testing.assert_close(mine, logits(stock.model), rtol=1e-4, atol=1e-4)
    assert (mine - logits(tiny_models.lm(kind).model)).abs().max() > 0.05


def test_the_fused_head_of_gpus_gives_the_same(tmp_path):
    """What a GPU runs, on the CPU: TRL's own forward in place of ours."""
    lm = load(tiny_models.folder(), device="cpu")
    rows = read_rows(lm, DOUBTED, TOGETHER)
    with quiet():
        trainer = make_trainer(lm, rows, TOGETHER, str(tmp_path))
    batch = trainer.data_collator(list(as_dataset(rows)))
    plain, none = trainer._logps(trainer.model, batch)
    known = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
    fused = trainer.model(**known, labels=labels, fused_lm_head=True).log_probs.sum(1)
    assert none is None
    torch.testing.assert_close(plain, fused, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(plain.detach().view(2, -1).T, rows.reference, atol=1e-4)


@pytest.mark.slow
def test_parts_of_a_batch_add_up(tmp_path):
    """12 rows in batches of 8: a step of two parts and a step of one, as without parts."""
    settings = replace(SETTINGS, batch_size=8, soft_labels=True)
    whole = train_dpo(tiny_models.folder(), DOUBTED, settings, tmp_path / "a", device="cpu")
    parts = replace(settings, accumulation=2)
    got = train_dpo(tiny_models.folder(), DOUBTED, parts, tmp_path / "b", device="cpu")
    assert got.steps == whole.steps == 4
    np.testing.assert_allclose(got.losses, whole.losses, rtol=1e-4)
    a, b = (logits(load(tmp_path / x, device="cpu").model) for x in "ab")
    torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)
    assert (a - logits(tiny_models.lm().model)).abs().max() > 0.05


@pytest.mark.slow
def test_a_smaller_part_counts_its_rows_as_the_others_do(tmp_path):
    """7 rows in batches of 4: the second step has a part of two rows and a part of one."""
    settings = replace(SETTINGS, batch_size=4, epochs=1, soft_labels=True)
    parts = replace(settings, accumulation=2)
    whole, got = (
        train_dpo(
            tiny_models.folder(), DOUBTED[:7], s, tmp_path / str(s.accumulation), device="cpu"
        )
        for s in (settings, parts)
    )
    np.testing.assert_allclose(got.losses, whole.losses, rtol=1e-4)


def test_the_result_counts_weights_and_doubts(tmp_path):
    settings = replace(TOGETHER, epochs=4)
    result = train_dpo(tiny_models.folder(), DOUBTED, settings, tmp_path / "w", device="cpu")
    m = margins(load(tmp_path / "w", device="cpu"), DOUBTED, settings.beta)
    w, p = np.array(WEIGHTS) / sum(WEIGHTS), np.array(SOFT)
    each = p * np.log1p(np.exp(-m)) + (1 - p) * np.log1p(np.exp(m))
    assert result.final_loss == pytest.approx(w @ each, abs=1e-6)
    assert result.mean_margin == pytest.approx(w @ m, abs=1e-6)
    assert result.accuracy == pytest.approx(w @ (m > 0))
    assert result.final_loss < np.log(2) < 1


@pytest.mark.parametrize("weights", [(-1.0, 1.0), (float("nan"), 1.0), (0.0, 0.0)])
def test_bad_weights(weights, tmp_path):
    rows = [replace(p, weight=w) for p, w in zip(PREFERENCES, weights, strict=False)]
    with pytest.raises(UserError, match="weights must be finite"):
        train_dpo(tiny_models.folder(), rows, SETTINGS, tmp_path / "x", device="cpu")
    assert not (tmp_path / "x").exists()


def chat_folder(tmp_path):
    """The tiny model with a chat template."""
    folder = tmp_path / "chat"
    tiny_models.lm("llama").model.save_pretrained(folder)
    tiny_models.chat_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("rank", [None, 2])
def test_a_chat_model_from_end_to_end(rank, tmp_path):
    folder = chat_folder(tmp_path)
    prompt = ({"role": "user", "content": "Was it any good?"},)
    talk = [
        Preference("0", Example(prompt, "It was a joy."), Example(prompt, "I slept instead.")),
        Preference("1", Example(prompt, "Superb."), Example(prompt, "The worst that", False)),
    ]
    settings = replace(SETTINGS, batch_size=2, epochs=8, lora_rank=rank, learning_rate=1e-2)
    result = train_dpo(folder, talk, settings, tmp_path / "new", device="cpu")
    assert result.losses[0] == pytest.approx(np.log(2), abs=1e-5)
    before, after = load(folder, device="cpu"), load(tmp_path / "new", device="cpu")
    assert after.tokenizer.chat_template == tiny_models.TEMPLATE
    flat = encode_all(after.tokenizer, [e for p in talk for e in (p.chosen, p.rejected)])
    turn = after.tokenizer.decode(flat[0].prompt_ids + flat[0].completion_ids)
    assert turn == f"<user>Was it any good?\n<assistant>It was a joy.!{tiny_models.EOS}"
    ratio = completion_logprobs(after, flat) - completion_logprobs(before, flat)
    m = settings.beta * (ratio[::2] - ratio[1::2])
    assert result.mean_margin == pytest.approx(m.mean(), abs=1e-5)
    assert m.min() > 0.05


@pytest.mark.slow
def test_merged_adapters_say_what_the_adapters_said(tmp_path):
    lm = load(tiny_models.folder("llama"), device="cpu")
    settings = replace(SETTINGS, lora_rank=2, learning_rate=2e-2)
    rows = read_rows(lm, PREFERENCES, settings)
    with quiet():
        trainer = make_trainer(lm, rows, settings, str(tmp_path / "x"))
        trainer.train()
        adapted = logits(trainer.model)
        merged = logits(trainer.model.merge_and_unload())
    torch.testing.assert_close(adapted, merged, rtol=1e-5, atol=1e-5)
    assert (adapted - logits(tiny_models.lm("llama").model)).abs().max() > 0.05
    result = train_dpo(
        tiny_models.folder("llama"), PREFERENCES, settings, tmp_path / "new", device="cpu"
    )
    saved = logits(load(tmp_path / "new", device="cpu").model)
    torch.testing.assert_close(saved, adapted, rtol=1e-4, atol=1e-4)
    assert result.steps == 6
