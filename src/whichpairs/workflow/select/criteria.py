"""How each criterion chooses its pairs: by its own order, warily, or by a certified solve.

All of them obey the same limits; what draws at random draws uniformly among what these allow.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from whichpairs.design import FrankWolfe, PairSpace, PassReport, Problem, Solution, solve
from whichpairs.design.batches.ordered import Draw, within
from whichpairs.design.batches.random import (
    best_versus_worst,
    random_pairs,
    reference_pairs,
    uniform_prompts,
)
from whichpairs.design.batches.versus_random import VersusRandom
from whichpairs.design.problem.space import Rows
from whichpairs.design.strategies.adaptive import next_batch, signal_batch
from whichpairs.design.sweep.kernel import Kernel
from whichpairs.engine.kernels.choose import KERNELS, best_kernel
from whichpairs.errors import UserError
from whichpairs.streams import Stream, stream
from whichpairs.workflow.select.checkpoint import Resume
from whichpairs.workflow.select.paper import draw_of, solved

if TYPE_CHECKING:
    from whichpairs.workflow.select.stage import Desk

CERTIFIED_WORK = 5e8
"""Candidate pairs × dimensions up to which an adaptive batch gets a bound, for which the whole pool
is searched (the batch itself is not found that way); beyond, a round stays under a minute
without."""


Watch = Callable[[PassReport], None]


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        pairs: a pair as often as it is to be labelled; solution: the solve that bounds them, if
            any.
        random, looked_at, too_far: of criteria that draw (`adaptive.Batch`); else None.
        versus: the batch beside random ones by the criterion that chose it; None where none did.
        stopped: Ctrl-C ended its search; more: what else the result is to say.
    """

    pairs: Rows
    solution: Solution | None = None
    random: int | None = None
    looked_at: int | None = None
    too_far: int | None = None
    versus: VersusRandom | None = None
    stopped: bool = False
    more: dict[str, Any] = field(default_factory=dict)

    def all_random(self, criterion: str) -> bool:
        """Whether chance alone picked, uniformly."""
        return criterion == "random" or self.random == len(self.pairs)

    @property
    def how(self) -> dict[str, Any]:
        """As the result has it; ``worse_than_random`` is null where it was not."""
        worse = self.versus if self.versus is not None and self.versus.replaced else None
        return {
            "random_picked": self.random,
            "looked_at": self.looked_at,
            "too_far": self.too_far,
            "worse_than_random": None
            if worse is None
            else {"found": worse.found, "random": worse.random, "draws": worse.draws},
            **self.more,
        }


def choose(desk: "Desk", watch: Watch, resume: Resume) -> Choice:
    """The batch of a desk's settings.

    Args:
        watch: told of every pass; resume: where a solve is kept between its passes.

    Raises:
        UserError: the criterion cannot fill the batch within the limits.
    """
    s, rng = desk.settings, stream(desk.seed, Stream.PICK)
    order = _order(desk, rng)
    if order is not None:
        return Choice(within(desk.pairs, s.budget, desk.limits, order))
    if s.criterion == "signal":
        signal = signal_batch(
            *(desk.pairs, desk.beta, desk.view, desk.evidence, s.budget, rng),
            seed=desk.seed,
            limits=desk.limits,
        )
        return Choice(signal.pairs, random=signal.random)
    kernel = _kernel(s.kernel, desk.pairs)
    method = FrankWolfe(passes=s.passes, tolerance=s.tolerance, threads=s.threads, kernel=kernel)
    if s.criterion == "adaptive":
        batch = next_batch(
            *(desk.pairs, desk.beta, desk.view, s.budget),
            adaptive_rng(desk),
            limits=desk.limits,
            method=method,
            certify=desk.pairs.candidates * desk.pairs.dim <= CERTIFIED_WORK,
            watch=watch,
            resume=resume.load(),
            keep=resume.keep,
        )
        how = (batch.random, batch.looked_at, batch.too_far, batch.versus)
        return Choice(batch.pairs, batch.solution, *how)
    if s.criterion == "paper":
        paper = solved(desk, method, watch)
        pairs = within(desk.pairs, s.budget, desk.limits, draw_of(desk, paper))
        more = {"paper": paper.recorded(desk.pairs.keys(pairs))}
        return Choice(pairs, stopped=paper.design.interrupted, more=more)
    criterion = desk.target.criterion if desk.target else desk.gap
    problem = Problem(desk.pairs, criterion, desk.weights, desk.base, s.budget, desk.limits)
    solution = solve(problem, method, watch, resume=resume.load(), keep=resume.keep)
    stopped = solution.interrupted
    return Choice(solution.pairs, solution, versus=solution.versus, stopped=stopped)


def adaptive_rng(desk: "Desk") -> np.random.Generator:
    """What an adaptive batch draws from: plan asks for the same batch as select."""
    return stream(desk.seed, Stream.PICK, desk.view.known)


def _order(desk: "Desk", rng: np.random.Generator) -> Draw | None:
    """The order in which a baseline likes pairs; None for criteria that have none of their own."""
    match desk.settings.criterion:
        case "random":
            return lambda some, n: random_pairs(some, n, rng)
        case "uniform-prompts":
            return lambda some, n: uniform_prompts(some, n, rng)
        case "reference":
            weight = desk.space.pool.weight
            return lambda some, n: reference_pairs(some, n, rng, weight)
        case "best-vs-worst":
            score = _score(desk)
            return lambda some, n: best_versus_worst(some, n, rng, score)
    return None


def _kernel(name: str | None, pairs: PairSpace) -> Kernel:
    if name is None:
        return best_kernel(pairs.candidates, pairs.dim)
    return KERNELS[name]()


def _score(desk: "Desk") -> np.ndarray:
    if desk.settings.score is not None:
        return desk.space.score(desk.settings.score)
    names = desk.space.run.finished("fits")
    if not names:
        raise UserError(
            "best-vs-worst goes by a score or a fit",
            "there is no fit yet, and no --score",
            "pass --score COLUMN, or run: whichpairs fit",
        )
    theta = desk.space.theta(names[-1], desk.name)
    return np.asarray(np.asarray(desk.phi, np.float64) @ theta)
