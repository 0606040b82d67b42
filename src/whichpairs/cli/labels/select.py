"""`whichpairs select`."""

from typing import TYPE_CHECKING, Annotated

import typer

from whichpairs.cli.options.common import BetaOption, JsonOption, RunOption, SeedOption, show
from whichpairs.cli.options.limits import (
    CostColumnOption,
    GroupColumnOption,
    MustNotOption,
    MustOption,
    OverheadOption,
    PerCompletionOption,
    PerPromptOption,
    ReadingOption,
    RepeatsOption,
    ShareOption,
)
from whichpairs.cli.progress import Bars
from whichpairs.wording import percent

if TYPE_CHECKING:
    from whichpairs.design import PassReport


def command(
    run: RunOption,
    budget: Annotated[
        float,
        typer.Option(help="Labels to pick; minutes or money with --reading or --cost-column."),
    ],
    criterion: Annotated[
        str,
        typer.Option(
            help="adaptive, signal (for DPO), gap (the best batch by the paper's criterion), paper (drawn "
            "as in the paper), random, uniform-prompts, reference, d-optimal, a-optimal, c-optimal, i-optimal or best-vs-worst."
        ),
    ] = "adaptive",
    features: Annotated[str | None, typer.Option(help="Feature set; else the latest.")] = None,
    score: Annotated[
        str | None, typer.Option(help="For best-vs-worst: a score; else the latest fit.")
    ] = None,
    matrix: Annotated[
        str | None,
        typer.Option(
            help="For c-optimal a direction, (d,); for i-optimal a moment, (d, d): a .npy in the "
            "features' coordinates."
        ),
    ] = None,
    ridge: Annotated[
        float | None, typer.Option(help="For paper: its λ; else 0.001, the paper's.")
    ] = None,
    controls: Annotated[
        int | None,
        typer.Option(
            help="Random pairs of held-out prompts beside the budget, never fitted, which judge the "
            "fit; else a tenth of the batch's labels."
        ),
    ] = None,
    prior_spread: Annotated[
        float, typer.Option(help="Prior spread of a random pair's margin, logits.")
    ] = 1.5,
    repeats: RepeatsOption = 1,
    per_prompt: PerPromptOption = None,
    per_completion: PerCompletionOption = None,
    group_column: GroupColumnOption = None,
    share: ShareOption = None,
    must: MustOption = None,
    must_not: MustNotOption = None,
    cost_column: CostColumnOption = None,
    reading: ReadingOption = None,
    overhead: OverheadOption = None,
    passes: Annotated[int, typer.Option(help="Passes over all pairs, at most.")] = 15,
    tolerance: Annotated[float, typer.Option(help="Certificate to stop at.")] = 1e-3,
    threads: Annotated[int, typer.Option(help="Workers; the batch does not depend on it.")] = 1,
    kernel: Annotated[
        str | None,
        typer.Option(help="numpy, torch or tiles; else the fastest. The batch is the same."),
    ] = None,
    another: Annotated[
        bool, typer.Option("--another", help="Pick although pairs wait for labels.")
    ] = False,
    beta: BetaOption = None,
    seed: SeedOption = None,
    json_: JsonOption = False,
) -> None:
    """Pick the pairs whose labels teach the most about the final policy, within your limits.

    A killed call goes on from its last pass; Ctrl-C ends the passes with the batch so far.
    """
    from whichpairs.workflow.select.limits import LimitSettings
    from whichpairs.workflow.select.stage import SelectSettings, select

    limits = LimitSettings(
        *(repeats, per_prompt, per_completion, group_column, tuple(share or ())),
        *(must, must_not, cost_column, reading, overhead),
    )
    settings = SelectSettings(
        budget=budget,
        criterion=criterion,
        features=features,
        score=score,
        matrix=matrix,
        ridge=ridge,
        controls=controls,
        prior_spread=prior_spread,
        seed=seed,
        passes=passes,
        tolerance=tolerance,
        threads=threads,
        kernel=kernel,
        limits=limits,
    )
    with Bars(quiet=json_) as bars:
        done = 0

        def watch(report: "PassReport") -> None:
            nonlocal done
            bars.advance(report.number - done, note(report))
            done = report.number

        bars.start("passes", passes)
        outcome = select(run, settings, another=another, beta=beta, watch=watch)
        bars.finish()
    show(outcome, json_)


def note(report: "PassReport") -> str:
    """How good the batch is after a pass, as far as is known, and how much of the pool it read."""
    read = f"{percent(report.read)} of prompts read"
    if report.certificate is None or report.certificate >= 1e3:
        return read
    return f"batch within {percent(report.certificate)}, {read}"
