"""The section on what was picked: how it spreads, why it scores, and the pairs themselves."""

from typing import Any

import numpy as np
from markupsafe import Markup

from whichpairs.report.charts import design_charts as figures
from whichpairs.report.data.design_curves import Beginning, Choice, beginning, choice
from whichpairs.report.data.facts import Facts
from whichpairs.report.page.format import common_start, count, data, excerpt, how_many, say
from whichpairs.report.page.parts import Chapter, Figure, Missing, Pair, Section, Side
from whichpairs.types import Label
from whichpairs.wording import counted, plural

ID, TITLE = "picked", "What was picked and why"
SHOWN = 6
"""Batches shown in full: the latest."""

TOP, TYPICAL = 5, 3


def picked(facts: Facts, starts: dict[tuple[Any, Any], Beginning | None]) -> Section:
    """The section.

    Args:
        starts: where designs began, by features fingerprint and prior; filled as they are needed.
    """
    if not facts.batches:
        why = "No batch has been picked."
        return Section(ID, TITLE, missing=Missing(why, facts.next))
    lead = [
        Markup(
            "A pair scores by how much one label of it would still take off the gap criterion tr(I M⁻¹) once "
            "the batch is labelled: far apart in directions that matter to the policy and that "
            "other labels leave open."
        )
    ]
    if any(record.result["criterion"] == "adaptive" for _, record in facts.batches):
        lead.append(
            Markup(
                "A part of an adaptive batch is random, and so are all of the first labels; scores "
                "are at the reference policy, whatever the labels had said by then."
            )
        )
    chapters = []
    latest = facts.batches[-SHOWN:]
    for name, record in reversed(latest):
        start = start_of(facts, record, starts)
        chapters.append(_chapter(facts, name, record.result, start, name == latest[-1][0]))
    if len(facts.batches) > SHOWN:
        lead.append(
            say("Shown are the latest {n} of {all} batches.", n=SHOWN, all=len(facts.batches))
        )
    return Section(ID, TITLE, lead, chapters=chapters)


def start_of(
    facts: Facts, record: Any, starts: dict[tuple[Any, Any], Beginning | None]
) -> Beginning | None:
    """Where this batch's design began, from `starts` where it is known already."""
    key = (
        (None, None)
        if record is None
        else (record.inputs.get("features"), record.settings.get("prior_spread"))
    )
    if key not in starts:
        starts[key] = beginning(facts.space, record)
    return starts[key]


def _chapter(
    facts: Facts, name: str, r: dict[str, Any], start: Beginning | None, latest: bool
) -> Chapter:
    found = choice(facts.space, name, start)
    shown = [_prompts(facts, name, found)]
    if start is not None and len(found.pairs):
        shown += [_scores(name, found)]
    shown += [_lengths(facts, name, found)]
    note = (
        ""
        if start is not None
        else "Its features are no longer there: scores and random pairs cannot be shown."
    )
    title = f"Batch {name}: {count(r['picked'])} {plural(r['picked'], 'pair')}"
    return Chapter(title, shown, _groups(facts, name, found), note, latest)


def _per_prompt(facts: Facts, pairs: np.ndarray) -> np.ndarray:
    pool = facts.space.pool
    able = ~pool.holdout & (np.diff(pool.starts) >= 2)
    return np.asarray(np.bincount(pool.prompt_of[pairs[:, 0]], minlength=len(able))[able])


def _prompts(facts: Facts, name: str, found: Choice) -> Figure:
    mine = _per_prompt(facts, found.pairs)
    others = _per_prompt(facts, found.others[: len(found.pairs)])
    caption = say(
        "<b>{some} of {all} {are} asked about</b>; the busiest has {most}."
        + (" Dashes: as many random pairs." if len(found.others) else ""),
        some=data(int((mine > 0).sum()), "count"),
        all=how_many(len(mine), "prompt"),
        are=plural(int((mine > 0).sum()), "is", "are"),
        most=how_many(int(mine.max(initial=0)), "pair"),
    )
    label = "Prompts by number of picked pairs. " + str(caption.striptags())
    return Figure(
        figures.prompt_bars(f"prompts-{name}", mine, others if len(found.others) else None, label),
        caption,
    )


def _scores(name: str, found: Choice) -> Figure:
    ratio, weakest = float(np.median(found.scores)), float(found.scores.min())
    caption = say(
        "<b>The median picked pair scores {ratio} × the median random one</b>; {share} of random "
        "candidates score as high as the lowest picked.",
        ratio=data(ratio, "number"),
        share=data(float((found.other_scores >= weakest).mean()), "percent"),
    )
    label = "Scores of picked and of random pairs. " + str(caption.striptags())
    axis = "information, random median = 1"
    svg = figures.two_densities(f"scores-{name}", found.scores, found.other_scores, axis, label)
    return Figure(svg, caption)


def _lengths(facts: Facts, name: str, found: Choice) -> Figure:
    length = facts.space.pool.completions["completion"].str.len_chars().to_numpy()
    length = length.astype(np.float64)
    mine, others = (np.abs(length[p[:, 0]] - length[p[:, 1]]) for p in (found.pairs, found.others))
    typical = float(np.median(mine)) if len(mine) else 0.0
    sentence = "<b>Picked pairs differ in length by {mine} characters</b>"
    sentence += ", random ones by {others} (medians)." if len(others) else " (median)."
    usual = float(np.median(others)) if len(others) else 0.0
    if len(others) and typical > 1.5 * max(usual, 1.0):
        sentence += " Look out for labels that go by length alone."
    caption = say(sentence, mine=data(round(typical), "count"), others=data(round(usual), "count"))
    label = "Differences in length. " + str(caption.striptags())
    axis = "difference in length, characters"
    return Figure(
        figures.two_densities(f"lengths-{name}", mine + 1.0, others + 1.0, axis, label), caption
    )


def _groups(facts: Facts, name: str, found: Choice) -> list[tuple[str, list[Pair]]]:
    rows = facts.space.picked(name)
    labels: dict[str, list[Label]] = {}
    for label in facts.space.labels:
        labels.setdefault(label.pair_id, []).append(label)

    def show(places: list[int]) -> list[Pair]:
        scores = found.scores if len(found.scores) else [None] * len(rows)
        return [_pair(rows[k], scores[k], labels.get(rows[k]["pair_id"], [])) for k in places]

    if not len(found.scores):
        return [("Some of its pairs", show(list(range(min(len(rows), TOP + TYPICAL)))))]
    order = np.lexsort((np.arange(len(rows)), -found.scores)).tolist()
    rest = order[TOP:]
    middle = max((len(rest) - TYPICAL) // 2, 0)
    groups = [("Highest scores", show(order[:TOP]))]
    if rest:
        groups.append(("Typical pairs", show(rest[middle : middle + TYPICAL])))
    return groups


def _pair(row: dict[str, Any], score: float | None, labels: list[Label]) -> Pair:
    a, b = row["completion_a"], row["completion_b"]
    start = common_start(a, b)
    wins = {row["id_a"]: 0, row["id_b"]: 0}
    for label in labels:
        if label.choice != "tie":
            wins[label.id_a if label.choice == "a" else label.id_b] += 1
    sides = []
    for name, text, key in (("A", a, row["id_a"]), ("B", b, row["id_b"])):
        shown, note = excerpt(text, start)
        sides.append(Side(name, shown, note, _preferred(wins[key], len(labels))))
    prompt, prompt_note = excerpt(_prompt_text(row["prompt"]))
    ties = sum(label.choice == "tie" for label in labels)
    return Pair(prompt, prompt_note, (sides[0], sides[1]), _pair_facts(row, score, labels, ties))


def _preferred(wins: int, answers: int) -> str:
    if not wins:
        return ""
    return "preferred" if answers == 1 else f"preferred by {wins} of {answers}"


def _pair_facts(row: dict[str, Any], score: float | None, labels: list[Label], ties: int) -> Markup:
    parts = []
    if score is not None:
        parts.append(say("score {x} × a median random pair", x=data(float(score))))
    lengths = (len(row["completion_a"]), len(row["completion_b"]))
    parts.append(
        say("{a} and {b} characters", a=data(lengths[0], "count"), b=data(lengths[1], "count"))
    )
    if not labels:
        parts.append(Markup("not labelled yet"))
    elif ties:
        parts.append(say("{n} of {all} a tie", n=ties, all=counted(len(labels), "answer")))
    return Markup(" · ").join(parts)


def _prompt_text(prompt: Any) -> str:
    """A plain prompt, or the turns of a conversation a line each."""
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"{turn.get('role', '')}: {turn.get('content', '')}" for turn in prompt)
