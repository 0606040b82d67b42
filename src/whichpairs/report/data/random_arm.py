"""Random pairs, asked for comparison where that costs nothing: a score answered, so it can answer again.

Where every label of a run is drawn from a score of its pool (`label --simulate`), and a fit was judged by that
score, random pairs get their answers from the same score, the same fit is made of them, and its
policy is judged on the same held-out prompts. What is then said of random pairs is measured.
Where people or a judge answered, there are no further answers to be had, and nothing is measured.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from whichpairs.design import PairSpace, prior
from whichpairs.design.batches.random import random_pairs
from whichpairs.design.estimate.bradley_terry import fit
from whichpairs.design.estimate.policy import PoolObjective
from whichpairs.evaluate.crossed import crossed_interval
from whichpairs.evaluate.interval import Interval, interval
from whichpairs.label.simulate import simulate
from whichpairs.pool.pool import pair_id
from whichpairs.report.data.design_curves import beginning
from whichpairs.report.data.records import Evaluated
from whichpairs.streams import Stream, stream
from whichpairs.workflow.workspace import IMPORTED

if TYPE_CHECKING:
    from whichpairs.report.data.facts import Facts
    from whichpairs.workflow.workspace import Workspace

DRAWS = 8
"""Sets of random pairs that are asked."""

DEAR = 3e8
"""Labels × dimensions² of one fit up to which random pairs are asked for the page."""

TIMES = (0.5, 1.0, 2.0)
"""Numbers of random labels, in units of the run's."""


@dataclass(frozen=True)
class Arm:
    """What random pairs gained, measured beside the run's.

    All gains are in J over the reference, on the held-out prompts.

    Attributes:
        score: that answered and judged; labels: of the judged fit.
        ours: rows (labels, gain) of every fit of the run like the judged one, in order.
        random: rows (labels, gain) of random pairs, over sets of pairs and prompts.
        ahead: of the judged fit before as many random labels, over sets and prompts.
        sets: of random pairs.
    """

    score: str
    labels: int
    ours: tuple[tuple[int, Interval], ...]
    random: tuple[tuple[int, Interval], ...]
    ahead: Interval
    sets: int = DRAWS

    @property
    def random_needs(self) -> float | None:
        """Labels at which random's mean gain is the run's, interpolated on a log axis; None outside."""
        return level(self.random, self.ours[-1][1].mean)


def level(curve: tuple[tuple[int, Interval], ...], gain: float) -> float | None:
    """Labels at which a curve first reaches a gain; None where it begins above, or ends below it."""
    if not curve or gain < curve[0][1].mean:
        return None
    for (low, before), (high, after) in pairwise(curve):
        if before.mean <= gain <= after.mean:
            way = (gain - before.mean) / max(after.mean - before.mean, 1e-300)
            return float(low * (high / low) ** way)
    return None


def random_arm(facts: "Facts") -> Arm | None:
    """The measurement; None where nothing may be measured, or it would take too long for a page."""
    judged = facts.evaluated_last
    if judged is None or judged.score is None or not all_simulated(facts.space, judged.score):
        return None
    record = dict(facts.fits).get(judged.policy)
    if record is None or facts.stale(record):
        return None
    start = beginning(facts.space, facts.batches[-1][1]) if facts.batches else None
    same = (
        start is not None and start.desk.record.result["fingerprint"] == record.inputs["features"]
    )
    labels = int(record.result["labels"])
    if not same or start is None or labels * start.desk.pairs.dim**2 > DEAR:
        return None
    strength = record.settings.get("strength")
    arm = _Arm(facts.space, judged, start.desk.pairs, strength, int(record.settings["seed"]))
    most = start.desk.pairs.candidates
    budgets = sorted({min(round(t * labels), most) for t in TIMES} | {min(labels, most)})
    found = {n: np.stack([arm.random(n, k) for k in range(DRAWS)]) for n in budgets if n > 0}
    own = arm.of_fit(judged.policy)
    ours = [(n, interval(arm.of_fit(name))) for name, n in _fits_like(facts, judged.policy)]
    return Arm(
        judged.score,
        labels,
        tuple(sorted(ours, key=lambda one: one[0])),
        tuple((n, crossed_interval(gains)) for n, gains in found.items()),
        crossed_interval(own - found[min(labels, most)]),
    )


def all_simulated(space: "Workspace", score: str) -> bool:
    """Whether every label is a draw from this score, at one temperature and seed."""
    sources = space.store.sources()
    who = {x.annotator for x in space.labels}
    if not who or any(x.batch == IMPORTED for x in space.labels) or not who <= set(sources):
        return False
    made = [sources[name] for name in who]
    keys = {(s["kind"], s.get("column"), s.get("temperature"), s.get("seed")) for s in made}
    return len(keys) == 1 and next(iter(keys))[:2] == ("simulated", score)


def _fits_like(facts: "Facts", name: str) -> list[tuple[str, int]]:
    """Name and labels of every fit made as this one."""
    records = dict(facts.fits)
    keys, own = ("features", "strength", "seed"), records[name]
    return [
        (other, int(record.result["labels"]))
        for other, record in facts.fits
        if record.inputs.get("features") == own.inputs.get("features")
        and all(record.settings.get(key) == own.settings.get(key) for key in keys)
    ]


class _Arm:
    """Answers, fits and gains as the run's own were made.

    Args:
        pairs: what random picks from; strength: of the fits' prior, None by cross-validation.
    """

    def __init__(
        self,
        space: "Workspace",
        judged: Evaluated,
        pairs: PairSpace,
        strength: float | None,
        seed: int,
    ) -> None:
        self.space, self.judged, self.pairs = space, judged, pairs
        self.strength, self.seed = strength, seed
        pool = space.pool
        keep = pool.holdout[pool.prompt_of]
        starts = np.concatenate([[0], np.cumsum(np.diff(pool.starts)[pool.holdout])])
        reward = space.score(str(judged.score)) / judged.temperature
        phi = np.asarray(pairs.features[np.flatnonzero(keep)], dtype=np.float64)
        self.held = PoolObjective(phi, starts, reward[keep], pool.weight[keep])
        self.base = self._j(np.zeros(pairs.dim))
        every = PairSpace(pairs.features, pool.starts, ~pool.holdout)
        self.prior = prior(every, space.run.beta)
        source = next(s for s in space.store.sources().values() if s["kind"] == "simulated")
        self.temperature, self.answers = float(source["temperature"]), int(source["seed"])

    def _j(self, theta: np.ndarray) -> np.ndarray:
        reward, kl = self.held.values(theta)
        return np.asarray(reward - self.judged.beta * kl)

    def of_fit(self, name: str) -> np.ndarray:
        """Gain in J of a fit of the run on every held-out prompt, (prompts,)."""
        features = self.space.run.record("fits", name)
        assert features is not None
        return self._j(self.space.theta(name, features.settings["features"])) - self.base

    def random(self, labels: int, draw: int) -> np.ndarray:
        """Gain in J of a fit of so many random labels, (prompts,)."""
        pool, rng = self.space.pool, stream(self.seed, Stream.REPORT_OTHERS, draw + 1)
        rows = random_pairs(self.pairs, labels, rng)
        named = [(pair_id(a, b), a, b) for a, b in (map(pool.ids.__getitem__, r) for r in rows)]
        ends = self.space.score(str(self.judged.score))[rows]
        said = simulate(
            named, ends, self.temperature, annotator="random", batch="", seed=self.answers
        )
        wins = np.array([1.0 if one.choice == "a" else 0.0 for one in said])
        z, prompts = self.pairs.differences(rows), pool.prompt_of[rows[:, 0]]
        made = fit(
            *(z, wins, self.space.run.beta, self.prior, prompts),
            strength=self.strength,
            seed=self.seed,
        )
        return self._j(made.theta) - self.base
