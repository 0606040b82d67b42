"""Where a solve stands, on the disk: a killed select goes on from its last pass to the same batch.

RUN/batches.partial/checkpoint.npz   plain arrays, no pickle; reports as JSON; gone with the batch
"""

import hashlib
import json
import zipfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from whichpairs.design.solver.frank_wolfe import Checkpoint, PassReport
from whichpairs.errors import UserError
from whichpairs.run.files import write_whole

_ARRAYS = ("keys", "counts", "shares", "batch", "factor", "tops")
_NUMBERS = ("longest", "bound", "room")


def digest(*parts: Any) -> str:
    """16 hex digits that stand for settings and inputs."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Resume:
    """The checkpoint of one selection.

    Args:
        root: the run folder; key: all that the batch depends on, as `digest` gives it.
    """

    root: Path
    key: str

    @property
    def path(self) -> Path:
        """Its file."""
        return self.root / "batches.partial" / "checkpoint.npz"

    def load(self) -> Checkpoint | None:
        """Where a killed call stood; None where there is none of this key, or it is broken."""
        try:
            with np.load(self.path, allow_pickle=False) as found:
                if str(found["key"]) != self.key:
                    return None
                arrays = {name: found[name] for name in _ARRAYS}
                reports = tuple(PassReport(**row) for row in json.loads(str(found["reports"])))
                longest, bound, room = (float(found[name]) for name in _NUMBERS)
            return Checkpoint(**arrays, longest=longest, bound=bound, room=room, reports=reports)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return None

    def keep(self, checkpoint: Checkpoint) -> None:
        """Write it, in place of an earlier one.

        Raises:
            UserError: there is no room; an earlier one is still whole then.
        """
        memory = BytesIO()
        held = {name: np.array(getattr(checkpoint, name)) for name in (*_ARRAYS, *_NUMBERS)}
        np.savez(
            memory,
            key=np.array(self.key),
            reports=np.array(json.dumps([asdict(report) for report in checkpoint.reports])),
            **held,  # type: ignore[arg-type]
        )
        try:
            write_whole(self.path, memory.getvalue())
        except UserError:
            self._tidy()
            raise

    def clear(self) -> None:
        """The batch is there: nothing is to be gone on from."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
        self._tidy()

    def _tidy(self) -> None:
        with suppress(OSError):
            self.path.parent.rmdir()
