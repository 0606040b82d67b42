"""The section on the certificate: how well each batch minimises its own criterion, said once."""

import json
import shlex

from markupsafe import Markup

from whichpairs.report.charts import result_charts as panels
from whichpairs.report.data.facts import Facts
from whichpairs.report.data.records import Batch, Pass, passes_of
from whichpairs.report.page.format import data, how_many, say
from whichpairs.report.page.glossary import term
from whichpairs.report.page.parts import Cell, Figure, Missing, Section, Table
from whichpairs.wording import plural
from whichpairs.workflow.select.batch import BEST

ID, TITLE = "convergence", "The certificate"


def convergence(facts: Facts) -> Section:
    """The certificates of all batches, and bound and value pass by pass of the latest that was solved."""
    solved = [(one, passes) for one in facts.asked if (passes := _passes(facts, one))]
    if not solved:
        why = "No batch has been picked by a solver (criterion adaptive, gap, d-optimal …)."
        command = f"whichpairs select --run {shlex.quote(str(facts.root))} --budget N"
        plain = facts.batches or facts.next.startswith("whichpairs select")
        lead = [_certificate(facts.asked[-1])] if facts.batches else []
        missing = Missing(why, command if plain else facts.next)
        return Section(ID, TITLE, lead, missing=missing)
    latest, passes = solved[-1]
    lead = [
        say(
            "A {certificate} says how far, at most, a batch is above the least value of its own "
            "criterion that any batch can have. {latest} That is how well a criterion was solved, and "
            "not how many labels it saves.",
            certificate=term("certificate"),
            latest=_certificate(latest),
        ),
        *projections(facts),
    ]
    table = [_table(facts.asked)] if len(facts.batches) > 1 else []
    return Section(ID, TITLE, lead, [_picture(latest, passes)], table)


def _passes(facts: Facts, one: Batch) -> list[Pass]:
    path = facts.root / "batches" / one.name / "passes.json"
    return passes_of(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else []


def _certificate(one: Batch) -> Markup:
    if one.certificate is None:
        why = (
            "its lower bound is not above 0 yet (more --passes)"
            if one.criterion in ("adaptive", "gap", *BEST)
            else "this criterion has none"
        )
        return say("Batch {name} has none: {why}.", name=one.name, why=why)
    own = BEST.get(one.criterion)
    which = "within its limits" if one.limited else "of its size"
    share = data(one.certificate, "percent")
    if own:
        sentence = "Batch {name} is at most {share} from the {own}."
        return say(sentence, name=one.name, share=share, own=own)
    sentence = (
        "{holds} criterion of batch {name} is at most {share} above the least that any batch "
    )
    sentence += "{which} can have"
    if one.criterion == "adaptive":
        sentence += f" (what {'chance' if one.at_random else 'caution'} costs included)"
    holds = "If the model holds, the" if one.criterion == "adaptive" else "The"
    return say(sentence + ".", name=one.name, share=share, which=which, holds=holds)


def _table(asked: list[Batch]) -> Table:
    rows: list[list[Cell]] = [
        [
            say("{name}", name=one.name),
            one.criterion,
            Markup("none") if one.certificate is None else data(one.certificate, "percent"),
        ]
        for one in asked
    ]
    return Table(("Batch", "Criterion", "At most above the best"), rows, title="Certificates")


def projections(facts: Facts) -> list[Markup]:
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


def _picture(one: Batch, passes: list[Pass]) -> Figure:
    volume = one.criterion == "d-optimal"
    caption = say(
        "<b>Batch {name}: {passes} {word}, {seconds} s.</b>",
        name=one.name,
        passes=data(len(passes), "count"),
        word=plural(len(passes), "pass", "passes"),
        seconds=data(passes[-1].seconds, "short"),
    )
    if one.regret_share is not None and not one.at_random:
        caption += say(
            " Of the distance in that value from a random batch to the bound, it closes {rest}.",
            rest=data(1.0 - one.regret_share, "nearly"),
        )
    if one.criterion == "adaptive":
        caption += Markup(
            " The passes look for the best batch if the model holds, and so for the bound; the "
            "large dot is the batch that was picked, warily and a part of it at random."
        )
    axis = "−log det M" if volume else "tr(W M⁻¹)"
    label = f"{axis} and its lower bound by pass. " + str(caption.striptags())
    rows: list[list[Cell]] = [
        [
            data(row.number, "count"),
            data(row.batch),
            Markup("none yet") if row.bound is None else data(row.bound),
        ]
        for row in passes
    ]
    svg = panels.convergence("passes", passes, one.value, axis, label)
    return Figure(svg, caption, table=Table(("Pass", "Batch", "Lower bound"), rows))
