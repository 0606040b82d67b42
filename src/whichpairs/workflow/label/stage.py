"""Stage label: answers to picked pairs, simulated from a score, read from a file, or by a judge."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whichpairs.errors import UserError
from whichpairs.label.settings import check_temperature
from whichpairs.label.simulate import simulate
from whichpairs.run.once import Outcome
from whichpairs.types import SILENT, Label, Progress
from whichpairs.wording import counted
from whichpairs.workflow.drawer import KIND, check_drawer, drawer_of, take
from whichpairs.workflow.label.answers import accept_file, annotators
from whichpairs.workflow.label.settings import JudgeSettings
from whichpairs.workflow.workspace import Workspace, workspace

if TYPE_CHECKING:
    from whichpairs.types import Verdict


def label_simulated(
    run: str | Path,
    column: str,
    *,
    temperature: float = 1.0,
    seed: int | None = None,
    beta: float | None = None,
) -> Outcome:
    """Answer every picked pair that waits for labels by P = σ((s_A − s_B) / T).

    A pair that is asked k times gets independent answers, of ``simulated:COLUMN``,
    ``simulated:COLUMN#2`` …

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
            "scores": space.score_print(column),
        }
        _same_source(space, settings)
        labels: list[Label] = []
        for (batch, turn), of_batch in sorted(_turns(space, f"simulated:{column}").items()):
            ends = np.stack([scores[space.pool.rows(pair[1:])] for pair in of_batch])
            labels += simulate(
                of_batch,
                ends,
                temperature,
                annotator=_annotator(f"simulated:{column}", turn),
                batch=batch,
                seed=settings["seed"],
                turn=turn,
            )
        new = space.store.add(labels, {label.annotator: settings for label in labels})
        return _outcome(space, new, f"simulated from {column} at T = {temperature:g}")


def label_from_drawer(run: str | Path, *, beta: float | None = None) -> Outcome:
    """Answer every picked pair that waits for labels from the run's drawer (`workflow.drawer`).

    Raises:
        UserError: the run has no drawer, or no pair has been picked.
    """
    with workspace(run, beta) as space:
        check_drawer(space)
        _unlabelled(space)
        outcome = _outcome(space, space.store.add(*take(space)), "from the drawer")
        drawer = drawer_of(space)
        assert drawer is not None
        words = [outcome.message]
        if outcome.result["waiting"]:
            words.append("The drawer has no answer left to those: bring theirs with --from FILE.")
        words.append(f"The drawer has {drawer.left} of its {drawer.answers} answers left.")
        result = {**outcome.result, KIND: drawer.recorded()}
        return Outcome(" ".join(words), result, outcome.done_before, outcome.folder)


def label_from_file(
    run: str | Path,
    path: str | Path,
    *,
    annotator: str | None = None,
    label_map: str | None = None,
    replace: bool = False,
    beta: float | None = None,
) -> Outcome:
    """Accept a file of answers (see `label.file.read_answers`), all or none.

    Args:
        annotator: who answered, where the file does not say; None is ``file``.
        label_map: what the values of its choices mean, e.g. ``0=a,1=b``.
        replace: another answer of the same annotator supersedes the one before; both are kept.

    Raises:
        UserError: an unknown pair, an unknown choice, a rewritten answer, a broken row.
    """
    if annotator is not None and not (annotator.strip() and annotator.isprintable()):
        raise UserError("--annotator must be a name, in one line", f"got {annotator!r}")
    with workspace(run, beta) as space:
        added, said, told = accept_file(space, Path(path), annotator, label_map, replace)
        outcome = _outcome(space, added.new, f"from {path}")
        who, numbers = annotators(space.labels)
        message = " ".join(filter(None, [outcome.message, said, who]))
        done = added.new + added.replaced == 0
        return Outcome(message, {**outcome.result, **told, **numbers}, done, outcome.folder)


def label_judged(
    run: str | Path,
    settings: JudgeSettings,
    *,
    beta: float | None = None,
    progress: Progress = SILENT,
) -> Outcome:
    """Ask a judge, in both orders, about every picked pair that has no label yet.

    What it answers is kept as it comes, in ``RUN/judge/answers.jsonl``; a killed call goes on
    without asking again. Where the two orders disagree, the label is a tie; a pair of which
    neither answer could be read stays without.

    Raises:
        UserError: the server cannot be reached or says no, or this judge answered before by
            another rubric.
    """
    from whichpairs.endpoint.client import Client, ServerSettings
    from whichpairs.endpoint.journal import Journal
    from whichpairs.label.judge import RUBRIC, Question, judge

    known = {k: v for k, v in vars(settings).items() if k not in ("server", "rubric")}
    asked_of = ServerSettings(settings.server, **known)
    rubric = RUBRIC if settings.rubric is None else settings.rubric
    with workspace(run, beta) as space:
        source = {"kind": "judge", "model": settings.model, "rubric": rubric}
        _same_judge(space, source)
        pairs, pool = _asked_once(space), space.pool
        text = pool.completions["completion"]
        rows = np.array([pool.rows(pair[1:]) for pair in pairs]).reshape(-1, 2).tolist()
        questions = [
            Question(pool.messages(int(pool.prompt_of[a])), text[a], text[b]) for a, b in rows
        ]
        verdicts: list[Verdict] = []
        if questions:
            progress.start("answers", 2 * len(questions))
            with closing(Journal(space.run.root / "judge" / "answers.jsonl")) as journal:
                verdicts = judge(
                    Client(asked_of), questions, rubric=rubric, journal=journal, progress=progress
                )
            progress.finish()
        return _judged(space, pairs, verdicts, source)


def _judged(
    space: Workspace,
    pairs: list[tuple[str, str, str]],
    verdicts: "Sequence[Verdict]",
    source: dict[str, Any],
) -> Outcome:
    """Store what was read of the verdicts, and say how the order mattered."""
    from whichpairs.label.judge import position_bias

    who = f"judge:{source['model']}"
    labels = [
        Label(key, id_a, id_b, verdict.choice, who, space.known_pairs[key][0])
        for (key, id_a, id_b), verdict in zip(pairs, verdicts, strict=True)
        if verdict.forward is not None or verdict.backward is not None
    ]
    new = space.store.add(labels, {who: source} if labels else {})
    outcome, bias = _outcome(space, new, f"by {who}"), position_bias(verdicts)
    ties = sum(label.choice == "tie" for label in labels)
    words = [outcome.message]
    if labels:
        words.append(f"{counted(ties, 'is a tie', 'are ties')}.")
    words += [bias.words] if bias.words else []
    if bias.disagree is not None:
        words.append(
            f"The two orders disagree on {100 * bias.disagree:.1f} % of "
            f"{counted(bias.compared, 'pair')}."
        )
    if bias.unread:
        words.append(f"{counted(bias.unread, 'answer')} could not be read.")
    result = {**outcome.result, "ties": ties, "position_bias": asdict(bias) | {"range": bias.range}}
    return Outcome(" ".join(words), result, outcome.done_before, outcome.folder)


def _same_judge(space: Workspace, source: dict[str, Any]) -> None:
    old = space.store.sources().get(f"judge:{source['model']}")
    if old is not None and old != source:
        raise UserError(
            "one judge answers a run by one rubric",
            f"{source['model']} has answered by another: {old.get('rubric')!r}",
            "labels are never rewritten: use that rubric, or another run",
        )


def _unlabelled(space: Workspace) -> list[tuple[str, str, str]]:
    if not space.known_pairs:
        raise UserError(
            "there must be picked pairs to label",
            "no batch has been picked",
            f"run: whichpairs select --run {space.run.root} --budget N",
        )
    return [(key, *space.known_pairs[key][1:]) for key in space.pending()]


def _asked_once(space: Workspace) -> list[tuple[str, str, str]]:
    """What waits, for a judge: it answers a pair the same way every time."""
    pairs = _unlabelled(space)
    several = [key for key, _, _ in pairs if space.asked[key] > 1]
    if several:
        raise UserError(
            "pairs that are asked several times want several people",
            f"{counted(len(several), 'pair waits', 'pairs wait')} for repeats, and a judge says "
            "the same each time",
            "label them with --from FILE, or select without --repeats",
        )
    return pairs


def _turns(space: Workspace, annotator: str) -> dict[tuple[str, int], list[tuple[str, str, str]]]:
    """What waits by batch and turn: a pair that waits for n answers has n turns not taken yet."""
    taken = {(label.pair_id, label.annotator) for label in space.labels}
    found: dict[tuple[str, int], list[tuple[str, str, str]]] = {}
    missing = space.waiting()
    for pair in _unlabelled(space):
        free = (n for n in count(1) if (pair[0], _annotator(annotator, n)) not in taken)
        for turn in islice(free, missing[pair[0]]):
            found.setdefault((space.known_pairs[pair[0]][0], turn), []).append(pair)
    return found


def _annotator(name: str, turn: int) -> str:
    return name if turn == 1 else f"{name}#{turn}"


def _same_source(space: Workspace, settings: dict[str, Any]) -> None:
    for old in space.store.sources().values():
        known = {
            **settings,
            **old,
        }  # labels of older versions do not say which values they were from
        if old["kind"] == "simulated" and known["scores"] != settings["scores"]:
            raise UserError(
                "a run's simulated labels come from one score",
                f"the values of {old['column']} have changed since it gave labels",
                "labels are never rewritten: score under another name in another run",
            )
        if old["kind"] == "simulated" and known != settings:
            raise UserError(
                "a run's simulated labels come from one score, temperature and seed",
                f"its labels have column {old['column']}, temperature {old['temperature']:g}, "
                f"seed {old['seed']}",
                "labels are never rewritten: use those settings, or another run",
            )


def _outcome(space: Workspace, new: int, source: str) -> Outcome:
    space.labels = labels = space.store.all()
    waiting = len(space.pending())
    result = {"new": new, "labels": len(labels), "waiting": waiting, "source": source}
    if new == 0:
        theirs = "labels" if max(space.asked.values(), default=1) > 1 else "label"
        message = f"Nothing to do: {_all(len(space.known_pairs))} {theirs}."
        if waiting:
            message = (
                "No new labels; "
                f"{counted(waiting, 'picked pair still waits', 'picked pairs still wait')} for "
                "one."
            )
    else:
        message = (
            f"{counted(new, 'label')} {source}; {len(labels)} in all, "
            f"{counted(waiting, 'pair waits', 'pairs wait')}."
        )
    return Outcome(message, result, new == 0, space.run.root / "labels.sqlite")


def _all(pairs: int) -> str:
    return "the one picked pair has its" if pairs == 1 else f"all {pairs} picked pairs have their"
