"""The section on batches: what each was predicted to be worth when it was picked."""

from markupsafe import Markup

from whichpairs.report.charts import run_charts as charts
from whichpairs.report.data.design_curves import Standpoint
from whichpairs.report.data.facts import Facts
from whichpairs.report.data.records import Batch
from whichpairs.report.page.format import data, say
from whichpairs.report.page.glossary import term
from whichpairs.report.page.parts import Cell, Figure, Missing, Section, Table

ID, TITLE = "budget", "Batch by batch, as predicted then"
_HEAD = (
    *("Batch", "Picked by", "Pairs", "Labels", "Gap before", "Predicted gap"),
    *("At random", "Random needs"),
)


def budget(facts: Facts, start: Standpoint | None) -> Section:
    """The section.

    Args:
        start: where a first batch would be picked from; None with a batch, or without features.
    """
    if facts.batches:
        return Section(ID, TITLE, _lead(facts), tables=[_table(facts.asked)])
    if start is None or start.desk.pairs.candidates < 1:
        return Section(ID, TITLE, missing=Missing(_no_curve(facts), facts.next))
    title = "What labels are predicted to buy"
    return Section(ID, title, [_meaning()], [_outlook(start)])


def _meaning() -> Markup:
    return say(
        "The {gap} is J of the best policy less J of the one fitted to the labels, in the mean over what was "
        "believed when a batch was picked: of the rewards, and of the answers to come.",
        gap=term("predicted gap"),
    )


def _lead(facts: Facts) -> list[Markup]:
    lead = [_meaning()]
    if len(facts.batches) > 1:
        lead.append(
            Markup(
                "Every batch is shown in its own place, as it was predicted then: random pairs would have "
                "stood in for it alone, after all batches before. Labels change what is believed, so a "
                "later batch may begin above or below where an earlier one was to end. The verdict at "
                "the top is on all of them together, by what is believed now."
            )
        )
    return lead


def _no_curve(facts: Facts) -> str:
    if facts.pool is None:
        return "There is no pool yet."
    if not facts.features:
        return "Predictions need features, and there are none yet."
    return "There is no candidate pair, or the features are of another pool."


def _outlook(start: Standpoint) -> Figure:
    size = 8 * start.desk.pairs.dim
    curves = start.curves((max(size // 8, 1), 8 * size), [size])
    caption = Markup("<b>What random pairs are predicted to reach.</b>")
    if curves.best:
        n, gap = curves.best[len(curves.best) // 2]
        sentence = (
            "<b>{n} well-chosen pairs are predicted to do the work of {needs} random ones.</b>"
        )
        caption = say(sentence, n=data(n, "count"), needs=_about(curves.random_needs(gap)))
    else:
        caption += Markup(" The pool is too large to solve designs for this page.")
    label = "Predicted gap against labels. " + str(caption.striptags())
    rows: list[list[Cell]] = [
        ["random pairs", data(n, "count"), data(gap)] for n, gap, _ in curves.random
    ]
    rows += [["best design", data(n, "count"), data(gap)] for n, gap in curves.best]
    return Figure(
        charts.outlook_curve(curves, label),
        caption,
        charts.outlook_curve(curves, label, narrow=True),
        Table(("Picked by", "Labels", "Predicted gap"), rows),
    )


def _about(needs: float | None) -> Cell:
    if needs is None:
        return "a number beyond this figure"
    return say("about {n}", n=data(float(f"{needs:.2g}"), "count"))


def _table(asked: list[Batch]) -> Table:
    rows: list[list[Cell]] = []
    for one in asked:
        gaps = (one.before, one.gap, one.random)
        rows.append(
            [
                say("{name}", name=one.name),
                one.criterion,
                data(one.picked, "count"),
                data(one.labels, "count"),
                *(Markup("–") if gap is None else data(gap) for gap in gaps),
                _needs(one),
            ]
        )
    return Table(_HEAD, rows, title="Batches")


def _needs(one: Batch) -> Cell:
    """Labels that random pairs in place of this batch are predicted to need."""
    if one.at_random:
        return "is random"
    if one.needs is None:
        return Markup("–") if one.limited else "not reached"
    if one.needs == one.labels:
        return say("{n}, as many", n=data(one.needs, "count"))
    return data(one.needs, "count")
