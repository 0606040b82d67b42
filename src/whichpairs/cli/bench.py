"""`whichpairs bench`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from whichpairs.cli.options.common import JsonOption, show
from whichpairs.cli.progress import Bars


def command(
    out: Annotated[
        Path, typer.Argument(help="Folder of the rows; what is there is not run again.")
    ],
    run: Annotated[
        Path | None, typer.Option(help="A pool of your own, with features and held-out prompts.")
    ] = None,
    score: Annotated[
        str | None, typer.Option(help="Its score: labels are drawn from σ(difference / T).")
    ] = None,
    temperature: Annotated[str, typer.Option(help="T, or several with commas between.")] = "1",
    budgets: Annotated[
        str, typer.Option(help="Cumulative budgets of your own pool, rising.")
    ] = "125,250,500,1000",
    beta: Annotated[
        float | None, typer.Option(help="β of your own pool's cells; else the run's.")
    ] = None,
    grid: Annotated[
        Path | None, typer.Option(help="A TOML file of cells and seeds; else the committed one.")
    ] = None,
    alpaca: Annotated[
        Path | None, typer.Option(help="alpaca_eval_core.parquet; else its cells are left out.")
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help="Methods with commas between; else all.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Seeds; else the grid's.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few cells, seeds and budgets: under five minutes.")
    ] = False,
    processes: Annotated[int, typer.Option(help="How many processes.")] = 2,
    results: Annotated[
        Path | None, typer.Option(help="Folder of the tables and pictures; else that of the rows.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Compare selection methods where the truth is known: regret, labels saved, harm."""
    from whichpairs.bench.robustness.stage import BenchSettings, bench, parse_numbers

    settings = BenchSettings(
        out=out,
        results=results,
        grid=grid,
        alpaca=alpaca,
        run=run,
        score=score,
        temperatures=tuple(parse_numbers(temperature, float)),
        beta=beta,
        budgets=tuple(parse_numbers(budgets, int)),
        methods=None if methods is None else tuple(methods.split(",")),
        seeds=seeds,
        quick=quick,
        processes=processes,
        command=" ".join(["whichpairs", *sys.argv[1:]]),
    )
    with Bars(quiet=json_) as bars:
        outcome = bench(settings, progress=bars)
    show(outcome, json_)
