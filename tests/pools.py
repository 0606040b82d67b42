"""Small synthetic pools for the tests of the design."""

import numpy as np

from whichpairs.design import PairSpace


def make_space(
    prompts: int, size: int, dim: int, seed: int = 0, *, steep: bool = False
) -> PairSpace:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((prompts * size, dim))
    if steep:
        x *= np.arange(1, dim + 1) ** -0.5
    return PairSpace(x.astype(np.float32), np.arange(0, prompts * size + 1, size))


def ragged_space(sizes: list[int], dim: int, seed: int = 0, **options) -> PairSpace:
    rng = np.random.default_rng(seed)
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    x = rng.standard_normal((starts[-1], dim)).astype(np.float32)
    return PairSpace(x, starts, **options)


def all_pairs(space: PairSpace) -> np.ndarray:
    """Every candidate pair by two plain loops."""
    found = []
    excluded = set(space.excluded.tolist())
    for p in range(len(space.starts) - 1):
        if space.eligible is not None and not space.eligible[p]:
            continue
        for i in range(space.starts[p], space.starts[p + 1]):
            for j in range(i + 1, space.starts[p + 1]):
                if i * space.rows + j not in excluded:
                    found.append((i, j))
    return np.array(found, dtype=np.int64).reshape(-1, 2)
