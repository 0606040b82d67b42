"""`whichpairs import`."""

from typing import Annotated

import typer

from whichpairs.cli.options.common import BetaOption, JsonOption, RunOption, show
from whichpairs.errors import UserError


def command(
    file: Annotated[str, typer.Argument(help="A file, a folder saved by datasets, or a hub name.")],
    run: RunOption,
    prompt_column: Annotated[
        str,
        typer.Option(help="Column of the prompt; several (A,B) are joined by a blank line."),
    ] = "prompt",
    system_column: Annotated[
        str | None,
        typer.Option(help="Column of the system turn; else system, if it is there; '' for none."),
    ] = None,
    completion_column: Annotated[
        str, typer.Option(help="Column of the completion, or of a list of them.")
    ] = "completion",
    prompt_id_column: Annotated[
        str | None, typer.Option(help="Column that tells prompts apart; else their text does.")
    ] = None,
    group_column: Annotated[
        str | None, typer.Option(help="Column of the prompt's group; groups are held out whole.")
    ] = None,
    score_column: Annotated[
        list[str] | None,
        typer.Option(help="Column of a score to keep, for simulation; repeatable."),
    ] = None,
    weight_column: Annotated[
        str | None, typer.Option(help="Column of π_ref's weight; else duplicates are counted.")
    ] = None,
    pair_columns: Annotated[
        str, typer.Option(help="Two columns of a labelled pair, the preferred one first.")
    ] = "chosen,rejected",
    label_column: Annotated[
        str | None,
        typer.Option(help="Column that says which is preferred: 1, 2, or 0 for a tie; words."),
    ] = None,
    label_map: Annotated[
        str | None,
        typer.Option(help="What its values mean, if not that: VALUE=a,VALUE=b,VALUE=tie or skip."),
    ] = None,
    max_bad: Annotated[
        float,
        typer.Option(
            help="Share of the rows that may be left out because they cannot be used (unless it is "
            "0, one row always may); equal pairs and empty texts in pairs and lists do not count."
        ),
    ] = 0.01,
    holdout: Annotated[
        float, typer.Option(help="Share of the prompts set aside for evaluation, 0 to below 1.")
    ] = 0.0,
    labels: Annotated[
        str,
        typer.Option(
            help="given: labels count. hidden: they go into the run's drawer, to pick a part of them: "
            "label --from-drawer."
        ),
    ] = "given",
    beta: BetaOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the run.")] = 0,
    json_: JsonOption = False,
) -> None:
    """Read completions, or labelled pairs, into the pool of a new run."""
    from whichpairs.pool.reading.read import Columns
    from whichpairs.workflow.import_pool import import_pool

    columns = Columns(
        prompt=prompt_column,
        completion=completion_column,
        prompt_id=prompt_id_column,
        group=group_column,
        scores=tuple(score_column or ()),
        weight=weight_column,
        pair=_two(pair_columns),
        label=label_column,
        label_map=label_map,
        system=system_column,
    )
    outcome = import_pool(
        file, run, columns, max_bad=max_bad, holdout=holdout, beta=beta, seed=seed, labels=labels
    )
    show(outcome, json_)


def _two(names: str) -> tuple[str, str]:
    parts = names.split(",")
    if len(parts) != 2 or not all(parts):
        raise UserError("--pair-columns must be two names with a comma between", f"got {names!r}")
    return parts[0], parts[1]
