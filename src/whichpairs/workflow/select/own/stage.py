"""A criterion of one's own: ``--criterion FILE.py:NAME``, or a name that a package registers.

It is a function from what is known (`Known`) to what a batch is to make small: a
`whichpairs.design.Criterion`. Limits, certificate, comparison with random and resuming are those of
the criteria that come with whichpairs. A package names its criteria as entry points of the group
``whichpairs.criteria``. docs/extending.md has an example.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from whichpairs.design import Criterion, PassReport
from whichpairs.errors import UserError, one_line
from whichpairs.run.once import Outcome, find
from whichpairs.workflow.select.checkpoint import Resume
from whichpairs.workflow.select.criterion_file import Target
from whichpairs.workflow.select.own.settings import Known, Own, OwnSelectSettings
from whichpairs.workflow.select.stage import Desk, _check_waiting, select
from whichpairs.workflow.workspace import workspace

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class OwnTarget(Target):
    """What an own criterion made of what is known."""

    own: Own | None = None
    known: Known | None = None

    @cached_property
    def criterion(self) -> Criterion:
        """The criterion itself.

        Raises:
            UserError: the function fails, or makes no criterion of d features.
        """
        assert self.own is not None
        assert self.known is not None
        try:
            made = self.own.make(self.known)
            value = made.value(np.eye(self.dim)) if isinstance(made, Criterion) else np.nan
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"the criterion {self.name} must run", f"it says: {one_line(str(error))}"
            ) from error
        if not np.isfinite(value):
            raise UserError(
                f"{self.name} must return a criterion of {self.dim} features "
                "(see whichpairs.design.Criterion)",
                "it returned something else",
            )
        return made

    @property
    def inputs(self) -> dict[str, str]:
        """What tells it from another of its name."""
        assert self.own is not None
        return {"criterion": self.own.digest}


class OwnDesk(Desk):
    """A selection by a criterion that is none of ours."""

    settings: OwnSelectSettings

    @cached_property
    def target(self) -> Target | None:
        """The criterion."""
        s = self.settings
        return OwnTarget(s.criterion, self.phi.shape[1], own=s.own, known=Known(self))


def select_any(
    run: str | Path,
    settings: OwnSelectSettings,
    *,
    another: bool = False,
    beta: float | None = None,
    watch: Callable[[PassReport], None] = lambda report: None,
) -> Outcome:
    """As `select`, by any criterion.

    Raises:
        UserError: as `select`, or the criterion cannot be.
    """
    if settings.own is None:
        return select(run, settings, another=another, beta=beta, watch=watch)
    with workspace(run, beta) as space:
        desk = OwnDesk(space, settings)
        chosen, inputs = desk.recorded()
        before = find(space.run, "batches", "select", chosen, inputs)
        if before is not None and not another:
            name, record = before
            Resume(space.run.root, "").clear()  # where a kill came just after that batch
            message = f"Batch {name} was picked with these settings; nothing changed."
            return Outcome(message, record.result, True, space.run.root / "batches" / name)
        _check_waiting(space, chosen, another)
        return desk.pick(watch)
