"""Intervals hold the truth as often as they say, for shares near 1 and for long tails too."""

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq

from whichpairs.evaluate.interval import Interval, bounded_interval, interval, ratio_interval

DRAWS = 600


def covered(found: list[Interval], truth: float) -> float:
    return float(np.mean([one.low <= truth + 1e-12 and truth - 1e-12 <= one.high for one in found]))


@pytest.mark.parametrize("p", [0.5, 0.8, 0.95, 0.98])
@pytest.mark.parametrize(("samples", "alike"), [(1, 0.0), (3, 0.5)])
def test_shares_by_prompt_are_covered(p: float, samples: int, alike: float) -> None:
    """Twenty prompts; `alike`: how much a prompt's comparisons have in common."""
    rng = np.random.default_rng([int(100 * p), samples])
    of_prompt = np.full((DRAWS, 20, 1), p)
    if alike:
        strength = (1.0 - alike) / alike
        of_prompt = rng.beta(p * strength, (1.0 - p) * strength, (DRAWS, 20, 1))
    means = (rng.random((DRAWS, 20, samples)) < of_prompt).mean(axis=2)
    found = [bounded_interval(values) for values in means]
    assert covered(found, p) >= 0.93
    assert all(0.0 <= one.low <= one.mean <= one.high <= 1.0 for one in found)


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])
def test_long_tails_are_covered(spread: float) -> None:
    """Log-normal values (normal ones for 0), twenty at a time."""
    normal = np.random.default_rng(1).standard_normal((DRAWS, 20))
    values = np.exp(spread * normal) if spread else normal
    truth = float(np.exp(spread**2 / 2)) if spread else 0.0
    assert covered([interval(one) for one in values], truth) >= 0.915
    sizes = np.random.default_rng(2).integers(1, 4, (DRAWS, 20)).astype(float)
    ratios = [ratio_interval(v * s, s) for v, s in zip(values, sizes, strict=True)]
    assert covered(ratios, truth) >= 0.9


def test_it_solves_halls_cubic() -> None:
    """The ends are where the transformed T is t's quantile, or t's own where these are farther."""
    values = np.random.default_rng(3).exponential(size=25)
    n, mean, error = 25, values.mean(), values.std(ddof=1) / 5.0
    a = float(stats.skew(values, bias=False)) / 5.0

    def cubic(t: float) -> float:
        return t + a * (t**2 / 3 + 1 / 6) + a**2 * t**3 / 27

    t = stats.t.ppf(0.975, n - 1)
    roots = [brentq(lambda x, at=at: cubic(x) - at, -60, 60) for at in (t, -t)]
    found = interval(values)
    assert found.low == pytest.approx(mean - error * max(roots[0], t))
    assert found.high == pytest.approx(mean - error * min(roots[1], -t))
    assert found.high - mean > 1.2 * (mean - found.low)
    turned = interval(-values)
    assert [-turned.high, -turned.low] == pytest.approx([found.low, found.high])


def test_few_values_go_by_t_alone() -> None:
    values = np.random.default_rng(4).exponential(size=9)
    low, high = stats.t.interval(0.95, 8, values.mean(), stats.sem(values))
    assert [interval(values).low, interval(values).high] == pytest.approx([low, high])


def test_what_does_not_vary_is_not_certain() -> None:
    won, tied, same = (
        bounded_interval(np.ones(20)),
        bounded_interval(np.full(20, 0.5)),
        np.zeros(20),
    )
    assert str(won) == "1.0000 (0.8600 … 1.0000)"
    assert tied.text(".2f") == "0.50 (0.43 … 0.57)"
    assert bounded_interval(same, -1.0, 1.0).text("+.2f") == "+0.00 (-0.14 … +0.14)"
    assert str(bounded_interval(np.ones(1))) == "1.0000"
    wide = bounded_interval(2 * np.ones(20) - 1, -1.0, 1.0)
    assert (wide.low + 1) / 2 == pytest.approx(won.low)
