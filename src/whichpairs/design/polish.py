"""A whole batch bettered: exchange steps, and some more after kicks where it is far from its bound."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Int64

from whichpairs.design.candidates import Candidates
from whichpairs.design.certificate import unit_of
from whichpairs.design.criterion import value_or_infinity
from whichpairs.design.exchange import exchange, kicked
from whichpairs.design.problem import Problem
from whichpairs.design.records import FrankWolfe
from whichpairs.streams import Stream, stream

KICKS_ABOVE = 0.05
"""A certificate above this, after exchange steps, is worth kicks: n is a few times d."""


def goal_of(problem: Problem, method: FrankWolfe, bound: float) -> float:
    """f from which on a batch is good enough."""
    return bound + method.tolerance * unit_of(problem.criterion, bound, problem.space.dim)


def polish(
    problem: Problem,
    method: FrankWolfe,
    candidates: Candidates,
    counts: Int64[np.ndarray, " n"],
    bound: float,
    consider: Callable[[Candidates, Int64[np.ndarray, " n"]], None],
) -> None:
    """Better a batch.

    Args:
        bound: no batch has f below it.
        consider: given every batch found, as it is found.
    """
    p, c = problem, candidates
    goal = goal_of(p, method, bound)

    def exchanged(counts: np.ndarray) -> tuple[np.ndarray, float]:
        some = (c, counts, p.base, p.criterion, p.budget, p.limits)
        better = exchange(*some, swaps=method.swaps, goal=goal)
        consider(c, better)
        m = p.base + c.information(better.astype(np.float64))
        return better, value_or_infinity(p.criterion, m)

    best, value = exchanged(counts)
    certificate = p.criterion.certificate(value, bound, p.space.dim)
    kicks = method.kicks if certificate is None or certificate > KICKS_ABOVE else 0
    for kick in range(kicks):
        trial = kicked(c, best, p.budget, p.limits, stream(7, Stream.KICKS, kick))
        if trial is not None:
            other, reached = exchanged(trial)
            best, value = (other, reached) if reached < value else (best, value)
