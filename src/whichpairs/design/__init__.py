"""Which pairs to label: the mathematics of the paper on NumPy arrays, and nothing else.

To be read beside docs/theory.md, room by room, in this order:

`problem`     what labels teach (section 4): `space` (the candidate pairs; `shards` on disk, `kinds`
              that are equal), `belief` (v_p = E σ′), `information` (M(u), Ī, H₀); what is
              minimised: `criterion` (f and A = −∂f/∂M), `swaps`; `limits` (what a batch must obey),
              and all of it in one record, `problem`
`sweep`       a pass over all pairs (section 6): s_p = v_p β² ‖h_i − h_j‖² (`kernel`, `sweep`), the
              best of them (`heap`), and what no answer needs (`dominated`)
`batches`     batches within limits, solved or not: the few pairs that matter (`candidates`), the
              limits' linear programme, whole labels (`integral`), an order of one's own
              (`ordered`), at `random`, and never worse than that (`versus_random`)
`solver`      the best one (section 6): `frank_wolfe`, pass by pass, from a `warm_start`; the best
              `mixture` of vertices (`simplicial`), the bound (`certificate`), `exchange` and
              `polish`, the `solution`, or what is said where there is none (`unreachable`)
`estimate`    from labels to θ (`bradley_terry`, `refit`), to what is believed of an answer
              (`calibrate`), and from θ to a `policy` on the pool and its `policy_gap`
`strategies`  which pairs, by whom (sections 7, 8, 11): `bounded` (for a reward that the model may
              miss), `strongest` (for a policy that forgets), `adaptive` (the default), the
              `paper`'s draw from a design of `shares`
`forecast`    what labels will buy: `predicted_gap`, `random_reach`, by budget (`curve`)
`exact`       float64 `products` whose bits do not depend on the rows beside, work on threads
              `in_order`

From the equations to the code and back. A kernel knows no v_p: it sees β² / 4, the largest, and
`scores` weighs what it lets through each with its own E σ′(β zᵀθ); so a belief with covariance C
needs no second Gram matrix. Of the theory's equations, (4) and (7) to (23) are here; (1), J itself,
is `whichpairs.evaluate`; (6) and (24), the estimate, are
`whichpairs.design.estimate.bradley_terry`, (25) and (26), what is believed and what is predicted,
`whichpairs.train` too. The certificate is `solver.Solution`'s, the regret share
`whichpairs.workflow.select.stage`'s. The kernels that need more than NumPy are in
`whichpairs.engine`.
"""

from whichpairs.design.batches.versus_random import VersusRandom
from whichpairs.design.forecast.random_reach import RandomOutlook, random_outlook
from whichpairs.design.problem.belief import Belief, PairWeights
from whichpairs.design.problem.criterion import (
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
from whichpairs.design.problem.information import information, policy_information, prior
from whichpairs.design.problem.limits import Groups, Limits
from whichpairs.design.problem.problem import Problem
from whichpairs.design.problem.shards import Shards
from whichpairs.design.problem.space import PairSpace
from whichpairs.design.solver.frank_wolfe import FrankWolfe, PassReport, Solution, solve

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
