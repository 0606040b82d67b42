"""`whichpairs loop`."""

from typing import TYPE_CHECKING

import typer

from whichpairs.cli.options.common import BetaOption, JsonOption, RunOption, show
from whichpairs.cli.options.from_settings import with_settings
from whichpairs.cli.progress import Bars

if TYPE_CHECKING:
    from whichpairs.workflow.loop.settings import LoopSettings


@with_settings(settings="whichpairs.workflow.loop.settings:LoopSettings")
def command(
    run: RunOption, settings: "LoopSettings", beta: BetaOption = None, json_: JsonOption = False
) -> None:
    """Select, label and fit in rounds; call it again whenever people have brought labels."""
    from whichpairs.workflow.loop.stage import loop, where_it_stands

    with Bars(quiet=json_ or settings.labeller is not None) as bars:
        tell = (lambda line: None) if json_ else bars.line
        try:
            outcome = loop(run, settings, beta=beta, progress=bars, tell=tell)
        except KeyboardInterrupt:
            bars.line(f"whichpairs: {where_it_stands(run, settings)}")
            raise typer.Exit(130) from None
    show(outcome, json_)
