"""From rows to figures: labels saved against random, harm, and how sure each is.

*Labels saved* by a method at a budget n: random's labels ÷ n at equal regret, read off an isotonic
fit of random's mean regret on log labels. Where a method's regret is below random's last, the ratio
is a lower bound of what was saved (`Saving.beyond`); where it is above random's first, an upper
bound.

One rule makes estimate, interval and words of it (`Saving`): a ratio known only from below may be
anything above, and one known only from above anything below. So an end of an interval that rests on
such ratios is ∞ or 0, the estimate lies within its interval, and `Saving.verdict` goes by the
interval alone. Intervals are percentiles of a bootstrap over seeds, and over prompts too where all
seeds share one pool, at levels widened for few seeds (`tail`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import polars as pl
from jaxtyping import Float

from whichpairs.bench.robustness.grid import Cell
from whichpairs.evaluate.crossed import tail

DRAWS = 1000
"""Bootstrap draws."""

AS_GOOD = 1.25
"""Random is called as good where the whole interval of labels saved is within 1 ÷ this and this."""


class Verdict(StrEnum):
    """What an interval of labels saved allows to say."""

    BETTER = "worth it"
    WORSE = "random is better here"
    ALIKE = "random is as good here"
    UNKNOWN = "these seeds do not tell"


@dataclass(frozen=True)
class Curve:
    """Regrets of a method on a cell.

    Attributes:
        labels: (budgets,); regrets: (seeds, budgets, prompts), prompts = 1 where only the mean
            counts; seeds: which they are.
    """

    labels: np.ndarray
    regrets: np.ndarray
    seeds: tuple[int, ...]

    @property
    def mean(self) -> np.ndarray:
        """Mean regret at each budget."""
        return np.asarray(self.regrets.mean(axis=(0, 2)))


@dataclass(frozen=True)
class Ratio:
    """A geometric mean of ratios, of which some may be bounds, and its 95 % interval.

    Attributes:
        mean: of the ratios as they stand; beyond: the signs of those that are bounds.
        low, high: ends of the interval; 0 and ∞ where the data set none.
    """

    mean: float
    beyond: frozenset[int]
    low: float
    high: float

    @property
    def sign(self) -> str:
        """``≥`` or ``≤`` where the estimate is a bound, ``?`` where it mixes both kinds."""
        return {(): "", (1,): "≥ ", (-1,): "≤ "}.get(tuple(self.beyond), "? ")

    @property
    def verdict(self) -> Verdict:
        """By the interval alone."""
        if self.low > 1.0:
            return Verdict.BETTER
        if self.high < 1.0:
            return Verdict.WORSE
        alike = self.low >= 1 / AS_GOOD and self.high <= AS_GOOD
        return Verdict.ALIKE if alike else Verdict.UNKNOWN

    def __str__(self) -> str:
        low = "0" if self.low == 0.0 else f"{self.low:.2f}"
        high = "∞)" if np.isinf(self.high) else f"{self.high:.2f}]"
        return f"{self.sign}{self.mean:.2f} [{low}, {high}"


@dataclass(frozen=True)
class Saving:
    """Labels saved by a method on a cell.

    Attributes:
        labels: budgets counted (all but the first, where most methods have nothing to go by).
        ratios: at each; beyond: +1 where the ratio is a lower bound, −1 an upper bound, else 0.
        total: their geometric mean over the budgets.
        regrets: mean regret at each; harm: (ours − random) / random's regret, mean and the ends
            of its 95 % interval, at each budget: (3, budgets).
        same: at each budget (the first too), whether every answer is the same as random's.
        logs: bounds of the logarithm of each ratio in each bootstrap draw, (2, draws, budgets).
        seeds: behind it.
    """

    labels: np.ndarray
    ratios: np.ndarray
    beyond: np.ndarray
    total: Ratio
    regrets: np.ndarray
    harm: np.ndarray
    same: np.ndarray
    logs: np.ndarray
    seeds: int

    @property
    def mean(self) -> float:
        """The estimate of the total."""
        return self.total.mean


def curves(rows: pl.DataFrame, cell: Cell) -> dict[str, Curve]:
    """Every method's curve on a cell."""
    found = {}
    for (method,), part in rows.filter(pl.col("cell") == cell.name).group_by("method"):
        part = part.sort("seed", "labels")
        seeds = tuple(part["seed"].unique().sort().to_list())
        labels = part["labels"].unique().sort().to_numpy()
        if len(part) != len(seeds) * len(labels):
            raise ValueError(f"{cell.name}, {method}: some budgets are missing")
        if cell.one_pool:
            values = np.array(part["regrets"].to_list(), dtype=np.float64)
        else:
            values = part["regret"].to_numpy()[:, None]
        shape = (len(seeds), len(labels), values.shape[1])
        found[str(method)] = Curve(labels, values.reshape(shape), seeds)
    return found


def isotonic(values: Float[np.ndarray, "*draws places"]) -> Float[np.ndarray, "*draws places"]:
    """The nearest non-increasing sequence in least squares, for each draw.

    f_k = min_{i ≤ k} max_{j ≥ k} mean(y_i … y_j) (Robertson, Wright and Dykstra, "Order Restricted
    Statistical Inference", theorem 1.4.4).
    """
    places = values.shape[-1]
    sums = np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(values, axis=-1)], axis=-1)
    i, j = np.arange(places)[:, None], np.arange(places)[None, :]
    means = (sums[..., None, 1:] - sums[..., :-1, None]) / np.maximum(j - i + 1, 1)
    means[..., range(places), range(places)] = values  # to the last bit
    fitted = []
    for k in range(places):
        some = means[..., : k + 1, k:]
        fitted.append(some.max(axis=-1).min(axis=-1))
    return np.stack(fitted, axis=-1)


def needed(
    labels: Float[np.ndarray, " places"],
    regret: Float[np.ndarray, "*draws places"],
    targets: Float[np.ndarray, "*draws targets"],
) -> tuple[np.ndarray, np.ndarray]:
    """Labels at which the isotonic fit of `regret` on log `labels` reaches each target.

    Returns:
        The labels (the grid's first or last where a target lies outside of it), and −1, 0 or +1:
        below the grid, on it, beyond it.
    """
    fitted = isotonic(regret)
    first, last = fitted[..., :1], fitted[..., -1:]
    side = np.where(targets < last, 1, np.where(targets > first, -1, 0))
    # The first place where the fit is as low as the target; between places linear in log labels.
    at = np.count_nonzero(fitted[..., None, :] > targets[..., :, None], axis=-1)
    at = np.clip(at, 1, len(labels) - 1)
    high = np.take_along_axis(fitted, at - 1, axis=-1)
    low = np.take_along_axis(fitted, at, axis=-1)
    drop = np.where(high > low, high - low, 1.0)
    share = np.clip((high - np.clip(targets, low, high)) / drop, 0.0, 1.0)
    log = np.log(labels)
    return np.exp(log[at - 1] + share * (log[at] - log[at - 1])), side


def saving(random: Curve, method: Curve, *, draws: int = DRAWS, seed: int = 0) -> Saving:
    """Labels saved and harm of `method` against `random`, on the seeds that both ran with."""
    rng, count = np.random.default_rng(seed), len(method.labels)
    common = [s for s in method.seeds if s in random.seeds]
    own = method.regrets[[method.seeds.index(s) for s in common]]
    base = random.regrets[[random.seeds.index(s) for s in common]]
    mean_own, mean_base = own.mean(axis=(0, 2)), base.mean(axis=(0, 2))
    ratios, beyond = _ratios(random.labels, mean_base, method.labels, mean_own)
    prompts = base.shape[2]
    seeds = rng.multinomial(len(common), np.full(len(common), 1 / len(common)), size=draws)
    weight = np.ones((draws, 1))
    if prompts > 1:
        weight = rng.multinomial(prompts, np.full(prompts, 1 / prompts), size=draws) / prompts
    drawn = [
        np.einsum("ds,sbp,dp->db", seeds / len(common), values, weight, optimize=True)
        for values in (base, own)
    ]
    some = _ratios(random.labels, drawn[0], method.labels, drawn[1])
    clusters = len(common) if prompts == 1 else min(len(common), prompts)
    harms = (drawn[1] - drawn[0][:, :count]) / drawn[0][:, :count]
    logs = np.stack(bounds(*some))
    return Saving(
        method.labels[1:],
        ratios,
        beyond,
        ratio_of([Bounded(ratios, beyond, logs)], clusters),
        method.mean,
        np.stack([(mean_own - mean_base[:count]) / mean_base[:count], *_ends(harms, clusters)]),
        _same(own.mean(axis=(0, 2)), base.mean(axis=(0, 2))),
        logs,
        clusters,
    )


def bounds(ratios: Float[np.ndarray, "*some"], beyond: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest logarithm that each ratio may have."""
    logs = np.log(ratios)
    return np.where(beyond < 0, -np.inf, logs), np.where(beyond > 0, np.inf, logs)


def together(savings: Sequence[Saving], at: int | None = None) -> Ratio:
    """The geometric mean over cells; draws go by seed, so what cells share stays shared.

    Args:
        at: the place of one of their budgets; None is the mean over all.
    """
    pick = slice(None) if at is None else slice(at, at + 1)
    every = [Bounded(one.ratios[pick], one.beyond[pick], one.logs[..., pick]) for one in savings]
    return ratio_of(every, min(one.seeds for one in savings))


@dataclass(frozen=True)
class Bounded:
    """Ratios and sides, (budgets,), and the bounds of their logarithms in the draws, (2, draws,
    budgets)."""

    ratios: np.ndarray
    beyond: np.ndarray
    logs: np.ndarray


def ratio_of(cells: Sequence[Bounded], clusters: int, comparisons: int = 1) -> Ratio:
    """The geometric mean with the interval that the draws give, which its own bounds are within.

    Args:
        clusters: the fewest independent units that were drawn anew; comparisons: how many intervals
            are to hold together.
    """
    mean = float(np.mean([np.log(one.ratios).mean() for one in cells]))
    low, high = -np.inf, np.inf
    if clusters >= 2:
        lows, highs = np.mean([one.logs.mean(axis=-1) for one in cells], axis=0)
        own = np.mean([[b.mean() for b in bounds(one.ratios, one.beyond)] for one in cells], axis=0)
        low = min(_quantile(lows, tail(clusters, comparisons), "lower"), own[0])
        high = max(_quantile(highs, 1 - tail(clusters, comparisons), "higher"), own[1])
    signs = frozenset(int(side) for one in cells for side in one.beyond if side)
    return Ratio(float(np.exp(mean)), signs, float(np.exp(low)), float(np.exp(high)))


def _quantile(values: np.ndarray, level: float, method: str) -> float:
    """One of the values, which may be infinite."""
    place = level * (len(values) - 1)
    at = int(np.floor(place) if method == "lower" else np.ceil(place))
    return float(np.sort(values)[at])


def _ends(draws: np.ndarray, clusters: int) -> np.ndarray:
    if clusters < 2:
        return np.array([[-np.inf], [np.inf]]) * np.ones(draws.shape[1])
    level = 100 * tail(clusters)
    return np.asarray(np.percentile(draws, [level, 100 - level], axis=0))


def _ratios(
    random_labels: np.ndarray, random: np.ndarray, labels: np.ndarray, regret: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ratios and sides at every budget but the first."""
    need, side = needed(random_labels, random, isotonic(regret))
    same = _same(regret, random)  # no saving, by any curve
    return np.where(same, 1.0, need / labels)[..., 1:], np.where(same, 0, side)[..., 1:]


def _same(regret: np.ndarray, random: np.ndarray) -> np.ndarray:
    return np.isclose(regret, random[..., : regret.shape[-1]], rtol=1e-12, atol=0.0)
