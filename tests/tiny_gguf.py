"""A GGUF file of a random llama of two layers, written from a model that transformers holds."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, get_tensor_name_map
from gguf.constants import MODEL_ARCH
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig

from tiny_models import SENTENCES

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HEADS, GROUPS, WIDTH, TOKENS = 4, 2, 32, 330


@cache
def original(tied: bool = True) -> Any:
    """The model that the file is written from."""
    config = LlamaConfig(
        vocab_size=TOKENS,
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=GROUPS,
        max_position_embeddings=96,
        rms_norm_eps=1e-5,
        rope_theta=5000.0,
        tie_word_embeddings=tied,
        initializer_range=0.3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        for p in model.parameters():
            if p.ndim == 1:
                p.data += 0.2 * torch.randn_like(p)
    return model.requires_grad_(False).eval()


@cache
def bpe() -> Tokenizer:
    """A byte-level BPE that knows two blanks as one token, and ' 1' and '12' as none."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=TOKENS,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(SENTENCES * 4 + ["  12  34"] * 9, trainer)
    assert core.get_vocab_size() == TOKENS
    return core


def write(file: Path, *, tied: bool = True, pre: str = "smollm", eot: int | None = None) -> Path:
    """The file: float32, but for the feed-forward matrices of layer 0, which are float16."""
    out = GGUFWriter(file, "llama")
    config = original(tied).config
    out.add_license("apache-2.0")
    out.add_block_count(2)
    out.add_context_length(config.max_position_embeddings)
    out.add_embedding_length(WIDTH)
    out.add_feed_forward_length(config.intermediate_size)
    out.add_head_count(HEADS)
    out.add_head_count_kv(GROUPS)
    out.add_rope_freq_base(config.rope_parameters["rope_theta"])
    out.add_layer_norm_rms_eps(config.rms_norm_eps)
    out.add_vocab_size(TOKENS)
    _add_tokenizer(out, pre, eot)
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, 2)
    for name, weight in original(tied).state_dict().items():
        if name == "lm_head.weight" and tied:
            continue
        value = _permuted(name, weight.numpy())
        theirs = names.get_name(name, try_suffixes=(".weight",))
        half = "layers.0.mlp" in name
        kind = GGMLQuantizationType.F16 if half else GGMLQuantizationType.F32
        out.add_tensor(theirs, value.astype(np.float16) if half else value, raw_dtype=kind)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return file


def _add_tokenizer(out: GGUFWriter, pre: str, eot: int | None) -> None:
    core = bpe()
    vocabulary = sorted(core.get_vocab().items(), key=lambda item: item[1])
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre(pre)
    out.add_token_list([token for token, _ in vocabulary])
    out.add_token_types([3 if token in SPECIAL else 1 for token, _ in vocabulary])
    merges = json.loads(core.to_str())["model"]["merges"]
    out.add_token_merges([" ".join(pair) for pair in merges])
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_unk_token_id(0)
    out.add_pad_token_id(2)
    out.add_add_bos_token(False)
    out.add_chat_template(TEMPLATE)
    if eot is not None:
        out.add_eot_token_id(eot)


def _permuted(name: str, weight: np.ndarray) -> np.ndarray:
    """Rows of queries and keys in the order of llama.cpp's rotation."""
    heads = {"q_proj": HEADS, "k_proj": GROUPS}
    for part, count in heads.items():
        if part in name:
            shape = (count, 2, weight.shape[0] // count // 2, *weight.shape[1:])
            return np.ascontiguousarray(weight.reshape(shape).swapaxes(1, 2).reshape(weight.shape))
    return weight
