"""Stage share: the pairs that wait, dealt out to people as files for them or for a tool of
theirs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from whichpairs.errors import UserError
from whichpairs.label.argilla import as_argilla, settings
from whichpairs.label.exchange.sheets import CONFIG, as_csv, as_jsonl, as_label_studio, deal, row
from whichpairs.label.stores.base import Task
from whichpairs.label.web.project import Texts
from whichpairs.run.files import write_whole
from whichpairs.run.once import Outcome
from whichpairs.streams import Stream, stream
from whichpairs.wording import counted
from whichpairs.workflow.label.overlap import plan
from whichpairs.workflow.label.serve import turns
from whichpairs.workflow.workspace import workspace

FORMS: dict[str, tuple[str, Callable[[Sequence[dict[str, Any]]], str]]] = {
    "jsonl": (".jsonl", as_jsonl),
    "csv": (".csv", as_csv),
    "label-studio": (".json", as_label_studio),
    "argilla": (".json", as_argilla),
}
TOOLS = {"label-studio": ("config.xml", CONFIG), "argilla": ("settings.json", settings())}
"""What a tool is to be set up with."""


def share(
    run: str | Path,
    out: str | Path,
    *,
    people: int = 1,
    overlap: float = 0.0,
    to: str = "jsonl",
    seed: int | None = None,
    beta: float | None = None,
) -> Outcome:
    """Write one file a person with the pairs that wait for answers.

    Args:
        out: a folder, new or empty.
        overlap: the share of each batch's pairs that two people answer (`workflow.label.overlap`).
        to: one of `FORMS`.

    Raises:
        UserError: nothing waits, the folder holds files, a pair would go to one person twice.
    """
    folder = Path(out)
    if to not in FORMS:
        raise UserError(f"--to must be one of {', '.join(FORMS)}", f"got {to!r}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError("share writes into a new or empty folder", f"{folder} holds something")
    with workspace(run, beta) as space:
        planned, pool = plan(space, overlap), space.pool
        tasks = [
            Task(key, *space.known_pairs[key][1:], space.known_pairs[key][0], missing)
            for key, missing in planned.waiting(space.labels).items()
        ]
        if not tasks:
            raise UserError(
                "there must be picked pairs that wait for an answer",
                "none does",
                f"run: whichpairs select --run {space.run.root} --budget N",
            )
        rng = stream(space.run.seed if seed is None else seed, Stream.SHARES_OF_PEOPLE)
        hands = deal(tasks, people, rng)
        text = pool.completions["completion"]

        def texts(task: Task) -> Texts:
            a, b = pool.row_of[task.id_a], pool.row_of[task.id_b]
            return Texts(turns(pool, int(pool.prompt_of[a])), text[a], text[b])

        suffix, written = FORMS[to]
        planned.keep()
        folder.mkdir(parents=True, exist_ok=True)
        for number, hand in enumerate(hands, 1):
            rows = [row(question, texts(question.task)) for question in hand]
            write_whole(folder / f"person{number}{suffix}", written(rows))
        if to in TOOLS:
            config, text_of = TOOLS[to]
            write_whole(folder / config, text_of)
        root = space.run.root
    questions, twice = sum(map(len, hands)), sum(task.wanted > 1 for task in tasks)
    result = {"pairs": len(tasks), "questions": questions, "people": [len(hand) for hand in hands]}
    result["overlap"] = twice
    name = f"{folder}/person1{suffix}"
    back = {"label-studio": "EXPORT.json", "argilla": "EXPORT.jsonl"}.get(to, name)
    message = (
        f"{counted(len(tasks), 'pair')} for {counted(people, 'person', 'people')}, "
        f"{counted(questions, 'question')} in all"
        f"{f' ({twice} pairs by more than one)' if twice else ''}: "
        f"{folder}. Their answers come back by: whichpairs label --run {root} --from "
        f"{back}{' --annotator NAME' * (to not in TOOLS)}"
    )
    return Outcome(message, result, False, folder)
