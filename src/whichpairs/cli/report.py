"""`whichpairs report`."""

from pathlib import Path
from typing import Annotated

import typer

from whichpairs.cli.options.common import BetaOption, JsonOption, RunOption, show


def command(
    run: RunOption,
    out: Annotated[Path | None, typer.Option(help="HTML file; else RUN/report.html.")] = None,
    beta: BetaOption = None,
    json_: JsonOption = False,
) -> None:
    """Write one self-contained HTML page about the run."""
    from whichpairs.report.stage import report

    show(report(run, out, beta=beta), json_)
