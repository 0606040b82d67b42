"""A judge's verdicts as a win rate, with an interval over prompts.

Several samples of one prompt are not independent of one another, so a prompt is the unit: the mean
over its comparisons is one value, and the interval is over those (Miller 2024, arXiv:2411.00640,
section 2.2, for clusters of equal size).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from whichpairs.errors import UserError
from whichpairs.evaluate.interval import Interval, bounded_interval
from whichpairs.types import Verdict

WORTH = {"a": 1.0, "b": 0.0, "tie": 0.5}


@dataclass(frozen=True)
class WinRate:
    """How often a policy's completion is preferred to its opponent's.

    Attributes:
        rate: mean over prompts of their comparisons' mean: 1 a win, ½ a tie, 0 a loss
            (`bounded_interval`).
        prompts, comparisons: how many.
        wins, losses, ties: comparisons by their verdict; the following are among the ties.
        identical: both completions were the same text, and the judge was not asked.
        disagreements: the two orders were answered differently, both readably.
        unread: an answer could not be read.
    """

    rate: Interval
    prompts: int
    comparisons: int
    wins: int
    losses: int
    ties: int
    identical: int
    disagreements: int
    unread: int


def win_rate(
    verdicts: Sequence[Verdict | None], prompts: Int64[np.ndarray, " comparisons"]
) -> WinRate:
    """The win rate of the completions that the judge knew as ``a``.

    Args:
        verdicts: one a comparison; None where the two completions were the same text: a tie.
        prompts: the number of each comparison's prompt, 0 or more.

    Raises:
        UserError: there is no comparison.
    """
    if not verdicts:
        raise UserError("a win rate needs at least one comparison", "there is none")
    choices = ["tie" if v is None else v.choice for v in verdicts]
    worth = np.array([WORTH[choice] for choice in choices])
    _, owner, counts = np.unique(prompts, return_inverse=True, return_counts=True)
    rate = bounded_interval(np.bincount(owner, weights=worth) / counts)
    asked = [v for v in verdicts if v is not None]
    read = [v for v in asked if v.forward is not None and v.backward is not None]
    return WinRate(
        rate=rate,
        prompts=len(counts),
        comparisons=len(verdicts),
        wins=choices.count("a"),
        losses=choices.count("b"),
        ties=choices.count("tie"),
        identical=len(verdicts) - len(asked),
        disagreements=sum(v.forward != v.backward for v in read),
        unread=len(asked) - len(read),
    )
