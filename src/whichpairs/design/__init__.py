"""Which pairs to label: the mathematics of the paper on NumPy arrays, and nothing else.

To be read beside design.md, in this order:

what labels teach       `space` (the candidate pairs; `shards` on disk), `belief` (v_p = E σ′),
(section 2)             `information` (M(u), Ī, H₀)
what is minimised       `criterion` (f and A = −∂f/∂M), `limits` (what a batch must obey), `problem`
how it is solved        `kernel` and `scores` (a pass: s_p = v_p β² ‖h_i − h_j‖² of all pairs),
(section 3)             `candidates` (the few that matter), `vertex` (the limits' linear programme),
                        `master` and `mixing` (the best mixture of vertices), `certificate` (the bound),
                        `rounding`, `swaps` and `exchange` (whole labels), `dominated` (what no answer
                        needs),
                        `start` and `solver` (all of it, pass by pass)
beyond the paper        `bounded` (for a reward that the model may miss), `signal` (for a policy that
(section 4)             forgets), `within` (other designs within limits)
what it will buy        `baselines` (random and its relatives), `prediction`, `foresight`
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
from whichpairs.design.limits import Groups, Limits
from whichpairs.design.prediction import RandomOutlook, random_outlook
from whichpairs.design.problem import Problem
from whichpairs.design.shards import Shards
from whichpairs.design.solver import FrankWolfe, PassReport, Solution, solve
from whichpairs.design.space import PairSpace

__all__ = [
    "Belief",
    "Criterion",
    "DOptimal",
    "FrankWolfe",
    "Groups",
    "Limits",
    "Linear",
    "PairSpace",
    "PairWeights",
    "PassReport",
    "Problem",
    "RandomOutlook",
    "Shards",
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
