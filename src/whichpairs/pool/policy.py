"""How many rows may be left out because they cannot be used, and what is said where too many are."""

import math
from collections.abc import Sequence

from whichpairs.errors import UserError
from whichpairs.pool.source import OddRow

MAX_BAD = 0.01
"""The share of rows that may be left out, unless the user says otherwise."""


def allowed(rows: int, max_bad: float) -> int:
    """How many of `rows` may be left out: that share of them, but one at least unless it is 0."""
    return 0 if max_bad == 0 else max(1, math.floor(max_bad * rows + 1e-9))


def check_odd(odd: Sequence[OddRow], rows: int, max_bad: float) -> None:
    """Let a file with few odd rows pass.

    Args:
        odd: the rows that cannot be used; rows: how many there are in all.
        max_bad: the share of them that may be left out, in [0, 1].

    Raises:
        UserError: there are more, or no row is left.
    """
    if not 0.0 <= max_bad <= 1.0:
        raise UserError("--max-bad must be a share, from 0 to 1", f"got {max_bad}")
    if not odd or (len(odd) <= allowed(rows, max_bad) and len(odd) < rows):
        return
    first = min(odd, key=lambda one: one.number)
    if len(odd) == 1:
        remedy = first.remedy
        if rows > 1:
            remedy = (
                remedy + "; or pass " if remedy else "pass "
            ) + "--max-bad 0.01 to leave it out"
        raise UserError(first.rule, first.received, remedy)
    if len(odd) == rows:
        alike = len({one.rule for one in odd}) == 1
        note = f" (and so is every other of the {rows} rows)" if alike else ""
        raise UserError(first.rule, first.received + note, first.remedy)
    share = math.ceil(1000 * len(odd) / rows) / 1000
    raise UserError(
        f"at most {allowed(rows, max_bad)} of the {rows} rows may be left out (--max-bad {max_bad:g})",
        f"{len(odd)} cannot be used: {reasons(odd)}",
        f"mend them, or pass --max-bad {share:g} to leave them out",
    )


def reasons(odd: Sequence[OddRow]) -> str:
    """``3 because …; first: …`` for every reason."""
    return "; ".join(
        f"{count} because {rule} (first: {received})" for rule, count, received in by_reason(odd)
    )


def by_reason(odd: Sequence[OddRow]) -> list[tuple[str, int, str]]:
    """Every reason, how many rows have it, and what the first of them holds."""
    found: dict[str, list[OddRow]] = {}
    for one in sorted(odd, key=lambda one: one.number):
        found.setdefault(one.rule, []).append(one)
    return [(rule, len(ones), ones[0].received) for rule, ones in found.items()]
