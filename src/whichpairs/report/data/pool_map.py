"""Where the prompts of a pool lie, seen from its features, and how the picked pairs spread over it."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from whichpairs.pool.pool import MESSAGE, Pool
from whichpairs.report.data.pool_words import ends_in_words

MOST = 3000
"""Prompts on the map."""

GROUPS = 12
"""Values that a column may have for pairs to be shown by it."""


@dataclass(frozen=True)
class PoolMap:
    """Prompts in the plane of their two widest directions.

    Attributes:
        prompts: numbers of those shown, (n,); points: their places, (n, 2).
        words: what tells the left, right, low and high end from the other; empty where nothing does.
    """

    prompts: np.ndarray
    points: np.ndarray
    words: tuple[str, str, str, str]


def pool_map(pool: Pool, phi: np.ndarray) -> PoolMap | None:
    """The map of the prompts that pairs may be picked from; None for fewer than three."""
    able = np.flatnonzero(~pool.holdout & (np.diff(pool.starts) >= 2))
    some = able[np.unique(np.linspace(0, len(able) - 1, min(len(able), MOST)).astype(int))]
    if len(some) < 3:
        return None
    means = np.stack([_mean(pool, phi, int(p)) for p in some])
    means -= means.mean(axis=0)
    _, _, axes = np.linalg.svd(means, full_matrices=False)
    points = means @ axes[:2].T
    if points.shape[1] < 2 or not np.isfinite(points).all():
        return None
    texts = [_text(pool, int(p)) for p in some]
    words = []
    for k in range(2):
        more, less, _ = ends_in_words(texts, points[:, k])
        words += [", ".join(less[:2]), ", ".join(more[:2])]
    return PoolMap(some, points, (words[0], words[1], words[2], words[3]))


def _mean(pool: Pool, phi: np.ndarray, prompt: int) -> np.ndarray:
    rows = phi[pool.starts[prompt] : pool.starts[prompt + 1]]
    return np.asarray(rows, dtype=np.float64).mean(axis=0)


def _text(pool: Pool, prompt: int) -> str:
    """Completions of a prompt, its first four, as one text."""
    first, last = int(pool.starts[prompt]), int(pool.starts[prompt + 1])
    return "\n".join(pool.completions["completion"][first : min(last, first + 4)].to_list())


@dataclass(frozen=True)
class Shares:
    """Pairs by a column of words: shares of picked pairs, and of random ones; `of_row` says the place
    in `names` of every completion. A pair of two values counts half for each."""

    column: str
    names: tuple[str, ...]
    mine: tuple[float, ...]
    others: tuple[float, ...]
    of_row: np.ndarray


def group_shares(pool: Pool, mine: np.ndarray, others: np.ndarray) -> Shares | None:
    """By the first further column of words with few values; None without one."""
    for column in pool.completions.columns:
        values = pool.completions[column]
        known = column in {"completion_id", "prompt_id", "completion", MESSAGE}
        if known or values.dtype != pl.String or not 2 <= values.n_unique() <= GROUPS:
            continue
        text = [x or "none" for x in values.to_list()]
        names = sorted(set(text))
        place = {name: k for k, name in enumerate(names)}
        of_row = np.array([place[x] for x in text])
        counts = [
            np.bincount(of_row[rows].ravel(), minlength=len(names)) for rows in (mine, others)
        ]
        parts = [tuple((c / max(c.sum(), 1)).tolist()) for c in counts]
        return Shares(column, tuple(names), parts[0], parts[1], of_row)
    return None
