"""`whichpairs fit`."""

from dataclasses import replace
from typing import Annotated, Any

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
    annotators: Annotated[
        bool,
        typer.Option("--annotators", help="Take each annotator's answers by how far they follow."),
    ] = False,
    beta: BetaOption = None,
    seed: SeedOption = None,
    json_: JsonOption = False,
) -> None:
    """Fit the Bradley–Terry model to the labels, and judge it on held-out prompts."""
    from whichpairs.workflow.fit import fit_labels
    from whichpairs.workflow.fit_people import fit_by_people, told_of_people

    how: dict[str, Any] = {"features": features, "strength": strength, "seed": seed, "beta": beta}
    outcome = fit_by_people(run, **how) if annotators else fit_labels(run, **how)
    if not annotators:
        words, rows = told_of_people(run, features=features, beta=beta)
        if words:
            told = add_line(outcome, words)
            outcome = replace(told, result={**told.result, "annotators": rows})
    if "seed" in given(context) and outcome.result.get("cv_log_loss", 0.0) is None:
        outcome = add_line(
            outcome, "--seed had no effect: there are too few prompts to cross-validate."
        )
    show(outcome, json_)
