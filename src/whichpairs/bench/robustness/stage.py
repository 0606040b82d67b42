"""`whichpairs bench` and `make bench-robust`: run a grid, write its tables."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from whichpairs.bench.markdown import shown
from whichpairs.bench.methods.registry import IF_ASKED, METHODS, OURS, RANDOM
from whichpairs.bench.robustness.grid import Grid, load_grid, user_cells
from whichpairs.bench.robustness.page import in_words, plain_ratio, write_results
from whichpairs.bench.robustness.runner import run_grid
from whichpairs.errors import UserError
from whichpairs.pool.reading.read import Columns
from whichpairs.run.once import Outcome
from whichpairs.setting import Setting, check_ranges
from whichpairs.types import SILENT, Progress
from whichpairs.workflow.features.stage import FeatureSettings, compute_features
from whichpairs.workflow.import_pool import import_pool


def several(kind: type) -> Callable[[str], tuple[Any, ...]]:
    """A reader of lists with commas between, as ``250,500,1000`` is one of numbers."""

    def read(text: str) -> tuple[Any, ...]:
        try:
            return tuple(map(kind, text.split(",")))
        except ValueError:
            raise UserError(
                f"this is a list of {'whole ' if kind is int else ''}numbers with commas between",
                f"got {text!r}",
            ) from None

    return read


@dataclass(frozen=True)
class BenchSettings:
    """What the user chose.

    Args:
        out: folder of the rows; results: folder of the tables (`out` when None).
        grid: a TOML file like ``whichpairs/bench/robustness/grid.toml``; None is the committed one.
        alpaca: the AlpacaEval parquet file; None leaves its cells out.
        run, score, temperatures, beta, budgets: a pool of one's own instead of the grid's.
        methods: names; None is all.
        seeds: for every method; None is the grid's.
        quick: few cells, seeds and budgets.
        processes: how many.
    """

    out: Annotated[
        Path, Setting("Folder of the rows; what is there is not run again.", argument=True)
    ]
    results: Annotated[
        Path | None,
        Setting("Folder of the tables and pictures; else that of the rows.", after="processes"),
    ] = None
    grid: Annotated[
        Path | None,
        Setting("A TOML file of cells and seeds; else the committed one.", after="beta"),
    ] = None
    alpaca: Annotated[
        Path | None, Setting("alpaca_eval_core.parquet; else its cells are left out.", after="grid")
    ] = None
    run: Annotated[
        Path | None, Setting("A pool of your own, with features and held-out prompts.")
    ] = None
    score: Annotated[str | None, Setting("Its score: labels are drawn from σ(difference / T).")] = (
        None
    )
    temperatures: Annotated[
        tuple[float, ...],
        Setting(
            "T, or several with commas between.", flags=("--temperature",), parse=several(float)
        ),
    ] = (1.0,)
    beta: Annotated[
        float | None, Setting("β of your own pool's cells; else the run's.", after="budgets")
    ] = None
    budgets: Annotated[
        tuple[int, ...], Setting("Cumulative budgets of your own pool, rising.", parse=several(int))
    ] = (125, 250, 500, 1000)
    methods: Annotated[
        tuple[str, ...] | None,
        Setting("Methods with commas between; else all.", parse=several(str)),
    ] = None
    seeds: Annotated[int | None, Setting("Seeds; else the grid's.", low=1)] = None
    quick: Annotated[bool, Setting("Few cells, seeds and budgets: under five minutes.")] = False
    processes: Annotated[int, Setting("How many processes.", low=1)] = 2
    command: str = "whichpairs bench"

    def __post_init__(self) -> None:
        unknown = [m for m in self.methods or () if m not in METHODS]
        if unknown:
            raise UserError(
                f"methods must be among {', '.join(sorted(METHODS))}", f"got {', '.join(unknown)}"
            )
        if (self.run is None) != (self.score is None):
            raise UserError(
                "a pool of your own needs both --run and --score",
                "got --run alone" if self.score is None else "got --score alone",
            )
        check_ranges(self)


def bench(settings: BenchSettings, *, progress: Progress = SILENT) -> Outcome:
    """Run what is missing of the grid, and write the tables.

    Raises:
        UserError: no such grid, method, pool or score.
    """
    grid = _grid(settings, progress)
    names = tuple(settings.methods or (name for name in METHODS if name not in IF_ASKED))
    methods = tuple(dict.fromkeys((RANDOM, OURS, *names)))
    rows = run_grid(grid, settings.out, methods, processes=settings.processes, progress=progress)
    folder = settings.results or settings.out
    own = settings.run is not None
    results, found = write_results(
        rows,
        grid,
        folder,
        command=settings.command,
        kept=settings.out,
        processes=settings.processes,
        own=own,
    )
    page = str(folder / "robustness.md")
    if own:
        plain = {
            cell: {name: plain_ratio(one.total) for name, one in of.items()}
            for cell, of in found.items()
        }
        words = in_words(found, grid.seeds)
        return Outcome("\n".join([*words, page]), {"labels_saved": plain}, False, folder)
    result: dict[str, Any] = {figure.name: figure.as_json() for figure in results}
    lines = [
        f"{one.name:18} {shown(one):22} {'reached' if one.reached else 'missed '}  {one.goal}"
        for one in results
    ]
    return Outcome("\n".join([*lines, page]), result, False, folder)


def _grid(settings: BenchSettings, progress: Progress) -> Grid:
    if settings.run is not None:
        assert settings.score is not None
        cells = user_cells(
            str(settings.run),
            settings.score,
            settings.temperatures,
            settings.beta,
            settings.budgets,
        )
        seeds = settings.seeds or 8
        return Grid(cells, seeds, seeds, seeds)
    alpaca = None if settings.alpaca is None else _alpaca(settings, progress)
    grid = load_grid(settings.grid, alpaca=alpaca, quick=settings.quick)
    given = settings.seeds
    return grid if given is None else Grid(grid.cells, given, given, given)


def _alpaca(settings: BenchSettings, progress: Progress) -> str:
    """The run folder of the AlpacaEval pool: imported and featurised once, as its recipe does."""
    assert settings.alpaca is not None
    run = settings.out / "alpaca"
    columns = Columns(prompt_id="prompt_id", scores=("judge_logit",))
    import_pool(settings.alpaca, run, columns, holdout=0.2, beta=1.0)
    compute_features(run, FeatureSettings(method="text", dim=32), progress=progress)
    return str(run)
