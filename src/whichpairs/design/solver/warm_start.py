"""Where a solve begins: at equal shares, or at what a sample of the prompts says."""

from dataclasses import replace

import numpy as np

from whichpairs.design.problem.criterion import Matrix
from whichpairs.design.problem.information import random_second_moment
from whichpairs.design.problem.problem import Problem
from whichpairs.errors import UserError

START_PROMPTS = 4096
"""Prompts behind the first matrix."""

SAMPLE_LABELS, SAMPLE_PROMPTS, SAMPLE_SHARE = 64, 2000, 0.2
"""A solve begins on a sample of prompts with 64 labels a dimension and 2 000 prompts at least,
unless that is more than a fifth of the pool."""


def first_matrix(problem: Problem) -> Matrix:
    """M where every candidate has an equal share: a well-conditioned place to begin."""
    some = problem.space.some_prompts(START_PROMPTS, 0)
    mean = random_second_moment(some) * (problem.weights.beta**2 / 4.0)
    return np.asarray(problem.base + problem.labels * mean)


def sampled(problem: Problem) -> Problem | None:
    """The problem on some of the prompts, with as much of the budget; None where it would gain
    little."""
    space, limits = problem.space, problem.limits
    usable = int(np.count_nonzero(space.sizes >= 2))
    share = max(SAMPLE_LABELS * space.dim / problem.labels, SAMPLE_PROMPTS / usable)
    if share > SAMPLE_SHARE or limits.groups is not None or len(limits.must):
        return None
    some = space.some_prompts(int(np.ceil(share * usable)), 0)
    budget = share * problem.budget
    budget = round(budget) if limits.unit_costs else budget
    base = problem.base * (budget / problem.budget)
    try:
        return replace(problem, space=some, base=base, budget=budget)
    except UserError:  # the sample has no room for its part of the budget
        return None
