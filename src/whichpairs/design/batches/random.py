"""The designs that people use today: random and its relatives. Each returns a batch of pairs.

All draw only from the candidates: no self-pairs, no repeats, none already labelled (random is
given every advantage).
"""

import numpy as np
from jaxtyping import Float

from whichpairs.design.problem.limits import check_budget
from whichpairs.design.problem.space import PairSpace, Rows, is_member


def random_pairs(space: PairSpace, budget: int, rng: np.random.Generator) -> Rows:
    """Uniform over candidate pairs, without replacement, in random order."""
    check_budget(budget, space.candidates)
    draw = min(budget + len(space.excluded), space.all_pairs)
    ranks = rng.choice(space.all_pairs, size=draw, replace=False).astype(np.int64)
    pairs = space.unrank(ranks)
    return pairs[space.not_excluded(pairs)][:budget]


def uniform_prompts(space: PairSpace, budget: int, rng: np.random.Generator) -> Rows:
    """A uniform prompt, then a uniform pair of it that is still free; exhausted prompts drop
    out."""
    check_budget(budget, space.candidates)
    sizes = space.sizes

    def propose(count: int) -> Rows:
        prompt = rng.choice(np.flatnonzero(sizes >= 2), size=count)
        m = sizes[prompt]
        i = rng.integers(0, m)
        j = rng.integers(0, m - 1)
        j = j + (j >= i)
        both = np.stack([np.minimum(i, j), np.maximum(i, j)], axis=1)
        return both.astype(np.int64) + space.starts[prompt][:, None]

    return _until_full(space, budget, propose, rng)


def reference_pairs(
    space: PairSpace,
    budget: int,
    rng: np.random.Generator,
    reference: Float[np.ndarray, " rows"] | None = None,
) -> Rows:
    """A uniform prompt and two draws from π_ref's weights, distinct: how pairs are sampled
    today."""
    check_budget(budget, space.candidates)
    mass = np.ones(space.rows) if reference is None else np.asarray(reference, dtype=np.float64)
    total = np.concatenate([[0.0], np.cumsum(mass)])
    prompts = np.flatnonzero(space.sizes >= 2)

    def draw(prompt: np.ndarray) -> np.ndarray:
        low, high = total[space.starts[prompt]], total[space.starts[prompt + 1]]
        row = np.searchsorted(total, low + rng.random(len(prompt)) * (high - low), side="right") - 1
        return np.clip(row, space.starts[prompt], space.starts[prompt + 1] - 1)

    def propose(count: int) -> Rows:
        prompt = rng.choice(prompts, size=count)
        left, right = draw(prompt), draw(prompt)
        both = np.stack([np.minimum(left, right), np.maximum(left, right)], axis=1)
        return both[left != right].astype(np.int64)

    return _until_full(space, budget, propose, rng)


def best_versus_worst(
    space: PairSpace,
    budget: int,
    rng: np.random.Generator,
    score: Float[np.ndarray, " rows"],
) -> Rows:
    """Every prompt's best against its worst by `score`, prompts in random order; then, when the
    budget is not spent, every prompt's next widest pair, and so on."""
    check_budget(budget, space.candidates)
    order = rng.permutation(len(space.sizes))
    depth = 1
    while True:
        found = [_widest(space, int(p), score, depth) for p in order if space.sizes[p] >= 2]
        rounds = [pairs[r] for r in range(depth) for pairs in found if r < len(pairs)]
        if len(rounds) >= budget:
            return np.asarray(rounds[:budget], dtype=np.int64).reshape(-1, 2)
        depth *= 2


def _widest(space: PairSpace, prompt: int, score: np.ndarray, depth: int) -> np.ndarray:
    lo, hi = int(space.starts[prompt]), int(space.starts[prompt + 1])
    i, j = np.triu_indices(hi - lo, 1)
    pairs = np.stack([i + lo, j + lo], axis=1).astype(np.int64)
    pairs = pairs[space.not_excluded(pairs)]
    width = np.abs(score[pairs[:, 0]] - score[pairs[:, 1]])
    return np.asarray(pairs[np.argsort(-width, kind="stable")[:depth]])


def _until_full(space: PairSpace, budget: int, propose, rng: np.random.Generator) -> Rows:  # type: ignore[no-untyped-def]
    """Distinct candidates in the order of `propose`; the rest uniform once proposals run dry."""
    taken: dict[int, None] = {}
    dry = 0
    while len(taken) < budget and dry < 20:
        pairs = propose(2 * (budget - len(taken)) + 16)
        before = len(taken)
        taken.update(dict.fromkeys(space.keys(pairs[space.not_excluded(pairs)]).tolist()))
        dry = dry + 1 if len(taken) == before else 0
    keys = np.fromiter(taken, dtype=np.int64, count=len(taken))[:budget]
    if len(keys) < budget:
        rest = random_pairs(space, space.candidates, rng)
        rest = rest[~is_member(space.keys(rest), np.sort(keys))][: budget - len(keys)]
        keys = np.concatenate([keys, space.keys(rest)])
    return space.from_keys(keys)
