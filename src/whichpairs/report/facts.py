"""What the page computes anew: random's curve, and what each picked pair's label teaches.

Both stand where the run stood when a batch was picked, with the plug-in belief of `select`
(design.md, section 2, equation 5): labels that came later do not move them.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from whichpairs.design import Gap, PairSpace, PairWeights, information, policy_information, prior
from whichpairs.design.baselines import random_pairs
from whichpairs.design.prediction import DRAWS
from whichpairs.design.scores import exact_scores
from whichpairs.errors import UserError
from whichpairs.pool.run import Record
from whichpairs.workflow.workspace import IMPORTED, Workspace

REACH = 8
"""Random's curve runs from a `REACH`-th of the first budget to `REACH` times it."""

SAMPLE = 5000
"""Random candidate pairs that the picked ones are compared with."""

WORK = 4e12
"""Multiplications that random's curve may cost (d² a pair): about a minute on a laptop."""


@dataclass(frozen=True)
class Curve:
    """Random's predicted gap: mean, least and largest of the drawn batches at each size."""

    labels: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def needs(self, gap: float) -> float | None:
        """Labels with which random's mean reaches `gap`, between the sizes drawn; else None."""
        if len(self.labels) < 2 or not self.mean[-1] <= gap <= self.mean[0]:
            return None
        at = np.interp(-np.log(gap), -np.log(self.mean), np.log(self.labels))
        return float(np.exp(at))


@dataclass(frozen=True)
class Taught:
    """What a label teaches, (β/2) w zᵀAz at M of the batch, of picked and of random pairs."""

    picked: np.ndarray
    random: np.ndarray


class BatchFacts:
    """One finished batch.

    Args:
        space: the run; name: of the batch; record: its manifest.
    """

    def __init__(self, space: Workspace, name: str, record: Record) -> None:
        self.space, self.name, self.record = space, name, record
        self.result, self.settings = record.result, record.settings
        self.beta = float(record.result["beta"])

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The picked pairs, controls left out, as the batch file holds them."""
        return [row for row in self.space.batches[self.name] if not row["control"]]

    @cached_property
    def passes(self) -> list[dict[str, Any]]:
        """The solver's passes; none where the criterion has no solver."""
        path = self.space.run.root / "batches" / self.name / "passes.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        except ValueError as error:
            raise UserError(f"{path} must be what whichpairs wrote", str(error)) from None
        return list(found)

    @property
    def terms(self) -> tuple[Any, ...]:
        """What predicted gaps must share to be drawn on one axis."""
        inputs = self.record.inputs
        return inputs["features"], inputs["pool"], self.settings["prior_spread"], self.beta

    @cached_property
    def phi(self) -> np.ndarray:
        """The features it was picked by.

        Raises:
            UserError: they are gone, or were replaced.
        """
        _, record, phi = self.space.feature_set(self.result["features"])
        if record.result["fingerprint"] != self.record.inputs["features"]:
            raise UserError(
                f"the features of batch {self.name} were replaced since",
                f"it was picked by {self.record.inputs['features']}",
            )
        return phi

    @cached_property
    def earlier(self) -> list[str]:
        """Batches picked before this one."""
        return [name for name in self.space.batches if name < self.name]

    def pairs_of(self, name: str) -> np.ndarray:
        """The picked pairs of a batch as rows i < j, controls left out."""
        rows = [r for r in self.space.batches[name] if not r["control"]]
        return self._rows([(r["id_a"], r["id_b"]) for r in rows])

    def _rows(self, ids: list[tuple[str, str]]) -> np.ndarray:
        flat = self.space.pool.rows(name for pair in ids for name in pair)
        return np.sort(flat.reshape(-1, 2), axis=1)

    @cached_property
    def _imported(self) -> np.ndarray:
        """Pairs whose labels came with the pool, one row an answer, held-out prompts left out."""
        labels = [(x.id_a, x.id_b) for x in self.space.labels if x.batch == IMPORTED]
        rows = self._rows(labels)
        return rows[~self.space.pool.holdout[self.space.pool.prompt_of[rows[:, 0]]]]

    @cached_property
    def candidates(self) -> PairSpace:
        """The pairs that could be picked at the time."""
        pool = self.space.pool
        blank = PairSpace(self.phi, pool.starts, ~pool.holdout)
        known = np.concatenate([self._imported, *map(self.pairs_of, self.earlier)])
        return PairSpace(self.phi, pool.starts, ~pool.holdout, blank.keys(known))

    @cached_property
    def weights(self) -> PairWeights:
        """The plug-in belief."""
        return PairWeights(self.beta)

    @cached_property
    def gap(self) -> Gap:
        """The gap criterion at the reference policy."""
        return Gap(policy_information(self.candidates, self.space.pool.weight))

    @cached_property
    def base(self) -> np.ndarray:
        """H₀ and the information of everything asked before this batch."""
        asked = np.concatenate([self._imported, *map(self.pairs_of, self.earlier)])
        h0 = prior(self.candidates, self.beta, float(self.settings["prior_spread"]))
        return h0 + information(self.candidates, asked, self.weights)

    def predicted(self) -> float:
        """The predicted gap of the batch, computed again from the files."""
        m = self.base + information(self.candidates, self.pairs_of(self.name), self.weights)
        return self.beta / 2.0 * self.gap.value(m)

    def random_curve(self, reach: int) -> Curve:
        """Random's predicted gap from an eighth of the budget up to `reach` labels or so."""
        budget, space = int(self.result["picked"]), self.candidates
        affordable = int(WORK / (DRAWS * space.dim**2))
        top = max(min(max(reach, REACH * budget), space.candidates, affordable), 1)
        ratio = top / max(budget / REACH, 1.0)
        points = max(7, round(7 * np.log(max(ratio, 1.0)) / np.log(REACH**2)))
        sizes = np.unique(np.geomspace(min(max(budget / REACH, 1), top), top, points).astype(int))
        values = np.empty((DRAWS, len(sizes)))
        for draw in range(DRAWS):
            rng = np.random.default_rng([int(self.settings["seed"]), draw])
            order, at, m = random_pairs(space, int(sizes[-1]), rng), 0, self.base
            for k, size in enumerate(sizes):
                m = m + information(space, order[at:size], self.weights)
                values[draw, k], at = self.beta / 2.0 * self.gap.value(m), int(size)
        return Curve(sizes, values.mean(0), values.min(0), values.max(0))

    @cached_property
    def taught(self) -> Taught:
        """(β/2) w zᵀAz, A = M⁻¹ Ī M⁻¹ (design.md, section 3)."""
        space, picked = self.candidates, self.pairs_of(self.name)
        m = self.base + information(space, picked, self.weights)
        factor = self.gap.score_factor(m)
        rng = np.random.default_rng([int(self.settings["seed"]), 7])
        drawn = random_pairs(space, min(SAMPLE, space.candidates), rng)
        found = [exact_scores(space, pairs, factor, self.weights) for pairs in (picked, drawn)]
        return Taught(*(self.beta / 2.0 * scores for scores in found))


def load_batches(space: Workspace) -> list[BatchFacts]:
    """Every finished batch, first to last."""
    found = [(name, space.run.record("batches", name)) for name in space.run.finished("batches")]
    return [BatchFacts(space, name, record) for name, record in found if record is not None]
