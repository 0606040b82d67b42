"""An open run as the stages see it: pool, features, batches, labels, each loaded when asked for."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whichpairs.errors import UserError, plainly
from whichpairs.features.store import open_features
from whichpairs.label.stores.base import LabelStore
from whichpairs.run.files import read_array
from whichpairs.run.folder import Record, Run, locked, open_run
from whichpairs.types import Choice, Label
from whichpairs.wording import counted

if TYPE_CHECKING:
    from whichpairs.design.estimate.calibrate import Calibration
    from whichpairs.pool.pool import Pool

IMPORTED = "imported"
"""The batch, and the annotator, of labels that came with the pool."""


@dataclass(frozen=True)
class Votes:
    """Labels as arrays, one row an answer.

    Attributes:
        pairs: rows of A and B, (n, 2); wins: 1 where A won, 0 where B did, ½ for a tie, P(A
            preferred) where that was stated, (n,).
        prompts: prompt numbers, (n,).
    """

    pairs: np.ndarray
    wins: np.ndarray
    prompts: np.ndarray

    def where(self, mask: np.ndarray) -> "Votes":
        """The votes that `mask` keeps."""
        return Votes(self.pairs[mask], self.wins[mask], self.prompts[mask])


class Workspace:
    """One run, opened.

    Args:
        run: the run folder.
    """

    def __init__(self, run: Run) -> None:
        self.run = run

    @cached_property
    def store(self) -> LabelStore:
        """The run's answers; SQLAlchemy, which takes a quarter of a second, is loaded here."""
        from whichpairs.label.stores.place import open_store

        return open_store(self.run.root)

    @cached_property
    def pool(self) -> "Pool":
        """The pool.

        Raises:
            UserError: there is none yet.
        """
        record = self.run.record("pool")
        if record is None:
            raise UserError(
                "this needs a pool",
                f"{self.run.root} has none",
                f"run: whichpairs import FILE --run {self.run.root}",
            )
        # Here, for it imports polars, which costs more than all else that `status` does.
        from whichpairs.pool.pool import load_pool, no_scores

        apart = no_scores(record.settings)
        return load_pool(self.run.root / "pool", record.result["fingerprint"], apart)

    def accept_imported(self) -> int:
        """Put labels that came with the pool into the store (again, where a kill prevented it)."""
        return self.store.add(self._imported) if self._imported else 0

    @cached_property
    def _imported(self) -> list[Label]:
        """Answers that came with the pool; a pair answered several times has several annotators.

        Their order on a screen is not known: A is the smaller id.
        """
        record = self.run.record("pool")
        if record is not None and not record.result.get("labels", 1):
            return []
        from whichpairs.pool.pool import pair_id  # here, as in `pool`

        seen: dict[str, int] = {}
        labels = []
        columns = self.pool.pairs.select("chosen_id", "rejected_id", "tie")
        for chosen, rejected, tie in columns.iter_rows():
            key, id_a, id_b = pair_id(chosen, rejected), *sorted((chosen, rejected))
            seen[key] = seen.get(key, -1) + 1
            choice: Choice = "tie" if tie else "a" if id_a == chosen else "b"
            labels.append(Label(key, id_a, id_b, choice, f"{IMPORTED}:{seen[key]}", IMPORTED))
        return labels

    @cached_property
    def batches(self) -> dict[str, list[dict[str, Any]]]:
        """The picked pairs of every batch, in order."""
        return {name: self._batch(name) for name in self.run.finished("batches")}

    def _batch(self, name: str) -> list[dict[str, Any]]:
        path = self.run.root / "batches" / name / "pairs.jsonl"
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
            return [json.loads(line) for line in lines if line]
        except (OSError, ValueError) as error:
            raise UserError("a batch file must be whole", f"{path}: {plainly(error)}") from None

    def picked(self, batch: str) -> list[dict[str, Any]]:
        """The pairs of a batch without its controls, which are those of held-out prompts.

        (The file does not say which they are: whoever labels is not to know.)
        """
        pool = self.pool
        held = [pool.holdout[pool.prompt_of[pool.row_of[r["id_a"]]]] for r in self.batches[batch]]
        return [row for row, out in zip(self.batches[batch], held, strict=True) if not out]

    @cached_property
    def known_pairs(self) -> dict[str, tuple[str, str, str]]:
        """For every pair ever asked: ``(batch, id_a, id_b)``."""
        known = {x.pair_id: (IMPORTED, x.id_a, x.id_b) for x in self._imported}
        for name, rows in self.batches.items():
            known.update({row["pair_id"]: (name, row["id_a"], row["id_b"]) for row in rows})
        return known

    @cached_property
    def unanswerable(self) -> np.ndarray:
        """Pairs that are no candidates, for the run's drawer has no answer to them (`drawer`)."""
        from whichpairs.workflow.drawer import unanswerable  # the solver's pairs, as below

        return unanswerable(self)

    @cached_property
    def labels(self) -> list[Label]:
        """Every accepted label."""
        return self.store.all()

    @cached_property
    def labels_fingerprint(self) -> str:
        """16 hex digits over every answer."""
        stated = zip(self.labels, self._stated(), strict=True)
        rows = [(x.pair_id, x.annotator, x.id_a, x.choice, *p) for x, p in stated]
        rows.sort()
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]

    @cached_property
    def asked(self) -> dict[str, int]:
        """For every pair ever asked, how many annotators are to answer."""
        asked = dict.fromkeys(self.known_pairs, 1)
        for rows in self.batches.values():
            asked.update({row["pair_id"]: int(row.get("labels", 1)) for row in rows})
        return asked

    def waiting(self) -> dict[str, int]:
        """Answers that picked pairs still wait for, by pair id (none is 0)."""
        done = Counter(label.pair_id for label in self.labels)
        missing = {name: asked - done[name] for name, asked in self.asked.items()}
        return {name: count for name, count in missing.items() if count > 0}

    def pending(self) -> list[str]:
        """Ids of picked pairs that have not all their labels, each by another annotator."""
        return list(self.waiting())

    def votes(self, *, held_out: bool) -> Votes:
        """The labels of held-out prompts (never fitted), or of all others.

        Where an annotator stated P(A preferred), a vote is worth that. (A simulation's probability
        is the truth that it drew from: no vote.)
        """
        pool = self.pool
        a = pool.rows(label.id_a for label in self.labels)
        b = pool.rows(label.id_b for label in self.labels)
        wins = np.array(self.worth())
        prompts = pool.prompt_of[a] if len(a) else np.empty(0, np.int64)
        votes = Votes(np.stack([a, b], axis=1), wins, prompts)
        return votes.where(pool.holdout[prompts] == held_out)

    def worth(self) -> list[float]:
        """Of every label P(A preferred) as its annotator stated it, else 1, 0, or ½ for a tie."""
        worth = {"a": 1.0, "b": 0.0, "tie": 0.5}
        stated = zip(self.labels, self._stated(), strict=True)
        return [p[0] if p else worth[x.choice] for x, p in stated]

    def _stated(self) -> list[list[float]]:
        """P(A preferred) of every label, or nothing where its annotator did not state one."""
        sources = self.store.sources().items()
        drawn = {name for name, source in sources if source["kind"] == "simulated"}
        return [
            [] if x.probability is None or x.annotator in drawn else [x.probability]
            for x in self.labels
        ]

    def feature_set(self, name: str | None) -> tuple[str, Record, np.ndarray]:
        """A feature set's name, record and memory-mapped φ.

        Args:
            name: which one; None is the only one, or the latest.

        Raises:
            UserError: there is none, or it belongs to another pool.
        """
        names = self.run.finished("features")
        if not names or (name is not None and name not in names):
            raise UserError(
                "this needs features" + (f" named {name!r}" if name else ""),
                f"there is {', '.join(names) or 'none'}",
                f"run: whichpairs features --run {self.run.root} --method text",
            )
        found = [(n, self.run.record("features", n)) for n in names]
        records = {n: record for n, record in found if record is not None}
        chosen = name or max(records, key=lambda n: (records[n].created, n))
        record = records[chosen]
        if record.inputs.get("pool") != self.pool.fingerprint:
            raise UserError(
                "features must be of this pool",
                f"{chosen!r} was made from pool {record.inputs.get('pool')}, "
                f"this is {self.pool.fingerprint}",
                "compute them again, with --replace",
            )
        folder = self.run.root / "features" / chosen
        return chosen, record, open_features(folder, len(self.pool.completions))

    def score(self, name: str) -> np.ndarray:
        """A score of every completion: from `whichpairs score`, or a column of the pool."""
        made = self.run.finished("scores")
        if name not in made:
            return self.pool.numbers(name, made)
        scores = read_array(self.run.root / "scores" / name / "scores.npy")
        if len(scores) != len(self.pool.completions):
            raise UserError(
                "scores must be of this pool", f"{name!r} has {counted(len(scores), 'row')}"
            )
        return scores

    def score_print(self, name: str) -> str:
        """16 hex digits over a score's values: one that was made anew is another."""
        return hashlib.sha256(self.score(name).tobytes()).hexdigest()[:16]

    def theta(self, fit: str, features: str) -> np.ndarray:
        """The θ of a fit, for a feature set that has not changed since.

        Raises:
            UserError: the fit was made from other features.
        """
        records = self.run.record("fits", fit), self.run.record("features", features)
        made_from = records[0].inputs["features"] if records[0] else None
        there = records[1].result["fingerprint"] if records[1] else None
        if made_from != there:
            raise UserError(
                "a fit must be of the features that are used with it",
                f"fit {fit} was made from {made_from}, features {features!r} are {there}",
                f"run: whichpairs fit --run {self.run.root} --features {features}",
            )
        return read_array(self.run.root / "fits" / fit / "theta.npy")

    def calibration(self, fit: str, features: str) -> "Calibration":
        """What a fit says of answers that nobody has given: for `calibrated_probability`.

        A fit of before there were such beliefs says what it reported then: σ(β zᵀθ).

        Raises:
            UserError: the fit was made from other features.
        """
        # Here, for it imports the solver, which `status` does without.
        from whichpairs.design.estimate.calibrate import Calibration, from_array

        theta = self.theta(fit, features)
        path = self.run.root / "fits" / fit / "belief.npy"
        if not path.is_file():
            return Calibration(theta, np.zeros((len(theta), len(theta))), 1.0)
        return from_array(read_array(path))


@contextmanager
def workspace(root: Path | str, beta: float | None = None) -> Iterator[Workspace]:
    """Open the run at `root` for one process.

    Raises:
        UserError: no run is there, it has another β, or another process holds it.
    """
    root = Path(root)
    open_run(root, beta)
    with locked(root):
        space = Workspace(open_run(root, beta))
        if space.run.record("pool") is not None:
            space.accept_imported()
        yield space
