"""`whichpairs export`."""

from pathlib import Path
from typing import Annotated

import typer

from whichpairs.cli.options import BetaOption, JsonOption, ReplaceOption, RunOption, show
from whichpairs.cli.unread import given, say_idle


def command(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(help="A .jsonl or .parquet file to write.")],
    run: RunOption,
    to: Annotated[str, typer.Option(help="What it is for: trl.")] = "trl",
    join: Annotated[
        bool, typer.Option("--join", help="One row a pair, the majority's, not one an answer.")
    ] = False,
    replace: ReplaceOption = False,
    beta: BetaOption = None,
    json_: JsonOption = False,
) -> None:
    """Write the labels as a preference set that TRL's DPOTrainer takes as it is."""
    from whichpairs.workflow.export import export_labels

    outcome = export_labels(run, out, to=to, join=join, replace=replace, beta=beta)
    show(say_idle(outcome, given(context), ("replace",)), json_)
