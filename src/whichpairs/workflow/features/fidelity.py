"""What a projection costs the design: the fidelity figure of a feature set.

    loss = [f₁₆(batch by d) − f₁₆(batch by 16 d)] ÷ [f₁₆(random) − f₁₆(batch by 16 d)]

f₁₆ is the plug-in gap criterion tr(Ī M⁻¹) (θ = 0, the default prior) in a projection sixteen times
as large, on a sample of prompts; the batches are chosen in either space. 0: the batch is as good as
if it had been chosen there; 1: as poor as random. Sampled prompts are few and labels fewer than
dimensions, so batches are chosen greedily, by exact rank-one updates, for the same in both spaces.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from whichpairs.design import (
    PairSpace,
    PairWeights,
    gap_criterion,
    information,
    policy_information,
    prior,
)
from whichpairs.design.batches.random import random_pairs
from whichpairs.features.store import centred, open_features
from whichpairs.pool.pool import Pool
from whichpairs.streams import Stream, stream
from whichpairs.types import Progress
from whichpairs.workflow.features.blocks import Job, sample_prompts

LARGER = 16
SAMPLE_ROWS, MOST_A_PROMPT = 800, 64
"""Completions of the sample, about, and of any one prompt."""
LABELS_A_PROMPT = 2
DRAWS = 20


def fidelity(
    folder: Path, job: Job, dim: int, loaded: Any, pool: Pool, seed: int, progress: Progress
) -> dict[str, Any] | None:
    """The fidelity figure of the feature file in `folder`.

    Args:
        job: how the features were made; dim: d, as the user asked for it.

    Returns:
        ``loss``, ``dim``, ``larger_dim``, ``prompts``, ``budget``; None where the sample has no
        room for a design (its batch is no better than random).
    """
    sample = Sample.of(pool, seed)
    if sample is None:
        return None
    small = np.asarray(open_features(folder, len(pool.completions))[sample.rows], np.float64)
    large = job.wide(job.recipe.wider(LARGER * dim), loaded, pool, sample.rows, progress)
    return sample.figure(small, large, seed)


@dataclass(frozen=True)
class Sample:
    """Completions on which feature sets are compared.

    Attributes:
        rows: of the pool, rising; sizes: how many of each sampled prompt; budget: labels of a
            batch.
    """

    rows: np.ndarray
    sizes: np.ndarray
    budget: int

    @classmethod
    def of(cls, pool: Pool, seed: int) -> "Sample | None":
        """About `SAMPLE_ROWS` completions; None where no prompt is eligible."""
        prompts = sample_prompts(pool, SAMPLE_ROWS, seed + 1)
        if not len(prompts):
            return None
        sizes = np.minimum(np.diff(pool.starts)[prompts], MOST_A_PROMPT)
        rows = np.concatenate(
            [np.arange(s, s + m) for s, m in zip(pool.starts[prompts], sizes, strict=True)]
        )
        pairs = int(np.sum(sizes * (sizes - 1) // 2))
        return cls(rows, sizes, min(LABELS_A_PROMPT * len(prompts), pairs))

    @property
    def starts(self) -> np.ndarray:
        """Where each prompt begins among the rows."""
        return np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int64)

    def loss(self, small: np.ndarray, large: np.ndarray, seed: int) -> float | None:
        """`fidelity_loss` of features of the rows, which need not be centred."""
        both = centred(small, self.sizes), centred(large, self.sizes)
        return fidelity_loss(*both, self.starts, self.budget, seed)

    def figure(self, small: np.ndarray, large: np.ndarray, seed: int) -> dict[str, Any] | None:
        """The fidelity figure of `small` against `large`, features of the rows."""
        loss = self.loss(small, large, seed)
        if loss is None:
            return None
        return {
            "loss": loss,
            "dim": int(small.shape[1]),
            "larger_dim": int(large.shape[1]),
            "prompts": len(self.sizes),
            "budget": self.budget,
        }


def fidelity_loss(
    small: np.ndarray, large: np.ndarray, starts: np.ndarray, budget: int, seed: int
) -> float | None:
    """The loss of batches of `budget` pairs chosen by `small`, (rows, d), against `large`.

    Args:
        small, large: features of the same rows, centred within prompts, float64.
    """
    if not small.any() or not large.any():
        return None
    with threadpool_limits(1):
        spaces = [PairSpace(_rotated(x), starts) for x in (large, small)]
        weights = PairWeights(1.0)  # both H₀ and M are proportional to β², so the loss has no β
        criterion, base = gap_criterion(policy_information(spaces[0])), prior(spaces[0], 1.0)

        def value(pairs: np.ndarray) -> float:
            return criterion.value(base + information(spaces[0], pairs, weights))

        best, chosen = (value(greedy_batch(space, budget)) for space in spaces)
        rngs = [stream(seed, Stream.FIDELITY, draw) for draw in range(DRAWS)]
        chance = float(np.mean([value(random_pairs(spaces[0], budget, rng)) for rng in rngs]))
    room = chance - best
    return (chosen - best) / room if room > 1e-9 * chance else None


def greedy_batch(space: PairSpace, budget: int) -> np.ndarray:
    """The plug-in design's batch for few labels: at each step the pair that lowers f most.

    Adding √w z to M lowers tr(Ī M⁻¹) by a / (1 + d), with d = w zᵀ M⁻¹ z and a = w zᵀ M⁻¹ Ī M⁻¹ z
    (Sherman and Morrison); both are kept up to date for all pairs at once.

    Returns:
        Pairs as rows of the space, in the order they were chosen, (budget, 2).
    """
    phi = np.asarray(space.features, dtype=np.float64) * np.sqrt(0.25)  # w = β² σ′(0), β = 1
    rate = float(prior(space, 1.0)[0, 0])
    inverse, slope = np.eye(space.dim) / rate, policy_information(space) / rate**2
    pairs = space.unrank(np.arange(space.all_pairs))
    i, j = pairs.T
    d, a = _squares(phi @ inverse, phi, i, j), _squares(phi @ slope, phi, i, j)
    chosen: list[int] = []
    for _ in range(budget):
        k = int(np.argmax(a / (1.0 + d)))
        chosen.append(k)
        q = phi[i[k]] - phi[j[k]]
        b, s = inverse @ q, slope @ q
        c, aq = 1.0 / (1.0 + q @ b), float(q @ s)
        along_b, along_s = (phi @ b)[i] - (phi @ b)[j], (phi @ s)[i] - (phi @ s)[j]
        inverse -= c * np.outer(b, b)
        slope += c * (c * aq * np.outer(b, b) - np.outer(b, s) - np.outer(s, b))
        d -= c * along_b**2
        a += c * (c * aq * along_b**2 - 2.0 * along_b * along_s)
        a[chosen] = -np.inf
    return np.asarray(pairs[chosen])


def _squares(h: np.ndarray, phi: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """(φ_i − φ_j)ᵀ (h_i − h_j) of every pair, in chunks."""
    found = np.empty(len(i))
    for at in range(0, len(i), 4096):
        left, right = i[at : at + 4096], j[at : at + 4096]
        found[at : at + 4096] = np.einsum("ij,ij->i", phi[left] - phi[right], h[left] - h[right])
    return found


def _rotated(x: np.ndarray) -> np.ndarray:
    """Coordinates of the rows in their own span: the same criterion in as few dimensions as can be.

    The prior is isotropic and Ī lives in the span, so nothing changes.
    """
    wide = x.shape[1] > len(x)
    values, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    keep = values > values[-1] * 1e-10
    return np.asarray(vectors[:, keep] * np.sqrt(values[keep]) if wide else x @ vectors[:, keep])
