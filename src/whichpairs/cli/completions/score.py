"""`whichpairs score`."""

from typing import Annotated

import typer

from whichpairs.cli.options.common import BetaOption, JsonOption, ReplaceOption, RunOption, show
from whichpairs.cli.options.unread import given, say_idle
from whichpairs.cli.progress import Bars


def command(
    context: typer.Context,
    run: RunOption,
    reward: Annotated[str, typer.Option(help="Reward folder.")],
    name: Annotated[str, typer.Option(help="Name of the score.")] = "reward",
    replace: ReplaceOption = False,
    beta: BetaOption = None,
    json_: JsonOption = False,
) -> None:
    """Score every completion by a proxy reward, for simulation and evaluation."""
    from whichpairs.workflow.score import score_pool

    with Bars(quiet=json_) as bars:
        outcome = score_pool(run, reward, name=name, replace=replace, beta=beta, progress=bars)
    show(say_idle(outcome, given(context), ("replace",)), json_)
