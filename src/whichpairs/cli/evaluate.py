"""`whichpairs evaluate`."""

from typing import Annotated

import typer

from whichpairs.cli.options import (
    BetaOption,
    DeviceOption,
    JsonOption,
    RunOption,
    SeedOption,
    show,
)
from whichpairs.cli.progress import Bars


def command(
    run: RunOption,
    score: Annotated[
        str | None, typer.Option(help="Evaluate a fit exactly on the pool, by this score.")
    ] = None,
    reward: Annotated[
        str | None, typer.Option(help="Evaluate a trained model's samples, by this reward folder.")
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="Policy or fit; reference; else the latest.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="T of r = score / T; else that of the labels.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Completions a prompt.")] = 8,
    max_new_tokens: Annotated[int, typer.Option(help="Tokens a completion, at most.")] = 64,
    device: DeviceOption = "auto",
    beta: BetaOption = None,
    seed: SeedOption = None,
    json_: JsonOption = False,
) -> None:
    """Reward, KL and J = E r − β KL on held-out prompts, with intervals."""
    from whichpairs.workflow.evaluate import EvaluateSettings, evaluate_run

    settings = EvaluateSettings(
        score=score,
        reward=reward,
        policy=policy,
        temperature=temperature,
        samples=samples,
        max_new_tokens=max_new_tokens,
        seed=seed,
        device=device,
    )
    with Bars(quiet=json_) as bars:
        outcome = evaluate_run(run, settings, beta=beta, progress=bars)
    show(outcome, json_)
