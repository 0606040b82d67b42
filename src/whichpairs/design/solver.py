"""The best batch and its certificate: Frank–Wolfe over all pairs (design.md, section 3).

    minimise f(M(u)) over 0 ≤ u_p ≤ 1, Σ_p u_p = n,   M(u) = M₀ + Σ_p u_p w_p z_p z_pᵀ

A pass finds the n best-scoring pairs u⁺. They are the Frank–Wolfe vertex, an integral batch in
themselves, and the certificate: every design, integral ones included, has

    f ≥ f(u) − Σ_p (u⁺_p − u_p) s_p.

Between passes the design is improved on the few candidates that the last pass kept.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int64
from scipy.optimize import brentq
from threadpoolctl import threadpool_limits

from whichpairs.design.belief import PairWeights
from whichpairs.design.criterion import Criterion, Matrix
from whichpairs.design.exchange import exchange
from whichpairs.design.information import random_second_moment
from whichpairs.design.limits import check_budget
from whichpairs.design.scores import Best, best_pairs
from whichpairs.design.space import PairSpace, Rows


@dataclass(frozen=True)
class Problem:
    """Which `budget` pairs of `space` minimise `criterion`?

    Args:
        weights: what a pair's label teaches (w_p).
        base: M₀ = H₀ plus the information of labels already there, d × d.
        budget: pairs to pick, 1 to the number of candidates.
    """

    space: PairSpace
    criterion: Criterion
    weights: PairWeights
    base: Matrix
    budget: int

    def __post_init__(self) -> None:
        check_budget(self.budget, self.space.candidates)


@dataclass(frozen=True)
class PassReport:
    """Where the solve stands after a pass: f of the relaxed design and of the best batch so far,
    the best lower bound, seconds since the start."""

    number: int
    relaxed: float
    batch: float
    bound: float
    seconds: float

    @property
    def certificate(self) -> float | None:
        """How far the batch is from the bound, as a share of it; None where the bound says nothing."""
        return self.batch / self.bound - 1.0 if self.bound > 0 else None


@dataclass(frozen=True)
class FrankWolfe:
    """The method and its limits.

    Args:
        passes: passes over all pairs, at most.
        tolerance: stop when the relaxed design is certified to this share of the bound.
        inner: improvement steps between passes, on the kept candidates.
        swaps: exchange steps on the final batch, at most (they matter when n is not ≫ d).
        threads: workers of a pass; the result does not depend on it.
    """

    passes: int = 15
    tolerance: float = 1e-3
    inner: int = 60
    swaps: int = 2000
    threads: int = 1


@dataclass(frozen=True)
class Solution:
    """An integral batch, and how good it is at most and at least.

    Attributes:
        pairs: the batch, by key.
        value: f of the batch.
        bound: no batch of this size has f below it.
        relaxed: f of the fractional design found.
        reports: one a pass.
        scores: −∂f/∂u_p of the batch's pairs at the last pass, in the order of `pairs`.
    """

    pairs: Rows
    value: float
    bound: float
    relaxed: float
    reports: tuple[PassReport, ...]
    scores: Float[np.ndarray, " pairs"]


@dataclass
class _Design:
    """A fractional design on a working set of pairs, with its information matrix."""

    keys: np.ndarray
    z: np.ndarray  # √w_p z_p, so that a pair's information is z zᵀ
    u: np.ndarray
    m: np.ndarray
    base: np.ndarray = field(repr=False)

    def move(self, vertex: np.ndarray, to: np.ndarray, step: float) -> None:
        """u ← (1 − γ) u + γ u⁺, and M with it."""
        self.u *= 1.0 - step
        self.u[vertex] += step
        self.m = (1.0 - step) * self.m + step * to

    def matrix(self, members: np.ndarray) -> np.ndarray:
        """M of the integral design on these members of the working set."""
        return np.asarray(self.base + self.z[members].T @ self.z[members])


def solve(
    problem: Problem,
    method: FrankWolfe | None = None,
    watch: Callable[[PassReport], None] = lambda report: None,
) -> Solution:
    """The certified batch.

    Deterministic: the same problem gives the same batch, byte for byte, on any number of threads.
    """
    with threadpool_limits(1):
        return _Solve(problem, method or FrankWolfe(), watch).run()


class _Solve:
    """The state of one solve."""

    def __init__(
        self, problem: Problem, method: FrankWolfe, watch: Callable[[PassReport], None]
    ) -> None:
        self.problem, self.method, self.watch = problem, method, watch
        self.started = time.perf_counter()
        self.reports: list[PassReport] = []
        self.bound = -np.inf
        self.batch_value, self.batch_keys = np.inf, np.empty(0, np.int64)
        self.design: _Design | None = None

    def run(self) -> Solution:
        factor = self.problem.criterion.score_factor(self._first_matrix())
        for number in range(1, self.method.passes + 1):
            best = self._pass(factor)
            if self.design is None:
                self.design = self._begin(best)
            else:
                self._tighten(best)
                self._widen(best)
            self._improve()
            self._offer_rounded()
            relaxed = self.problem.criterion.value(self.design.m)
            self._report(number, relaxed)
            if number > 1 and relaxed - self.bound <= self.method.tolerance * abs(self.bound):
                break
            factor = self.problem.criterion.score_factor(self.design.m)
        return self._finish()

    def _first_matrix(self) -> np.ndarray:
        """M where every candidate has an equal share: a well-conditioned place to begin."""
        space, weights = self.problem.space, self.problem.weights
        mean = random_second_moment(space) * (weights.beta**2 / 4.0)
        return np.asarray(self.problem.base + self.problem.budget * mean)

    def _pass(self, factor: np.ndarray) -> Best:
        n, d = self.problem.budget, self.problem.space.dim
        keep = min(2 * n + 16 * d, self.problem.space.candidates)
        threads = self.method.threads
        return best_pairs(self.problem.space, factor, self.problem.weights, keep, threads)

    def _gather(self, keys: np.ndarray) -> np.ndarray:
        pairs = self.problem.space.from_keys(keys)
        z = self.problem.space.differences(pairs)
        return np.asarray(z * np.sqrt(self.problem.weights(z))[:, None])

    def _begin(self, best: Best) -> _Design:
        keys = np.sort(self.problem.space.keys(best.pairs))
        z, base = self._gather(keys), self.problem.base
        design = _Design(keys, z, np.zeros(len(keys)), base, base)
        vertex = np.searchsorted(keys, self.problem.space.keys(best.pairs[: self.problem.budget]))
        design.u[vertex] = 1.0
        design.m = design.matrix(vertex)
        self._offer(design, vertex)
        return design

    def _tighten(self, best: Best) -> None:
        """The Frank–Wolfe lower bound at the design whose scores `best` holds."""
        assert self.design is not None
        top = np.maximum(best.scores[: self.problem.budget], best.ceiling).sum()
        criterion, design = self.problem.criterion, self.design
        factor = criterion.score_factor(design.m)
        held = float(np.einsum("ir,ij,jr->", factor, design.m - self.problem.base, factor))
        self.bound = max(self.bound, criterion.value(design.m) - (float(top) - held))

    def _widen(self, best: Best) -> None:
        """The working set becomes the design's support and what the pass kept."""
        assert self.design is not None
        old = self.design
        support = old.keys[old.u > 0.0]
        keys = np.union1d(support, self.problem.space.keys(best.pairs))
        u = np.zeros(len(keys))
        u[np.searchsorted(keys, support)] = old.u[old.u > 0.0]
        self.design = _Design(keys, self._gather(keys), u, old.m, old.base)
        at = np.searchsorted(keys, self.problem.space.keys(best.pairs[: self.problem.budget]))
        self._offer(self.design, np.sort(at))

    def _improve(self) -> None:
        assert self.design is not None
        problem, method = self.problem, self.method
        _improve(self.design, problem.criterion, problem.budget, method.inner, method.tolerance)

    def _offer_rounded(self) -> None:
        """The batch of the n largest counts, ties by score."""
        assert self.design is not None
        for members in _roundings(self.design, self.problem.criterion, self.problem.budget):
            self._offer(self.design, members)

    def _offer(self, design: _Design, members: np.ndarray) -> None:
        value = self.problem.criterion.value(design.matrix(members))
        if value < self.batch_value:
            self.batch_value, self.batch_keys = value, design.keys[members]

    def _report(self, number: int, relaxed: float) -> None:
        seconds = time.perf_counter() - self.started
        report = PassReport(number, relaxed, self.batch_value, float(self.bound), seconds)
        self.reports.append(report)
        self.watch(report)

    def _finish(self) -> Solution:
        assert self.design is not None
        design = self.design
        members = exchange(
            design.z,
            np.searchsorted(design.keys, self.batch_keys),
            self.problem.base,
            self.problem.criterion,
            swaps=self.method.swaps,
            goal=self.bound + self.method.tolerance * abs(self.bound),
        )
        self._offer(design, members)
        keys = np.sort(self.batch_keys)
        h = design.z[np.searchsorted(design.keys, keys)]
        h = h @ self.problem.criterion.score_factor(design.m)
        return Solution(
            pairs=self.problem.space.from_keys(keys),
            value=self.batch_value,
            bound=float(self.bound),
            relaxed=self.problem.criterion.value(design.m),
            reports=tuple(self.reports),
            scores=np.einsum("ij,ij->i", h, h),
        )


def solve_among(
    problem: Problem,
    pairs: Int64[np.ndarray, "candidates 2"],
    *,
    inner: int = 60,
    tolerance: float = 1e-3,
) -> Int64[np.ndarray, "batch 2"]:
    """A good batch out of these candidates, however many others there are: no pass, no bound.

    Args:
        pairs: distinct candidates, at least the budget, in any order.
    """
    keys = np.sort(problem.space.keys(pairs))
    z = problem.space.differences(problem.space.from_keys(keys))
    z *= np.sqrt(problem.weights(z))[:, None]
    design = _Design(
        keys, z, np.full(len(keys), problem.budget / len(keys)), problem.base, problem.base
    )
    with threadpool_limits(1):
        design.m = problem.base + (problem.budget / len(keys)) * (z.T @ z)
        _improve(design, problem.criterion, problem.budget, inner, tolerance)
        found = _roundings(design, problem.criterion, problem.budget)
        best = min(found, key=lambda members: problem.criterion.value(design.matrix(members)))
    return problem.space.from_keys(keys[best])


def _step(design: _Design, criterion: Criterion, n: int) -> float:
    """One Frank–Wolfe step on the working set; returns its gap there."""
    scores = _scores(design, criterion)
    vertex = np.sort(np.lexsort((design.keys, -scores))[:n])
    gap = float(scores[vertex].sum() - design.u @ scores)
    if gap <= 0.0:
        return 0.0
    to = design.matrix(vertex)
    design.move(vertex, to, _line_search(criterion.slope_along(design.m, to)))
    return gap


def _improve(design: _Design, criterion: Criterion, n: int, inner: int, tolerance: float) -> None:
    """Steps on the working set until its gap is a tenth of the tolerance."""
    for _ in range(inner):
        if _step(design, criterion, n) <= 0.1 * tolerance * abs(criterion.value(design.m)):
            break
    design.m = design.base + design.z.T @ (design.z * design.u[:, None])


def _roundings(design: _Design, criterion: Criterion, n: int) -> list[np.ndarray]:
    """Two integral batches: the n best scores, and the n largest counts with ties by score."""
    scores = _scores(design, criterion)
    orders = (
        np.lexsort((design.keys, -scores)),
        np.lexsort((design.keys, -scores, -np.round(design.u, 6))),
    )
    return [np.sort(order[:n]) for order in orders]


def _scores(design: _Design, criterion: Criterion) -> np.ndarray:
    h = design.z @ criterion.score_factor(design.m)
    return np.asarray(np.einsum("ij,ij->i", h, h))


def _line_search(slope: Callable[[float], float]) -> float:
    """The minimiser in [0, 1] of a convex function with this derivative."""
    if slope(1.0) <= 0.0:
        return 1.0
    if slope(0.0) >= 0.0:
        return 0.0
    return float(brentq(slope, 0.0, 1.0, xtol=1e-6))
