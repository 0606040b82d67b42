"""The criterion `paper` on a run: θ₀ from what the sampler said of its completions, the design, the
draw.

`generate` keeps each completion's log π_ref(y|x) in the pool's column ``logprob``; an imported file
may have one too. Where there is none, nobody knows how likely each completion is, but they are
π_ref's draws: so each counts by its weight, as for `gap` (θ₀ = 0), and the batch's message says so.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from whichpairs.design import FrankWolfe, PassReport
from whichpairs.design.batches.ordered import Draw
from whichpairs.design.strategies.paper import (
    RIDGE,
    by_weight,
    paper_design,
    paper_information,
    reference_theta,
)
from whichpairs.design.strategies.shares import Shares
from whichpairs.streams import Stream, stream

if TYPE_CHECKING:
    from whichpairs.pool.pool import Pool
    from whichpairs.workflow.select.stage import Desk

LOGPROB = "logprob"
"""The pool's column of log π_ref(y|x), nats."""


@dataclass(frozen=True)
class Paper:
    """The design of a run's candidates.

    Attributes:
        logprobs: completions, of those that pairs are picked from, whose logprob θ₀ was fitted to;
            without: those that had none.
    """

    design: Shares
    ridge: float
    logprobs: int
    without: int

    def recorded(self, picked: np.ndarray) -> dict[str, Any]:
        """As a batch of pairs with these keys has it."""
        d = self.design
        drawn = int(np.isin(np.unique(picked), d.keys).sum())
        return {
            "ridge": self.ridge,
            "support": len(d.keys),
            "by_weight": drawn,
            "filled": len(np.unique(picked)) - drawn,
            "value": d.value,
            "bound": d.bound if np.isfinite(d.bound) else None,
            "certificate": d.value / d.bound - 1.0 if 0.0 < d.bound < np.inf else None,
            "passes": len(d.reports),
            "logprobs": self.logprobs,
            "without_logprob": self.without,
        }


def logprobs(pool: "Pool") -> np.ndarray | None:
    """log π_ref(y|x) of every completion, NaN where it is not known; None where the pool has
    none."""
    if LOGPROB not in pool.numeric:
        return None
    found = pool.numbers(LOGPROB)
    return found if np.isfinite(found).any() else None


def reference_print(pool: "Pool") -> dict[str, str]:
    """What of the pool the design depends on beside features: its log-probabilities."""
    found = logprobs(pool)
    if found is None:
        return {}
    return {LOGPROB: hashlib.sha256(found.tobytes()).hexdigest()[:16]}


def solved(
    desk: "Desk",
    method: FrankWolfe,
    watch: Callable[[PassReport], None] = lambda report: None,
) -> Paper:
    """The paper's design of a desk's candidates.

    Raises:
        UserError: the policy fitted to the log-probabilities spreads over no prompt's completions.
    """
    ridge = desk.settings.ridge or RIDGE
    known, pool, pairs = logprobs(desk.space.pool), desk.space.pool, desk.pairs
    theta, count, without = None, 0, 0
    if known is not None:
        some = np.repeat(pairs.sizes >= 2, np.diff(pairs.starts))
        count = int(np.count_nonzero(some & np.isfinite(known)))
        without = int(np.count_nonzero(some)) - count
        theta = reference_theta(pairs, known, ridge) if count else None
    information = paper_information(pairs, theta, pool.weight)
    design = paper_design(
        *(pairs, desk.beta, information),
        ridge=ridge,
        method=method,
        watch=watch,
    )
    return Paper(design, ridge, count, without)


def draw_of(desk: "Desk", paper: Paper) -> Draw:
    """The order in which a selection draws."""
    return by_weight(paper.design, stream(desk.seed, Stream.PAPER))
