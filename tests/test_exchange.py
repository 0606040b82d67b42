"""Exchange steps where M is singular or nearly so: a poor start must not cost the batch at hand."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from limit_cases import relaxed_optimum
from pools import all_pairs, make_space
from whichpairs.design import (
    DOptimal,
    FrankWolfe,
    Linear,
    PairSpace,
    PairWeights,
    Problem,
    a_optimal,
    c_optimal,
    solve,
)
from whichpairs.design.batches.candidates import Candidates
from whichpairs.design.problem.criterion import value_or_infinity
from whichpairs.design.problem.limits import Limits
from whichpairs.design.problem.swaps import Swaps
from whichpairs.design.solver.certificate import unit_of
from whichpairs.design.solver.exchange import exchange, kicked
from whichpairs.design.solver.frank_wolfe import solve_among


def candidates_of(space: PairSpace) -> Candidates:
    return Candidates.of(space, PairWeights(1.0), Limits(), space.keys(all_pairs(space)))


def one_hot(directions: int, times: int) -> Candidates:
    """Every prompt compares 0 with one unit vector; each unit vector is that of `times` prompts."""
    unit = (
        np.tile(np.eye(directions), (times, 1))
        * np.arange(1, times + 1).repeat(directions)[:, None]
    )
    rows = np.stack([np.zeros_like(unit), unit], axis=1).reshape(-1, directions)
    return candidates_of(PairSpace(rows.astype(np.float32), np.arange(0, len(rows) + 1, 2)))


def counts_at(c: Candidates, places: list[int]) -> np.ndarray:
    return np.bincount(places, minlength=len(c)).astype(np.int64)


def improved(c: Candidates, counts: np.ndarray, base: np.ndarray, criterion) -> np.ndarray:
    n = int(counts.sum())
    return exchange(c, counts, base, criterion, n, Limits(), swaps=200, goal=-np.inf)


def value(c: Candidates, counts: np.ndarray, base: np.ndarray, criterion) -> float:
    return value_or_infinity(criterion, base + c.information(counts.astype(float)))


@pytest.mark.parametrize("criterion", [a_optimal(3), DOptimal()], ids=lambda k: k.name)
def test_a_start_with_a_direction_without_labels_comes_back(criterion) -> None:
    """One-hot features, no prior, no label of the third direction."""
    c, base = one_hot(3, 3), np.zeros((3, 3))
    start = counts_at(c, [0, 1, 3, 4])
    assert value(c, start, base, criterion) == np.inf
    assert np.array_equal(improved(c, start, base, criterion), start)


def test_a_start_that_a_tiny_ridge_does_not_mend_comes_back() -> None:
    """c-optimal, four labels of one direction, z = (1, 1): 4 + 10⁻²⁰ is 4, and M singular."""
    ends = 2.0 * np.array([[1, 1]] * 5 + [[1, -1]], np.float32)
    rows = np.stack([np.zeros_like(ends), ends], axis=1).reshape(-1, 2)
    c = candidates_of(PairSpace(rows, np.arange(0, 13, 2)))
    base, criterion = 1e-20 * np.eye(2), c_optimal(np.array([1.0, 0.0]))
    start = counts_at(c, [0, 1, 2, 3])
    assert value(c, start, base, criterion) == np.inf
    assert np.array_equal(improved(c, start, base, criterion), start)


def test_kicks_without_a_prior_cost_no_batch() -> None:
    """n = d + 1 one-hot labels: most kicks leave a direction without any."""
    c, base, criterion = one_hot(4, 3), np.zeros((4, 4)), a_optimal(4)
    best = improved(c, counts_at(c, [0, 1, 2, 3, 4]), base, criterion)
    # Each direction once at the length 3, w = ¼, and one of them again at the length 2.
    assert value(c, best, base, criterion) == pytest.approx(3 * 4 / 9 + 4 / 13)
    singular = 0
    for seed in range(12):
        trial = kicked(c, best, 5, Limits(), np.random.default_rng(seed))
        assert trial is not None
        reached = value(c, improved(c, trial, base, criterion), base, criterion)
        singular += reached == np.inf
        assert reached <= value(c, trial, base, criterion)
    assert 0 < singular < 12


@pytest.mark.slow
@pytest.mark.parametrize("criterion", [a_optimal(12), c_optimal(np.arange(1.0, 13.0))])
def test_a_nearly_singular_batch_never_gets_worse(criterion) -> None:
    """n < d: what a label teaches, over the ridge, is all the digits there are."""
    for seed in range(4):
        c = candidates_of(make_space(60, 8, 12, seed))
        for ridge in (1e-12, 1e-13, 1e-14, 1e-15):
            start = counts_at(c, np.random.default_rng(seed).choice(len(c), 8, replace=False))
            base = ridge * np.eye(12)
            end = improved(c, start, base, criterion)
            assert end.sum() == 8
            assert value(c, end, base, criterion) <= value(c, start, base, criterion)


@dataclass(frozen=True)
class Boasting(Swaps):
    """Says of one swap, by places, that it lowers f by 10¹²."""

    swap: tuple[int, int] = (-1, -1)

    def changes(self, out: np.ndarray, into: np.ndarray) -> np.ndarray:
        change = super().changes(out, into)
        change[np.ix_(out == self.swap[0], into == self.swap[1])] = -1e12
        return change


@dataclass(frozen=True)
class Mistaken(Linear):
    """Tells the change of every swap but that of `p` for `q`."""

    p: np.ndarray = field(default_factory=lambda: np.zeros(0))
    q: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def swaps(self, m: np.ndarray, rows: np.ndarray) -> Swaps:
        table = super().swaps(m, rows)
        p, q = (np.flatnonzero((rows == z).all(axis=1)) for z in (self.p, self.q))
        if not len(p) or not len(q):
            return table
        return Boasting(table.inverse, table.spread, table.volume, (int(p[0]), int(q[-1])))


def test_a_swap_that_only_looks_good_does_not_end_the_search() -> None:
    c, base = candidates_of(make_space(8, 4, 3)), 1e-3 * np.eye(3)
    start = counts_at(c, np.random.default_rng(0).choice(len(c), 9, replace=False))
    honest = improved(c, start, base, a_optimal(3))
    kept = np.flatnonzero(start & honest)[0]
    worst = np.argmin(np.where(start == 0, np.sum(c.z**2, axis=1), np.inf))
    criterion = Mistaken(np.eye(3), p=c.z[kept], q=c.z[worst])
    assert np.array_equal(improved(c, start, base, criterion), honest)


def one_hot_space(seed: int, dim: int = 4, prompts: int = 20) -> PairSpace:
    """Features of one direction each, of random lengths: few labels leave some without."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((3 * prompts, dim), np.float32)
    for p in range(prompts):
        for place, k in enumerate(rng.choice(dim, 2, replace=False), 1):
            rows[3 * p + place, k] = rng.uniform(0.5, 2)
    return PairSpace(rows, np.arange(0, 3 * prompts + 1, 3))


def unprejudiced(space: PairSpace, criterion, n: int) -> Problem:
    """Without a prior."""
    return Problem(space, criterion, PairWeights(1.0), np.zeros((space.dim, space.dim)), n)


@pytest.mark.parametrize("seed", [15, 59])
@pytest.mark.parametrize(("criterion", "n"), [(DOptimal(), 5), (a_optimal(4), 7)])
def test_a_solve_without_a_prior_survives_what_is_singular(criterion, n: int, seed: int) -> None:
    """Kicks (15), and vertices (59)."""
    problem = unprejudiced(one_hot_space(seed), criterion, n)
    solution = solve(problem, FrankWolfe(passes=8))
    assert len(solution.pairs) == n
    optimum = relaxed_optimum(problem)
    unit = unit_of(criterion, optimum, 4)
    assert optimum - 1e-3 * unit <= solution.bound <= optimum + 1e-6 * unit
    assert optimum - 1e-6 * unit <= solution.value <= solution.reports[-1].batch < np.inf


@pytest.mark.parametrize("seed", range(3, 13))
def test_as_many_labels_as_directions_are_enough(seed: int) -> None:
    """All roundings of the mixture are singular in some of these; the batch is not."""
    solution = solve(unprejudiced(one_hot_space(seed, 8, 40), DOptimal(), 8))
    assert len(solution.pairs) == 8
    assert solution.value < np.inf


@pytest.mark.slow
def test_a_batch_that_began_singular_is_bettered_like_any_other() -> None:
    solution = solve(unprejudiced(one_hot_space(1, 64, 400), c_optimal(np.ones(64)), 200))
    assert solution.bound <= solution.value <= 1.02 * solution.bound


@pytest.mark.parametrize("criterion", [a_optimal(2), DOptimal()])
def test_a_direction_that_no_pair_kept_has_is_looked_for(criterion) -> None:
    """One pair in a hundred has it, and those are short."""
    rng = np.random.default_rng(0)
    rows, rare = np.zeros((40_000, 2), np.float32), rng.random(20_000) < 0.01
    lengths = rng.uniform(0.5, 2, 20_000) * np.where(rare, 0.01, 1.0)
    rows[np.arange(0, 40_000, 2), rare.astype(int)] = lengths
    space = PairSpace(rows, np.arange(0, 40_001, 2))
    solution = solve(unprejudiced(space, criterion, 50))
    assert solution.certificate is not None
    assert solution.certificate < 0.01


@pytest.mark.slow
def test_candidates_of_which_most_are_alike_fill_all_directions() -> None:
    """A hundred and fifty directions, one of which has nine in ten pairs."""
    dim, rng = 150, np.random.default_rng(0)
    of = np.concatenate([np.zeros(27 * dim, int), np.repeat(np.arange(1, dim), 3)])
    rows = np.zeros((2 * len(of), dim), np.float32)
    rows[np.arange(0, len(rows), 2), of] = rng.uniform(0.5, 2, len(of))
    space = PairSpace(rows, np.arange(0, len(rows) + 1, 2))
    batch = solve_among(unprejudiced(space, a_optimal(dim), 2 * dim), all_pairs(space))
    assert np.unique(of[batch[:, 0] // 2]).size == dim
