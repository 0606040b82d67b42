"""`whichpairs bench`."""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from whichpairs.cli.options.common import JsonOption, show
from whichpairs.cli.options.from_settings import with_settings
from whichpairs.cli.progress import Bars

if TYPE_CHECKING:
    from whichpairs.bench.robustness.settings import BenchSettings


@with_settings(settings="whichpairs.bench.robustness.settings:BenchSettings")
def command(settings: "BenchSettings", json_: JsonOption = False) -> None:
    """Compare selection methods where the truth is known: regret, labels saved, harm."""
    from whichpairs.bench.robustness.stage import bench

    settings = replace(settings, command=" ".join(["whichpairs", *sys.argv[1:]]))
    with Bars(quiet=json_) as bars:
        outcome = bench(settings, progress=bars)
    show(outcome, json_)
