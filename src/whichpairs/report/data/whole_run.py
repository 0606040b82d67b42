"""The run as a whole beside one of random pairs alone: what the page's first picture and headline say.

A batch is judged when it is picked, by what was believed then, and only in its own place. Here all that
was picked is judged at once, by what is believed now: θ* is drawn from the belief that all labels
left, and for each draw the answers to the run's pairs, and to as many random ones, are drawn
anew and fitted from the start. So both sides are treated alike, and the labels of the run serve only to
say which rewards are likely (`design.forecast.predicted_gap` has the rest of the definition).

A run of one batch and nothing before it has no such hindsight to offer that its own forecast did not:
it is shown as it was predicted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from whichpairs.design.forecast.predicted_gap import Forecast
from whichpairs.report.data.design_curves import (
    Beginning,
    Standpoint,
    beginning,
    budgets_between,
    picked_rows,
    standpoint,
)
from whichpairs.report.data.records import Batch
from whichpairs.workflow.select.settings import SelectSettings
from whichpairs.workflow.select.stage import Desk

if TYPE_CHECKING:
    from whichpairs.report.data.facts import Facts

POINTS = 6
"""Numbers of labels of the run that are judged, at most: its end, and batches spread over it."""


@dataclass(frozen=True)
class Mean:
    """A mean over draws and its standard error."""

    mean: float
    error: float

    @property
    def ends(self) -> tuple[float, float]:
        """Two standard errors to each side."""
        return self.mean - 2.0 * self.error, self.mean + 2.0 * self.error


@dataclass(frozen=True)
class Point:
    """The run after a batch, and as many random pairs.

    Attributes:
        batch: the last one of it; labels: asked up to it; ours, random: predicted gaps.
    """

    batch: str
    labels: int
    ours: Mean
    random: Mean


@dataclass(frozen=True)
class WholeRun:
    """All that was picked, against random pairs.

    Attributes:
        labels: asked in all, controls not counted; seen: labels by which it is judged.
        points: after batches of the run, the last at its end; apart: standard error of the last
            one's difference.
        curve: rows (labels, gap) of random pairs alone.
        needs: labels that random needs for the run's gap: as many as the run has where no difference
            is seen (two standard errors), None where `searched` do not get there.
        at_random: all of the run is itself random.
    """

    labels: int
    seen: int
    points: tuple[Point, ...]
    apart: float
    curve: tuple[tuple[int, Mean], ...]
    needs: int | None
    searched: int
    at_random: bool

    @property
    def end(self) -> Point:
        """All of it."""
        return self.points[-1]

    @property
    def ratio(self) -> float | None:
        """Labels of random ÷ labels of the run, for the same gap."""
        return None if self.needs is None else self.needs / self.labels


class _Anew(Forecast):
    """A forecast from the start of a run, of rewards that are believed at its end."""

    _given: np.ndarray

    @classmethod
    def of(cls, start: Desk, now: Forecast) -> "_Anew":
        """All that `start` knows, over the draws of θ* of `now`."""
        from whichpairs.defaults import PRIOR_MARGIN_SPREAD
        from whichpairs.design import prior
        from whichpairs.design.forecast.predicted_gap import Known

        known = start.evidence
        found = cls(
            start.pairs,
            start.beta,
            start.space.pool.weight,
            start.prior,
            prior(start.pairs, start.beta, PRIOR_MARGIN_SPREAD),
            Known(known.pairs, known.wins, known.fit.theta, known.pending),
            seed=start.seed,
        )
        found._given = now._stars
        return found

    @cached_property
    def _stars(self) -> np.ndarray:
        return self._given


def whole_run(facts: "Facts") -> WholeRun | None:
    """The run as a whole; None without a batch, without its features, or where limits hold that random
    pairs of another number cannot be drawn within."""
    asked = facts.asked
    if not asked or asked[-1].gap is None or any(one.limited for one in asked):
        return None
    stood = standpoint(facts.space, facts.batches[-1])
    start = beginning(facts.space, facts.batches[-1][1])
    if stood is None or start is None:
        return None
    if len(asked) == 1 and asked[0].seen == 0:
        return _as_predicted(asked[0], stood)
    return _in_hindsight(facts, asked, start)


def _as_predicted(batch: Batch, stood: Standpoint) -> WholeRun:
    """A run of one batch, by its own forecast."""
    assert batch.gap is not None
    assert batch.random is not None
    point = Point(
        batch.name,
        batch.labels,
        Mean(batch.gap, batch.error),
        Mean(batch.random, batch.saving_error if batch.at_random else batch.error),
    )
    curve = _curve(stood.desk.forecast, stood.desk, batch.labels)
    needs = batch.labels if batch.at_random else batch.needs
    return WholeRun(
        *(batch.labels, 0, (point,), batch.saving_error, curve, needs),
        *(curve[-1][0], batch.at_random),
    )


def _in_hindsight(facts: "Facts", asked: Sequence[Batch], start: Beginning) -> WholeRun:
    settings = SelectSettings(budget=1, features=start.desk.name, seed=start.desk.seed)
    now = Desk(facts.space, settings)
    anew = _Anew.of(start.desk, now.forecast)
    ends = np.cumsum([one.labels for one in asked]).tolist()
    rows = [picked_rows(facts.space, one.name, repeated=True) for one in asked]
    at_random = all(one.at_random for one in asked)
    points = []
    for k in _spread(len(asked)):
        random = _mean(anew.random(ends[k]))
        so_far = np.concatenate(rows[: k + 1])
        same = all(one.at_random for one in asked[: k + 1])
        ours = random if same else _mean(anew.after([so_far]))
        points.append(Point(asked[k].name, ends[k], ours, random))
    reach = anew.reach(None if at_random else np.concatenate(rows), ends[-1])
    curve = _curve(anew, start.desk, ends[-1])
    return WholeRun(
        *(ends[-1], len(now.evidence.wins), tuple(points), reach.saving_error, curve),
        *(reach.labels_needed, reach.searched, at_random),
    )


def _spread(count: int) -> list[int]:
    """Places of at most `POINTS` batches, evenly, the last among them."""
    return sorted({round(k) for k in np.linspace(0, count - 1, min(count, POINTS))})


def _curve(forecast: Forecast, desk: Desk, labels: int) -> tuple[tuple[int, Mean], ...]:
    budgets = budgets_between(desk.pairs, max(labels // 8, 1), 4 * labels)
    return tuple((n, _mean(forecast.random(n))) for n in budgets)


def _mean(values: np.ndarray) -> Mean:
    return Mean(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))))
