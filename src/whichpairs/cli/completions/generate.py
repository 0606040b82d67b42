"""`whichpairs generate`."""

from pathlib import Path
from typing import Annotated

import typer

from whichpairs.cli.completions.unread import given, say_idle
from whichpairs.cli.options.common import (
    BetaOption,
    DeviceOption,
    JsonOption,
    PrecisionOption,
    RunOption,
    show,
)
from whichpairs.cli.options.server import (
    AtOnceOption,
    KeyVariableOption,
    PerMinuteOption,
    RetriesOption,
    TimeoutOption,
)
from whichpairs.cli.progress import Bars

PromptsOption = Annotated[Path, typer.Option(help="JSONL, JSON, Parquet, CSV, or a .txt of lines.")]
ModelOption = Annotated[
    str, typer.Option(help="Model folder, GGUF file, hub name, smollm2, or a server's name for it.")
]
CompletionsOption = Annotated[
    int, typer.Option("-n", "--completions", help="Completions a prompt.")
]
StopOption = Annotated[
    list[str] | None, typer.Option(help="A completion ends before this text; repeatable.")
]
ApiOption = Annotated[
    str | None,
    typer.Option(help="chat: plain prompts become a user's message; or completions."),
]
SystemOption = Annotated[
    str | None, typer.Option(help="System message before every conversation without one.")
]
BackendOption = Annotated[
    str | None, typer.Option(help="transformers, server or vllm; server where a URL is given.")
]
ServerOption = Annotated[str | None, typer.Option(help="Base URL of an OpenAI-compatible server.")]
SourcesOption = Annotated[
    Path | None, typer.Option(help="TOML or JSON file of several sources for one pool.")
]


def command(
    context: typer.Context,
    run: RunOption,
    prompts: PromptsOption,
    model: ModelOption = "",
    n: CompletionsOption = 16,
    max_new_tokens: Annotated[int, typer.Option(help="Tokens a completion, at most.")] = 64,
    temperature: Annotated[float, typer.Option(help="Sampling temperature.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Nucleus sampling; 1 is off.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="The k likeliest tokens only; 0 is off.")] = 0,
    stop: StopOption = None,
    prompt_column: Annotated[str, typer.Option(help="Column of the prompt.")] = "prompt",
    api: ApiOption = None,
    system: SystemOption = None,
    holdout: Annotated[float, typer.Option(help="Share of prompts held out.")] = 0.0,
    backend: BackendOption = None,
    server: ServerOption = None,
    key_variable: KeyVariableOption = "OPENAI_API_KEY",
    requests_at_once: AtOnceOption = 8,
    requests_per_minute: PerMinuteOption = None,
    retries: RetriesOption = 6,
    timeout: TimeoutOption = 120.0,
    sources: SourcesOption = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Completions side by side.")] = 256,
    device: DeviceOption = "auto",
    dtype: PrecisionOption = "float32",
    beta: BetaOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the run.")] = 0,
    json_: JsonOption = False,
) -> None:
    """Sample a pool from a model, or several; a killed call goes on where it stopped."""
    from whichpairs.workflow.generate import GenerateSettings, check_read, generate_pool

    settings = GenerateSettings(
        model,
        str(prompts),
        *(n, max_new_tokens, temperature, top_p, top_k, prompt_column, holdout, seed),
        batch_size=batch_size,
        device=device,
        dtype=dtype,
        stop=tuple(stop or ()),
        api=api,
        system=system,
        backend=backend,
        server=server,
        key_variable=key_variable,
        requests_at_once=requests_at_once,
        requests_per_minute=requests_per_minute,
        retries=retries,
        timeout=timeout,
        sources=None if sources is None else str(sources),
    )
    options = given(context)
    check_read(settings, options)
    with Bars(quiet=json_) as bars:
        outcome = generate_pool(run, settings, beta=beta, progress=bars)
    show(say_idle(outcome, options), json_)
