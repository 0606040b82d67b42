"""`whichpairs plan`."""

from typing import TYPE_CHECKING

from whichpairs.cli.options.common import BetaOption, JsonOption, RunOption, show
from whichpairs.cli.options.from_settings import with_settings

if TYPE_CHECKING:
    from whichpairs.workflow.settings.plan import PlanSettings


@with_settings(settings="whichpairs.workflow.settings.plan:PlanSettings")
def command(
    run: RunOption, settings: "PlanSettings", beta: BetaOption = None, json_: JsonOption = False
) -> None:
    """What labels will buy: predicted gaps by budget, labels saved, and a plain verdict."""
    from whichpairs.workflow.plan import plan

    show(plan(run, settings, beta=beta), json_)
