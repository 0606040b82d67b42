"""The pairs whose answers move a policy that starts from the reference: for training by DPO.

The designs of `criterion` serve an estimator that remembers: what earlier labels taught need not be
asked again, and a pair whose answer is foregone teaches nothing. A language model trained by DPO
remembers nothing. It begins at π_ref whatever the fit in feature space knows, and it stops early.
To first order one label moves θ from 0 by a step along z, of mean

    E[y − ½] β z = ½ tanh(β zᵀθ*/2) β z       (the gradient of DPO's loss at π_ref)

and J rises along β I θ* there, I = I(0) (the gap is (β/2)(θ − θ*)ᵀ I (θ − θ*)). So what a label
brings is, by the belief of θ* and but for β,

    s_p = E_θ[½ tanh(β zᵀθ/2) β zᵀ I θ].

A foregone answer is worth most here, and a coin flip nothing: the opposite of the gap criterion,
whose limit for few labels and small margins it shares. Nothing here bounds a gap, so a batch has no
certificate; docs/log.md has what it was worth.
"""

import numpy as np
from jaxtyping import Float

from whichpairs.design.criterion import Matrix
from whichpairs.design.solver import check_budget
from whichpairs.design.space import PairSpace, Rows

SPREAD = 6
"""A prompt gives at most so many times its even share of the batch."""


def strongest_pairs(
    space: PairSpace,
    information: Matrix,
    thetas: Float[np.ndarray, "samples d"],
    beta: float,
    budget: int,
    *,
    spread: int = SPREAD,
) -> Rows:
    """The `budget` candidates of the strongest signal, strongest first; ties go by the pair's key.

    Args:
        information: I(0), (d, d).
        thetas: draws of θ* from the belief; one row is a point.
        beta: KL weight β > 0.
        spread: a prompt gives at most `spread` × ⌈budget / prompts⌉ pairs, while others have any.

    Raises:
        UserError: the budget does not fit the candidates.
    """
    check_budget(budget, space.candidates)
    prompts = np.flatnonzero(space.sizes >= 2)
    most = spread * -(-budget // len(prompts))
    ways = np.stack([beta * thetas.T, beta * (information @ thetas.T)])
    while True:
        found = [_of_prompt(space, int(p), ways, most) for p in prompts]
        pairs = np.concatenate([pairs for pairs, _ in found])
        if len(pairs) >= budget:
            break
        most *= 2  # some prompts have too few pairs: the others give more
    value = np.concatenate([value for _, value in found])
    order = np.lexsort((space.keys(pairs), -value))
    return np.asarray(pairs[order[:budget]])


def signal(
    margins: Float[np.ndarray, "pairs samples"], slopes: Float[np.ndarray, "pairs samples"]
) -> Float[np.ndarray, " pairs"]:
    """s_p = E[½ tanh(η/2) ζ] of margins η = β zᵀθ and slopes ζ = β zᵀ I θ, over draws of θ."""
    return np.asarray((0.5 * np.tanh(margins / 2) * slopes).mean(axis=-1))


def _of_prompt(
    space: PairSpace, prompt: int, ways: Float[np.ndarray, "2 d samples"], most: int
) -> tuple[Rows, np.ndarray]:
    """The `most` strongest candidates of one prompt, and their signals."""
    lo, hi = int(space.starts[prompt]), int(space.starts[prompt + 1])
    i, j = np.triu_indices(hi - lo, 1)
    kept = space.not_excluded(np.stack([i + lo, j + lo], axis=1).astype(np.int64))
    i, j = i[kept], j[kept]
    margin, slope = np.asarray(space.features[lo:hi], dtype=np.float64) @ ways
    value = signal(margin[i] - margin[j], slope[i] - slope[j])
    best = np.argsort(-value, kind="stable")[:most]
    return np.stack([i[best] + lo, j[best] + lo], axis=1).astype(np.int64), value[best]
