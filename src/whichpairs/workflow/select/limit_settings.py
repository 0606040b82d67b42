"""What a batch must obey, in the user's words; how it is read of a pool is in `limits`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from whichpairs.errors import UserError
from whichpairs.setting import Setting

if TYPE_CHECKING:
    import numpy as np

    from whichpairs.design.problem.limits import Budget, Groups, Limits
    from whichpairs.design.problem.space import PairSpace
    from whichpairs.pool.pool import Pool
    from whichpairs.workflow.select.pairs_file import NamedPairs

OVERHEAD = 0.1
"""Minutes a pair beside the reading, where nothing else is said."""


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
        import numpy as np

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
        from whichpairs.workflow.select.pairs_file import file_hash

        files = {"must": self.must, "must_not": self.must_not}
        return {name: file_hash(path) for name, path in files.items() if path is not None}

    def named(self, pool: "Pool", known: Mapping[str, tuple[str, str, str]]) -> "NamedPairs":
        """The pairs of both files, as rows.

        Args:
            known: every pair ever asked, by id: ``(batch, id_a, id_b)``.

        Raises:
            UserError: a broken line, a pair that is not the pool's, or one that stands in both
                files.
        """
        from whichpairs.design.problem.limits import NO_PAIRS
        from whichpairs.workflow.select.pairs_file import NamedPairs, read_pairs

        both = [
            NO_PAIRS if path is None else read_pairs(path, pool, known, option)
            for path, option in ((self.must, "--must"), (self.must_not, "--must-not"))
        ]
        return NamedPairs(both[0], both[1]).checked(pool)

    def limits(self, pool: "Pool", must: "np.ndarray") -> "Limits":
        """The limits on this pool.

        Raises:
            UserError: a column is missing or holds what it must not, or there is no such group.
        """
        from whichpairs.design.problem.limits import Limits

        return Limits(
            self.repeats,
            self.per_prompt,
            self.per_completion,
            self._costs(pool),
            self._groups(pool),
            must,
        )

    def check_affordable(self, space: "PairSpace", budget: "Budget", limits: "Limits") -> None:
        """Raise a `UserError` where a budget of costs pays for no pair at all."""
        import numpy as np

        from whichpairs.design.batches.ordered import two_least

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

    def _costs(self, pool: "Pool") -> "np.ndarray | None":
        import numpy as np

        from whichpairs.workflow.select.limits import _cost_column, _words

        if self.cost_column is not None:
            return _cost_column(pool, self.cost_column)
        if self.reading is None:
            return None
        overhead = OVERHEAD if self.overhead is None else self.overhead
        words = _words(pool.completions["completion"])
        prompts = _words(pool.prompts["prompt"])[pool.prompt_of]
        return np.asarray((words + prompts / 2.0) / self.reading + overhead / 2.0)

    def _groups(self, pool: "Pool") -> "Groups | None":
        import numpy as np

        from whichpairs.design.problem.limits import Groups
        from whichpairs.workflow.select.limits import group_values

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


def _share(text: str) -> tuple[str, float, float]:
    """Name, least and most of ``NAME=LEAST:MOST``."""
    import numpy as np

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
