"""What a loop leaves for `status`: its options, as long as it has not come to its end.

RUN/loop.json   {"options": ["--budget", "500", …], "budget": 500, "batch": "003", "picking": {…}}

Nothing is read from it but which command goes on. It holds only while the loop's own batch is the
latest: whoever picks by hand after it has taken over.
"""

import json
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whichpairs.run.files import to_json, write_whole
from whichpairs.workflow.workspace import Workspace

FILE = "loop.json"


@dataclass(frozen=True)
class LoopRecord:
    """A loop that is under way.

    Attributes:
        options: of the command that goes on, the run left out.
        budget: labels of the run in all.
        batch: the batch that it picks or picked last; None before its first.
        picking: settings by which that batch is known to be the loop's own.
        answers: whether somebody answers at once (a score, a command).
    """

    options: tuple[str, ...]
    budget: int
    batch: str | None
    picking: dict[str, int | None]
    answers: bool

    def keep(self, root: Path) -> None:
        """Write it, in place of an earlier one."""
        write_whole(root / FILE, to_json(vars(self) | {"options": list(self.options)}))


def command(options: Sequence[str], root: Path) -> str:
    """The command that goes on."""
    return shlex.join(["whichpairs", "loop", "--run", str(root), *options])


def forget(root: Path) -> None:
    """The loop is at its end."""
    with suppress(FileNotFoundError):
        (root / FILE).unlink()


def picking_of(space: Workspace, batch: str | None) -> dict[str, int | None]:
    """By what a batch that is there is known again."""
    record = None if batch is None else space.run.record("batches", batch)
    return {} if record is None else {name: record.settings.get(name) for name in _KNOWN_BY}


_KNOWN_BY = ("budget", "controls")


def under_way(space: Workspace, facts: dict[str, Any]) -> LoopRecord | None:
    """The loop that `status` should name: its budget is not spent, and nobody picked after it.

    Args:
        facts: what `status` knows: the batches, the labels that are there.
    """
    try:
        found = _read(json.loads((space.run.root / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    latest = max(facts["batches"], default=None)
    own = latest == found.batch and picking_of(space, latest) == found.picking
    before = found.batch is not None and (latest is None or latest < found.batch)
    return found if (own or before) and facts["labels"] < found.budget else None


def _read(kept: dict[str, Any]) -> LoopRecord:
    options = tuple(map(str, kept["options"]))
    return LoopRecord(
        options, int(kept["budget"]), kept["batch"], dict(kept["picking"]), bool(kept["answers"])
    )
