"""From counts to a batch: whole labels that obey every limit.

The relaxed optimum is nearly a threshold on the score, so rounding costs little when n ≫ d
(theory, section 6); `whichpairs.design.solver.exchange` repairs it when n is a few times d.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from whichpairs.design.batches.candidates import Candidates
from whichpairs.design.batches.linear_programme import best_counts
from whichpairs.design.problem.limits import Budget, Limits
from whichpairs.streams import Stream, stream


def roundings(
    candidates: Candidates,
    counts: Float[np.ndarray, " n"],
    scores: Float[np.ndarray, " n"],
    budget: Budget,
    limits: Limits,
) -> list[Int64[np.ndarray, " n"]]:
    """Two batches: by score ÷ cost, and by count with ties by score ÷ cost; and where candidates
    stand for several pairs, one more: the whole part of every count, then the largest remainders.

    Args:
        counts: of a design within the limits.
    """
    ratios = scores / candidates.costs
    orders = (
        np.lexsort((candidates.keys, -ratios)),
        np.lexsort((candidates.keys, -ratios, -np.round(counts, 6))),
    )
    found = [fill(candidates, order, budget, limits) for order in orders]
    if candidates.copies is not None:
        found.append(_remainders(candidates, counts, ratios, budget, limits))
    return found


def _remainders(
    c: Candidates,
    counts: Float[np.ndarray, " n"],
    ratios: Float[np.ndarray, " n"],
    budget: Budget,
    limits: Limits,
) -> Int64[np.ndarray, " n"]:
    """Whole parts, then one label more by the largest remainder, ties by score ÷ cost."""
    whole = np.floor(counts + 1e-6).astype(np.int64)
    ledger = Ledger.of(c, np.maximum(whole, c.least.astype(np.int64)), budget, limits)
    order = np.lexsort((c.keys, -ratios, -np.round(counts - whole, 6)))
    for due in (True, False) if len(ledger.low) else (False,):
        inside = order[c.group[order] >= 0] if due else order
        before = -1.0
        while before < ledger.spent:
            before = ledger.spent
            for p in inside.tolist():
                if ledger.spent + c.cheapest > ledger.budget:
                    return ledger.counts
                short = not due or ledger.in_group[c.group[p]] < ledger.low[c.group[p]]
                if short and ledger.fits(p):
                    ledger.add(p)
    return ledger.counts


def drawn(
    c: Candidates,
    counts: Float[np.ndarray, " n"],
    scores: Float[np.ndarray, " n"],
    budget: Budget,
    limits: Limits,
) -> Int64[np.ndarray, " n"]:
    """A batch drawn by the counts (systematic sampling in a random order): where many candidates
    are nearly equal, a threshold on the score takes all its labels from a few kinds, and this from
    all."""
    order = stream(7, Stream.ROUNDING).permutation(len(c))
    chosen = np.zeros(len(c), bool)
    chosen[order] = np.diff(np.floor(np.cumsum(counts[order]) + 0.5), prepend=0.0) > 0.0
    return fill(c, np.lexsort((c.keys, -scores / c.costs, ~chosen)), budget, limits)


def fill(
    candidates: Candidates, order: Int64[np.ndarray, " n"], budget: Budget, limits: Limits
) -> Int64[np.ndarray, " n"]:
    """Labels for the candidates in this order of liking, as far as the limits let: what must be,
    then each group's least share, then whatever fits."""
    if limits.laminar and limits.unit_costs:
        liking = np.empty(len(candidates))
        liking[order] = np.arange(len(order), 0, -1)
        return best_counts(candidates, liking, budget, limits).counts.astype(np.int64)
    ledger = Ledger.of(candidates, candidates.least.astype(np.int64), budget, limits)
    low, _ = limits.group_bounds(budget)
    if len(low):
        for p in order[candidates.group[order] >= 0].tolist():
            while ledger.in_group[candidates.group[p]] < low[candidates.group[p]] and ledger.fits(
                p
            ):
                ledger.add(p)
    for p in order.tolist():
        if ledger.spent + candidates.cheapest > ledger.budget:
            break
        while ledger.fits(p):
            ledger.add(p)
    return ledger.counts


@dataclass
class Ledger:
    """What a batch has taken of each limit.

    Attributes:
        counts: labels by candidate; spent: their cost; in_prompt, at_end, in_group: labels of
            prompts and completions, costs of groups.
    """

    candidates: Candidates
    limits: Limits
    budget: float
    counts: Int64[np.ndarray, " n"]
    spent: float
    in_prompt: Int64[np.ndarray, " prompts"]
    at_end: Int64[np.ndarray, " rows"]
    in_group: Float[np.ndarray, " groups"]
    low: Float[np.ndarray, " groups"]
    high: Float[np.ndarray, " groups"]
    prompt: Int64[np.ndarray, " n"]
    ends: Int64[np.ndarray, "n 2"]

    @classmethod
    def of(
        cls, c: Candidates, counts: Int64[np.ndarray, " n"], budget: Budget, limits: Limits
    ) -> "Ledger":
        """The ledger of a batch."""
        _, prompt = np.unique(c.prompt, return_inverse=True)
        _, flat = np.unique(c.pairs, return_inverse=True)
        ends = flat.reshape(-1, 2)
        low, high = limits.group_bounds(budget)
        inside = c.group >= 0
        return cls(
            c,
            limits,
            float(budget) * (1.0 + 1e-12),
            counts.copy(),
            float(counts @ c.costs),
            np.bincount(prompt, counts, int(prompt.max(initial=-1)) + 1).astype(np.int64),
            np.bincount(ends.ravel(), np.repeat(counts, 2), int(ends.max(initial=-1)) + 1).astype(
                np.int64
            ),
            np.bincount(c.group[inside], (counts * c.costs)[inside], len(low)).astype(np.float64),
            low * (1.0 - 1e-12),
            high * (1.0 + 1e-12),
            prompt.astype(np.int64),
            ends.astype(np.int64),
        )

    def fits(self, p: int) -> bool:
        """Whether one more label of candidate p breaks no limit."""
        c, limits = self.candidates, self.limits
        i, j = self.ends[p]
        most = limits.per_completion
        return bool(
            self.counts[p] < c.most[p]
            and self.spent + c.costs[p] <= self.budget
            and (limits.per_prompt is None or self.in_prompt[self.prompt[p]] < limits.per_prompt)
            and (most is None or (self.at_end[i] < most and self.at_end[j] < most))
            and (c.group[p] < 0 or self.in_group[c.group[p]] + c.costs[p] <= self.high[c.group[p]])
        )

    def add(self, p: int, labels: int = 1) -> None:
        """One more label of candidate p (or one less)."""
        cost = labels * self.candidates.costs[p]
        self.counts[p] += labels
        self.spent += cost
        self.in_prompt[self.prompt[p]] += labels
        self.at_end[self.ends[p]] += labels
        if self.candidates.group[p] >= 0:
            self.in_group[self.candidates.group[p]] += cost

    def may_swap(self, out: Int64[np.ndarray, " o"], into: Int64[np.ndarray, " i"]) -> "np.ndarray":
        """Which swaps of a label of `out` for one of `into` break no limit, (o, i)."""
        c, limits = self.candidates, self.limits
        may = (self.counts[out] > c.least[out])[:, None] & (self.counts[into] < c.most[into])[
            None, :
        ]
        may &= out[:, None] != into[None, :]
        if not limits.unit_costs:
            may &= self.spent - c.costs[out][:, None] + c.costs[into][None, :] <= self.budget
        if limits.per_prompt is not None:
            same = self.prompt[out][:, None] == self.prompt[into][None, :]
            may &= (self.in_prompt[self.prompt[into]] < limits.per_prompt)[None, :] | same
        if limits.per_completion is not None:
            for end in self.ends[into].T:
                shared = (self.ends[out][:, :, None] == end[None, None, :]).any(axis=1)
                may &= (self.at_end[end] < limits.per_completion)[None, :] | shared
        if limits.groups is not None:
            may &= self._shares(out, into)
        return may

    def _shares(self, out: np.ndarray, into: np.ndarray) -> np.ndarray:
        c = self.candidates
        held = np.append(self.in_group, 0.0)
        low, high = np.append(self.low, -np.inf), np.append(self.high, np.inf)
        g, h = c.group[out][:, None], c.group[into][None, :]
        less, more = c.costs[out][:, None], c.costs[into][None, :]
        same = g == h
        apart = (held[g] - less >= low[g]) & (held[h] + more <= high[h])
        change = held[h] - less + more
        return np.where(same, (change >= low[h]) & (change <= high[h]), apart)

    def missing(self) -> str | None:
        """The limit that the batch does not meet, in words; None where it meets all."""
        for g in np.flatnonzero(self.in_group < self.low):
            assert self.limits.groups is not None
            return f"the least share of group {self.limits.groups.names[g]!r}"
        unfilled = self.limits.unit_costs and self.counts.sum() < int(self.budget)
        return "the budget" if unfilled else None
