"""What `whichpairs bench` is told."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from whichpairs.errors import UserError
from whichpairs.setting import Setting, check_ranges


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
        from whichpairs.bench.methods.registry import METHODS

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
