"""What a batch must obey, in the user's words: options of `select` become
`design.problem.limits.Limits`.

Groups and costs are read from the pool, pairs from the user's files (`workflow.select.pairs_file`).
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from whichpairs.design.problem.limits import Budget, Limits
from whichpairs.errors import UserError
from whichpairs.pool.pool import Pool

_HIDDEN = {"completion", "completion_id", "prompt_id", "prompt", "messages", "holdout", "finished"}
"""Columns that are no groups of prompts."""


@dataclass(frozen=True)
class Spent:
    """What a batch takes of its limits.

    Attributes:
        labels: in all; cost: in `unit`; shares: of the budget, by group.
    """

    labels: int
    cost: float
    unit: str
    shares: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls, picked: np.ndarray, pool: Pool, budget: Budget, limits: Limits, unit: str
    ) -> "Spent":
        """Of a batch: pairs as often as they are to be labelled, (n, 2)."""
        costs, shares = limits.costs(picked), {}
        if limits.groups is not None:
            group = limits.groups.of[pool.prompt_of[picked[:, 0]]]
            for g, name in enumerate(limits.groups.names):
                shares[name] = float(costs[group == g].sum() / budget)
        return cls(len(picked), float(costs.sum()), unit, shares)

    def recorded(self) -> dict[str, Any]:
        """As the result has it."""
        shares = {"shares": self.shares} if self.shares else {}
        return {"labels": self.labels, "cost": self.cost, "unit": self.unit, **shares}


def group_values(pool: Pool, column: str) -> list[str | None]:
    """Each prompt's value of a column, as text; None where it has none.

    Raises:
        UserError: there is no such column, or a prompt has two values.
    """
    if column in pool.completions.columns and column not in _HIDDEN:
        series = pool.completions[column]
    elif column in pool.prompts.columns and column not in _HIDDEN:
        series = pool.prompts[column].gather(pool.prompt_of)
    else:
        names = [*pool.prompts.columns, *pool.completions.columns]
        there = [name for name in names if name not in _HIDDEN and name != "weight"]
        raise UserError(
            "the group column must be a column of the pool",
            f"got {column!r}; there is {', '.join(there) or 'none'}",
            "a column of the imported file stays with the pool unless it has another meaning",
        )
    if series.dtype.is_nested():
        raise UserError("the group column must hold plain values", f"{column!r} holds lists")
    values = [value or None for value in series.cast(pl.String).to_list()]
    found: list[str | None] = []
    for prompt, (low, high) in enumerate(zip(pool.starts[:-1], pool.starts[1:], strict=True)):
        several = list(dict.fromkeys(values[low:high]))
        if len(several) != 1:
            raise UserError(
                f"{column!r} must have one value a prompt",
                f"prompt {pool.prompts['prompt_id'][prompt]} has {several[0]!r} and {several[1]!r}",
            )
        found.append(several[0])
    return found


def _cost_column(pool: Pool, column: str) -> np.ndarray:
    kinds = pool.completions.schema
    numeric = [name for name, kind in kinds.items() if kind.is_numeric() and name != "weight"]
    if column not in numeric:
        raise UserError(
            "the cost column must be a numeric column of the pool's completions",
            f"got {column!r}; there is {', '.join(numeric) or 'none'}",
        )
    costs = pool.completions[column].to_numpy().astype(np.float64)
    bad = np.flatnonzero(~(np.isfinite(costs) & (costs > 0.0)))
    if len(bad):
        raise UserError(
            "costs must be finite numbers above 0",
            f"{column!r} is {costs[bad[0]]:g} for completion {pool.ids[bad[0]]} ({len(bad)} such)",
        )
    return costs


def _words(texts: pl.Series) -> np.ndarray:
    return texts.str.count_matches(r"\S+").to_numpy().astype(np.float64)
