"""Pairs dealt out to people, and the files that carry them: sheets (CSV, JSONL) and Label Studio's
tasks.

Whoever shares a pair answers it independently: which people share which pairs is drawn, so that
every two of them can be compared.
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from whichpairs.errors import UserError
from whichpairs.label.stores.base import Task
from whichpairs.label.web.project import Texts

COLUMNS = ("pair_id", "prompt", "completion_a", "completion_b", "id_a", "id_b", "choice")
Row = dict[str, str | None]
"""Of a sheet, by `COLUMNS`; ``choice`` is open."""
CONFIG = """<View>
  <Style>.answers { display: flex; gap: 1em; } .answers > div { flex: 1; white-space: pre-wrap; overflow-wrap: anywhere; }</Style>
  <Header value="Which answer is better?"/>
  <Text name="prompt" value="$prompt"/>
  <View className="answers">
    <View><Header value="A" size="5"/><Text name="completion_a" value="$completion_a"/></View>
    <View><Header value="B" size="5"/><Text name="completion_b" value="$completion_b"/></View>
  </View>
  <Choices name="choice" toName="prompt" choice="single-radio" required="true" showInLine="true">
    <Choice value="a" alias="a" hotkey="1" html="A is better"/>
    <Choice value="b" alias="b" hotkey="2" html="B is better"/>
    <Choice value="tie" alias="tie" hotkey="3" html="Equally good"/>
    <Choice value="both_bad" alias="both_bad" hotkey="4" html="Both bad"/>
  </Choices>
</View>
"""
"""Label Studio's labelling interface: its Pairwise tag cannot hold a tie."""


@dataclass(frozen=True)
class Question:
    """A pair as one person sees it: A and B in that person's order."""

    task: Task
    swapped: bool


def deal(tasks: Sequence[Task], people: int, rng: np.random.Generator) -> list[list[Question]]:
    """Who answers what.

    Args:
        tasks: each with how many people are to answer it; people: 1 or more.

    Returns:
        For every person, questions in an order of their own; loads differ by two pairs at most
        where every pair wants one answer.

    Raises:
        UserError: a pair would go to one person twice.
    """
    if people < 1:
        raise UserError("--people must be at least 1", f"got {people}")
    wanted = [task.wanted for task in tasks]
    if max(wanted, default=1) > people:
        raise UserError(
            "a pair goes to each person once",
            f"one is to be answered by {max(wanted)} of {people}",
            "give more --people, or less --overlap",
        )
    hands: list[list[Question]] = [[] for _ in range(people)]
    shared = {pair: 0 for pair in combinations(range(people), 2)}
    for k in rng.permutation(len(tasks)).tolist():
        ranked = sorted(rng.permutation(people).tolist(), key=lambda p: len(hands[p]))
        chosen = ranked[:1]
        while len(chosen) < wanted[k]:
            # Of the least loaded, the one who shares least with those who have it.
            rest = [p for p in ranked if p not in chosen]
            least = len(hands[rest[0]])
            near = [p for p in rest if len(hands[p]) <= least + 1]
            chosen.append(min(near, key=lambda p: sum(shared[_two(p, c)] for c in chosen)))
        for pair in combinations(sorted(chosen), 2):
            shared[pair] += 1
        for person in chosen:
            hands[person].append(Question(tasks[k], bool(rng.random() < 0.5)))
    return hands


def _two(one: int, other: int) -> tuple[int, int]:
    return (one, other) if one < other else (other, one)


def row(question: Question, texts: Texts) -> Row:
    """A question as a row of a sheet, its answer left open; `texts` are in the batch's order."""
    ids, both = (question.task.id_a, question.task.id_b), (texts.a, texts.b)
    if question.swapped:
        ids, both = ids[::-1], both[::-1]
    prompt = "\n\n".join(
        f"{role.capitalize()}: {said}" if role else said for role, said in texts.prompt
    )
    values = (question.task.pair_id, prompt, *both, *ids, None)
    return dict(zip(COLUMNS, values, strict=True))


def as_jsonl(rows: Sequence[Row]) -> str:
    """A sheet a program fills in: ``choice`` is null."""
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows)


def as_csv(rows: Sequence[Row]) -> str:
    """A sheet for a spreadsheet: ``choice`` is empty.

    A cell that a spreadsheet would take for a formula is preceded by an apostrophe, which it hides.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    for one in rows:
        writer.writerow({k: _cell(v) for k, v in one.items()})
    return out.getvalue()


def _cell(value: str | None) -> str | None:
    formula = isinstance(value, str) and value.lstrip()[:1] in ("=", "+", "-", "@")
    return f"'{value}" if formula else value


def as_label_studio(rows: Sequence[Row]) -> str:
    """Label Studio's tasks; what is in ``data`` comes back with its export."""
    tasks = [{"data": {k: v for k, v in one.items() if k != "choice"}} for one in rows]
    return json.dumps(tasks, ensure_ascii=False, indent=1) + "\n"
