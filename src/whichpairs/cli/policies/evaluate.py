"""`whichpairs evaluate`."""

from typing import Annotated

import typer

from whichpairs.cli.completions.unread import given, refuse_unread, say_idle
from whichpairs.cli.options.common import (
    BetaOption,
    DeviceOption,
    JsonOption,
    PrecisionOption,
    RunOption,
    SeedOption,
    show,
)
from whichpairs.cli.options.server import (
    SERVER_OPTIONS,
    AtOnceOption,
    KeyVariableOption,
    PerMinuteOption,
    RetriesOption,
    TimeoutOption,
)
from whichpairs.cli.progress import Bars

WAYS = ("score", "reward", "judge", "perplexity", "tasks")
READERS = {
    "temperature": ("--score", "--reward"),
    **dict.fromkeys(("samples", "max_new_tokens", "seed"), ("--reward", "--judge")),
    **dict.fromkeys(("judge_model", "rubric", *SERVER_OPTIONS), ("--judge",)),
    "text_column": ("--perplexity",),
    "model": ("--reward",),
    **dict.fromkeys(("device", "dtype"), ("--reward", "--judge", "--perplexity", "--tasks")),
}
"""Which way of evaluating reads an option; the others are read by all."""


def command(
    context: typer.Context,
    run: RunOption,
    score: Annotated[
        str | None, typer.Option(help="Evaluate a fit exactly on the pool, by this score.")
    ] = None,
    reward: Annotated[
        str | None, typer.Option(help="Evaluate a trained model's samples, by this reward folder.")
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="Base URL of an OpenAI-compatible server that judges.")
    ] = None,
    judge_model: Annotated[str, typer.Option(help="The judge's name on its server.")] = "",
    rubric: Annotated[str | None, typer.Option(help="What the judge is to look at.")] = None,
    perplexity: Annotated[
        str | None, typer.Option(help="Texts: lines of a .txt, or a column of JSONL or Parquet.")
    ] = None,
    text_column: Annotated[str, typer.Option(help="Their column.")] = "text",
    tasks: Annotated[
        str | None, typer.Option(help="JSONL of context, choices and answer (a place from 0).")
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="Policy or fit; reference; else the latest.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Another policy or fit to compare with, prompt by prompt.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="T of r = score / T; else that of the labels.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Completions a prompt.")] = 8,
    max_new_tokens: Annotated[
        int | None, typer.Option(help="Tokens a completion, at most; else the pool's, or 64.")
    ] = None,
    key_variable: KeyVariableOption = "OPENAI_API_KEY",
    requests_at_once: AtOnceOption = 8,
    requests_per_minute: PerMinuteOption = None,
    retries: RetriesOption = 6,
    timeout: TimeoutOption = 120.0,
    device: DeviceOption = "auto",
    dtype: PrecisionOption = "float32",
    model: Annotated[
        str | None, typer.Option(help="The reference, where no policy has been trained.")
    ] = None,
    beta: BetaOption = None,
    seed: SeedOption = None,
    json_: JsonOption = False,
) -> None:
    """Reward, KL and J on held-out prompts, a judge's win rate, or what training cost."""
    chosen = {k: v for k, v in locals().items() if k not in ("context", "run", "beta", "json_")}
    from whichpairs.workflow.evaluate.stage import EvaluateSettings, evaluate_run

    settings = EvaluateSettings(**chosen)
    options = given(context)
    ways = [f"--{name}" for name in WAYS if chosen[name]]
    refuse_unread(options, READERS, ways)
    if "text_column" in options and str(perplexity).lower().endswith(".txt"):
        refuse_unread(options, {"text_column": ("a file with columns",)}, ["a .txt of lines"])
    with Bars(quiet=json_) as bars:
        outcome = evaluate_run(run, settings, beta=beta, progress=bars)
    show(say_idle(outcome, options), json_)
