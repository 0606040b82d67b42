"""`whichpairs label`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whichpairs.cli.options.common import BetaOption, JsonOption, RunOption, show
from whichpairs.cli.options.from_settings import Options, with_settings
from whichpairs.cli.options.unread import given, refuse_unread, say_idle
from whichpairs.cli.progress import Bars
from whichpairs.endpoint.settings import OF_A_SERVER
from whichpairs.errors import UserError
from whichpairs.setting import SEED, Setting

if TYPE_CHECKING:
    from whichpairs.run.once import Outcome
    from whichpairs.workflow.label.settings import JudgeSettings


@dataclass(frozen=True)
class Answers:
    """Where the answers come from, unless a language model judges."""

    simulate: Annotated[str | None, Setting("Answer by this score: P = σ((s_A − s_B) / T).")] = None
    temperature: Annotated[float, Setting("T, in units of the score.", read_by=("--simulate",))] = (
        1.0
    )
    from_: Annotated[
        Path | None,
        Setting("File of pair_id and choice (a, b, tie), JSONL or CSV …", flags=("--from",)),
    ] = None
    from_drawer: Annotated[bool, Setting("Answer by the labels kept back at import.")] = False
    annotator: Annotated[str, Setting("Who answered, for --from.", read_by=("--from",))] = "file"
    label_map: Annotated[
        str | None,
        Setting(
            "For --from, what choices mean: VALUE=a,VALUE=b,VALUE=tie or skip.",
            read_by=("--from",),
        ),
    ] = None
    replace: Annotated[
        bool,
        Setting("For --from: let answers supersede their annotator's own.", read_by=("--from",)),
    ] = False
    seed: Annotated[
        int | None, Setting(SEED.help, low=0, after="beta", read_by=("--simulate",))
    ] = None

    @property
    def ways(self) -> list[str]:
        """Those that the user chose."""
        found = {
            "--simulate": self.simulate,
            "--from": self.from_,
            "--from-drawer": self.from_drawer or None,
        }
        return [name for name, value in found.items() if value is not None]


@with_settings(
    answers=Options(Answers),
    judge=Options("whichpairs.workflow.label.settings:JudgeSettings", optional=True),
)
def command(
    context: typer.Context,
    run: RunOption,
    answers: Answers,
    judge: "JudgeSettings | None",
    beta: BetaOption = None,
    json_: JsonOption = False,
) -> None:
    """Label the picked pairs: simulated, from a file, from the drawer, or by a language model."""
    from whichpairs.workflow.label.settings import JudgeSettings
    from whichpairs.workflow.label.stage import label_judged

    chosen = answers.ways + (["--judge"] if judge else [])
    if len(chosen) != 1:
        raise UserError(
            "label takes one of --simulate COLUMN, --from FILE, --from-drawer and --judge URL",
            f"got {' and '.join(chosen) or 'none'}",
        )
    options = given(context)
    refuse_unread(options, Answers, chosen)
    refuse_unread(options, JudgeSettings, chosen)
    if judge is not None:
        with Bars(quiet=json_) as bars:
            outcome = label_judged(run, judge, beta=beta, progress=bars)
    else:
        outcome = _answered(run, answers, beta, named="annotator" in options)
    show(say_idle(outcome, options, OF_A_SERVER), json_)


def _answered(run: Path, answers: Answers, beta: float | None, *, named: bool) -> "Outcome":
    """Answers that are there, or drawn; `named`: the user said who answered."""
    from whichpairs.workflow.label import stage

    if answers.from_ is not None:
        return stage.label_from_file(
            run,
            answers.from_,
            annotator=answers.annotator if named else None,
            label_map=answers.label_map,
            replace=answers.replace,
            beta=beta,
        )
    if answers.simulate is None:
        return stage.label_from_drawer(run, beta=beta)
    return stage.label_simulated(
        run, answers.simulate, temperature=answers.temperature, seed=answers.seed, beta=beta
    )
