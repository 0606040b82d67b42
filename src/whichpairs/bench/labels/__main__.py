"""Labelling, measured: `make bench-labels`."""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from whichpairs.bench.labels import postgres
from whichpairs.bench.labels.load import Load, Speed, speed, under_kills
from whichpairs.bench.labels.page import figures, milliseconds, page
from whichpairs.bench.labels.screen import hostility, knocks, looks, watched
from whichpairs.bench.markdown import About, write_page

MEASURES = ("whichpairs.bench.labels.load", "whichpairs.bench.labels.screen")
"""Where the measuring of this page begins."""


def main() -> None:
    """Measure, print the figures, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, a minute")
    parser.add_argument("--results", type=Path, default=None)
    settings = parser.parse_args()
    answers, kills, pairs, seconds = (
        (1000, 3, 5000, 8.0) if settings.quick else (5000, 10, 100_000, 40.0)
    )
    began, load = time.perf_counter(), os.getloadavg()[2]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def room(what: str) -> Path:
            print(f"{time.perf_counter() - began:6.0f} s  {what}", flush=True)
            (folder / what).mkdir()
            return folder / what

        loads = _loads(room, answers, kills)
        times: list[Speed] = speed(room("speed"), pairs, seconds, 1.0, watched)
        hostile, seen = (
            hostility(room("hostile")),
            looks(room("looks"), 40 if settings.quick else 100),
        )
        refused = knocks(room("knocks"))
    found = figures(loads, times, hostile, seen, refused)
    for one in found:
        print(one.name, one.as_json())
    facts = {
        "quick": settings.quick,
        "load_before": load,
        "seconds": round(time.perf_counter() - began, 1),
        "loads": [asdict(one) for one in loads],
        "pairs": pairs,
        "milliseconds": milliseconds(times),
        "hostile": asdict(hostile),
        "axe": {"pages": seen.pages, "findings": seen.findings},
        "refused": asdict(refused),
    }
    if settings.results is not None:
        about = About("make bench-labels" + " QUICK=--quick" * settings.quick, MEASURES)
        write_page(settings.results, "labels", about, found, facts, page(found, facts))


def _loads(room: Callable[[str], Path], answers: int, kills: int) -> list[Load]:
    """On SQLite, and on PostgreSQL where its server is here."""
    loads = [under_kills(room("SQLite"), "SQLite", answers, kills)]
    if not postgres.missing():
        with postgres.server() as url:
            loads.append(under_kills(room("PostgreSQL"), "PostgreSQL", answers, kills, url))
    return loads


if __name__ == "__main__":
    main()
