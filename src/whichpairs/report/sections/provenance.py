"""The section on how a run was made: settings, fingerprints, versions, and commands to repeat it."""

import json

from markupsafe import Markup

from whichpairs.report.data.applied import applied
from whichpairs.report.data.commands import commands
from whichpairs.report.data.facts import KINDS, Facts
from whichpairs.report.data.records import Found
from whichpairs.report.page.format import data, say
from whichpairs.report.page.parts import Section, Table
from whichpairs.run.folder import Record


def made(facts: Facts) -> Section:
    """Versions, seeds, settings, fingerprints, commands."""
    records = [("pool", facts.pool)] if facts.pool else []
    for kind in KINDS:
        records += [(f"{kind} {name}", record) for name, record in getattr(facts, kind)]
    software = "; ".join(f"{name} {', '.join(v)}" for name, v in _versions(records).items())
    about = Table(
        ("Run", ""),
        [
            ["folder", say("<code>{path}</code>", path=str(facts.root))],
            ["β, the KL weight", data(facts.space.run.beta, "plain")],
            ["seed", str(facts.space.run.seed)],
            ["software", software],
        ],
        words=True,
    )
    stages = [
        [name, _when(record), _listed(applied(name.partition(" ")[0], record)), _prints(record)]
        for name, record in records
    ]
    tables = [about, Table(("What", "When, UTC", "Settings", "Fingerprints"), stages, words=True)]
    if not stages:
        tables = [about]
    return Section("made", "How this was made", tables=tables, commands=commands(facts.space))


def _versions(records: list[tuple[str, Record]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for _, record in records:
        for name, version in record.versions.items():
            known = found.setdefault(name, [])
            known += [] if version in known else [version]
    return found


def _when(record: Record) -> str:
    return record.created.replace("T", " ").removesuffix("Z")


def _prints(record: Record) -> Markup:
    """Fingerprints of what was read, and of what came out."""
    own = {"itself": record.result["fingerprint"]} if "fingerprint" in record.result else {}
    lines = [
        say("{name} <code>{value}</code>", name=name, value=_plain(value))
        for name, value in {**own, **record.inputs}.items()
    ]
    return Markup("<br>").join(lines)


def _listed(settings: Found) -> Markup:
    """``budget 1000, criterion gap``; what was left open is left out."""
    pairs = [
        say("{name}\u00a0<b>{value}</b>", name=name.replace("_", " "), value=_plain(value))
        for name, value in _flat(settings).items()
        if value is not None and value != []
    ]
    return Markup(", ").join(pairs)


def _flat(settings: Found) -> Found:
    found: dict[str, object] = {}
    for name, value in settings.items():
        found |= (
            {f"{name}.{k}": v for k, v in value.items()}
            if isinstance(value, dict)
            else {name: value}
        )
    return found


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
