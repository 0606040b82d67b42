"""What stage generate is told."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from whichpairs.endpoint.settings import (
    KEY_VARIABLE,
    REQUESTS_AT_ONCE,
    REQUESTS_PER_MINUTE,
    RETRIES,
    TIMEOUT,
)
from whichpairs.lm.settings import DEVICE, PRECISION
from whichpairs.setting import Setting


@dataclass(frozen=True)
class GenerateSettings:
    """What the user chose.

    Args:
        model: a model folder or hub name, or the name by which a server knows it; may be empty
            where `sources` names a model for each source.
        prompts: a file of prompts.
        n: completions a prompt; max_new_tokens, temperature, top_p, top_k, stop: see `Sampling`.
        holdout: share of prompts set aside for evaluation, in [0, 1).
        chunk: prompts a chunk, the unit of resuming (does not change the pool).
        backend: ``transformers``, ``server`` or ``vllm``; None: a server where `server` is given.
        server: a server's base URL; key_variable, requests_at_once, requests_per_minute, retries,
            timeout: see `ServerSettings`.
        api: ``chat`` puts plain prompts as a user's message, ``completions`` refuses messages;
            None takes every prompt as it is.
        system: a system message before every conversation that has none (makes all prompts chat).
        sources: a file of several sources; see `generate.sources`.
        dtype: of weights and matrix products, ``float32``, ``bfloat16`` or ``float16``.
    """

    model: Annotated[
        str,
        Setting(
            "Model folder, GGUF file, hub name, smollm2, or a server's name for it.",
            after="prompts",
            default="",
        ),
    ]
    prompts: Annotated[str, Setting("JSONL, JSON, Parquet, CSV, or a .txt of lines.", kind=Path)]
    n: Annotated[int, Setting("Completions a prompt.", flags=("-n", "--completions"))] = 16
    max_new_tokens: Annotated[int, Setting("Tokens a completion, at most.")] = 64
    temperature: Annotated[float, Setting("Sampling temperature.")] = 1.0
    top_p: Annotated[float, Setting("Nucleus sampling; 1 is off.")] = 1.0
    top_k: Annotated[int, Setting("The k likeliest tokens only; 0 is off.")] = 0
    prompt_column: Annotated[str, Setting("Column of the prompt.")] = "prompt"
    holdout: Annotated[float, Setting("Share of prompts held out.")] = 0.0
    seed: Annotated[int, Setting("Seed of the run.", low=0, after="beta")] = 0
    batch_size: Annotated[int, Setting("Completions side by side.", low=1, after="sources")] = 256
    chunk: int = 64
    device: Annotated[str, replace(DEVICE, after="batch_size")] = "auto"
    stop: Annotated[
        tuple[str, ...], Setting("A completion ends before this text; repeatable.", after="top_k")
    ] = ()
    api: Annotated[
        str | None,
        Setting(
            "chat: plain prompts become a user's message; or completions.", after="prompt_column"
        ),
    ] = None
    system: Annotated[
        str | None, Setting("System message before every conversation without one.", after="api")
    ] = None
    backend: Annotated[
        str | None, Setting("transformers, server or vllm; server where a URL is given.")
    ] = None
    server: Annotated[str | None, Setting("Base URL of an OpenAI-compatible server.")] = field(
        default=None, repr=False
    )
    key_variable: Annotated[str, KEY_VARIABLE] = "OPENAI_API_KEY"
    requests_at_once: Annotated[int, REQUESTS_AT_ONCE] = 8
    requests_per_minute: Annotated[float | None, REQUESTS_PER_MINUTE] = None
    retries: Annotated[int, RETRIES] = 6
    timeout: Annotated[float, TIMEOUT] = 120.0
    sources: Annotated[
        str | None, Setting("TOML or JSON file of several sources for one pool.", kind=Path)
    ] = None
    dtype: Annotated[str, PRECISION] = "float32"
