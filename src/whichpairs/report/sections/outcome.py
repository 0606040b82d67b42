"""The section on predictions: what each fit foretold of answers it had not seen, and what came."""

import shlex

from markupsafe import Markup

from whichpairs.report.charts import result_charts as panels
from whichpairs.report.data.facts import Facts
from whichpairs.report.data.records import Fitted, Foretold
from whichpairs.report.page.format import data, how_many, say
from whichpairs.report.page.glossary import term
from whichpairs.report.page.parts import Cell, Figure, Missing, Section, Table
from whichpairs.workflow.loop.standing import LEAST_CONTROLS

ID, TITLE = "outcome", "Predictions and what came of them"


def outcome(facts: Facts) -> Section:
    """Log loss on control labels, fit by fit."""
    told = [one for one in facts.fitted if one.foretold is not None]
    if not told:
        run = shlex.quote(str(facts.root))
        command = f"whichpairs select --run {run} --budget N --controls 100"
        why = (
            "Predictions are judged by control pairs of held-out prompts, and no fit has seen their labels "
            "yet."
        )
        return Section(ID, TITLE, missing=Missing(why, command if facts.fits else facts.next))
    lead = say(
        "What a fit believes foretells how surprised it will be by the answers to {controls}: its {loss}. "
        "They were not fitted; later fits are judged by more of them. {latest}",
        controls=term("control pairs"),
        loss=term("log loss"),
        latest=_latest(told[-1]),
    )
    return Section(ID, TITLE, [lead], [_picture(told)])


def _latest(one: Fitted) -> Markup:
    told = one.foretold
    assert told is not None
    if told.controls < LEAST_CONTROLS:
        few = how_many(told.controls, "control label")
        return say("{few} are too few to tell how far to trust the latest.", few=few)
    if told.error is None:
        return Markup("All control labels are of one prompt: there is no telling.")
    words = "as foretold, as far as {n} can tell"
    if abs(_z(told)) > 2.0:
        words = "worse than foretold" if told.found > told.predicted else "better than foretold"
        words += " by more than chance: take predictions with care"
    return say(
        "The latest: foretold {predicted}, found {found} (± {error}): " + words + ".",
        predicted=data(told.predicted),
        found=data(told.found),
        error=data(2.0 * told.error, "short"),
        n=how_many(told.controls, "control label"),
    )


def _z(told: Foretold) -> float:
    return (told.found - told.predicted) / max(told.error or 0.0, 1e-12)


def _picture(told: list[Fitted]) -> Figure:
    caption = Markup(
        "<b>Log loss on control labels: foretold (rings) and found (dots).</b> Whiskers are two standard "
        "errors over prompts."
    )
    label = "Log loss on control labels by fit. " + str(caption.striptags())
    rows: list[list[Cell]] = []
    for one in told:
        found = one.foretold
        assert found is not None
        rows.append(
            [
                f"fit {one.name}",
                data(one.labels, "count"),
                data(found.controls, "count"),
                data(found.predicted),
                data(found.found),
                data(None if found.error is None else 2.0 * found.error, "short"),
            ]
        )
    head = ("Fit", "Labels", "Control labels", "Foretold", "Found", "±")
    return Figure(panels.foretold(told, label), caption, table=Table(head, rows))
