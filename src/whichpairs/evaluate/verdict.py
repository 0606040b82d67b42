"""What an evaluation says of a policy, in a word and a sentence: by its intervals, never by its
means."""

from dataclasses import dataclass
from typing import Literal

from whichpairs.evaluate.interval import Interval

UNMOVED = 0.01
"""Nats: a policy whose whole KL interval is below this is its reference, to whoever reads it."""

Word = Literal["unknown", "did not move", "better", "worse", "no gain shown"]


@dataclass(frozen=True)
class Verdict:
    """A word for programs, a sentence for people."""

    word: Word
    sentence: str


def verdict(reward: Interval, kl: Interval, gain: Interval, beta: float) -> Verdict:
    """Whether a policy moved, and whether that was worth it.

    Args:
        reward: the policy's less its reference's; kl: of the policy from its reference, nats.
        gain: J of the policy less its reference's, J = E r − β KL; all over the same prompts.
    """
    if kl.high is None or gain.low is None or gain.high is None or reward.high is None:
        return Verdict("unknown", "One held-out prompt gives no interval: nothing can be said.")
    if kl.high < UNMOVED:
        return Verdict(
            "did not move",
            f"The policy did not move: its KL is at most {kl.high:.2g} nats (below {UNMOVED:g} it "
            "is its "
            "reference). More steps or a higher learning rate would move it.",
        )
    if gain.low > 0.0:
        return Verdict(
            "better", "Better than its reference: the whole interval of the gain is above 0."
        )
    if gain.high < 0.0:
        cost = f"its KL of {kl.mean:.2g} nats costs β KL = {beta * kl.mean:.2g}"
        earned = "and its reward did not rise"
        if reward.high > 0.0:
            earned = f"more than its reward rose ({reward.mean:+.2g})"
        return Verdict(
            "worse",
            "Worse than its reference: the whole interval of the gain is below 0. The policy "
            "walked off: "
            f"{cost}, {earned}. Fewer steps, a lower learning rate or --validation would keep it "
            "nearer.",
        )
    return Verdict("no gain shown", "No gain is shown: the interval of the gain holds 0.")
