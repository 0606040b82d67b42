"""`whichpairs loop`."""

from typing import Annotated

import typer

from whichpairs.cli.options.common import BetaOption, JsonOption, RunOption, SeedOption, show
from whichpairs.cli.progress import Bars


def command(
    run: RunOption,
    budget: Annotated[int, typer.Option(help="Labels of the run in all, those there counted.")],
    first: Annotated[
        int | None, typer.Option(help="The totals double from here; else 4 a feature.")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(help="This many rounds of equal growth instead.")
    ] = None,
    controls_share: Annotated[
        float, typer.Option(help="Share of the labels for control pairs of held-out prompts.")
    ] = 0.1,
    simulate: Annotated[
        str | None, typer.Option(help="Answer by this score: P = σ((s_A − s_B) / T).")
    ] = None,
    temperature: Annotated[float, typer.Option(help="T, in units of the score.")] = 1.0,
    labeller: Annotated[
        str | None,
        typer.Option(help="Answer by this command: COMMAND PAIRS.jsonl ANSWERS.jsonl."),
    ] = None,
    from_drawer: Annotated[
        bool, typer.Option("--from-drawer", help="Answer by the labels kept back at import.")
    ] = False,
    stop_gain: Annotated[
        float | None,
        typer.Option(help="Stop when a round gains less, in J, and controls show no better fit."),
    ] = None,
    top_up: Annotated[
        bool, typer.Option("--top-up", help="Pick the next round although pairs wait.")
    ] = False,
    criterion: Annotated[
        str | None, typer.Option(help="How to pick, as in select; else its default.")
    ] = None,
    features: Annotated[str | None, typer.Option(help="Feature set; else the latest.")] = None,
    threads: Annotated[int, typer.Option(help="Workers; the batches do not depend on it.")] = 1,
    beta: BetaOption = None,
    seed: SeedOption = None,
    json_: JsonOption = False,
) -> None:
    """Select, label and fit in rounds; call it again whenever people have brought labels."""
    from whichpairs.workflow.loop.stage import LoopSettings, loop, where_it_stands

    settings = LoopSettings(
        budget=budget,
        first=first,
        rounds=rounds,
        controls_share=controls_share,
        simulate=simulate,
        temperature=temperature,
        labeller=labeller,
        from_drawer=from_drawer,
        stop_gain=stop_gain,
        top_up=top_up,
        criterion=criterion,
        features=features,
        seed=seed,
        threads=threads,
    )
    with Bars(quiet=json_ or labeller is not None) as bars:
        tell = (lambda line: None) if json_ else bars.line
        try:
            outcome = loop(run, settings, beta=beta, progress=bars, tell=tell)
        except KeyboardInterrupt:
            bars.line(f"whichpairs: {where_it_stands(run, settings)}")
            raise typer.Exit(130) from None
    show(outcome, json_)
