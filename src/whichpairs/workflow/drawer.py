"""The drawer of a run: a labelled set of which a part is to be chosen, as if nobody had answered
yet.

``import --labels hidden`` puts every answer there. Only which pairs have one is read before they
are picked, for no other pair is a candidate: nobody could answer it. `take` is what answers.
"""

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whichpairs.errors import UserError
from whichpairs.run.folder import Record, Run
from whichpairs.types import Label

if TYPE_CHECKING:
    import polars as pl

    from whichpairs.workflow.workspace import Workspace

KIND = "drawer"
"""The folder of further files, the beginning of their annotators' names, and the kind of a
source."""


@dataclass(frozen=True)
class Drawer:
    """What a run keeps back.

    Attributes:
        answers, pairs: that were put in, and pairs that they are about.
        taken: answers that became labels.
    """

    answers: int
    pairs: int
    taken: int

    @property
    def left(self) -> int:
        """Answers that are still in it."""
        return self.answers - self.taken

    def recorded(self) -> dict[str, int]:
        """As ``--json`` has it."""
        return {**vars(self), "left": self.left}


def drawer_of(space: "Workspace") -> Drawer | None:
    """The drawer of a run by its manifests and labels alone; None where it has none."""
    records = _records(space.run)
    if not records:
        return None
    put = [record.result[KIND] for record, _ in records]
    answers, pairs = (sum(one[name] for one in put) for name in ("answers", "pairs"))
    return Drawer(answers, pairs, len(from_drawer(space)))


def check_drawer(space: "Workspace") -> None:
    """Raise a `UserError` unless the run has a drawer."""
    if drawer_of(space) is None:
        raise UserError(
            "--from-drawer takes labels that were kept back at import",
            f"{space.run.root} has none",
            "start another run with: whichpairs import FILE --run RUN --labels hidden",
        )


def label_command(space: "Workspace", file: str) -> str:
    """The command that labels what waits: from the drawer, or from a file of answers."""
    run = shlex.quote(str(space.run.root))
    # A picked pair has an answer in the drawer; one that still waits after that has no more.
    answered = {label.pair_id for label in from_drawer(space)}
    if drawer_of(space) is not None and not answered.issuperset(space.waiting()):
        return f"whichpairs label --run {run} --from-drawer"
    return f"whichpairs label --run {run} --from {file}"


def from_drawer(space: "Workspace") -> list[Label]:
    """The labels that came from the drawer."""
    sources = space.store.sources().items()
    names = {name for name, source in sources if source["kind"] == KIND}
    return [label for label in space.labels if label.annotator in names] if names else []


def _records(run: Run) -> list[tuple[Record, Path]]:
    """The manifest and folder of every file that was put in."""
    pool = run.record("pool")
    if pool is None or KIND not in pool.result:
        return []
    found = [(pool, run.root / "pool")]
    for name in run.finished(KIND):
        record = run.record(KIND, name)
        assert record is not None
        found.append((record, run.root / KIND / name))
    return found


def answers_in(
    run: Run, columns: list[str] | None = None
) -> Iterator[tuple[Record, "pl.DataFrame"]]:
    """The record of every file that was put in, and its answers (`pool.reading.drawer.SCHEMA`)."""
    from whichpairs.pool.reading.drawer import (  # polars, which `status` does without
        DRAWER,
        read_drawer,
    )

    for record, folder in _records(run):
        yield record, read_drawer(folder / DRAWER, columns)


def unanswerable(space: "Workspace") -> np.ndarray:
    """Pairs that are no candidates, for the drawer has no answer to them: (n, 2) rows with i < j.

    Of prompts all of whose pairs have an answer, as where each has one pair, there are none.
    """
    from whichpairs.design.problem.space import PairSpace

    frames = [frame for _, frame in answers_in(space.run, ["id_a", "id_b"])]
    if not frames:
        return np.empty((0, 2), np.int64)
    pool = space.pool
    rows = [pool.rows(frame[side]) for frame in frames for side in ("id_a", "id_b")]
    answered = np.sort(np.stack([np.concatenate(rows[k::2]) for k in (0, 1)], axis=1), axis=1)
    sizes = np.diff(pool.starts)
    nothing = np.empty((len(pool.ids), 0), np.float32)  # which pairs there are is all that is asked
    keys = np.unique(PairSpace(nothing, pool.starts).keys(answered))
    there = np.bincount(pool.prompt_of[keys // len(pool.ids)], minlength=len(sizes))
    some = PairSpace(nothing, pool.starts, there < sizes * (sizes - 1) // 2)
    every = some.keys(some.unrank(np.arange(some.all_pairs)))
    return some.from_keys(np.setdiff1d(every, keys))


def _answers_a_pair(space: "Workspace") -> Counter[str]:
    """How many answers the drawer has to every pair."""
    return Counter(
        key for _, frame in answers_in(space.run, ["pair_id"]) for key in frame["pair_id"]
    )


def check_repeats(space: "Workspace", repeats: int) -> None:
    """Raise a `UserError` where a pair may be asked more often than the drawer can answer any."""
    if repeats == 1 or drawer_of(space) is None:
        return
    most = max(_answers_a_pair(space).values(), default=0)
    if repeats > most:
        raise UserError(
            "--repeats must be at most the answers that the drawer has to a pair",
            f"got {repeats}, and none has more than {most}",
            "leave it out" if most == 1 else f"pass --repeats {most}",
        )


def not_in_drawer(space: "Workspace", asked: Mapping[str, int]) -> int:
    """How many of the labels asked of these pairs the drawer has no answer to."""
    if drawer_of(space) is None:
        return 0
    there = _answers_a_pair(space)
    return sum(max(times - there[key], 0) for key, times in asked.items())


def no_candidates(space: "Workspace", what: str) -> UserError:
    """What to say where no pair is left to pick.

    Args:
        what: needs them, e.g. ``a batch``.
    """
    pool = space.run.record("pool")
    whole = "every pair of the prompts that are not held out"
    remedy = ""
    if drawer_of(space) is not None:
        whole = "every pair of them that has an answer in the drawer"
    elif pool is not None and pool.result.get("labels"):
        remedy = (
            "To choose among labels that you have, keep them back: "
            "whichpairs import FILE --run ANOTHER --labels hidden"
        )
    return UserError(f"{what} needs candidate pairs", f"{whole} is labelled or waits", remedy)


def take(space: "Workspace") -> tuple[list[Label], dict[str, dict[str, Any]]]:
    """An answer for every label that picked pairs wait for, as far as the drawer has them.

    The first answer of nobody in particular is of ``drawer``, Ann's of ``drawer:Ann``, what one
    says again of ``drawer:Ann#2``; those of a second file begin with ``drawer2``.

    Returns:
        The labels, A and B in the order of their batch, and the source of each annotator.
    """
    waiting = space.waiting()
    taken = {(label.pair_id, label.annotator) for label in space.labels}
    labels, sources = list[Label](), dict[str, dict[str, Any]]()
    for place, (record, frame) in enumerate(answers_in(space.run), start=1):
        said = Counter[tuple[str, str]]()
        files = {"kind": KIND, "source": record.settings["source"]}
        some = frame.filter(frame["pair_id"].is_in(list(waiting)))
        for key, id_a, _, choice, who, p in some.iter_rows():
            name = KIND + (str(place) if place > 1 else "") + (f":{who}" if who else "")
            said[key, name] += 1
            name += f"#{said[key, name]}" if said[key, name] > 1 else ""
            if not waiting[key] or (key, name) in taken:
                continue
            waiting[key] -= 1
            batch, shown_a, shown_b = space.known_pairs[key]
            if shown_a != id_a:
                choice = {"a": "b", "b": "a"}.get(choice, choice)
                p = None if p is None else 1.0 - p
            labels.append(Label(key, shown_a, shown_b, choice, name, batch, p))
            sources[name] = files
    return labels, sources
