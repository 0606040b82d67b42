"""`whichpairs train`."""

from typing import Annotated

import typer

from whichpairs.cli.completions.unread import add_line, given, say_idle
from whichpairs.cli.options.common import (
    BetaOption,
    DeviceOption,
    JsonOption,
    RunOption,
    SeedOption,
    show,
)
from whichpairs.cli.options.teach import (
    FitOption,
    TeachOption,
    TeachPairsOption,
    TeachScaleOption,
    teach_settings,
)
from whichpairs.cli.progress import Bars
from whichpairs.wording import counted


def command(
    context: typer.Context,
    run: RunOption,
    model: Annotated[
        str, typer.Option(help="Model folder, GGUF file, hub name or smollm2: the reference.")
    ],
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-5,
    epochs: Annotated[int, typer.Option(help="Passes over the labels.")] = 1,
    batch_size: Annotated[int, typer.Option(help="Labels a step.")] = 16,
    accumulation: Annotated[
        int, typer.Option(help="Parts that a batch is computed in, to save memory.")
    ] = 1,
    lora_rank: Annotated[int | None, typer.Option(help="Train low-rank adapters only.")] = None,
    max_length: Annotated[int | None, typer.Option(help="Most tokens a text.")] = None,
    soft_labels: Annotated[
        bool, typer.Option("--soft-labels", help="Learn the labels' probabilities; a tie is ½.")
    ] = False,
    validation: Annotated[
        float, typer.Option(help="Share of prompts set aside to choose the best epoch.")
    ] = 0.0,
    teach: TeachOption = None,
    teach_pairs: TeachPairsOption = None,
    teach_scale: TeachScaleOption = None,
    label_weight: Annotated[
        float | None, typer.Option(help="Weight of a labelled pair beside a taught one (else 1).")
    ] = None,
    fit: FitOption = None,
    dtype: Annotated[
        str, typer.Option(help="Matrix products in float32 or bfloat16; weights are float32.")
    ] = "float32",
    layers: Annotated[
        str, typer.Option(help="all, or top:N: only the last N transformer layers change.")
    ] = "all",
    save_every: Annotated[
        int, typer.Option(help="Steps between checkpoints, for a killed call; 0 is off.")
    ] = 500,
    log_to: Annotated[str, typer.Option(help="none, tensorboard or wandb.")] = "none",
    device: DeviceOption = "auto",
    beta: BetaOption = None,
    seed: SeedOption = None,
    json_: JsonOption = False,
) -> None:
    """Train a policy on the labels by DPO, through TRL."""
    from whichpairs.workflow.train.stage import train_policy

    lesson = teach_settings(
        teach, pairs=teach_pairs, scale=teach_scale, label_weight=label_weight, fit=fit
    )
    with Bars(quiet=json_) as bars:
        outcome = train_policy(
            run,
            model,
            learning_rate=learning_rate,
            epochs=epochs,
            batch_size=batch_size,
            accumulation=accumulation,
            lora_rank=lora_rank,
            max_length=max_length,
            soft_labels=soft_labels,
            validation=validation,
            teach=lesson,
            dtype=dtype,
            layers=layers,
            save_every=save_every,
            log_to=log_to,
            seed=seed,
            device=device,
            beta=beta,
            progress=bars,
        )
    options = given(context)
    steps = outcome.result.get("steps", 0)
    if "save_every" in options and not outcome.done_before and 0 < steps < save_every:
        outcome = add_line(
            outcome,
            f"--save-every {save_every} had no effect: there were {counted(steps, 'step')}.",
        )
    show(say_idle(outcome, options), json_)
