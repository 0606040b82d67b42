"""Which kernel a pass runs on: the fastest that is there. The batch is the same by any."""

from collections.abc import Callable

from whichpairs.design.sweep.kernel import Kernel, NumpyKernel
from whichpairs.engine.kernels.tiles import MOST_DIMENSIONS, TilesKernel
from whichpairs.engine.kernels.torch import TorchKernel
from whichpairs.errors import UserError

WORTH_WHILE = 2e9
"""Candidate pairs × dimensions from which on loading torch, or compiling C once, pays."""


def single_kernel() -> Kernel:
    """In float32: torch where it is installed, else NumPy."""
    try:
        return TorchKernel()
    except UserError:
        return NumpyKernel()


def tiles_kernel() -> Kernel:
    """In bf16 where that serves, else in float32.

    Raises:
        UserError: the processor has no matrix tiles, or there is no C compiler.
    """
    return TilesKernel(single_kernel)


def best_kernel(candidates: int, dim: int) -> Kernel:
    """The fastest that is there; NumPy's where the pool is small."""
    if candidates * dim < WORTH_WHILE:
        return NumpyKernel()
    if dim > MOST_DIMENSIONS:
        return single_kernel()
    try:
        return tiles_kernel()
    except UserError:
        return single_kernel()


KERNELS: dict[str, Callable[[], Kernel]] = {
    "numpy": NumpyKernel,
    "torch": TorchKernel,
    "tiles": tiles_kernel,
}
"""By the names that users give."""
