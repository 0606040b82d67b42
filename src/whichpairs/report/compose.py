"""The page of a run as one HTML text: every section in its place, every strange text escaped."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from whichpairs.report.data.design_curves import Beginning, standpoint
from whichpairs.report.data.facts import Facts, gather
from whichpairs.report.page.format import data, how_many, say, visible
from whichpairs.report.page.parts import Section
from whichpairs.report.sections.budget import budget
from whichpairs.report.sections.gains import gained
from whichpairs.report.sections.headline import verdict
from whichpairs.report.sections.picked import picked
from whichpairs.report.sections.provenance import made
from whichpairs.report.sections.quality import convergence, fit


@dataclass(frozen=True)
class Page:
    """The page as text, and its sections."""

    html: str
    sections: list[Section]


def compose(run: Path, beta: float | None = None) -> Page:
    """The page of the run at `run`; reads only.

    Raises:
        UserError: no run is there, it has another β, or a file of it is broken.
    """
    facts = gather(run, beta)
    starts: dict[tuple[Any, Any], Beginning | None] = {}
    latest = facts.batches[-1] if facts.batches else None
    stood = standpoint(facts.space, latest) if facts.pool and facts.features else None
    sections = [
        budget(facts, stood),
        picked(facts, starts),
        convergence(facts),
        fit(facts),
        gained(facts),
        made(facts),
    ]
    template = _environment().get_template("page.html.j2")
    html = template.render(
        facts=facts, about=_about(facts), verdict=verdict(facts), sections=sections, next=facts.next
    )
    return Page(html, sections)


def _environment() -> Environment:
    """Autoescape for markup, `visible` for characters that a browser would hide or act upon."""

    def shown(value: Any) -> Any:
        plain = isinstance(value, str) and not isinstance(value, Markup)
        return visible(value) if plain else value

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
        "{completions} of {prompts}, {held} of them held out; β = {beta}",
        completions=how_many(r["completions"], "completion"),
        prompts=how_many(r["prompts"], "prompt"),
        held=data(r["held_out_prompts"], "count"),
        beta=data(facts.space.run.beta, "plain"),
    )
