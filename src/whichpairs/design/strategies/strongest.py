"""The pairs whose answers move a policy that starts from the reference: for training by DPO.

The designs of `criterion` serve an estimator that remembers: what earlier labels taught need not be
asked again, and a pair whose answer is foregone teaches nothing. A language model trained by DPO
remembers nothing. It begins at π_ref whatever the fit in feature space knows, and it stops early.
Its first step down the loss of a label y ∈ {0, 1} is (y − ½) β z, on which the reward of the
preferred completion over the other's rises by (y − ½) β zᵀθ* (a step of rate 1, but for |z|²). So
what a label brings is, by the belief of θ*,

    s_p = E_θ[(σ(β zᵀθ) − ½) β zᵀθ] = E_θ[½ tanh(η/2) η] ≥ 0,   η = β zᵀθ the pair's margin.

A foregone answer is worth most here, and a coin flip nothing: the opposite of the gap criterion.
(Theory (23).) Nothing here bounds a gap, so a batch has no certificate; docs/log.md has what it was
worth, and variants.
"""

import numpy as np
from jaxtyping import Float

from whichpairs.design.problem.limits import check_budget
from whichpairs.design.problem.space import PairSpace, Rows

SPREAD = 2
"""A prompt gives at most so many times its even share of the batch."""


def strongest_pairs(
    space: PairSpace,
    thetas: Float[np.ndarray, "samples d"],
    beta: float,
    budget: int,
    *,
    spread: int = SPREAD,
) -> Rows:
    """The `budget` candidates of the strongest signal, strongest first (those beyond a prompt's
    share come last); ties go by the pair's key.

    Args:
        thetas: draws of θ* from the belief; one row is a point.
        beta: KL weight β > 0.
        spread: a prompt gives at most `spread` × ⌈budget / prompts⌉ pairs, while others have any.

    Raises:
        UserError: the budget does not fit the candidates.
    """
    check_budget(budget, space.candidates)
    prompts = np.flatnonzero(space.sizes >= 2)
    share = most = spread * -(-budget // len(prompts))
    while True:
        found = [_of_prompt(space, int(p), beta * thetas.T, most) for p in prompts]
        if sum(len(value) for _, value in found) >= budget:
            break
        most *= 2  # some prompts have too few pairs: the others give more
    pairs = np.concatenate([pairs for pairs, _ in found])
    value = np.concatenate([value for _, value in found])
    beyond = np.concatenate([np.arange(len(value)) >= share for _, value in found])
    order = np.lexsort((space.keys(pairs), -value, beyond))
    return np.asarray(pairs[order[:budget]])


def signal(margins: Float[np.ndarray, "pairs samples"]) -> Float[np.ndarray, " pairs"]:
    """s_p = E[½ tanh(η/2) η] of margins η = β zᵀθ in logits, over draws of θ: 0 or more, logits."""
    return np.asarray((0.5 * np.tanh(margins / 2) * margins).mean(axis=-1))


def _of_prompt(
    space: PairSpace, prompt: int, ways: Float[np.ndarray, "d samples"], most: int
) -> tuple[Rows, np.ndarray]:
    """The `most` strongest candidates of one prompt, and their signals."""
    lo, hi = int(space.starts[prompt]), int(space.starts[prompt + 1])
    i, j = np.triu_indices(hi - lo, 1)
    kept = space.not_excluded(np.stack([i + lo, j + lo], axis=1).astype(np.int64))
    i, j = i[kept], j[kept]
    rewards = np.asarray(space.features[lo:hi], dtype=np.float64) @ ways
    value = signal(rewards[i] - rewards[j])
    best = np.argsort(-value, kind="stable")[:most]
    return np.stack([i[best] + lo, j[best] + lo], axis=1).astype(np.int64), value[best]
