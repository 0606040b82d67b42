"""Options that the user gave and that this call does not read: refused, or said; never ignored in
silence.

What the user gave is what stands in the command, whatever its value: the default written out counts
too.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from whichpairs.endpoint.settings import OF_A_SERVER
from whichpairs.errors import UserError
from whichpairs.setting import settings_of
from whichpairs.wording import listed

if TYPE_CHECKING:
    from whichpairs.run.once import Outcome

HOW = ("device", "batch_size", "save_every", "log_to", "server", *OF_A_SERVER)
"""Options that say how a result is computed, and not which: of no use where it is there already."""


def given(context: typer.Context) -> dict[str, str]:
    """The options that the user gave: the parameter's name, and the option as it is written."""
    found = {}
    for one in context.command.params:
        name = str(one.name)
        source = context.get_parameter_source(name)
        if one.param_type_name == "option" and source and source.name != "DEFAULT":
            found[name] = max(one.opts, key=len)
    return found


def refuse_unread(options: Mapping[str, str], kind: type, ways: Collection[str]) -> None:
    """Refuse what only another way of the command reads.

    Args:
        options: see `given`; kind: the settings class, which says what is read by which ways;
        ways: those that the user chose.

    Raises:
        UserError: one is of no use.
    """
    read_by = {one.name: one.setting.read_by for one in settings_of(kind) if one.setting.read_by}
    refuse(options, read_by, ways)


def refuse(
    options: Mapping[str, str], readers: Mapping[str, Collection[str]], ways: Collection[str]
) -> None:
    """Refuse what only another way of the command reads.

    Args:
        options: see `given`; readers: for a parameter, the ways that read it (all, where it is not
            named);
        ways: those that the user chose.

    Raises:
        UserError: one is of no use.
    """
    unread: dict[tuple[str, ...], list[str]] = {}
    for name, written in options.items():
        if name in readers and not set(readers[name]) & set(ways):
            unread.setdefault(tuple(readers[name]), []).append(written)
    if not unread:
        return
    rules = [
        f"{listed(names)} {'is' if len(names) == 1 else 'are'} for {listed(of, 'or')}"
        for of, names in unread.items()
    ]
    alone = sum(map(len, unread.values())) == 1
    raise UserError(
        "; ".join(rules),
        f"got {'it' if alone else 'them'} with {listed(list(ways))}",
        f"leave {'it' if alone else 'them'} out",
    )


def say_idle(
    outcome: "Outcome", options: Mapping[str, str], names: Iterable[str] = HOW
) -> "Outcome":
    """The outcome, with a line on options that changed nothing because it was there already."""
    idle = [options[name] for name in names if name in options]
    if not outcome.done_before or not idle:
        return outcome
    return add_line(outcome, f"{listed(idle)} had no effect: nothing was computed anew.")


def add_line(outcome: "Outcome", line: str) -> "Outcome":
    """The outcome, with one more line; programs find it under ``notes``."""
    notes = [*outcome.result.get("notes", []), line]
    return replace(
        outcome,
        message=f"{outcome.message}\n{line}",
        result={**outcome.result, "notes": notes},
    )
