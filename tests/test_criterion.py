import numpy as np
import pytest

from whichpairs.design import DOptimal, Gap
from whichpairs.errors import UserError


def spd(d: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((2 * d, d))
    return x.T @ x


CRITERIA = [Gap(spd(4, 9)), Gap(np.outer(np.arange(4.0), np.arange(4.0))), DOptimal()]


def test_values_against_plain_inverses() -> None:
    m = spd(4, 1)
    assert Gap(spd(4, 9)).value(m) == pytest.approx(np.trace(spd(4, 9) @ np.linalg.inv(m)))
    assert DOptimal().value(m) == pytest.approx(-np.log(np.linalg.det(m)))


@pytest.mark.parametrize("criterion", CRITERIA)
def test_score_factor_is_minus_the_gradient(criterion) -> None:
    m, step = spd(4, 1), 1e-5
    factor = criterion.score_factor(m)
    numeric = np.zeros((4, 4))
    for i in range(4):
        for j in range(4):
            e = np.zeros((4, 4))
            e[i, j] += 0.5
            e[j, i] += 0.5
            up, down = criterion.value(m + step * e), criterion.value(m - step * e)
            numeric[i, j] = -(up - down) / (2 * step)
    assert np.allclose(factor @ factor.T, numeric, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("at", [0.0, 0.3, 1.0])
def test_slope_is_the_derivative_along_the_segment(criterion, at: float) -> None:
    m, to, step = spd(4, 1), spd(4, 2), 1e-5
    value = lambda t: criterion.value((1 - t) * m + t * to)  # noqa: E731
    numeric = (value(at + step) - value(at - step)) / (2 * step)
    assert criterion.slope_along(m, to)(at) == pytest.approx(numeric, rel=1e-5)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_swap_change_is_the_difference_of_values(criterion) -> None:
    rng = np.random.default_rng(3)
    p, q = rng.standard_normal(4), rng.standard_normal(4)
    m = spd(4, 1) + np.outer(p, p)
    inverse = np.linalg.inv(m)
    factor = criterion.score_factor(m)
    a = factor @ factor.T
    dots = [p @ inverse @ p, q @ inverse @ q, p @ inverse @ q, p @ a @ p, q @ a @ q, p @ a @ q]
    got = criterion.swap_change(*(np.array(v) for v in dots))
    after = criterion.value(m - np.outer(p, p) + np.outer(q, q))
    assert got == pytest.approx(after - criterion.value(m), rel=1e-9)


def test_directions_that_are_not_identified_are_named() -> None:
    with pytest.raises(UserError, match="1 of 3 directions are not identified"):
        Gap(np.eye(3)).value(np.diag([1.0, 2.0, 0.0]))
