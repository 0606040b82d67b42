"""Which pairs to label: the mathematics of the paper on NumPy arrays, and nothing else.

Read in this order: `space` (the candidate pairs), `information` (what a pair teaches and what the
policy needs to know), `criterion` (what a design minimises), `belief` (what is
known of θ), `scores` (one pass over all pairs),
`solver` (Frank–Wolfe and its certificate), `exchange` (small budgets), `bounded` (for a reward that the
model may miss), `signal` (for a policy that forgets), `baselines` (random and its
relatives), `prediction` (what a design will buy, and what random would need).
"""

from whichpairs.design.belief import Belief, PairWeights
from whichpairs.design.criterion import (
    Criterion,
    DOptimal,
    Linear,
    Sum,
    a_optimal,
    c_optimal,
    check_dim,
    gap_criterion,
    i_optimal,
)
from whichpairs.design.information import information, policy_information, prior
from whichpairs.design.prediction import RandomOutlook, random_outlook
from whichpairs.design.solver import FrankWolfe, PassReport, Problem, Solution, solve
from whichpairs.design.space import PairSpace

__all__ = [
    "Belief",
    "Criterion",
    "DOptimal",
    "FrankWolfe",
    "Linear",
    "PairSpace",
    "PairWeights",
    "PassReport",
    "Problem",
    "RandomOutlook",
    "Solution",
    "Sum",
    "a_optimal",
    "c_optimal",
    "check_dim",
    "gap_criterion",
    "i_optimal",
    "information",
    "policy_information",
    "prior",
    "random_outlook",
    "solve",
]
