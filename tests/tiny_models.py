"""Random language models of a few thousand parameters, made on the spot, without network."""

import atexit
import copy
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

from whichpairs.lm.model import LanguageModel, load
from whichpairs.lm.optional import quiet
from whichpairs.types import Example

EOS = "<|endoftext|>"
SENTENCES = [
    "The film was a joy from its first scene to its last, and the cast is superb.",
    "I saw this movie on a Sunday and I wish that I had slept instead.",
    "A naïve café owner finds a naïve friend; the story never finds its way.",
    "It is not the best film that I have ever seen, but it is far from the worst.",
]
TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}"
    "{% if m['role'] == 'assistant' %}!" + EOS + "{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
"""A chat template that closes the assistant's turn with an exclamation mark and the end token."""

SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
}
GROUPED = {**SMALL, "num_key_value_heads": 1, "head_dim": 8}


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of 320 tokens."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=[EOS], initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(SENTENCES * 4, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=EOS,
        eos_token=EOS,
        pad_token=EOS,
        clean_up_tokenization_spaces=False,
    )


def config(kind: str) -> Any:
    """The configuration of a tiny model of this architecture."""
    tokens = {"vocab_size": 320, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    if kind == "gpt2":
        shape = {"n_positions": 64, "n_embd": 16, "n_layer": 2, "n_head": 2}
        still = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        return GPT2Config(**tokens, **shape, **still, initializer_range=0.3)
    if kind == "gpt_neox":
        return GPTNeoXConfig(**tokens, **SMALL, initializer_range=0.3)
    if kind == "llama":
        return LlamaConfig(**tokens, **GROUPED, initializer_range=0.3)
    if kind == "qwen3":
        return Qwen3Config(**tokens, **GROUPED, initializer_range=0.3, tie_word_embeddings=True)
    return Gemma3TextConfig(**tokens, **GROUPED, initializer_range=0.3, sliding_window=32)


@cache
def folder(kind: str = "gpt2", seed: int = 0) -> Path:
    """A folder with the model; `seed` chooses its weights."""
    path = Path(tempfile.mkdtemp(prefix="whichpairs-tiny-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    with torch.random.fork_rng(), quiet():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config(kind))
        for p in model.parameters():
            if (
                p.ndim == 1
            ):  # norms and biases start at exact ones and zeros, which would hide errors
                p.data += 0.2 * torch.randn_like(p)
        model.save_pretrained(path)
        tokenizer().save_pretrained(path)
    return path


@cache
def lm(kind: str = "gpt2", seed: int = 0) -> LanguageModel:
    """The model, loaded with `whichpairs.lm.model.load` on the CPU."""
    return load(folder(kind, seed), device="cpu")


def chat_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer with `TEMPLATE`."""
    copied = copy.deepcopy(tokenizer())
    copied.chat_template = TEMPLATE
    return copied


EXAMPLES = [
    Example("The film", " was a joy", True),
    Example("The film", " was far from the best that I have ever seen", False),
    Example("", "I saw this movie", True),
    Example("I wish that I had", "", True),
    Example("A café", " naïve owner finds", False),
    Example("It is not", " superb.", True),
]
"""Completions of several lengths: finished and not, an empty prompt, an empty completion."""
