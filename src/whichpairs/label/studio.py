"""Label Studio's JSON export as rows of answers: the Pairwise tag, or a single choice (for ties).

A task's ``data`` comes back whole, so ``pair_id`` travels there. The Pairwise tag cannot hold a
tie: an annotation without a result is no answer.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from whichpairs.errors import UserError
from whichpairs.pool.raw.objects import table_of
from whichpairs.pool.raw.source import Source, show

KINDS = {"pairwise": "selected", "choices": "choices"}


def is_label_studio(source: Source) -> bool:
    """Whether rows are tasks of a Label Studio export."""
    if not {"data", "annotations"} <= source.columns.keys():
        return False
    return all(
        isinstance(data, dict) and isinstance(done, list)
        for data, done in zip(source.values("data"), source.values("annotations"), strict=True)
    )


def flat_tasks(source: Source) -> tuple[Source, dict[str, int]]:
    """One row an annotation, as an answer file has them, ``numbers`` those of the tasks; and how
    many skipped annotations and drafts there are besides.

    Raises:
        UserError: the tasks do not say which pair each is.
    """
    rows, numbers, others = list[dict[str, Any]](), list[int](), Counter[str]()
    drafts = source.values("drafts") if "drafts" in source.columns else []
    others["draft"] = sum(len(some) for some in drafts if isinstance(some, list))
    tasks = zip(source.numbers, source.values("data"), source.values("annotations"), strict=True)
    for number, data, annotations in tasks:
        if "pair_id" not in data:
            raise UserError(
                "the tasks of a Label Studio export must hold pair_id in their data",
                f"task {number} of {source.name} holds {', '.join(map(show, list(data)[:8]))}",
                "give Label Studio the rows of RUN/batches/NUMBER/pairs.jsonl as data, pair_id "
                "included",
            )
        others["skipped"] += sum(map(_skipped, annotations))
        for row in _answers(data, annotations):
            rows.append(row)
            numbers.append(number)
    table = table_of(rows, source.name)
    return Source(source.name, table.columns, numbers, "task", odd=source.odd), dict(+others)


def _skipped(annotation: Any) -> bool:
    return isinstance(annotation, dict) and bool(annotation.get("was_cancelled"))


def _answers(data: dict[str, Any], annotations: list[Any]) -> Iterator[dict[str, Any]]:
    """The annotations of a task that were submitted; none is a row without a choice."""
    known: dict[str, Any] = {n: data[n] for n in ("pair_id", "id_a", "id_b") if n in data}
    done = [one for one in annotations if isinstance(one, dict) and not _skipped(one)]
    for one in done or [{}]:
        result = one.get("result")
        found = [r for r in result if _is_answer(r)] if isinstance(result, list) else []
        choices = [_value(r) for r in found]
        shown = _shown(data, found[0]) if found else {}
        choice = choices[0] if len(set(map(str, choices))) == 1 else choices or None
        yield {**known, **shown, "choice": choice, "annotator": _who(one.get("completed_by"))}


def _is_answer(result: Any) -> bool:
    return isinstance(result, dict) and result.get("type") in KINDS


def _value(result: dict[str, Any]) -> Any:
    value = result.get("value")
    said = value.get(KINDS[result["type"]]) if isinstance(value, dict) else None
    return said[0] if isinstance(said, list) and len(said) == 1 else said


def _shown(data: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    """The texts that stood left and right, where the export tells:
    ``"to_name": "answer1,answer2"``."""
    names = str(result.get("to_name", "")).split(",")
    if result["type"] != "pairwise" or len(names) != 2 or not all(n in data for n in names):
        return {}
    return {"completion_a": data[names[0]], "completion_b": data[names[1]]}


def _who(by: Any) -> Any:
    """Who answered: an e-mail address where there is one, else the user's number."""
    return by.get("email") or by.get("id") if isinstance(by, dict) else by
