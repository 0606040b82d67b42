"""The best mixture is the same on any scale of M: −log det M has no zero of its own."""

import numpy as np
import pytest

from whichpairs.design import DOptimal, Sum, a_optimal
from whichpairs.design.solver import simplicial as master
from whichpairs.design.solver.simplicial import mixture

FIRST = np.diag([900.0, 30.0, 1.0, 0.0, 0.0, 0.0])
PARTS = [FIRST, FIRST[::-1, ::-1].copy(), 0.01 * np.eye(6)]
RIDGE = 1e-6 * np.eye(6)
START = np.array([0.98, 0.01, 0.01])


def scaled(times: float, start: np.ndarray = START) -> np.ndarray:
    return mixture(DOptimal(), times * RIDGE, [times * part for part in PARTS], start)


def scale_of(value: float) -> float:
    """What to multiply M by, so that −log det M is `value` at the start."""
    m = RIDGE + np.tensordot(START, np.stack(PARTS), axes=1)
    return float(np.exp((DOptimal().value(m) - value) / 6))


@pytest.mark.parametrize("value", [0.0, 1e-15, -1e-9, 1e-3, -300.0, 300.0])
def test_a_d_optimal_mixture_is_the_same_wherever_f_is_zero(value: float) -> None:
    assert scaled(scale_of(value)) == pytest.approx(scaled(1.0), abs=1e-4)


@pytest.mark.parametrize("times", [1e-30, 1e-4, 1e4, 1e30])
def test_what_counts_as_stuck_does_not_depend_on_where_f_is_zero(times: float, monkeypatch) -> None:
    """Where SLSQP makes no step at all, the same few plain ones are made."""
    monkeypatch.setattr(master, "_slsqp", lambda f, alpha, precision: alpha)
    start = np.array([0.6, 0.35, 0.05])
    plain = scaled(1.0, start)
    assert not np.allclose(plain, start)
    assert scaled(times, start) == pytest.approx(plain, abs=1e-9)


def test_a_sum_that_is_zero_at_the_start_is_improved() -> None:
    m = RIDGE + np.tensordot(START, np.stack(PARTS), axes=1)
    log = DOptimal().value(m)
    spread = a_optimal(6).value(m)
    assert log < 0.0
    criterion = Sum(((-log / spread, a_optimal(6)), (1.0, DOptimal())))
    assert criterion.value(m) == pytest.approx(0.0, abs=1e-12)
    shares = mixture(criterion, RIDGE, PARTS, START)
    even = RIDGE + 0.5 * (PARTS[0] + PARTS[1])
    assert criterion.value(RIDGE + np.tensordot(shares, np.stack(PARTS), axes=1)) <= (
        criterion.value(even) + 1e-6
    )
