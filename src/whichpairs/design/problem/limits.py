"""What a batch must obey beside its budget: the constraints of real labelling.

    0 ≤ u_p ≤ k,  Σ_p c_p u_p ≤ B,  Σ_{p of a prompt} u_p ≤ c,  Σ_{p of a completion} u_p ≤ r,
    ℓ_g B ≤ Σ_{p of group g} c_p u_p ≤ h_g B,  u_p ≥ 1 for pairs that must be picked

for u_p labels of pair p. Pairs that must not be picked leave the space (`PairSpace.without`); pairs
already labelled count in the base M₀. `check` names the constraint that cannot be met.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int64

from whichpairs.design.problem.space import PairSpace, Rows, is_member
from whichpairs.errors import UserError

Budget = int | float
"""Labels, or, where pairs have costs, minutes or money."""

NO_PAIRS = np.empty((0, 2), np.int64)


@dataclass(frozen=True)
class Groups:
    """Shares of the budget that groups of prompts get.

    Args:
        names: of the groups, for messages.
        of: each prompt's group, 0 to len(names) − 1, or −1 for none.
        least, most: shares ℓ_g and h_g of the budget, 0 to 1.
    """

    names: tuple[str, ...]
    of: Int64[np.ndarray, " prompts"]
    least: Float[np.ndarray, " groups"]
    most: Float[np.ndarray, " groups"]


@dataclass(frozen=True)
class Limits:
    """The constraints; by default each pair is labelled at most once, and nothing else.

    Args:
        repeats: k, labels a pair at most, 1 or more.
        per_prompt: c, labels a prompt at most; None is no limit.
        per_completion: r, labels a completion at most; None is no limit.
        row_costs: cost of looking at each completion, above 0, in the budget's unit (minutes,
            money): a pair costs what its two completions do; what a prompt or a pair costs besides
            is put there by halves. None: every pair costs 1, the budget is labels.
        groups: shares of the budget by group of prompts.
        must: distinct pairs that are picked whatever they teach, (n, 2) with i < j.
    """

    repeats: int = 1
    per_prompt: int | None = None
    per_completion: int | None = None
    row_costs: Float[np.ndarray, " rows"] | None = None
    groups: Groups | None = None
    must: Rows = field(default_factory=lambda: NO_PAIRS)

    @property
    def unit_costs(self) -> bool:
        """Whether every pair costs 1."""
        return self.row_costs is None

    @property
    def laminar(self) -> bool:
        """Whether the limits nest (pair in prompt in group in budget, one unit): greedy is
        exact."""
        return self.per_completion is None and (self.unit_costs or self.per_prompt is None)

    @property
    def interchangeable(self) -> bool:
        """Whether it makes no difference which of several equal pairs of a group are labelled."""
        return self.per_prompt is None and self.per_completion is None

    @property
    def only_budget(self) -> bool:
        """Whether nothing but the budget and `repeats` limits a batch."""
        others = (self.per_prompt, self.per_completion, self.row_costs, self.groups)
        return all(x is None for x in others) and len(self.must) == 0

    def costs(self, pairs: Rows) -> Float[np.ndarray, " pairs"]:
        """c_p of these pairs."""
        if self.row_costs is None:
            return np.ones(len(pairs))
        return np.asarray(self.row_costs[pairs[:, 0]] + self.row_costs[pairs[:, 1]], np.float64)

    def group_bounds(
        self, budget: Budget
    ) -> tuple[Float[np.ndarray, " groups"], Float[np.ndarray, " groups"]]:
        """What each group gets at least and at most, in the budget's unit (whole labels if that is
        it)."""
        if self.groups is None:
            return np.empty(0), np.empty(0)
        low, high = self.groups.least * budget, self.groups.most * budget
        if self.unit_costs:
            low, high = np.ceil(low - 1e-9), np.floor(high + 1e-9)
        return low, high


def check(space: PairSpace, budget: Budget, limits: Limits) -> None:
    """Raise unless the limits can be met together, as far as counting tells.

    Raises:
        UserError: names the constraint that fails.
    """
    _check_values(space, limits)
    _check_budget(space, budget, limits)
    _check_must(space, budget, limits)
    steps = _rooms(space, limits)
    low, high = limits.group_bounds(budget)
    if limits.groups is not None:
        _check_groups(limits.groups, budget, low, limits.unit_costs, steps[-1][1])
        _check_due(space, budget, limits)
    if not limits.unit_costs:
        return
    for what, room in steps:
        _check_room(what, int(room.sum()), budget)
    if limits.groups is not None:
        of, room = limits.groups.of, steps[-1][1]
        inside = np.bincount(of[of >= 0], room[of >= 0], len(limits.groups.names))
        capacity = int(np.minimum(inside, high).sum()) + int(room[of < 0].sum())
        _check_room("the groups' largest shares", capacity, budget)


def check_budget(budget: Budget, candidates: int) -> None:
    """Raise a `UserError` unless `budget` is a whole number from 1 to the candidates."""
    if not 1 <= budget <= candidates or budget != int(budget):
        raise UserError(
            f"budget must be between 1 and the {candidates} candidate pairs", f"got {budget:g}"
        )


def _check_budget(space: PairSpace, budget: Budget, limits: Limits) -> None:
    if not limits.unit_costs:
        if not 0.0 < budget < np.inf:
            raise UserError("a budget must be a finite number above 0", f"got {budget:g}")
    elif limits.repeats == 1:
        check_budget(budget, space.candidates)
    elif not 1 <= budget <= limits.repeats * space.candidates or budget != int(budget):
        most = limits.repeats * space.candidates
        raise UserError(
            f"budget must be between 1 and {most}, {limits.repeats} labels for each of the "
            f"{space.candidates} candidate pairs",
            f"got {budget:g}",
        )


def _check_values(space: PairSpace, limits: Limits) -> None:
    for name in ("repeats", "per_prompt", "per_completion"):
        value = getattr(limits, name)
        if value is not None and (isinstance(value, bool) or value != int(value) or value < 1):
            raise UserError(f"{name} must be a whole number of at least 1", f"got {value}")
    groups, prompts = limits.groups, len(space.starts) - 1
    if groups is not None:
        sizes = (len(groups.least), len(groups.most), int(groups.of.max(initial=-1)) + 1)
        if len(groups.of) != prompts or any(size > len(groups.names) for size in sizes):
            raise UserError(
                "groups must have a number a prompt, and a name and two shares each",
                f"got {len(groups.of)} numbers for {prompts} prompts, {len(groups.names)} names, "
                f"{len(groups.least)} and {len(groups.most)} shares, numbers to {sizes[2] - 1}",
            )
    costs = limits.row_costs
    if costs is not None:
        if costs.shape != (space.rows,):
            raise UserError(
                "there must be one cost a completion",
                f"got {costs.shape} for {space.rows} completions",
            )
        bad = np.flatnonzero(~(np.isfinite(costs) & (costs > 0.0)))
        if len(bad):
            raise UserError(
                "costs must be finite numbers above 0",
                f"completion {bad[0]} costs {costs[bad[0]]:g} ({len(bad)} such)",
            )


def _check_must(space: PairSpace, budget: Budget, limits: Limits) -> None:
    must = limits.must
    if len(must) == 0:
        return
    prompt = np.searchsorted(space.starts, must[:, 0], side="right") - 1
    inside = (must[:, 0] >= 0) & (must[:, 0] < must[:, 1]) & (must[:, 1] < space.rows)
    inside &= must[:, 1] < space.starts[np.clip(prompt, 0, len(space.sizes) - 1) + 1]
    inside &= space.sizes[np.clip(prompt, 0, len(space.sizes) - 1)] > 0
    fine = inside & ~is_member(space.keys(must), space.excluded)
    if not fine.all():
        raise UserError(
            "pairs that must be picked must be candidates",
            f"{np.count_nonzero(~fine)} are not (held out, labelled before, excluded, or rows not "
            "i < j "
            "of one prompt)",
        )
    if len(np.unique(space.keys(must))) < len(must):
        raise UserError("pairs that must be picked must be distinct", "some stand there twice")
    spent = float(limits.costs(must).sum())
    _check_taken("the budget", spent, budget)
    if limits.per_prompt is not None:
        _check_taken(
            f"at most {limits.per_prompt} labels a prompt",
            float(np.bincount(prompt).max()),
            limits.per_prompt,
        )
    if limits.per_completion is not None:
        _check_taken(
            f"at most {limits.per_completion} labels a completion",
            float(np.bincount(must.ravel()).max()),
            limits.per_completion,
        )
    if limits.groups is not None:
        of, (_, high) = limits.groups.of[prompt], limits.group_bounds(budget)
        for g in np.unique(of[of >= 0]):
            what = f"the largest share of group {limits.groups.names[g]!r}"
            _check_taken(what, float(limits.costs(must[of == g]).sum()), float(high[g]))


def _check_taken(what: str, taken: Budget, most: Budget) -> None:
    if taken > most:
        raise UserError(
            f"the pairs that must be picked must fit {what}",
            f"they take {taken:g} of {most:g}",
            "leave some out, or raise that limit",
        )


def _check_groups(
    groups: Groups, budget: Budget, low: np.ndarray, whole: bool, room: np.ndarray
) -> None:
    bad = (groups.least < 0) | (groups.most > 1) | (groups.least > groups.most)
    if bad.any() or np.isnan(groups.least + groups.most).any():
        g = int(np.argmax(bad))
        raise UserError(
            "a group's shares must be 0 ≤ least ≤ most ≤ 1",
            f"group {groups.names[g]!r} has {groups.least[g]:g} to {groups.most[g]:g}",
        )
    if low.sum() > budget * (1 + 1e-12):
        raise UserError(
            "the groups' least shares must fit the budget together",
            f"they come to {low.sum():g} of {budget:g}",
            "lower some",
        )
    for g, name in enumerate(groups.names):
        if whole and low[g] > np.floor(groups.most[g] * budget + 1e-9):
            raise UserError(
                f"group {name!r} must be able to get a whole number of labels",
                f"{groups.least[g]:g} to {groups.most[g]:g} of {budget:g} labels holds none",
            )
        inside = int(room[groups.of == g].sum())
        if inside < low[g] and (whole or inside == 0):
            raise UserError(
                f"group {name!r} must have room for its least share",
                f"it takes {inside} labels, its share is {low[g]:g}",
                "lower that share, or the limits on pairs, prompts and completions",
            )


def _check_due(space: PairSpace, budget: Budget, limits: Limits) -> None:
    """The pairs that must be picked and what is left of the least shares must fit together."""
    assert limits.groups is not None
    of = limits.groups.of[np.searchsorted(space.starts, limits.must[:, 0], side="right") - 1]
    costs = limits.costs(limits.must)
    low, _ = limits.group_bounds(budget)
    held = np.bincount(of[of >= 0], costs[of >= 0], len(low))
    due = float(np.maximum(low, held).sum() + costs[of < 0].sum())
    if due > budget * (1.0 + 1e-12):
        raise UserError(
            "the pairs that must be picked must fit the budget beside the groups' least shares",
            f"together they come to {due:g} of {budget:g}",
            "lower the shares, leave some pairs out, or raise the budget",
        )


def _check_room(what: str, capacity: int, budget: Budget) -> None:
    if capacity < budget:
        raise UserError(
            f"{what} must leave room for the budget",
            f"room is for {capacity} labels, the budget is {budget:g}",
            "raise that limit, or lower the budget",
        )


def _rooms(space: PairSpace, limits: Limits) -> list[tuple[str, np.ndarray]]:
    """Labels that each prompt can take, limit after limit."""
    m = space.sizes
    owner = np.searchsorted(space.starts, space.excluded // max(space.rows, 1), side="right") - 1
    gone = np.bincount(owner, minlength=len(m))[: len(m)]
    room = limits.repeats * np.maximum(m * (m - 1) // 2 - gone, 0)
    steps = [(f"at most {limits.repeats} labels a pair", room)]
    if limits.per_prompt is not None:
        room = np.minimum(room, limits.per_prompt)
        steps.append((f"at most {limits.per_prompt} labels a prompt", room))
    if limits.per_completion is not None:
        each = np.minimum(limits.per_completion, limits.repeats * np.maximum(m - 1, 0))
        room = np.minimum(room, m * each // 2)
        steps.append((f"at most {limits.per_completion} labels a completion", room))
    return steps
