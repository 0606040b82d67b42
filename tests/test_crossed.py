"""Intervals over seeds and prompts: by hand, against simple ones, and how often they hold."""

import numpy as np
import pytest
from scipy import stats

from whichpairs.evaluate.crossed import crossed_interval, tail
from whichpairs.evaluate.interval import interval


def draw(
    rng: np.random.Generator, seeds: int, prompts: int, spread: tuple[float, ...]
) -> np.ndarray:
    a, b, e = spread
    return np.asarray(
        a * rng.standard_normal((seeds, 1))
        + b * rng.standard_normal((1, prompts))
        + e * rng.standard_normal((seeds, prompts))
    )


def test_by_hand() -> None:
    values = np.array([[1.0, 3.0, 5.0], [2.0, 6.0, 4.0]])
    # means 3 and 4 by seed, 1.5, 4.5, 4.5 by prompt, 3.5 in all; six values
    by_seed = 3 * (0.25 + 0.25) / 1 / 6
    by_prompt = 2 * (4.0 + 1.0 + 1.0) / 2 / 6
    rest = 2 * (0.0 + 1.0 + 1.0) / 2 / 6
    found = crossed_interval(values)
    assert found.mean == 3.5
    assert found.standard_error == pytest.approx((by_seed + by_prompt - rest) ** 0.5)
    t = [stats.t.ppf(0.975, free) for free in (1, 2)]
    half = (t[0] ** 2 * by_seed + t[1] ** 2 * (by_prompt - rest)) ** 0.5
    assert (found.low, found.high) == pytest.approx((3.5 - half, 3.5 + half))


def test_where_only_seeds_differ_it_is_the_interval_over_seeds() -> None:
    by_seed = np.array([0.1, 0.4, 0.2, 0.9])
    found, plain = crossed_interval(np.tile(by_seed[:, None], 50)), interval(by_seed)
    assert found.low == pytest.approx(plain.low)
    assert found.high == pytest.approx(plain.high)


def test_one_seed_or_one_prompt_has_no_interval() -> None:
    for shape in ((1, 9), (9, 1)):
        found = crossed_interval(np.arange(9.0).reshape(shape))
        assert (found.mean, found.low, found.high) == (4.0, None, None)
    assert crossed_interval(np.full((3, 4), 2.0)).low == 2.0


@pytest.mark.parametrize(
    "spread", [(1, 1, 1), (0, 1, 1), (0.2, 0, 1), (0.05, 1, 3), (0, 0, 1)], ids=str
)
def test_it_covers_new_seeds_and_new_prompts(spread: tuple[float, ...]) -> None:
    """4 seeds × 100 prompts, as the dialogue recipe; an interval over seeds alone would not."""
    rng, trials = np.random.default_rng(0), 2000
    inside, by_seed = 0, 0
    for _ in range(trials):
        values = draw(rng, 4, 100, spread)
        found, plain = crossed_interval(values), interval(values.mean(axis=1))
        inside += found.low <= 0 <= found.high
        by_seed += plain.low <= 0 <= plain.high
    assert inside / trials >= 0.94
    if spread == (0, 1, 1):
        assert by_seed / trials < 0.8  # what was printed before


@pytest.mark.slow
def test_several_comparisons_hold_together() -> None:
    """Three methods against one random: 95 % of the time no interval is wrong."""
    rng, trials = np.random.default_rng(1), 2000
    together, alone = 0, 0
    for _ in range(trials):
        base = draw(rng, 4, 60, (0.3, 1, 1))
        others = [draw(rng, 4, 60, (0.3, 1, 1)) - base for _ in range(3)]
        for comparisons in (1, 3):
            every = [crossed_interval(values, comparisons) for values in others]
            right = all(one.low <= 0 <= one.high for one in every)
            together += right and comparisons == 3
            alone += right and comparisons == 1
    assert together / trials >= 0.95
    assert alone / trials < 0.94


def test_bootstrap_tails_are_widened_for_few_clusters() -> None:
    assert tail(10**6) == pytest.approx(0.025, abs=1e-4)
    assert tail(10**6, 5) == pytest.approx(0.005, abs=1e-4)
    assert tail(1) == 0.0
    assert tail(4) < tail(8) < tail(40) < 0.025
    # of a mean of n normal values whose bootstrap spread is known, the ends are those of Student's t
    n, level = 6, tail(6)
    sd = 2.0
    bootstrap = sd * ((n - 1) / n) ** 0.5 / n**0.5
    assert -stats.norm.ppf(level) * bootstrap == pytest.approx(
        stats.t.ppf(0.975, n - 1) * sd / n**0.5
    )
