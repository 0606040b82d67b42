"""What `whichpairs select` offers, as methods of the bench; an oracle; and ours without its
caution."""

from dataclasses import replace

import numpy as np
from scipy.special import expit

from whichpairs.bench.methods.turn import Desk
from whichpairs.design import (
    Belief,
    Criterion,
    DOptimal,
    Problem,
    gap_criterion,
    information,
    solve,
)
from whichpairs.design import a_optimal as a_optimal_criterion
from whichpairs.design.batches.random import random_pairs
from whichpairs.design.estimate.bradley_terry import best_scale, fit_theta
from whichpairs.design.problem.space import Rows
from whichpairs.design.strategies.adaptive import (
    RANDOM_LABELS_A_DIMENSION,
    Evidence,
    look,
    next_batch,
    signal_batch,
)
from whichpairs.design.strategies.bounded import Leverage, bounded_batch


def adaptive(desk: Desk, budget: int) -> Rows:
    """The default of `whichpairs select`: adaptive, and wary of a wrong model."""
    world = desk.world
    view = look(
        desk.space, desk.beta, world.prior, world.reference, _evidence(desk), seed=desk.seed
    )
    return next_batch(desk.space, desk.beta, view, budget, desk.rng).pairs


def signal(desk: Desk, budget: int) -> Rows:
    """`--criterion signal`: made for a policy that DPO trains from the reference on the labels
    alone, and measured here, as all are, by a policy fitted in feature space."""
    world, evidence = desk.world, _evidence(desk)
    view = look(
        *(desk.space, desk.beta, world.prior, world.reference, evidence),
        seed=desk.seed,
        least=1 if evidence.convincing else None,
    )
    some = (desk.space, desk.beta, view, evidence, budget, desk.rng)
    return signal_batch(*some, seed=desk.seed).pairs


def _evidence(desk: Desk) -> Evidence:
    return Evidence(desk.asked, desk.wins, desk.prompts, desk.fit)


def gap(desk: Desk, budget: int) -> Rows:
    """`--criterion gap`, the best batch by the paper's plug-in criterion: θ = 0 in every round;
    labels count, their answers only by the ridge.

    Source: [han2026]; theory, section 5.
    """
    return _design(desk, budget, Belief(np.zeros(desk.space.dim)))


def d_optimal(desk: Desk, budget: int) -> Rows:
    """`--criterion d-optimal`: −log det M at θ = 0."""
    return _design(desk, budget, Belief(np.zeros(desk.space.dim)), DOptimal())


def a_optimal(desk: Desk, budget: int) -> Rows:
    """`--criterion a-optimal`: tr M⁻¹ at θ = 0."""
    dim = desk.space.dim
    return _design(desk, budget, Belief(np.zeros(dim)), a_optimal_criterion(dim))


def _design(desk: Desk, budget: int, belief: Belief, criterion: Criterion | None = None) -> Rows:
    problem = _problem(desk, np.empty((0, 2), np.int64), budget, belief)
    if criterion is not None:
        problem = replace(problem, criterion=criterion)
    return solve(problem).pairs


def trusting(desk: Desk, budget: int) -> Rows:
    """Ours without its caution: the adaptive design that believes in its model."""
    return _design(desk, budget, desk.belief)


def oracle(desk: Desk, budget: int) -> Rows:
    """A ceiling, not a method: it knows θ†, and the P of every pair that it might ask.

    After the same random labels as ours it tries random pairs, bounded designs
    (`design.strategies.bounded`) and the optimal one, all designed for θ†, and picks the one with
    the least sum of predicted gap and the regret of a fit to the true P of all pairs asked.
    """
    first = RANDOM_LABELS_A_DIMENSION * desk.space.dim - len(desk.asked)
    drawn = np.empty((0, 2), np.int64)
    if first > 0:
        drawn = random_pairs(desk.space, min(first, budget), desk.rng)
    if len(drawn) == budget:
        return drawn
    problem = _problem(desk, drawn, budget, Belief(desk.world.best, desk.belief.precision))
    leverage = Leverage.of(desk.space)
    batches = [
        random_pairs(problem.space, int(problem.budget), desk.rng),
        *(
            bounded_batch(problem, leverage, desk.rng, random=0, share=share).pairs
            for share in (1 / 2, 1 / 8, 1 / 32)
        ),
        bounded_batch(problem, leverage, desk.rng, share=1 / 32).pairs,
        solve(problem).pairs,
    ]
    found = [np.concatenate([drawn, pairs]) for pairs in batches]
    return min(found, key=lambda pairs: _true_loss(desk, problem, pairs))


def _true_loss(desk: Desk, problem: Problem, pairs: Rows) -> float:
    world = desk.world
    asked = np.concatenate([desk.asked, pairs])
    p = expit(world.reward[asked[:, 0]] - world.reward[asked[:, 1]])
    z = world.space.differences(asked)
    limit = fit_theta(z, p, world.beta, desk.fit.strength * world.prior, tolerance=1e-8)
    limit = limit * best_scale(world.beta * (z @ limit), p)  # as the estimator draws it out
    m = problem.base + information(world.space, pairs, problem.weights)
    regret = world.objective(world.best) - world.objective(limit)
    return regret + world.beta / 2 * problem.criterion.value(m)


def _problem(desk: Desk, drawn: Rows, budget: int, belief: Belief) -> Problem:
    """The gap problem at a belief, given the information of what was asked and drawn."""
    space = desk.space.without(drawn) if len(drawn) else desk.space
    weights = belief.weights(desk.beta)
    known = np.concatenate([desk.asked, drawn])
    base = desk.fit.strength * desk.world.prior + information(space, known, weights)
    policy = belief.policy_information(space, desk.world.reference, seed=desk.seed)
    return Problem(space, gap_criterion(policy), weights, base, budget - len(drawn))
