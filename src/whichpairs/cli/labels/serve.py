"""`whichpairs serve`."""

import json
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from whichpairs.cli.options.common import BetaOption, JsonOption, RunOption
from whichpairs.cli.options.from_settings import with_settings
from whichpairs.setting import Setting

if TYPE_CHECKING:
    from whichpairs.label.web.project import ServeSettings
    from whichpairs.workflow.label.serve import Doors
    from whichpairs.workflow.workspace import Workspace


@dataclass(frozen=True)
class Quiz:
    """What an annotator answers before the first pair."""

    quiz: Annotated[
        Path | None,
        Setting(
            "JSON lines of prompt, completion_a, completion_b, answer, why.", after="guidelines"
        ),
    ] = None
    quiz_pass: Annotated[float, Setting("Share of right answers to begin.", after="quiz")] = 0.8
    quiz_tries: Annotated[int, Setting("How often the quiz may be tried.", after="quiz_pass")] = 2


@dataclass(frozen=True)
class Place:
    """Where the page is, and the labels."""

    store: Annotated[
        str | None,
        Setting("postgresql://USER@HOST/DATABASE: the labels move there, for good."),
    ] = None
    host: Annotated[str, Setting("Address to listen at.")] = "127.0.0.1"
    port: Annotated[int, Setting("Port to listen at; 0 is any that is free.")] = 8080
    public_url: Annotated[
        str | None, Setting("How browsers reach it, behind a proxy: https://NAME/PREFIX.")
    ] = None


@with_settings(settings="whichpairs.label.web.project:ServeSettings", quiz=Quiz, place=Place)
def command(
    run: RunOption,
    settings: "ServeSettings",
    quiz: Quiz,
    place: Place,
    beta: BetaOption = None,
    json_: JsonOption = False,
) -> None:
    """Let people label the picked pairs in a browser; prints their links, serves until stopped."""
    from whichpairs.label.web.project import read_quiz
    from whichpairs.run.folder import open_run
    from whichpairs.workflow.label.serve import serve

    open_run(run, beta)
    if quiz.quiz is not None:
        asked = read_quiz(quiz.quiz, quiz.quiz_pass, quiz.quiz_tries)
        settings = replace(settings, quiz=asked)
    serve(
        run,
        settings,
        host=place.host,
        port=place.port,
        public_url=place.public_url,
        store=place.store,
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
