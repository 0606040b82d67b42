"""What stage plan is told."""

from dataclasses import dataclass
from typing import Annotated

from whichpairs.errors import UserError
from whichpairs.setting import SEED, Setting, check_ranges

PLANNED = ("adaptive", "paper")
"""Criteria whose batches a plan can foresee."""


@dataclass(frozen=True)
class PlanSettings:
    """What the user chose.

    Args:
        cost_per_label: price of a label, any currency; None says nothing of money.
        target_gap: a predicted gap to reach; None says nothing of it.
        budget: the number of further labels that the verdict is about; None is 16 d, and at most a
            quarter of the candidates.
        features: name of the feature set; None is the latest.
        seed: None is the run's.
        criterion: one of `PLANNED`: whose batches are foreseen.
    """

    cost_per_label: Annotated[float | None, Setting("Price of a label.", above=0)] = None
    target_gap: Annotated[float | None, Setting("A predicted gap to reach.", above=0)] = None
    budget: Annotated[
        int | None,
        Setting("Further labels that the verdict is about; else 16 d.", low=1, after="run"),
    ] = None
    features: Annotated[str | None, Setting("Feature set; else the latest.", after="criterion")] = (
        None
    )
    seed: Annotated[int | None, SEED] = None
    criterion: Annotated[
        str, Setting("Whose batches: adaptive, or paper (as in select).", after="target_gap")
    ] = "adaptive"

    def __post_init__(self) -> None:
        if self.criterion not in PLANNED:
            raise UserError(
                f"a plan's criterion must be one of {', '.join(PLANNED)}", f"got {self.criterion!r}"
            )
        check_ranges(self)
