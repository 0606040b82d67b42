"""Limits drawn at random, and what plain enumeration says of them: the slow twin of the solver's tests."""

from itertools import product

import cvxpy as cp
import numpy as np
from hypothesis import strategies as st
from scipy.optimize import linprog

from pools import all_pairs
from whichpairs.design import DOptimal, PairSpace, Problem
from whichpairs.design.problem.limits import Groups, Limits

KINDS = ("repeats", "per_prompt", "per_completion", "row_costs", "groups", "must")


@st.composite
def limits_on(draw, space: PairSpace, kinds: tuple[str, ...] = KINDS) -> tuple[Limits, float]:
    """Any combination of `kinds`, and a budget about what the space has room for."""
    pairs = all_pairs(space)
    drawn = draw(st.sets(st.sampled_from(kinds))) if kinds else set()
    options: dict = {}
    if "repeats" in drawn:
        options["repeats"] = draw(st.integers(1, 3))
    if "per_prompt" in drawn:
        options["per_prompt"] = draw(st.integers(1, 4))
    if "per_completion" in drawn:
        options["per_completion"] = draw(st.integers(1, 3))
    if "row_costs" in drawn:
        few = st.sampled_from([0.25, 0.5, 1.0, 1.7, 3.0])
        options["row_costs"] = np.array(
            draw(st.lists(few, min_size=space.rows, max_size=space.rows))
        )
    if "must" in drawn and len(pairs):
        chosen = draw(st.sets(st.integers(0, len(pairs) - 1), max_size=2))
        options["must"] = pairs[sorted(chosen, reverse=True)]
    if "groups" in drawn:
        options["groups"] = draw(groups_on(len(space.sizes)))
    limits = Limits(**options)
    if limits.unit_costs:
        return limits, draw(st.integers(1, max(min(6, limits.repeats * len(pairs)), 1)))
    return limits, draw(st.sampled_from([1.0, 2.3, 4.0, 6.5]))


@st.composite
def groups_on(draw, prompts: int) -> Groups:
    """One to three groups, some prompts in none, some groups perhaps without prompts."""
    count = draw(st.integers(1, 3))
    of = draw(st.lists(st.integers(-1, count - 1), min_size=prompts, max_size=prompts))
    shares = st.tuples(
        st.sampled_from([0.0, 0.0, 0.2, 0.35, 0.5]), st.sampled_from([0.5, 0.75, 1.0])
    )
    ranges = draw(st.lists(shares, min_size=count, max_size=count))
    least, most = (np.array(x) for x in zip(*ranges, strict=True))
    return Groups(tuple("abc"[:count]), np.array(of, np.int64), least, most)


def plain_rows(
    space: PairSpace, pairs: np.ndarray, budget: float, limits: Limits
) -> tuple[np.ndarray, np.ndarray]:
    """A and b of A u ≤ b, one row a limit, written without thought for size."""
    costs = np.ones(len(pairs))
    if limits.row_costs is not None:
        costs = limits.row_costs[pairs].sum(axis=1)
    prompt = np.searchsorted(space.starts, pairs[:, 0], side="right") - 1
    rows, room = [costs], [float(budget)]
    if limits.groups is not None:
        low, high = limits.group_bounds(budget)
        for g in range(len(low)):
            inside = (limits.groups.of[prompt] == g) * costs
            rows += [inside, -inside]
            room += [high[g], -low[g]]
    if limits.per_prompt is not None:
        for p in range(len(space.sizes)):
            rows.append((prompt == p).astype(float))
            room.append(float(limits.per_prompt))
    if limits.per_completion is not None:
        for r in range(space.rows):
            rows.append((pairs == r).any(axis=1).astype(float))
            room.append(float(limits.per_completion))
    return np.array(rows), np.array(room)


def label_bounds(pairs: np.ndarray, limits: Limits) -> np.ndarray:
    """Labels of each pair, at least and at most, (pairs, 2)."""
    must = {tuple(pair) for pair in limits.must.tolist()}
    least = [float(tuple(pair) in must) for pair in pairs.tolist()]
    return np.stack([least, np.full(len(pairs), float(limits.repeats))], axis=1)


def plain_programme(
    space: PairSpace, pairs: np.ndarray, scores: np.ndarray, budget: float, limits: Limits
) -> float | None:
    """What feasible counts of `pairs` are worth at most; None where there are none."""
    rows, room = plain_rows(space, pairs, budget, limits)
    found = linprog(-scores, A_ub=rows, b_ub=room, bounds=label_bounds(pairs, limits))
    assert found.status in (0, 2)
    return None if found.status == 2 else -float(found.fun)


def feasible_batches(space: PairSpace, budget: float, limits: Limits) -> np.ndarray:
    """All whole counts within the limits, (batches, pairs): budgets of labels are spent in full,
    others by one label at least."""
    pairs = all_pairs(space)
    bounds = label_bounds(pairs, limits).astype(int)
    counts = np.array(list(product(*(range(lo, hi + 1) for lo, hi in bounds))), float)
    rows, room = plain_rows(space, pairs, budget, limits)
    fine = (counts @ rows.T <= room + 1e-9).all(axis=1)
    total = counts.sum(axis=1)
    fine &= total == budget if limits.unit_costs else total > 0
    return counts[fine]


def counts_of(space: PairSpace, batch: np.ndarray) -> np.ndarray:
    """Labels by pair, in the order of `all_pairs`."""
    keys = space.keys(all_pairs(space))
    places = np.searchsorted(keys, space.keys(batch))
    assert np.array_equal(keys[places], space.keys(batch))
    return np.bincount(places, minlength=len(keys)).astype(float)


def relaxed_optimum(problem: Problem) -> float:
    """f of the best fractional design, by CVXPY, for tr(W M⁻¹) or −log det M."""
    space = problem.space
    pairs = all_pairs(space)
    z = space.differences(pairs)
    z *= np.sqrt(problem.weights(z))[:, None]
    rows, room = plain_rows(space, pairs, problem.budget, problem.limits)
    least, most = label_bounds(pairs, problem.limits).T
    u = cp.Variable(len(pairs))
    m = problem.base + z.T @ cp.diag(u) @ z
    if isinstance(problem.criterion, DOptimal):
        f = -cp.log_det(m)
    else:  # matrix_frac(R, M) = tr(Rᵀ M⁻¹ R)
        f = cp.matrix_frac(np.linalg.cholesky(problem.criterion.matrix), m)
    limits = [rows @ u <= room, u >= least, u <= most]
    tight = {"tol_gap_abs": 1e-8, "tol_gap_rel": 1e-8, "tol_feas": 1e-8}
    return float(cp.Problem(cp.Minimize(f), limits).solve(solver="CLARABEL", **tight))


def limited(kinds: tuple[str, ...], space: PairSpace, rng: np.random.Generator) -> Limits:
    """Limits of these kinds that bind."""
    options: dict = {}
    if "repeats" in kinds:
        options["repeats"] = 2
    if "per_prompt" in kinds:
        options["per_prompt"] = 3
    if "per_completion" in kinds:
        options["per_completion"] = 2
    if "row_costs" in kinds:
        options["row_costs"] = rng.uniform(0.2, 0.8, space.rows)
    if "groups" in kinds:
        of = np.arange(len(space.sizes)) % 3 - 1
        options["groups"] = Groups(("a", "b"), of, np.array([0.2, 0.1]), np.array([0.6, 0.4]))
    if "must" in kinds:
        pairs = all_pairs(space)
        options["must"] = pairs[rng.choice(len(pairs), 2, replace=False)]
    return Limits(**options)


def feasible(space: PairSpace, limits: Limits, budget: float, counts: np.ndarray) -> bool:
    """Whether counts of all candidates obey the limits, by a plain programme's rows."""
    pairs = all_pairs(space)
    rows, room = plain_rows(space, pairs, budget, limits)
    least, most = label_bounds(pairs, limits).T
    return bool(
        ((rows @ counts <= room + 1e-9).all()) & (least <= counts).all() & (counts <= most).all()
    )
