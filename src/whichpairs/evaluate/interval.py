"""A mean and how sure it is."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """A mean, its standard error, and the ends of its 95 % t interval (None for a single value)."""

    mean: float
    standard_error: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.mean:.4f}"
        return f"{self.mean:.4f} ± {(self.high - self.low) / 2:.4f}"


def interval(values: Float64[np.ndarray, " n"]) -> Interval:
    """The mean of n independent values, with Student's t on n − 1 degrees of freedom."""
    n = len(values)
    mean = float(np.mean(values))
    if n < 2:
        return Interval(mean, None, None, None)
    return _around(mean, float(np.std(values, ddof=1) / np.sqrt(n)), n)


def ratio_interval(totals: Float64[np.ndarray, " n"], sizes: Float64[np.ndarray, " n"]) -> Interval:
    """R = Σ totals / Σ sizes over n independent clusters, e.g. nats and tokens of documents.

    The error is the linearised one of a ratio, √(n/(n−1) Σ (t_i − R s_i)²) / Σ s_i (Cochran,
    "Sampling Techniques", section 6.4), with t on n − 1 degrees of freedom; where all sizes are
    equal it is that of `interval`.
    """
    n, size = len(totals), float(np.sum(sizes))
    ratio = float(np.sum(totals)) / size
    if n < 2:
        return Interval(ratio, None, None, None)
    squares = float(np.sum((totals - ratio * sizes) ** 2))
    return _around(ratio, float(np.sqrt(n / (n - 1) * squares)) / size, n)


def _around(mean: float, error: float, n: int) -> Interval:
    half = float(stats.t.ppf(0.975, n - 1)) * error
    return Interval(mean, error, mean - half, mean + half)
