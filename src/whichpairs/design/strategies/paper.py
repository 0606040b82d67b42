"""The paper's method as it was run: a relaxed design, and a batch drawn from it in proportion.

    θ₀ = argmin_θ mean_{x,y} (log π_ref(y|x) − a_x − φᵀθ)² + λ ‖θ‖²          `reference_theta`
    Î  = I(θ₀) = E_x Cov_{y∼π_θ₀}[φ],  π_θ₀(y|x) ∝ exp(φᵀθ₀) on the pool's completions
    w  = argmin tr(Î (λ 1 + Σ_p w_p g_p g_pᵀ)⁻¹),  g = β z,  w ≥ 0,  Σ_p w_p = 1   `paper_design`
    the batch: pairs one after the other without replacement, each with probability ∝ w   `by_weight`

At θ₀ every margin is 0, so Σ_D(θ₀) = (β²/4) Σ w z zᵀ: the design is of the matrix g gᵀ, and λ is in
its units. The criterion `gap` shares the trace and differs in all else: π_ref is the pool itself (θ
= 0, each completion by its weight), H₀ and the labels so far are in M, a pair has one label at
most, so that the relaxed design is nearly a whole batch, and that batch is exchanged, certified,
and never drawn.

Source: [han2026], as theory, section 11 has it. What it leaves open is ours: that the ridge of θ₀
is λ of the mean square, and what follows where w is 0 (`by_weight`).
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from whichpairs.design.batches.ordered import Draw
from whichpairs.design.batches.random import random_pairs
from whichpairs.design.problem.belief import PairWeights
from whichpairs.design.problem.criterion import Matrix, gap_criterion
from whichpairs.design.problem.information import policy_information
from whichpairs.design.problem.space import PairSpace, Rows
from whichpairs.design.solver.solution import FrankWolfe, PassReport
from whichpairs.design.strategies.shares import Shares, best_shares
from whichpairs.errors import UserError

RIDGE = 1e-3
"""λ, the paper's."""


def reference_theta(
    space: PairSpace, logprob: Float[np.ndarray, " rows"], ridge: float = RIDGE
) -> Float[np.ndarray, " d"]:
    """θ₀ of the eligible prompts of two completions or more, each with an a_x of its own.

    Args:
        logprob: log π_ref(y|x) of every row, nats; rows where it is not finite are left out.
        ridge: λ > 0.
    """
    known = np.isfinite(logprob) & np.repeat(space.sizes >= 2, np.diff(space.starts))
    rows = np.flatnonzero(known)
    gram, moment = np.zeros((space.dim, space.dim)), np.zeros(space.dim)
    owner = np.searchsorted(space.starts, rows, side="right") - 1
    cuts = np.flatnonzero(np.diff(owner, prepend=-1))
    for at in range(0, len(cuts), 4096):
        last = int(cuts[at + 4096]) if at + 4096 < len(cuts) else len(rows)
        some, first = rows[cuts[at] : last], cuts[at : at + 4096] - cuts[at]
        both = np.column_stack([np.asarray(space.features[some], np.float64), logprob[some]])
        sizes = np.diff(first, append=len(some))
        both -= np.repeat(np.add.reduceat(both, first) / sizes[:, None], sizes, axis=0)
        gram += both[:, :-1].T @ both[:, :-1]
        moment += both[:, :-1].T @ both[:, -1]
    count = max(len(rows), 1)
    return np.asarray(
        np.linalg.solve(gram / count + ridge * np.eye(space.dim), moment / count), np.float64
    )


def paper_information(
    space: PairSpace,
    theta: Float[np.ndarray, " d"] | None,
    reference: Float[np.ndarray, " rows"] | None = None,
) -> Matrix:
    """Î at θ₀ on the pool's completions; where θ₀ is None, by π_ref's weights as `gap` has them.

    Raises:
        UserError: the policy at θ₀ does not spread over any prompt's completions.
    """
    if theta is None:
        return policy_information(space, reference)
    found = policy_information(space, None, theta[None, :])
    if np.trace(found) <= 1e-9 * np.trace(policy_information(space)):
        raise UserError(
            "the policy fitted to log π_ref must be spread over more than one completion a prompt",
            "it puts all its weight on one, in every prompt",
            "use --criterion gap, which counts the pool's completions alike",
        )
    return found


def paper_design(
    space: PairSpace,
    beta: float,
    information: Matrix,
    *,
    ridge: float = RIDGE,
    method: FrankWolfe | None = None,
    watch: Callable[[PassReport], None] = lambda report: None,
) -> Shares:
    """w, and how near its trace is to the least.

    Args:
        beta: β; information: Î (`paper_information`); ridge: λ.
        method, watch: as in `shares.best_shares`.
    """
    # PairWeights has σ′ = 1/4 in it: at 2 β it weighs a pair by β², so that M is λ 1 + Σ w g gᵀ.
    weights, base = PairWeights(2.0 * beta), ridge * np.eye(space.dim)
    return best_shares(space, gap_criterion(information), weights, base, method, watch)


def by_weight(design: Shares, rng: np.random.Generator) -> Draw:
    """The order of a draw without replacement, each pair with probability ∝ w among those left.

    After the last pair with w > 0 come the others, uniformly at random: an optimal w needs no more
    than d (d + 1) / 2 pairs, which are soon drawn (then those whose weight steps have not yet
    brought to 0). By the order of log w + a Gumbel variable [efraimidis2006], so that any limits
    can be kept while it is gone through.
    """
    noise = rng.gumbel(size=len(design.keys))
    order = design.keys[np.argsort(-(np.log(design.weights) + noise), kind="stable")]

    def draw(space: PairSpace, count: int) -> Rows:
        pairs = space.from_keys(order)
        prompt = np.searchsorted(space.starts, pairs[:, 0], side="right") - 1
        free = (space.sizes[prompt] >= 2) & space.not_excluded(pairs)
        first = pairs[free][:count]
        if len(first) == count:
            return first
        rest = random_pairs(space.without(first), count - len(first), rng)
        return np.concatenate([first, rest])

    return draw
