"""Limits say what cannot be met, by name, before anything is solved."""

import numpy as np
import pytest

from pools import ragged_space
from whichpairs.design import PairWeights, Problem, a_optimal
from whichpairs.design.problem.limits import Groups, Limits, check
from whichpairs.errors import UserError

SPACE = ragged_space([3, 4, 2], 2)
"""Nine rows; 3 + 6 + 1 candidates."""


def groups(least=(0.0, 0.0), most=(1.0, 1.0), of=(0, 1, -1)) -> Groups:
    return Groups(("poems", "code"), np.array(of, np.int64), np.array(least), np.array(most))


def pairs(*rows: tuple[int, int]) -> np.ndarray:
    return np.array(rows, np.int64)


REFUSED = [
    (0, {}, "budget must be between 1 and the 10 candidate pairs; got 0"),
    (11, {}, "budget must be between 1 and the 10 candidate pairs; got 11"),
    (2.5, {}, "budget must be between 1 and the 10 candidate pairs; got 2.5"),
    (21, {"repeats": 2}, "between 1 and 20, 2 labels for each of the 10 candidate pairs; got 21"),
    (0.0, {"row_costs": np.ones(9)}, "a budget must be a finite number above 0; got 0"),
    (np.inf, {"row_costs": np.ones(9)}, "a budget must be a finite number above 0; got inf"),
    (np.nan, {"row_costs": np.ones(9)}, "a budget must be a finite number above 0; got nan"),
    (3, {"repeats": 0}, "repeats must be a whole number of at least 1; got 0"),
    (3, {"per_prompt": 0}, "per_prompt must be a whole number of at least 1; got 0"),
    (3, {"per_completion": -1}, "per_completion must be a whole number of at least 1; got -1"),
    (3, {"row_costs": np.ones(4)}, "one cost a completion; got (4,) for 9 completions"),
    (3, {"row_costs": np.r_[np.ones(8), 0.0]}, "completion 8 costs 0 (1 such)"),
    (3, {"row_costs": np.r_[np.nan, np.ones(8)]}, "completion 0 costs nan (1 such)"),
    (
        7,
        {"per_prompt": 2},
        "at most 2 labels a prompt must leave room for the budget; room is for 5",
    ),
    (9, {"per_completion": 2}, "at most 2 labels a completion must leave room for the budget"),
    (3, {"must": pairs((0, 3))}, "must be candidates; 1 are not"),
    (3, {"must": pairs((1, 0), (0, 1))}, "must be candidates; 1 are not"),
    (3, {"must": pairs((-1, 1), (7, 9), (0, 1))}, "must be candidates; 2 are not"),
    (3, {"must": pairs((0, 1), (0, 1))}, "must be distinct"),
    (1, {"must": pairs((0, 1), (3, 4))}, "must fit the budget; they take 2 of 1"),
    (
        3,
        {"must": pairs((0, 1), (0, 2)), "per_prompt": 1},
        "fit at most 1 label a prompt; they take 2",
    ),
    (
        3,
        {"must": pairs((0, 1), (0, 2)), "per_completion": 1},
        "at most 1 label a completion; they take 2",
    ),
    (4, {"groups": groups(least=(-0.1, 0.0))}, "0 ≤ least ≤ most ≤ 1; group 'poems' has -0.1 to 1"),
    (4, {"groups": groups(most=(1.0, 1.1))}, "0 ≤ least ≤ most ≤ 1; group 'code' has 0 to 1.1"),
    (4, {"groups": groups(least=(0.0, 0.9), most=(1.0, 0.5))}, "group 'code' has 0.9 to 0.5"),
    (4, {"groups": groups(least=(0.0, np.nan))}, "0 ≤ least ≤ most ≤ 1"),
    (4, {"groups": groups(least=(0.5, 0.75))}, "must fit the budget together; they come to 5 of 4"),
    (
        4,
        {"groups": groups(least=(0.3, 0.0), most=(0.4, 1.0))},
        "a whole number of labels; 0.3 to 0.4 of 4",
    ),
    (
        5,
        {"groups": groups(least=(0.8, 0.0))},
        "group 'poems' must have room for its least share; it takes 3",
    ),
    (
        9,
        {"groups": groups(most=(0.2, 0.5))},
        "the groups' largest shares must leave room for the budget",
    ),
    (
        4,
        {"groups": groups(most=(0.25, 1.0)), "must": pairs((0, 1), (0, 2))},
        "largest share of group 'poems'",
    ),
    (
        3,
        {"groups": groups(least=(0.6, 0.0)), "must": pairs((3, 4), (7, 8))},
        "beside the groups' least shares; together they come to 4 of 3",
    ),
]


@pytest.mark.parametrize(("budget", "options", "message"), REFUSED, ids=[m for *_, m in REFUSED])
def test_what_cannot_be_met_is_named(budget, options: dict, message: str) -> None:
    with pytest.raises(UserError) as refused:
        Problem(SPACE, a_optimal(2), PairWeights(1.0), np.eye(2), budget, Limits(**options))
    assert message in str(refused.value)


MET = [
    (10, {}),
    (20, {"repeats": 2}),
    (5, {"per_prompt": 2}),
    (1e6, {"row_costs": np.ones(9)}),
    (2, {"must": pairs((0, 1), (3, 4))}),
    (4, {"groups": groups(least=(0.5, 0.5))}),
    (4, {"groups": groups(least=(0.5, 0.0)), "must": pairs((0, 1), (0, 2), (3, 4), (7, 8))}),
    (10, {"groups": groups(most=(0.3, 0.6))}),
    (4, {"groups": groups(of=(0, 0, 0))}),
]


@pytest.mark.parametrize(("budget", "options"), MET)
def test_what_can_just_be_met_is_let_through(budget, options: dict) -> None:
    check(SPACE, budget, Limits(**options))


def test_excluded_and_held_out_pairs_are_no_candidates_to_insist_on() -> None:
    gone = SPACE.without(pairs((0, 1)))
    held_out = ragged_space([3, 4, 2], 2, eligible=np.array([False, True, True]))
    for space in (gone, held_out):
        with pytest.raises(UserError, match="must be candidates; 1 are not"):
            check(space, 2, Limits(must=pairs((0, 1), (3, 4))))


def test_labels_already_there_take_room_from_the_prompts_limits() -> None:
    space = SPACE.without(pairs((0, 1), (0, 2)))
    check(space, 4, Limits(per_prompt=2))
    with pytest.raises(UserError, match="room is for 4 labels, the budget is 5"):
        check(space, 5, Limits(per_prompt=2))


def test_a_pair_costs_what_its_completions_do() -> None:
    limits = Limits(row_costs=np.arange(1.0, 10.0))
    assert limits.costs(pairs((0, 2), (7, 8))).tolist() == [4.0, 17.0]
    assert Limits().costs(pairs((0, 2), (7, 8))).tolist() == [1.0, 1.0]


def test_shares_of_labels_are_whole_and_shares_of_money_are_not() -> None:
    shares = groups(least=(0.21, 0.1), most=(0.79, 0.3))
    low, high = Limits(groups=shares).group_bounds(10)
    assert low.tolist() == [3.0, 1.0]
    assert high.tolist() == [7.0, 3.0]
    low, high = Limits(groups=shares, row_costs=np.ones(9)).group_bounds(10.0)
    assert np.allclose(low, [2.1, 1.0])
    assert np.allclose(high, [7.9, 3.0])


def test_limits_nest_unless_completions_or_two_units_are_limited() -> None:
    costs = np.ones(9)
    assert Limits(repeats=2, per_prompt=2, groups=groups(), must=pairs((0, 1))).laminar
    assert Limits(row_costs=costs, groups=groups()).laminar
    assert not Limits(row_costs=costs, per_prompt=2).laminar
    assert not Limits(per_completion=2).laminar
    assert Limits(repeats=3).only_budget
    assert not any(
        Limits(**options).only_budget
        for options in (
            {"per_prompt": 1},
            {"per_completion": 1},
            {"row_costs": costs},
            {"groups": groups()},
            {"must": pairs((0, 1))},
        )
    )
