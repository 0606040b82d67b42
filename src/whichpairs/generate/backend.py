"""What every source of completions has in common, so that a pool may be drawn from several.

Nothing here needs torch: a pool that comes from a server needs none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol

from whichpairs.errors import UserError
from whichpairs.types import Progress

Prompt = str | Sequence[Mapping[str, Any]]
"""A prompt's text, or its chat messages as ``{"role", "content"}`` mappings."""


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn.

    Attributes:
        n: completions a prompt, at least 1.
        max_new_tokens: the most tokens of a completion, its end-of-sequence token counted.
        temperature: logits are divided by it; above 0. At 1, with `top_p` 1, `top_k` 0 and no
            `stop`, samples come from π_ref.
        top_p: draw from the smallest set of most probable tokens that holds at least this share,
            in (0, 1].
        top_k: draw from this many most probable tokens; 0 for all.
        stop: texts before which a completion ends; it then counts as finished.

    Raises:
        UserError: a value out of range.
    """

    n: int
    max_new_tokens: int = 128
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rules = [
            (self.n >= 1, "n must be at least 1", self.n),
            (self.max_new_tokens >= 1, "max_new_tokens must be at least 1", self.max_new_tokens),
            (0 < self.temperature < inf, "temperature must be above 0", self.temperature),
            (0 < self.top_p <= 1, "top_p must be above 0 and at most 1", self.top_p),
            (self.top_k >= 0, "top_k must be 0 (all tokens) or more", self.top_k),
            (all(self.stop), "a stop string must not be empty", list(self.stop)),
        ]
        for holds, rule, received in rules:
            if not holds:
                raise UserError(rule, f"got {received}")


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion.

    Attributes:
        text: what was written, without special tokens and stop string; bytes of a character cut
            in two at its end are dropped.
        finished: whether it ended by itself or at a stop string (False: `max_new_tokens` did it).
        tokens: tokens drawn, those of the end or of the stop string included; None where the
            back-end does not say.
        logprob: log-probability of the tokens drawn under the model that drew them, in nats, at
            temperature 1 over the whole vocabulary; None where the back-end does not say.
        exact: whether `lm.encode` gives the drawn tokens back from the text; None where the tokens
            are not known. Where it does not (the model spelt a word with unusual pieces, wrote a
            broken or special character, was cut inside one, or met a stop string), later stages
            see other tokens of the same text, and `logprob` is that of one spelling among several.
    """

    text: str
    finished: bool
    tokens: int | None
    logprob: float | None
    exact: bool | None = True


class Backend(Protocol):
    """A model that completions can be drawn from."""

    @property
    def fingerprint(self) -> str:
        """What tells this model from another: of its weights, or the name a server knows it by."""
        ...

    @property
    def keeps_answers(self) -> bool:
        """Whether it keeps what it draws itself, so that nobody else need write it down as it
        goes."""
        ...

    def sample(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        *,
        seed: int,
        indices: Sequence[int],
        progress: Progress,
    ) -> list[list[Sample]]:
        """Draw `sampling.n` completions of each prompt.

        What is drawn for a prompt depends on `seed` and its index, not on the other prompts (as
        far as a server keeps to its seeds).

        Args:
            seed: 0 or more.
            indices: one number of 0 or more a prompt that identifies it in the whole job.
            progress: told of completions (the caller starts and finishes it).

        Raises:
            UserError: what the model cannot do, or a server that says no.
        """
        ...


def cut_at(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """`text` up to the first place where a stop string begins, and whether there was one."""
    places = [at for at in map(text.find, stop) if at >= 0]
    return (text[: min(places)], True) if places else (text, False)
