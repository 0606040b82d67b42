"""The default way to choose a batch: from what the labels so far say, and wary of the model.

1. The first 4 d labels are random: they say how large the rewards are.
2. Then the belief is the Laplace posterior of the fit, and a pair's weight and the policy's
   information are expectations over it (`design.problem.belief`): far pairs whose answers are
   foregone do not pay, and directions that the policy would not use do not count.
3. The model is wrong somewhere, and where it is most wrong is where a design would look: so the
   batch has bounded leverage and density, and a part of it is random (`design.strategies.bounded`).

On arrays alone: `whichpairs select`, `whichpairs loop` and the bench all pick by `next_batch`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from threadpoolctl import threadpool_limits

from whichpairs.design.batches.ordered import part_of, within
from whichpairs.design.batches.random import random_pairs
from whichpairs.design.batches.versus_random import VersusRandom, no_worse_than_random, value_of
from whichpairs.design.estimate.bradley_terry import Fit, posterior
from whichpairs.design.problem.belief import Belief
from whichpairs.design.problem.criterion import Linear, gap_criterion
from whichpairs.design.problem.information import information
from whichpairs.design.problem.limits import Budget, Limits
from whichpairs.design.problem.problem import Problem
from whichpairs.design.problem.space import PairSpace, Rows
from whichpairs.design.solver.frank_wolfe import Checkpoint, FrankWolfe, PassReport, Solution, solve
from whichpairs.design.strategies.bounded import (
    SAMPLE_PROMPTS,
    BoundedBatch,
    Leverage,
    bounded_batch,
    bounded_within,
    share_at,
)
from whichpairs.design.strategies.strongest import strongest_pairs

RANDOM_LABELS_A_DIMENSION = 4
"""So many random labels a feature come first."""

CONVINCING_NATS = 4.0
"""What a fit must save in left-out log loss against a coin, over all labels, to be built upon."""

SIGNAL_SAMPLES, SIGNAL_RANDOM = 24, 0.5
"""Draws of θ behind an expected signal, and the random share of a batch that goes by it."""


@dataclass(frozen=True)
class Evidence:
    """The labels so far.

    Args:
        pairs: labelled, (n, 2); wins: their answers, (n,); prompts: their prompts, (n,).
        fit: of these labels (θ = 0 with strength 1 where there are none).
        pending: pairs picked earlier that wait for their label, (k, 2): their information counts.
    """

    pairs: Rows
    wins: np.ndarray
    prompts: np.ndarray
    fit: Fit
    pending: Rows = field(default_factory=lambda: np.empty((0, 2), np.int64))

    @classmethod
    def none(cls, dim: int) -> "Evidence":
        """No labels yet."""
        nothing = Fit(np.zeros(dim), 1.0, {})
        return cls(np.empty((0, 2), np.int64), np.empty(0), np.empty(0, np.int64), nothing)

    @property
    def convincing(self) -> bool:
        """Whether the fit foretells left-out labels better than a coin, by `CONVINCING_NATS`.

        Labels of a coin pass in 1 of 37 trials at 100 labels, 1 of 94 at 500 (32 features;
        docs/results/calibration.md): it is likely, not beyond doubt.
        """
        coin, labels = float(np.log(2.0)), len(self.wins)
        best = min(self.fit.cv_log_loss.values(), default=coin)
        return labels * (coin - best) >= CONVINCING_NATS

    @property
    def known(self) -> Rows:
        """Labelled and pending pairs."""
        return np.concatenate([self.pairs, self.pending])


@dataclass(frozen=True)
class View:
    """What is believed before a batch is picked.

    Attributes:
        belief: of θ; base: H₀ and the information of all known pairs, (d, d).
        gap: the criterion at the belief; known: labelled and pending pairs.
    """

    belief: Belief
    base: np.ndarray
    gap: Linear
    known: int


@dataclass(frozen=True)
class Batch:
    """What was picked.

    Attributes:
        pairs: the batch, a pair as often as it is to be labelled; random: how many labels of it,
            the first ones, are random.
        looked_at, too_far: as in `design.strategies.bounded.BoundedBatch`.
        solution: the certified solve of the whole pool, where one was asked for.
        versus: a designed batch beside random ones by the gap at the belief, and whether it was
            worse and one of those took its place; None where all of it is random by intent.
    """

    pairs: Rows
    random: int
    looked_at: int = 0
    too_far: int = 0
    solution: Solution | None = None
    versus: VersusRandom | None = None


def look(
    space: PairSpace,
    beta: float,
    prior: np.ndarray,
    reference: np.ndarray | None,
    evidence: Evidence,
    *,
    seed: int,
    least: int | None = None,
) -> View:
    """What the labels so far say.

    Args:
        space: the candidates; prior: H₀, (d, d); reference: π_ref's weight of every row.
        seed: of the samples behind expectations.
        least: labels from which on a fit is believed; None is one a feature.
    """
    belief, strength = Belief(np.zeros(space.dim), prior), 1.0
    if len(evidence.pairs) >= (space.dim if least is None else least):
        belief = posterior(evidence.fit, space.differences(evidence.pairs), beta, prior)
        strength = evidence.fit.strength
    weights = belief.weights(beta)
    base = strength * prior + information(space, evidence.known, weights)
    some = space.some_prompts(SAMPLE_PROMPTS, seed)
    gap = gap_criterion(belief.policy_information(some, reference, seed=seed))
    return View(belief, base, gap, len(evidence.known))


def next_batch(
    space: PairSpace,
    beta: float,
    view: View,
    budget: Budget,
    rng: np.random.Generator,
    *,
    limits: Limits | None = None,
    method: FrankWolfe | None = None,
    certify: bool = False,
    watch: Callable[[PassReport], None] = lambda report: None,
    resume: Checkpoint | None = None,
    keep: Callable[[Checkpoint], None] = lambda checkpoint: None,
) -> Batch:
    """The next pairs to label.

    Args:
        space: the candidates (labelled and pending pairs excluded); view: of these labels.
        rng: of what is drawn at random.
        limits: what the batch must obey.
        certify: search the whole pool too, for the bound on every batch of this size.
        watch, resume, keep: of that search, as in `design.solver.frank_wolfe.solve`.
    """
    weights, solution = view.belief.weights(beta), None
    whole = Problem(space, view.gap, weights, view.base, budget, limits or Limits())
    if certify:
        solution = solve(whole, method, watch, resume=resume, keep=keep)
    first = max(RANDOM_LABELS_A_DIMENSION * space.dim - view.known, 0)
    if not whole.limits.only_budget or whole.limits.repeats > 1:
        share = share_at(view.known + round(whole.labels), space.dim)
        found = bounded_within(whole, Leverage.of(space), rng, share=share, first=first)
        return _checked(whole, found, found.pairs, found.random, solution)
    budget = int(budget)
    first = min(budget, first)
    drawn = random_pairs(space, first, rng) if first else np.empty((0, 2), np.int64)
    if first == budget:
        return Batch(drawn, first, solution=solution)
    rest = space.without(drawn) if first else space
    base = view.base + information(space, drawn, weights)
    problem = Problem(rest, view.gap, weights, base, budget - first)
    share = share_at(view.known + budget, space.dim)
    found = bounded_batch(problem, Leverage.of(space), rng, share=share)
    pairs = np.concatenate([drawn, found.pairs])
    return _checked(whole, found, pairs, first + found.random, solution)


def _checked(
    whole: Problem, found: BoundedBatch, pairs: Rows, random: int, solution: Solution | None
) -> Batch:
    """The batch; or, where the mean random batch is better by the criterion, the best of some."""
    if random == len(pairs):
        return Batch(pairs, random, found.looked_at, found.too_far, solution)
    with threadpool_limits(1):  # many small matrices: more threads only wait for one another
        pairs, versus = no_worse_than_random(whole, pairs, value_of(whole, pairs))
    random = len(pairs) if versus is not None and versus.replaced else random
    return Batch(pairs, random, found.looked_at, found.too_far, solution, versus)


def signal_batch(
    space: PairSpace,
    beta: float,
    view: View,
    evidence: Evidence,
    budget: Budget,
    rng: np.random.Generator,
    *,
    seed: int,
    limits: Limits | None = None,
) -> Batch:
    """The next pairs for a policy that DPO will train from the reference
    (`design.strategies.strongest`).

    All random until the fit is convincing: its errors would lie along one direction, and the policy
    would walk there. Half random after that.
    """
    thetas = view.belief.samples(SIGNAL_SAMPLES, seed) if evidence.convincing else None

    def strongest(some: PairSpace, n: int) -> Rows:
        assert thetas is not None
        return strongest_pairs(some, thetas, beta, n)

    limits = limits or Limits()
    if limits.only_budget and limits.repeats == 1:
        budget = int(budget)
        count = round(SIGNAL_RANDOM * budget) if evidence.convincing else budget
        drawn = random_pairs(space, count, rng)
        if count == budget:
            return Batch(drawn, count)
        return Batch(
            np.concatenate([drawn, strongest(space.without(drawn), budget - count)]), count
        )
    drawn = within(space, budget, limits, lambda some, n: random_pairs(some, n, rng))
    if thetas is None:
        return Batch(drawn, len(drawn))
    kept = part_of(drawn, limits.must, round(SIGNAL_RANDOM * len(drawn)), rng)
    left = replace(limits, must=np.concatenate([kept, limits.must]))
    return Batch(within(space, budget, left, strongest), len(kept))
