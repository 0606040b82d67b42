"""The paper's method as it was run, as a method of the bench."""

import numpy as np

from whichpairs.bench.methods.turn import Desk
from whichpairs.design.problem.space import Rows
from whichpairs.design.strategies.paper import (
    by_weight,
    paper_design,
    paper_information,
    reference_theta,
)


def paper(desk: Desk, budget: int) -> Rows:
    """`--criterion paper`, the paper's method as it was run, in every round on the pairs left: θ₀
    fitted to log π_ref, the relaxed design, and a draw without replacement in proportion to it.

    Source: [han2026]; theory, section 11.
    """
    with np.errstate(divide="ignore"):
        logprob = np.log(np.asarray(desk.world.reference, np.float64))
    theta = reference_theta(desk.space, logprob)
    design = paper_design(desk.space, desk.beta, paper_information(desk.space, theta))
    return by_weight(design, desk.rng)(desk.space, budget)
