"""The kernel of a pass in torch: the same pairs as `design.sweep.kernel.NumpyKernel`, twice as
fast.

Torch converts float16 with vector instructions and has batched products of small matrices; one
Python thread a block, each with one torch thread. It decides nothing: `design.sweep.sweep` does, in
float64.
"""

import math
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float

from whichpairs.design.sweep.kernel import Arithmetic, Block, Found, Mapped, Survivors
from whichpairs.errors import MissingExtraError

COLUMNS = 64
"""Columns of a triangular factor at a time."""

SLICE_ROWS = 32768
"""Rows at a time: larger ones leave the caches, smaller ones are mostly calls."""


class TorchKernel:
    """The kernel in torch, on the CPU.

    Raises:
        MissingExtraError: torch is not installed.
    """

    name = "torch"

    def __init__(self) -> None:
        try:
            import torch
        except ImportError:
            raise MissingExtraError("torch", "torch") from None
        self.torch: ModuleType = torch
        with warnings.catch_warnings():
            # Said once a process of any read-only array; ours are memory-mapped and only read.
            warnings.simplefilter("ignore")
            fixed = np.zeros(1)
            fixed.flags.writeable = False
            torch.from_numpy(fixed)

    @contextmanager
    def mapped(self, factor: Float[np.ndarray, "d r"]) -> Iterator[Mapped]:
        """Ready to scan with L = `factor`."""
        threads = self.torch.get_num_threads()
        self.torch.set_num_threads(1)  # the threads are those that the blocks run on
        try:
            yield self._mapped(factor)
        finally:
            self.torch.set_num_threads(threads)

    def _mapped(self, factor: np.ndarray) -> "_TorchMapped":
        """In float32, by the triangular factor of the same A where there is one: a third less
        work."""
        lower = _triangular(factor)
        used = factor if lower is None else lower
        how = Arithmetic(float(np.linalg.norm(used)), max(used.shape))
        held = self.torch.from_numpy(np.ascontiguousarray(used, dtype=np.float32))
        step = used.shape[1] if lower is None else COLUMNS
        return _TorchMapped(self.torch, held, how, step)


def _triangular(factor: np.ndarray) -> np.ndarray | None:
    """Lower triangular L with L Lᵀ = `factor` `factor`ᵀ, where that is positive definite and
    wide."""
    if len(factor) < 2 * COLUMNS:
        return None
    try:
        return np.asarray(np.linalg.cholesky(factor @ factor.T))
    except np.linalg.LinAlgError:
        return None


@dataclass(frozen=True)
class _TorchMapped:
    torch: ModuleType
    factor: Any
    how: Arithmetic
    step: int
    desks: threading.local = field(default_factory=threading.local)

    def scan(self, block: Block) -> Survivors:
        with self.torch.inference_mode():
            stored = self.torch.from_numpy(np.ascontiguousarray(block.phi))
            found = Found.of(block, self.how)
            for prompts, m in block.same_size():
                rows = block.starts[prompts][:, None] + np.arange(m)
                step = max(SLICE_ROWS // m, 1)
                for at in range(0, len(prompts), step):
                    some = slice(at, at + step)
                    self._scan(stored, prompts[some], rows[some], found)
            return found.done()

    def _scan(self, stored: Any, prompts: np.ndarray, rows: np.ndarray, found: Found) -> None:
        """Prompts of one size: −½ ‖h_i − h_j‖² = g_ij − n_i/2 − n_j/2."""
        torch, (count, m) = self.torch, rows.shape
        first, last = int(rows[0, 0]), int(rows[-1, -1]) + 1
        together = last - first == rows.size
        part = stored[first:last] if together else stored[torch.from_numpy(rows.ravel())]
        phi = self._space("phi", part.shape).copy_(part)
        if found.block.longest is None:
            found.longest = max(found.longest, float(torch.linalg.vector_norm(phi, dim=1).max()))
        h = self._map(phi).view(count, m, -1)
        seen = torch.bmm(h, h.transpose(1, 2), out=self._space("gram", (count, m, m)))
        n = seen.diagonal(dim1=1, dim2=2).clone()
        seen.sub_(n[:, None, :], alpha=0.5).sub_(n[:, :, None], alpha=0.5)
        least = seen.view(count, -1).amin(dim=1).numpy()
        found.add(prompts, rows, least, float(n.max()), seen.numpy())

    def _map(self, phi: Any) -> Any:
        """φ L; where L is triangular, by blocks of columns, each from its first row on."""
        d, r = self.factor.shape
        h = self._space("h", (len(phi), r))
        if self.step == r:
            return self.torch.mm(phi, self.factor, out=h)
        for c in range(0, d, self.step):
            to = slice(c, c + self.step)
            self.torch.mm(phi[:, c:], self.factor[c:, to], out=h[:, to])
        return h

    def _space(self, name: str, shape: Sequence[int]) -> Any:
        """A float32 tensor of this shape in memory that this thread uses again and again."""
        size = math.prod(shape)
        held = getattr(self.desks, name, None)
        if held is None or held.numel() < size:
            held = self.torch.empty(size, dtype=self.torch.float32)
            setattr(self.desks, name, held)
        return held[:size].view(*shape)
