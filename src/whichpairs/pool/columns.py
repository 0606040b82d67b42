"""Which columns of the user's file hold what."""

from dataclasses import dataclass
from typing import Annotated

from whichpairs.errors import UserError
from whichpairs.setting import Setting


def two_names(names: str) -> tuple[str, str]:
    """Two columns, with a comma between.

    Raises:
        UserError: they are not two.
    """
    parts = names.split(",")
    if len(parts) != 2 or not all(parts):
        raise UserError("--pair-columns must be two names with a comma between", f"got {names!r}")
    return parts[0], parts[1]


@dataclass(frozen=True)
class Columns:
    """Which columns of the user's file hold what.

    Attributes:
        prompt: a text, or a list of chat messages; several columns of texts (also as one name
            with commas) are joined by a blank line, what is empty left out.
        completion: a text, one assistant message in a list, or a list of either (all completions
            of the prompt).
        prompt_id: the user's own id of the prompt; None: made from the prompt.
        group: prompts of one group are held out together.
        scores: numbers, one a completion.
        weight: π_ref's weight of a completion, > 0; None: its multiplicity.
        pair: where there is no completion column, the two that hold a pair; the first is preferred.
        label: which of `pair` is preferred, as `conventions` reads it; None: always the first.
        label_map: what the values of `label` mean, e.g. ``0=a,1=b``; see `conventions.label_map`.
        system: the system turn before the prompt; None: `system` or `system_prompt` where there
            is such a column of texts; empty: none.
    """

    prompt: Annotated[
        str | tuple[str, ...],
        Setting(
            "Column of the prompt; several (A,B) are joined by a blank line.",
            flags=("--prompt-column",),
            kind=str,
        ),
    ] = "prompt"
    completion: Annotated[
        str,
        Setting("Column of the completion, or of a list of them.", flags=("--completion-column",)),
    ] = "completion"
    prompt_id: Annotated[
        str | None,
        Setting(
            "Column that tells prompts apart; else their text does.", flags=("--prompt-id-column",)
        ),
    ] = None
    group: Annotated[
        str | None,
        Setting(
            "Column of the prompt's group; groups are held out whole.", flags=("--group-column",)
        ),
    ] = None
    scores: Annotated[
        tuple[str, ...],
        Setting(
            "Column of a score to keep, for simulation; repeatable.", flags=("--score-column",)
        ),
    ] = ()
    weight: Annotated[
        str | None,
        Setting(
            "Column of π_ref's weight; else duplicates are counted.", flags=("--weight-column",)
        ),
    ] = None
    pair: Annotated[
        tuple[str, str],
        Setting(
            "Two columns of a labelled pair, the preferred one first.",
            flags=("--pair-columns",),
            parse=two_names,
        ),
    ] = ("chosen", "rejected")
    label: Annotated[
        str | None,
        Setting(
            "Column that says which is preferred: 1, 2, or 0 for a tie; words.",
            flags=("--label-column",),
        ),
    ] = None
    label_map: Annotated[
        str | None, Setting("What its values mean, if not that: VALUE=a,VALUE=b,VALUE=tie or skip.")
    ] = None
    system: Annotated[
        str | None,
        Setting(
            "Column of the system turn; else system, if it is there; '' for none.",
            flags=("--system-column",),
            after="prompt",
        ),
    ] = None

    @property
    def pair_named(self) -> bool:
        """Whether the user (or a known shape) says that the rows are pairs."""
        return self.pair != Columns.pair or self.label is not None

    @property
    def prompts(self) -> tuple[str, ...]:
        """The columns of the prompt."""
        return (self.prompt,) if isinstance(self.prompt, str) else self.prompt
