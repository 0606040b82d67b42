"""The section on budgets: predicted gap against labels, for random pairs and for designs."""

import shlex
from typing import Any

from markupsafe import Markup

from whichpairs.report.charts import design_charts as figures
from whichpairs.report.data.design_curves import Curves, Standpoint
from whichpairs.report.data.facts import Facts
from whichpairs.report.page.format import data, say
from whichpairs.report.page.parts import Cell, Figure, Missing, Section, Table
from whichpairs.report.sections.headline import at_random
from whichpairs.wording import plural
from whichpairs.workflow.select.batch_result import labels_of, predicted

ID, TITLE = "budget", "Budget and predicted gap"
_HEAD = ("Batch", "Picked by", "Pairs", "Gap before", "Predicted gap", "At random", "Random needs")


def budget(facts: Facts, start: Standpoint | None) -> Section:
    """The section.

    Args:
        start: where the latest batch was picked from; None without its features.
    """
    if not facts.batches and (
        facts.pool is None or start is None or start.desk.pairs.candidates < 1
    ):
        return Section(ID, TITLE, missing=Missing(_no_curve(facts), facts.next))
    tables = [_table(facts)] if facts.batches else []
    lead = [
        Markup(
            "The gap is J of the best policy less J of the one fitted to the labels. Predicted, it is "
            "the mean over what was believed when a batch was picked: of the rewards, and of the answers "
            "to come. It holds as far as preferences follow the model; held-out prompts are the judge "
            "of that."
        )
    ]
    if len(facts.batches) > 1:
        lead.append(
            Markup(
                "Every batch is shown as it was predicted then. Labels change what is believed, so a "
                "later batch may begin above or below where an earlier one was to end; the curves are "
                "of the belief before the latest."
            )
        )
    shown = []
    if start is None:
        lead.append(_gone())
    else:
        shown = [_figure(facts, start, _on_curve(facts))]
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


def _on_curve(facts: Facts) -> list[dict[str, Any]]:
    """The batches as they were predicted, by the labels asked up to each."""
    total, found = 0, []
    for name, record in facts.batches:
        total += labels_of(record.result)
        gaps = predicted(record.result)
        if gaps["predicted_gap"] is None:
            continue
        random = None if at_random(record.result) else gaps["random_predicted_gap"]
        found.append(
            {"name": name, "labels": total, "gap": gaps["predicted_gap"], "random": random}
        )
    return found


def _figure(facts: Facts, start: Standpoint, batches: list[dict[str, Any]]) -> Figure:
    size = labels_of(facts.batches[-1][1].result) if facts.batches else 8 * start.desk.pairs.dim
    curves = start.curves((max(size // 8, 1), 8 * size), [size])
    caption = _caption(facts, curves, batches)
    label = "Predicted gap against labels. " + str(caption.striptags())
    return Figure(
        figures.budget_curve(curves, batches, label),
        caption,
        figures.budget_curve(curves, batches, label, narrow=True),
    )


def _caption(facts: Facts, curves: Curves, batches: list[dict[str, Any]]) -> Markup:
    parts = [_conclusion(facts, curves, batches)]
    if any(b["random"] is not None for b in batches):
        parts.append(Markup("Rings: random pairs in place of that batch."))
    parts.append(
        Markup("Random: mean over drawn batches, and two standard errors of the forecast.")
    )
    if curves.best:
        solved = data(len(curves.best), "count")
        parts.append(say("The best design is solved at {n} budgets.", n=solved))
    else:
        parts.append(Markup("The pool is too large to solve further budgets for this page."))
    return Markup(" ").join(parts)


def _conclusion(facts: Facts, curves: Curves, batches: list[dict[str, Any]]) -> Markup:
    if not batches:
        if not curves.best:
            return Markup("<b>What random pairs are predicted to reach.</b>")
        n, gap = curves.best[len(curves.best) // 2]
        sentence = (
            "<b>{n} well-chosen pairs are predicted to do the work of {needs} random ones.</b>"
        )
        return say(sentence, n=data(n, "count"), needs=_about(curves.random_needs(gap)))
    last, latest = batches[-1], facts.batches[-1][1].result
    sentence = "<b>{n} picked {pairs} to a predicted gap of {gap}"
    if last["random"] is not None:
        sentence += "; a random batch in place of the latest, to {random}"
    return say(
        sentence + ".</b>",
        n=data(last["labels"], "count"),
        pairs=plural(last["labels"], "label leads", "labels lead"),
        gap=data(last["gap"]),
        random=None if last["random"] is None else data(latest["random_predicted_gap"]),
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
                *(Markup("–") if gap is None else data(gap) for gap in predicted(r).values()),
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
