"""How many rows may be left out because they cannot be used, and what is said where too many
are."""

import math
from collections.abc import Sequence

from whichpairs.errors import UserError
from whichpairs.pool.raw.source import ROW_OUT, OddRow
from whichpairs.wording import counted, counted_of

MAX_BAD = 0.01
"""The share of rows that may be left out, unless the user says otherwise."""


def allowed(rows: int, max_bad: float) -> int:
    """How many of `rows` may be left out: that share of them."""
    return math.floor(max_bad * rows + 1e-9)


def check_odd(
    unreadable: Sequence[OddRow], odd: Sequence[OddRow], rows: int, max_bad: float
) -> None:
    """Let a file with few odd rows pass.

    Args:
        unreadable: rows that could not be read at all: the file is broken there.
        odd: rows that were read and cannot be used; unless `max_bad` is 0, one of these always
            may be left out, in a file however small.
        rows: how many rows there are in all.
        max_bad: the share of them that may be left out, in [0, 1].

    Raises:
        UserError: there are more, or no row is left.
    """
    if not 0.0 <= max_bad <= 1.0:
        raise UserError("--max-bad must be a share, from 0 to 1", f"got {max_bad}")
    bad, most = [*unreadable, *odd], allowed(rows, max_bad)
    few = len(bad) <= most or (len(bad) == len(odd) == 1 and max_bad > 0)
    if not bad or (few and len(bad) < rows):
        return
    first = min(bad, key=lambda one: one.number)
    share = math.ceil(1000 * len(bad) / rows) / 1000
    if len(bad) == rows:
        alike = rows > 1 and len({one.rule for one in bad}) == 1
        note = f" (and so is every other of {counted(rows, 'row')})" if alike else ""
        remedy = first.remedy
        if alike and remedy.endswith(ROW_OUT):
            remedy = "mend them, or name another column"
        raise UserError(first.rule, first.received + note, remedy)
    cure = f"pass --max-bad {share:g} to leave {'it' if len(bad) == 1 else 'them'} out"
    if len(bad) == 1:
        remedy = f"{first.remedy}; or {cure}" if first.remedy else cure
        raise UserError(first.rule, first.received, remedy)
    raise UserError(
        f"at most {counted_of(most, rows, 'row')} may be left out (--max-bad {max_bad:g})",
        f"{len(bad)} cannot be used: {reasons(bad)}",
        f"mend them, or {cure}",
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
