"""Stage fit, with people told apart: how far each one's answers follow, and a fit by that.

`fit` believes all annotators alike. Here each has a slope (`design.estimate.annotators`), and as
P = σ(s_k β zᵀθ) is the model of `fit` with z in place of s_k z, what `fit` does is done with those:
somebody's answers who tosses coins say nothing, and a contrary annotator's the opposite. A slope
of 1 is the mean of those who follow.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whichpairs.defaults import PRIOR_MARGIN_SPREAD
from whichpairs.design import PairSpace, prior
from whichpairs.design.estimate.annotators import Annotators, Said, fit_annotators
from whichpairs.design.estimate.bradley_terry import fit, posterior
from whichpairs.design.estimate.calibrate import calibrate, left_out_log_loss
from whichpairs.errors import UserError
from whichpairs.label.agreement import person
from whichpairs.run.once import Outcome, find
from whichpairs.types import Label
from whichpairs.workflow.fit import _Fitted, _result, _write
from whichpairs.workflow.workspace import Workspace, workspace

LEAST = 20
"""Answers of an annotator below which nothing is said of them."""
SIDES = {"a": 1, "b": -1, "tie": 0}


@dataclass(frozen=True)
class People:
    """The annotators of a run's labels, those of held-out prompts left out.

    Attributes:
        names: of each; counts: their labels; found: what was estimated; each: of every label, its
            annotator's place.
    """

    names: list[str]
    counts: list[int]
    found: Annotators
    each: np.ndarray

    @property
    def usual(self) -> float:
        """The mean slope of those who follow, by their labels; 0 where nobody does."""
        kinds = np.array(self.found.kinds())
        weights = np.array(self.counts) * (kinds == "follows")
        return float(weights @ self.found.slopes / weights.sum()) if weights.any() else 0.0

    def rows(self) -> list[dict[str, Any]]:
        """One an annotator, for programs; slopes in units of the usual one."""
        unit = self.usual or 1.0
        return [
            {
                "annotator": name,
                "labels": count,
                "slope": slope / unit,
                "low": low / unit,
                "high": high / unit,
                "bias": bias,
                "tie_threshold": tie,
                "kind": kind,
            }
            for name, count, slope, (low, high), bias, tie, kind in zip(
                self.names,
                self.counts,
                self.found.slopes.tolist(),
                self.found.intervals().tolist(),
                self.found.biases.tolist(),
                self.found.ties.tolist(),
                self.found.kinds(),
                strict=True,
            )
        ]

    @property
    def words(self) -> str:
        """How far each follows, in one line; nothing of those with fewer than `LEAST` answers."""
        told = [_told(row) for row in self.rows() if row["labels"] >= LEAST]
        what = "Annotators, as their answers follow the margins (1 is usual, 0 a coin)"
        return f"{what}: {'; '.join(told)}."


def _told(row: dict[str, Any]) -> str:
    text = f"{row['annotator']} {row['slope']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
    if row["kind"] == "contrary":
        return f"{text}, contrary"
    if row["kind"] == "chance":
        few = "too few answers to tell from a coin"
        return f"{text}, {'no better than a coin' if row['high'] < 0.5 else few}"
    return text


def people_of(space: Workspace, phi: np.ndarray) -> People | None:
    """The annotators; None where fewer than two have `LEAST` labels each."""
    pool, labels = space.pool, list[Label]()
    for label in space.labels:
        if not pool.holdout[pool.prompt_of[pool.row_of[label.id_a]]]:
            labels.append(label)
    who = [person(label) for label in labels]
    names = sorted(set(who))
    place = {name: k for k, name in enumerate(names)}
    counts = [who.count(name) for name in names]
    if sum(count >= LEAST for count in counts) < 2:
        return None
    pairs = PairSpace(phi, pool.starts, ~pool.holdout)
    ends = np.array([pool.rows((x.id_a, x.id_b)) for x in labels])
    said = Said(
        pairs.differences(ends).astype(np.float64),
        np.array([place[name] for name in who]),
        np.array([SIDES[x.choice] for x in labels]),
        np.array([x.strength or 0 for x in labels]),
    )
    found = fit_annotators(said, space.run.beta, prior(pairs, space.run.beta))
    return People(names, counts, found, said.who)


def told_of_people(
    run: str | Path, *, features: str | None = None, beta: float | None = None
) -> tuple[str, list[dict[str, Any]]]:
    """How far annotators follow: in words, and by row; nothing where there is one alone."""
    with workspace(run, beta) as space:
        people = people_of(space, space.feature_set(features)[2])
    return ("", []) if people is None else (people.words, people.rows())


def fit_by_people(
    run: str | Path,
    *,
    features: str | None = None,
    strength: float | None = None,
    seed: int | None = None,
    beta: float | None = None,
) -> Outcome:
    """`fit_labels`, each annotator's answers taken by their slope.

    Raises:
        UserError: see `fit_labels`; there are no two annotators with `LEAST` labels each, or
            nobody follows.
    """
    if strength is not None and not 0.0 < strength < float("inf"):
        raise UserError("prior strength must be a finite number above 0", f"got {strength}")
    with workspace(run, beta) as space:
        name, record, phi = space.feature_set(features)
        people, votes = people_of(space, phi), space.votes(held_out=False)
        if people is None:
            raise UserError(
                f"--annotators needs two annotators with {LEAST} labels each",
                "there are fewer",
                "leave it out: with one annotator there is nobody to compare with",
            )
        if people.usual == 0.0:
            raise UserError(
                "a fit needs an annotator whose answers follow the margins",
                people.words.rstrip("."),
                "look at the guidelines and the features: nothing can be learned of these",
            )
        seed = space.run.seed if seed is None else seed
        settings = {
            **{"features": name, "strength": strength, "seed": seed, "beta": space.run.beta},
            **{"prior_spread": PRIOR_MARGIN_SPREAD, "annotators": True},
        }
        inputs = {
            "pool": space.pool.fingerprint,
            "features": record.result["fingerprint"],
            "labels": space.labels_fingerprint,
        }
        before = find(space.run, "fits", "fit", settings, inputs)
        if before is not None:
            message = f"Fit {before[0]} is of these labels and settings; nothing changed."
            return Outcome(message, before[1].result, True, space.run.root / "fits" / before[0])
        pairs = PairSpace(phi, space.pool.starts, ~space.pool.holdout)
        h0 = prior(pairs, space.run.beta)
        slopes = people.found.slopes[people.each] / people.usual
        z = pairs.differences(votes.pairs) * slopes[:, None]
        known = (z, votes.wins, space.run.beta, h0)
        fitted = fit(*known, votes.prompts, strength=strength, seed=seed)
        done = _Fitted(
            fitted,
            posterior(fitted, z, space.run.beta, h0),
            calibrate(*known, strength=strength),
            left_out_log_loss(*known, votes.prompts, strength=strength, seed=seed),
        )
        result = {**_result(space, phi, votes, done), "annotators": people.rows()}
        outcome = _write(space, done, settings, inputs, result)
        message = f"{outcome.message} {people.words}"
        return Outcome(message, outcome.result, False, outcome.folder)
