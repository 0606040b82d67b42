"""`whichpairs report`."""

from pathlib import Path
from typing import Annotated

import typer

from whichpairs.cli.options.common import BetaOption, JsonOption, RunOption, show


def command(
    run: RunOption,
    out: Annotated[Path | None, typer.Option(help="HTML file; else RUN/report.html.")] = None,
    cost_per_label: Annotated[
        float | None, typer.Option(help="Price of a label, any currency.")
    ] = None,
    seconds_per_label: Annotated[
        float | None, typer.Option(help="That one takes; else as the labelling page measured.")
    ] = None,
    beta: BetaOption = None,
    json_: JsonOption = False,
) -> None:
    """Write one self-contained HTML page about the run."""
    from whichpairs.report.stage import report

    made = report(
        run,
        out,
        beta=beta,
        cost_per_label=cost_per_label,
        seconds_per_label=seconds_per_label,
    )
    show(made, json_)
