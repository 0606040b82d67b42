"""`whichpairs import`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from whichpairs.cli.options.common import BetaOption, JsonOption, RunOption, show
from whichpairs.cli.options.from_settings import with_settings
from whichpairs.setting import Setting

if TYPE_CHECKING:
    from whichpairs.pool.columns import Columns


@dataclass(frozen=True)
class Terms:
    """What `import_pool` is told beside the columns."""

    max_bad: Annotated[
        float,
        Setting(
            "Share of the rows that may be left out because they cannot be used (unless it is 0, "
            "one "
            "row always may); equal pairs and empty texts in pairs and lists do not count."
        ),
    ] = 0.01
    holdout: Annotated[
        float, Setting("Share of the prompts set aside for evaluation, 0 to below 1.")
    ] = 0.0
    labels: Annotated[
        str,
        Setting(
            "given: labels count. hidden: they go into the run's drawer, to pick a part of them: "
            "label --from-drawer."
        ),
    ] = "given"
    seed: Annotated[int, Setting("Seed of the run.", low=0, after="beta")] = 0


@with_settings(columns="whichpairs.pool.columns:Columns", terms=Terms)
def command(
    file: Annotated[str, typer.Argument(help="A file, a folder saved by datasets, or a hub name.")],
    run: RunOption,
    columns: "Columns",
    terms: Terms,
    beta: BetaOption = None,
    json_: JsonOption = False,
) -> None:
    """Read completions, or labelled pairs, into the pool of a new run."""
    from whichpairs.workflow.import_pool import import_pool

    outcome = import_pool(
        file,
        run,
        columns,
        max_bad=terms.max_bad,
        holdout=terms.holdout,
        beta=beta,
        seed=terms.seed,
        labels=terms.labels,
    )
    show(outcome, json_)
