"""`whichpairs export`."""

from pathlib import Path
from typing import Annotated

import typer

from whichpairs.cli.completions.unread import given, say_idle
from whichpairs.cli.options.common import BetaOption, JsonOption, ReplaceOption, RunOption, show
from whichpairs.cli.options.teach import (
    FitOption,
    TeachOption,
    TeachPairsOption,
    TeachScaleOption,
    teach_settings,
)


def command(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(help="A .jsonl or .parquet file to write.")],
    run: RunOption,
    to: Annotated[str, typer.Option(help="What it is for: trl.")] = "trl",
    join: Annotated[
        bool, typer.Option("--join", help="One row a pair, the majority's, not one an answer.")
    ] = False,
    teach: TeachOption = None,
    teach_pairs: TeachPairsOption = None,
    teach_scale: TeachScaleOption = None,
    teach_labels: Annotated[
        str | None,
        typer.Option(help="soft: a column with their probability (the default); drawn: an answer."),
    ] = None,
    fit: FitOption = None,
    replace: ReplaceOption = False,
    beta: BetaOption = None,
    json_: JsonOption = False,
) -> None:
    """Write the labels as a preference set that TRL's DPOTrainer takes as it is."""
    from whichpairs.workflow.train.export import export_labels

    lesson = teach_settings(
        teach, pairs=teach_pairs, scale=teach_scale, fit=fit, needless=(teach_labels,)
    )
    outcome = export_labels(
        run,
        out,
        to=to,
        join=join,
        teach=lesson,
        teach_labels=teach_labels or "soft",
        replace=replace,
        beta=beta,
    )
    show(say_idle(outcome, given(context), ("replace",)), json_)
