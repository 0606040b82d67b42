"""What is to be solved: pairs, a criterion, what labels teach, a budget and its limits."""

from dataclasses import dataclass, field

import numpy as np

from whichpairs.design.problem.belief import PairWeights
from whichpairs.design.problem.criterion import Criterion, Matrix, check_dim
from whichpairs.design.problem.limits import Budget, Limits, check
from whichpairs.design.problem.space import PairSpace
from whichpairs.errors import UserError


@dataclass(frozen=True)
class Problem:
    """Which pairs of `space` minimise `criterion` within a budget?

    Args:
        weights: what a pair's label teaches (w_p).
        base: M₀ = H₀ plus the information of labels already there, d × d.
        budget: labels to pick, 1 to the number of candidates; where pairs have costs, what they may
            cost together.
        limits: what else a batch must obey.

    Raises:
        UserError: names the limit that cannot be met.
    """

    space: PairSpace
    criterion: Criterion
    weights: PairWeights
    base: Matrix
    budget: Budget
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        check_dim(self.criterion, self.space.dim)
        d = self.space.dim
        if self.base.shape != (d, d) or not np.isfinite(self.base).all():
            raise UserError(
                f"the base must be a matrix of numbers, {d} × {d} for these features",
                f"got one of shape {self.base.shape}",
            )
        check(self.space, self.budget, self.limits)

    @property
    def labels(self) -> float:
        """The labels that the budget buys, about."""
        costs = self.limits.row_costs
        if costs is None:
            return float(self.budget)
        return float(self.budget / (2.0 * np.quantile(costs, 0.25)))
