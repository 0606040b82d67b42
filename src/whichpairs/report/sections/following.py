"""The section on what to do next: the next command, and what the run says of going on."""

import shlex

from markupsafe import Markup

from whichpairs.report.data.facts import Facts
from whichpairs.report.data.whole_run import WholeRun
from whichpairs.report.page.format import data, how_many, say
from whichpairs.report.page.glossary import term
from whichpairs.report.page.parts import Section
from whichpairs.report.sections.headline import Against
from whichpairs.workflow.loop.standing import LEAST_CONTROLS

ID, TITLE = "next", "What to do next"
FLAT = 0.05
"""Twice the labels lower the gap by less than this share of what the first ones did: they buy little."""


def following(facts: Facts, against: Against) -> Section:
    """Advice, each sentence for a reason that the page shows."""
    lead = []
    if facts.waiting:
        n = how_many(facts.waiting, "picked pair")
        lead.append(say("Get {n} answered first: predictions count them as labelled.", n=n))
    lead += _as_good(against)
    if against.whole is not None:
        lead += _more_labels(against.whole)
    lead += _controls(facts)
    if facts.fits and not facts.evaluations and not facts.judgements:
        text = "Nothing is measured on held-out prompts yet: evaluate before you believe a gain."
        lead.append(Markup(text))
    return Section(ID, TITLE, lead, commands=[facts.next])


def _as_good(against: Against) -> list[Markup]:
    """Where random pairs do as well."""
    arm, whole = against.arm, against.whole
    if arm is not None and arm.ahead.low is not None:
        worse = arm.ahead.low <= 0
    else:
        found = whole is not None and not whole.at_random and whole.needs is not None
        worse = found and whole is not None and (whole.needs or 0) <= whole.labels
    if not worse:
        return []
    return [
        say(
            "{random} are as good here as far as this run shows: <code>select --criterion random</code> is "
            "the simpler choice for further labels. Other {features} may change that.",
            random=term("random pairs", "Random pairs"),
            features=term("features"),
        )
    ]


def _more_labels(whole: WholeRun) -> list[Markup]:
    """Whether labels still pay, by the curve of random pairs from the run's end on."""
    later = [(n, gap) for n, gap in whole.curve if n >= 1.8 * whole.labels]
    first = whole.curve[0][1].mean
    if not later or first <= 0:
        return []
    n, gap = later[0]
    now = min(whole.end.random.mean, first)
    saved = max(now - gap.mean, 0.0)
    words = "labels still pay"
    if saved < FLAT * first:
        words = "further labels buy little"
    return [
        say(
            "From {labels} to {n} random labels the predicted gap falls by {by}, to {to}: "
            + words
            + ".",
            labels=data(whole.labels, "count"),
            n=data(n, "count"),
            by=data(saved),
            to=data(gap.mean),
        )
    ]


def _controls(facts: Facts) -> list[Markup]:
    if not facts.fits or not facts.result.get("held_out_prompts"):
        return []
    held = facts.fitted[-1].held_labels
    if held >= LEAST_CONTROLS:
        return []
    return [
        say(
            "With {n} on {controls} nothing can be said of the fit: "
            "<code>whichpairs select --run {run} --budget N --controls 100</code>.",
            n=how_many(held, "label"),
            controls=term("control pairs"),
            run=shlex.quote(str(facts.root)),
        )
    ]
