"""`whichpairs fit`."""

from typing import Annotated

import typer

from whichpairs.cli.options.common import BetaOption, JsonOption, RunOption, SeedOption, show
from whichpairs.cli.options.unread import add_line, given


def command(
    context: typer.Context,
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

    outcome = fit_labels(run, features=features, strength=strength, seed=seed, beta=beta)
    if "seed" in given(context) and outcome.result.get("cv_log_loss", 0.0) is None:
        outcome = add_line(
            outcome, "--seed had no effect: there are too few prompts to cross-validate."
        )
    show(outcome, json_)
