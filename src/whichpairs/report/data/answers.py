"""What the answers say of those who gave them: ties, agreement, and whether the order shown mattered."""

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binomtest

from whichpairs.evaluate.interval import Interval
from whichpairs.label.agreement import Agreement, agreements, alpha, counts
from whichpairs.types import Label


@dataclass(frozen=True)
class Answers:
    """The labels as answers.

    Attributes:
        by: labels of each annotator, most first; ties, both_bad: how many are one.
        first: share of A, the one shown first, among choices of A or B, with its 95 % interval
            (Clopper–Pearson); None without such a choice, or where it is not known what stood first.
        couples: how far two agree; alpha: Krippendorff's α of all.
    """

    labels: int
    by: dict[str, int]
    ties: int
    both_bad: int
    first: Interval | None
    couples: tuple[Agreement, ...]
    alpha: float | None


def answers_of(labels: Sequence[Label]) -> Answers:
    """What there is to say of these labels."""
    asked = [x for x in labels if not x.annotator.startswith(("imported", "drawer"))]
    a = sum(x.choice == "a" for x in asked)
    decided = sum(x.choice != "tie" for x in asked)
    first = None
    if decided:
        found = binomtest(a, decided).proportion_ci(method="exact")
        first = Interval(a / decided, None, float(found.low), float(found.high))
    return Answers(
        len(labels),
        counts(labels),
        sum(x.choice == "tie" for x in labels),
        sum(x.both_bad for x in labels),
        first,
        tuple(agreements(labels)[:10]),
        alpha(labels),
    )
