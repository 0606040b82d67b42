"""What the labels cost: money where a price is known, hours where times are."""

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from whichpairs.label.web.figures import took

if TYPE_CHECKING:
    from whichpairs.report.data.facts import Facts


@dataclass(frozen=True)
class Prices:
    """What the user said of a label: its price in any currency, and the seconds that one takes."""

    cost_per_label: float | None = None
    seconds_per_label: float | None = None


@dataclass(frozen=True)
class Effort:
    """What the labels that are there cost, controls counted.

    Attributes:
        labels: how many; cost: of all, in the user's currency; a_label: of one.
        seconds: of one label: said by the user, or the median of `timed` answers; hours: of all.
    """

    labels: int
    a_label: float | None
    seconds: float | None
    timed: int

    @property
    def cost(self) -> float | None:
        """Of all labels."""
        return None if self.a_label is None else self.a_label * self.labels

    @property
    def hours(self) -> float | None:
        """Of all labels."""
        return None if self.seconds is None else self.seconds * self.labels / 3600.0


def effort(facts: "Facts", prices: Prices) -> Effort:
    """What the labels cost; times are those of people who answered in the labelling page."""
    answers = facts.space.store.answers() if facts.pool else []
    times = [seconds for one in answers if (seconds := took(one)) is not None]
    seconds = prices.seconds_per_label
    if seconds is None and times:
        seconds = statistics.median(times)
    return Effort(facts.labels, prices.cost_per_label, seconds, len(times))
