"""`whichpairs export`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whichpairs.cli.options.common import BetaOption, JsonOption, ReplaceOption, RunOption, show
from whichpairs.cli.options.from_settings import Options, with_settings
from whichpairs.cli.options.teach import TEACH, check_teach
from whichpairs.cli.options.unread import given, say_idle
from whichpairs.setting import Setting

if TYPE_CHECKING:
    from whichpairs.train.settings import TeachSettings


@dataclass(frozen=True)
class Form:
    """How the file is to be."""

    to: Annotated[str, Setting("What it is for: trl.")] = "trl"
    join: Annotated[bool, Setting("One row a pair, the majority's, not one an answer.")] = False
    teach_labels: Annotated[
        str,
        Setting("soft: a column with their probability; drawn: an answer.", after="scale"),
    ] = "soft"


@with_settings(
    form=Form,
    lesson=Options(TEACH, optional=True, without=("label_weight",), before=check_teach),
)
def command(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(help="A .jsonl or .parquet file to write.")],
    run: RunOption,
    form: Form,
    lesson: "TeachSettings | None",
    replace: ReplaceOption = False,
    beta: BetaOption = None,
    json_: JsonOption = False,
) -> None:
    """Write the labels as a preference set that TRL's DPOTrainer takes as it is."""
    from whichpairs.workflow.train.export import export_labels

    outcome = export_labels(run, out, teach=lesson, replace=replace, beta=beta, **vars(form))
    show(say_idle(outcome, given(context), ("replace",)), json_)
