"""The best batch and its certificate: Frank–Wolfe over all pairs (theory (14) to (18)).

    minimise f(M(u)) over the limits on u,   M(u) = M₀ + Σ_p u_p w_p z_p z_pᵀ

A pass finds the pairs of the highest scores s_p = −∂f/∂u_p, and with them the linear programme's
best answer u⁺ (`vertex`). f is convex, so for every feasible design, integral ones included,

    f ≥ f(M) + tr(A (M − M₀)) − Σ_p u⁺_p s_p,   A = −∂f/∂M,

at any positive definite M: that is the certificate. Between passes the design is improved on the
few candidates that passes kept, by mixing vertices (`master`). `records` holds what goes in and
comes out.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int64
from threadpoolctl import threadpool_limits

from whichpairs.design.batches.candidates import Candidates
from whichpairs.design.batches.integral import Ledger, roundings
from whichpairs.design.batches.linear_programme import best_counts, whole_counts
from whichpairs.design.batches.versus_random import no_worse_than_random, random_batches
from whichpairs.design.problem.criterion import Matrix, value_or_infinity
from whichpairs.design.problem.problem import Problem
from whichpairs.design.problem.space import Rows
from whichpairs.design.solver.certificate import lower_bound, unit_of
from whichpairs.design.solver.exchange import exchange
from whichpairs.design.solver.mixture import TOWARDS, Mix
from whichpairs.design.solver.polish import goal_of, mend, polish
from whichpairs.design.solver.solution import Checkpoint, FrankWolfe, PassReport, Solution
from whichpairs.design.solver.unreachable import out_of_reach, singular
from whichpairs.design.solver.warm_start import first_matrix, sampled
from whichpairs.design.sweep.sweep import Best, Known, Sweep, growth

FEW = 256
"""Pairs of a pool up to which exchange steps look at all of them."""

__all__ = ["Checkpoint", "FrankWolfe", "PassReport", "Solution", "solve", "solve_among"]

ROOMY = 5e8
"""Bytes of two candidates a label up to which a pass keeps two; beyond, one and a half. Limits that
do not nest (`Limits.laminar`) need more to choose from: a pass keeps four, whatever they take."""

SEEDS = 4
"""Random batches that are mixed in where what a pass kept is worse than random."""

CLOSE = 0.05
"""A relaxed design farther than this from its bound is not done, however far its batches are."""

INNER, DEAR = 0.1, 0.1
"""Between passes the gap on the candidates is closed to a share `INNER` of the gap that the pass
found, where a step costs more than a share `DEAR` of a whole pass; elsewhere to a tenth of the
tolerance."""

A_FEW = 1e-6
"""Of the mixture's labels: what a batch that leaves a direction without any is given to begin
with."""

INSTANT = 1e9
"""Operations up to which a step is never dear."""

SLACK = 0.24
"""A pass keeps pairs down to SLACK ÷ √d (at most 3 %) below the price: they may matter after the
next step. (Scores of d terms spread by about √(2/d) of their mean.)"""


def solve(
    problem: Problem,
    method: FrankWolfe | None = None,
    watch: Callable[[PassReport], None] = lambda report: None,
    *,
    resume: Checkpoint | None = None,
    keep: Callable[[Checkpoint], None] = lambda checkpoint: None,
) -> Solution:
    """The certified batch.

    Deterministic: the same problem gives the same batch, byte for byte, on any number of threads,
    by any kernel, and when it was killed and goes on from a checkpoint. Ctrl-C ends it with the
    best batch so far, once there is one.

    Args:
        watch: told of every pass; keep: given a checkpoint after every pass but the last.
        resume: an earlier checkpoint of the same problem and method.
    """
    with threadpool_limits(1):
        work = _Solve(problem, method or FrankWolfe(), watch, keep)
        if resume is not None:
            work.restore(resume)
        found = work.run()
        try:
            return work.checked(found)
        except KeyboardInterrupt:
            return replace(found, interrupted=True)


class _Solve:
    """The state of one solve."""

    def __init__(
        self,
        problem: Problem,
        method: FrankWolfe,
        watch: Callable[[PassReport], None],
        keep: Callable[[Checkpoint], None] = lambda checkpoint: None,
    ) -> None:
        self.problem, self.method, self.watch, self.keep = problem, method, watch, keep
        limits = problem.limits
        self.sweep = Sweep(problem.space, problem.weights, limits, method.kernel, method.threads)
        self.heaps = 1 if limits.groups is None else len(limits.groups.names) + 1
        self.started = time.perf_counter()
        self.reports: list[PassReport] = []
        self.bound = -np.inf
        self.batch = np.empty(0, np.int64)
        self.batch_value = np.inf
        self.mix: Mix | None = None
        self.known: Known | None = None
        self.factor: np.ndarray | None = None
        small = 16.0 * problem.labels * problem.space.dim <= ROOMY
        self.room = (2.0 if small else 1.5) if limits.laminar else 4.0

    def run(self) -> Solution:
        interrupted = False
        try:
            while len(self.reports) < self.method.passes and not self._done():
                self._round()
        except KeyboardInterrupt:
            if not self.reports:
                raise
            interrupted = True
        return self._finish(interrupted)

    def restore(self, old: Checkpoint) -> None:
        """Stand where that checkpoint was made."""
        candidates = self._candidates(old.keys)
        self.mix = Mix.of(self.problem, candidates, list(old.counts), old.shares)
        self.bound, self.reports, self.room = old.bound, list(old.reports), old.room
        self.known, self.factor = Known(old.tops, old.longest), old.factor
        self.batch, self.batch_value = old.batch, old.reports[-1].batch
        self.started -= old.reports[-1].seconds

    def _round(self) -> None:
        """A pass, and what follows from it."""
        m, floors = self._look()
        best = self._pass(m, floors)
        if self.mix is None:
            m, best = self._begin(m, best)
        else:
            keys = self._keys(best)
            self.mix = self.mix.moved(lambda: self._candidates(keys))
        assert self.mix is not None
        first = m is not self.mix.m
        close = self._inner(self._tighten(m, best), first)
        self.mix.improve(self.method.inner, close)
        self._seed(close)
        self._offer()
        self._report(best)
        if not self._done():
            self.keep(self._checkpoint())

    def _begin(self, m: Matrix, best: Best) -> tuple[Matrix, Best]:
        """The first mixture. Where the pairs kept leave a direction without labels (and there is no
        prior), passes near its M find pairs that do not: the last one's M, and what it kept."""
        p, keys = self.problem, self._keys(best)
        self.mix = Mix.start(p, self._candidates(keys), m)
        for share in TOWARDS:
            if value_or_infinity(p.criterion, self.mix.m) < np.inf:
                break
            m = (1.0 - share) * self.mix.m + share * m
            best = self._pass(m, np.zeros(self.heaps))
            keys = np.union1d(keys, self._keys(best))
            self.mix = Mix.start(p, self._candidates(keys), m)
        return m, best

    def _seed(self, close: float) -> None:
        """Where the pairs kept are worse than equal shares of all (many are nearly equal, say, and
        all kept are of one kind), random batches are mixed in: after the first pass, for f only
        falls."""
        assert self.mix is not None
        p = self.problem
        if self.reports or value_or_infinity(p.criterion, self.mix.m) <= self.even:
            return
        batches = [np.sort(p.space.keys(pairs)) for pairs in random_batches(p, SEEDS, 1)]
        keys = np.unique(np.concatenate([self.mix.candidates.every, *batches]))
        self.mix = self.mix.moved(lambda: self._candidates(keys))
        for batch in batches:
            self.mix.add(self.mix.candidates.counts(batch).astype(np.float64))
        self.mix.improve(self.method.inner, close)

    @cached_property
    def even(self) -> float:
        """f where every pair has an equal share, limits or not."""
        return value_or_infinity(self.problem.criterion, first_matrix(self.problem))

    def _look(self) -> tuple[Matrix, np.ndarray]:
        """Where to take the scores, and below what they cannot matter."""
        if self.mix is not None:
            prices = self.mix.vertex().prices
            return self.mix.m, np.resize(prices, self.heaps) * (1.0 - _slack(self.problem))
        part = sampled(self.problem)
        if part is None:
            return first_matrix(self.problem), np.zeros(self.heaps)
        return _begin_on(self.problem, part, self.method)

    def _pass(self, m: Matrix, floors: np.ndarray) -> Best:
        factor = self.problem.criterion.score_factor(m)
        if self.known is not None and self.factor is not None:
            old = self.factor
            self.known = self.known.grown(growth(factor @ factor.T, old @ old.T))
        keep, most = self._keep_at_most(), self.problem.space.candidates
        while True:
            some = np.minimum(keep, most)
            best = self.sweep(factor, some, floors, self.known, self._spend())
            enough = best.ceiling == 0.0 or not self._short(best)
            self.known, self.factor = best.known, factor
            if enough:
                return best
            keep, floors = 4 * keep, np.zeros(self.heaps)

    def _keep_at_most(self) -> Int64[np.ndarray, " heaps"]:
        """Candidates to keep, by heap: the linear programme needs n of them, the next steps a few
        more."""
        problem = self.problem
        room = self.room * problem.labels
        _, high = problem.limits.group_bounds(problem.budget)
        share = np.append(high / problem.budget, 1.0)
        return np.ceil(share * room + 16 * problem.space.dim).astype(np.int64)

    def _spend(self) -> Float[np.ndarray, " heaps"]:
        """What the labels of a heap's pairs may cost together; where copies of a pair are not
        interchangeable, more, for some of those kept may have no room."""
        problem = self.problem
        _, high = problem.limits.group_bounds(problem.budget)
        times = 1.0 if problem.limits.interchangeable else self.room
        return np.append(high, problem.budget) * times

    def _short(self, best: Best) -> bool:
        """Whether what was kept cannot fill the budget."""
        p = self.problem
        candidates = Candidates.of(p.space, p.weights, p.limits, self._keys(best), bare=True)
        return best_counts(candidates, np.ones(len(candidates)), p.budget, p.limits).short > 0.0

    def _keys(self, best: Best) -> np.ndarray:
        """What was kept, what the design uses, and what must be picked."""
        space, must = self.problem.space, self.problem.limits.must
        used = np.empty(0, np.int64) if self.mix is None else self.mix.used
        return np.unique(np.concatenate([space.keys(best.pairs), used, space.keys(must)]))

    def _candidates(self, keys: np.ndarray) -> Candidates:
        p = self.problem
        some = Candidates.of(p.space, p.weights, p.limits, keys, self.method.threads)
        return some.by_kind() if p.limits.interchangeable else some

    def _tighten(self, m: Matrix, best: Best) -> float:
        """The lower bound from the scores at `m`; and the gap of a design with that matrix."""
        assert self.mix is not None
        assert self.factor is not None
        p, factor = self.problem, self.factor
        vertex = best_counts(
            self.mix.candidates, self.mix.candidates.scores(factor), p.budget, p.limits
        )
        outside = vertex.outside(best.ceilings, p.budget, p.limits)
        self.bound = max(self.bound, lower_bound(p, m, factor, vertex.bound + outside))
        if outside > 1e-3 * self.method.tolerance * vertex.bound:
            self.room *= 2.0  # what was not kept may matter: keep more of it next time
        held = float(np.sum(factor * ((m - p.base) @ factor)))
        unit = unit_of(p.criterion, p.criterion.value(m), p.space.dim)
        return (vertex.bound + outside - held) / unit

    def _inner(self, gap: float, first: bool) -> float:
        """The gap to close the candidates' to; `gap` is what the pass found at its M. On the first
        pass that is where the solve begins, not the mixture: it counts for 1 at most.

        Steps are dear or not by operations, float64 ones double, beside those of a pass that reads
        all prompts. Later ones may read fewer, but how many, kernels differ in; batches must not.
        """
        assert self.mix is not None
        d, sizes = self.problem.space.dim, self.problem.space.sizes
        step = 4.0 * len(self.mix.candidates) * d**2 + 100.0 * d**3
        dear = step > max(DEAR * 2.0 * float(sizes[sizes >= 2].sum()) * d**2, INSTANT)
        least = 0.1 * self.method.tolerance
        if not dear or not np.isfinite(gap):
            return least
        return max(INNER * (min(gap, 1.0) if first else gap), least)

    def _offer(self) -> None:
        """Whole batches near the design; the best so far is kept."""
        assert self.mix is not None
        p, c = self.problem, self.mix.candidates
        scores = c.scores(p.criterion.score_factor(self.mix.m))
        found: Int64[np.ndarray, " n"] | None = None
        for counts in roundings(c, self.mix.counts, scores, p.budget, p.limits):
            if Ledger.of(c, counts, p.budget, p.limits).missing() is None:
                found = counts
                self._consider(c, counts)
        if len(self.batch):
            return
        if found is None:
            found = whole_counts(c, scores, p.budget, p.limits)
            if found is None:
                raise out_of_reach(p, c, scores, self.mix.counts)
            self._consider(c, found)
        if (
            len(self.batch) == 0
        ):  # it leaves a direction without labels: exchange as if it had a few
            base, most = p.base + A_FEW * self.mix.m, p.space.dim + 64
            some = (c, found, base, p.criterion, p.budget, p.limits)
            self._consider(c, exchange(*some, swaps=most, goal=-np.inf))

    def _consider(self, c: Candidates, counts: np.ndarray) -> None:
        m = self.problem.base + c.information(counts.astype(np.float64))
        value = value_or_infinity(self.problem.criterion, m)
        if value < self.batch_value:
            self.batch_value, self.batch = value, c.labels(counts)

    def _report(self, best: Best) -> None:
        assert self.mix is not None
        p, prompts = self.problem, np.count_nonzero(self.problem.space.sizes >= 2)
        report = PassReport(
            len(self.reports) + 1,
            p.criterion.value(self.mix.m),
            self.batch_value,
            float(self.bound),
            p.criterion.certificate(self.batch_value, float(self.bound), p.space.dim),
            best.visited / max(int(prompts), 1),
            time.perf_counter() - self.started,
        )
        self.reports.append(report)
        self.watch(report)

    def _done(self) -> bool:
        if not self.reports:
            return False
        last = self.reports[-1]
        if last.batch == np.inf:
            return False
        unit = unit_of(self.problem.criterion, last.relaxed, self.problem.space.dim)
        gap = last.relaxed - last.bound
        integrality = self.method.integrality * (last.batch - last.bound)
        # A batch may be far from its bound because the design is: that is not integrality.
        near = gap <= max(0.25 * self.method.tolerance * unit, min(integrality, CLOSE * unit))
        return last.batch <= self._goal() or near

    def _goal(self) -> float:
        return goal_of(self.problem, self.method, float(self.bound))

    def _checkpoint(self) -> Checkpoint:
        assert self.mix is not None
        assert self.known is not None
        assert self.factor is not None
        some = (self.mix, self.batch, self.factor, self.known, float(self.bound), self.room)
        return Checkpoint.of(*some, tuple(self.reports))

    def _finish(self, interrupted: bool) -> Solution:
        assert self.mix is not None
        p, c = self.problem, self.mix.candidates
        if len(self.batch) == 0:
            raise singular(p, len(c))
        if not interrupted and self.method.swaps and self.batch_value > self._goal():
            try:
                self._exchange()
            except KeyboardInterrupt:
                interrupted = True
        keys = self.batch
        c = c if np.isin(keys, c.every).all() else self._candidates(np.unique(keys))
        bound, reports = float(self.bound), tuple(self.reports)
        return Solution.of(p, c, keys, self.mix.m, bound, reports, interrupted=interrupted)

    def checked(self, found: Solution) -> Solution:
        """The solution, or a random batch, bettered, where the mean of random ones is better."""
        problem = self.problem

        def better(pairs: Rows) -> Int64[np.ndarray, "bettered 2"]:
            if not self.method.swaps:
                return pairs
            self.batch, self.batch_value = np.sort(problem.space.keys(pairs)), np.inf
            self._exchange()
            return problem.space.from_keys(self.batch)

        pairs, versus = no_worse_than_random(problem, found.pairs, found.value, better)
        if versus is None or not versus.replaced:
            return replace(found, versus=versus)
        assert self.mix is not None
        keys = np.sort(problem.space.keys(pairs))
        some = (self._candidates(np.unique(keys)), keys, self.mix.m, found.bound, found.reports)
        other = Solution.of(problem, *some, interrupted=found.interrupted)
        return replace(other, versus=versus)

    def _exchange(self) -> None:
        """Better the best batch by exchange steps among the candidates, and some more after
        kicks."""
        assert self.mix is not None
        p, c = self.problem, self.mix.candidates
        every = p.space.all_pairs
        if every <= FEW:  # a batch of a few labels may need a pair that no relaxed design would use
            pairs = p.space.unrank(np.arange(every))
            c = self._candidates(np.sort(p.space.keys(pairs[p.space.not_excluded(pairs)])))
        elif not np.isin(self.batch, c.every).all():
            c = self._candidates(np.union1d(c.every, self.batch))
        polish(p, self.method, c, c.counts(self.batch), float(self.bound), self._consider)


def solve_among(
    problem: Problem,
    pairs: Int64[np.ndarray, "candidates 2"],
    *,
    inner: int = 40,
    tolerance: float = 1e-3,
) -> Int64[np.ndarray, "batch 2"]:
    """A good batch out of these candidates, however many others there are: no pass, no bound.

    Args:
        pairs: distinct candidates that can fill the budget, in any order.
    """
    with threadpool_limits(1):
        work = _Solve(problem, FrankWolfe(), lambda report: None)
        keys = np.union1d(problem.space.keys(pairs), problem.space.keys(problem.limits.must))
        candidates = work._candidates(keys)
        even = candidates.counts(keys) * (problem.labels / len(keys))
        mean = candidates.information(even)
        work.mix = Mix.start(problem, candidates, problem.base + mean)
        work.mix.improve(inner, 0.1 * tolerance)
        work._offer()
        if len(work.batch) == 0:
            raise singular(problem, len(keys))
        if work.batch_value > value_or_infinity(problem.criterion, problem.base + mean):
            best = candidates.counts(work.batch)
            mend(problem, candidates, work.mix.counts, work.mix.m, best, tolerance, work._consider)
        return problem.space.from_keys(work.batch)


def _slack(problem: Problem) -> float:
    return float(min(SLACK / np.sqrt(problem.space.dim), 0.03))


def _begin_on(problem: Problem, part: Problem, method: FrankWolfe) -> tuple[Matrix, np.ndarray]:
    """The matrix and the prices of a part of the problem, scaled to all of it."""
    quick = replace(method, passes=3, tolerance=1e-2, swaps=0)
    work = _Solve(part, quick, lambda report: None)
    work.run()
    assert work.mix is not None
    m = work.mix.m * (problem.budget / part.budget)
    c = work.mix.candidates
    vertex = best_counts(
        c, c.scores(problem.criterion.score_factor(m)), part.budget, problem.limits
    )
    return m, vertex.prices * (1.0 - 3.0 * _slack(problem))
