"""What is said where no batch does what it must."""

import numpy as np

from whichpairs.design.batches.candidates import Candidates
from whichpairs.design.batches.integral import Ledger, roundings
from whichpairs.design.problem.problem import Problem
from whichpairs.errors import UserError


def singular(p: Problem, candidates: int) -> UserError:
    """Every batch leaves a direction without labels."""
    return UserError(
        "a batch must leave no direction of the features without labels or a prior",
        f"no batch of {p.budget:g} found among {candidates} candidates does that",
        "use a positive prior (H₀; --prior-spread) or fewer features (--dim)",
    )


def out_of_reach(p: Problem, c: Candidates, scores: np.ndarray, counts: np.ndarray) -> UserError:
    """No batch obeys all limits: say which one is in the way."""
    found = roundings(c, counts, scores, p.budget, p.limits)[0]
    ledger = Ledger.of(c, found, p.budget, p.limits)
    limits = {
        "labels a prompt": p.limits.per_prompt,
        "labels a completion": p.limits.per_completion,
    }
    given = ", ".join(f"at most {most} {name}" for name, most in limits.items() if most)
    return UserError(
        f"{ledger.missing() or 'the cheapest pair'} must be within reach"
        + (f" with {given}" if given else ""),
        f"no batch was found; the fullest has {int(found.sum())} labels at a cost of "
        f"{ledger.spent:g} of {p.budget:g}",
        "loosen that limit, or change the budget",
    )
