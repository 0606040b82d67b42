"""`whichpairs status`."""

from whichpairs.cli.options.common import BetaOption, JsonOption, RunOption, show


def command(run: RunOption, beta: BetaOption = None, json_: JsonOption = False) -> None:
    """Where the run stands, and the next command to type."""
    from whichpairs.workflow.status import status

    show(status(run, beta=beta), json_)
