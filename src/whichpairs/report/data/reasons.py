"""Why a pair was worth asking, or was not: what its score is made of, against a median random pair.

A label of a pair takes w zᵀAz off the gap criterion, z its difference of features. That is the square of
how far apart the two completions lie, times how open the direction is in which they differ.
"""

from dataclasses import dataclass

import numpy as np

from whichpairs.report.data.design_curves import Beginning, Choice

FAR, OPEN = 1.3, 1.2
"""From here on a distance, and an openness, is worth a word (in units of a median random pair's)."""


@dataclass(frozen=True)
class Reason:
    """What a pair's score is made of, each in units of a median random pair's.

    Attributes:
        score: what its label teaches, all other labels of the run given.
        distance: of its completions in feature space; openness: score ÷ distance².
        sure: P(A preferred) by the latest fit, A the first of the pool; None without one.
    """

    score: float
    distance: float
    openness: float
    sure: float | None = None

    def asked(self) -> str:
        """Why it was worth asking."""
        if self.score < 1.0:
            return "chance or caution: taught less than a median random pair would, and keeps the fit honest"
        if self.distance >= FAR and self.openness >= OPEN:
            return "the two lie far apart, in a direction that the other labels leave open"
        if self.distance >= FAR:
            return "the two lie far apart in the features"
        if self.openness >= OPEN:
            return "it asks about a direction that the other labels leave open"
        return "somewhat more to learn than from a random pair"

    def left(self) -> str:
        """Why it was not asked."""
        if self.score >= 1.0:
            return "nothing against it: the budget went to others"
        if self.distance <= 1.0 / FAR and self.openness <= 1.0 / OPEN:
            return "the two are much alike, and other labels say most of it"
        if self.distance <= 1.0 / FAR:
            return "the two are much alike in the features"
        if self.openness <= 1.0 / OPEN:
            return "other labels say most of it already"
        return "somewhat less to learn than from a random pair"


class Reasons:
    """The reasons of pairs of a choice.

    Args:
        start: where the designs began; found: the picked pairs beside random ones, scored.
    """

    def __init__(self, start: Beginning, found: Choice) -> None:
        self.pairs, self.found = start.desk.pairs, found
        self.unit = float(np.median(self._far(found.others))) or 1.0

    def _far(self, rows: np.ndarray) -> np.ndarray:
        z = self.pairs.differences(rows)
        return np.asarray(np.sqrt(np.einsum("nd,nd->n", z, z)))

    def of(self, rows: np.ndarray, scores: np.ndarray, sure: np.ndarray | None) -> list[Reason]:
        """Of each pair; `sure` is P(first preferred), None without a fit."""
        distance = self._far(rows) / self.unit
        openness = scores / np.maximum(distance, 1e-9) ** 2
        given = [None] * len(rows) if sure is None else sure.tolist()
        parts = zip(scores.tolist(), distance.tolist(), openness.tolist(), given, strict=True)
        return [Reason(*one) for one in parts]
