"""The sections on how the solve converged, and on how well the fit predicts."""

import json
import math
import shlex
from typing import Any

from markupsafe import Markup

from whichpairs.report.charts import result_charts as panels
from whichpairs.report.data.facts import Facts
from whichpairs.report.page.format import data, how_many, say
from whichpairs.report.page.parts import Cell, Figure, Missing, Section, Table
from whichpairs.report.sections.headline import at_random
from whichpairs.wording import plural
from whichpairs.workflow.loop.standing import LEAST_CONTROLS

SHOWN = 6
TELLING = 0.1
"""Answers that cannot tell a lean of this many (as a share) from none are too few to tell."""


def convergence(facts: Facts) -> Section:
    """Bound and batch value, pass by pass, of the latest batches."""
    found: list[Figure] = []
    for name, record in reversed(facts.batches):
        path = facts.root / "batches" / name / "passes.json"
        passes = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        if passes and len(found) < SHOWN:
            found.append(_passes(name, record.result, passes))
    if not found:
        why = "No batch has been picked by a solver (criterion adaptive, gap, d-optimal …)."
        command = f"whichpairs select --run {shlex.quote(str(facts.root))} --budget N"
        if facts.batches or facts.next.startswith("whichpairs select"):
            return Section("convergence", "Convergence", missing=Missing(why, command))
        return Section("convergence", "Convergence", missing=Missing(why, facts.next))
    lead = Markup(
        "Each pass over all candidate pairs improves the batch by its criterion and raises a bound "
        "that no batch of its size can beat, as far as the model holds. Where they meet, there is "
        "nothing left to find by that criterion. How many labels a batch saves is another question, "
        "and is answered by the predicted gap above."
    )
    return Section("convergence", "Convergence", [lead, *_projections(facts)], found)


def _projections(facts: Facts) -> list[Markup]:
    """A line for each feature set whose projection was measured."""
    return [
        say(
            "Features {name} are a projection to {dim} dimensions, which loses {loss} of what a "
            "design gains over random (against {larger} dimensions, on {prompts}).",
            name=name,
            dim=data(found["dim"], "count"),
            loss=data(found["loss"], "percent"),
            larger=data(found["larger_dim"], "count"),
            prompts=how_many(found["prompts"], "prompt"),
        )
        for name, found in facts.fidelity
    ]


def _passes(name: str, r: dict[str, Any], passes: list[dict[str, Any]]) -> Figure:
    volume, wary = r["criterion"] == "d-optimal", r["criterion"] == "adaptive"
    rows = [
        {
            "number": row["number"],
            "batch": row["batch"],
            "bound": row["bound"],
        }
        for row in passes
    ]
    caption = say(
        "<b>Batch {name}: {passes} {word}, {seconds} s.</b> It ends {share}.",
        name=name,
        passes=data(len(passes), "count"),
        word=plural(len(passes), "pass", "passes"),
        seconds=data(passes[-1]["seconds"], "short"),
        share=Markup("without a certificate")
        if r["certificate"] is None
        else say("at most {x} above the bound", x=data(r["certificate"], "percent"))
        if not volume
        else say("at most {x} from the best D-efficiency", x=data(r["certificate"], "percent")),
    )
    if r["regret_share"] is not None and not at_random(r):
        caption += say(
            " Of the distance in that value from a random batch to the bound, it closes {rest}.",
            rest=data(1.0 - r["regret_share"], "nearly"),
        )
    if wary:
        caption += Markup(
            " The passes look for the best batch if the model holds, and so for the bound; the "
            "large dot is the batch that was picked, warily and a part of it at random."
        )
    axis = "−log det M" if volume else "tr(W M⁻¹)"
    final = r.get("criterion_value")
    label = f"{axis} and its lower bound by pass. " + str(caption.striptags())
    return Figure(panels.convergence(f"passes-{name}", rows, final, axis, label), caption)


def fit(facts: Facts) -> Section:
    """Held-out accuracy, log loss and calibration of the fits."""
    run = shlex.quote(str(facts.root))
    if facts.fit is None:
        command = f"whichpairs fit --run {run}" if facts.labels else facts.next
        why = "Nothing has been fitted." if facts.labels else "There are no labels to fit."
        return Section("fit", "Fit", missing=Missing(why, command))
    name, record = facts.fit
    tables = [_fit_table(facts)]
    held = record.result["held_out"]
    if held is None:
        lead = say(
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
            run=run,
        )
        return Section("fit", "Fit", [lead], tables=tables)
    return Section("fit", "Fit", [_fit_lead(name, held)], [_calibration(held)], tables)


def _fit_lead(name: str, held: dict[str, Any]) -> Markup:
    if held["labels"] < LEAST_CONTROLS:
        return say(
            "{n} {answers} of held-out prompts {are} too few to tell how well fit {name} predicts (at "
            "least {least} are needed).",
            n=data(held["labels"], "count"),
            answers=plural(held["labels"], "answer"),
            are=plural(held["labels"], "is", "are"),
            name=name,
            least=data(LEAST_CONTROLS, "count"),
        )
    accuracy = held["accuracy"]
    decided = "" if accuracy is None else "names the preferred completion in {right} of them, "
    return say(
        "On {n} of held-out prompts, fit {name} " + decided + "with a log loss of {loss} "
        "(a coin: {coin})." + _no_better(held),
        n=how_many(held["labels"], "answer"),
        name=name,
        right=data(accuracy, "percent"),
        loss=data(held["log_loss"]),
        coin=data(math.log(2.0)),
    )


def _no_better(held: dict[str, Any]) -> str:
    """What is said where a coin could have done it."""
    if held["log_loss"] >= math.log(2.0):
        return " That is no better than a coin."
    near = 2.0 * math.sqrt(0.25 / held["labels"])
    if held["accuracy"] is not None and held["accuracy"] - 0.5 <= near:
        return " A coin would often name as many: too few answers to tell."
    return ""


def _calibration(held: dict[str, Any]) -> Figure:
    rows = held["calibration"]
    lean = sum((share - p) * math.copysign(1.0, p - 0.5) * n for p, share, n in rows)
    lean /= held["labels"]
    noise = math.sqrt(sum(n * p * (1.0 - p) for p, _, n in rows)) / held["labels"]
    caption = say(
        _lean(lean, 2 * noise, held["labels"])
        + (" Mean distance from the line: {error}." if held["labels"] >= LEAST_CONTROLS else "")
        + " Whiskers are two standard errors; the size of a dot is its number of answers.",
        lean=data(abs(lean), "percent"),
        noise=data(2 * noise, "percent"),
        error=data(held["calibration_error"]),
        n=data(held["labels"], "count"),
    )
    label = "Calibration on held-out prompts. " + str(caption.striptags())
    return Figure(panels.calibration(rows, label), caption)


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
    rows: list[list[Cell]] = []
    for name, record in facts.fits:
        r = record.result
        rows.append(
            [
                say("{name}{old}", name=name, old=" (older labels)" if facts.stale(record) else ""),
                data(r["labels"], "count"),
                data(r["prior_strength"], "plain"),
                data(r["cv_log_loss"]),
                data(r["held_out_labels"], "count"),
                *_held_out(r),
            ]
        )
    head = ("Fit", "Labels", "Prior ×", "Log loss, cross-validated", "Held-out labels")
    return Table((*head, "Accuracy", "Log loss"), rows)


def _held_out(r: dict[str, Any]) -> list[Cell]:
    """Accuracy and log loss on held-out prompts, where there are answers enough to say them."""
    if 0 < r["held_out_labels"] < LEAST_CONTROLS:
        return ["too few", "too few"]
    return [data(r.get("held_out_accuracy"), "percent"), data(r.get("held_out_log_loss"))]
