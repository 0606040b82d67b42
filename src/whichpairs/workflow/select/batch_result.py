"""The numbers of a batch's manifest, whatever version wrote it.

Apart from `batch`, which needs the whole solver: `status` reads these, and is to cost little.
"""

from typing import Any

GAPS = ("predicted_gap_before", "predicted_gap", "random_predicted_gap")


def labels_of(r: dict[str, Any]) -> int:
    """Labels that a batch asks for, by its result (older ones have one a pair)."""
    return int(r.get("labels", r["picked"]))


def predicted(r: dict[str, Any]) -> dict[str, float | None]:
    """Predicted gaps of a batch by its result, in units of J; None for a batch of a version before
    2026-11-28, whose numbers of these names were a criterion's value at one θ."""
    known = "predicted_gap_error" in r
    return {name: r.get(name) if known else None for name in GAPS}
