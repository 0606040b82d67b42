"""`whichpairs`: finds the stage, and turns a user's mistake into one line and exit code 2."""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from whichpairs.cli import bench, report, status
from whichpairs.cli.completions import features, generate, import_, score
from whichpairs.cli.labels import label, loop, plan, select, serve, share
from whichpairs.cli.options.from_settings import expanded
from whichpairs.cli.policies import evaluate, export, fit, train
from whichpairs.errors import WhichpairsError, one_line, plainly

STAGES = {
    "import": import_,
    "generate": generate,
    "score": score,
    "features": features,
    "plan": plan,
    "select": select,
    "label": label,
    "serve": serve,
    "share": share,
    "fit": fit,
    "loop": loop,
    "export": export,
    "train": train,
    "evaluate": evaluate,
    "report": report,
    "status": status,
    "bench": bench,
}


class Stages(TyperGroup):
    """All stages; the options of one are put together when it is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The stage that is named, with its options."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, stage_command(name) if name in STAGES else command, rest


@cache
def stage_command(name: str) -> Any:
    """A stage with its options, for typer."""
    one = typer.Typer(add_completion=False, **_PLAIN)
    one.command(name)(expanded(STAGES[name].command))
    return get_command(one)


_PLAIN: dict[str, Any] = {"pretty_exceptions_enable": False, "rich_markup_mode": None}
app = typer.Typer(
    name="whichpairs",
    help="Which pairs of completions should I pay to have compared?",
    cls=Stages,
    add_completion=False,
    **_PLAIN,
)


def _listed() -> None:
    """Stands in the list of all stages for one whose options nobody has asked for."""


for _name, _stage in STAGES.items():
    app.command(_name, help=_stage.command.__doc__)(_listed)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"whichpairs {version('whichpairs')}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True),
) -> None:
    """Which pairs of completions should I pay to have compared?"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exits 0, 2 for a user's mistake, 130 for Ctrl-C."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _parser()(args=given or ["--help"], standalone_mode=False)
        sys.stdout.flush()
    except WhichpairsError as error:
        _fail(str(error))
    except typer.TyperException as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        message += _what_it_takes(error)
        _fail(one_line(message) or "give a command; see whichpairs --help")
    except (typer.Abort, KeyboardInterrupt):
        print("whichpairs: stopped; what was finished is kept", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        _drop_output()
        if isinstance(error, BrokenPipeError):  # whoever read our output has seen enough
            sys.exit(1)
        _fail(
            one_line(
                f"what is read must be readable, and what is written writable; {_which(error)}"
            )
        )
    sys.exit(code if isinstance(code, int) else 0)


@cache
def _parser() -> Callable[..., Any]:
    """All commands, put together once a process."""
    return get_command(app)


def _which(error: OSError) -> str:
    """The file, and what the system says of it."""
    name = f"{error.filename}: " if error.filename else ""
    return f"{name}{plainly(error)}"


def _what_it_takes(error: Exception) -> str:
    """The help of an option or argument that is missing: its choices, or what it is."""
    if type(error).__name__ != "MissingParameter":  # which typer does not show under this name
        return ""
    words = getattr(getattr(error, "param", None), "help", None)
    return f" It takes: {words}" if words else ""


def _drop_output() -> None:
    """What could not be printed is not tried again at exit."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())  # type: ignore[union-attr]


def _fail(message: str) -> None:
    print(f"whichpairs: {message}", file=sys.stderr)
    sys.exit(2)
