"""Options that several commands share, and how a command shows what it did."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from whichpairs.run.once import Outcome

RunOption = Annotated[Path, typer.Option("--run", help="The run folder.", show_default=False)]
BetaOption = Annotated[
    float | None,
    typer.Option("--beta", help="KL weight β of the run, set once (0.1 where never given)."),
]
SeedOption = Annotated[int | None, typer.Option("--seed", min=0, help="Seed; else the run's.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
ReplaceOption = Annotated[bool, typer.Option("--replace", help="Replace what is there.")]


def show(outcome: "Outcome", as_json: bool) -> None:
    """Print an outcome: a message for people, or one JSON object."""
    if as_json:
        found = {**outcome.result, "done_before": outcome.done_before}
        print(json.dumps(found, ensure_ascii=False, allow_nan=False))
    else:
        sys.stdout.write(outcome.message + "\n")
