"""A whole batch bettered: exchange steps, and some more after kicks where it is far from its
bound."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int64

from whichpairs.design.batches.candidates import Candidates
from whichpairs.design.batches.integral import Ledger, drawn
from whichpairs.design.problem.criterion import Matrix, value_or_infinity
from whichpairs.design.problem.problem import Problem
from whichpairs.design.solver.certificate import unit_of
from whichpairs.design.solver.exchange import exchange, kicked
from whichpairs.design.solver.solution import FrankWolfe
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


def mend(
    problem: Problem,
    c: Candidates,
    counts: Float[np.ndarray, " n"],
    m: Matrix,
    best: Int64[np.ndarray, " n"],
    tolerance: float,
    consider: Callable[[Candidates, Int64[np.ndarray, " n"]], None],
) -> None:
    """Better a batch that is far from its design, for candidates are nearly equal (one kind took
    all labels in rounding) or limits stand between equal ones: one drawn by the design, exchange
    steps.

    Args:
        counts: of the design; m: its M; best: the batch; tolerance: of f above the design's.
        consider: given every batch found.
    """
    p = problem
    near = drawn(c, counts, c.scores(p.criterion.score_factor(m)), p.budget, p.limits)
    relaxed = p.criterion.value(m)
    goal = relaxed + tolerance * unit_of(p.criterion, relaxed, p.space.dim)
    if Ledger.of(c, near, p.budget, p.limits).missing() is None:
        consider(c, near)
        values = [
            value_or_infinity(p.criterion, p.base + c.information(some.astype(np.float64)))
            for some in (near, best)
        ]
        best = near if values[0] < values[1] else best
    some, swaps = (c, best, p.base, p.criterion, p.budget, p.limits), FrankWolfe().swaps
    consider(c, exchange(*some, swaps=swaps, goal=goal))
