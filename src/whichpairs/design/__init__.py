"""Which pairs to label: the mathematics of the paper on NumPy arrays, and nothing else.

To be read beside docs/theory.md, in this order:

what labels teach       `space` (the candidate pairs; `shards` on disk), `belief` (v_p = E σ′),
(section 4)             `information` (M(u), Ī, H₀)
what is minimised       `criterion` (f and A = −∂f/∂M), `limits` (what a batch must obey), `problem`
how it is solved        `kernel` and `scores` (a pass: s_p = v_p β² ‖h_i − h_j‖² of all pairs),
(section 6)             `candidates` (the few that matter), `vertex` (the limits' linear programme),
                        `master` and `mixing` (the best mixture of vertices), `certificate` (the bound),
                        `rounding`, `swaps`, `exchange` and `polish` (whole labels), `dominated` (what
                        no answer needs), `start`, `solver` and `records` (all of it, pass by pass),
                        `versus_random` (never worse than random), `unreachable` (no batch at all)
its tools               `rows` (float64 products whose bits do not depend on the rows beside),
                        `parallel` (work on threads, in order)
beyond the paper        `bounded` (for a reward that the model may miss), `signal` (for a policy that
(sections 7, 8)         forgets), `within` (other designs within limits)
what it will buy        `baselines` (random and its relatives), `prediction`, `foresight`

From the equations to the code and back. A kernel knows no v_p: it sees β² / 4, the largest, and
`scores` weighs what it lets through each with its own E σ′(β zᵀθ); so a belief with covariance C needs
no second Gram matrix. Of the theory's equations, (4) and (7) to (23) are here; (1), J itself, is
`whichpairs.evaluate`; (6) and (24), the estimate, are `whichpairs.train.fit`, (25) and (26), what is
believed and what is predicted, `whichpairs.train` too. The certificate is `solver.Solution`'s, the
regret share `whichpairs.workflow.select`'s. The kernels that need more than NumPy are in `whichpairs.engine`.
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
from whichpairs.design.versus_random import VersusRandom

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
    "VersusRandom",
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
