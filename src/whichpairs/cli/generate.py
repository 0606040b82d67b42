"""`whichpairs generate`."""

from pathlib import Path
from typing import Annotated

import typer

from whichpairs.cli.options import BetaOption, DeviceOption, JsonOption, RunOption, show
from whichpairs.cli.progress import Bars


def command(
    run: RunOption,
    model: Annotated[str, typer.Option(help="Model folder or hub name.")],
    prompts: Annotated[Path, typer.Option(help="JSONL, JSON, Parquet, CSV, or a .txt of lines.")],
    n: Annotated[int, typer.Option("-n", "--completions", help="Completions a prompt.")] = 16,
    max_new_tokens: Annotated[int, typer.Option(help="Tokens a completion, at most.")] = 64,
    temperature: Annotated[float, typer.Option(help="Sampling temperature.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Nucleus sampling; 1 is off.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="The k likeliest tokens only; 0 is off.")] = 0,
    prompt_column: Annotated[str, typer.Option(help="Column of the prompt.")] = "prompt",
    holdout: Annotated[float, typer.Option(help="Share of prompts held out.")] = 0.0,
    batch_size: Annotated[int, typer.Option(min=1, help="Completions side by side.")] = 256,
    device: DeviceOption = "auto",
    beta: BetaOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the run.")] = 0,
    json_: JsonOption = False,
) -> None:
    """Sample a pool from a model; a killed call goes on where it stopped."""
    from whichpairs.workflow.generate import GenerateSettings, generate_pool

    settings = GenerateSettings(
        model=model,
        prompts=str(prompts),
        n=n,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        prompt_column=prompt_column,
        holdout=holdout,
        seed=seed,
        batch_size=batch_size,
        device=device,
    )
    with Bars(quiet=json_) as bars:
        outcome = generate_pool(run, settings, beta=beta, progress=bars)
    show(outcome, json_)
