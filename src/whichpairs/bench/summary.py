"""From rows to figures: labels saved against random, harm, and how sure each is.

*Labels saved* by a method at a budget n: random's labels ÷ n at equal regret, read off an isotonic
fit of random's mean regret on log labels. A method whose regret is below random's last has saved at
least (`Saving.beyond`) what the grid shows; one above random's first, at most. Intervals are
percentiles of a bootstrap over seeds, and over prompts too where all seeds share one pool.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.optimize import isotonic_regression

from whichpairs.bench.grid import Cell

DRAWS = 400
"""Bootstrap draws."""


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
class Saving:
    """Labels saved by a method on a cell.

    Attributes:
        labels: budgets counted (all but the first, where most methods have nothing to go by).
        ratios: at each; beyond: +1 where the ratio is a lower bound, −1 an upper bound, else 0.
        mean: geometric mean over the budgets; low, high: its 95 % interval.
        regrets: mean regret at each; harm: (ours − random) / random's regret, mean and the ends
            of its 95 % interval, at each budget: (3, budgets).
    """

    labels: np.ndarray
    ratios: np.ndarray
    beyond: np.ndarray
    mean: float
    low: float
    high: float
    regrets: np.ndarray
    harm: np.ndarray


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


def needed(
    labels: np.ndarray, regret: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Labels at which the isotonic fit of `regret` on log `labels` reaches each target.

    Returns:
        The labels (the grid's first or last where a target lies outside of it), and −1, 0 or +1:
        below the grid, on it, beyond it.
    """
    fitted = isotonic_regression(regret, increasing=False).x
    side = np.where(targets < fitted[-1], 1, np.where(targets > fitted[0], -1, 0))
    # The first place where the fit is as low as the target; between places linear in log labels.
    at = np.clip(np.searchsorted(-fitted, -targets, side="left"), 1, len(fitted) - 1)
    high, low = fitted[at - 1], fitted[at]
    drop = np.where(high > low, high - low, 1.0)
    share = np.clip((high - np.clip(targets, low, high)) / drop, 0.0, 1.0)
    log = np.log(labels)
    return np.exp(log[at - 1] + share * (log[at] - log[at - 1])), side


def saving(random: Curve, method: Curve, *, draws: int = DRAWS, seed: int = 0) -> Saving:
    """Labels saved and harm of `method` against `random`, on the seeds that both ran with."""
    labels = method.labels[1:]
    rng = np.random.default_rng(seed)
    common = [s for s in method.seeds if s in random.seeds]
    ours = np.array([method.seeds.index(s) for s in common])
    theirs = np.array([random.seeds.index(s) for s in common])
    base = random.regrets[theirs].mean(axis=(0, 2))
    own = method.regrets[ours].mean(axis=(0, 2))
    ratios, beyond = _ratios(random.labels, base, method.labels, own)
    means, harms = [], []
    count = len(method.labels)
    for _ in range(draws):
        weight = _prompt_weights(random.regrets.shape[2], rng)
        pick = rng.integers(len(common), size=len(common))
        base = random.regrets[theirs[pick]].mean(axis=0) @ weight
        own = method.regrets[ours[pick]].mean(axis=0) @ weight
        means.append(_geometric(_ratios(random.labels, base, method.labels, own)[0]))
        harms.append((own - base[:count]) / base[:count])
    low, high = np.percentile(means, [2.5, 97.5])
    return Saving(
        labels,
        ratios,
        beyond,
        _geometric(ratios),
        float(low),
        float(high),
        method.mean,
        _harm(random, method, ours, theirs, np.array(harms)),
    )


def _harm(
    random: Curve, method: Curve, ours: np.ndarray, theirs: np.ndarray, draws: np.ndarray
) -> np.ndarray:
    count = len(method.labels)
    own = method.regrets[ours].mean(axis=(0, 2))
    paired = random.regrets[theirs, :count].mean(axis=(0, 2))
    return np.stack([(own - paired) / paired, *np.percentile(draws, [2.5, 97.5], axis=0)])


def _ratios(
    random_labels: np.ndarray, random: np.ndarray, labels: np.ndarray, regret: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ratios and sides at every budget but the first."""
    smooth = isotonic_regression(regret, increasing=False).x
    need, side = needed(random_labels, random, smooth)
    same = np.isclose(
        regret, random[: len(regret)], rtol=1e-12, atol=0.0
    )  # no saving, by any curve
    return np.where(same, 1.0, need / labels)[1:], np.where(same, 0, side)[1:]


def _geometric(ratios: np.ndarray) -> float:
    return float(np.exp(np.mean(np.log(ratios))))


def _prompt_weights(prompts: int, rng: np.random.Generator) -> np.ndarray:
    if prompts == 1:
        return np.ones(1)
    return rng.multinomial(prompts, np.full(prompts, 1.0 / prompts)) / prompts
