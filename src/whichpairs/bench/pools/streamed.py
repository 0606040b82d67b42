"""The pools on which the design engine is measured: made anew from a seed, in float16, on disk.

    isotropic   φ ~ N(0, 1): all prompts and directions alike, so nothing can be screened early
    steep       φ_j ~ N(0, 1/j): a few directions hold most of the spread
    uneven      steep, and each prompt spread by its own factor, log-normal with σ = ½

φ is centred within a prompt, as features are stored (`features.standardise`).
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from whichpairs.design import PairSpace
from whichpairs.streams import bench_stream

KINDS = ("isotropic", "steep", "uneven")

CHUNK_PROMPTS = 2048
"""Prompts that share a random stream: the pool is the same for any number of threads."""


def make_pool(
    path: Path | None, kind: str, prompts: int, size: int, dim: int, seed: int = 0, threads: int = 2
) -> PairSpace:
    """A pool of `prompts` × `size` completions.

    Args:
        path: of the .npy file that holds φ, memory-mapped afterwards; None keeps it in memory.
        kind: one of `KINDS`.
    """
    shape = (prompts * size, dim)
    if path is None:
        phi = np.empty(shape, np.float16)
    else:
        phi = np.lib.format.open_memmap(path, "w+", np.float16, shape)

    def fill(chunk: int) -> None:
        first = chunk * CHUNK_PROMPTS
        count = min(CHUNK_PROMPTS, prompts - first)
        rows = slice(first * size, (first + count) * size)
        phi[rows] = _chunk(kind, count, size, dim, seed, chunk).reshape(-1, dim)

    with ThreadPoolExecutor(max_workers=threads) as pool:
        list(pool.map(fill, range(-(-prompts // CHUNK_PROMPTS))))
    if path is not None:
        phi.flush()  # type: ignore[attr-defined]
        del phi
        phi = np.lib.format.open_memmap(path, "r")
    return PairSpace(phi, np.arange(0, prompts * size + 1, size, dtype=np.int64))


def _chunk(kind: str, prompts: int, size: int, dim: int, seed: int, chunk: int) -> np.ndarray:
    rng = bench_stream(seed, KINDS.index(kind), chunk)
    x = rng.standard_normal((prompts, size, dim), dtype=np.float32)
    if kind != "isotropic":
        x *= (np.arange(1, dim + 1) ** -0.5).astype(np.float32)
    if kind == "uneven":
        x *= np.exp(0.5 * rng.standard_normal((prompts, 1, 1))).astype(np.float32)
    x -= x.mean(axis=1, keepdims=True)
    return x
