"""What a run's fit teaches: pairs without a label of training prompts, as preferences."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from whichpairs.errors import UserError
from whichpairs.pool.pool import MESSAGE, Pool, pair_id
from whichpairs.run.files import read_array
from whichpairs.train.settings import TeachSettings
from whichpairs.train.teach import Lesson, teach
from whichpairs.types import Preference
from whichpairs.wording import number
from whichpairs.workflow.drawer import answers_in
from whichpairs.workflow.workspace import Workspace


@dataclass(frozen=True)
class Teaching:
    """What is taught in a run, by which fit.

    Attributes:
        lesson: rows and probabilities; settings: how they were made; fit: whose they are.
        teacher: 16 hex digits over the fit's belief and its features.
        in_drawer: taught pairs to which the run's drawer has an answer, which is not looked at.
    """

    lesson: Lesson
    settings: TeachSettings
    fit: str
    teacher: str
    in_drawer: int = 0

    @property
    def written(self) -> dict[str, Any]:
        """As settings of a manifest, named as the options are."""
        s = self.settings
        found = {"teach": s.count, "teach_pairs": s.pairs, "teach_scale": s.scale}
        return {**found, "label_weight": s.label_weight, "fit": self.fit}

    def result(self, count: int) -> dict[str, Any]:
        """What a manifest says of it, `count` pairs having been used."""
        s = self.settings
        made = {"pairs": count, "chosen_by": s.pairs, "confidence": self.lesson.confidence}
        made |= {"scale": s.scale, "label_weight": s.label_weight, "fit": self.fit}
        if self.in_drawer:
            made["in_drawer"] = min(self.in_drawer, count)
        return {**made, "pairs_left_out": s.count - count}


def teaching(space: Workspace, settings: TeachSettings, seed: int) -> Teaching:
    """Pairs without a label and the fit's soft labels.

    Raises:
        UserError: there is no such fit, labels came after it, or it cannot teach
            (`train.teach.teach`).
    """
    fit = _teacher(space, settings.fit)
    record = space.run.record("fits", fit)
    assert record is not None
    name, _, phi = space.feature_set(record.settings["features"])
    belief = space.calibration(fit, name)
    votes, pool = space.votes(held_out=False), space.pool
    lesson = teach(
        phi,
        pool.starts,
        belief,
        space.run.beta,
        settings.count,
        left_out=record.result["cv_log_loss"],
        labels=record.result["labels"],
        pairs=settings.pairs,
        scale=settings.scale,
        eligible=~pool.holdout,
        labelled=votes.pairs,
        same=first_of_text(pool),
        seed=seed,
    )
    digest = hashlib.sha256(record.inputs["features"].encode())
    for file in ("belief.npy", "theta.npy"):
        path = space.run.root / "fits" / fit / file
        digest.update(read_array(path).tobytes() if path.is_file() else b"")
    kept_back = {key for _, frame in answers_in(space.run, ["pair_id"]) for key in frame["pair_id"]}
    ids = (pair_id(pool.ids[a], pool.ids[b]) for a, b in lesson.pairs.tolist()) if kept_back else ()
    hidden = sum(name in kept_back for name in ids)
    return Teaching(lesson, settings, fit, digest.hexdigest()[:16], hidden)


def _teacher(space: Workspace, name: str | None) -> str:
    """The fit that teaches: the named one, or the latest that is of all labels there are.

    Raises:
        UserError: there is none, or labels came after it.
    """
    run, now = space.run, space.labels_fingerprint
    names = run.finished("fits")
    if not names:
        raise UserError(
            "--teach needs a fit, whose opinion is taught",
            "there is none",
            f"run: whichpairs fit --run {run.root}",
        )
    if name is not None and name not in names:
        raise UserError(
            "--fit must name one of the run's", f"got {name!r}; there is {', '.join(names)}"
        )
    asked = names if name is None else [name]
    records = [(fit, run.record("fits", fit)) for fit in asked]
    current = [fit for fit, record in records if record and record.inputs["labels"] == now]
    if not current:
        raise UserError(
            "a fit that teaches must know every label",
            f"labels came, or changed, after fit {asked[-1]}",
            f"run: whichpairs fit --run {run.root}" + (", and leave out --fit" if name else ""),
        )
    return current[-1]


def first_of_text(pool: Pool) -> np.ndarray:
    """Of every row the first row of its prompt with the same text, (rows,)."""
    keys = [name for name in ("prompt_id", "completion", MESSAGE) if name in pool.completions]
    rows = pool.completions.select(keys).with_row_index("row")
    return rows.select(pl.col("row").min().over(keys))["row"].to_numpy().astype(np.int64)


def as_preferences(
    space: Workspace, pairs: np.ndarray, probability: np.ndarray
) -> list[Preference]:
    """Pairs of rows as preferences of the first, with its probability."""
    pool = space.pool
    examples = iter(pool.examples(pairs.ravel().tolist()))
    return [
        Preference(pair_id(pool.ids[a], pool.ids[b]), next(examples), next(examples), p)
        for (a, b), p in zip(pairs.tolist(), probability.tolist(), strict=True)
    ]


def said(taught: dict[str, Any]) -> str:
    """A sentence on what was taught, from the manifest's `Teaching.result`."""
    how = {"random": "at random", "margin": "by the fit's margin"}.get(
        taught["chosen_by"], f"as {taught['chosen_by']} by the fit"
    )
    scale = taught["scale"]
    text = (
        f"{taught['pairs']} pairs without a label, chosen {how}, are taught by fit {taught['fit']}"
    )
    text += f" (mean confidence {taught['confidence']:.3f}"
    text += f", its logits × {number(scale)}" if scale != 1 else ""
    weight, left = taught["label_weight"], taught["pairs_left_out"]
    text += f"; a label weighs {number(weight)} of them)" if weight != 1 else ")"
    hidden = taught.get("in_drawer", 0)
    if hidden:
        text += (
            f"; {hidden} of them have an answer in the drawer, which was not looked at: once "
            "picked, they count as labels"
        )
    if left:
        text += (
            f"; {left} more were left out, for their prompts are set aside or their tokens are "
            "the same"
        )
    return text
