"""Which pairs a second person answers: drawn once a batch, and said by row in
RUN/overlap/BATCH.jsonl.

A batch says how many answers each pair wants (`select --repeats`); the overlap raises that to two
for a share of the pairs, when people are asked (`serve --overlap`, `share --overlap`). Each batch
has one order in which its pairs join, so that a greater share asks for more and unasks none.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from whichpairs.errors import UserError, plainly
from whichpairs.run.files import write_whole
from whichpairs.streams import stream_of
from whichpairs.types import Label
from whichpairs.workflow.workspace import Workspace

TWO = 2
FOLDER = "overlap"


@dataclass(frozen=True)
class Plan:
    """Who is to be asked twice.

    Attributes:
        wanted: for every pair ever asked, how many people are to answer it.
        files: what is to be written for that, by path.
    """

    wanted: dict[str, int]
    files: dict[Path, str] = field(default_factory=dict)

    def keep(self) -> None:
        """Write it down."""
        for path, lines in self.files.items():
            write_whole(path, lines)

    def waiting(self, labels: Iterable[Label]) -> dict[str, int]:
        """Answers that pairs still wait for, by pair id (none is 0)."""
        done = Counter(label.pair_id for label in labels)
        missing = {key: count - done[key] for key, count in self.wanted.items()}
        return {key: count for key, count in missing.items() if count > 0}


def plan(space: Workspace, share: float) -> Plan:
    """Plan a share of every batch's pairs for two people; nothing is written yet.

    Args:
        share: in [0, 1], of each batch; what was planned before stays, whatever it is.

    Raises:
        UserError: it is not, or a plan is not what whichpairs wrote.
    """
    if not 0.0 <= share <= 1.0:
        raise UserError("--overlap must be in [0, 1]", f"got {share:g}")
    found = Plan(dict(space.asked))
    for name, rows in space.batches.items():
        path = space.run.root / FOLDER / f"{name}.jsonl"
        before, size = _read(path), round(share * len(rows))
        joined = stream_of(space.run.seed, FOLDER, int(name)).permutation(len(rows))[:size]
        twice = before | {rows[k]["pair_id"] for k in joined.tolist()}
        told = [{**_ids(row), "labels": _wanted(row)} for row in rows if row["pair_id"] in twice]
        found.wanted.update({row["pair_id"]: row["labels"] for row in told})
        if twice != before:
            found.files[path] = "".join(json.dumps(row) + "\n" for row in told)
    return found


def _ids(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("pair_id", "id_a", "id_b")}


def _wanted(row: dict[str, Any]) -> int:
    return max(int(row.get("labels", 1)), TWO)


def _read(path: Path) -> set[str]:
    """The pairs of a batch that are planned for two."""
    if not path.exists():
        return set()
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        return {str(json.loads(line)["pair_id"]) for line in lines if line}
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = plainly(error) if isinstance(error, OSError | ValueError) else "a row has no pair_id"
        raise UserError(
            "a plan of second answers must be whole", f"{path}: {why}", "delete it to plan anew"
        ) from None
