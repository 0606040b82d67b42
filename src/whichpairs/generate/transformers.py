"""Completions from a local model: a pool drawn from the very policy that will be trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from whichpairs.lm.encode import Prompt, decode, encode_all, encode_prompt
from whichpairs.lm.race import Sampling
from whichpairs.lm.sampler import draw
from whichpairs.types import SILENT, Example, Progress

if TYPE_CHECKING:
    from whichpairs.lm.model import LanguageModel

__all__ = ["Sample", "Sampling", "sample"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion.

    Attributes:
        text: what was written, without special tokens; bytes of a character cut in two at its end
        are dropped.
        finished: whether it ended by itself (False: `max_new_tokens` stopped it).
        tokens: tokens drawn, the end-of-sequence token included.
        logprob: log π_ref of the tokens drawn, in nats, at temperature 1 over the whole vocabulary.
        exact: whether `lm.encode` gives the drawn tokens back from the text. Where it does not
            (the model spelt a word with unusual pieces, wrote a broken or special character, or
            was cut inside one), later stages see other tokens of the same text, and `logprob` is
            that of one spelling among several.
    """

    text: str
    finished: bool
    tokens: int
    logprob: float
    exact: bool = True


def sample(
    lm: "LanguageModel",
    prompts: Sequence[Prompt],
    sampling: Sampling,
    *,
    seed: int,
    batch_size: int = 256,
    indices: Sequence[int] | None = None,
    progress: Progress = SILENT,
) -> list[list[Sample]]:
    """Draw `sampling.n` completions of each prompt.

    A prompt's completions depend on the model, `seed`, the prompt and its index alone, so a job
    that is cut off and resumed, or split, gives the same pool; `lm.sampler.draw` says exactly
    what is guaranteed.

    Args:
        prompts: texts, or chat messages. An empty text stands for the beginning of a text: the
            model writes an opening.
        seed: 0 or more.
        batch_size: completions side by side; bounds memory, changes nothing else.
        indices: one number of 0 or more a prompt that identifies it in the whole job; its place
            in `prompts` if None.
        progress: told of every batch of completions (the caller starts and finishes it).

    Returns:
        For each prompt a list of `sampling.n` samples.

    Raises:
        UserError: a prompt that with `max_new_tokens` exceeds the model's context; messages
            without a chat template.
    """
    encoded = [encode_prompt(lm.tokenizer, prompt) for prompt in prompts]
    drawn = draw(
        lm,
        encoded,
        sampling,
        seed=seed,
        indices=indices,
        batch_size=batch_size,
        progress=progress,
    )
    flat = [(prompt, one) for prompt, many in zip(prompts, drawn, strict=True) for one in many]
    texts = decode(lm.tokenizer, [one.ids[: len(one.ids) - one.finished] for _, one in flat])
    examples = [
        Example(_record(prompt), text, one.finished)
        for (prompt, one), text in zip(flat, texts, strict=True)
    ]
    again = encode_all(lm.tokenizer, examples)
    samples = [
        Sample(text, one.finished, len(one.ids), one.logprob, e.completion_ids == one.ids)
        for (_, one), text, e in zip(flat, texts, again, strict=True)
    ]
    return [samples[i : i + sampling.n] for i in range(0, len(samples), sampling.n)]


def _record(prompt: Prompt) -> str | tuple[dict[str, str], ...]:
    return prompt if isinstance(prompt, str) else tuple(dict(message) for message in prompt)
