"""Every published way of choosing pairs, as a method: whom our designs have to beat.

Each is the rule of its paper on the bench's terms: the same pool, labels, estimator and posterior,
none of the faults of its code (self-pairs, repeats, a β that is stored and unused). Rules that go
from prompt to prompt are in `rivals_completions`; here are those that rank all pairs together.
Ties fall at random, so that before the first label a rule by margins is random sampling.
"""

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import digamma, expit, xlogy

from whichpairs.bench.methods.per_prompt import (
    best_vs_worst,
    delta_quantile,
    delta_ucb,
    drts,
    drts_heads,
    dts,
    enn_dts,
    enn_uncertainty,
    entropy,
    infomax,
    margins,
    maxminlcb,
    owners,
    segments,
    square_distances,
)
from whichpairs.bench.methods.turn import Desk, Method
from whichpairs.design.batches import random as baselines
from whichpairs.design.problem.belief import Belief
from whichpairs.design.problem.limits import check_budget
from whichpairs.design.problem.space import Rows

BATCHES = 5
"""Updates of V within a round of activedpo."""

NEIGHBOURS = 13
"""k of bal-pm's nearest-neighbour distance."""

WORKING_SET = 8192
"""Pairs that greedy D-optimality scores after every pick."""


def random(desk: Desk, budget: int) -> Rows:
    """Uniform over candidate pairs."""
    return baselines.random_pairs(desk.space, budget, desk.rng)


def uniform_prompts(desk: Desk, budget: int) -> Rows:
    """A uniform prompt, then a uniform pair of it: random sampling as most papers do it."""
    return baselines.uniform_prompts(desk.space, budget, desk.rng)


def reference(desk: Desk, budget: int) -> Rows:
    """A uniform prompt, both ends drawn from π_ref: how DPO's data are gathered.

    Source: the baseline of Han, Goyal and Ma 2026, arXiv:2606.19607.
    """
    return baselines.reference_pairs(desk.space, budget, desk.rng, desk.world.reference)


def farthest(desk: Desk, budget: int) -> Rows:
    """The largest ‖z‖: pairs farthest apart in feature space. Folklore."""
    return top(desk, square_distances(desk, np.asarray(desk.space.features, np.float64)), budget)


def near_tie(desk: Desk, budget: int) -> Rows:
    """The smallest |β zᵀθ̂|: uncertainty sampling (Lewis and Gale 1994)."""
    return top(desk, -np.abs(margins(desk)), budget)


def certainty(desk: Desk, budget: int) -> Rows:
    """The largest |r̂_i − r̂_j| of DPO's implicit reward r̂ = β log π_θ/π_ref.

    Source: Muldrew et al. 2024, arXiv:2402.08114 (preference certainty).
    """
    return top(desk, np.abs(margins(desk)), budget)


def apo(desk: Desk, budget: int) -> Rows:
    """The largest zᵀV⁻¹z, all at once; V = H₀/β² + Σ_asked z zᵀ. It looks at no label.

    Source: Das et al. 2024, arXiv:2402.10500 (APO); the ridge is the bench's prior.
    """
    return top(desk, leverage(desk, _gram(desk)), budget)


def activedpo(desk: Desk, budget: int) -> Rows:
    """The largest ‖∇r̂_i − ∇r̂_j‖ in V⁻¹, V made anew after every batch of picks.

    Source: Lin et al. 2025, arXiv:2505.19241 (ActiveDPO). In a log-linear policy the gradients are
    features and their difference is β z, so that it is APO with more frequent updates.
    """
    v = _gram(desk)
    picked = np.empty(0, np.int64)
    for size in np.diff(np.linspace(0, budget, min(BATCHES, budget) + 1).astype(int)):
        score = leverage(desk, v)
        score[picked] = -np.inf
        batch = _top(desk, score, int(size))
        z = desk.space.differences(desk.pairs[batch])
        v = v + z.T @ z
        picked = np.concatenate([picked, batch])
    return desk.pairs[picked]


def arm_fi(desk: Desk, budget: int) -> Rows:
    """The gradient of log det of the pool's Fisher information: v zᵀM₀⁻¹z, v = p(1 − p), all at
    once.

    Source: Shen, Sun and Ton 2025, arXiv:2502.04354 (ARM-FI, "D-opt"), within prompts; their ridge
    of 10⁻⁶ is the bench's prior, and the pool's information is scaled to the budget, as otherwise
    nothing else counts in a large pool.
    """
    return _fisher(desk, budget, past=False)


def arm_fi_past(desk: Desk, budget: int) -> Rows:
    """As `arm_fi`, with the information of past labels in M.

    Source: arXiv:2502.04354 ("PA D-opt").
    """
    return _fisher(desk, budget, past=True)


def adpo(desk: Desk, budget: int) -> Rows:
    """Greedy log det (H + Σ β² v z zᵀ), v = σ′ at the current fit, from H of prior and past labels.

    Source: Kveton et al. 2025, arXiv:2503.01076 (ADPO). A pair's gain log(1 + β² v zᵀM⁻¹z) never
    grows, so the best of a working set is the best of all while it beats what the others had when
    they were last scored (Minoux 1978).
    """
    check_budget(budget, len(desk.pairs))
    m = _precision(desk)
    weight = _fisher_weights(desk)
    free = np.ones(len(desk.pairs), dtype=bool)
    picked: list[int] = []
    while len(picked) < budget:
        score = np.where(free, weight * leverage(desk, m), -np.inf)
        working = desk.rng.permutation(_top(desk, score, min(WORKING_SET, int(free.sum()))))
        outside = score.copy()
        outside[working] = -np.inf
        ceiling = float(outside.max())
        root = np.sqrt(weight[working])[:, None]
        z = root * desk.space.differences(desk.pairs[working])  # information w z zᵀ, of one row
        inverse = np.linalg.inv(m)
        gain = np.einsum("ij,ij->i", z @ inverse, z)
        while len(picked) < budget:
            best = int(np.argmax(gain))
            if gain[best] < ceiling * (1.0 - 1e-9) or gain[best] == -np.inf:
                break
            picked.append(int(working[best]))
            free[working[best]] = False
            m = m + np.outer(z[best], z[best])
            step = inverse @ z[best]
            shrink = 1.0 + float(z[best] @ step)
            inverse -= np.outer(step, step) / shrink  # Sherman–Morrison
            gain -= (z @ step) ** 2 / shrink
            gain[best] = -np.inf
    return desk.pairs[picked]


def bal_pm(desk: Desk, budget: int) -> Rows:
    """Greedy: what the ensemble disagrees about, plus the entropy of the prompts acquired.

        max  U_p + c (log D_x − ψ(n_x + 1) / d)

    with U = H(E p) − E H(p) over the ensemble (BALD), D_x the distance of prompt x to its k-th
    nearest in the pool, and n_x the acquired prompts nearer than D_x.

    Source: Melo et al. 2024, arXiv:2406.10023, from the paper's description of a
    Kraskov–Stögbauer–Grassberger estimate. Theirs are a language model's embeddings of the prompt.
    Ours are centred within the prompt, so a prompt's vector is the root mean square of each feature
    over its completions, standardised over prompts. Their c is tuned; ours gives both terms the
    same spread over prompts at the start.
    """
    check_budget(budget, len(desk.pairs))
    disagreement = bald(desk)
    first, last = segments(desk.pair_prompts)
    prompts = desk.pair_prompts[first]
    vectors = _prompt_vectors(desk)[prompts]
    apart = cdist(vectors, vectors)
    k = min(NEIGHBOURS, len(prompts) - 1)
    reach = np.partition(apart, k, axis=1)[:, k]
    near = (apart < reach[:, None]) | np.eye(len(prompts), dtype=bool)
    asked = np.bincount(desk.prompts, minlength=len(desk.space.sizes))[prompts]
    acquired = near @ asked.astype(np.float64)
    log_reach = np.log(np.maximum(reach, 1e-6))
    dim = float(vectors.shape[1])
    best = np.maximum.reduceat(disagreement, first)
    spread = (log_reach - digamma(acquired + 1.0) / dim).std()
    scale = best.std() / spread if spread > 0.0 else 0.0
    picked = np.empty(budget, np.int64)
    jitter = 1e-12 * desk.rng.random(len(prompts))
    for n in range(budget):
        value = best + scale * (log_reach - digamma(acquired + 1.0) / dim) + jitter
        x = int(np.argmax(value))
        mine = disagreement[first[x] : last[x]]
        picked[n] = first[x] + int(np.argmax(mine))
        disagreement[picked[n]] = -np.inf
        best[x] = mine.max()
        acquired += near[:, x]
    return desk.pairs[picked]


def bald(desk: Desk) -> np.ndarray:
    """H(E p) − E H(p) of every candidate pair, nats, p by the ensemble: (pairs,)."""
    i, j = desk.pairs.T
    mean, within = np.zeros(len(i), np.float32), np.zeros(len(i), np.float32)
    for head in desk.heads.astype(np.float32):
        margin = head[i] - head[j]
        size = np.abs(margin)
        tail = np.exp(-size)
        p = 1.0 / (1.0 + tail)  # σ(|η|), and H(p) = log(1 + e^−|η|) + |η| σ(−|η|)
        within += np.log(1.0 + tail) + size * (1.0 - p)
        mean += np.where(margin > 0.0, p, 1.0 - p)
    mean = (mean / len(desk.heads)).astype(np.float64)
    return np.asarray(-xlogy(mean, mean) - xlogy(1.0 - mean, 1.0 - mean) - within / len(desk.heads))


def top(desk: Desk, score: np.ndarray, count: int) -> Rows:
    """The candidate pairs of largest score, ties at random."""
    return desk.pairs[_top(desk, score, count)]


def leverage(desk: Desk, matrix: np.ndarray) -> np.ndarray:
    """zᵀM⁻¹z of every candidate pair."""
    root = Belief(desk.theta, matrix).root()
    assert root is not None
    return square_distances(desk, np.asarray(desk.space.features, np.float64) @ root)


def _top(desk: Desk, score: np.ndarray, count: int) -> np.ndarray:
    check_budget(count, len(score))
    floor = np.partition(score, len(score) - count)[len(score) - count]
    above, level = np.flatnonzero(score > floor), np.flatnonzero(score == floor)
    return np.concatenate([above, desk.rng.choice(level, count - len(above), replace=False)])


def _gram(desk: Desk) -> np.ndarray:
    """V = H₀/β² + Σ_asked z zᵀ."""
    return np.asarray(desk.world.prior / desk.beta**2 + desk.z.T @ desk.z)


def _precision(desk: Desk) -> np.ndarray:
    """H = s H₀ + Σ_past β² v z zᵀ: the Laplace posterior's."""
    assert desk.belief.precision is not None
    return desk.belief.precision


def _fisher_weights(desk: Desk) -> np.ndarray:
    """β² p(1 − p) of every candidate pair at the current fit."""
    p = expit(margins(desk))
    return np.asarray(desk.beta**2 * p * (1.0 - p))


def _fisher(desk: Desk, budget: int, *, past: bool) -> Rows:
    weight = _fisher_weights(desk)
    pool = _pool_information(desk, weight) * (budget / len(weight))
    ground = _precision(desk) if past else desk.fit.strength * desk.world.prior
    return top(desk, weight * leverage(desk, ground + pool), budget)


def _pool_information(desk: Desk, weight: np.ndarray) -> np.ndarray:
    """Σ_p w_p z_p z_pᵀ over all candidates = Φᵀ(diag(W1) − W)Φ, W the rows' symmetric weights."""
    phi = np.asarray(desk.space.features, np.float64)
    i, j = desk.pairs.T
    degree = np.bincount(i, weight, len(phi)) + np.bincount(j, weight, len(phi))
    cross = np.zeros((phi.shape[1], phi.shape[1]))
    for at in range(0, len(i), 65536):
        some = slice(at, at + 65536)
        cross += phi[i[some]].T @ (phi[j[some]] * weight[some, None])
    return np.asarray(phi.T @ (phi * degree[:, None]) - cross - cross.T)


def _prompt_vectors(desk: Desk) -> np.ndarray:
    """Root mean square of each centred feature over a prompt's rows, standardised, (prompts, d)."""
    owner, begin, prompts = owners(desk)
    phi = np.asarray(desk.space.features, np.float64)
    count = np.diff(np.append(begin, desk.space.rows))[:, None]
    phi = phi - (np.add.reduceat(phi, begin) / count)[owner]
    size = np.zeros((len(desk.space.sizes), phi.shape[1]))
    size[prompts] = np.sqrt(np.add.reduceat(phi**2, begin) / count)
    spread = size[prompts].std(axis=0)
    return np.asarray(size / np.where(spread > 0.0, spread, 1.0))


RIVALS: dict[str, Method] = {
    "random": random,
    "uniform-prompts": uniform_prompts,
    "reference": reference,
    "farthest": farthest,
    "best-vs-worst": best_vs_worst,
    "near-tie": near_tie,
    "entropy": entropy,
    "certainty": certainty,
    "apo": apo,
    "activedpo": activedpo,
    "adpo": adpo,
    "arm-fi": arm_fi,
    "arm-fi-past": arm_fi_past,
    "bal-pm": bal_pm,
    "dts": dts,
    "drts": drts,
    "drts-heads": drts_heads,
    "delta-ucb": delta_ucb,
    "delta-quantile": delta_quantile,
    "infomax": infomax,
    "maxminlcb": maxminlcb,
    "enn-dts": enn_dts,
    "enn-uncertainty": enn_uncertainty,
}
"""The methods by name."""

ADAPTIVE = frozenset(RIVALS) - {
    "random",
    "uniform-prompts",
    "reference",
    "farthest",
    "apo",
    "activedpo",
}
"""Names of those that look at the labels (apo and activedpo look only at what was asked)."""
