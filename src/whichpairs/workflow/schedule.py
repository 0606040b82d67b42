"""The plan of a loop: where its rounds end, as totals of labels.

Rounds grow, because what a round teaches the next one to pick grows only with all labels so far.
"""

from itertools import pairwise


def plan_rounds(already: int, budget: int, first: int, rounds: int | None = None) -> list[int]:
    """Where the rounds end, as totals of labels; a short last round is part of the one before.

    Args:
        already: labels that were there before the first round.
        first: the totals are first, 2 first, 4 first … and the budget.
        rounds: so many rounds of equal growth instead (fewer only where labels are), the first at
            most `first` and no larger than doubling would have it.
    """
    if already >= budget:
        return []
    if rounds is not None:
        return _growing(already, budget, first, rounds)
    totals = []
    while first < budget:
        totals.append(first)
        first *= 2
    begin = totals[-2] if len(totals) > 1 else 0
    if totals and budget - totals[-1] < (totals[-1] - begin) / 2:
        totals.pop()
    totals.append(budget)
    start = next_total(totals, 0, already)
    return [total for total in totals if start is not None and total >= start]


def _growing(already: int, budget: int, first: int, rounds: int) -> list[int]:
    room = budget - already
    rounds = min(rounds, room)
    start = max(1.0, min(first, room * 0.5 ** (rounds - 1)))
    growth = [(room / start) ** (k / max(rounds - 1, 1)) for k in range(rounds)]
    totals: list[int] = []
    for k, size in enumerate(growth):
        total = already + round(start * size)
        totals.append(budget if k == rounds - 1 else max(total, totals[-1] + 1 if totals else 0))
    return totals


def next_total(plan: list[int], already: int, known: int) -> int | None:
    """Where the next round ends; None when the plan is done.

    From `known` between two totals (pairs picked by hand), less than half a round is no round: it
    is part of the one after.
    """
    for before, total in pairwise([already, *plan]):
        if total > known and (total == plan[-1] or total - known >= (total - before) / 2):
            return total
    return None


CONTROLS_SHARE = 0.1
"""Of the labels, how many go to control pairs where nobody says otherwise."""


def share_of(share: float, total: int) -> int:
    """How many of the first `total` labels are controls; rounded once, so that shares add up."""
    return int(share * total + 0.5)
