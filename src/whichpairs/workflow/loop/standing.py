"""Where a run stands: its rounds, what waits, and whether the last round was worth it.

Whether a fit got better is read from control labels (random pairs of held-out prompts, never
fitted), both fits on the same ones; where they are too few it is unknown.
"""

from collections import Counter
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import log_expit

from whichpairs.design import PairSpace
from whichpairs.design.estimate.bradley_terry import quality
from whichpairs.evaluate.interval import Interval, interval
from whichpairs.wording import counted, counted_of
from whichpairs.workflow.select.batch_result import labels_of, predicted
from whichpairs.workflow.workspace import IMPORTED, Votes, Workspace

LEAST_CONTROLS = 30
"""Fewer control labels than this say nothing."""

TELLING = 0.05
"""Nats a label: where half the interval of a change in log loss is wider, a difference worth having
could not show."""


@dataclass(frozen=True)
class Standing:
    """What the run folder says, read anew at every step.

    Attributes:
        known: labels ever asked, imported ones included (one a pair); imported: those.
        labelled: of them, how many are there; waiting: how many are not, by batch.
        free, free_controls: pairs that could still be picked.
        rows: the rounds so far; evidence: what the controls say of the last.
    """

    dim: int
    known: int
    imported: int
    labelled: int
    waiting: dict[str, int]
    free: int
    free_controls: int
    rows: list[dict[str, Any]]
    evidence: dict[str, Any]


def read_standing(space: Workspace, features: str | None, seed: int | None) -> Standing:
    """Read it all."""
    name, record, phi = space.feature_set(features)
    pool, missing = space.pool, space.waiting()
    asked_of, waiting = space.asked, Counter[str]()
    for key, count in missing.items():
        waiting[space.known_pairs[key][0]] += count
    ids = [pool.rows(asked[1:]) for asked in space.known_pairs.values()]
    asked = pool.prompt_of[np.array(ids, dtype=np.int64).reshape(-1, 2)[:, 0]]
    sizes, barred = np.diff(pool.starts), pool.prompt_of[space.unanswerable[:, 0]]
    gone = np.concatenate([asked, barred])
    pairs = sizes * (sizes - 1) // 2 - np.bincount(gone, minlength=len(sizes))
    seed = space.run.seed if seed is None else seed
    fits = _Fits(space, phi, name, record.result["fingerprint"], seed)
    rows = [fits.row(batch) for batch in space.batches]
    return Standing(
        dim=int(phi.shape[1]),
        known=sum(asked_of.values()),
        imported=sum(batch == IMPORTED for batch, _, _ in space.known_pairs.values()),
        labelled=sum(asked_of.values()) - waiting.total(),
        waiting=dict(waiting),
        free=int(pairs[~pool.holdout].sum()),
        free_controls=int(pairs[pool.holdout].sum()),
        rows=rows,
        evidence=_evidence(rows, fits),
    )


class _Fits:
    """The fits of the rounds, judged on every control label there is now."""

    def __init__(
        self, space: Workspace, phi: np.ndarray, features: str, fingerprint: str, seed: int
    ) -> None:
        self.space, self.features = space, features
        self.made = {"features": features, "strength": None, "seed": seed}
        self.fingerprint = fingerprint
        self.pairs = PairSpace(phi, space.pool.starts)

    @cached_property
    def controls(self) -> Votes:
        """The labels of held-out prompts."""
        return self.space.votes(held_out=True)

    @cached_property
    def _z(self) -> np.ndarray:
        return self.pairs.differences(self.controls.pairs)

    def margins(self, fit: str) -> np.ndarray:
        """The calibrated logit of every control label."""
        belief = self.space.calibration(fit, self.features)
        return belief.logits(self._z, self.space.run.beta)

    def losses(self, fit: str) -> np.ndarray:
        """−log-likelihood of every control label, nats."""
        margins, wins = self.margins(fit), self.controls.wins
        return np.asarray(-(wins * log_expit(margins) + (1.0 - wins) * log_expit(-margins)))

    @cached_property
    def _saw(self) -> dict[str, int]:
        """How many labels each fit like ours knew: the first so many ever accepted."""
        found = {}
        for name in self.space.run.finished("fits"):
            record = self.space.run.record("fits", name)
            assert record is not None
            same = all(record.settings.get(key) == value for key, value in self.made.items())
            if same and record.inputs.get("features") == self.fingerprint:
                found[name] = record.result["labels"] + record.result["held_out_labels"]
        return found

    @cached_property
    def _place(self) -> dict[str, int]:
        """Of every pair with as many answers as were asked, the place of the last of these,
        from 1."""
        place: dict[str, int] = {}
        left = dict(self.space.asked)
        for number, label in enumerate(self.space.labels, start=1):
            left[label.pair_id] = left.get(label.pair_id, 1) - 1
            if left[label.pair_id] == 0:
                place[label.pair_id] = number
        return place

    def of(self, batch: str) -> str | None:
        """The first fit that knew the answers to every pair of a batch."""
        places = [self._place.get(row["pair_id"]) for row in self.space.batches[batch]]
        last = max((p for p in places if p is not None), default=0)
        if None in places:
            return None
        return next((name for name, saw in self._saw.items() if saw >= last), None)

    def row(self, batch: str) -> dict[str, Any]:
        """One line of the table."""
        record = self.space.run.record("batches", batch)
        assert record is not None
        names, gaps = ("criterion", "picked", "controls"), predicted(record.result)
        row = {"batch": batch, **{name: record.result.get(name) for name in names}, **gaps}
        row["picked"] = labels_of(record.result)
        before, after = gaps["predicted_gap_before"], gaps["predicted_gap"]
        # Both of one belief: gaps of two batches differ by what was learnt between them, too.
        row["predicted_gain"] = None if before is None or after is None else before - after
        fit = self.of(batch)
        row |= {"fit": fit, "control_log_loss": None, "control_accuracy": None}
        if fit is not None and len(self.controls.wins):
            found = quality(self.margins(fit), self.controls.wins)
            row |= {"control_log_loss": found.log_loss, "control_accuracy": found.accuracy}
        return row


def _evidence(rows: list[dict[str, Any]], fits: _Fits) -> dict[str, Any]:
    """What the latest round was predicted to gain, and what it did by the control labels."""
    names = list(dict.fromkeys(row["fit"] for row in rows if row["fit"] is not None))
    count = len(fits.controls.wins)
    change = None
    if count and len(names) > 1:
        change = interval(fits.losses(names[-1]) - fits.losses(names[-2]))
    return {
        "predicted_gain": rows[-1]["predicted_gain"] if rows else None,
        "control_labels": count,
        "log_loss_change": None if change is None else asdict(change),
        "verdict": _verdict(count, change),
    }


def _verdict(count: int, change: Interval | None) -> str:
    if count < LEAST_CONTROLS:
        return f"unknown: {few_controls(count)}"
    if change is None or change.low is None or change.high is None:
        return "unknown: no two fits to compare"
    if change.high < 0.0:
        return "better"
    if change.low > 0.0:
        return "worse"
    wide = (change.high - change.low) / 2 > TELLING
    return TOO_FEW if wide else "no better within the noise"


TOO_FEW = "too few to tell"


def few_controls(count: int) -> str:
    """Why so few control labels say nothing."""
    return f"only {counted(count, 'control label')}" if count else "no control labels"


def table(rows: list[dict[str, Any]]) -> list[str]:
    """The rounds for people, one line each; the control columns are on all control labels so
    far."""
    if not rows:
        return []
    head = "batch  labels  controls  predicted gap    random's        gain   fit"
    lines = [f"{head}  control log loss  accuracy"]
    for row in rows:
        names = ("predicted_gap", "random_predicted_gap", "predicted_gain")
        gap, random, gain = (_number(row[name], ".4g") for name in names)
        loss = _number(row["control_log_loss"], ".4f")
        right = _number(row["control_accuracy"], ".3f")
        lines.append(
            f"{row['batch']:>5}  {row['picked']:>6}  {row['controls']:>8}  {gap:>13}  {random:>10}"
            f"  {gain:>10}  {row['fit'] or '-':>4}  {loss:>16}  {right:>8}"
        )
    return lines


def round_picked(r: dict[str, Any], asked: int, budget: int) -> str:
    """A round's batch, as it is picked."""
    controls = f" and {counted(r['controls'], 'control')}" if r["controls"] else ""
    pairs = counted(r["picked"], "pair")
    text = f"batch {r['batch']}: {pairs}{controls} picked by {r['criterion']}"
    return f"{text}; {counted_of(asked, budget, 'label')} are then asked"


def round_fitted(row: dict[str, Any], evidence: dict[str, Any]) -> str:
    """A round's fit, as it is made."""
    text = f"batch {row['batch']}: fit {row['fit']}"
    if row["control_log_loss"] is None:
        return f"{text}, unjudged for want of control labels"
    loss, count = row["control_log_loss"], evidence["control_labels"]
    return f"{text}, log loss {loss:.4f} on {counted(count, 'control label')} (a coin: 0.6931)"


def _number(value: float | None, form: str) -> str:
    return "unknown" if value is None else format(value, form)


def claim(evidence: dict[str, Any]) -> str:
    """Whether the last round was worth it, as far as control labels say."""
    text = f"Is the latest fit better than the one before? {evidence['verdict'].capitalize()}"
    if evidence["verdict"].startswith("unknown"):
        return f"{text}."
    change, count = evidence["log_loss_change"], evidence["control_labels"]
    text += f": log loss {Interval(**change).text('+.4f')} on {counted(count, 'control label')}"
    if evidence["verdict"] == TOO_FEW:
        text += (
            f" (a difference of {TELLING:g} could not show: half the interval must be "
            f"{TELLING:g} at most)"
        )
    return f"{text}."
