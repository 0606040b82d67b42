"""A design of shares: how much of the labels each pair gets, with no limit but that all add up
to 1.

    minimise f(M₀ + Σ_p w_p g_p g_pᵀ),   w ≥ 0,   Σ_p w_p = 1

Without a cap a vertex is a single pair, and Frank–Wolfe finds the pairs one by one: 100 of them
took it more than 12 passes of 40 steps. Multiplicative steps move all weights at once,

    w_p ← w_p √(s_p / Σ_q w_q s_q),   s_p = −∂f/∂w_p,

and never raise tr(W M⁻¹) (Fellman's steps). A pass over all pairs then brings in those of the
highest scores, and the bound (theory (16), whose best vertex is the one pair of the largest score).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int64

from whichpairs.design.batches.candidates import Candidates
from whichpairs.design.batches.random import random_pairs
from whichpairs.design.problem.belief import PairWeights
from whichpairs.design.problem.criterion import Criterion, Matrix
from whichpairs.design.problem.limits import Limits
from whichpairs.design.problem.problem import Problem
from whichpairs.design.problem.space import PairSpace
from whichpairs.design.solver.certificate import lower_bound, unit_of
from whichpairs.design.solver.solution import FrankWolfe, PassReport
from whichpairs.design.sweep.sweep import Best, Sweep
from whichpairs.streams import Stream, stream

ALL = 20_000
"""Up to so many candidates, all of them are worked on at once; of more, so many random ones at
first."""

NEW_A_DIMENSION = 16
"""Pairs that a pass brings in, by score."""

NEW_SHARE = 0.1
"""What they get together at first."""

STEPS = 400
"""Multiplicative steps between passes, at most."""

LEAST = 1e-4
"""A weight below this share of the mean is dropped after a pass where more pairs come in, and at
the end."""


@dataclass(frozen=True)
class Shares:
    """Weights of pairs, and how near the design is to the best.

    Attributes:
        keys: of the pairs with w > 0, rising; weights: their w, which add up to 1.
        value: f; bound: no shares have less.
        reports: one a pass; interrupted: stopped by the user before it was done.
    """

    keys: Int64[np.ndarray, " pairs"]
    weights: Float[np.ndarray, " pairs"]
    value: float
    bound: float
    reports: tuple[PassReport, ...] = field(default=(), repr=False)
    interrupted: bool = False


def best_shares(
    space: PairSpace,
    criterion: Criterion,
    weights: PairWeights,
    base: Matrix,
    method: FrankWolfe | None = None,
    watch: Callable[[PassReport], None] = lambda report: None,
) -> Shares:
    """The shares that minimise a criterion, to `method.tolerance` of the bound or in
    `method.passes`.

    Args:
        weights: of one whole label on each pair; base: M₀, positive definite.
        method: its passes, tolerance, threads and kernel count.
        watch: told of every pass. Ctrl-C keeps the design so far.
    """
    method = method or FrankWolfe()
    return _Solve(Problem(space, criterion, weights, base, 1), method, watch).run()


class _Solve:
    """Weights on some candidates, and what passes have said."""

    def __init__(
        self, problem: Problem, method: FrankWolfe, watch: Callable[[PassReport], None]
    ) -> None:
        self.problem, self.method, self.watch = problem, method, watch
        space = problem.space
        first = random_pairs(space, min(ALL, space.candidates), stream(0, Stream.SHARES))
        self.some = self._candidates(np.sort(space.keys(first)))
        self.w = np.full(len(self.some), 1.0 / len(self.some))
        self.bound, self.reports = -np.inf, list[PassReport]()
        self.begun = time.perf_counter()

    def run(self) -> Shares:
        interrupted = False
        try:
            while not self._pass():
                pass
        except KeyboardInterrupt:
            interrupted = True
        used = self.w > LEAST / len(self.w)
        keys, w = self.some.keys[used], np.where(used, self.w, 0.0)
        self.w = w / w.sum()
        value = self.problem.criterion.value(self._matrix(self.w))
        reports = tuple(self.reports)
        return Shares(keys, self.w[used], value, self.bound, reports, interrupted)

    def _candidates(self, keys: Int64[np.ndarray, " n"]) -> Candidates:
        p = self.problem
        return Candidates.of(p.space, p.weights, Limits(), keys, self.method.threads)

    def _matrix(self, w: Float[np.ndarray, " n"]) -> Matrix:
        return np.asarray(self.problem.base + self.some.information(w))

    def _pass(self) -> bool:
        """Improve, then look at all pairs; whether that was all."""
        p, method = self.problem, self.method
        self._improve()
        m = self._matrix(self.w)
        factor, value = p.criterion.score_factor(m), p.criterion.value(m)
        all_here = len(self.some) == p.space.candidates
        found = None if all_here else self._sweep(factor)
        top = self.some.scores(factor).max() if found is None else _most(found)
        self.bound = max(self.bound, lower_bound(p, m, factor, float(top)))
        certificate = p.criterion.certificate(value, self.bound, p.space.dim)
        seconds = time.perf_counter() - self.begun
        number = len(self.reports) + 1
        self.reports.append(PassReport(number, value, value, self.bound, certificate, 1.0, seconds))
        self.watch(self.reports[-1])
        gap = value - self.bound
        if gap <= self._tolerance(value) or number == method.passes:
            return True
        if found is not None:
            self._bring_in(p.space.keys(found.pairs))
        return False

    def _tolerance(self, value: float) -> float:
        return self.method.tolerance * unit_of(
            self.problem.criterion, value, self.problem.space.dim
        )

    def _improve(self) -> None:
        """Multiplicative steps until no candidate could lower f by much."""
        for _ in range(STEPS):
            m = self._matrix(self.w)
            scores = self.some.scores(self.problem.criterion.score_factor(m))
            mean = float(self.w @ scores)
            near = self._tolerance(self.problem.criterion.value(m)) / 2.0
            if mean <= 0.0 or float(scores.max()) - mean <= near:
                return
            w = self.w * np.sqrt(scores / mean)
            self.w = w / w.sum()

    def _sweep(self, factor: Float[np.ndarray, "d r"]) -> Best:
        p = self.problem
        sweep = Sweep(p.space, p.weights, kernel=self.method.kernel, threads=self.method.threads)
        keep = np.array([NEW_A_DIMENSION * p.space.dim])
        return sweep(factor, keep, np.zeros(1))

    def _bring_in(self, keys: Int64[np.ndarray, " some"]) -> None:
        """Pairs of the highest scores, in place of those that have next to no weight."""
        kept = self.w > LEAST / len(self.w)
        old, w = self.some.keys[kept], self.w[kept]
        new = np.setdiff1d(keys, old)
        every = np.union1d(old, new)
        joined = np.zeros(len(every))
        joined[np.searchsorted(every, old)] = w / w.sum()
        if len(new):
            joined *= 1.0 - NEW_SHARE
            joined[np.searchsorted(every, new)] = NEW_SHARE / len(new)
        self.some, self.w = self._candidates(every), joined


def _most(found: Best) -> float:
    """The largest score of all pairs."""
    return max(float(found.scores.max(initial=0.0)), found.ceiling)
