"""A column of the pool as features: which model wrote a completion, how long it is, what a judge
said.

A column of texts or truth values is a set of categories, one 0-1 feature each; a column of numbers
is one feature, of standard deviation 1 within prompts. Both are centred within prompts, as all
features are.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from whichpairs.errors import UserError
from whichpairs.features.store import centred

LEAST = 10
"""Completions of a category; those of fewer are one category together."""

MOST = 256
"""Categories, at most."""


@dataclass(frozen=True)
class Column:
    """A column as features.

    Attributes:
        rows: float64 (completions, d), of mean 0 within every prompt.
        rare: values of fewer than `LEAST` completions, which are one category together.
        missing: completions without a value: a category of their own; of a number 0, and a 0-1
            feature beside it that says so.
    """

    rows: Float[np.ndarray, "n d"]
    rare: int = 0
    missing: int = 0


def categories(
    values: list[str | None], starts: Int64[np.ndarray, " prompts_plus_one"], name: str
) -> Column:
    """One 0-1 feature a category, the most frequent first.

    Args:
        values: of every completion; starts: prompt p owns rows ``starts[p]:starts[p + 1]``.

    Raises:
        UserError: more than `MOST` categories, or a single one.
    """
    there = np.array([value is not None for value in values])
    texts = np.array(["" if value is None else value for value in values])
    found, place, count = np.unique(texts[there], return_inverse=True, return_counts=True)
    often = count >= LEAST
    kept = int(often.sum())
    if kept > MOST:
        raise UserError(
            f"a column of categories has at most {MOST} of them",
            f"{name} has {kept} that {LEAST} completions or more have",
            "name a coarser column, or, where it holds numbers, import with --score-column",
        )
    rank = np.full(len(found), kept)
    rank[np.argsort(np.where(often, -count, 1), kind="stable")[:kept]] = np.arange(kept)
    code = np.full(len(values), kept + 1)
    code[there] = rank[place]
    used = np.unique(code)
    if len(used) < 2:
        raise UserError(
            f"a column of categories has at least 2, each of {LEAST} completions or more",
            f"{name} has {len(found)} different values, {kept} of them in so many",
            "name another column",
        )
    rows = (code[:, None] == used).astype(np.float64)
    rare, missing = int(np.sum(~often)), int(np.sum(~there))
    return Column(centred(rows, np.diff(starts)), rare, missing)


def numbers(
    values: Float[np.ndarray, " n"], starts: Int64[np.ndarray, " prompts_plus_one"], name: str
) -> Column:
    """The number, standardised within prompts; where NaN, 0, and a feature beside it says so.

    Raises:
        UserError: a value is infinite.
    """
    missing = np.isnan(values)
    if np.isinf(values).any():
        row = int(np.flatnonzero(np.isinf(values))[0])
        raise UserError(
            "a column of numbers must be finite where it is not empty",
            f"{name} is infinite in row {row} of the pool",
            "mend it, or name another column",
        )
    owner = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    many = np.bincount(owner, ~missing, len(starts) - 1)
    total = np.bincount(owner, np.where(missing, 0.0, values), len(starts) - 1)
    mean = total / np.maximum(many, 1.0)
    number = np.where(missing, 0.0, values - mean[owner])
    spread = np.sqrt(np.mean(number[~missing] ** 2)) if not missing.all() else 0.0
    rows = (number / spread if spread > 0.0 else number)[:, None]
    if missing.any():
        rows = np.column_stack([rows, centred(missing[:, None], np.diff(starts))])
    return Column(rows, missing=int(missing.sum()))
