"""Loading, encoding and scoring, against values worked out by hand and one-at-a-time twins."""

import hashlib
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tiny_models
from tiny_models import EOS, EXAMPLES, SENTENCES
from whichpairs.errors import MissingExtraError, UserError
from whichpairs.lm.batch import pad, sorted_batches
from whichpairs.lm.encode import Encoded, decode, encode, encode_all, encode_prompt, lengths_within
from whichpairs.lm.folder import fingerprint
from whichpairs.lm.logprobs import completion_logprobs
from whichpairs.lm.model import load
from whichpairs.lm.optional import quiet, require
from whichpairs.types import Example


def slow_logprob(lm, e: Encoded) -> float:
    """One sequence, no padding, float64 softmax, a loop over tokens."""
    ids = torch.tensor([e.prompt_ids + e.completion_ids])
    logits = lm.model(input_ids=ids).logits[0].double()
    places = range(len(e.prompt_ids), len(e))
    return sum(float(logits[t - 1].log_softmax(-1)[ids[0, t]]) for t in places)


def test_load_gives_a_model_ready_for_inference():
    lm = tiny_models.lm()
    assert not lm.model.training
    assert not any(p.requires_grad for p in lm.model.parameters())
    assert (lm.device, lm.context, lm.eos_ids) == ("cpu", 64, (0,))
    assert lm.tokenizer.pad_token_id == 0


def test_pad_token_is_the_end_token_where_there_is_none(tmp_path):
    shutil.copytree(tiny_models.folder(), tmp_path / "m")
    bare = tiny_models.chat_tokenizer()
    bare.pad_token = None
    bare.save_pretrained(tmp_path / "m")
    assert load(tmp_path / "m", device="cpu").tokenizer.pad_token == EOS


@pytest.mark.parametrize("path", [Path("no_such_folder"), "./no/such", "a/b/c", "/nowhere"])
def test_a_missing_folder_is_one_line_of_error(path):
    with pytest.raises(UserError, match="a model's path must be an existing folder") as error:
        load(path, device="cpu")
    assert "\n" not in str(error.value)


def test_a_hub_name_that_is_out_of_reach_is_one_line_of_error(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="or a name on the Hugging Face hub") as error:
        load("whichpairs-no-such/model", device="cpu")
    assert "\n" not in str(error.value)


def test_what_cannot_be_loaded_says_so(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="must hold a causal language model"):
        load(tmp_path, device="cpu")
    shutil.copytree(tiny_models.folder(), tmp_path / "m")
    wide = tiny_models.chat_tokenizer()
    wide.add_tokens("whichpairs")
    wide.save_pretrained(tmp_path / "m")
    with pytest.raises(UserError, match="has 321 in the tokenizer and 320 in the model"):
        load(tmp_path / "m", device="cpu")
    (tmp_path / "m" / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(UserError, match="must hold a causal language model"):
        load(tmp_path / "m", device="cpu")
    with pytest.raises(UserError, match="device must be one that torch can use"):
        load(tiny_models.folder(), device="no-such-device")
    with pytest.raises(
        UserError, match="dtype must be one of float32, bfloat16, float16; got int8"
    ):
        load(tiny_models.folder(), dtype="int8")


@pytest.fixture
def model(tmp_path):
    """A folder of the tiny model that may be changed."""
    return Path(shutil.copytree(tiny_models.folder(), tmp_path / "m"))


def test_fingerprint_is_of_every_file_that_is_loaded(model):
    plain = b""
    for name in sorted(p.name for p in model.iterdir()):
        data = (model / name).read_bytes()
        plain += f"{name}\0{len(data)}\0".encode() + data
    found = fingerprint(model)
    assert found == hashlib.sha256(plain).hexdigest()[:16] == tiny_models.lm().fingerprint
    for name in ("README.md", "LICENSE.txt", "eval_results.json", "trainer_state.json", ".x.json"):
        (model / name).write_text("{}")
        assert (fingerprint(model) == found) == (name != ".x.json"), name


CHANGED = {
    "config.json": b"{ }",
    "generation_config.json": b'{"eos_token_id": 5}',
    "tokenizer_config.json": b'{"add_bos_token": true}',
    "chat_template.jinja": b"{{ messages }}",
    "additional_chat_templates/tools.jinja": b"{{ messages }}",
    "special_tokens_map.json": b'{"eos_token": "a"}',
    "added_tokens.json": b'{"<a>": 320}',
    "vocab.txt": b"a",
    "merges.txt": b"a b",
    "spiece.model": b"1",
    "adapter_config.json": b'{"r": 2}',
    "adapter_model.safetensors": b"1",
    "model-00002-of-00002.safetensors": b"1",
}


@pytest.mark.parametrize("name", CHANGED)
def test_what_changes_the_result_is_another_model(model, name):
    before = fingerprint(model)
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).write_bytes(CHANGED[name])
    assert fingerprint(model) != before


def test_one_bit_of_the_weights_is_another_model(model):
    weights = bytearray((model / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (model / "model.safetensors").write_bytes(weights)
    assert fingerprint(model) != fingerprint(tiny_models.folder())


def test_modules_of_an_embedder_are_fingerprinted(model):
    (model / "modules.json").write_text('[{"path": ""}, {"path": "1_Pooling"}, {"path": "../x"}]')
    (model / "1_Pooling").mkdir()
    before = fingerprint(model)
    (model / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    assert fingerprint(model) != before


def test_an_adapter_is_merged_into_its_base(model, tmp_path):
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(r=2, target_modules=["c_fc"], fan_in_fan_out=True, init_lora_weights=False)
    torch.manual_seed(0)
    adapted = get_peft_model(load(model, device="cpu").model, lora)
    adapted.base_model.model.name_or_path = str(model)
    adapted.peft_config["default"].base_model_name_or_path = str(model)
    folder = tmp_path / "adapter"
    adapted.save_pretrained(folder)
    tiny_models.tokenizer().save_pretrained(folder)
    found, base = load(folder, device="cpu"), load(model, device="cpu")
    names = {name for name, _ in base.model.named_parameters()}
    assert {name for name, _ in found.model.named_parameters()} == names
    ids = torch.tensor([[5, 6, 7]])
    assert torch.allclose(found.model(ids).logits, adapted(ids).logits, atol=1e-5)
    assert not torch.allclose(found.model(ids).logits, base.model(ids).logits, atol=1e-2)
    for file in folder.glob("*token*"):
        file.unlink()
    bare = load(folder, device="cpu")  # an adapter alone has its base's tokenizer
    assert bare.tokenizer.get_vocab() == base.tokenizer.get_vocab()
    assert torch.equal(bare.model(ids).logits, found.model(ids).logits)
    before = fingerprint(folder)
    assert bare.fingerprint == before != found.fingerprint
    (model / "config.json").write_text((model / "config.json").read_text() + " ")
    assert fingerprint(folder) != before
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": null}')
    with pytest.raises(UserError, match="an adapter must name its base model"):
        load(folder, device="cpu")


@pytest.mark.parametrize("kind", ["gpt2", "llama", "gpt_neox"])
def test_the_head_gets_its_input_in_one_piece(kind):
    """With gaps in it torch copies the head once a sequence: most of the time of a pass."""
    lm = load(tiny_models.folder(kind), device="cpu")
    seen = []
    lm.model.get_output_embeddings().register_forward_pre_hook(
        lambda _, given: seen.append(given[0].is_contiguous())
    )
    told = [Example("The film I saw", text) for text in (" was a joy", " was bad")]
    completion_logprobs(lm, encode_all(lm.tokenizer, told))
    assert seen
    assert all(seen)


def test_encode_joins_prompt_completion_and_end_token():
    tok = tiny_models.tokenizer()
    film, joy = tok("The film")["input_ids"], tok(" was a joy")["input_ids"]
    assert encode(tok, Example("The film", " was a joy")) == Encoded((*film,), (*joy, 0))
    assert encode(tok, Example("The film", " was a joy", False)) == Encoded((*film,), (*joy,))
    assert encode(tok, Example("", " was a joy", False)) == Encoded((0,), (*joy,))
    assert encode(tok, Example("The film", "")) == Encoded((*film,), (0,))
    assert encode(tok, Example("The film", "", False)) == Encoded((*film,), ())


def test_encode_all_is_encode_one_by_one():
    tok = tiny_models.tokenizer()
    assert encode_all(tok, EXAMPLES, 9) == [encode(tok, e, 9) for e in EXAMPLES]


def test_a_special_token_is_one_in_a_prompt_and_text_in_a_completion():
    tok = tiny_models.tokenizer()
    e = encode(tok, Example(EOS + "The", EOS + "film", False))
    assert e.prompt_ids == (0, *tok("The")["input_ids"])
    assert 0 not in e.completion_ids
    assert tok.decode(e.completion_ids) == EOS + "film"


@pytest.mark.slow
@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_comes_back_from_its_tokens(prompt, completion):
    e = encode(tiny_models.tokenizer(), Example(prompt, completion, False))
    text = tiny_models.tokenizer().decode(e.completion_ids)
    assert text == completion


def test_max_length_keeps_the_end_of_the_prompt_and_the_start_of_the_completion():
    tok = tiny_models.tokenizer()
    whole = encode(tok, Example(SENTENCES[0], SENTENCES[1]))
    n, m = len(whole.prompt_ids), len(whole.completion_ids)
    cut = encode(tok, Example(SENTENCES[0], SENTENCES[1]), m + 10)
    assert m > 10
    assert cut == Encoded(
        whole.prompt_ids[n - max(10, (m + 10) // 2) :], whole.completion_ids[: (m + 11) // 2]
    )
    assert encode(tok, Example(SENTENCES[0], SENTENCES[1]), n + m) == whole


@pytest.mark.parametrize(
    ("prompt", "completion", "most", "kept"),
    [
        (5, 5, None, (5, 5)),
        (5, 5, 10, (5, 5)),
        (8, 2, 6, (4, 2)),  # a short completion is kept whole
        (2, 8, 6, (2, 4)),  # and so is a short prompt
        (8, 8, 6, (3, 3)),  # of two long ones half is kept of each
        (8, 8, 7, (3, 4)),
        (1, 9, 2, (1, 1)),
    ],
)
def test_lengths_within(prompt, completion, most, kept):
    assert lengths_within(prompt, completion, most) == kept


@given(st.integers(1, 60), st.integers(0, 60), st.integers(2, 80))
def test_lengths_within_cuts_no_more_than_it_must(prompt, completion, most):
    p, c = lengths_within(prompt, completion, most)
    assert p + c == min(prompt + completion, most)
    assert 1 <= p <= prompt
    assert 0 <= c <= completion
    assert p >= min(prompt, most // 2)
    assert c >= min(completion, most // 2)


def test_a_chat_completion_is_what_the_template_adds():
    tok = tiny_models.chat_tokenizer()
    turns = ({"role": "user", "content": "The film?"},)
    done = encode(tok, Example(turns, "superb"))
    assert tok.decode(done.prompt_ids) == "<user>The film?\n<assistant>"
    assert tok.decode(done.completion_ids) == "superb!" + EOS
    cut = encode(tok, Example(turns, "superb", False))
    assert tok.decode(cut.completion_ids) == "superb"
    assert encode(tok, Example(turns, EOS, False)).completion_ids.count(0) == 0
    tok.chat_template = "{% for m in messages %}{{ m['content'] | upper }}{% endfor %}"
    assert tok.decode(encode(tok, Example(turns, "superb")).completion_ids) == "superb" + EOS


def test_messages_need_a_chat_template():
    turns = ({"role": "user", "content": "The film?"},)
    with pytest.raises(UserError, match="need a tokenizer with a chat template"):
        encode(tiny_models.tokenizer(), Example(turns, "superb"))
    strict = tiny_models.chat_tokenizer()
    strict.chat_template = "{{ raise_exception('only assistants') }}"
    with pytest.raises(UserError, match="only assistants"):
        encode(strict, Example(turns, "superb"))


def test_a_beginning_token_is_added_where_the_tokenizer_adds_one():
    from tokenizers.processors import TemplateProcessing

    tok = tiny_models.chat_tokenizer()
    plain = encode_prompt(tok, "The film")
    tok.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{EOS} $A", pair=None, special_tokens=[(EOS, 0)]
    )
    assert encode_prompt(tok, "The film") == (0, *plain)
    assert encode_prompt(tok, EOS + "The film") == (0, *plain)
    assert encode(tok, Example("The film", " was", False)).completion_ids[0] != 0


def test_decode_drops_a_broken_character_at_the_end_only():
    tok = tiny_models.tokenizer()
    byte = {b: tok.convert_tokens_to_ids(t) for b, t in ((0xC3, "Ã"), (0xA9, "©"), (0x61, "a"))}
    a, lead, rest = byte[0x61], byte[0xC3], byte[0xA9]
    assert decode(tok, [[a, lead, rest], [a, lead], [lead, a], [0, a]]) == [
        "aé",
        "a",
        "\ufffda",
        "a",
    ]


def test_logprobs_are_those_of_one_sequence_at_a_time():
    lm = tiny_models.lm()
    encoded = encode_all(lm.tokenizer, [*EXAMPLES, Example("The film", "", False)])
    plain = [slow_logprob(lm, e) for e in encoded]
    for batch_size in (1, 3, 64):
        np.testing.assert_allclose(
            completion_logprobs(lm, encoded, batch_size=batch_size), plain, rtol=1e-5
        )
    assert completion_logprobs(lm, encoded)[-1] == 0.0
    assert completion_logprobs(lm, []).shape == (0,)


@pytest.mark.parametrize("kind", ["llama", "gpt_neox", "gemma3"])
def test_logprobs_of_other_architectures(kind):
    lm = tiny_models.lm(kind)
    encoded = encode_all(lm.tokenizer, EXAMPLES)
    np.testing.assert_allclose(
        completion_logprobs(lm, encoded), [slow_logprob(lm, e) for e in encoded], rtol=1e-4
    )


def test_probabilities_of_all_next_tokens_sum_to_one():
    lm = tiny_models.lm()
    start = encode_prompt(lm.tokenizer, "The film")
    every = [Encoded(start, (v,)) for v in range(320)]
    assert np.exp(completion_logprobs(lm, every)).sum() == pytest.approx(1.0, abs=1e-5)


def test_a_sequence_beyond_the_context_is_an_error():
    with pytest.raises(UserError, match=r"must fit the 64 tokens .* the longest has 65"):
        completion_logprobs(tiny_models.lm(), [Encoded((1,) * 5, (2,) * 60)])


def test_padding_and_batches_by_hand():
    batch = pad([Encoded((5, 6), (7,)), Encoded((8,), (9, 10, 11))], 99)
    assert batch.input_ids.tolist() == [[5, 6, 7, 99], [8, 9, 10, 11]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3]] * 2
    assert batch.completion.int().tolist() == [[0, 0, 1, 0], [0, 1, 1, 1]]
    assert batch.first == 1
    assert [b.tolist() for b in sorted_batches([3, 9, 3, 5], 3)] == [[1, 3, 0], [2]]
    with pytest.raises(UserError, match="batch_size must be at least 1"):
        list(sorted_batches([1], 0))


def test_a_missing_package_names_its_extra(monkeypatch, tmp_path):
    with pytest.raises(MissingExtraError, match=r"pip install 'whichpairs\[train\]'"):
        require("no_such_package_at_all", "train")
    (tmp_path / "broken_package.py").write_text("import no_such_package_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError):
        require("broken_package", "train")
    sys.modules.pop("broken_package", None)


def test_quiet_puts_the_verbosity_back():
    from transformers.utils import logging

    usual = logging.get_verbosity()
    try:
        logging.set_verbosity_info()
        logging.enable_progress_bar()
        with quiet():
            assert logging.get_verbosity() == logging.ERROR
            assert not logging.is_progress_bar_enabled()
        assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (logging.INFO, True)
    finally:
        logging.set_verbosity(usual)


WEATHER = ({"role": "user", "content": "Weather?"},)
RESULT = {"role": "tool", "content": "Rain", "name": "look", "tool_call_id": "1"}
PLAIN = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{{ eos_token }}{% endfor %}"
CALLING = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] or '' }}"
    "{% for c in m['tool_calls'] or [] %}[{{ c['function']['arguments']['q'] }}]{% endfor %}"
    "{{ eos_token }}{% endfor %}"
)
TURN = "{% if add_generation_prompt %}<assistant>{% endif %}"


def asks(place: str, content: str | None) -> dict:
    """A turn that calls a tool."""
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": {"q": place}}}
    return {"role": "assistant", "content": content, "tool_calls": [call]}


@pytest.mark.parametrize("knows", [True, False])
def test_a_chat_template_shows_the_calls_or_their_json_is_the_content(knows: bool) -> None:
    tok = tiny_models.tokenizer()
    tok.chat_template = (CALLING if knows else PLAIN) + TURN

    def reads(example: Example) -> str:
        one = encode(tok, example)
        assert one.completion_ids[-1] == tok.eos_token_id
        assert list(one.completion_ids).count(tok.eos_token_id) == 1
        assert "None" not in tok.decode(one.prompt_ids + one.completion_ids)
        return tok.decode(one.completion_ids[:-1])

    text = 'Let me look.\n{"tool_calls": [1]}'
    found = reads(Example(WEATHER, text, True, asks("Oslo", "Let me look.")))
    assert found == ("Let me look.[Oslo]" if knows else text)
    cut = encode(tok, Example(WEATHER, text, False, asks("Oslo", "Let me look.")))
    assert tok.eos_token_id not in cut.completion_ids
    before = [(*WEATHER, asks(place, None), RESULT) for place in ("Oslo", "Rome")]
    oslo, rome = (tok.decode(encode_prompt(tok, turns)) for turns in before)
    assert "Oslo" in oslo
    assert "Rome" in rome
    assert "None" not in oslo
    assert oslo.replace("Oslo", "Rome") == rome
