"""The kernels that this machine can run."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from whichpairs.design.sweep.kernel import Kernel, Mapped, NumpyKernel
from whichpairs.engine.kernels.choose import tiles_kernel
from whichpairs.engine.kernels.tiles import has_tiles
from whichpairs.engine.kernels.torch import TorchKernel


class BareTiles:
    """The kernel in C whatever gets through; the real one asks another where that is much."""

    name = "tiles alone, bf16"

    @contextmanager
    def mapped(self, factor: np.ndarray) -> Iterator[Mapped]:
        with tiles_kernel().mapped(factor) as mapped:
            yield mapped.half


KERNELS: list[Kernel] = [NumpyKernel(), TorchKernel()]
if has_tiles():
    KERNELS += [BareTiles(), tiles_kernel()]
