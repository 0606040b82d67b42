"""Pools in which many pairs are equal, or nearly: where a design by scores alone goes wrong.

A pool is drawn from its number: its features by one of `FEATURES`, its limits by one of `LIMITS`,
its criterion, belief, prior and budget (from one label to many a dimension).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from whichpairs.design import (
    Belief,
    Criterion,
    DOptimal,
    Groups,
    Limits,
    PairSpace,
    Problem,
    Sum,
    a_optimal,
    c_optimal,
    gap_criterion,
    prior,
)
from whichpairs.design.problem.space import Rows
from whichpairs.errors import UserError
from whichpairs.streams import bench_stream

Rng = np.random.Generator


@dataclass(frozen=True)
class TiePool:
    """A pool with its problem.

    Attributes:
        number: it is drawn from; features, limits: their kind's name.
        beta: β; belief: about θ; known: labels that count as given (adaptive designs ask).
    """

    number: int
    features: str
    limits: str
    problem: Problem
    beta: float
    belief: Belief
    known: int


def _one_hot(rng: Rng, prompts: int, size: int, dim: int) -> np.ndarray:
    """A parameter a cell; a prompt has some of them."""
    cells = np.stack([rng.choice(dim, size, replace=size > dim) for _ in range(prompts)])
    return np.eye(dim)[cells.ravel()]


def _tabular(rng: Rng, prompts: int, size: int, dim: int) -> np.ndarray:
    """A parameter a completion of a prompt's type; prompts of a type lie together."""
    types = max(dim // size, 1)
    kind = np.sort(rng.integers(0, types, prompts))
    cells = (kind[:, None] * size + np.arange(size)) % dim
    return np.eye(dim)[cells.ravel()]


def _same(rng: Rng, prompts: int, size: int, dim: int) -> np.ndarray:
    """The same completions under every prompt."""
    return np.tile(rng.standard_normal((size, dim)), (prompts, 1))


def _offset(rng: Rng, prompts: int, size: int, dim: int) -> np.ndarray:
    """The same completions, each prompt with a vector of its own besides: equal but for
    rounding."""
    own = 10.0 * rng.standard_normal((prompts, 1, dim))
    return (_same(rng, prompts, size, dim).reshape(prompts, size, dim) + own).reshape(-1, dim)


def _jitter(rng: Rng, prompts: int, size: int, dim: int) -> np.ndarray:
    """The same completions, nearly."""
    noise = 10.0 ** rng.uniform(-8, -2)
    return _same(rng, prompts, size, dim) + noise * rng.standard_normal((prompts * size, dim))


def _duplicates(rng: Rng, prompts: int, size: int, dim: int) -> np.ndarray:
    """Few texts, drawn again and again, often twice for a prompt."""
    texts = rng.standard_normal((max(size // 2, 2) + 1, dim))
    return texts[rng.integers(0, len(texts), prompts * size)]


def _collinear(rng: Rng, prompts: int, size: int, dim: int) -> np.ndarray:
    """All features on one or two lines; a few prompts stand apart."""
    lines = rng.standard_normal((int(rng.integers(1, 3)), dim))
    x = rng.standard_normal((prompts * size, len(lines))) @ lines
    x[: 2 * size] += 0.1 * rng.standard_normal((2 * size, dim))
    return x


def _whole(rng: Rng, prompts: int, size: int, dim: int) -> np.ndarray:
    """Small whole numbers: grades, counts."""
    return rng.integers(-1, 2, (prompts * size, dim)).astype(np.float64)


def _heavy(rng: Rng, prompts: int, size: int, dim: int) -> np.ndarray:
    """A few completions far from all others, under many prompts."""
    x = _same(rng, prompts, size, dim)
    x[::size] *= 10.0 ** rng.uniform(0.0, 1.5)
    return x


FEATURES: dict[str, Callable[[Rng, int, int, int], np.ndarray]] = {
    "one-hot": _one_hot,
    "tabular": _tabular,
    "same": _same,
    "offset": _offset,
    "jitter": _jitter,
    "duplicates": _duplicates,
    "collinear": _collinear,
    "whole": _whole,
    "heavy": _heavy,
}

LIMITS = ("none", "prompt", "completion", "repeats", "groups", "costs", "must", "several")
"""What limits a batch beside its budget; half of the pools have nothing."""


def tie_pool(number: int) -> TiePool:
    """The pool of this number."""
    for attempt in range(50):  # where the limits leave no room for the budget, draw again
        try:
            return _drawn(number, bench_stream(number, attempt, 31))
        except UserError:
            continue
    raise ValueError(f"no pool of number {number}")


def _drawn(number: int, rng: Rng) -> TiePool:
    features = list(FEATURES)[number % len(FEATURES)]
    limits = LIMITS[number // 2 % len(LIMITS)] if number % 2 else "none"
    size, dim = int(rng.integers(3, 9)), int(rng.integers(2, 13))
    prompts = int(10 ** rng.uniform(0.7, 2.8))
    x = FEATURES[features](rng, prompts, size, dim)
    dtype = [np.float32, np.float16, np.float64][int(rng.integers(3))]
    space = PairSpace(x.astype(dtype), np.arange(0, prompts * size + 1, size))
    beta = float(10.0 ** rng.uniform(-1, 0.3))
    ridge = prior(space, beta)
    if not ridge.any():
        raise UserError("the pairs must differ", "all are equal")
    belief = Belief(np.zeros(dim))
    if rng.random() < 0.4:
        belief = Belief(rng.standard_normal(dim) / beta, ridge)
    strength = float(10.0 ** rng.uniform(-4, 0))
    most = space.candidates
    budget = int(np.clip(dim * 10.0 ** rng.uniform(-0.5, 2.2), 1, max(most // 3, 1)))
    problem = Problem(
        space,
        _criterion(rng, space, belief),
        belief.weights(beta),
        strength * ridge,
        float(2 * budget) if limits in ("costs",) else budget,
        _limits(limits, rng, space, budget),
    )
    return TiePool(number, features, limits, problem, beta, belief, int(rng.integers(0, 8 * dim)))


def _criterion(rng: Rng, space: PairSpace, belief: Belief) -> Criterion:
    gap = gap_criterion(belief.policy_information(space))
    which = rng.random()
    if which < 0.6:
        return gap
    if which < 0.75:
        return DOptimal()
    if which < 0.85:
        return a_optimal(space.dim)
    if which < 0.95:
        return c_optimal(rng.standard_normal(space.dim))
    return Sum(((1.0, gap), (0.1, DOptimal())))


def _limits(name: str, rng: Rng, space: PairSpace, budget: int) -> Limits:
    prompts = len(space.sizes)
    per = max(-(-2 * budget // prompts), 1)
    names = ("a", "b")
    of = rng.integers(-1, 2, prompts)
    groups = Groups(names, of, np.array([0.2, 0.0]), np.array([0.7, 0.5]))
    must: Rows = space.unrank(np.sort(rng.choice(space.all_pairs, max(budget // 4, 1), False)))
    match name:
        case "prompt":
            return Limits(per_prompt=per)
        case "completion":
            return Limits(per_completion=per)
        case "repeats":
            return Limits(repeats=int(rng.integers(2, 5)))
        case "groups":
            return Limits(groups=groups)
        case "costs":
            few = np.array([0.5, 1.0, 2.0])[rng.integers(0, 3, space.rows)]
            return Limits(row_costs=few)
        case "must":
            return Limits(must=must)
        case "several":
            return Limits(per_prompt=per, groups=groups, repeats=2)
    return Limits()
