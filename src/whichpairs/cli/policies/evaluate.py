"""`whichpairs evaluate`."""

from typing import TYPE_CHECKING

import typer

from whichpairs.cli.options.common import BetaOption, JsonOption, RunOption, show
from whichpairs.cli.options.from_settings import with_settings
from whichpairs.cli.options.unread import given, refuse, refuse_unread, say_idle
from whichpairs.cli.progress import Bars

if TYPE_CHECKING:
    from whichpairs.workflow.evaluate.settings import EvaluateSettings

WAYS = ("score", "reward", "judge", "perplexity", "tasks")


@with_settings(settings="whichpairs.workflow.evaluate.settings:EvaluateSettings")
def command(
    context: typer.Context,
    run: RunOption,
    settings: "EvaluateSettings",
    beta: BetaOption = None,
    json_: JsonOption = False,
) -> None:
    """Reward, KL and J on held-out prompts, a judge's win rate, or what training cost."""
    from whichpairs.workflow.evaluate.settings import EvaluateSettings
    from whichpairs.workflow.evaluate.stage import evaluate_run

    options = given(context)
    refuse_unread(options, EvaluateSettings, [f"--{n}" for n in WAYS if getattr(settings, n)])
    if "text_column" in options and str(settings.perplexity).lower().endswith(".txt"):
        refuse(options, {"text_column": ("a file with columns",)}, ["a .txt of lines"])
    with Bars(quiet=json_) as bars:
        outcome = evaluate_run(run, settings, beta=beta, progress=bars)
    show(say_idle(outcome, options), json_)
