"""`whichpairs bench` and `make bench-robust`: run a grid, write its tables."""

from typing import Any

from whichpairs.bench.markdown import shown
from whichpairs.bench.methods.registry import IF_ASKED, METHODS, OURS, RANDOM
from whichpairs.bench.robustness.grid import Grid, load_grid, user_cells
from whichpairs.bench.robustness.page import in_words, plain_ratio, write_results
from whichpairs.bench.robustness.runner import run_grid
from whichpairs.bench.robustness.settings import BenchSettings
from whichpairs.pool.columns import Columns
from whichpairs.run.once import Outcome
from whichpairs.types import SILENT, Progress
from whichpairs.workflow.features.settings import FeatureSettings
from whichpairs.workflow.features.stage import compute_features
from whichpairs.workflow.import_pool import import_pool


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
