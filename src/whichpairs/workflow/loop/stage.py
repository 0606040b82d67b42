"""Stage loop: select, label, fit in rounds, to a budget or until more labels buy too little.

Nothing of its own is kept: every call reads the batches, labels and fits that are there and goes on
from them (`workflow.loop.standing`), so that a killed call, late labels and labels out of order are
all the same case. The plan is a function of the budget alone (`workflow.schedule`), a round's pairs
one of the run's seed and the labels before.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from whichpairs.errors import UserError
from whichpairs.run.once import Outcome
from whichpairs.types import SILENT, Progress
from whichpairs.wording import counted, counted_of
from whichpairs.workflow.drawer import check_drawer, label_command
from whichpairs.workflow.fit import fit_labels
from whichpairs.workflow.label.command import ask
from whichpairs.workflow.label.stage import label_from_drawer, label_simulated
from whichpairs.workflow.loop.settings import LoopSettings
from whichpairs.workflow.loop.standing import (
    Standing,
    claim,
    read_standing,
    round_fitted,
    round_picked,
    table,
)
from whichpairs.workflow.loop_record import LoopRecord, forget, picking_of
from whichpairs.workflow.schedule import next_total, plan_rounds, share_of
from whichpairs.workflow.select.stage import select
from whichpairs.workflow.status import status
from whichpairs.workflow.workspace import Workspace, workspace

FIRST_LABELS_A_DIMENSION = 4
"""The first round, labels a feature: the scale of the rewards before anything is read from them."""


def loop(
    run: str | Path,
    settings: LoopSettings,
    *,
    beta: float | None = None,
    progress: Progress = SILENT,
    tell: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Go on with the rounds as far as labels are to be had; called again, go on from there.

    Args:
        progress: told of the labels so far, of the budget.
        tell: told in a line of every batch picked, answered and fitted, as it happens.

    Raises:
        KeyboardInterrupt: Ctrl-C, also during a selection, whose batch so far is kept.
        UserError: a setting that does not fit the run (nothing is written), or a labeller that
            failed (what it answered before is kept).
    """
    with workspace(run, beta) as space:
        _check(space, settings)
        some = bool(space.known_pairs)
    rounds = _Rounds(Path(run), settings, progress, tell)
    if some:
        rounds.label()  # refuses labels simulated otherwise, before anything is picked
    return rounds.go()


def _check(space: Workspace, settings: LoopSettings) -> None:
    space.feature_set(settings.features)
    if settings.from_drawer:
        check_drawer(space)
    if settings.simulate is not None and not np.isfinite(space.score(settings.simulate)).all():
        raise UserError("scores must be finite", f"a completion has no {settings.simulate!r}")
    if settings.controls_share and not space.pool.holdout.any():
        raise UserError(
            "control pairs come from held-out prompts",
            f"{space.run.root} has none",
            "Pass --controls-share 0 (whether a round helped is then unknown), "
            "or start another run with: whichpairs import --holdout 0.2",
        )


def where_it_stands(run: str | Path, settings: LoopSettings) -> str:
    """After Ctrl-C, in a line: what is there, and the command that goes on. Reads only."""
    found = status(run).result
    return (
        f"stopped; {counted_of(found['labels'], settings.budget, 'label')} are there, "
        f"{counted(found['waiting'], 'pair')} "
        f"wait, and all of it is kept. Go on with: {settings.again(Path(run))}"
    )


class _Rounds:
    """One call of the loop."""

    def __init__(
        self,
        root: Path,
        settings: LoopSettings,
        progress: Progress,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.root, self.settings, self.progress, self.tell = root, settings, progress, tell
        self.changed, self.told = False, 0
        self.notes: list[str] = []

    def standing(self) -> Standing:
        """Where the run stands now."""
        with workspace(self.root) as space:
            return read_standing(space, self.settings.features, self.settings.seed)

    def go(self) -> Outcome:
        """Round after round."""
        s, now = self.settings, self.standing()
        self._keep()
        self.progress.start("labels", s.budget)
        while True:
            self._tell(now)
            if now.waiting and not s.top_up:
                return self._outcome(now, "waiting")
            if now.rows and not now.waiting:
                fitted = fit_labels(self.root, features=s.features, seed=s.seed)
                self.changed |= not fitted.done_before
                now = self.standing()
                if not fitted.done_before:
                    self.tell(round_fitted(now.rows[-1], now.evidence))
            stopped = self._stopped(now)
            if stopped is not None:
                return self._outcome(now, stopped)
            self._pick(now)
            self.label()
            now = self.standing()
            if s.top_up:
                return self._outcome(now, "waiting")

    def _tell(self, now: Standing, note: str = "") -> None:
        self.progress.advance(min(now.known, self.settings.budget) - self.told, note)
        self.told = min(now.known, self.settings.budget)

    def plan(self, now: Standing) -> list[int]:
        """Where all rounds end, those done included."""
        s = self.settings
        first = FIRST_LABELS_A_DIMENSION * now.dim if s.first is None else s.first
        return plan_rounds(now.imported, s.budget, first, s.rounds)

    def _stopped(self, now: Standing) -> str | None:
        least, gain = self.settings.stop_gain, now.evidence["predicted_gain"]
        if now.known >= self.settings.budget:
            return "waiting" if now.waiting else "budget"
        if now.free == 0:
            return "waiting" if now.waiting else "candidates"
        if least is None or gain is None or gain >= least or now.waiting:
            return None
        return None if now.evidence["verdict"].startswith(("better", "unknown")) else "gain"

    def _pick(self, now: Standing) -> None:
        s = self.settings
        total = next_total(self.plan(now), now.imported, now.known)
        assert total is not None
        wanted = share_of(s.controls_share, total) - share_of(s.controls_share, now.known)
        wanted = max(0, min(wanted, total - now.known - 1))
        controls = min(wanted, now.free_controls)
        if controls < wanted:
            self.notes.append(
                f"The held-out prompts had {counted(controls, 'control pair')} left of the "
                f"{wanted} of a "
                "round; the rest of its labels went to training."
            )
        budget = min(total - now.known - controls, now.free)
        self._tell(now, f"picking {counted(budget + controls, 'pair')}")
        self._keep(budget, controls)
        found = select(self.root, s.picking(budget, controls), another=s.top_up)
        self.changed |= not found.done_before
        asked = now.known + budget + controls
        self.tell(round_picked(found.result, asked, s.budget))
        if found.result["interrupted"]:
            raise KeyboardInterrupt  # it ends the passes of a solve: here it is meant for all of it

    def _keep(self, budget: int | None = None, controls: int | None = None) -> None:
        """Leave word for `status`: of the next batch, by what it is picked, or of what is there."""
        s = self.settings
        with workspace(self.root) as space:
            if budget is None:
                batch = max(space.run.finished("batches"), default=None)
                picking = picking_of(space, batch)
            else:
                batch = space.run.next_number("batches")
                picking = {"budget": budget, "controls": controls}
            LoopRecord(s.options, s.budget, batch, picking, s.answered).keep(self.root)

    def label(self) -> None:
        """Get what waits answered, where somebody answers at once."""
        s, new = self.settings, 0
        if s.simulate is not None:
            found = label_simulated(self.root, s.simulate, temperature=s.temperature, seed=s.seed)
            new = found.result["new"]
        elif s.labeller is not None:
            new = ask(self.root, s.command, s.again(self.root))
        elif s.from_drawer:
            new = label_from_drawer(self.root).result["new"]
        self.changed |= new > 0
        if new:
            self.tell(f"{counted(new, 'answer')} taken")

    def _outcome(self, now: Standing, stopped: str) -> Outcome:
        s, again = self.settings, self.settings.again(self.root)
        if stopped != "waiting":
            forget(self.root)
        if stopped == "budget":
            self.progress.finish()
        following = again if stopped == "waiting" else None
        if following is None:
            following = status(self.root).result["next"]
        elif s.labeller is None:
            with workspace(self.root) as space:
                following = label_command(space, "ANSWERS.jsonl")
        result = {
            "rounds": now.rows,
            "plan": self.plan(now),
            "budget": s.budget,
            "labels": now.labelled,
            "waiting": sum(now.waiting.values()),
            "evidence": now.evidence,
            "stopped": stopped,
            "notes": self.notes,
            "next": following,
            "then": again if following != again and stopped == "waiting" else None,
        }
        judged = [claim(now.evidence)] if any(row["fit"] for row in now.rows) else []
        lines = [*table(now.rows), "", *judged, *self.notes, self._why(now, stopped)]
        lines.append(f"Next: {following}")
        lines += [f"Then: {result['then']}"] if result["then"] else []
        message = "\n".join(lines).strip("\n")
        return Outcome(message, result, not self.changed, self.root / "batches")

    def _why(self, now: Standing, stopped: str) -> str:
        budget = self.settings.budget
        if stopped == "budget":
            text = f"the run has {counted(now.labelled, 'label')}, and the budget is {budget}."
            return f"Done: {text}" if self.changed else f"Nothing to do: {text}"
        if stopped == "candidates":
            text = f"every candidate pair is labelled ({now.labelled} "
            return f"Stopped: {text}labels of a budget of {budget})."
        if stopped == "gain":
            return (
                f"Stopped at {counted(now.labelled, 'label')}: the latest round was predicted to "
                "gain "
                f"{now.evidence['predicted_gain']:.3g}, less than {self.settings.stop_gain:g}, "
                "and the controls show no better fit."
            )
        count = sum(now.waiting.values())
        lines = [
            f"{counted(count, 'pair waits', 'pairs wait')} for labels ({now.labelled} of {budget} "
            "are there):"
        ]
        for batch, waiting in now.waiting.items():
            lines.append(f"  {waiting} of {self.root / 'batches' / batch / 'pairs.jsonl'}")
        return "\n".join(lines)
