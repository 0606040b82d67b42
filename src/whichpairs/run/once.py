"""What every stage shares: doing its work once, and saying what would be lost by doing it again."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whichpairs.errors import UserError
from whichpairs.run.folder import Record, Run


@dataclass(frozen=True)
class Outcome:
    """What a stage did.

    Attributes:
        message: for people; result: for programs (what ``--json`` prints).
        done_before: the stage had been finished with these settings, and nothing was changed.
        folder: what it made.
    """

    message: str
    result: dict[str, Any]
    done_before: bool = False
    folder: Path | None = None


def settle(
    run: Run,
    parts: tuple[str, ...],
    stage: str,
    settings: dict[str, Any],
    inputs: dict[str, Any],
    make: Callable[[Path], dict[str, Any]],
    *,
    replace: bool = False,
    loses: str = "",
) -> tuple[Record, bool]:
    """Make a folder unless it is there; returns its record and whether it was there.

    Args:
        loses: what replacing it would lose, for the user.

    Raises:
        UserError: it was made with other settings or from other inputs, and not `replace`.
    """
    old = run.record(*parts)
    if old is not None and (old.settings, old.inputs) == (settings, inputs):
        return old, True
    if old is not None and not replace:
        raise UserError(
            f"{run.root.joinpath(*parts)} was made with other settings",
            differences(old, settings, inputs),
            f"Replacing it (--replace) loses {loses}; another --name keeps both"
            if loses
            else "start another run",
        )
    return run.commit(parts, stage, settings, inputs, make), False


def plain_name(name: str) -> str:
    """A folder name that the user chose for something of the run.

    Raises:
        UserError: it is empty, hidden, or leads elsewhere.
    """
    if not name or name.startswith(".") or "/" in name or not name.isprintable():
        raise UserError("--name must be a plain folder name", f"got {name!r}")
    return name


def find(
    run: Run, kind: str, stage: str, settings: dict[str, Any], inputs: dict[str, Any]
) -> tuple[str, Record] | None:
    """The numbered folder that was made with these settings from these inputs, if there is one."""
    for name in run.finished(kind):
        record = run.record(kind, name)
        if record and (record.stage, record.settings, record.inputs) == (stage, settings, inputs):
            return name, record
    return None


def differences(old: Record, settings: dict[str, Any], inputs: dict[str, Any]) -> str:
    """``dim was 32, now 64; …``."""
    changes = []
    for older, newer in ((old.settings, settings), (old.inputs, inputs)):
        before, after = _flat(older), _flat(newer)
        changes += [
            "what was read has changed"
            if name == "content"
            else f"{name} was {said(before.get(name))}, now {said(after.get(name))}"
            for name in sorted(before.keys() | after.keys())
            if before.get(name) != after.get(name)
        ]
    return "; ".join(changes)


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """Values by name; what lies within another is ``outer.inner``."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        inner = _flat(value) if isinstance(value, dict) else None
        found |= {name: value} if inner is None else {f"{name}.{k}": v for k, v in inner.items()}
    return found


def said(value: Any) -> str:
    """A setting's value, for people."""
    if value is None or value == []:
        return "not given"
    return ", ".join(map(str, value)) if isinstance(value, list) else repr(value)
