"""Labels from a file: JSONL of ``pair_id, choice`` in the order of A and B that the batch gives."""

import json
from pathlib import Path

from whichpairs.errors import UserError
from whichpairs.types import Label

CHOICES = ("a", "b", "tie")


def read_labels(
    path: Path, known: dict[str, tuple[str, str, str]], *, annotator: str
) -> list[Label]:
    """The labels in a JSONL file, all checked.

    Args:
        known: for every pair that was ever asked, ``(batch, id_a, id_b)``.
        annotator: for lines that name none.

    Raises:
        UserError: the line, and what is wrong with it.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError("the label file must be readable UTF-8", f"{path}: {error}") from None
    labels = [
        _label(line, f"{path}, line {number}", known, annotator)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not labels:
        raise UserError("the label file must hold at least one label", f"{path} is empty")
    return labels


def _label(line: str, where: str, known: dict[str, tuple[str, str, str]], annotator: str) -> Label:
    try:
        row = json.loads(line)
        pair_id, choice = row["pair_id"], row["choice"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            'each line must be {"pair_id": …, "choice": "a" | "b" | "tie"}', f"{where}: {error!r}"
        ) from None
    if not isinstance(pair_id, str) or pair_id not in known:
        raise UserError(
            "a label must answer a pair of one of the run's batches", f"{where}: {pair_id!r}"
        )
    if choice not in CHOICES:
        raise UserError('choice must be "a", "b" or "tie"', f"{where}: {choice!r}")
    batch, id_a, id_b = known[pair_id]
    ids = (row.get("id_a", id_a), row.get("id_b", id_b))
    if ids not in ((id_a, id_b), (id_b, id_a)):
        raise UserError("id_a and id_b must be the pair's completions", f"{where}: {ids!r}")
    who = row.get("annotator", annotator)
    if not isinstance(who, str) or not who.isprintable() or not who:
        raise UserError("annotator must be a name, in one line", f"{where}: {who!r}")
    return Label(pair_id, ids[0], ids[1], choice, who, batch)
