"""Published rules that go from prompt to prompt: which two completions of each are compared.

They stand here so that each is seen in a few lines on the same helpers, and without faults that
are not the rule's own (self-pairs, repeats). Each takes one pair a prompt, prompts in random order
unless the rule has one; then every prompt's next pair, and so on. Ties fall at random. `rivals`
holds the rules that rank all pairs together, and the register of all.

Rules on confidence bands see of the ensemble what their papers see: every completion's mean reward
r and standard deviation s. Rewards are centred within the prompt first, as a Bradley–Terry reward
is known up to a constant a prompt only.
"""

from collections.abc import Callable

import numpy as np
from scipy.special import expit, xlogy

from whichpairs.bench.methods.turn import Desk
from whichpairs.design.problem.limits import check_budget
from whichpairs.design.problem.space import Rows

REDRAWS = 10
"""Thompson draws of the second completion, if they keep naming the first (ActiveUltraFeedback)."""

QUANTILE = 0.05
"""Place of delta-quantile's pair among a prompt's ordered pairs, widest gap first (its default)."""


def best_vs_worst(desk: Desk, budget: int) -> Rows:
    """The largest |margin| of the current fit: best against worst, as UltraFeedback is binarised.

    Source: Tunstall et al., Zephyr, arXiv:2310.16944; distilabel. Next pair: the next widest.
    """
    width = np.abs(margins(desk))
    return one_a_prompt(desk, budget, lambda: width)


def entropy(desk: Desk, budget: int) -> Rows:
    """Prompts by the entropy of π_θ, largest first; a random pair of each.

    Source: Muldrew et al. 2024, arXiv:2402.08114 (predictive entropy). There it is estimated from
    completions that the policy writes; here it is exact, over the pool's completions.
    """
    phi = np.asarray(desk.space.features, np.float64)
    with np.errstate(divide="ignore"):
        logits = phi @ desk.theta + np.log(desk.world.reference)
    owner, begin, prompts = owners(desk)
    weight = np.exp(logits - np.maximum.reduceat(logits, begin)[owner])
    p = weight / np.add.reduceat(weight, begin)[owner]
    worth = np.zeros(len(desk.space.sizes))
    worth[prompts] = np.add.reduceat(-xlogy(p, p), begin)  # H = −Σ π log π
    # Rounded, so that prompts alike but for the order of a sum tie.
    return one_a_prompt(desk, budget, lambda: desk.rng.random(len(desk.pairs)), worth.round(10))


def dts(desk: Desk, budget: int) -> Rows:
    """Double Thompson sampling: two draws of all rewards, and the best completion of each.

    Source: Wu and Liu 2016, arXiv:1604.07101, as in ActiveUltraFeedback (Melikidze et al. 2026,
    arXiv:2603.09692): r + s U(−1, 1), apart for each completion; the second is drawn again while it
    names the first.
    """
    draw = _band_draw(desk)
    return _duel(desk, budget, draw, draw)


def drts(desk: Desk, budget: int) -> Rows:
    """Double reverse Thompson sampling: the best completion of a draw, the worst of another.

    Source: ActiveUltraFeedback, arXiv:2603.09692; draws as in `dts`.
    """
    draw = _band_draw(desk)
    return _duel(desk, budget, draw, lambda: -draw())


def drts_heads(desk: Desk, budget: int) -> Rows:
    """As `drts`, but a draw is a member of the ensemble: the best of one against the worst of
    another. Draws of θ keep the correlations that bands lose."""
    draw = _head_draw(desk)
    return _duel(desk, budget, draw, lambda: -draw())


def enn_dts(desk: Desk, budget: int) -> Rows:
    """Double Thompson sampling by the ensemble: the best completion of each of two members.

    Source: oat (Liu et al. 2024, arXiv:2411.01493, `EnnEETS`, first `EnnDTS`): further members are
    asked while they name the first again. Here every prompt has its own members.
    """
    draw = _head_draw(desk)
    return _duel(desk, budget, draw, draw)


def enn_uncertainty(desk: Desk, budget: int) -> Rows:
    """The pair whose margin the ensemble disagrees about most: Var_h (r_hi − r_hj).

    Source: oat (arXiv:2411.01493, `EnnUncertainty` on `logits_variance`).
    """
    heads = desk.heads - desk.heads.mean(axis=0)
    variance = square_distances(desk, heads.T / np.sqrt(len(heads) - 1.0))
    return one_a_prompt(desk, budget, lambda: variance)


def delta_ucb(desk: Desk, budget: int) -> Rows:
    """The largest gap that is plausible: max (r_i + s_i) − (r_j − s_j).

    Source: ActiveUltraFeedback, arXiv:2603.09692.
    """
    delta, spread = _gaps(desk)
    return one_a_prompt(desk, budget, lambda: np.abs(delta) + spread)


def delta_quantile(desk: Desk, budget: int) -> Rows:
    """The pair at the 5 % place of the prompt's ordered pairs, by delta-ucb's gap.

    Source: ActiveUltraFeedback, arXiv:2603.09692, its code. Next pair: the next nearest in gap.
    """
    delta, spread = _gaps(desk)
    distance = np.empty(len(delta))
    for lo, hi in np.stack(segments(desk.pair_prompts), axis=1):
        gaps = spread[lo:hi] + np.stack([delta[lo:hi], -delta[lo:hi]])
        place = gaps.size - 1 - int(QUANTILE * gaps.size)
        distance[lo:hi] = np.abs(gaps - np.partition(gaps, place, axis=None)[place]).min(axis=0)
    return one_a_prompt(desk, budget, lambda: -distance)


def infomax(desk: Desk, budget: int) -> Rows:
    """The widest confidence interval of P(i ≻ j): σ(Δ + s_i + s_j) − σ(Δ − s_i − s_j).

    Source: Saha 2021 (dueling bandits), as in ActiveUltraFeedback, arXiv:2603.09692.
    """
    delta, spread = _gaps(desk)
    width = expit(delta + spread) - expit(delta - spread)
    return one_a_prompt(desk, budget, lambda: width)


def maxminlcb(desk: Desk, budget: int) -> Rows:
    """A Stackelberg game on lower bounds: i = argmax_i min_j r_i − r_j − s_i − s_j, j its argmin.

    Source: Pásztor et al. 2024, arXiv:2406.01698, as in ActiveUltraFeedback. With L = r − s and
    U = r + s the minimum is L_i − max_{j≠i} U_j, and the argmin is the largest U but i's. Pruning
    arms that are surely beaten, as they do, changes neither. Next pair: i's next best answer.
    """
    reward, spread = bands(desk)
    upper = reward + spread
    owner, begin, _ = owners(desk)
    best = np.maximum.reduceat(upper, begin)[owner]
    leads = (_ranks(desk, upper) == 0).nonzero()[0]
    others = upper.copy()
    others[leads] = -np.inf
    second = np.maximum.reduceat(others, begin)[owner]
    rival = best
    rival[leads] = np.where(np.isfinite(second[leads]), second[leads], upper[leads])
    score = _lexicographic(desk, reward - spread - rival, upper)
    return one_a_prompt(desk, budget, lambda: score)


# Helpers: pairs and completions as arrays.


def margins(desk: Desk) -> np.ndarray:
    """β zᵀθ̂ of every candidate pair in float64, by way of the completions' rewards."""
    reward = np.asarray(desk.space.features, np.float64) @ (desk.beta * desk.theta)
    return np.asarray(reward[desk.pairs[:, 0]] - reward[desk.pairs[:, 1]])


def square_distances(desk: Desk, h: np.ndarray) -> np.ndarray:
    """‖h_i − h_j‖² of every candidate pair, h of every row, by the prompts' Gram matrices."""
    space = desk.space
    prompts = np.flatnonzero(space.sizes >= 2)
    size = int(space.sizes.max())
    at = np.minimum(space.starts[prompts][:, None] + np.arange(size), space.rows - 1)
    local = h[at]
    gram = np.matmul(local, local.transpose(0, 2, 1)).ravel()
    place = np.zeros(len(space.sizes), np.int64)
    place[prompts] = np.arange(len(prompts))
    i, j = (desk.pairs - space.starts[desk.pair_prompts][:, None]).T
    offset = place[desk.pair_prompts] * size * size
    square = np.einsum("ij,ij->i", h, h)
    first, second = desk.pairs.T
    return np.maximum(square[first] + square[second] - 2.0 * gram[offset + i * size + j], 0.0)


def one_a_prompt(
    desk: Desk, budget: int, score: Callable[[], np.ndarray], worth: np.ndarray | None = None
) -> Rows:
    """Every prompt's best pair, then every prompt's next best, until the budget is spent.

    Args:
        score: of every candidate pair, larger is better; asked anew for each pair of a prompt, so
            that a rule may draw.
        worth: prompts of larger worth come first, (prompts,); random order when None.
    """
    check_budget(budget, len(desk.pairs))
    first, last = segments(desk.pair_prompts)
    lengths = last - first
    free = np.ones(len(desk.pairs), dtype=bool)
    picked: list[np.ndarray] = []
    left = budget
    while left > 0:
        value = np.where(free, score(), -np.inf)
        best = np.repeat(np.maximum.reduceat(value, first), lengths)
        found = desk.rng.permutation(np.flatnonzero(free & (value == best)))
        prompt, one = np.unique(desk.pair_prompts[found], return_index=True)
        noise = desk.rng.random(len(prompt))
        order = np.argsort(noise) if worth is None else np.lexsort((noise, -worth[prompt]))
        layer = found[one[order]][:left]
        free[layer] = False
        picked.append(layer)
        left -= len(layer)
    return desk.pairs[np.concatenate([np.empty(0, np.int64), *picked])]


def bands(desk: Desk) -> tuple[np.ndarray, np.ndarray]:
    """Mean r and standard deviation s over the ensemble of every row's reward, centred."""
    owner, begin, _ = owners(desk)
    count = np.diff(np.append(begin, desk.space.rows))
    heads = desk.heads - (np.add.reduceat(desk.heads, begin, axis=1) / count)[:, owner]
    return heads.mean(axis=0), heads.std(axis=0)


def _gaps(desk: Desk) -> tuple[np.ndarray, np.ndarray]:
    """r_i − r_j and s_i + s_j of every candidate pair."""
    reward, spread = bands(desk)
    i, j = desk.pairs.T
    return reward[i] - reward[j], spread[i] + spread[j]


def _band_draw(desk: Desk) -> Callable[[], np.ndarray]:
    reward, spread = bands(desk)
    return lambda: reward + spread * desk.rng.uniform(-1.0, 1.0, len(reward))


def _head_draw(desk: Desk) -> Callable[[], np.ndarray]:
    owner, begin, _ = owners(desk)
    rows = np.arange(desk.space.rows)

    def draw() -> np.ndarray:
        return np.asarray(
            desk.heads[desk.rng.integers(len(desk.heads), size=len(begin))[owner], rows]
        )

    return draw


def _duel(
    desk: Desk, budget: int, first: Callable[[], np.ndarray], second: Callable[[], np.ndarray]
) -> Rows:
    """The best completion of a draw against the best of another draw, all drawn anew each time."""
    owner, begin, _ = owners(desk)

    def score() -> np.ndarray:
        leader, follower = first(), second()
        leads = leader == np.maximum.reduceat(leader, begin)[owner]
        for _ in range(REDRAWS):
            again = leads & (follower == np.maximum.reduceat(follower, begin)[owner])
            if not again.any():
                break
            follower = np.where(np.isin(owner, owner[again]), second(), follower)
        return _lexicographic(desk, leader, follower)

    return one_a_prompt(desk, budget, score)


def _lexicographic(desk: Desk, leader: np.ndarray, follower: np.ndarray) -> np.ndarray:
    """A score of pairs whose best is the best leader with the best follower that is not itself."""
    lead, follow = _ranks(desk, leader), _ranks(desk, follower)
    size = int(desk.space.sizes.max())
    i, j = desk.pairs.T
    return -np.minimum(lead[i] * size + follow[j], lead[j] * size + follow[i]).astype(np.float64)


def _ranks(desk: Desk, value: np.ndarray) -> np.ndarray:
    """Each row's place in its prompt by `value`, 0 the largest; ties at random."""
    owner, begin, _ = owners(desk)
    order = np.lexsort((desk.rng.random(len(value)), -value, owner))
    ranks = np.empty(len(value), np.int64)
    ranks[order] = np.arange(len(value)) - begin[owner]
    return ranks


def owners(desk: Desk) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Prompts that have rows: which of them owns each row, its first row, its number."""
    sizes = np.diff(desk.space.starts)
    prompts = np.flatnonzero(sizes)
    return np.repeat(np.arange(len(prompts)), sizes[prompts]), desk.space.starts[prompts], prompts


def segments(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Begin and end of each run of equal labels."""
    first = np.concatenate([[0], np.flatnonzero(np.diff(labels)) + 1])
    return first, np.append(first[1:], len(labels))
