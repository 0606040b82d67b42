"""The arithmetic of a pass over one block of prompts, in float32, and a bound on its rounding.

A kernel maps completions, h = φ L, takes each prompt's Gram matrix and says which pairs may reach a
floor: ‖h_i − h_j‖² is known to within the bound of `Rounding`, so nothing that reaches the floor
exactly is missed, whatever the kernel, the BLAS or the number of threads. What it lets through is
scored again in float64 (`whichpairs.design.sweep.sweep`). `engine.kernels.torch` and
`engine.kernels.tiles` are the same in torch and in C.

Source of the bound: Higham, "Accuracy and Stability of Numerical Algorithms" (2002), ch. 3.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Int64, Shaped

UNIT = 2.0**-24
"""Unit roundoff of float32."""

TINY = 2.0**-126
"""What is below may become 0 in float32."""

SAFE = 1.0 + 4.0 * UNIT
"""Covers a product in float32."""


@dataclass(frozen=True)
class Block:
    """Some prompts' completions, one after another.

    Args:
        phi: φ as stored, (rows, d).
        starts: prompt p owns rows ``starts[p]:starts[p + 1]`` of the block.
        floors: what a pair of each prompt must reach, score ÷ cost, (prompts,).
        costs: cost of each completion, or None where every pair costs 1.
        longest: no |φ| of the block is above; None where that is not known yet.
    """

    phi: Shaped[np.ndarray, "rows d"]
    starts: Int64[np.ndarray, " prompts_plus_one"]
    floors: Float[np.ndarray, " prompts"]
    costs: Float[np.ndarray, " rows"] | None = None
    longest: float | None = None

    def same_size(self) -> Iterator[tuple[Int64[np.ndarray, " some"], int]]:
        """Prompts grouped by size: their numbers in the block, and the size (2 or more)."""
        sizes = np.diff(self.starts)
        for size in np.unique(sizes[sizes >= 2]):
            yield np.flatnonzero(sizes == size), int(size)

    def pair_costs(
        self, rows: Int64[np.ndarray, "some m"]
    ) -> Float32[np.ndarray, "some m m"] | None:
        """c_i + c_j of all pairs of each prompt's rows."""
        if self.costs is None:
            return None
        c = self.costs[rows].astype(np.float32)
        return np.asarray(c[:, :, None] + c[:, None, :])


@dataclass(frozen=True)
class Survivors:
    """What may reach the floor.

    Attributes:
        i, j: rows of the block, i < j.
        tops: no pair of the prompt has a score ÷ cost above this, (prompts,).
        longest: no |φ| of the block is above, but for what underflow took (`Error.root_lost`).
    """

    i: Int64[np.ndarray, " pairs"]
    j: Int64[np.ndarray, " pairs"]
    tops: Float32[np.ndarray, " prompts"]
    longest: float


@runtime_checkable
class Mapped(Protocol):
    """A kernel with its factor in place."""

    def scan(self, block: Block) -> Survivors:
        """The pairs of the block that may have ‖Lᵀ z‖² ≥ floor · cost."""


@runtime_checkable
class Kernel(Protocol):
    """How the arithmetic of a pass is done."""

    @property
    def name(self) -> str:
        """What does it."""

    def mapped(self, factor: Float[np.ndarray, "d r"]) -> AbstractContextManager[Mapped]:
        """Ready to scan with L = `factor`."""


@dataclass(frozen=True)
class Rounding:
    """True distances from those seen: √true ≤ √(seen + `gram`) + `shift`, for all pairs of a block.

    Args:
        gram: bound on the error of n_i + n_j − 2 g_ij; shift: of |h_i| + |h_j|, in the 2-norm.
    """

    gram: float
    shift: float

    def least(self, floors: Float[np.ndarray, " prompts"]) -> Float32[np.ndarray, " prompts"]:
        """What a float32 distance shows at least where the true one reaches the floor."""
        root = np.maximum(np.sqrt(np.maximum(floors, 0.0)) - self.shift, 0.0)
        return np.nextafter((root**2 - self.gram).astype(np.float32), np.float32(-np.inf))

    def most(self, seen: Float32[np.ndarray, "*n"]) -> Float32[np.ndarray, "*n"]:
        """What the true distance is at most where float32 shows `seen`."""
        true = (np.sqrt(np.maximum(seen, 0.0, dtype=np.float64) + self.gram) + self.shift) ** 2
        return np.nextafter(true.astype(np.float32), np.float32(np.inf))


@dataclass(frozen=True)
class Arithmetic:
    """How exactly a kernel computes.

    Args:
        norm: |L| (Frobenius); terms: max(d, r), the longest sum.
        unit: relative rounding of stored φ and h, beside float32's (bf16: 2⁻⁸).
        spectral: |L| (2-norm), where φ is stored; weighted: h may be off by that share of
            (Σ_k (φ_k |L_k|)²)^½ for what is stored of φ and L, L_k being a row of L.
    """

    norm: float
    terms: int
    unit: float = 0.0
    spectral: float = 0.0
    weighted: float = 0.0

    @property
    def error(self) -> "Error":
        """What its rounding errors grow with."""
        gamma = (self.terms + 8) * UNIT / (1.0 - (self.terms + 8) * UNIT)
        lost = self.terms * TINY  # of one sum, where products underflow
        root_lost = 2.0 * lost**0.5
        return Error(
            root_lost=root_lost,
            stored=self.unit,
            weighted=(1.0 + gamma) * self.weighted,
            flushed=self.unit * self.spectral * root_lost,
            gram=4.0 * gamma,
            gram_lost=16.0 * lost,  # four sums, whose own small terms may be flushed to 0 too
            map=gamma * self.norm,
            map_lost=self.terms * lost,
            shift=2.0 * (1.0 + gamma),
        )

    def rounding(self, phi: float, h: float, weighted: float = 0.0) -> Rounding:
        """For prompts whose longest |φ|, |h| and (Σ_k (φ_k |L_k|)²)^½ are these, as float32 shows
        them."""
        return self.error.rounding(phi, h, weighted)


class Error(NamedTuple):
    """The numbers from which `Rounding` is made; `engine/kernels/tiles.c` has the same in C.

    Attributes:
        root_lost: what underflow takes from lengths; stored: error of h as stored, a unit of |h|;
            weighted: of φ and L as stored, a unit of the weighted length; flushed: where φ is
            flushed to 0; gram, gram_lost: of n_i + n_j − 2 g_ij, by reach² and at least; map,
            map_lost: of h, by |φ|; shift: times the stored error.
    """

    root_lost: float
    stored: float
    weighted: float
    flushed: float
    gram: float
    gram_lost: float
    map: float
    map_lost: float
    shift: float

    def rounding(self, phi: float, h: float, weighted: float) -> Rounding:
        """For prompts whose longest |φ|, |h| and weighted length are these, as float32 shows
        them."""
        phi, h, weighted = (length + self.root_lost for length in (phi, h, weighted))
        stored = self.weighted * weighted + self.flushed + self.stored * h
        reach = h + 2.0 * stored
        map_error = self.map * phi + self.map_lost * (2.0 + phi)
        gram = self.gram * reach**2 + self.gram_lost
        return Rounding(gram, 2.0 * map_error + self.shift * stored)


@dataclass(frozen=True)
class NumpyKernel:
    """The kernel in NumPy, on one thread."""

    name: str = "numpy"

    def mapped(self, factor: Float[np.ndarray, "d r"]) -> AbstractContextManager[Mapped]:
        """Ready to scan with L = `factor`."""
        how = Arithmetic(float(np.linalg.norm(factor)), max(factor.shape))
        return nullcontext(_NumpyMapped(np.ascontiguousarray(factor, dtype=np.float32), how))


@dataclass(frozen=True)
class _NumpyMapped:
    factor: np.ndarray
    how: Arithmetic

    def scan(self, block: Block) -> Survivors:
        phi = np.asarray(block.phi, dtype=np.float32)
        h = phi @ self.factor
        found = Found.of(block, self.how)
        if block.longest is None:
            found.longest = float(np.einsum("ij,ij->i", phi, phi).max(initial=0.0)) ** 0.5
        for prompts, m in block.same_size():
            rows = block.starts[prompts][:, None] + np.arange(m)
            local = h[rows]
            seen = np.matmul(local, local.transpose(0, 2, 1))
            n = np.ascontiguousarray(np.diagonal(seen, axis1=1, axis2=2))
            seen -= np.float32(0.5) * n[:, None, :]
            seen -= np.float32(0.5) * n[:, :, None]
            least = seen.reshape(len(prompts), -1).min(axis=1)
            found.add(prompts, rows, least, float(n.max()), seen)
        return found.done()


@dataclass
class Found:
    """Survivors of a block, slice by slice.

    Args:
        block: what is scanned; how: the kernel's arithmetic; longest: no |φ| of it is above, and
            weighted: no weighted length.
    """

    block: Block
    how: Arithmetic
    longest: float
    least: Float32[np.ndarray, " prompts"]
    square: float = 0.0
    weighted: float = 0.0
    i: list[np.ndarray] = field(default_factory=list)
    j: list[np.ndarray] = field(default_factory=list)

    @classmethod
    def of(cls, block: Block, how: Arithmetic) -> "Found":
        """Nothing yet."""
        least = np.zeros(len(block.floors), np.float32)
        return cls(block, how, block.longest or 0.0, least)

    def add(
        self,
        prompts: Int64[np.ndarray, " some"],
        rows: Int64[np.ndarray, "some m"],
        least: Float32[np.ndarray, " some"],
        square: float,
        seen: Float32[np.ndarray, "some m m"],
    ) -> None:
        """Prompts of one size, with all g_ij − n_i/2 − n_j/2 = −½ ‖h_i − h_j‖² in float32.

        Args:
            least: the least of each prompt; square: the largest n.
        """
        self.square = max(self.square, square)
        if self.block.costs is not None:
            self._add_costly(prompts, rows, square, seen)
            return
        self.least[prompts] = least
        most = -0.5 * self._rounding(square).least(self.block.floors[prompts])
        live = np.flatnonzero(~(least > most))
        if len(live):
            self._keep(rows[live], ~(seen[live] > most[live][:, None, None]))

    def _add_costly(
        self, prompts: np.ndarray, rows: np.ndarray, square: float, seen: np.ndarray
    ) -> None:
        """The same by score ÷ cost."""
        most = self._rounding(square).most(-2.0 * seen) * np.float32(SAFE)
        costs = self.block.pair_costs(rows)
        assert costs is not None
        ratio = most / costs + np.float32(TINY)
        top = ratio.reshape(len(prompts), -1).max(axis=1)
        self.least[prompts] = -0.5 * top
        floors = self.block.floors[prompts] * (1.0 - 4.0 * UNIT)
        live = np.flatnonzero(~(top < floors))
        self._keep(rows[live], ~(ratio[live] < floors[live][:, None, None]))

    def _rounding(self, square: float) -> Rounding:
        return self.how.rounding(self.longest, square**0.5, self.weighted)

    def _keep(self, rows: np.ndarray, close: np.ndarray) -> None:
        m = rows.shape[1]
        close &= _above_diagonal(m)
        prompt, place = np.divmod(np.flatnonzero(close), m * m)
        i, j = np.divmod(place, m)
        self.i.append(rows[prompt, i])
        self.j.append(rows[prompt, j])

    def done(self) -> Survivors:
        """All of them."""
        nothing = [np.empty(0, np.int64)]
        i, j = np.concatenate(self.i or nothing), np.concatenate(self.j or nothing)
        tops = -2.0 * self.least
        if self.block.costs is None:
            tops = self._rounding(self.square).most(tops) * np.float32(SAFE)
        return Survivors(i, j, tops, self.longest)


@lru_cache(maxsize=64)
def _above_diagonal(m: int) -> np.ndarray:
    return np.triu(np.ones((m, m), dtype=bool), 1)
