"""`whichpairs features`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from whichpairs.cli.options.common import BetaOption, JsonOption, ReplaceOption, RunOption, show
from whichpairs.cli.options.from_settings import Options, with_settings
from whichpairs.cli.options.unread import given, refuse_unread, say_idle
from whichpairs.cli.progress import Bars

if TYPE_CHECKING:
    from whichpairs.workflow.features.settings import FeatureSettings


def _check(options: Mapping[str, str], values: Mapping[str, Any]) -> None:
    """Refuse what the method does not read."""
    from whichpairs.workflow.features.settings import METHODS, FeatureSettings

    if values["method"] in METHODS:
        refuse_unread(options, FeatureSettings, [values["method"]])


@with_settings(
    settings=Options("whichpairs.workflow.features.settings:FeatureSettings", before=_check)
)
def command(
    context: typer.Context,
    run: RunOption,
    settings: "FeatureSettings",
    replace: ReplaceOption = False,
    beta: BetaOption = None,
    json_: JsonOption = False,
) -> None:
    """Turn completions into vectors."""
    from whichpairs.workflow.features.stage import compute_features

    with Bars(quiet=json_) as bars:
        outcome = compute_features(run, settings, replace=replace, beta=beta, progress=bars)
    show(say_idle(outcome, given(context)), json_)
