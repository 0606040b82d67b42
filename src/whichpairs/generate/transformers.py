"""Completions from a local model: a pool drawn from the very policy that will be trained."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from whichpairs.generate.backend import Prompt, Sample, Sampling, cut_at
from whichpairs.lm.encode import decode, encode_all, encode_prompt
from whichpairs.lm.gumbel import Sampling as Rules
from whichpairs.lm.sampler import Drawn, draw
from whichpairs.types import SILENT, Example, Message, Progress

if TYPE_CHECKING:
    from whichpairs.lm.model import LanguageModel

__all__ = ["Sample", "Sampling", "Transformers", "sample"]


class Transformers:
    """A model in this process.

    Args:
        model: a folder or hub name; device, dtype: see `lm.model.load`.
        batch_size: completions side by side; bounds memory, changes nothing else.
    """

    keeps_answers = False

    def __init__(
        self,
        model: str | Path,
        device: str = "auto",
        batch_size: int = 256,
        dtype: str = "float32",
    ) -> None:
        from whichpairs.lm.model import load

        self._lm, self._batch_size = load(model, device=device, dtype=dtype), batch_size

    @property
    def fingerprint(self) -> str:
        """Of configuration, weights and tokenizer."""
        return self._lm.fingerprint

    def sample(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        *,
        seed: int,
        indices: Sequence[int],
        progress: Progress,
    ) -> list[list[Sample]]:
        """See `sample`, below."""
        return sample(
            self._lm,
            prompts,
            sampling,
            seed=seed,
            indices=indices,
            batch_size=self._batch_size,
            progress=progress,
        )


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
    drawn = draw(
        lm,
        [encode_prompt(lm.tokenizer, prompt) for prompt in prompts],
        _rules(sampling),
        seed=seed,
        indices=indices,
        batch_size=batch_size,
        ends=_stopper(lm, sampling.stop),
        progress=progress,
    )
    flat = [(prompt, one) for prompt, many in zip(prompts, drawn, strict=True) for one in many]
    texts = decode(lm.tokenizer, [_without_end(lm, one) for _, one in flat])
    texts = [cut_at(text, sampling.stop)[0] for text in texts]
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


def _rules(s: Sampling) -> Rules:
    """What is left of the settings where single tokens are drawn."""
    return Rules(s.n, s.max_new_tokens, s.temperature, s.top_p, s.top_k)


def _stopper(lm: "LanguageModel", stop: Sequence[str]) -> Callable[[Sequence[int]], bool] | None:
    """Whether tokens drawn so far end in, or hold, a stop string; None where there is none.

    Every token writes at least one byte, so as many tokens as the longest stop string has bytes
    are enough to look at (and a few more, where decoding trims).
    """
    if not stop:
        return None
    span = max(len(text.encode()) for text in stop) + 4

    def ends(ids: Sequence[int]) -> bool:
        (text,) = decode(lm.tokenizer, [ids[-span:]])
        return any(one in text for one in stop)

    return ends


def _without_end(lm: "LanguageModel", one: Drawn) -> Sequence[int]:
    return one.ids[:-1] if one.finished and one.ids[-1] in lm.eos_ids else one.ids


def _record(prompt: Prompt) -> str | tuple[Message, ...]:
    return prompt if isinstance(prompt, str) else tuple(dict(message) for message in prompt)
