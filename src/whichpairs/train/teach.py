"""A policy taught by the fit: pairs that nobody has answered, with what the fit believes of them.

DPO on n labelled pairs sees only those; a fit of the same labels has an opinion on every pair of
the pool, and completions cost next to nothing. So the policy is trained on pairs of the training
prompts too, each with the fit's calibrated probability, theory (25), as its soft label (kin:
distilled reward models [fisch2024]),

    P(first preferred) = σ(c · logit E σ(η)),   c = 1 unless the user scales the teacher.

c and the learning rate are one knob: three times the rate is about three times the pull.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import log

import numpy as np
from jaxtyping import Bool, Float, Int64, Shaped
from scipy.special import expit
from threadpoolctl import threadpool_limits

from whichpairs.design.estimate.calibrate import Calibration
from whichpairs.design.problem.shards import Shards
from whichpairs.design.problem.space import PairSpace, Rows
from whichpairs.errors import UserError
from whichpairs.streams import Stream, stream
from whichpairs.train.settings import TeachSettings
from whichpairs.train.teach_pairs import choose
from whichpairs.wording import number

KNOWS_NATS = 2.0
"""What calibrated probabilities must save in left-out log loss against a coin, over all labels, for
a fit to teach."""

KNOWS_MARGIN = 0.02
"""Mean |P − ½| that a fit must have of the pairs that it teaches (before the scale)."""

BLOCK = 8192
"""Rows, or pairs, whose features are read at once."""


class CannotTeachError(UserError):
    """The fit knows too little to teach; only more labels help."""


@dataclass(frozen=True)
class Lesson:
    """What a policy is taught.

    Attributes:
        pairs: rows of two completions, the one that is believed better first, (n, 2).
        probability: P(first preferred), from ½ to 1, (n,).
    """

    pairs: Rows
    probability: Float[np.ndarray, " n"]

    @property
    def confidence(self) -> float:
        """Mean P(first preferred)."""
        return float(self.probability.mean())

    def drawn(self, seed: int) -> Rows:
        """One answer a pair, drawn by its probability: the winner first."""
        won = stream(seed, Stream.TAUGHT_ANSWERS).random(len(self.pairs)) < self.probability
        return np.where(won[:, None], self.pairs, self.pairs[:, ::-1])


def teach(
    features: Shaped[np.ndarray, "rows d"] | Shards,
    starts: Int64[np.ndarray, " prompts_plus_one"],
    belief: Calibration,
    beta: float,
    count: int,
    *,
    left_out: float | None,
    labels: int,
    pairs: str = "random",
    scale: float = 1.0,
    eligible: Bool[np.ndarray, " prompts"] | None = None,
    labelled: Rows | None = None,
    same: Int64[np.ndarray, " rows"] | None = None,
    seed: int = 0,
) -> Lesson:
    """Pairs without a label, and the soft labels of a fit that knows something.

    The same on any number of threads.

    Args:
        features: φ, one row a completion; starts: prompt p owns rows ``starts[p]:starts[p + 1]``.
        belief: the posterior, of `design.estimate.calibrate.calibrate`; beta: the run's β.
        count: pairs to teach.
        left_out: `design.estimate.calibrate.left_out_log_loss` of the labels behind `belief`, nats;
            labels: how many they are.
        pairs: how they are chosen, one of `train.teach_pairs.PAIRS`; scale: multiplies their
            logits.
        eligible: prompts that may be taught on: held-out ones are not.
        labelled: pairs that have a label, in either order, (k, 2): they are not taught again.
        same: of every row the first row of its prompt with the same text: equal texts are one.
        seed: of what is drawn at random.

    Raises:
        UserError: the fit knows nothing (`check_knows`), fewer pairs are there, or an unknown rule.
    """
    check_left_out(left_out, labels)
    TeachSettings(count, pairs, scale)
    space = PairSpace(features, starts)
    with threadpool_limits(1):  # the same bits whatever the machine has
        rng = stream(seed, Stream.TAUGHT_PAIRS)
        known = {"eligible": eligible, "labelled": labelled, "same": same}
        found = choose(pairs, lambda: _scores(space, belief, beta), starts, count, rng, **known)
        blocks = (found[at] for at in _blocks(len(found)))
        logits = np.concatenate([belief.logits(space.differences(b), beta) for b in blocks])
    check_margins(logits, labels)
    turned = np.where((logits < 0)[:, None], found[:, ::-1], found)
    return Lesson(turned, np.asarray(expit(scale * np.abs(logits))))


def check_left_out(left_out: float | None, labels: int) -> None:
    """A fit teaches only where it has foretold answers that it did not see.

    Raises:
        UserError: it saved less than `KNOWS_NATS` against a coin, or that is unknown.
    """
    coin = log(2.0)
    if left_out is None:
        raise CannotTeachError(
            "a fit can teach once labels that it did not see have been foretold by it",
            f"its {labels} labels are of too few prompts to leave any out",
            "label pairs of more prompts, then run: whichpairs fit",
        )
    saved = labels * (coin - left_out)
    if not saved >= KNOWS_NATS:
        raise CannotTeachError(
            f"a fit can teach only where it foretells left-out labels better than a coin, by "
            f"{KNOWS_NATS:g} nats in all",
            f"it foretells {labels} labels at a log loss of {left_out:.4f} (a coin: {coin:.4f}), "
            f"{number(saved, 2)} nats in all",
            "label more pairs, then run: whichpairs fit (or train without --teach)",
        )


def check_margins(logits: Float[np.ndarray, " n"], labels: int) -> None:
    """A fit teaches only where its soft labels are not all about ½: DPO would walk off on noise.

    Raises:
        UserError: their mean |P − ½| is below `KNOWS_MARGIN`.
    """
    mean = float(np.mean(np.abs(expit(logits) - 0.5)))
    if not mean >= KNOWS_MARGIN:
        raise CannotTeachError(
            f"a fit can teach only pairs on which it has an opinion, P(first preferred) "
            f"{KNOWS_MARGIN:g} or more from ½ on average",
            f"after {labels} labels it is {number(mean, 2)} from ½",
            "label more pairs, then run: whichpairs fit (or train without --teach)",
        )


def _scores(space: PairSpace, belief: Calibration, beta: float) -> Float[np.ndarray, " rows"]:
    """β φᵀθ of every completion: differences of it are the belief's mean margins."""
    parts = [np.empty(0)]
    for at in _blocks(space.rows):
        parts.append(beta * (np.asarray(space.features[at], np.float64) @ belief.theta))
    return np.concatenate(parts)


def _blocks(count: int) -> Iterator[slice]:
    return (slice(k, min(k + BLOCK, count)) for k in range(0, count, BLOCK))
