"""`whichpairs features`."""

from pathlib import Path
from typing import Annotated

import typer

from whichpairs.cli.options import (
    BetaOption,
    DeviceOption,
    JsonOption,
    ReplaceOption,
    RunOption,
    SeedOption,
    show,
)
from whichpairs.cli.progress import Bars


def command(
    run: RunOption,
    method: Annotated[str, typer.Option(help="text, gradient, hidden or file.")],
    dim: Annotated[
        int | None,
        typer.Option(help="Dimensions: 32 for text, 256 for gradient where not given."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the set; else the method.")] = None,
    model: Annotated[str | None, typer.Option(help="Model, for gradient and hidden.")] = None,
    file: Annotated[Path | None, typer.Option(help="A .npy, one row a completion.")] = None,
    pooling: Annotated[str, typer.Option(help="For hidden: last or mean.")] = "last",
    max_length: Annotated[int | None, typer.Option(help="Most tokens a text.")] = None,
    dtype: Annotated[str, typer.Option(help="Stored as float32 or float16.")] = "float32",
    batch_size: Annotated[int, typer.Option(min=1, help="Completions a pass.")] = 64,
    device: DeviceOption = "auto",
    replace: ReplaceOption = False,
    beta: BetaOption = None,
    seed: SeedOption = None,
    json_: JsonOption = False,
) -> None:
    """Turn completions into vectors."""
    from whichpairs.workflow.features import FeatureSettings, compute_features

    settings = FeatureSettings(
        method=method,
        dim=dim,
        name=name,
        model=model,
        file=None if file is None else str(file),
        pooling=pooling,
        max_length=max_length,
        dtype=dtype,
        seed=seed,
        batch_size=batch_size,
        device=device,
    )
    with Bars(quiet=json_) as bars:
        outcome = compute_features(run, settings, replace=replace, beta=beta, progress=bars)
    show(outcome, json_)
