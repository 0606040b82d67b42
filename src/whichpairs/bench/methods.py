"""The methods by name: the rivals, the paper's plug-in design, an oracle, and ours."""

import numpy as np
from scipy.special import expit

from whichpairs.bench.desk import Desk, Method
from whichpairs.bench.rivals import RIVALS
from whichpairs.design import Belief, Problem, gap_criterion, information, solve
from whichpairs.design.baselines import random_pairs
from whichpairs.design.bounded import Leverage, bounded_batch
from whichpairs.design.space import Rows
from whichpairs.train.fit import best_scale, fit_theta
from whichpairs.workflow.adaptive import (
    METHOD,
    RANDOM_LABELS_A_DIMENSION,
    Evidence,
    look,
    next_batch,
)


def whichpairs(desk: Desk, budget: int) -> Rows:
    """The default of `whichpairs select`: adaptive, and wary of a wrong model."""
    world = desk.world
    evidence = Evidence(desk.asked, desk.wins, desk.prompts, desk.fit)
    view = look(desk.space, desk.beta, world.prior, world.reference, evidence, seed=desk.seed)
    return next_batch(desk.space, desk.beta, view, budget, desk.rng).pairs


def plug_in(desk: Desk, budget: int) -> Rows:
    """The paper's design: θ = 0 in every round; labels count, their answers only by the ridge.

    Source: Han, Goyal and Ma 2026, arXiv:2606.19607; equation 5 of design.md, section 2.
    """
    return _design(desk, budget, Belief(np.zeros(desk.space.dim)))


def _design(desk: Desk, budget: int, belief: Belief) -> Rows:
    nothing = np.empty((0, 2), np.int64)
    return solve(_problem(desk, nothing, budget, belief), METHOD).pairs


def trusting(desk: Desk, budget: int) -> Rows:
    """Ours without its caution: the adaptive design that believes in its model."""
    return _design(desk, budget, desk.belief)


def oracle(desk: Desk, budget: int) -> Rows:
    """A ceiling, not a method: it knows θ†, and the P of every pair that it might ask.

    After the same random labels as ours it tries random pairs, bounded designs (`design.bounded`) and
    the optimal one, all designed for θ†, and picks the one with the least sum of predicted gap and the regret of a fit to the
    true P of all pairs asked.
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
        solve(problem, METHOD).pairs,
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


METHODS: dict[str, Method] = {
    **RIVALS,
    "plug-in": plug_in,
    "trusting": trusting,
    "oracle": oracle,
    "whichpairs": whichpairs,
}
"""Every method by name."""

PAIRED = ("random", "whichpairs")
"""The two whose difference is asked for most exactly: they run with the most seeds."""

PRINCIPAL = (*PAIRED, "oracle", "plug-in", "trusting")
"""Those that are shown in every table."""

CEILINGS = ("oracle",)
"""Methods that know the truth."""
