"""Stage label: answers to picked pairs, simulated from a score or read from a file."""

from pathlib import Path
from typing import Any

import numpy as np

from whichpairs.errors import UserError
from whichpairs.label.file import read_labels
from whichpairs.label.simulate import check_temperature, simulate
from whichpairs.types import Label
from whichpairs.workflow.stage import Outcome
from whichpairs.workflow.workspace import Workspace, workspace


def label_simulated(
    run: str | Path,
    column: str,
    *,
    temperature: float = 1.0,
    seed: int | None = None,
    beta: float | None = None,
) -> Outcome:
    """Answer every picked pair that has no label yet by P = σ((s_A − s_B) / T).

    Args:
        column: a score column of the pool, or a score made by `whichpairs score`.
        temperature: T > 0.

    Raises:
        UserError: no such column, T ≤ 0, or this run was simulated with other settings.
    """
    check_temperature(temperature)
    with workspace(run, beta) as space:
        scores = space.score(column)
        settings: dict[str, Any] = {
            "kind": "simulated",
            "column": column,
            "temperature": temperature,
            "seed": space.run.seed if seed is None else seed,
        }
        _same_source(space, settings)
        pairs = _unlabelled(space)
        batch_of = {key: space.known_pairs[key][0] for key, _, _ in pairs}
        labels: list[Label] = []
        for batch in sorted(set(batch_of.values())):
            of_batch = [pair for pair in pairs if batch_of[pair[0]] == batch]
            ends = np.stack([scores[space.pool.rows(pair[1:])] for pair in of_batch])
            labels += simulate(
                of_batch,
                ends,
                temperature,
                annotator=f"simulated:{column}",
                batch=batch,
                seed=settings["seed"],
            )
        sources = {f"simulated:{column}": settings} if labels else {}
        new = space.store.add(labels, sources)
        return _outcome(space, new, f"simulated from {column} at T = {temperature:g}")


def label_from_file(
    run: str | Path, path: str | Path, *, annotator: str = "file", beta: float | None = None
) -> Outcome:
    """Accept a file of answers, all or none.

    Raises:
        UserError: an unknown pair, an unknown choice, a rewritten answer, a broken line.
    """
    with workspace(run, beta) as space:
        labels = read_labels(Path(path), space.known_pairs, annotator=annotator)
        return _outcome(space, space.store.add(labels), f"from {path}")


def _unlabelled(space: Workspace) -> list[tuple[str, str, str]]:
    if not space.known_pairs:
        raise UserError(
            "there must be picked pairs to label",
            "no batch has been picked",
            f"run: whichpairs select --run {space.run.root} --budget N",
        )
    return [(key, *space.known_pairs[key][1:]) for key in space.pending()]


def _same_source(space: Workspace, settings: dict[str, Any]) -> None:
    for old in space.store.sources().values():
        if old["kind"] == "simulated" and old != settings:
            raise UserError(
                "a run's simulated labels come from one score, temperature and seed",
                f"its labels have column {old['column']}, temperature {old['temperature']:g}, "
                f"seed {old['seed']}",
                "labels are never rewritten: use those settings, or another run",
            )


def _outcome(space: Workspace, new: int, source: str) -> Outcome:
    labels = space.store.all()
    waiting = len(set(space.known_pairs) - {label.pair_id for label in labels})
    result = {"new": new, "labels": len(labels), "waiting": waiting, "source": source}
    if new == 0:
        message = f"Nothing to do: all {len(space.known_pairs)} picked pairs have their label."
        if waiting:
            message = f"No new labels; {waiting} picked pairs still wait for one."
    else:
        message = f"{new} labels {source}; {len(labels)} in all, {waiting} pairs wait."
    return Outcome(message, result, new == 0, space.run.root / "labels.sqlite")
