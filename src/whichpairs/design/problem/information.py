"""What one label teaches, and what the policy needs to know (theory (4), (9) and (11)).

M(u) = H₀ + Σ_past v β² z zᵀ + Σ_p u_p v_p β² z_p z_pᵀ        `information`
I(θ) = E_x Cov_{y∼π_θ(·|x)}[φ(x, y)]                            `policy_information`
H₀   = λ 1,  λ = β² tr E_random[z zᵀ] / τ²                      `prior`
"""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from whichpairs.defaults import PRIOR_MARGIN_SPREAD
from whichpairs.design.exact.in_order import in_order
from whichpairs.design.problem.space import PairSpace, Rows


@runtime_checkable
class Weights(Protocol):
    """w_p of pairs with given feature differences
    (`whichpairs.design.problem.belief.PairWeights`)."""

    def __call__(self, z: Float[np.ndarray, "pairs d"]) -> Float[np.ndarray, " pairs"]:
        """The weights of pairs with feature differences `z`."""


def information(
    space: PairSpace, pairs: Rows, weights: Weights, chunk: int = 65536
) -> Float[np.ndarray, "d d"]:
    """Σ_p w_p z_p z_pᵀ over `pairs`, in float64, summed in their order."""
    total = np.zeros((space.dim, space.dim))
    for at in range(0, len(pairs), chunk):
        z = space.differences(pairs[at : at + chunk])
        total += z.T @ (z * weights(z)[:, None])
    return total


def policy_information(
    space: PairSpace,
    reference: Float[np.ndarray, " rows"] | None = None,
    thetas: Float[np.ndarray, "samples d"] | None = None,
    threads: int = 1,
) -> Float[np.ndarray, "d d"]:
    """I(θ) = E_x Cov_{π_θ}[φ], over eligible prompts with at least two completions.

    Args:
        reference: weights of the completions under π_ref (any scale a prompt), uniform when None.
        thetas: the policy's parameters, over which I is averaged; None is π_ref itself.

    Source: [han2026]; theory (4).
    """
    if thetas is None:
        mass = np.ones(space.rows) if reference is None else np.asarray(reference, np.float64)
        found = _scatter(space, mass, threads) / max(np.count_nonzero(space.sizes >= 2), 1)
        return _semidefinite(found) if space.features.dtype == np.float16 else found
    total = np.zeros((space.dim, space.dim))
    prompts = 0
    for phi, share, starts, _ in policy_shares(space, reference, thetas):
        # Σ_x Cov = Σ π φ φᵀ − Σ_x φ̄ φ̄ᵀ; only the second needs one product a θ.
        total += phi.T @ (share.mean(axis=1)[:, None] * phi)
        for s in range(share.shape[1]):
            mean = np.add.reduceat(share[:, s, None] * phi, starts)
            total -= mean.T @ mean / share.shape[1]
        prompts += len(starts)
    return total / max(prompts, 1)


def policy_shares(
    space: PairSpace,
    reference: Float[np.ndarray, " rows"] | None = None,
    thetas: Float[np.ndarray, "samples d"] | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Block by block, the completions of eligible prompts that have two or more.

    Yields:
        φ less its mean over the prompt's completions, (rows, d); π_θ of every row, (rows, samples);
        where each prompt begins, (prompts,); whose each row is, (rows,).
    """
    tilts = np.zeros((1, space.dim)) if thetas is None else np.asarray(thetas, np.float64)
    for first, last in space.blocks():
        used = np.flatnonzero(space.sizes[first:last] >= 2) + first
        if len(used) == 0:
            continue
        rows, starts, owner = _rows_of(space, used)
        phi = np.asarray(space.features[rows], dtype=np.float64)
        phi -= (np.add.reduceat(phi, starts) / np.diff([*starts, len(rows)])[:, None])[owner]
        share = phi @ tilts.T
        if reference is not None:
            with np.errstate(divide="ignore"):
                share += np.log(np.asarray(reference, np.float64)[rows])[:, None]
        share = np.exp(share - np.maximum.reduceat(share, starts)[owner])
        share /= np.add.reduceat(share, starts)[owner]
        yield phi, share, starts, owner


def _rows_of(space: PairSpace, prompts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The prompts' rows one after another, where each begins among them, and whose each is."""
    sizes = space.sizes[prompts]
    starts = np.cumsum(sizes) - sizes
    owner = np.repeat(np.arange(len(prompts)), sizes)
    rows = space.starts[prompts][owner] + np.arange(len(owner)) - starts[owner]
    return rows, starts, owner


def _semidefinite(matrix: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d d"]:
    """The nearest matrix without negative eigenvalues: sums in float32 leave some where features
    are dependent (one-hot, collinear), and a covariance has none."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2.0)
    if values[0] >= 0.0:
        return matrix
    half = vectors * np.sqrt(np.maximum(values, 0.0))
    return np.asarray(half @ half.T)


def random_second_moment(space: PairSpace, threads: int = 1) -> Float[np.ndarray, "d d"]:
    """E[z zᵀ] of a pair drawn uniformly from all pairs of eligible prompts.

    A prompt's pairs add up to ``m Σ_i (φ_i − φ̄)(φ_i − φ̄)ᵀ``.
    """
    times = space.sizes.astype(np.float64) ** 2
    return _scatter(space, None, threads, times) / max(space.all_pairs, 1)


def _scatter(
    space: PairSpace,
    mass: Float[np.ndarray, " rows"] | None,
    threads: int,
    times: Float[np.ndarray, " prompts"] | None = None,
) -> Float[np.ndarray, "d d"]:
    """Σ_x t_x Cov_π[φ] over eligible prompts of two or more, π ∝ `mass` in each; one pass.

    Blocks are summed in float64; within a block float16 features are summed in float32, as a
    stream is, and others in float64.
    """
    real = np.float32 if space.features.dtype == np.float16 else np.float64

    def of_block(block: tuple[int, int]) -> np.ndarray:
        total = np.zeros((space.dim, space.dim))
        sizes = space.sizes[slice(*block)]
        for m in np.unique(sizes[sizes >= 2]):
            prompts = np.flatnonzero(sizes == m) + block[0]
            rows = space.starts[prompts][:, None] + np.arange(m)
            apart = rows[-1, -1] + 1 - rows[0, 0] > rows.size
            held = space.features[rows if apart else slice(rows[0, 0], rows[-1, -1] + 1)]
            phi = np.asarray(held, real).reshape(len(prompts), m, space.dim)
            share = np.ones(rows.shape) if mass is None else mass[rows]
            share = share / share.sum(axis=1, keepdims=True)
            phi = phi - np.matmul(share[:, None, :].astype(real), phi)
            if times is not None:
                share = share * times[prompts][:, None]
            phi *= np.sqrt(share).astype(real)[:, :, None]
            phi = phi.reshape(-1, space.dim)
            total += phi.T @ phi
        return total

    total = np.zeros((space.dim, space.dim))
    for part in in_order(of_block, space.blocks(), threads):
        total += part
    return total


def prior(
    space: PairSpace, beta: float, spread: float = PRIOR_MARGIN_SPREAD
) -> Float[np.ndarray, "d d"]:
    """H₀ = λ 1 under which a random pair's margin β zᵀθ has standard deviation `spread` logits."""
    rate = beta**2 * float(np.trace(random_second_moment(space))) / spread**2
    return rate * np.eye(space.dim)
