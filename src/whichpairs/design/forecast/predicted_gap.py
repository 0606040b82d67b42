"""The predicted gap: what J loses to the best policy, expected over all that is believed.

One number, one meaning, for every criterion: θ* is drawn from the belief, the labels of a batch
from θ*, the default estimate θ̂ refitted to them and to the labels that are there, and the gap of
its policy is

    J(π*) − J(π_θ̂) = β E_x KL(π_θ̂ ‖ π_θ*)        (`design.estimate.policy_gap`; theory (26))

averaged over the draws. So it holds the spread of the prior, then of the posterior, and all that a
finite sample adds. It assumes a Bradley–Terry labeller and a policy log-linear in the features.

The belief: without labels, θ* ~ N(0, H₀⁻¹); with fewer than features, the Laplace posterior under
H₀; with more, a mixture of the Laplace posteriors under multiples of H₀, weighed by their evidence
[mackay1992] and by how far from 1 the multiple is: few labels leave the scale of the
rewards open.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from scipy.linalg import solve_triangular
from scipy.special import expit
from threadpoolctl import threadpool_limits

from whichpairs.design.batches.random import random_pairs
from whichpairs.design.estimate.bradley_terry import FOLDS, STRENGTHS, fit_theta
from whichpairs.design.estimate.policy_gap import PolicyGaps
from whichpairs.design.estimate.refit import refit
from whichpairs.design.problem.criterion import Matrix, lower_factor
from whichpairs.design.problem.space import PairSpace, Rows
from whichpairs.streams import Stream, stream

DRAWS, LEAST_DRAWS = 64, 8
"""Draws of θ* behind an expectation; fewer, but some, where a refit is dear."""

WORK = 1e11
"""Operations that the refits of one batch may cost before the draws become fewer."""

LINEAR = 2e10
"""Operations of one refit from which on it is one Newton step from θ* (labels are then many)."""

WIDTH = 2.0
"""Standard deviation, in powers of 4, of the multiple of H₀ before any label is seen."""

SEARCH, LEAST_SEARCH = 4e12, 2
"""Operations that one step of the search for the labels that random needs may cost; but it goes so
many times as far as the batch at least."""

NESTED = 4096
"""Random batches of a draw up to this size are parts of one another: their gaps differ by less
noise."""

GROWTH = 1.4
"""Steps of the search for the labels that random needs; between them, log-log."""


@dataclass(frozen=True)
class Known:
    """What is known when a batch is picked.

    Args:
        pairs: labelled, (n, 2); wins: their answers, 1, 0 or a share between, (n,).
        theta: θ of the default fit to them, (d,); 0 without labels.
        pending: pairs picked earlier whose labels are still to come, (k, 2): they count as
            labelled.
    """

    pairs: Rows
    wins: Float[np.ndarray, " n"]
    theta: Float[np.ndarray, " d"]
    pending: Rows


@dataclass(frozen=True)
class Reach:
    """What a batch is predicted to reach, and random in its place. All gaps are in units of J.

    Attributes:
        before: predicted gap without the batch; gap: with it; random: with a random batch of as
            many labels, the mean over drawn ones.
        error: standard error of `gap` over the draws; saving_error: of `random` − `gap`.
        labels_needed: labels with which random's predicted gap is that of the batch: as many as it
            has where the two are within two standard errors of each other, fewer where random's is
            smaller; None where it is not reached with `searched`, or was not looked for.
    """

    before: float
    gap: float
    random: float
    error: float
    saving_error: float
    labels_needed: int | None
    searched: int


class Forecast:
    """Predicted gaps of batches, all over the same draws of θ*.

    Args:
        space: the candidates; what random would pick from.
        beta: β; reference: π_ref's weight of every row, uniform when None.
        prior: H₀ of the belief; fit_prior: that of the default estimator.
        known: the labels so far; seed: of every draw.
    """

    def __init__(
        self,
        space: PairSpace,
        beta: float,
        reference: np.ndarray | None,
        prior: Matrix,
        fit_prior: Matrix,
        known: Known,
        *,
        seed: int,
    ) -> None:
        self.space, self.beta, self.known, self.seed = space, beta, known, seed
        self._to_theta, self._fit_to_theta = _root(prior), _root(fit_prior)
        self._gaps = PolicyGaps(space, reference, beta, seed=seed)

    def now(self) -> Float[np.ndarray, " draws"]:
        """Gap of the policy of the labels that are there, by draw; pending ones counted as
        labelled."""
        return self._now

    @cached_property
    def _now(self) -> Float[np.ndarray, " draws"]:
        return self.after([np.empty((0, 2), np.int64)])

    @cached_property
    def _random(self) -> dict[int, np.ndarray]:
        """By number of labels."""
        return {}

    def after(self, batches: Sequence[Rows]) -> Float[np.ndarray, " draws"]:
        """Gap once a batch is labelled too, by draw.

        Args:
            batches: of one size; several are several draws of what might be picked.
        """
        draws = self._draws_for(len(batches[0]))
        return self._gap_of([batches[k % len(batches)] for k in range(draws)])

    def random(
        self, labels: int, draw: Callable[[int], Rows] | None = None
    ) -> Float[np.ndarray, " draws"]:
        """Gap after so many random labels, by draw.

        Args:
            draw: the k-th random batch; None is uniform over the candidates.
        """
        draws = range(self._draws_for(labels))
        if draw is not None:
            return self._gap_of([draw(k) for k in draws])
        if labels not in self._random:
            self._random[labels] = self._gap_of([self._order(k, labels) for k in draws])
        return self._random[labels]

    def reach(
        self,
        batch: Rows | None,
        labels: int,
        draw: Callable[[int], Rows] | None = None,
        *,
        search: bool = True,
        most: int = 64,
    ) -> Reach:
        """What a batch reaches, and what random would need for it.

        Args:
            batch: the batch; None is one picked at random, whose predicted gap is random's.
            labels: how many it has; draw: as in `random`.
            search: look for the labels that random needs, up to `most` times as many.
        """
        before, random = self.now(), self.random(labels, draw)
        mine = random if batch is None else self.after([batch])
        gap, chance = float(mine.mean()), float(random.mean())
        both = min(
            len(mine), len(random)
        )  # more labels, where random cannot fill the limits: fewer draws
        error, apart = _error(mine), _error(random[:both] - mine[:both])
        needed: int | None = labels if abs(chance - gap) <= 2.0 * apart else None
        searched = labels
        if needed is None and search and chance < gap:
            needed = self._enough(mine, labels, random)
        elif needed is None and search:
            needed, searched = self._needed(mine, labels, random, most)
        return Reach(float(before.mean()), gap, chance, error, apart, needed, searched)

    def _needed(
        self, mine: np.ndarray, at: int, random: np.ndarray, reach: int
    ) -> tuple[int | None, int]:
        """Labels, more than `at`, at which random's gap has fallen to the batch's; on the draws of
        both."""
        d, known = self.space.dim, len(self.known.wins) + len(self.known.pending)
        dear = int(SEARCH / (LEAST_DRAWS * 14.0 * d**2)) - known
        most = min(self.space.candidates, at * reach, max(dear, LEAST_SEARCH * at))
        while at < most:
            step = min(max(int(at * GROWTH), at + 1), most)
            after = self.random(step)
            target, before, then = (float(x[: len(after)].mean()) for x in (mine, random, after))
            if then <= target:
                return _between(at, step, before, then, target), most
            at, random = step, after if then < before else random
        return None, most

    def _enough(self, mine: np.ndarray, at: int, random: np.ndarray) -> int:
        """Labels, fewer than `at`, at which random's gap is already the batch's."""
        while at > 1:
            step = max(int(at / GROWTH), 1)
            before = self.random(step)
            few = len(random)
            target, first, then = (float(x[:few].mean()) for x in (mine, before, random))
            if first >= target:
                return _between(step, at, first, then, target)
            at, random = step, before[:few]
        return 1

    def _order(self, draw: int, labels: int) -> Rows:
        """The first random pairs of a draw: it does not matter what was asked for before."""
        rng = stream(self.seed, Stream.FORECAST_ORDERS, draw)
        if labels > NESTED:
            return random_pairs(self.space, labels, rng)
        if draw not in self._orders:
            size = min(NESTED, self.space.candidates)
            self._orders[draw] = random_pairs(self.space, size, rng)
        return self._orders[draw][:labels]

    @cached_property
    def _orders(self) -> dict[int, Rows]:
        return {}

    def _draws_for(self, labels: int) -> int:
        count = int(np.clip(WORK / self._refit_work(labels), LEAST_DRAWS, DRAWS))
        return count - count % 2

    def _refit_work(self, labels: int) -> float:
        total, d = len(self.known.wins) + len(self.known.pending) + labels, self.space.dim
        return 14.0 * total * d**2 + 20.0 * d**3

    @cached_property
    def _old(self) -> np.ndarray:
        """β z of the labelled pairs."""
        return self.beta * self.space.differences(self.known.pairs)

    @cached_property
    def _stars(self) -> Float[np.ndarray, "draws d"]:
        """θ* by draw: the parts of the mixture in proportion, each draw beside its mirror image."""
        parts = self._belief()
        ends = np.cumsum([weight for weight, _, _ in parts])
        noise = stream(self.seed, Stream.FORECAST_THETAS).standard_normal(
            (DRAWS // 2, self.space.dim)
        )
        # Any first few draws are spread over the mixture too (van der Corput's order).
        stars = np.empty((DRAWS, self.space.dim))
        for k, at in enumerate(_spread(DRAWS // 2)):
            _, mean, root = parts[min(int(np.searchsorted(ends, at)), len(parts) - 1)]
            step = root @ noise[k]
            stars[2 * k], stars[2 * k + 1] = mean + step, mean - step
        return stars

    def _belief(self) -> list[tuple[float, np.ndarray, np.ndarray]]:
        """Weight, mean and root of the covariance of every part."""
        d, w = self.space.dim, self._to_theta
        if len(self.known.wins) == 0:
            return [(1.0, np.zeros(d), w)]
        x, wins, one = self._old @ w, self.known.wins, np.eye(d)
        found, evidence, theta = [], [], np.zeros(d)
        # So few say next to nothing of the scale, and a wide one would be believed for what it
        # costs.
        strengths = (1.0,) if len(wins) < d else tuple(reversed(STRENGTHS))
        for strength in strengths:
            theta = fit_theta(x, wins, 1.0, strength * one, start=theta, tolerance=1e-7)
            eta = x @ theta
            p = expit(eta)
            c = lower_factor(x.T @ (x * (p * (1.0 - p))[:, None]) + strength * one)
            loss = float(np.sum(np.logaddexp(0.0, eta) - wins * eta))
            loss += 0.5 * strength * float(theta @ theta)
            half = 0.5 * d * np.log(strength) - float(np.log(np.diag(c)).sum())
            evidence.append(half - loss - 0.5 * (np.log(strength) / np.log(4.0) / WIDTH) ** 2)
            found.append((w @ theta, w @ solve_triangular(c, one, lower=True, trans="T")))
        weights = np.exp(np.array(evidence) - max(evidence))
        weights /= weights.sum()
        return [(float(weight), *part) for weight, part in zip(weights, found, strict=True)]

    @cached_property
    def _best(self) -> list[np.ndarray]:
        """log π_θ* of every draw."""
        return self._gaps.log_policies(self._stars)

    def _gap_of(self, batches: Sequence[Rows]) -> Float[np.ndarray, " draws"]:
        with threadpool_limits(1):  # many small matrices: more threads only wait for one another
            hats = np.stack([self._hat(k, batch) for k, batch in enumerate(batches)])
            best = [log_pi[:, : len(batches)] for log_pi in self._best]
            return self._gaps.between(self._gaps.log_policies(hats), best)

    def _hat(self, draw: int, batch: Rows) -> Float[np.ndarray, " d"]:
        """θ̂ of the labels so far and of this draw's answers to the pending pairs and the batch."""
        new = np.concatenate([self.known.pending, batch])
        if len(new) == 0:
            return self.known.theta
        star, w = self._stars[draw], self._fit_to_theta
        z = self.beta * self.space.differences(new)
        luck = stream(self.seed, Stream.FORECAST_ANSWERS, draw).random(len(new))
        answers = (luck < expit(z @ star)).astype(np.float64)
        x = np.concatenate([self._old, z]) @ w
        wins = np.concatenate([self.known.wins, answers])
        linear = self._refit_work(len(batch)) > LINEAR
        start = solve_triangular(w, star, lower=False)
        choose = not linear and self._prompts(batch) >= FOLDS
        return np.asarray(w @ refit(x, wins, start, choose=choose, steps=1 if linear else 100))

    def _prompts(self, batch: Rows) -> int:
        """Prompts with a label, counted as far as it matters."""
        rows = np.concatenate([self.known.pairs, self.known.pending, batch])[:, 0]
        return len(np.unique(np.searchsorted(self.space.starts, rows, side="right")))


def _between(low: int, high: int, before: float, after: float, target: float) -> int:
    """Labels from `low` (gap `before`) to `high` (gap `after`) with this gap, log-log."""
    way = 1.0 if before <= after else float(np.log(before / target) / np.log(before / after))
    return int(np.ceil(low * (high / low) ** np.clip(way, 0.0, 1.0) - 1e-9))


def _error(values: Float[np.ndarray, " draws"]) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def _root(precision: Matrix) -> Float[np.ndarray, "d d"]:
    """W with W Wᵀ = precision⁻¹, upper triangular: θ = W t for t ~ N(0, 1)."""
    c = lower_factor(precision)
    return np.asarray(solve_triangular(c, np.eye(len(c)), lower=True, trans="T"))


def _spread(count: int) -> Float[np.ndarray, " count"]:
    """Van der Corput's first `count` points of (0, 1), base 2."""
    points = np.zeros(count)
    for k in range(count):
        number, share = k, 0.5
        while number:
            points[k] += share * (number % 2)
            number, share = number // 2, share / 2.0
    return np.asarray(points + 0.5 / count)
