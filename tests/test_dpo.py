"""DPO through TRL, against the loss worked out from log-probabilities of whole sequences."""

import math
import os
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import tiny_models
from whichpairs.errors import UserError
from whichpairs.lm.encode import Encoded, encode, encode_all
from whichpairs.lm.logprobs import completion_logprobs
from whichpairs.lm.model import load
from whichpairs.lm.optional import quiet
from whichpairs.train.dpo import DPOSettings, encode_pairs, read_rows, train_dpo
from whichpairs.train.trainer import as_dataset, make_trainer
from whichpairs.types import Example, Preference

ENDINGS = [
    (" superb", " far from the best"),
    (" a joy", " worst"),
    (" was a joy from", " slept"),
    ("", " is"),
]
PREFERENCES = [
    Preference(f"{i}", Example(prompt, good, i % 2 == 0), Example(prompt, bad, i % 3 == 0))
    for i, (prompt, (good, bad)) in enumerate(
        (prompt, ending) for prompt in ("The film is", "It", "") for ending in ENDINGS
    )
]
SETTINGS = DPOSettings(beta=0.3, learning_rate=3e-3, epochs=2, batch_size=4)


def margins(policy, reference, settings=SETTINGS):
    """β [log π/π_ref(chosen) − log π/π_ref(rejected)] by scoring each completion."""
    ids = [encode_all(reference.tokenizer, [p.chosen, p.rejected]) for p in PREFERENCES]
    flat = [e for pair in ids for e in pair]
    ratio = completion_logprobs(policy, flat) - completion_logprobs(reference, flat)
    return settings.beta * (ratio[::2] - ratio[1::2])


class Watching:
    """A `Progress` that remembers."""

    def __init__(self):
        self.said = []

    def start(self, what, total):
        self.said.append((what, total))

    def advance(self, units=1, note=""):
        self.said.append(units)

    def finish(self):
        self.said.append("finished")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One run of six steps: its result, its policy and what it told."""
    out = tmp_path_factory.mktemp("policy") / "new"
    watching = Watching()
    result = train_dpo(
        tiny_models.folder(), PREFERENCES, SETTINGS, out, device="cpu", progress=watching
    )
    return result, load(out, device="cpu"), watching, out


def test_the_first_loss_is_log_two(trained):
    result, *_ = trained
    assert result.losses[0] == pytest.approx(math.log(2), abs=1e-5)
    assert len(result.losses) == result.steps == 6


def test_the_result_is_of_the_saved_policy(trained):
    result, policy, watching, out = trained
    m = margins(policy, tiny_models.lm())
    assert result.mean_margin == pytest.approx(m.mean(), abs=1e-6)
    assert result.final_loss == pytest.approx(np.mean(np.log1p(np.exp(-m))), abs=1e-6)
    assert result.accuracy == pytest.approx(np.mean(m > 0))
    assert result.final_loss < 0.9 * math.log(2)
    assert result.seconds > 0
    assert watching.said == [("DPO", 6), *[1] * 6, "finished"]
    names = {"config.json", "generation_config.json", "model.safetensors"}
    assert {p.name for p in out.iterdir()} == names | {"tokenizer.json", "tokenizer_config.json"}


@pytest.mark.slow
def test_the_same_call_gives_the_same_weights(trained, tmp_path, monkeypatch, capfd):
    *_, out = trained
    monkeypatch.chdir(tmp_path)
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    train_dpo(tiny_models.folder(), PREFERENCES, SETTINGS, tmp_path / "again", device="cpu")
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert states == after
    assert os.listdir() == ["again"]
    assert capfd.readouterr() == ("", "")
    first, second = (load_file(p / "model.safetensors") for p in (out, tmp_path / "again"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = replace(SETTINGS, seed=1)
    train_dpo(tiny_models.folder(), PREFERENCES, other, tmp_path / "other", device="cpu")
    third = load_file(tmp_path / "other" / "model.safetensors")
    assert not all(torch.equal(first[name], third[name]) for name in first)


def test_trl_has_the_loss_of_the_formula(tmp_path):
    lm, reference = load(tiny_models.folder(), device="cpu"), tiny_models.lm()
    rows = read_rows(lm, PREFERENCES, SETTINGS)
    with quiet():
        trainer = make_trainer(lm, rows, SETTINGS, str(tmp_path))
        trainer.train()
        batch = trainer.data_collator(list(as_dataset(rows)))
        with torch.no_grad():
            loss = float(trainer.compute_loss(trainer.model, batch))
    m = margins(lm, reference)
    assert abs(m).max() > 0.3
    assert loss == pytest.approx(float(np.mean(np.log1p(np.exp(-m)))), rel=1e-5)


def test_trl_sees_the_tokens_of_encode():
    lm = tiny_models.lm()
    rows = list(as_dataset(read_rows(lm, PREFERENCES, SETTINGS)))
    for row, p in zip(rows, PREFERENCES, strict=True):
        chosen, rejected = encode(lm.tokenizer, p.chosen), encode(lm.tokenizer, p.rejected)
        assert row["prompt_ids"] == list(chosen.prompt_ids)
        assert row["chosen_ids"] == list(chosen.completion_ids)
        assert row["rejected_ids"] == list(rejected.completion_ids)
        assert (row["chosen_ids"][-1:] == [0]) == p.chosen.finished


def test_max_length_cuts_both_prompts_alike():
    lm = tiny_models.lm()
    prompt = "I wish that I had slept instead"
    pair = Preference(
        "p", Example(prompt, " a"), Example(prompt, " the cast is superb and the end")
    )
    ((chosen, rejected),), cut = encode_pairs(lm, [pair], 12)
    assert cut == [True]
    assert encode_pairs(lm, [pair], None)[1] == encode_pairs(lm, [pair], 40)[1] == [False]
    whole = encode(lm.tokenizer, pair.rejected)
    assert chosen.prompt_ids == rejected.prompt_ids == whole.prompt_ids[-6:]
    assert rejected == Encoded(whole.prompt_ids[-6:], whole.completion_ids[:6])
    assert chosen.completion_ids == encode(lm.tokenizer, pair.chosen).completion_ids


def test_adapters_are_merged_into_a_plain_model(tmp_path):
    settings = replace(SETTINGS, lora_rank=2, learning_rate=2e-2)
    result = train_dpo(tiny_models.folder(), PREFERENCES, settings, tmp_path / "lora", device="cpu")
    policy = load(tmp_path / "lora", device="cpu")
    m = margins(policy, tiny_models.lm())
    assert result.losses[0] == pytest.approx(math.log(2), abs=1e-5)
    assert result.mean_margin == pytest.approx(m.mean(), abs=1e-6)
    assert result.mean_margin > 0.02
    before, after = (dict(x.model.named_parameters()) for x in (tiny_models.lm(), policy))
    assert before.keys() == after.keys()
    same = {name for name in before if torch.equal(before[name], after[name])}
    matrices = {n for n in before if ".h." in n and before[n].ndim == 2}
    assert same == before.keys() - matrices
    change = after["transformer.h.0.mlp.c_fc.weight"] - before["transformer.h.0.mlp.c_fc.weight"]
    assert torch.linalg.matrix_rank(change, atol=1e-5) == 2


def test_bad_calls_are_user_errors(tmp_path):
    model = tiny_models.folder()
    with pytest.raises(UserError, match="at least one preference"):
        train_dpo(model, [], SETTINGS, tmp_path / "x", device="cpu")
    crossed = Preference("p7", Example("a", "b"), Example("c", "d"))
    with pytest.raises(UserError, match="pair p7 has two"):
        train_dpo(model, [crossed], SETTINGS, tmp_path / "x", device="cpu")
    long = Preference("p8", Example("a", "bc" * 60), Example("a", "d"))
    with pytest.raises(UserError, match="must fit the 64 tokens"):
        train_dpo(model, [long], SETTINGS, tmp_path / "x", device="cpu")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"beta": 0.0}, "beta must be above 0"),
        ({"learning_rate": -1.0}, "learning_rate must be above 0"),
        ({"learning_rate": float("inf")}, "learning_rate must be above 0"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"lora_rank": 0}, "lora_rank must be at least 1"),
        ({"warmup_ratio": 1.0}, "warmup_ratio from 0 to below 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"accumulation": 3}, "accumulation must divide batch_size"),
        ({"validation": 1.0}, "validation must be from 0 to below 1"),
    ],
)
def test_settings_out_of_range(values, rule):
    with pytest.raises(UserError, match=rule):
        DPOSettings(**values)
