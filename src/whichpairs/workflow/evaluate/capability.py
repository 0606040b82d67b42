"""What training cost: perplexity of held-out texts and accuracy on tasks, policy and reference.

RUN/capabilities/001/manifest.json
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whichpairs.errors import UserError
from whichpairs.evaluate.interval import Interval
from whichpairs.pool.reading.read import read_prompts
from whichpairs.run.once import Outcome, find
from whichpairs.types import Progress
from whichpairs.wording import counted
from whichpairs.workflow.evaluate.policies import (
    REFERENCE,
    created,
    model_path,
    policy_name,
    reference_path,
    reference_print,
)
from whichpairs.workflow.workspace import Workspace

if TYPE_CHECKING:
    from whichpairs.evaluate.capability import Item
    from whichpairs.workflow.evaluate.settings import EvaluateSettings


def check_capability(space: Workspace, settings: "EvaluateSettings", progress: Progress) -> Outcome:
    """Perplexity and task accuracy of a policy beside its reference (or `settings.against`).

    Raises:
        UserError: no policy, or a file is not what it must be.
    """
    name = policy_name(space, "policies", settings.policy)
    other = policy_name(space, "policies", settings.against or REFERENCE, "against")
    chosen: dict[str, Any] = {"policy": name, "against": other, **settings.precision}
    inputs = {f"made_{n}": created(space, "policies", n) or "" for n in (name, other)}
    documents: list[str] = []
    items: list[Item] = []
    if settings.perplexity:
        documents = _documents(settings.perplexity, settings.text_column)
        chosen |= {"perplexity": settings.perplexity, "text_column": settings.text_column}
        inputs["documents"] = _digest(documents)
    if settings.tasks:
        items = read_tasks(Path(settings.tasks))
        chosen["tasks"] = settings.tasks
        inputs["items"] = _digest([asdict(item) for item in items])
    inputs["reference"] = reference_print(space, name)
    before = find(space.run, "capabilities", "evaluate", chosen, inputs)
    if before is not None:
        message = f"Capability {before[0]} is of this policy and these files; nothing changed."
        return Outcome(message, before[1].result, True, space.run.root / "capabilities" / before[0])
    measured = _measure(space, settings, (name, other), documents, items, progress)
    number = space.run.next_number("capabilities")
    result = {"capability": number, "policy": name, "against": other, **measured}
    made = ("capabilities", number)
    space.run.commit(made, "evaluate", chosen, inputs, lambda _: result)
    return Outcome(_table(result), result, False, space.run.root / "capabilities" / number)


def _measure(
    space: Workspace,
    settings: "EvaluateSettings",
    names: tuple[str, str],
    documents: list[str],
    items: "list[Item]",
    progress: Progress,
) -> dict[str, Any]:
    from whichpairs.evaluate.capability import choose, perplexity
    from whichpairs.lm.model import load

    base = reference_path(space, names[0])
    ours, theirs = (
        load(model_path(space, n, base), device=settings.device, dtype=settings.dtype)
        for n in names
    )
    found: dict[str, Any] = {}
    progress.start("capability", bool(documents) + bool(items))
    if documents:
        found["perplexity"] = asdict(perplexity(ours, theirs, documents))
        progress.advance()
    if items:
        found["tasks"] = asdict(choose(ours, theirs, items))
        progress.advance()
    progress.finish()
    return found


def _documents(path: str, column: str) -> list[str]:
    """The texts of a file: a line of a .txt, or a column of JSONL, JSON, Parquet or CSV."""
    found = read_prompts(path, column)
    texts = [text for text in found if isinstance(text, str)]
    if len(texts) < len(found):
        raise UserError("perplexity is of plain texts", f"{column} of {path} holds chat messages")
    return texts


def read_tasks(path: Path) -> "list[Item]":
    """Multiple-choice items, a JSON object a line: ``{"context", "choices", "answer"}``.

    ``choices`` are two or more texts that are not empty, ``answer`` the place of the right one,
    from 0.

    Raises:
        UserError: a line is not that; or there is none.
    """
    from whichpairs.evaluate.capability import Item

    items = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not _is_item(row):
            raise UserError(
                'a task is {"context": text, "choices": [text, text, …], "answer": place from 0}',
                f"line {number} of {path} is not",
            )
        items.append(Item(row["context"], tuple(row["choices"]), row["answer"]))
    if not items:
        raise UserError("tasks need at least one item", f"{path} has none")
    return items


def _is_item(row: Any) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("context"), str):
        return False
    choices, answer = row.get("choices"), row.get("answer")
    return (
        isinstance(choices, list)
        and len(choices) > 1
        and all(isinstance(choice, str) and choice for choice in choices)
        and type(answer) is int
        and 0 <= answer < len(choices)
    )


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def _table(result: dict[str, Any]) -> str:
    rows: list[tuple[str, dict[str, Any]]] = []
    if "perplexity" in result:
        rows.append(("nats a token", result["perplexity"]["nats"]))
    if "tasks" in result:
        rows.append(("accuracy", result["tasks"]["accuracy"]))
        rows.append(("accuracy, by bytes", result["tasks"]["normalised"]))
    lines = [f"{'':20}{'policy':>30}{result['against']:>30}{'difference':>30}"]
    for name, paired in rows:
        cells = [str(Interval(**paired[who])) for who in ("policy", "reference", "difference")]
        lines.append(f"{name:20}" + "".join(f"{cell:>30}" for cell in cells))
    if "perplexity" in result:
        p = result["perplexity"]
        lines.append(
            f"{counted(p['tokens'], 'token')} of {counted(p['documents'], 'document')}; lower is "
            "better."
        )
    if "tasks" in result:
        lines.append(f"{counted(result['tasks']['items'], 'item')}.")
    return "\n".join(lines)
