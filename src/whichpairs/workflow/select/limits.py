"""What a batch must obey, in the user's words: options of `select` become
`design.problem.limits.Limits`.

Groups and costs are read from the pool, pairs from the user's files (`workflow.select.pairs_file`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import polars as pl

from whichpairs.design.batches.ordered import two_least
from whichpairs.design.problem.limits import NO_PAIRS, Budget, Groups, Limits
from whichpairs.design.problem.space import PairSpace
from whichpairs.errors import UserError
from whichpairs.pool.pool import Pool
from whichpairs.setting import Setting
from whichpairs.workflow.select.pairs_file import NamedPairs, file_hash, read_pairs

OVERHEAD = 0.1
"""Minutes a pair beside the reading, where nothing else is said."""

_HIDDEN = {"completion", "completion_id", "prompt_id", "prompt", "messages", "holdout", "finished"}
"""Columns that are no groups of prompts."""


@dataclass(frozen=True)
class LimitSettings:
    """What the user asked for; by default every pair is labelled at most once, and nothing else.

    Args:
        repeats: labels a pair at most, by different annotators; 1 or more.
        per_prompt, per_completion: labels at most; None is no limit.
        group_column: a column of the pool with one value a prompt; prompts without are in no group.
        share: what groups get of the budget, each ``NAME=LEAST:MOST``, 0 to 1, either may be empty.
        must, must_not: files of pairs that are picked, or never picked (`read_pairs`).
        cost_column: a numeric column above 0, the cost of looking at a completion; a pair costs
            what its two do, and the budget is in that unit.
        reading: words a minute; a pair costs the minutes to read its prompt and both completions,
            and the budget is minutes. Words are what blanks set apart.
        overhead: minutes a pair beside `reading`, 0 or more; None is `OVERHEAD`.

    Raises:
        UserError: values that cannot be, alone or together.
    """

    repeats: Annotated[int, Setting("Labels a pair at most, each by another annotator.")] = 1
    per_prompt: Annotated[int | None, Setting("Labels a prompt at most.")] = None
    per_completion: Annotated[int | None, Setting("Labels a completion at most.")] = None
    group_column: Annotated[
        str | None, Setting("Pool column of the prompts' groups, for --share.")
    ] = None
    share: Annotated[
        tuple[str, ...],
        Setting(
            "NAME=LEAST:MOST, a group's share of the budget, 0 to 1; either may be empty; "
            "repeatable."
        ),
    ] = ()
    must: Annotated[
        str | None, Setting("File of pairs to pick in any case: ids, or JSONL of id_a and id_b.")
    ] = None
    must_not: Annotated[str | None, Setting("File of pairs never to pick, likewise.")] = None
    cost_column: Annotated[
        str | None,
        Setting(
            "Numeric pool column: what looking at a completion costs; a pair costs the sum of its "
            "two, and --budget is in that unit."
        ),
    ] = None
    reading: Annotated[
        float | None,
        Setting(
            "Words a minute: a pair costs the minutes to read its prompt and both completions, "
            "and --budget is minutes."
        ),
    ] = None
    overhead: Annotated[
        float | None, Setting("Minutes a pair beside its reading; 0.1 if left out.")
    ] = None

    def __post_init__(self) -> None:
        for name in ("repeats", "per_prompt", "per_completion"):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            if not whole and (value is not None or name == "repeats"):
                option = name.replace("_", "-")
                raise UserError(f"{option} must be a whole number of at least 1", f"got {value}")
        if (self.group_column is None) != (not self.share):
            raise UserError(
                "shares are of the groups of a column: --group-column and --share go together",
                f"got {'only --share' if self.share else 'only --group-column'}",
                "pass --group-column COLUMN --share NAME=LEAST:MOST",
            )
        assert self.shares is not None
        self._check_costs()

    def _check_costs(self) -> None:
        if self.cost_column is not None and self.reading is not None:
            raise UserError(
                "a budget has one unit: --cost-column or --reading", "got both", "leave one out"
            )
        if self.reading is not None and not 0.0 < self.reading < np.inf:
            raise UserError(
                "reading must be a finite number of words a minute above 0", f"got {self.reading:g}"
            )
        if self.overhead is not None and self.reading is None:
            raise UserError("--overhead is minutes beside --reading", "got it alone")
        if self.overhead is not None and not 0.0 <= self.overhead < np.inf:
            raise UserError(
                "overhead must be a finite number of minutes of at least 0",
                f"got {self.overhead:g}",
            )

    @property
    def unit(self) -> str:
        """What a budget counts: labels, minutes, or whatever the cost column holds."""
        if self.reading is not None:
            return "minutes"
        return "labels" if self.cost_column is None else self.cost_column

    @property
    def shares(self) -> dict[str, tuple[float, float]]:
        """Least and most by group."""
        found: dict[str, tuple[float, float]] = {}
        for text in self.share:
            name, least, most = _share(text)
            if name in found:
                raise UserError("a group has one share", f"{name!r} has several")
            found[name] = (least, most)
        return found

    def recorded(self) -> dict[str, Any]:
        """The limits in use, as the manifest keeps them; those that are not stay out."""
        usual = LimitSettings.__dataclass_fields__
        found = {name: getattr(self, name) for name in usual}
        if self.reading is not None and self.overhead is None:
            found["overhead"] = OVERHEAD
        found["share"] = list(self.share) or ()
        return {name: value for name, value in found.items() if value != usual[name].default}

    @property
    def inputs(self) -> dict[str, str]:
        """SHA-256 of the files of pairs."""
        files = {"must": self.must, "must_not": self.must_not}
        return {name: file_hash(path) for name, path in files.items() if path is not None}

    def named(self, pool: Pool, known: Mapping[str, tuple[str, str, str]]) -> NamedPairs:
        """The pairs of both files, as rows.

        Args:
            known: every pair ever asked, by id: ``(batch, id_a, id_b)``.

        Raises:
            UserError: a broken line, a pair that is not the pool's, or one that stands in both
                files.
        """
        both = [
            NO_PAIRS if path is None else read_pairs(path, pool, known, option)
            for path, option in ((self.must, "--must"), (self.must_not, "--must-not"))
        ]
        return NamedPairs(both[0], both[1]).checked(pool)

    def limits(self, pool: Pool, must: np.ndarray) -> Limits:
        """The limits on this pool.

        Raises:
            UserError: a column is missing or holds what it must not, or there is no such group.
        """
        return Limits(
            self.repeats,
            self.per_prompt,
            self.per_completion,
            self._costs(pool),
            self._groups(pool),
            must,
        )

    def check_affordable(self, space: PairSpace, budget: Budget, limits: Limits) -> None:
        """Raise a `UserError` where a budget of costs pays for no pair at all."""
        if limits.row_costs is None:
            return
        owner = np.repeat(np.arange(len(space.sizes)), np.diff(space.starts))
        pairs = two_least(limits.row_costs, owner, space.starts)[space.sizes >= 2]
        least = float(pairs.min(initial=np.inf))
        if space.candidates == 0 or least > budget:
            known = f"the cheapest costs {least:.4g}" if space.candidates else "none is left"
            raise UserError(
                "the budget must pay for at least one candidate pair",
                f"got {budget:g} {self.unit}, and {known}",
            )

    def _costs(self, pool: Pool) -> np.ndarray | None:
        if self.cost_column is not None:
            return _cost_column(pool, self.cost_column)
        if self.reading is None:
            return None
        overhead = OVERHEAD if self.overhead is None else self.overhead
        words = _words(pool.completions["completion"])
        prompts = _words(pool.prompts["prompt"])[pool.prompt_of]
        return np.asarray((words + prompts / 2.0) / self.reading + overhead / 2.0)

    def _groups(self, pool: Pool) -> Groups | None:
        if self.group_column is None:
            return None
        values = group_values(pool, self.group_column)
        shares, there = self.shares, sorted({v for v in values if v is not None})
        for name in shares:
            if name not in there:
                shown = ", ".join(there[:20]) + (" …" if len(there) > 20 else "")
                raise UserError(
                    f"a group with a share must be a value of {self.group_column!r}",
                    f"got {name!r}; there is {shown or 'none'}",
                )
        number = {name: g for g, name in enumerate(shares)}
        of = np.array([-1 if v is None else number.get(v, -1) for v in values], np.int64)
        bounds = np.array(list(shares.values()))
        return Groups(tuple(shares), of, bounds[:, 0], bounds[:, 1])


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


def _share(text: str) -> tuple[str, float, float]:
    """Name, least and most of ``NAME=LEAST:MOST``."""
    name, _, bounds = text.rpartition("=")
    sides = bounds.split(":")
    try:
        least, most = (
            float(side) if side else usual for side, usual in zip(sides, (0.0, 1.0), strict=True)
        )
    except ValueError:
        least, most = np.nan, np.nan
    if not name or not 0.0 <= least <= most <= 1.0:
        raise UserError(
            "a share must be NAME=LEAST:MOST with 0 ≤ LEAST ≤ MOST ≤ 1",
            f"got {text!r}",
            "e.g. --share code=0.2:0.5, or code=0.2: for no upper end",
        )
    return name, least, most
