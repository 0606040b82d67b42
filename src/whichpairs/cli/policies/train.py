"""`whichpairs train`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from whichpairs.cli.options.common import BetaOption, JsonOption, RunOption, show
from whichpairs.cli.options.from_settings import Options, with_settings
from whichpairs.cli.options.teach import TEACH, check_teach
from whichpairs.cli.options.unread import add_line, given, say_idle
from whichpairs.cli.progress import Bars
from whichpairs.lm.settings import DEVICE
from whichpairs.setting import SEED, Setting
from whichpairs.wording import counted

if TYPE_CHECKING:
    from whichpairs.train.settings import DPOSettings, TeachSettings


@dataclass(frozen=True)
class Terms:
    """What `train_policy` is told beside how to train."""

    save_every: Annotated[
        int, Setting("Steps between checkpoints, for a killed call; 0 is off.")
    ] = 500
    log_to: Annotated[str, Setting("none, tensorboard or wandb.")] = "none"
    device: Annotated[str, DEVICE] = "auto"
    seed: Annotated[int | None, SEED] = None


@with_settings(
    settings=Options("whichpairs.train.settings:DPOSettings"),
    lesson=Options(TEACH, optional=True, before=check_teach),
    terms=Options(Terms),
)
def command(
    context: typer.Context,
    run: RunOption,
    model: Annotated[
        str, typer.Option(help="Model folder, GGUF file, hub name or smollm2: the reference.")
    ],
    settings: "DPOSettings",
    lesson: "TeachSettings | None",
    terms: Terms,
    beta: BetaOption = None,
    json_: JsonOption = False,
) -> None:
    """Train a policy on the labels by DPO, through TRL."""
    from whichpairs.workflow.train.stage import train_policy

    with Bars(quiet=json_) as bars:
        outcome = train_policy(
            run,
            model,
            learning_rate=settings.learning_rate,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            accumulation=settings.accumulation,
            lora_rank=settings.lora_rank,
            max_length=settings.max_length,
            soft_labels=settings.soft_labels,
            validation=settings.validation,
            dtype=settings.dtype,
            layers=settings.layers,
            teach=lesson,
            beta=beta,
            progress=bars,
            **vars(terms),
        )
    options = given(context)
    steps = outcome.result.get("steps", 0)
    if "save_every" in options and not outcome.done_before and 0 < steps < terms.save_every:
        outcome = add_line(
            outcome,
            f"--save-every {terms.save_every} had no effect: there were {counted(steps, 'step')}.",
        )
    show(say_idle(outcome, options), json_)
