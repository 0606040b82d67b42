"""`whichpairs label`."""

from pathlib import Path
from typing import Annotated

import typer

from whichpairs.cli.completions.unread import given, refuse_unread, say_idle
from whichpairs.cli.options.common import BetaOption, JsonOption, RunOption, SeedOption, show
from whichpairs.cli.options.server import (
    SERVER_OPTIONS,
    AtOnceOption,
    KeyVariableOption,
    PerMinuteOption,
    RetriesOption,
    TimeoutOption,
)
from whichpairs.cli.progress import Bars
from whichpairs.errors import UserError

READERS = {
    **dict.fromkeys(("temperature", "seed"), ("--simulate",)),
    **dict.fromkeys(("annotator", "label_map", "replace"), ("--from",)),
    **dict.fromkeys(("judge_model", "rubric", *SERVER_OPTIONS), ("--judge",)),
}
"""Which way of labelling reads an option; the others are read by all."""


def command(
    context: typer.Context,
    run: RunOption,
    simulate: Annotated[
        str | None, typer.Option(help="Answer by this score: P = σ((s_A − s_B) / T).")
    ] = None,
    temperature: Annotated[float, typer.Option(help="T, in units of the score.")] = 1.0,
    from_: Annotated[
        Path | None,
        typer.Option("--from", help="File of pair_id and choice (a, b, tie), JSONL or CSV …"),
    ] = None,
    from_drawer: Annotated[
        bool,
        typer.Option("--from-drawer", help="Answer by the labels kept back at import."),
    ] = False,
    annotator: Annotated[str, typer.Option(help="Who answered, for --from.")] = "file",
    label_map: Annotated[
        str | None,
        typer.Option(help="For --from, what choices mean: VALUE=a,VALUE=b,VALUE=tie or skip."),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="For --from: let answers supersede their annotator's own."),
    ] = False,
    judge: Annotated[
        str | None, typer.Option(help="Base URL of an OpenAI-compatible server that judges.")
    ] = None,
    judge_model: Annotated[str, typer.Option(help="The judge's name on its server.")] = "",
    rubric: Annotated[str | None, typer.Option(help="What the judge is to look at.")] = None,
    key_variable: KeyVariableOption = "OPENAI_API_KEY",
    requests_at_once: AtOnceOption = 8,
    requests_per_minute: PerMinuteOption = None,
    retries: RetriesOption = 6,
    timeout: TimeoutOption = 120.0,
    beta: BetaOption = None,
    seed: SeedOption = None,
    json_: JsonOption = False,
) -> None:
    """Label the picked pairs: simulated, from a file, from the drawer, or by a language model."""
    from whichpairs.workflow.label import stage

    drawer = from_drawer or None
    ways = (
        *(("--simulate", simulate), ("--from", from_)),
        *(("--from-drawer", drawer), ("--judge", judge)),
    )
    chosen = [name for name, value in ways if value is not None]
    if len(chosen) != 1:
        raise UserError(
            "label takes one of --simulate COLUMN, --from FILE, --from-drawer and --judge URL",
            f"got {' and '.join(chosen) or 'none'}",
        )
    options = given(context)
    refuse_unread(options, READERS, chosen)
    if from_ is not None:
        outcome = stage.label_from_file(
            run,
            from_,
            annotator=annotator if "annotator" in options else None,
            label_map=label_map,
            replace=replace,
            beta=beta,
        )
    elif judge is not None:
        settings = stage.JudgeSettings(
            judge,
            judge_model,
            rubric,
            key_variable=key_variable,
            requests_at_once=requests_at_once,
            requests_per_minute=requests_per_minute,
            retries=retries,
            timeout=timeout,
        )
        with Bars(quiet=json_) as bars:
            outcome = stage.label_judged(run, settings, beta=beta, progress=bars)
    elif from_drawer:
        outcome = stage.label_from_drawer(run, beta=beta)
    else:
        assert simulate is not None
        outcome = stage.label_simulated(
            run, simulate, temperature=temperature, seed=seed, beta=beta
        )
    show(say_idle(outcome, options), json_)
