"""`whichpairs fit`."""

from typing import Annotated

import typer

from whichpairs.cli.options import BetaOption, JsonOption, RunOption, SeedOption, show


def command(
    run: RunOption,
    features: Annotated[str | None, typer.Option(help="Feature set; else the latest.")] = None,
    strength: Annotated[
        float | None, typer.Option(help="Multiple of the default prior; else by cross-validation.")
    ] = None,
    beta: BetaOption = None,
    seed: SeedOption = None,
    json_: JsonOption = False,
) -> None:
    """Fit the Bradley–Terry model to the labels, and judge it on held-out prompts."""
    from whichpairs.workflow.fit import fit_labels

    show(fit_labels(run, features=features, strength=strength, seed=seed, beta=beta), json_)
