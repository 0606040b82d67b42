"""`whichpairs select`."""

from typing import TYPE_CHECKING, Annotated

import typer

from whichpairs.cli.options import BetaOption, JsonOption, RunOption, SeedOption, show
from whichpairs.cli.progress import Bars

if TYPE_CHECKING:
    from whichpairs.design import PassReport


def command(
    run: RunOption,
    budget: Annotated[int, typer.Option(help="Pairs to pick.")],
    criterion: Annotated[
        str,
        typer.Option(
            help="adaptive, signal (for DPO), gap (plug-in), random, uniform-prompts, reference, "
            "d-optimal, a-optimal, c-optimal, i-optimal or best-vs-worst."
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
    controls: Annotated[
        int, typer.Option(help="Random pairs of held-out prompts beside the budget, never fitted.")
    ] = 0,
    prior_spread: Annotated[
        float, typer.Option(help="Prior spread of a random pair's margin, logits.")
    ] = 1.5,
    passes: Annotated[int, typer.Option(help="Passes over all pairs, at most.")] = 15,
    tolerance: Annotated[float, typer.Option(help="Certificate to stop at.")] = 1e-3,
    threads: Annotated[int, typer.Option(help="Workers; the batch does not depend on it.")] = 1,
    another: Annotated[
        bool, typer.Option("--another", help="Pick although pairs wait for labels.")
    ] = False,
    beta: BetaOption = None,
    seed: SeedOption = None,
    json_: JsonOption = False,
) -> None:
    """Pick the pairs whose labels teach the most about the final policy."""
    from whichpairs.workflow.select import SelectSettings, select

    settings = SelectSettings(
        budget=budget,
        criterion=criterion,
        features=features,
        score=score,
        matrix=matrix,
        controls=controls,
        prior_spread=prior_spread,
        seed=seed,
        passes=passes,
        tolerance=tolerance,
        threads=threads,
    )
    with Bars(quiet=json_) as bars:

        def watch(report: "PassReport") -> None:
            certificate = report.certificate
            known = certificate is not None and certificate < 1e3
            note = f"batch within {100 * certificate:.2g} %" if known and certificate else ""
            bars.advance(1, note)

        bars.start("passes", passes)
        outcome = select(run, settings, another=another, beta=beta, watch=watch)
        bars.finish()
    show(outcome, json_)
