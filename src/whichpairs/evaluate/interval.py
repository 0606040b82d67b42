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
    error = float(np.std(values, ddof=1) / np.sqrt(n))
    half = float(stats.t.ppf(0.975, n - 1)) * error
    return Interval(mean, error, mean - half, mean + half)
