"""Argilla 2.x: records for it, and the responses that it gives back.

Out: what ``dataset.records.from_json`` reads, and ``settings.json`` for ``rg.Settings.from_json``,
with one question of four labels, for a ranking loses its ties in Argilla's own files. In: the flat
form, a JSON object a record, as ``dataset.records.to_datasets().to_json(FILE)`` writes it (or
``.to_parquet``): every response with its user and status. The nested form (``records.to_json``) has
no status, so that a draft looks like an answer: it is refused.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from whichpairs.errors import UserError
from whichpairs.pool.raw.objects import table_of
from whichpairs.pool.raw.source import Source, show

QUESTION = "choice"
LABELS = {"a": "A is better", "b": "B is better", "tie": "Equally good", "both_bad": "Both bad"}
FIELDS = {"prompt": "Prompt", "completion_a": "A", "completion_b": "B"}
ABOUT = ("pair_id", "id_a", "id_b")
"""A record's metadata: which pair it is, and which completion stands where. Annotators do not see
it."""
END = ".responses"
FLAT = "write it flat: dataset.records.to_datasets().to_json('answers.jsonl')"


def as_argilla(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of a sheet as records."""
    records = [
        {
            "id": one["pair_id"],
            "fields": {name: one[name] for name in FIELDS},
            "metadata": {name: one[name] for name in ABOUT},
            **{part: {} for part in ("suggestions", "responses", "vectors")},
        }
        for one in rows
    ]
    return json.dumps(records, ensure_ascii=False, indent=1) + "\n"


def settings() -> str:
    """Argilla's settings for them."""
    plain = {"type": "text", "use_markdown": False}
    options = [{"value": value, "text": text} for value, text in LABELS.items()]
    asks = {"type": "label_selection", "options": options, "visible_options": len(options)}
    hidden = {"visible_for_annotators": False, "settings": {"type": "terms"}}
    found = {
        "guidelines": "Which answer is better?",
        "fields": [
            {"name": name, "title": title, "required": True, "settings": plain}
            for name, title in FIELDS.items()
        ],
        "questions": [
            {"name": QUESTION, "title": "Which is better?", "required": True, "settings": asks}
        ],
        "metadata": [{"name": name, "title": name, **hidden} for name in ABOUT],
        "vectors": [],
        "allow_extra_metadata": False,
        "distribution": {"strategy": "overlap", "min_submitted": 1},
    }
    return json.dumps(found, indent=1) + "\n"


def is_argilla(source: Source) -> bool:
    """Whether rows are records of Argilla's, flat or nested."""
    there = source.columns.keys()
    return {"fields", "responses", "metadata"} <= there or any(
        f"{name}.users" in there for name in there if name.endswith(END)
    )


def flat_records(source: Source) -> tuple[Source, dict[str, int]]:
    """One row a submitted response, as an answer file has them; and how many others there are, by
    status.

    A record without a submitted response is a row without a choice.

    Raises:
        UserError: it is the nested form, does not say which pair each record is, or has no label
            question.
    """
    there = source.columns.keys()
    if "responses" in there:
        raise UserError(
            "a file of Argilla's must say which responses were submitted",
            f"{source.name} is its nested form, in which a draft looks like an answer",
            FLAT,
        )
    if "pair_id" not in there:
        raise UserError(
            "the records of an Argilla file must have pair_id in their metadata",
            f"{source.name} has {', '.join(map(show, list(there)[:8]))}",
            "make the records by: whichpairs share --to argilla",
        )
    name = _question(source)
    others, rows, numbers = Counter[str](), list[dict[str, Any]](), list[int]()
    parts = [source.values(f"{name}{END}{part}") for part in ("", ".users", ".status")]
    for k, (values, users, states) in enumerate(zip(*parts, strict=True)):
        known = {n: source.values(n)[k] for n in _known(source)}
        said = list(_responses(source, k, values, users, states, others))
        for one in said or [{"choice": None, "annotator": None}]:
            rows.append({**known, **one})
            numbers.append(source.numbers[k])
    table = table_of(rows, source.name)
    return Source(source.name, table.columns, numbers, source.unit, odd=source.odd), dict(others)


def _known(source: Source) -> list[str]:
    return [n for n in (*ABOUT, "completion_a", "completion_b") if n in source.columns]


def _question(source: Source) -> str:
    """The question that is answered: ours, or the only one there is."""
    names = [n.removesuffix(END) for n in source.columns if n.endswith(END)]
    whole = [n for n in names if f"{n}{END}.status" in source.columns]
    if QUESTION in whole:
        return QUESTION
    if len(whole) != 1:
        raise UserError(
            f"a file of Argilla's must have one question, or one that is called {QUESTION}",
            f"{source.name} has {', '.join(map(show, whole)) or 'none with a status'}",
            f"leave the others out; {FLAT}",
        )
    return whole[0]


def _responses(
    source: Source, row: int, values: Any, users: Any, states: Any, others: Counter[str]
) -> Iterator[dict[str, Any]]:
    """The submitted ones of a record."""
    if values is None and users is None:
        return
    lists = [values, users, states]
    if not all(isinstance(one, list) for one in lists) or len({len(one) for one in lists}) != 1:
        raise UserError(
            "responses, users and status of an Argilla record must be lists of one length",
            f"{source.at(row)} has {show(values)}",
            FLAT.replace("it flat", "it as JSON, not as CSV"),
        )
    for value, user, state in zip(*lists, strict=True):
        if state != "submitted":
            others[str(state or "without a status")] += 1
        elif isinstance(value, list | dict):
            raise UserError(
                "an answer from Argilla must be one label",
                f"{source.at(row)} has {show(value)}, of a ranking or several labels",
                "ask a label question (settings.json of: whichpairs share --to argilla)",
            )
        else:
            yield {"choice": value, "annotator": user}
