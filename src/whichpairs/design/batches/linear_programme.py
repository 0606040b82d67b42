"""The constraints' linear programme: the counts u⁺ that are worth most at given scores.

    maximise Σ_p s_p u_p over the limits of `whichpairs.design.problem.limits`

Where the limits nest (a pair in its prompt in its group in the budget, all in one unit) greedy is
exact [edmonds1970]; theory (15). Elsewhere HiGHS solves
it. Either way the answer comes with prices, and so with a bound on what pairs outside could add:
a pair of group g whose score ÷ cost is at most its group's price adds nothing.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int64
from scipy.optimize import LinearConstraint, linprog, milp
from scipy.sparse import csr_array, vstack

from whichpairs.design.batches.candidates import Candidates
from whichpairs.design.problem.limits import Budget, Limits
from whichpairs.design.sweep.dominated import undominated
from whichpairs.errors import UserError


@dataclass(frozen=True)
class Vertex:
    """A best answer to given scores.

    Attributes:
        counts: u⁺, one a candidate.
        bound: no feasible counts of these candidates are worth more (their worth, but for
            rounding).
        prices: score ÷ cost from which on an outsider would be worth its cost, by group; the last
            is of prompts in no group.
        short: the part of the budget, or of a group's least share, that the candidates could not
            fill.
    """

    counts: Float[np.ndarray, " n"]
    bound: float
    prices: Float[np.ndarray, " heaps"]
    short: float

    def outside(
        self, ceilings: Float[np.ndarray, " heaps"], budget: Budget, limits: Limits
    ) -> float:
        """What pairs outside add at most, when none has a score ÷ cost above its group's
        ceiling."""
        above = ceilings > self.prices
        excess = np.where(above, ceilings - np.where(above, self.prices, 0.0), 0.0)
        _, high = limits.group_bounds(budget)
        each = np.append(high, budget)
        return float(min(budget * excess.max(), (each * excess).sum()))


def best_counts(
    candidates: Candidates, scores: Float[np.ndarray, " n"], budget: Budget, limits: Limits
) -> Vertex:
    """The most valuable feasible counts; ties go by key."""
    if limits.laminar:
        return _greedy(candidates, scores, budget, limits)
    return _programme(candidates, scores, budget, limits)


def _greedy(c: Candidates, scores: np.ndarray, budget: Budget, limits: Limits) -> Vertex:
    """Must pairs; then each group's least share, best first; then the best of what is left."""
    ratios = scores / c.costs
    order = np.lexsort((c.keys, -ratios))
    spare = c.most - c.least
    if limits.per_prompt is not None:
        spare = _within_prompts(c, spare, order, limits.per_prompt)
    low, high = limits.group_bounds(budget)
    spent = c.least * c.costs
    room = spare * c.costs
    due = np.zeros(len(c))
    short = 0.0
    for g in range(len(low)):
        members = order[c.group[order] == g]
        given = float(spent[c.group == g].sum())
        before = np.concatenate([[0.0], np.cumsum(room[members])])[:-1]
        need = max(float(low[g]) - given, 0.0)
        due[members] = np.clip(need - before, 0.0, room[members])
        room[members] = np.clip(float(high[g]) - given - before, 0.0, room[members])
        short += max(need - float(due[members].sum()), 0.0)
    left = budget - float(spent.sum()) - float(due.sum())
    free = (room - due)[order]
    before = np.concatenate([[0.0], np.cumsum(free)])[:-1]
    taken = np.zeros(len(c))
    taken[order] = np.clip(left - before, 0.0, free)
    short += max(left - float(free.sum()), 0.0)
    short = short if short > 1e-9 * budget else 0.0  # sums of costs are known to rounding
    counts = c.least + (due + taken) / c.costs
    if limits.unit_costs:
        counts = np.round(counts)
    inside = c.group >= 0
    held = np.bincount(c.group[inside], (counts * c.costs)[inside], len(low))
    prices = _prices(c, ratios, due, taken, held >= high * (1.0 - 1e-12), short)
    return Vertex(counts, float(scores @ counts), prices, short)


def _within_prompts(
    c: Candidates, spare: np.ndarray, order: np.ndarray, most: int
) -> Float[np.ndarray, " n"]:
    """What each pair can still take when a prompt takes `most`, its best first."""
    by_prompt = order[np.argsort(c.prompt[order], kind="stable")]
    prompt = c.prompt[by_prompt]
    total = np.cumsum(spare[by_prompt]) - spare[by_prompt]
    first = np.searchsorted(prompt, prompt, side="left")
    must = np.bincount(c.prompt, c.least, int(c.prompt.max(initial=0)) + 1)
    left = most - must[prompt] - (total - total[first])
    out = np.empty(len(c))
    out[by_prompt] = np.clip(left, 0.0, spare[by_prompt])
    return out


def _prices(
    c: Candidates,
    ratios: np.ndarray,
    due: np.ndarray,
    taken: np.ndarray,
    full: np.ndarray,
    short: float,
) -> Float[np.ndarray, " heaps"]:
    """λ is the ratio of the last pair taken (∞ where the least shares take the whole budget:
    outsiders of other groups have no room then); a group's that has its most is its own last, and
    so is that of a group which gets its least share and no more."""

    def last(some: np.ndarray) -> float:
        return float(ratios[some].min(initial=np.inf))

    price = 0.0 if short > 0 else last(taken > 0)
    out = np.full(len(full) + 1, price)
    for g in range(len(full)):
        inside = c.group == g
        got = inside & (due + taken > 0)
        if not got.any():
            continue
        if not taken[inside].any():
            out[g] = min(price, last(got))
        elif full[g]:
            out[g] = max(price, last(got))
    return out


def _programme(c: Candidates, scores: np.ndarray, budget: Budget, limits: Limits) -> Vertex:
    """By HiGHS, without the pairs that no best answer needs."""
    needed = undominated(c.prompt, scores, c.costs, c.keys, limits) | (c.least > 0)
    if needed.all():
        return _highs(c, scores, budget, limits)
    found = _highs(c.subset(needed), scores[needed], budget, limits)
    counts = np.zeros(len(c))
    counts[needed] = found.counts
    return replace(found, counts=counts)


def _highs(c: Candidates, scores: np.ndarray, budget: Budget, limits: Limits) -> Vertex:
    """By HiGHS; the bound is its dual's, put together anew from the prices."""
    rows, room = _constraints(c, budget, limits)
    bounds = np.stack([c.least, c.most], axis=1)
    worth = max(float(np.abs(scores).max(initial=0.0)), 1e-300)
    found = linprog(-scores / worth, A_ub=rows, b_ub=room, bounds=bounds, method="highs")
    low, _ = limits.group_bounds(budget)
    if found.status == 2:
        return Vertex(np.zeros(len(c)), np.inf, np.zeros(len(low) + 1), float(budget))
    if found.status != 0:
        raise UserError("the constraints' linear programme must be solvable", str(found.message))
    price = np.maximum(-found.ineqlin.marginals, 0.0) * worth
    reduced = scores - rows.T @ price
    bound = float(price @ room + np.maximum(reduced * c.most, reduced * c.least).sum())
    prices = np.full(len(low) + 1, price[0])
    prices[:-1] += price[1 : 1 + len(low)] - price[1 + len(low) : 1 + 2 * len(low)]
    counts = np.clip(found.x, c.least, c.most)
    unspent = budget - float(counts @ c.costs)
    return Vertex(counts, bound, prices, unspent if unspent > 1e-9 * budget else 0.0)


def whole_counts(
    c: Candidates, scores: Float[np.ndarray, " n"], budget: Budget, limits: Limits
) -> Int64[np.ndarray, " n"] | None:
    """The most valuable whole counts that spend a budget of labels in full, or, where pairs have
    costs, buy one label at least; None where there are none."""
    rows, room = _constraints(c, budget, limits)
    found = milp(
        -scores / max(float(np.abs(scores).max(initial=0.0)), 1e-300),
        integrality=np.ones(len(c)),
        bounds=(c.least, c.most),
        constraints=[
            LinearConstraint(rows, ub=room),
            LinearConstraint(
                csr_array(np.ones((1, len(c)))), lb=budget if limits.unit_costs else 1.0
            ),
        ],
        options={"time_limit": 60.0},
    )
    return None if found.x is None else np.round(found.x).astype(np.int64)


def _constraints(
    c: Candidates, budget: Budget, limits: Limits
) -> tuple[csr_array, Float[np.ndarray, " rows"]]:
    """A and b of A u ≤ b: the budget, each group's most, each group's least, prompts,
    completions."""
    n = len(c)
    low, high = limits.group_bounds(budget)
    parts, room = [csr_array(c.costs[None, :])], [np.array([float(budget)])]
    if limits.groups is not None:
        shares = _indicator(c.group, np.arange(n), len(low), c.costs)
        parts += [shares, -shares]
        room += [high, -low]
    everyone = np.arange(n)
    if limits.per_prompt is not None:
        parts.append(_tight(c.prompt, everyone, n, limits.per_prompt, limits.repeats))
        room.append(np.full(parts[-1].shape[0], float(limits.per_prompt)))
    if limits.per_completion is not None:
        both, twice = c.pairs.T.ravel(), np.concatenate([everyone, everyone])
        parts.append(_tight(both, twice, n, limits.per_completion, limits.repeats))
        room.append(np.full(parts[-1].shape[0], float(limits.per_completion)))
    return csr_array(vstack(parts, format="csr")), np.concatenate(room)


def _indicator(
    of: Int64[np.ndarray, " k"], pair: Int64[np.ndarray, " k"], rows: int, values: np.ndarray
) -> csr_array:
    inside = of >= 0
    at = (of[inside], pair[inside])
    return csr_array((values[inside], at), shape=(rows, int(pair.max(initial=-1)) + 1))


def _tight(
    of: Int64[np.ndarray, " k"], pair: Int64[np.ndarray, " k"], n: int, most: int, repeats: int
) -> csr_array:
    """Rows of those limits that their candidates could exceed."""
    _, back, size = np.unique(of, return_inverse=True, return_counts=True)
    tight = size * repeats > most
    number = np.cumsum(tight) - 1
    some = tight[back]
    at = (number[back[some]], pair[some])
    return csr_array((np.ones(int(some.sum())), at), shape=(int(tight.sum()), n))
