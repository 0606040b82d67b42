"""The section on what the labels taught: the answers, how well they are foretold, what is still open."""

import math
import shlex

import numpy as np
from markupsafe import Markup

from whichpairs.design.estimate.bradley_terry import Quality
from whichpairs.report.charts import result_charts as panels
from whichpairs.report.data.answers import Answers, answers_of
from whichpairs.report.data.design_curves import Beginning
from whichpairs.report.data.facts import Facts
from whichpairs.report.data.pool_words import Direction, open_directions
from whichpairs.report.data.records import Fitted
from whichpairs.report.page.format import data, how_many, say
from whichpairs.report.page.glossary import term
from whichpairs.report.page.parts import Cell, Figure, Missing, Section, Table
from whichpairs.wording import plural
from whichpairs.workflow.loop.standing import LEAST_CONTROLS

ID, TITLE = "fit", "What the labels taught"
TELLING = 0.1
"""Answers that cannot tell a lean of this many (as a share) from none are too few to tell."""


def learned(facts: Facts, start: Beginning | None) -> Section:
    """Answers, agreement, accuracy and calibration on held-out prompts, directions still open.

    Args:
        start: where the designs began; None without their features.
    """
    run = shlex.quote(str(facts.root))
    if facts.fit is None:
        command = f"whichpairs fit --run {run}" if facts.labels else facts.next
        why = "Nothing has been fitted." if facts.labels else "There are no labels to fit."
        lead, tables = _answers(answers_of(facts.space.labels)) if facts.labels else ([], [])
        return Section(ID, TITLE, lead, tables=tables, missing=Missing(why, command))
    lead, tables = _answers(answers_of(facts.space.labels))
    latest = next(one for one in facts.fitted if one.name == facts.fit[0])
    shown = []
    if latest.held is None:
        lead.append(_unjudged(facts, latest.name))
    else:
        lead.append(_fit_lead(latest.name, latest.held))
        shown.append(_calibration(latest.held))
    tables.append(_fit_table(facts))
    if start is not None:
        tables += _open(facts, start)
    return Section(ID, TITLE, lead, shown, tables)


def _answers(found: Answers) -> tuple[list[Markup], list[Table]]:
    """Who answered, ties, order and agreement."""
    lead = [
        say(
            "{labels} by {who}; {ties} {are} a tie{bad}. {order}",
            labels=how_many(found.labels, "label"),
            who=how_many(len(found.by), "annotator"),
            ties=say("{n} of them", n=data(found.ties, "count")) if found.ties else "none of them",
            are="is" if found.ties < 2 else "are",
            bad=say(", of which {n} “both bad”", n=data(found.both_bad, "count"))
            if found.both_bad
            else "",
            order=_order(found),
        )
    ]
    tables = []
    if len(found.by) > 1:
        rows: list[list[Cell]] = [
            [say("{name}", name=who), data(n, "count")] for who, n in found.by.items()
        ]
        tables.append(Table(("Annotator", "Labels"), rows))
    if found.couples:
        lead.append(_agreement(found))
        rows = [
            [
                say("{a} and {b}", a=two.first, b=two.second),
                data(two.shared, "count"),
                data(two.same / two.shared, "percent"),
                Markup("too few") if two.kappa is None else data(two.kappa),
            ]
            for two in found.couples
        ]
        tables.append(
            Table(
                ("Who agrees", "Pairs of both", "Same answer", term("κ")), rows, title="Agreement"
            )
        )
    return lead, tables


def _order(found: Answers) -> Markup:
    first = found.first
    if first is None or first.low is None or first.high is None:
        return Markup("Which completion stood first is not known.")
    bias = term("position bias", "position bias")
    words = "no {bias} is seen"
    if first.low > 0.5 or first.high < 0.5:
        words = "a {bias}: order mattered"
    elif max(first.high - 0.5, 0.5 - first.low) > TELLING:
        words = "too few to tell a {bias}"
    return say(
        "A, the one shown first, won {share} of those decided ({low} … {high}): " + words + ".",
        share=data(first.mean, "percent"),
        low=data(first.low, "percent"),
        high=data(first.high, "percent"),
        bias=bias,
    )


def _agreement(found: Answers) -> Markup:
    shared = sum(two.shared for two in found.couples)
    same = sum(two.same for two in found.couples)
    sentence = "Where two answered the same pair, they said the same of {share}"
    if found.alpha is not None:
        sentence += " (Krippendorff’s α {alpha}; 1 is full agreement, 0 is chance)"
    return say(
        sentence + ".", share=data(same / shared, "percent"), alpha=data(found.alpha, "short")
    )


def _unjudged(facts: Facts, name: str) -> Markup:
    return say(
        "How well fit {name} predicts answers on held-out prompts is <b>unknown</b>: none of "
        "them has a label. Random control pairs give an honest answer: <code>whichpairs select "
        "--run {run} --budget N --controls 200</code>, then label and fit."
        + (
            ""
            if facts.result.get("held_out_prompts")
            else " This pool has no held-out prompts: import it into a new run with "
            "<code>--holdout 0.2</code>."
        ),
        name=name,
        run=shlex.quote(str(facts.root)),
    )


def _fit_lead(name: str, held: Quality) -> Markup:
    if held.labels < LEAST_CONTROLS:
        return say(
            "{n} {answers} of held-out prompts {are} too few to tell how well fit {name} predicts (at "
            "least {least} are needed).",
            n=data(held.labels, "count"),
            answers=plural(held.labels, "answer"),
            are=plural(held.labels, "is", "are"),
            name=name,
            least=data(LEAST_CONTROLS, "count"),
        )
    accuracy = held.accuracy
    decided = "" if accuracy is None else "names the preferred completion in {right} of them, "
    return say(
        "On {n} of held-out prompts, fit {name} " + decided + "with a log loss of {loss} "
        "(a coin: {coin})." + _no_better(held),
        n=how_many(held.labels, "answer"),
        name=name,
        right=data(accuracy, "percent"),
        loss=data(held.log_loss),
        coin=data(math.log(2.0)),
    )


def _no_better(held: Quality) -> str:
    """What is said where a coin could have done it."""
    if held.log_loss >= math.log(2.0):
        return " That is no better than a coin."
    near = 2.0 * math.sqrt(0.25 / held.labels)
    if held.accuracy is not None and held.accuracy - 0.5 <= near:
        return " A coin would often name as many: too few answers to tell."
    return ""


def _calibration(held: Quality) -> Figure:
    rows = held.calibration
    lean = sum((share - p) * math.copysign(1.0, p - 0.5) * n for p, share, n in rows)
    lean /= held.labels
    noise = math.sqrt(sum(n * p * (1.0 - p) for p, _, n in rows)) / held.labels
    caption = say(
        _lean(lean, 2 * noise, held.labels)
        + (" Mean distance from the line: {error}." if held.labels >= LEAST_CONTROLS else "")
        + " Whiskers are two standard errors; the size of a dot is its number of answers.",
        lean=data(abs(lean), "percent"),
        noise=data(2 * noise, "percent"),
        error=data(held.calibration_error),
        n=data(held.labels, "count"),
    )
    label = "Calibration on held-out prompts. " + str(caption.striptags())
    table = Table(
        ("Predicted P(A wins)", "A won", "Answers"),
        [
            [data(p, "percent"), data(share, "percent"), data(n, "count")]
            for p, share, n in held.calibration
        ],
    )
    return Figure(panels.calibration(rows, label), caption, table=table)


def _lean(lean: float, noise: float, answers: int) -> str:
    """Whether the answers lean, in words: a figure only where its interval does not hold 0."""
    few = answers < LEAST_CONTROLS or (abs(lean) <= noise and noise > TELLING)
    if few:
        return (
            "<b>Too few answers ({n}) to tell whether the fit is too sure or too timid:</b> a mean lean "
            "below {noise} would not show."
        )
    if abs(lean) <= noise:
        return "<b>Predictions and answers agree within noise</b> ({noise} on average)."
    way = "timid:</b> answers are more" if lean > 0 else "sure:</b> answers are less"
    side = "further from" if lean > 0 else "nearer to"
    return (
        f"<b>The fit is too {way} one-sided than it predicts. They are {side} ½ by {{lean}} "
        "(± {noise}) on average."
    )


def _fit_table(facts: Facts) -> Table:
    stale = {name for name, record in facts.fits if facts.stale(record)}
    rows: list[list[Cell]] = [
        [
            say("{name}{old}", name=one.name, old=" (older labels)" if one.name in stale else ""),
            data(one.labels, "count"),
            data(one.strength, "plain"),
            data(one.left_out),
            data(one.held_labels, "count"),
            *_held_out(one),
        ]
        for one in facts.fitted
    ]
    head = ("Fit", "Labels", "Prior ×", "Log loss, cross-validated", "Held-out labels")
    return Table((*head, "Accuracy", "Log loss"), rows)


def _held_out(one: Fitted) -> list[Cell]:
    """Accuracy and log loss on held-out prompts, where there are answers enough to say them."""
    if 0 < one.held_labels < LEAST_CONTROLS:
        return ["too few", "too few"]
    if one.held is None:
        return [data(None), data(None)]
    return [data(one.held.accuracy, "percent"), data(one.held.log_loss)]


def _open(facts: Facts, start: Beginning) -> list[Table]:
    """The directions in which most is still to be learnt, in words of the pool."""
    last = max(facts.space.batches, default=None)
    if last is None:
        return []
    worth = np.asarray(start.desk.gap.matrix)
    found = open_directions(facts.space.pool, start.desk.phi, start.learned(last), worth)
    rows: list[list[Cell]] = [
        [
            _end(one, one.more, one.lengths[0]),
            _end(one, one.less, one.lengths[1]),
            data(one.share, "percent"),
        ]
        for one in found
    ]
    head = ("Still open: completions with", "against completions with", "Share of what is open")
    return [Table(head, rows, words=True)] if rows else []


def _end(one: Direction, words: tuple[str, ...], length: int) -> Markup:
    """One end of a direction: its words, and its length where the two ends differ in it."""
    named = ", ".join(f"“{word}”" for word in words)
    long = max(one.lengths) > 1.5 * max(min(one.lengths), 1)
    size = say("about {n} characters", n=data(length, "count")) if long or not words else Markup("")
    parts = [say("{words}", words=named)] if words else []
    return Markup("; ").join([*parts, size] if size else parts)
