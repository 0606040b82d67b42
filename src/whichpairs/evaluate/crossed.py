"""Intervals for means over two crossed samples: every seed is measured on every prompt.

    y_sp = μ + a_s + b_p + e_sp

The seeds (their labels, their training) and the prompts are both samples, and a claim about new
prompts and a new training must allow for both. The variance of the grand mean is

    V = σ_a² / S + σ_b² / P + σ_e² / (S P),

and the mean squares of the two-way table estimate its two parts, V_a = MS_a / (S P), which holds
σ_e² too, and V_b = max(MS_b − MS_e, 0) / (S P) (Searle, Casella and McCulloch, "Variance
Components", section 4.4). Each part has the Student quantile of its own degrees of freedom (after
Howe, Journal of the American Statistical Association 69, 1974):

    half = √(t_{S−1}² V_a + t_{P−1}² V_b),

which covers 95 to 97 % at 4 seeds (Satterthwaite's single quantile: 94 %, tests/test_crossed.py has
the kinds tried). Where several comparisons are made, all their intervals hold together with 95 %
at least: each is at level 1 − 0.05 / k (Bonferroni).
"""

import numpy as np
from jaxtyping import Float
from scipy import stats

from whichpairs.evaluate.interval import Interval

LEVEL = 0.05
"""What an interval, or all of several together, may miss."""


def crossed_interval(values: Float[np.ndarray, "seeds prompts"], comparisons: int = 1) -> Interval:
    """The mean over seeds and prompts; None for the ends where there is one seed or one prompt.

    Args:
        comparisons: k, how many intervals are to hold together.
    """
    seeds, prompts = values.shape
    mean = float(values.mean())
    if seeds < 2 or prompts < 2:
        return Interval(mean, None, None, None)
    by_seed, by_prompt = values.mean(axis=1), values.mean(axis=0)
    rest = values - by_seed[:, None] - by_prompt + mean
    cells = seeds * prompts
    seed_part = prompts * np.sum((by_seed - mean) ** 2) / (seeds - 1) / cells
    rest_part = np.sum(rest**2) / ((seeds - 1) * (prompts - 1)) / cells
    prompt_part = seeds * np.sum((by_prompt - mean) ** 2) / (prompts - 1) / cells
    parts = np.array([seed_part, max(prompt_part - rest_part, 0.0)])
    t = stats.t.ppf(1.0 - LEVEL / 2 / comparisons, [seeds - 1, prompts - 1])
    half = float(np.sqrt(t**2 @ parts))
    return Interval(mean, float(np.sqrt(parts.sum())), mean - half, mean + half)


def tail(clusters: int, comparisons: int = 1) -> float:
    """The share of bootstrap draws beyond each end of an interval, widened for few clusters.

    Plain percentiles are too narrow by √((n − 1) / n) and by the normal's quantile in place of
    Student's t; so Φ(−√(n / (n − 1)) t) in place of 0.025 (Hesterberg, The American Statistician
    69, 2015, section 5.3, "expanded percentile interval"). 0 for a single cluster, which tells
    nothing.
    """
    if clusters < 2:
        return 0.0
    t = stats.t.ppf(1.0 - LEVEL / 2 / comparisons, clusters - 1)
    return float(stats.norm.cdf(-np.sqrt(clusters / (clusters - 1)) * t))
