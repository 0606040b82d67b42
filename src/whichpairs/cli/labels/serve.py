"""`whichpairs serve`."""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whichpairs.cli.options.common import BetaOption, JsonOption, RunOption

if TYPE_CHECKING:
    from whichpairs.workflow.label.serve import Doors
    from whichpairs.workflow.workspace import Workspace


def command(
    run: RunOption,
    person: Annotated[
        list[str] | None, typer.Option(help="An annotator to invite; may be given again.")
    ] = None,
    guidelines: Annotated[
        Path | None, typer.Option(help="Markdown file shown beside the pairs.")
    ] = None,
    quiz: Annotated[
        Path | None,
        typer.Option(help="JSON lines of prompt, completion_a, completion_b, answer, why."),
    ] = None,
    quiz_pass: Annotated[float, typer.Option(help="Share of right answers to begin.")] = 0.8,
    quiz_tries: Annotated[int, typer.Option(help="How often the quiz may be tried.")] = 2,
    title: Annotated[str, typer.Option(help="What the page asks.")] = "Which is better?",
    strength: Annotated[
        bool, typer.Option("--strength", help="Ask how much better, too: 1 to 4.")
    ] = False,
    repeat: Annotated[
        float, typer.Option(help="Share of questions that ask an earlier one again.")
    ] = 0.0,
    lease_minutes: Annotated[
        float, typer.Option(help="Until a pair that was shown goes to somebody else.")
    ] = 30.0,
    price: Annotated[float | None, typer.Option(help="Of one label, for the owner's view.")] = None,
    currency: Annotated[str, typer.Option(help="Of the price.")] = "EUR",
    store: Annotated[
        str | None,
        typer.Option(help="postgresql://USER@HOST/DATABASE: the labels move there, for good."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at; 0 is any that is free.")] = 8080,
    public_url: Annotated[
        str | None, typer.Option(help="How browsers reach it, behind a proxy: https://NAME/PREFIX.")
    ] = None,
    beta: BetaOption = None,
    json_: JsonOption = False,
) -> None:
    """Let people label the picked pairs in a browser; prints their links and serves until stopped."""
    from whichpairs.label.web.project import ServeSettings, read_guidelines, read_quiz
    from whichpairs.run.folder import open_run
    from whichpairs.workflow.label.serve import serve

    open_run(run, beta)
    settings = ServeSettings(
        people=tuple(person or ()),
        title=title,
        guidelines=None if guidelines is None else read_guidelines(guidelines),
        quiz=None if quiz is None else read_quiz(quiz, quiz_pass, quiz_tries),
        strength=strength,
        lease_minutes=lease_minutes,
        repeat=repeat,
        price=price,
        currency=currency,
    )
    serve(
        run,
        settings,
        host=host,
        port=port,
        public_url=public_url,
        store=store,
        pick=_pick,
        opened=lambda doors: _say(doors, json_),
    )


def _say(doors: "Doors", json_: bool) -> None:
    if json_:
        print(json.dumps(vars(doors)), flush=True)
        return
    people = [f"  {name}: {link}" for name, link in doors.people.items()]
    waiting = (
        f"{doors.waiting} answers are wanted." if doors.waiting else "No pair waits for an answer."
    )
    lines = [
        waiting,
        f"Owner's view: {doors.owner}",
        "Invitations (each is a key: give it to that person only):",
    ]
    lines += people or ["  none yet: invite people in the owner's view, or with --person NAME"]
    print("\n".join([*lines, "Stop with Ctrl-C; what was answered is kept."]), flush=True)


def _pick(space: "Workspace") -> list[str] | None:
    """The command that picked the last batch, to pick one more."""
    from whichpairs.report.data.commands import commands

    picks = [line for line in commands(space) if line.startswith("whichpairs select ")]
    return [*shlex.split(picks[-1])[1:], "--another"] if picks else None
