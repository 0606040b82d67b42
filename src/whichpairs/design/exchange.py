"""Exchange steps on an integral batch: swap a picked pair for a candidate while that pays.

The best batch is nearly the n top-scoring pairs when n ≫ d, and is not when n is a few times d
(design.md, section 3). There Fedorov's exchange repairs the rounding. Swaps that break a limit are
not made.
"""

import numpy as np
from jaxtyping import Int64
from scipy.linalg import solve_triangular

from whichpairs.design.candidates import Candidates
from whichpairs.design.criterion import Criterion, Matrix, lower_factor
from whichpairs.design.limits import Budget, Limits
from whichpairs.design.rounding import Ledger

OUT, IN = 64, 256
"""How many labels that matter least, and candidates that matter most, a shortlist has."""

KICK = 0.15
"""The share of a batch that a kick moves."""

FROM_ONE_LIST = 24
"""Swaps made from one shortlist, at most, before all candidates are looked at again."""


def exchange(
    candidates: Candidates,
    counts: Int64[np.ndarray, " n"],
    base: Matrix,
    criterion: Criterion,
    budget: Budget,
    limits: Limits,
    *,
    swaps: int,
    goal: float,
) -> Int64[np.ndarray, " n"]:
    """A batch no worse than `counts`: the best single swap, again and again, at most `swaps` times.

    Args:
        counts: labels by candidate.
        base: M₀.
        goal: good enough: stop when f is at most this.

    Source: Fedorov, "Theory of Optimal Experiments" (1972), ch. 3.
    """
    ledger = Ledger.of(candidates, counts, budget, limits)
    m = base + candidates.information(counts.astype(np.float64))
    value, left = criterion.value(m), swaps
    while left > 0 and value > goal:
        out, into = _shortlists(candidates, ledger.counts, m, criterion)
        before = left
        for _ in range(min(FROM_ONE_LIST, left)):
            swap = _best_swap(candidates.z, ledger, out, into, m, criterion)
            if swap is None:
                break
            p, q = swap
            trial = m - np.outer(candidates.z[p], candidates.z[p])
            trial += np.outer(candidates.z[q], candidates.z[q])
            after = criterion.value(trial)
            if after >= value - 1e-9 * abs(value):
                break
            ledger.add(p, -1)
            ledger.add(q)
            m, value, left = trial, after, left - 1
            if value <= goal:
                break
        if left == before:
            break
    return ledger.counts


def kicked(
    candidates: Candidates,
    counts: Int64[np.ndarray, " n"],
    budget: Budget,
    limits: Limits,
    rng: np.random.Generator,
) -> Int64[np.ndarray, " n"] | None:
    """The batch with some of its labels moved to candidates drawn at random: where to start exchange
    steps again. None where the limits leave no room for that.

    Source: iterated local search (Lourenço, Martin and Stützle 2003).
    """
    ledger = Ledger.of(candidates, counts, budget, limits)
    free = np.flatnonzero(counts > candidates.least)
    gone = rng.choice(free, int(np.ceil(KICK * len(free))), replace=False)
    for p in gone:
        ledger.add(int(p), -1)
    for p in rng.permutation(len(candidates)):
        if ledger.spent + candidates.cheapest > ledger.budget:
            break
        if ledger.fits(int(p)):
            ledger.add(int(p))
    return ledger.counts if ledger.missing() is None else None


def _shortlists(
    c: Candidates, counts: np.ndarray, m: Matrix, criterion: Criterion
) -> tuple[np.ndarray, np.ndarray]:
    """The labels that look least worth keeping, and the candidates that look most worth adding."""
    half = solve_triangular(lower_factor(m), np.eye(len(m)), lower=True, trans="T")
    leverage, score = c.scores(half), c.scores(criterion.score_factor(m))
    lost = np.where(counts > c.least, score / np.maximum(1.0 - leverage, 1e-12), np.inf)
    gained = np.where(counts < c.repeats, score / (1.0 + leverage) / c.costs, -np.inf)
    lost /= c.costs
    outs = np.argsort(lost, kind="stable")[: min(OUT, int(np.isfinite(lost).sum()))]
    ins = np.argsort(-gained, kind="stable")[: min(IN, int(np.isfinite(gained).sum()))]
    return outs, ins


def _best_swap(
    z: np.ndarray,
    ledger: Ledger,
    out: np.ndarray,
    into: np.ndarray,
    m: Matrix,
    criterion: Criterion,
) -> tuple[int, int] | None:
    """The allowed swap (out, in) that lowers f most."""
    if len(out) == 0 or len(into) == 0:
        return None
    change = criterion.swap_changes(m, z[out], z[into])
    change = np.where(ledger.may_swap(out, into), change, np.inf)
    o, i = np.unravel_index(int(np.argmin(change)), change.shape)
    return (int(out[o]), int(into[i])) if np.isfinite(change[o, i]) else None
