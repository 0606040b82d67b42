"""Who answered how much, and how far two who answered the same pairs agree."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from whichpairs.types import Label

IMPORTED = "imported:"
NOBODY = re.compile(r"drawer\d*(#\d+)?")
"""Of answers kept back at import that name no annotator (`workflow.drawer`)."""
LEAST_SHARED = 20
"""Fewer shared pairs than this say nothing of agreement beyond chance."""


@dataclass(frozen=True)
class Agreement:
    """Two annotators on the pairs that both answered.

    Attributes:
        first, second: their names; shared: how many pairs; same: on how many they say the same.
        kappa: Cohen's κ over left, right and tie (1 agree always, 0 no more than chance would);
            None for fewer than `LEAST_SHARED` pairs, or where both always say the same.
    """

    first: str
    second: str
    shared: int
    same: int
    kappa: float | None


def agreements(labels: Sequence[Label]) -> list[Agreement]:
    """Every two annotators with a pair in common, those with the most first.

    Labels that came with the pool are left out where it is not known who gave them.
    """
    said: dict[str, dict[str, str]] = defaultdict(dict)
    for x in labels:
        if not x.annotator.startswith(IMPORTED) and not NOBODY.fullmatch(x.annotator):
            # "0" is the smaller id: the same two names for every pair, whatever was shown as A.
            won = winner(x)
            place = "tie" if won is None else str(sorted((x.id_a, x.id_b)).index(won))
            said[x.pair_id][x.annotator] = place
    shared: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for answers in said.values():
        for one, other in combinations(sorted(answers), 2):
            shared[one, other].append((answers[one], answers[other]))
    found = [
        Agreement(*names, len(both), sum(a == b for a, b in both), _kappa(both))
        for names, both in shared.items()
    ]
    return sorted(found, key=lambda one: (-one.shared, one.first, one.second))


def winner(label: Label) -> str | None:
    """The id of the preferred completion; None for a tie."""
    return {"a": label.id_a, "b": label.id_b, "tie": None}[label.choice]


def _kappa(both: Sequence[tuple[str, str]]) -> float | None:
    """(p_o − p_e) / (1 − p_e) (Cohen 1960); scikit-learn's takes seconds to import for so few
    lines."""
    n = len(both)
    one, other = Counter(a for a, _ in both), Counter(b for _, b in both)
    chance = sum(one[c] * other[c] for c in one) / n**2
    if n < LEAST_SHARED or chance == 1.0:
        return None
    return (sum(a == b for a, b in both) / n - chance) / (1.0 - chance)


def counts(labels: Sequence[Label]) -> dict[str, int]:
    """Labels by annotator, most first; repeats of a program, and imported labels, count as one."""
    return dict(Counter(map(person, labels)).most_common())


def person(label: Label) -> str:
    """Whose a label counts as: a program's repeats are one annotator's, and so are imported
    labels."""
    if label.annotator.startswith(IMPORTED):
        return IMPORTED.rstrip(":")
    return _whole(label.annotator)


def _whole(name: str) -> str:
    """A simulated annotator, or nobody in particular, without the number of its turn."""
    numbered = name.startswith("simulated:") or NOBODY.fullmatch(name)
    return name.partition("#")[0] if numbered else name


def alpha(labels: Sequence[Label]) -> float | None:
    """Krippendorff's α over left, right and tie of all who answered a pair (1 alike, 0 chance).

    1 − D_o / D_e, nominal, with pairs of fewer than two answers left out (Krippendorff 2004,
    ch. 11); None for fewer than `LEAST_SHARED` pairs with two, or where all say the same.
    """
    answers = defaultdict[str, list[str]](list)
    for x in labels:
        won = winner(x)
        place = "tie" if won is None else str(sorted((x.id_a, x.id_b)).index(won))
        answers[x.pair_id].append(place)
    units = [Counter(said) for said in answers.values() if len(said) > 1]
    total: Counter[str] = sum(units, Counter())
    n = total.total()
    chance = n**2 - sum(count**2 for count in total.values())
    if len(units) < LEAST_SHARED or chance == 0:
        return None
    apart = sum((u.total() ** 2 - sum(c**2 for c in u.values())) / (u.total() - 1) for u in units)
    return 1.0 - (n - 1) * apart / chance
