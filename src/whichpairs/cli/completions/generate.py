"""`whichpairs generate`."""

from typing import TYPE_CHECKING

import typer

from whichpairs.cli.options.common import BetaOption, JsonOption, RunOption, show
from whichpairs.cli.options.from_settings import with_settings
from whichpairs.cli.options.unread import given, say_idle
from whichpairs.cli.progress import Bars

if TYPE_CHECKING:
    from whichpairs.workflow.settings.generate import GenerateSettings


@with_settings(settings="whichpairs.workflow.settings.generate:GenerateSettings")
def command(
    context: typer.Context,
    run: RunOption,
    settings: "GenerateSettings",
    beta: BetaOption = None,
    json_: JsonOption = False,
) -> None:
    """Sample a pool from a model, or several; a killed call goes on where it stopped."""
    from whichpairs.workflow.generate import check_read, generate_pool

    options = given(context)
    check_read(settings, options)
    with Bars(quiet=json_) as bars:
        outcome = generate_pool(run, settings, beta=beta, progress=bars)
    show(say_idle(outcome, options), json_)
