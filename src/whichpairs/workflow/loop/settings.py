"""What stage loop is told."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

from whichpairs.errors import UserError
from whichpairs.label.settings import check_temperature
from whichpairs.setting import SEED, Setting, check_ranges, options
from whichpairs.workflow.schedule import CONTROLS_SHARE
from whichpairs.workflow.select.settings import SelectSettings

MOST_CONTROLS = 0.9


@dataclass(frozen=True)
class LoopSettings:
    """What the user chose.

    Args:
        budget: labels of the run in all, controls and those already there counted.
        first: where the totals begin to double; None is 4 d for d features.
        rounds: this many rounds of equal growth instead, the first at most `first`.
        controls_share: of every round's labels, how many go to control pairs, 0 to 0.9.
        simulate: the score that answers, with its `temperature`; or
        labeller: the command that answers, run with the pairs' file and the path of its answers; or
        from_drawer: labels that were kept back at import answer; with none of these, people do.
        stop_gain: G, in units of J: stop when the latest round was predicted to gain less and the
            controls show no better fit. None never stops early.
        top_up: pick the next round although pairs wait for labels.
        criterion, features, seed, threads: see `SelectSettings`; None is its default.
    """

    budget: Annotated[int, Setting("Labels of the run in all, those there counted.", low=1)]
    first: Annotated[
        int | None, Setting("The totals double from here; else 4 a feature.", low=1)
    ] = None
    rounds: Annotated[int | None, Setting("This many rounds of equal growth instead.", low=1)] = (
        None
    )
    controls_share: Annotated[
        float,
        Setting(
            "Share of the labels for control pairs of held-out prompts.",
            low=0,
            high=MOST_CONTROLS,
            words="the share of controls",
        ),
    ] = CONTROLS_SHARE
    simulate: Annotated[str | None, Setting("Answer by this score: P = σ((s_A − s_B) / T).")] = None
    temperature: Annotated[float, Setting("T, in units of the score.")] = 1.0
    labeller: Annotated[
        str | None, Setting("Answer by this command: COMMAND PAIRS.jsonl ANSWERS.jsonl.")
    ] = None
    from_drawer: Annotated[bool, Setting("Answer by the labels kept back at import.")] = False
    stop_gain: Annotated[
        float | None,
        Setting(
            "Stop when a round gains less, in J, and controls show no better fit.",
            low=0,
            words="the gain to stop at",
        ),
    ] = None
    top_up: Annotated[bool, Setting("Pick the next round although pairs wait.")] = False
    criterion: Annotated[str | None, Setting("How to pick, as in select; else its default.")] = None
    features: Annotated[str | None, Setting("Feature set; else the latest.")] = None
    seed: Annotated[int | None, SEED] = None
    threads: Annotated[int, Setting("Workers; the batches do not depend on it.")] = 1

    def __post_init__(self) -> None:
        check_ranges(self)
        check_temperature(self.temperature)
        self._check_source()
        self.picking(1, 0)

    def _check_source(self) -> None:
        sources = (self.simulate is not None, self.labeller is not None, self.from_drawer)
        if sum(sources) > 1:
            names = ("--simulate", "--labeller", "--from-drawer")
            got = " and ".join(n for n, there in zip(names, sources, strict=True) if there)
            raise UserError(
                "labels come from one of --simulate, --labeller and --from-drawer", f"got {got}"
            )
        if self.top_up and self.answered:
            raise UserError(
                "--top-up is for labels that people bring",
                "got a source that answers at once",
                "leave it out",
            )
        if self.labeller is not None:
            from whichpairs.workflow.label.command import command_words

            command_words(self.labeller)

    @property
    def answered(self) -> bool:
        """Whether somebody answers at once."""
        return self.simulate is not None or self.labeller is not None or self.from_drawer

    @cached_property
    def command(self) -> list[str]:
        """The labeller's words."""
        from whichpairs.workflow.label.command import command_words

        return command_words(self.labeller or "")

    def picking(self, budget: int, controls: int) -> SelectSettings:
        """One round's selection."""
        chosen = {} if self.criterion is None else {"criterion": self.criterion}
        return SelectSettings(
            budget=budget,
            controls=controls,
            features=self.features,
            seed=self.seed,
            threads=self.threads,
            **chosen,  # type: ignore[arg-type]
        )

    @property
    def options(self) -> tuple[str, ...]:
        """As the command takes them to go on."""
        return tuple(options(type(self), vars(self) | {"top_up": None}))

    def again(self, run: Path) -> str:
        """The command that goes on."""
        from whichpairs.workflow.loop_record import command

        return command(self.options, run)
