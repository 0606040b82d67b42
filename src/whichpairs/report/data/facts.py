"""What a run holds, read once for the page: records and labels, nothing computed."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whichpairs.errors import UserError
from whichpairs.report.data.records import (
    Batch,
    Checked,
    Compared,
    Evaluated,
    Fitted,
    Trained,
    batch_of,
    checked_of,
    compared_of,
    evaluated_of,
    fitted_of,
    trained_of,
)
from whichpairs.run.folder import Record, open_run, versions
from whichpairs.workflow.status import status
from whichpairs.workflow.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

Named = list[tuple[str, Record]]
KINDS = (
    *("scores", "features", "batches", "fits", "policies"),
    *("evaluations", "judgements", "capabilities"),
)
"""The kinds of folders that stages add to a run beside its pool."""


@dataclass
class Facts:
    """A run as the page needs it.

    Attributes:
        space: the run, opened for reading.
        next: the next command, as `whichpairs status` gives it.
        labels: labels there; waiting: picked pairs without one.
    """

    space: Workspace
    next: str
    labels: int
    waiting: int
    pool: Record | None = None
    batches: Named = field(default_factory=list)
    features: Named = field(default_factory=list)
    fits: Named = field(default_factory=list)
    policies: Named = field(default_factory=list)
    evaluations: Named = field(default_factory=list)
    scores: Named = field(default_factory=list)
    judgements: Named = field(default_factory=list)
    capabilities: Named = field(default_factory=list)

    @property
    def root(self) -> Path:
        """The run folder."""
        return self.space.run.root

    @property
    def name(self) -> str:
        """What the folder is called."""
        return self.root.resolve().name

    @property
    def version(self) -> str:
        """The software's, now."""
        return versions().get("whichpairs", "")

    @property
    def result(self) -> dict[str, Any]:
        """What the import or generation of the pool counted; empty without a pool."""
        return self.pool.result if self.pool else {}

    @property
    def asked(self) -> list[Batch]:
        """The batches, in order."""
        return [batch_of(*one) for one in self.batches]

    @property
    def fitted(self) -> list[Fitted]:
        """The fits."""
        return [fitted_of(*one) for one in self.fits]

    @property
    def evaluated(self) -> list[Evaluated]:
        """Evaluations by a score or a reward."""
        return [evaluated_of(*one) for one in self.evaluations]

    @property
    def compared(self) -> list[Compared]:
        """Evaluations by a judge."""
        return [compared_of(*one) for one in self.judgements]

    @property
    def checked(self) -> list[Checked]:
        """Checks of what a policy can still do."""
        return [checked_of(*one) for one in self.capabilities]

    @property
    def trained(self) -> list[Trained]:
        """The trained policies."""
        return [trained_of(*one) for one in self.policies]

    @property
    def picked(self) -> int:
        """Pairs picked for training, in all batches."""
        return sum(one.picked for one in self.asked)

    @cached_property
    def fidelity(self) -> list[tuple[str, dict[str, Any]]]:
        """What the projection of a feature set costs the design, where that was measured."""
        found = [(name, record.result.get("fidelity")) for name, record in self.features]
        return [(name, figure) for name, figure in found if figure is not None]

    @cached_property
    def judged(self) -> tuple[str, Record] | None:
        """The latest evaluation of something other than the reference policy."""
        found = [(n, r) for n, r in self.evaluations if r.result["policy"] != "reference"]
        return max(found, key=lambda one: (one[1].created, one[0])) if found else None

    @property
    def evaluated_last(self) -> Evaluated | None:
        """`judged` as a record of the page's own."""
        return None if self.judged is None else evaluated_of(*self.judged)

    @cached_property
    def fit(self) -> tuple[str, Record] | None:
        """The latest fit."""
        return max(self.fits, key=lambda one: (one[1].created, one[0])) if self.fits else None

    def logits(self, features: str) -> "Callable[[np.ndarray], np.ndarray] | None":
        """What the latest fit says of feature differences: logits of P(first preferred), (n,) of (n, d);
        None without a fit of these features as they are now."""
        if self.fit is None or self.fit[1].settings.get("features") != features:
            return None
        try:
            belief = self.space.calibration(self.fit[0], features)
        except UserError:
            return None
        return lambda z: belief.logits(z, self.space.run.beta)

    def policy(self, name: str) -> str:
        """A trained policy by its name; where a fit taught it, with that said."""
        record = dict(self.policies).get(name)
        taught = record.result.get("taught") if record else None
        return f"policy {name}" + (f", taught by fit {taught['fit']}" if taught else "")

    def stale(self, record: Record) -> bool:
        """Whether labels came after this fit or policy."""
        return bool(record.inputs.get("labels") != self.space.labels_fingerprint)


def gather(run: Path, beta: float | None) -> Facts:
    """The facts of the run at `run`. Reads only: another process may be at work.

    Raises:
        UserError: no run is there, or it has another β, or a file of it is broken.
    """
    space = Workspace(open_run(run, beta))
    stands = status(run, beta=beta).result
    next_command = str(stands["next"])
    if next_command.startswith("whichpairs report"):  # which this is: then, whether more labels pay
        next_command = next_command.replace("whichpairs report", "whichpairs plan", 1)
    facts = Facts(space, next_command, stands["labels"], stands["waiting"])
    facts.pool = space.run.record("pool")
    for kind in KINDS:
        records = ((name, space.run.record(kind, name)) for name in space.run.finished(kind))
        setattr(facts, kind, [(name, record) for name, record in records if record is not None])
    return facts
