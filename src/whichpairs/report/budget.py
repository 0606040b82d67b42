"""The section on budgets: predicted gap against labels, for random pairs and for designs."""

import shlex
from typing import Any

from markupsafe import Markup

from whichpairs.report import figures
from whichpairs.report.facts import Facts
from whichpairs.report.outlook import Beginning, Curves
from whichpairs.report.parts import Cell, Figure, Missing, Section, Table
from whichpairs.report.verdict import at_random
from whichpairs.report.words import data, plural, say
from whichpairs.workflow.batch import labels_of
from whichpairs.workflow.select import LEARNING

ID, TITLE = "budget", "Budget and predicted gap"
_HEAD = ("Batch", "Picked by", "Pairs", "Predicted gap", "Lower bound", "At random", "Random needs")


def budget(facts: Facts, start: Beginning | None) -> Section:
    """The section.

    Args:
        start: where the latest batch's design began; None without its features.
    """
    if not facts.batches and (facts.pool is None or start is None or start.most < 1):
        return Section(ID, TITLE, missing=Missing(_no_curve(facts), facts.next))
    tables = [_table(facts)] if facts.batches else []
    lead = [
        Markup(
            "The gap is J of the best policy less J of the one fitted to the labels. These are "
            "predictions at the reference policy, before any answer is known; they hold as far as "
            "preferences follow the model, and held-out prompts are the judge of that."
        )
    ]
    if any(record.result["criterion"] in LEARNING for _, record in facts.batches):
        lead.append(
            Markup(
                "The table has what was predicted when a batch was picked, for one that learns, by "
                "the labels it knew; the figure values every batch at the reference policy."
            )
        )
    shown = []
    if start is None:
        lead.append(_gone())
    else:
        batches = _on_curve(facts, start)
        shown = [_figure(facts, start, batches)]
    return Section(ID, TITLE, lead, shown, tables)


def _no_curve(facts: Facts) -> str:
    if facts.pool is None:
        return "There is no pool yet."
    if not facts.features:
        return "Predictions need features, and there are none yet."
    return "There is no candidate pair, or the features are of another pool."


def _gone() -> Markup:
    return Markup(
        "The features that the latest batch was picked from are no longer there, so the curves "
        "cannot be drawn again."
    )


def _on_curve(facts: Facts, start: Beginning) -> list[dict[str, Any]]:
    """The batches whose predictions share the curve's features and prior."""
    latest, total, found = facts.batches[-1:], 0, []
    for name, record in facts.batches:
        r = record.result
        total += labels_of(r)
        mine = (record.inputs.get("features"), record.settings.get("prior_spread"))
        if mine != (latest[0][1].inputs.get("features"), latest[0][1].settings.get("prior_spread")):
            continue
        # A batch that learns from labels was predicted by another belief than the curve's: value it anew.
        anew = r["criterion"] in LEARNING
        found.append(
            {
                "name": name,
                "labels": total,
                "gap": start.gap(start.learned(name)) if anew else r["predicted_gap"],
                "bound": None if anew else r["lower_bound"],
                "random": None if anew or r["criterion"] == "random" else r["random_predicted_gap"],
            }
        )
    return found


def _figure(facts: Facts, start: Beginning, batches: list[dict[str, Any]]) -> Figure:
    if batches:
        span = (batches[0]["labels"] // 8, 8 * batches[-1]["labels"])
    else:
        span = (start.desk.pairs.dim, 64 * start.desk.pairs.dim)
    labels = [batch["labels"] for batch in batches]
    curves = start.curves(span, labels[:1] + labels[1:][-1:])
    caption = _caption(facts, curves, batches)
    label = "Predicted gap against labels. " + str(caption.striptags())
    return Figure(
        figures.budget_curve(curves, batches, label),
        caption,
        figures.budget_curve(curves, batches, label, narrow=True),
    )


def _caption(facts: Facts, curves: Curves, batches: list[dict[str, Any]]) -> Markup:
    parts = [_conclusion(facts, curves, batches)]
    rings, dashes = (any(b[key] is not None for b in batches) for key in ("random", "bound"))
    marks = ["rings: random pairs in place of that batch"] * rings
    marks += ["dashes: lower bounds"] * dashes
    if marks:
        parts.append(Markup("; ".join(marks).capitalize() + "."))
    parts.append(Markup("Random: mean and spread (two standard deviations) of 20 drawn batches."))
    if curves.best:
        solved = data(len(curves.best), "count")
        parts.append(say("The best design is solved, and bounded, at {n} budgets.", n=solved))
    else:
        parts.append(Markup("The pool is too large to solve further budgets for this page."))
    return Markup(" ").join(parts)


def _conclusion(facts: Facts, curves: Curves, batches: list[dict[str, Any]]) -> Markup:
    if not batches:
        if not curves.best:
            return Markup("<b>What random pairs are predicted to reach.</b>")
        n, gap, _ = curves.best[len(curves.best) // 2]
        sentence = (
            "<b>{n} well-chosen pairs are predicted to do the work of {needs} random ones.</b>"
        )
        return say(sentence, n=data(n, "count"), needs=_about(curves.random_needs(gap)))
    last = batches[-1]
    if any(record.result.get("limits") for _, record in facts.batches):
        # The curve of random pairs knows no limits.
        return say(
            "<b>{n} picked {labels} to a predicted gap of {gap}.</b>",
            n=data(last["labels"], "count"),
            labels=plural(last["labels"], "label leads", "labels lead"),
            gap=data(last["gap"]),
        )
    needs = _about(curves.random_needs(last["gap"]))
    first = facts.batches[0][1].result
    # What a batch that learns from labels says that random needs is of another belief than the curve's.
    mine = len(facts.batches) == 1 and first["criterion"] not in LEARNING
    if mine and first["labels_random_would_need"]:
        needs = data(first["labels_random_would_need"], "count")
    return say(
        "<b>{n} picked {pairs} to a predicted gap of {gap}; random pairs alone would need "
        "{needs}.</b>",
        n=data(last["labels"], "count"),
        pairs=plural(last["labels"], "pair leads", "pairs lead"),
        gap=data(last["gap"]),
        needs=needs,
    )


def _about(needs: float | None) -> Cell:
    if needs is None:
        return "a number beyond this figure"
    return say("about {n}", n=data(float(f"{needs:.2g}"), "count"))


def _table(facts: Facts) -> Table:
    rows = []
    for name, record in facts.batches:
        r = record.result
        needs = r["labels_random_would_need"]
        rows.append(
            [
                say("{name}", name=name),
                r["criterion"],
                data(r["picked"], "count"),
                data(r["predicted_gap"]),
                Markup("–") if r["lower_bound"] is None else data(r["lower_bound"]),
                data(r["random_predicted_gap"]),
                Markup("–")
                if at_random(r) or (needs is None and r.get("limits"))
                else data(needs, "count")
                if needs
                else Markup("not reached"),
            ]
        )
    return Table(_HEAD, rows)


def next_selection(facts: Facts) -> str:
    """The command that picks a batch."""
    return f"whichpairs select --run {shlex.quote(str(facts.root))} --budget N"
