"""`whichpairs plan`."""

from typing import Annotated

import typer

from whichpairs.cli.options.common import BetaOption, JsonOption, RunOption, SeedOption, show


def command(
    run: RunOption,
    budget: Annotated[
        int | None, typer.Option(help="Further labels that the verdict is about; else 16 d.")
    ] = None,
    cost_per_label: Annotated[float | None, typer.Option(help="Price of a label.")] = None,
    target_gap: Annotated[float | None, typer.Option(help="A predicted gap to reach.")] = None,
    criterion: Annotated[
        str, typer.Option(help="Whose batches: adaptive, or paper (as in select).")
    ] = "adaptive",
    features: Annotated[str | None, typer.Option(help="Feature set; else the latest.")] = None,
    beta: BetaOption = None,
    seed: SeedOption = None,
    json_: JsonOption = False,
) -> None:
    """What labels will buy: predicted gaps by budget, labels saved, and a plain verdict."""
    from whichpairs.workflow.plan import PlanSettings, plan

    settings = PlanSettings(cost_per_label, target_gap, budget, features, seed, criterion)
    show(plan(run, settings, beta=beta), json_)
