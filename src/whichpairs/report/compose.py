"""The page of a run as one HTML text: every section in its place, every strange text escaped."""

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from whichpairs.report.data.design_curves import Beginning, beginning, standpoint, whole_choice
from whichpairs.report.data.effort import Prices, effort
from whichpairs.report.data.facts import Facts, gather
from whichpairs.report.data.random_arm import random_arm
from whichpairs.report.data.whole_run import whole_run
from whichpairs.report.page.format import data, how_many, say, visible
from whichpairs.report.page.glossary import GLOSSARY, anchor, term
from whichpairs.report.page.parts import Section
from whichpairs.report.sections.budget import budget
from whichpairs.report.sections.following import following
from whichpairs.report.sections.gains import gained
from whichpairs.report.sections.headline import Against, verdict
from whichpairs.report.sections.learned import learned
from whichpairs.report.sections.outcome import outcome
from whichpairs.report.sections.picked import picked
from whichpairs.report.sections.provenance import made
from whichpairs.report.sections.solve import convergence
from whichpairs.report.sections.worth import CLASSES


@dataclass(frozen=True)
class Page:
    """The page as text, and its sections."""

    html: str
    sections: list[Section]


def compose(run: Path, beta: float | None = None, prices: Prices | None = None) -> Page:
    """The page of the run at `run`; reads only.

    Args:
        prices: what the user said of a label's price and time.

    Raises:
        UserError: no run is there, it has another β, or a file of it is broken.
    """
    facts = gather(run, beta)
    against = Against(whole_run(facts), random_arm(facts), effort(facts, prices or Prices()))
    sections = _sections(facts, against)
    head = verdict(facts, against)
    html = (
        _environment()
        .get_template("page.html.j2")
        .render(
            facts=facts,
            about=_about(facts),
            verdict=head,
            evidence=CLASSES[head.worth.kind],
            sections=sections,
            next=facts.next,
            glossary=[(anchor(word), word, text) for word, text in GLOSSARY.items()],
        )
    )
    return Page(html, sections)


def _sections(facts: Facts, against: Against) -> list[Section]:
    start = _start(facts)
    found = whole_choice(facts.space, start) if facts.batches else None
    ready = facts.pool and facts.features and not facts.batches
    return [
        picked(facts, start, found),
        budget(facts, standpoint(facts.space, None) if ready else None),
        convergence(facts),
        learned(facts, start),
        outcome(facts),
        gained(facts),
        following(facts, against),
        made(facts),
    ]


def _start(facts: Facts) -> Beginning | None:
    """Where the designs began, by the features of the latest batch."""
    if not facts.batches:
        return None
    return beginning(facts.space, facts.batches[-1][1])


def _environment() -> Environment:
    """Autoescape for markup, `visible` for characters that a browser would hide or act upon."""

    def shown(value: object) -> object:
        plain = isinstance(value, str) and not isinstance(value, Markup)
        return visible(str(value)) if plain else value

    return Environment(
        loader=PackageLoader("whichpairs.report.page", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _about(facts: Facts) -> Markup:
    """One line on the pool."""
    if facts.pool is None:
        return Markup("This run has no pool yet.")
    r = facts.result
    return say(
        "{completions} of {prompts}, {held} of them {out}; β = {beta}",
        completions=how_many(r["completions"], "completion"),
        prompts=how_many(r["prompts"], "prompt"),
        held=data(r["held_out_prompts"], "count"),
        out=term("held out"),
        beta=data(facts.space.run.beta, "plain"),
    )
