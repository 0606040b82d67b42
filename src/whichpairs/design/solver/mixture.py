"""A relaxed design as a mixture of vertices, and its improvement on the candidates at hand."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from whichpairs.design.batches.candidates import Candidates
from whichpairs.design.batches.linear_programme import Vertex, best_counts
from whichpairs.design.problem.criterion import Matrix, value_or_infinity
from whichpairs.design.problem.problem import Problem
from whichpairs.design.solver.certificate import unit_of
from whichpairs.design.solver.simplicial import mixture
from whichpairs.errors import UserError

MEMORY = 5e8
"""Bytes that the vertices' matrices may take."""

TOWARDS = (1e-4, 1e-6, 1e-8)
"""How far a singular M is moved towards a regular one before scores are taken: so little that what
has no labels scores above all else."""


@dataclass
class Mix:
    """u = Σ_t α_t u_t on some candidates.

    Attributes:
        vertices: u_t, each feasible; matrices: their information; shares: α; m: M(u).
    """

    problem: Problem
    candidates: Candidates
    vertices: list[np.ndarray]
    matrices: list[np.ndarray]
    shares: Float[np.ndarray, " vertices"]
    m: Matrix

    @classmethod
    def of(
        cls,
        problem: Problem,
        candidates: Candidates,
        vertices: list[np.ndarray],
        shares: Float[np.ndarray, " vertices"],
    ) -> "Mix":
        """The mixture of these."""
        matrices = [candidates.information(counts) for counts in vertices]
        mix = cls(problem, candidates, vertices, matrices, shares, problem.base)
        mix._sum()
        return mix

    @classmethod
    def start(cls, problem: Problem, candidates: Candidates, m: Matrix) -> "Mix":
        """The vertex that the scores at `m` lead to; where that leaves a direction without labels
        (and there is no prior), half of it and half others that fill it, as far as the candidates
        do."""

        def vertex(m: Matrix) -> np.ndarray:
            scores = candidates.scores(problem.criterion.score_factor(m))
            return best_counts(candidates, scores, problem.budget, problem.limits).counts

        first = vertex(m)
        mix = cls.of(problem, candidates, [first], np.ones(1))
        filling: list[np.ndarray] = []
        shares = iter(TOWARDS)
        share = next(shares)
        while value_or_infinity(problem.criterion, mix.m) == np.inf:
            rank = _rank(mix.m)
            try:
                filling.append(vertex((1.0 - share) * mix.m + share * m))
            except UserError:
                return mix
            mean = np.mean(filling, axis=0)
            mix = cls.of(problem, candidates, [first, mean], np.array([0.5, 0.5]))
            if _rank(mix.m) <= rank:
                filling.pop()
                share = next(shares, 0.0)
                if share == 0.0:
                    return mix
        return mix

    @property
    def counts(self) -> Float[np.ndarray, " n"]:
        """u."""
        return np.asarray(self.shares @ np.stack(self.vertices))

    @property
    def used(self) -> Int64[np.ndarray, " some"]:
        """Keys of the pairs with u > 0, and of all that are equal to them."""
        return self.candidates.keys_of(self.counts > 0.0)

    def moved(self, make: Callable[[], Candidates]) -> "Mix":
        """The same mixture on other candidates, the used ones among them. This one is of no use
        afterwards: its candidates are let go before others are made, for both take much memory."""
        kept = np.flatnonzero(self.counts > 0.0)
        keys, parts = self.candidates.keys[kept], [old[kept] for old in self.vertices]
        self.candidates = self.candidates.subset(np.empty(0, np.int64))
        candidates = make()
        places = candidates.places(keys)
        vertices = []
        for part in parts:
            vertices.append(np.zeros(len(candidates)))
            vertices[-1][places] = part
        if not np.array_equal(candidates.keys[places], keys):
            # Other copies stand for the same pairs, in another order: sums must be those that a
            # solve finds which goes on from here (`Checkpoint`).
            return Mix.of(self.problem, candidates, vertices, self.shares)
        return Mix(self.problem, candidates, vertices, self.matrices, self.shares, self.m)

    def vertex(self) -> Vertex:
        """The vertex that the scores at u lead to."""
        p, c = self.problem, self.candidates
        return best_counts(c, c.scores(p.criterion.score_factor(self.m)), p.budget, p.limits)

    def improve(self, steps: int, tolerance: float) -> None:
        """Add vertices, each mixed at once with all, until the gap on the candidates is
        `tolerance`."""
        p = self.problem
        # A gap of δ takes f to about δ².
        precision = float(np.clip(0.1 * tolerance**2, 1e-14, 1e-7))
        for _ in range(steps):
            factor = p.criterion.score_factor(self.m)
            new = best_counts(self.candidates, self.candidates.scores(factor), p.budget, p.limits)
            held = float(np.sum(factor * ((self.m - p.base) @ factor)))
            value = p.criterion.value(self.m)
            if new.bound - held <= tolerance * unit_of(p.criterion, value, len(self.m)):
                return
            self.add(new.counts, precision)
            if p.criterion.value(self.m) >= value * (1.0 - np.sign(value) * 1e-12):
                return

    def add(self, counts: Float[np.ndarray, " n"], precision: float = 1e-7) -> None:
        """Mix in one more vertex, which must be feasible."""
        self._make_room()
        self.vertices.append(counts)
        self.matrices.append(self.candidates.information(counts))
        start = np.append(self.shares, 0.0)
        p = self.problem
        self._settle(mixture(p.criterion, p.base, self.matrices, start, precision=precision))

    def _settle(self, shares: np.ndarray) -> None:
        """Drop what has no share; M from the rest."""
        kept = np.flatnonzero(shares > 0.0)
        self.vertices = [self.vertices[t] for t in kept]
        self.matrices = [self.matrices[t] for t in kept]
        self.shares = shares[kept] / shares[kept].sum()
        self._sum()

    def _sum(self) -> None:
        m = self.problem.base.copy()
        for share, matrix in zip(self.shares, self.matrices, strict=True):
            m += share * matrix
        self.m = m

    def _make_room(self) -> None:
        """Where the matrices would take too much memory, two of the smallest shares become one."""
        most = int(np.clip(MEMORY / (8 * len(self.m) ** 2), 8, 48))
        if len(self.vertices) < most:
            return
        s, t = np.sort(np.argsort(self.shares, kind="stable")[:2])
        share = self.shares[s] + self.shares[t]
        self.vertices[s] = (
            self.shares[s] * self.vertices[s] + self.shares[t] * self.vertices[t]
        ) / share
        self.matrices[s] = self.candidates.information(self.vertices[s])
        self.shares = self.shares.copy()  # a checkpoint may hold the old ones
        self.shares[s] = share
        del self.vertices[t], self.matrices[t]
        self.shares = np.delete(self.shares, t)


def _rank(m: Matrix) -> int:
    values = np.linalg.eigvalsh(m)
    return int(np.count_nonzero(values > 1e-12 * max(float(values[-1]), 1e-300)))
