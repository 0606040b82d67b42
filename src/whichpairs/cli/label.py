"""`whichpairs label`."""

from pathlib import Path
from typing import Annotated

import typer

from whichpairs.cli.options import BetaOption, JsonOption, RunOption, SeedOption, show
from whichpairs.errors import UserError


def command(
    run: RunOption,
    simulate: Annotated[
        str | None, typer.Option(help="Answer by this score: P = σ((s_A − s_B) / T).")
    ] = None,
    temperature: Annotated[float, typer.Option(help="T, in units of the score.")] = 1.0,
    from_: Annotated[
        Path | None, typer.Option("--from", help="JSONL of pair_id and choice (a, b or tie).")
    ] = None,
    annotator: Annotated[str, typer.Option(help="Who answered, for --from.")] = "file",
    beta: BetaOption = None,
    seed: SeedOption = None,
    json_: JsonOption = False,
) -> None:
    """Label the picked pairs: simulated from a score, or from a file."""
    from whichpairs.workflow.label import label_from_file, label_simulated

    if (simulate is None) == (from_ is None):
        raise UserError(
            "label takes either --simulate COLUMN or --from FILE",
            "got neither" if simulate is None else "got both",
        )
    if from_ is not None:
        outcome = label_from_file(run, from_, annotator=annotator, beta=beta)
    else:
        assert simulate is not None
        outcome = label_simulated(run, simulate, temperature=temperature, seed=seed, beta=beta)
    show(outcome, json_)
