"""Options of `select` that limit a batch: repeats, prompts, completions, groups, named pairs, costs."""

from typing import Annotated

import typer

RepeatsOption = Annotated[
    int, typer.Option("--repeats", help="Labels a pair at most, each by another annotator.")
]
PerPromptOption = Annotated[
    int | None, typer.Option("--per-prompt", help="Labels a prompt at most.")
]
PerCompletionOption = Annotated[
    int | None, typer.Option("--per-completion", help="Labels a completion at most.")
]
GroupColumnOption = Annotated[
    str | None,
    typer.Option("--group-column", help="Pool column of the prompts' groups, for --share."),
]
ShareOption = Annotated[
    list[str] | None,
    typer.Option(
        "--share",
        help="NAME=LEAST:MOST, a group's share of the budget, 0 to 1; either may be empty; repeatable.",
    ),
]
MustOption = Annotated[
    str | None,
    typer.Option(
        "--must", help="File of pairs to pick in any case: ids, or JSONL of id_a and id_b."
    ),
]
MustNotOption = Annotated[
    str | None, typer.Option("--must-not", help="File of pairs never to pick, likewise.")
]
CostColumnOption = Annotated[
    str | None,
    typer.Option(
        "--cost-column",
        help="Numeric pool column: what looking at a completion costs; a pair costs the sum of its "
        "two, and --budget is in that unit.",
    ),
]
ReadingOption = Annotated[
    float | None,
    typer.Option(
        "--reading",
        help="Words a minute: a pair costs the minutes to read its prompt and both completions, "
        "and --budget is minutes.",
    ),
]
OverheadOption = Annotated[
    float | None,
    typer.Option("--overhead", help="Minutes a pair beside its reading; 0.1 if left out."),
]
