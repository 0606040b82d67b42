"""Exchange steps on an integral batch: swap a picked pair for a candidate while that pays.

The best batch is nearly the n top-scoring pairs when n ≫ d, and is not when n is a few times d
(design.md, section 3). There Fedorov's exchange repairs the rounding.
"""

import numpy as np
from jaxtyping import Float, Int64
from scipy.linalg import solve_triangular

from whichpairs.design.criterion import Criterion, Matrix, lower_factor

OUT, IN = 64, 256
"""How many members that matter least, and candidates that matter most, a step looks at."""


def exchange(
    z: Float[np.ndarray, "candidates d"],
    members: Int64[np.ndarray, " n"],
    base: Matrix,
    criterion: Criterion,
    *,
    swaps: int,
    goal: float,
) -> Int64[np.ndarray, " n"]:
    """A batch no worse than `members`: the best single swap, again and again, at most `swaps` times.

    Args:
        z: √w_p z_p of every candidate, so that a pair's information is z zᵀ.
        members: the batch, as rows of `z`.
        base: M₀.
        goal: good enough: stop when f is at most this.

    Source: Fedorov, "Theory of Optimal Experiments" (1972), ch. 3.
    """
    inside = np.zeros(len(z), dtype=bool)
    inside[members] = True
    m = base + z[members].T @ z[members]
    value = criterion.value(m)
    for _ in range(swaps if inside.sum() < len(z) else 0):
        if value <= goal:
            break
        out, into = _best_swap(z, inside, m, criterion)
        trial = m - np.outer(z[out], z[out]) + np.outer(z[into], z[into])
        after = criterion.value(trial)
        if after >= value - 1e-9 * abs(value):
            break
        inside[out], inside[into] = False, True
        m, value = trial, after
    return np.flatnonzero(inside).astype(np.int64)


def _best_swap(
    z: np.ndarray, inside: np.ndarray, m: np.ndarray, criterion: Criterion
) -> tuple[int, int]:
    """The pair (out, in) whose swap lowers f most, among those that look best one by one."""
    c = lower_factor(m)
    d_half = solve_triangular(c, z.T, lower=True).T
    a_half = z @ criterion.score_factor(m)
    leverage = np.einsum("ij,ij->i", d_half, d_half)
    score = np.einsum("ij,ij->i", a_half, a_half)
    lost = np.where(inside, score / np.maximum(1.0 - leverage, 1e-12), np.inf)
    gained = np.where(inside, -np.inf, score / (1.0 + leverage))
    outs = np.argsort(lost, kind="stable")[: min(OUT, int(inside.sum()))]
    ins = np.argsort(-gained, kind="stable")[: min(IN, int((~inside).sum()))]
    change = criterion.swap_change(
        leverage[outs][:, None],
        leverage[ins][None, :],
        d_half[outs] @ d_half[ins].T,
        score[outs][:, None],
        score[ins][None, :],
        a_half[outs] @ a_half[ins].T,
    )
    o, i = np.unravel_index(int(np.argmin(change)), change.shape)
    return int(outs[o]), int(ins[i])
