"""`whichpairs share`."""

from pathlib import Path
from typing import Annotated

import typer

from whichpairs.cli.options.common import BetaOption, JsonOption, RunOption, SeedOption, show


def command(
    out: Annotated[Path, typer.Argument(help="A new folder for the files.")],
    run: RunOption,
    people: Annotated[int, typer.Option(help="How many people; one file each.")] = 1,
    overlap: Annotated[
        float, typer.Option(help="Share of the pairs that two answer, planned by batch.")
    ] = 0.0,
    to: Annotated[str, typer.Option(help="jsonl, csv, label-studio or argilla.")] = "jsonl",
    seed: SeedOption = None,
    beta: BetaOption = None,
    json_: JsonOption = False,
) -> None:
    """Deal the pairs that wait out to people: sheets, or tasks for Label Studio or Argilla."""
    from whichpairs.workflow.label.share import share

    show(share(run, out, people=people, overlap=overlap, to=to, seed=seed, beta=beta), json_)
