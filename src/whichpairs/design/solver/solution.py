"""What a solve is told, and what it tells: the method, a pass's report, a checkpoint, the solution.

What `solver` does and what others keep on disk or show of it meet in these records.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int64

from whichpairs.design.batches.candidates import Candidates
from whichpairs.design.batches.versus_random import VersusRandom
from whichpairs.design.problem.criterion import Matrix
from whichpairs.design.problem.problem import Problem
from whichpairs.design.problem.space import Rows
from whichpairs.design.solver.mixture import Mix
from whichpairs.design.sweep.kernel import Kernel, NumpyKernel
from whichpairs.design.sweep.sweep import Known


@dataclass(frozen=True)
class FrankWolfe:
    """The method and its limits.

    Args:
        passes: passes over all pairs, at most.
        tolerance: stop when the batch is certified to this share of the best, or the relaxed design
            to a quarter of it (what is left is integrality).
        integrality: stop also when the relaxed design's gap is at most this share of the batch's:
            more passes would not help the batch, though they would the relaxed design.
        inner: linear programmes between passes, at most, on the kept candidates.
        swaps: exchange steps on the final batch, at most (they matter when n is not ≫ d).
        kicks: times that a batch still far from its bound is disturbed and improved again.
        threads: workers; the result does not depend on it.
        kernel: the float32 arithmetic of a pass; the result does not depend on it.
    """

    passes: int = 15
    tolerance: float = 1e-3
    integrality: float = 0.01
    inner: int = 40
    swaps: int = 2000
    kicks: int = 12
    threads: int = 1
    kernel: Kernel = field(default_factory=NumpyKernel)


@dataclass(frozen=True)
class PassReport:
    """Where the solve stands after a pass: f of the relaxed design and of the best batch so far,
    the best lower bound, the batch's certificate (None where the bound says nothing), the share of
    prompts that the pass read, seconds since the start."""

    number: int
    relaxed: float
    batch: float
    bound: float
    certificate: float | None
    read: float
    seconds: float


@dataclass(frozen=True)
class Checkpoint:
    """Where a solve stood after a pass: all it takes to go on to the same batch.

    Attributes:
        keys: of all pairs that candidates stand for; counts: of the mixed vertices, (vertices,
            candidates); shares: α.
        batch: keys of the best batch, one a label; factor: L of the last pass.
        tops, longest: `scores.Known`; bound, reports: so far; room: candidates kept, ÷ labels.
    """

    keys: Int64[np.ndarray, " pairs"]
    counts: Float[np.ndarray, "vertices n"]
    shares: Float[np.ndarray, " vertices"]
    batch: Int64[np.ndarray, " labels"]
    factor: Float[np.ndarray, "d r"]
    tops: np.ndarray
    longest: float
    bound: float
    room: float
    reports: tuple[PassReport, ...]

    @classmethod
    def of(
        cls,
        mix: Mix,
        batch: Int64[np.ndarray, " labels"],
        factor: Float[np.ndarray, "d r"],
        known: Known,
        bound: float,
        room: float,
        reports: tuple[PassReport, ...],
    ) -> "Checkpoint":
        """Of a solve with this mixture."""
        keys, counts = mix.candidates.every, np.stack(mix.vertices)
        tops, longest = known.tops, known.longest
        return cls(keys, counts, mix.shares, batch, factor, tops, longest, bound, room, reports)


@dataclass(frozen=True)
class Solution:
    """An integral batch, and how good it is at most and at least.

    Attributes:
        pairs: the batch, by key; a pair stands as often as it is to be labelled.
        value: f of the batch.
        bound: no batch within the limits has f below it.
        certificate: how far the batch is from the best, at most; None where the bound says nothing.
        relaxed: f of the fractional design found.
        reports: one a pass.
        scores: −∂f/∂u_p of the batch's pairs at the design found, in the order of `pairs`.
        interrupted: stopped by the user before it was done.
        versus: the batch beside random ones, and whether one of those took its place; None where no
            random batch could be drawn.
    """

    pairs: Rows
    value: float
    bound: float
    certificate: float | None
    relaxed: float
    reports: tuple[PassReport, ...]
    scores: Float[np.ndarray, " pairs"]
    interrupted: bool = False
    versus: VersusRandom | None = None

    @classmethod
    def of(
        cls,
        problem: Problem,
        candidates: Candidates,
        batch: Int64[np.ndarray, " labels"],
        m: Matrix,
        bound: float,
        reports: tuple[PassReport, ...],
        *,
        interrupted: bool,
    ) -> "Solution":
        """A batch, by its keys among the candidates, beside the relaxed design with information
        `m`."""
        f, places = problem.criterion, candidates.places(batch)
        counts = np.bincount(places, minlength=len(candidates)).astype(np.float64)
        value = f.value(problem.base + candidates.information(counts))
        return cls(
            pairs=problem.space.from_keys(batch),
            value=value,
            bound=bound,
            certificate=f.certificate(value, bound, problem.space.dim),
            relaxed=f.value(m),
            reports=reports,
            scores=candidates.scores(f.score_factor(m))[places],
            interrupted=interrupted,
        )
