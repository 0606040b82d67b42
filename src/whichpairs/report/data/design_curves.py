"""What the page draws from the design: how far random gets, how far a solved design would, and why the
picked pairs were picked. The belief, the prior and the candidates are those of `workflow.select.stage`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from whichpairs.design import FrankWolfe, Problem, information, solve
from whichpairs.design.batches.random import random_pairs
from whichpairs.design.problem.space import PairSpace
from whichpairs.design.sweep.sweep import exact_scores
from whichpairs.errors import UserError
from whichpairs.run.folder import Record
from whichpairs.streams import Stream, stream
from whichpairs.workflow.select.batch_result import labels_of
from whichpairs.workflow.select.settings import SelectSettings
from whichpairs.workflow.select.stage import Desk
from whichpairs.workflow.workspace import IMPORTED, Workspace

POINTS = 8
"""Budgets on random's curve; `SOLVED` of them on the best design's."""

SOLVED = 4
SOLVABLE = 3e8
"""Candidate pairs × dimensions up to which the best design is solved for the page."""

_WORK = 4e11
"""Multiplications that random's curve may cost."""

_QUICK = FrankWolfe(passes=5, tolerance=1e-2, inner=30, swaps=100)


@dataclass(frozen=True)
class Curves:
    """Predicted gap against labels picked in this run, as believed before the latest batch.

    Attributes:
        random: rows (labels, mean, its standard error over the forecast's draws).
        best: rows (labels, predicted gap of a solved batch); empty where too dear.
    """

    random: list[tuple[int, float, float]]
    best: list[tuple[int, float]]

    def random_needs(self, gap: float) -> float | None:
        """Labels at which random's curve reaches `gap`, interpolated; None outside the curve."""
        labels = np.log([row[0] for row in self.random])
        gaps = np.log([row[1] for row in self.random])
        if len(gaps) == 0 or gap <= 0 or not gaps.min() <= np.log(gap) <= gaps.max():
            return None
        return float(np.exp(np.interp(-np.log(gap), -gaps, labels)))


class Standpoint:
    """The run as it stood when a batch was picked, or as it stands now: what was believed then.

    Args:
        space: the run now; batch: its name and record, None is the one to come.

    Raises:
        UserError: there are no features, or they are of another pool.
    """

    def __init__(self, space: Workspace, batch: tuple[str, Record] | None) -> None:
        then = Workspace(space.run)
        then.pool, then.batches, then.labels = space.pool, space.batches, space.labels
        chosen: dict[str, Any] = {}
        if batch is not None:
            name, record = batch
            then.batches = {n: rows for n, rows in space.batches.items() if n < name}
            then.labels = space.labels[: record.result.get("labels_before", 0)]
            kept = ("features", "prior_spread", "seed")
            chosen = {key: record.settings[key] for key in kept if key in record.settings}
        self.before = sum(_labels(space, name) for name in then.batches)
        self.desk = Desk(then, SelectSettings(budget=1, **chosen))

    def curves(self, budgets: tuple[int, int], marked: Sequence[int] = ()) -> Curves:
        """Predicted gaps between two numbers of further labels: random's, and solved batches' where
        that is cheap.

        Args:
            marked: numbers at which a solved batch must be among those on the curve, at most two.
        """
        most = self.desk.pairs.candidates
        at = budgets_between(self.desk.pairs, *budgets)
        low, high = at[0], at[-1]
        ends = {low, high, *(n for n in marked if low <= n <= high)}
        solved = _filled(ends) if most * self.desk.pairs.dim < SOLVABLE else []
        return Curves([self._random(n) for n in at], [self._best(n) for n in solved])

    def _random(self, labels: int) -> tuple[int, float, float]:
        found = self.desk.forecast.random(labels)
        error = float(found.std(ddof=1) / np.sqrt(len(found)))
        return self.before + labels, float(found.mean()), error

    def _best(self, labels: int) -> tuple[int, float]:
        desk = self.desk
        with threadpool_limits(1):
            found = solve(Problem(desk.pairs, desk.gap, desk.weights, desk.base, labels), _QUICK)
        return self.before + labels, float(desk.forecast.after([found.pairs]).mean())


def budgets_between(pairs: PairSpace, low: int, high: int) -> list[int]:
    """At most `POINTS` numbers of labels, geometric, that candidates and time allow."""
    low = min(max(low, 1), pairs.candidates)
    dear = int(_WORK / (POINTS * pairs.dim**2))
    high = max(min(high, pairs.candidates, dear), low)
    return [int(n) for n in np.unique(np.geomspace(low, high, POINTS).round())]


def standpoint(space: Workspace, batch: tuple[str, Record] | None) -> Standpoint | None:
    """Where a batch was picked from; None without its features."""
    try:
        found = Standpoint(space, batch)
    except UserError:
        return None
    wanted = None if batch is None else batch[1].inputs.get("features")
    return found if wanted in (None, found.desk.record.result["fingerprint"]) else None


def _labels(space: Workspace, batch: str) -> int:
    record = space.run.record("batches", batch)
    return 0 if record is None else labels_of(record.result)


@dataclass(frozen=True)
class Choice:
    """The pairs of one batch beside as many random candidates.

    Attributes:
        pairs, others: rows of both, (n, 2), the second at least as many as the first.
        scores, other_scores: what one such label teaches when the batch is done (w zᵀAz), in units
            of a median random pair; empty where the features are no longer there.
    """

    pairs: np.ndarray
    others: np.ndarray
    scores: np.ndarray
    other_scores: np.ndarray


class Beginning:
    """The run as it stood before its first batch: only what came with the pool is known.

    Args:
        space: the run now.
        features: a feature set's name; prior_spread: τ, in logits.

    Raises:
        UserError: there are no features, or they are of another pool.
    """

    def __init__(self, space: Workspace, features: str | None, prior_spread: float) -> None:
        self.space = space
        then = Workspace(space.run)
        then.pool = space.pool
        then.batches = {}
        then.labels = [label for label in space.labels if label.batch == IMPORTED]
        # Every batch on one scale: the plug-in belief, whatever was believed when it was picked.
        plug_in = SelectSettings(
            budget=1, criterion="gap", features=features, prior_spread=prior_spread
        )
        self.desk = Desk(then, plug_in)
        self._sums: dict[str, np.ndarray] = {}

    @cached_property
    def most(self) -> int:
        """Candidate pairs."""
        return self.desk.pairs.candidates

    def learned(self, batch: str) -> np.ndarray:
        """M when `batch` and all before it are labelled."""
        m = self.desk.base
        for name in self.space.batches:
            if name <= batch:
                if name not in self._sums:
                    rows = picked_rows(self.space, name, repeated=True)
                    self._sums[name] = information(self.desk.pairs, rows, self.desk.weights)
                m = m + self._sums[name]
        return m


def _filled(ends: set[int]) -> list[int]:
    """`SOLVED` budgets: those given, and the geometric middles of the widest gaps between them."""
    found = sorted(ends)
    while len(found) < SOLVED:
        k = max(range(len(found) - 1), key=lambda i: found[i + 1] / found[i], default=None)
        if k is None or found[k + 1] - found[k] < 2:
            break
        found.insert(k + 1, round((found[k] * found[k + 1]) ** 0.5))
    return found


def picked_rows(space: Workspace, batch: str, *, repeated: bool = False) -> np.ndarray:
    """Rows of a batch's pairs, each in pool order, controls left out, (n, 2).

    Args:
        repeated: a pair as often as it is to be labelled.
    """
    ids = [
        (row["id_a"], row["id_b"])
        for row in space.picked(batch)
        for _ in range(row.get("labels", 1) if repeated else 1)
    ]
    rows = [sorted(space.pool.rows(both)) for both in ids]
    return np.array(rows, dtype=np.int64).reshape(-1, 2)


def beginning(space: Workspace, record: Record | None) -> Beginning | None:
    """Where the design of a batch (or of the first one to come) starts; None without its features."""
    settings: dict[str, Any] = {} if record is None else record.settings
    spread = settings.get("prior_spread", SelectSettings(budget=1).prior_spread)
    try:
        start = Beginning(space, settings.get("features"), spread)
    except UserError:
        return None
    wanted = None if record is None else record.inputs.get("features")
    return start if wanted in (None, start.desk.record.result["fingerprint"]) else None


def choice(space: Workspace, batch: str, start: Beginning | None) -> Choice:
    """A batch beside random candidates."""
    return _choice(picked_rows(space, batch), batch, start)


def whole_choice(space: Workspace, start: Beginning | None) -> Choice:
    """All batches beside random candidates, each pair scored when all of them are labelled."""
    names = sorted(space.batches)
    every = [picked_rows(space, name) for name in names]
    return _choice(np.concatenate(every), names[-1], start)


def _choice(pairs: np.ndarray, batch: str, start: Beginning | None) -> Choice:
    none = np.empty(0)
    if start is None:
        return Choice(pairs, np.empty((0, 2), np.int64), none, none)
    rng = stream(start.desk.seed, Stream.REPORT_OTHERS)
    others = random_pairs(start.desk.pairs, min(max(len(pairs), 4000), start.most), rng)
    m = start.learned(batch)
    factor = start.desk.gap.score_factor(m)
    mine, theirs = (
        exact_scores(start.desk.pairs, rows, factor, start.desk.weights) for rows in (pairs, others)
    )
    unit = float(np.median(theirs)) or float(theirs.mean()) or 1.0
    return Choice(pairs, others, mine / unit, theirs / unit)
