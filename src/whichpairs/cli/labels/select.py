"""`whichpairs select`."""

from typing import TYPE_CHECKING, Annotated

import typer

from whichpairs.cli.options.common import BetaOption, JsonOption, RunOption, show
from whichpairs.cli.options.from_settings import with_settings
from whichpairs.cli.progress import Bars
from whichpairs.wording import percent

if TYPE_CHECKING:
    from whichpairs.design import PassReport
    from whichpairs.workflow.select.own.settings import OwnSelectSettings


@with_settings(settings="whichpairs.workflow.select.own.settings:OwnSelectSettings")
def command(
    run: RunOption,
    settings: "OwnSelectSettings",
    another: Annotated[
        bool, typer.Option("--another", help="Pick although pairs wait for labels.")
    ] = False,
    beta: BetaOption = None,
    json_: JsonOption = False,
) -> None:
    """Pick the pairs whose labels teach the most about the final policy, within your limits.

    A killed call goes on from its last pass; Ctrl-C ends the passes with the batch so far.
    """
    from whichpairs.workflow.select.own.stage import select_any

    with Bars(quiet=json_) as bars:
        done = 0

        def watch(report: "PassReport") -> None:
            nonlocal done
            bars.advance(report.number - done, note(report))
            done = report.number

        bars.start("passes", settings.passes)
        outcome = select_any(run, settings, another=another, beta=beta, watch=watch)
        bars.finish()
    show(outcome, json_)


def note(report: "PassReport") -> str:
    """How good the batch is after a pass, as far as is known, and how much of the pool it read."""
    read = f"{percent(report.read)} of prompts read"
    if report.certificate is None or report.certificate >= 1e3:
        return read
    return f"batch within {percent(report.certificate)}, {read}"
