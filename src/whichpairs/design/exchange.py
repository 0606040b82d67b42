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
from whichpairs.errors import UserError

OUT, IN = 64, 256
"""How many labels that matter least, and candidates that matter most, a shortlist has."""

NEAR, LISTS = 16, 16
"""All candidates are looked at for the best of NEAR shortlists; LISTS are made from those."""

FROM_ONE_LIST = 64
"""Swaps made from one shortlist, at most."""

KICK = 0.15
"""The share of a batch that a kick moves."""


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
    near, among, lists, most = np.empty(0, np.int64), candidates, LISTS, FROM_ONE_LIST
    while left > 0 and value > goal:
        if lists == LISTS:
            near = np.unique(
                np.concatenate(_shortlists(candidates, ledger.counts, m, criterion, NEAR))
            )
            among, lists = candidates.subset(near), 0
        out, into = _shortlists(among, ledger.counts[near], m, criterion)
        out, into, few = near[out], near[into], min(most, left)
        made = _swap(candidates.z, ledger, out, into, m, criterion, value, goal, few)
        after = m + _change(candidates.z, made)
        reached = _value(criterion, after)
        if reached < value:
            m, value, left = after, reached, left - len(made)
            lists, most = lists + 1, FROM_ONE_LIST
            continue
        for p, q in reversed(made):
            ledger.add(q, -1)
            ledger.add(p)
        if (
            len(made) > 1
        ):  # M is so nearly singular that many updates lose all digits: fewer at once
            most = len(made) // 4 + 1
        elif lists == 0:
            break
        else:
            lists, most = LISTS, FROM_ONE_LIST
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
    c: Candidates, counts: np.ndarray, m: Matrix, criterion: Criterion, times: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """The labels that look least worth keeping, and the candidates that look most worth adding."""
    half = solve_triangular(lower_factor(m), np.eye(len(m)), lower=True, trans="T")
    leverage, score = c.scores(half), c.scores(criterion.score_factor(m))
    lost = np.where(counts > c.least, score / np.maximum(1.0 - leverage, 1e-12), np.inf)
    gained = np.where(counts < c.repeats, score / (1.0 + leverage) / c.costs, -np.inf)
    lost /= c.costs
    outs = np.argsort(lost, kind="stable")[: min(times * OUT, int(np.isfinite(lost).sum()))]
    ins = np.argsort(-gained, kind="stable")[: min(times * IN, int(np.isfinite(gained).sum()))]
    return outs, ins


def _swap(
    z: np.ndarray,
    ledger: Ledger,
    out: np.ndarray,
    into: np.ndarray,
    m: Matrix,
    criterion: Criterion,
    value: float,
    goal: float,
    most: int,
) -> list[tuple[int, int]]:
    """The allowed swaps (out, in) that lower f most, one after another, made in the ledger."""
    made: list[tuple[int, int]] = []
    if len(out) == 0 or len(into) == 0:
        return made
    table = criterion.swaps(m, z[np.concatenate([out, into])])
    outs, ins = np.arange(len(out)), len(out) + np.arange(len(into))
    while len(made) < most and value > goal:
        change = np.where(ledger.may_swap(out, into), table.changes(outs, ins), np.inf)
        o, i = np.unravel_index(int(np.argmin(change)), change.shape)
        if not change[o, i] < -1e-9 * abs(value):
            break
        made.append((int(out[o]), int(into[i])))
        ledger.add(made[-1][0], -1)
        ledger.add(made[-1][1])
        value += float(change[o, i])
        table = table.made(int(outs[o]), int(ins[i]))
    return made


def _value(criterion: Criterion, m: Matrix) -> float:
    """f(M); ∞ where rounding has left M singular."""
    try:
        return criterion.value(m)
    except UserError:
        return np.inf


def _change(z: np.ndarray, made: list[tuple[int, int]]) -> Matrix:
    """Σ q qᵀ − p pᵀ."""
    ends = np.array(made, np.int64).reshape(-1, 2)
    p, q = z[ends[:, 0]], z[ends[:, 1]]
    return np.asarray(q.T @ q - p.T @ p)
