"""Exchange steps on an integral batch: swap a picked pair for a candidate while that pays.

The best batch is nearly the n top-scoring pairs when n ≫ d, and is not when n is a few times d
(theory (19)). There Fedorov's exchange repairs the rounding. Swaps that break a limit are
not made.
"""

import numpy as np
from jaxtyping import Int64
from scipy.linalg import solve_triangular

from whichpairs.design.batches.candidates import Candidates
from whichpairs.design.batches.integral import Ledger
from whichpairs.design.problem.criterion import Criterion, Matrix, lower_factor, value_or_infinity
from whichpairs.design.problem.limits import Budget, Limits

OUT, IN = 64, 256
"""How many labels that matter least, and candidates that matter most, a shortlist has."""

NEAR, LISTS = 16, 16
"""All candidates are looked at for the best of NEAR shortlists; LISTS are made from those."""

FROM_ONE_LIST = 64
"""Swaps made from one shortlist, at most."""

BOGUS = 8
"""Swaps that alone do not lower f though they should: after so many a look ends."""

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
    """A batch no worse than `counts`: the swaps that lower f most, at most `swaps` of them.

    Swaps are made up to 64 at a time, each the best after those before it, and are accepted
    together where f has fallen, or else undone together and fewer tried. The search ends where a
    look at all candidates leads to no accepted swap, or where f of the batch, computed anew after a
    look's swaps, has not fallen: those are dropped. A `counts` that leaves M singular comes back as
    it is, for what a swap changes is not known there.

    Args:
        counts: labels by candidate.
        base: M₀.
        swaps: accepted swaps, at most; those undone do not count.
        goal: good enough: stop when f is at most this.

    Source: [fedorov1972], ch. 3.
    """

    def matrix(counts: np.ndarray) -> Matrix:
        return np.asarray(base + candidates.information(counts.astype(np.float64)))

    ledger = Ledger.of(candidates, counts, budget, limits)
    best, m, left = counts, matrix(counts), swaps
    value = value_or_infinity(criterion, m)
    while left > 0 and goal < value < np.inf:
        made = _swaps_of_a_look(candidates, ledger, m, criterion, value, goal, left)
        m = matrix(ledger.counts)  # anew: what many updates round off does not add up
        reached = value_or_infinity(criterion, m)
        if not reached < value:
            break
        best, value, left = ledger.counts.copy(), reached, left - made
    return best


def kicked(
    candidates: Candidates,
    counts: Int64[np.ndarray, " n"],
    budget: Budget,
    limits: Limits,
    rng: np.random.Generator,
) -> Int64[np.ndarray, " n"] | None:
    """The batch with some of its labels moved to candidates drawn at random: where to start
    exchange steps again. None where the limits leave no room for that.

    Source: iterated local search [lourenco2003].
    """
    ledger = Ledger.of(candidates, counts, budget, limits)
    spare = np.maximum(counts - candidates.least.astype(np.int64), 0)
    free = np.repeat(np.arange(len(candidates)), spare)
    gone = rng.choice(free, int(np.ceil(KICK * len(free))), replace=False)
    for p in gone:
        ledger.add(int(p), -1)
    before = -1.0
    while before < ledger.spent:  # once over all is enough, unless some stand for many
        before = ledger.spent
        for p in rng.permutation(len(candidates)):
            if ledger.spent + candidates.cheapest > ledger.budget:
                break
            if ledger.fits(int(p)):
                ledger.add(int(p))
    return ledger.counts if ledger.missing() is None else None


def _swaps_of_a_look(
    candidates: Candidates,
    ledger: Ledger,
    m: Matrix,
    criterion: Criterion,
    value: float,
    goal: float,
    left: int,
) -> int:
    """Look at all candidates for the best few, and swap among those: how many swaps were accepted.

    Args:
        ledger: where swaps are made.
        m: M of the ledger's batch; value: f(M).
        left: swaps to accept, at most.
    """
    near = np.unique(np.concatenate(_shortlists(candidates, ledger.counts, m, criterion, NEAR)))
    among, accepted, lists, most = candidates.subset(near), 0, 0, FROM_ONE_LIST
    bogus: list[tuple[int, int]] = []
    while accepted < left and value > goal and lists < LISTS and len(bogus) < BOGUS:
        out, into = _shortlists(among, ledger.counts[near], m, criterion)
        out, into, few = near[out], near[into], min(most, left - accepted)
        made = _swap(candidates.z, ledger, out, into, m, criterion, value, goal, few, bogus)
        if not made:
            break
        after = m + _change(candidates.z, made)
        reached = value_or_infinity(criterion, after)
        if reached < value:
            m, value, accepted = after, reached, accepted + len(made)
            lists, most = lists + 1, FROM_ONE_LIST
            continue
        # f has not fallen as the table said: M is so nearly singular that updates lose all digits.
        # Undo them all and try fewer at once; a swap that fails alone is left out from here on.
        for p, q in reversed(made):
            ledger.add(q, -1)
            ledger.add(p)
        if len(made) == 1:
            bogus += made
        most = len(made) // 4 + 1
    return accepted


def _shortlists(
    c: Candidates, counts: np.ndarray, m: Matrix, criterion: Criterion, times: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """The labels that look least worth keeping, and the candidates that look most worth adding."""
    half = solve_triangular(lower_factor(m), np.eye(len(m)), lower=True, trans="T")
    leverage, score = c.scores(half), c.scores(criterion.score_factor(m))
    lost = np.where(counts > c.least, score / np.maximum(1.0 - leverage, 1e-12), np.inf)
    gained = np.where(counts < c.most, score / (1.0 + leverage) / c.costs, -np.inf)
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
    bogus: list[tuple[int, int]],
) -> list[tuple[int, int]]:
    """The allowed swaps (out, in) that lower f most, one after another, made in the ledger.

    Args:
        z: √w_p z_p of all candidates; out, into: places in it.
        value: f(M), and from swap to swap what the changes say it is: f is not computed anew.
        goal: no more swaps when that is at most this.
        most: swaps, at most.
        bogus: swaps not to make.
    """
    made: list[tuple[int, int]] = []
    if len(out) == 0 or len(into) == 0:
        return made
    table = criterion.swaps(m, z[np.concatenate([out, into])])
    outs, ins = np.arange(len(out)), len(out) + np.arange(len(into))
    fine = np.ones((len(out), len(into)), bool)
    for p, q in bogus:
        fine[np.ix_(out == p, into == q)] = False
    while len(made) < most and value > goal:
        change = np.where(fine & ledger.may_swap(out, into), table.changes(outs, ins), np.inf)
        o, i = np.unravel_index(int(np.argmin(change)), change.shape)
        if not change[o, i] < -1e-9 * abs(value):
            break
        made.append((int(out[o]), int(into[i])))
        ledger.add(made[-1][0], -1)
        ledger.add(made[-1][1])
        value += float(change[o, i])
        table = table.made(int(outs[o]), int(ins[i]))
    return made


def _change(z: np.ndarray, made: list[tuple[int, int]]) -> Matrix:
    """Σ q qᵀ − p pᵀ."""
    ends = np.array(made, np.int64).reshape(-1, 2)
    p, q = z[ends[:, 0]], z[ends[:, 1]]
    return np.asarray(q.T @ q - p.T @ p)
