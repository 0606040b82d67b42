"""`whichpairs train`."""

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
    model: Annotated[str, typer.Option(help="Model folder or hub name: the reference policy.")],
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-5,
    epochs: Annotated[int, typer.Option(help="Passes over the labels.")] = 1,
    batch_size: Annotated[int, typer.Option(help="Labels a step.")] = 16,
    lora_rank: Annotated[int | None, typer.Option(help="Train low-rank adapters only.")] = None,
    max_length: Annotated[int | None, typer.Option(help="Most tokens a text.")] = None,
    device: DeviceOption = "auto",
    beta: BetaOption = None,
    seed: SeedOption = None,
    json_: JsonOption = False,
) -> None:
    """Train a policy on the labels by DPO, through TRL."""
    from whichpairs.workflow.train import train_policy

    with Bars(quiet=json_) as bars:
        outcome = train_policy(
            run,
            model,
            learning_rate=learning_rate,
            epochs=epochs,
            batch_size=batch_size,
            lora_rank=lora_rank,
            max_length=max_length,
            seed=seed,
            device=device,
            beta=beta,
            progress=bars,
        )
    show(outcome, json_)
