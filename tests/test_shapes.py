"""The shapes that the design's annotations state are checked whenever a test runs it."""

from collections.abc import Callable

import numpy as np
import pytest
from jaxtyping import Float, TypeCheckError, jaxtyped

from shapes import checked
from whichpairs.design import PairSpace, PairWeights, information


def outer(bad: bool) -> Callable[..., object]:
    """A function within a function."""

    @jaxtyped(typechecker=checked)
    def inner(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, " n"]) -> Float[np.ndarray, " d"]:
        return x.T @ y if not bad else y

    return inner


def test_arguments_and_values_are_checked_together() -> None:
    x, y = np.ones((3, 2)), np.ones(3)
    for _ in range(2):  # the second has the check of the first
        assert outer(False)(x, y).tolist() == [3.0, 3.0]
        with pytest.raises(TypeCheckError, match="parameters"):
            outer(False)(x, np.ones(2))
        with pytest.raises(TypeCheckError, match="parameters"):
            outer(False)(x, [1.0, 1.0, 1.0])
        with pytest.raises(TypeCheckError, match="return value"):
            outer(True)(x, y)  # n where d is due: what n is came from the arguments


def test_the_design_is_checked() -> None:
    space = PairSpace(np.zeros((4, 2), np.float32), np.array([0, 4]))
    with pytest.raises(TypeCheckError, match="parameters"):
        information(space, np.zeros((3, 3), np.int64), PairWeights(1.0))
