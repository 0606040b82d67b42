"""Completions from an OpenAI-compatible server; what it has answered is never asked again."""

from collections.abc import Sequence

from whichpairs.endpoint.client import Client, ServerSettings
from whichpairs.endpoint.journal import Journal
from whichpairs.endpoint.request import Answer, Request, derived_seed
from whichpairs.generate.backend import Prompt, Sample, Sampling, cut_at
from whichpairs.types import Progress

_ENDED = ("stop", "eos_token", "stop_sequence")
"""What servers say of a completion that ended by itself or at a stop string."""


class Server:
    """A model behind a server: messages go to its chat, plain texts to its completions.

    Args:
        settings: where it is, which model.
        journal: keeps the answers.
    """

    keeps_answers = True

    def __init__(self, settings: ServerSettings, journal: Journal) -> None:
        self._client, self._journal = Client(settings), journal

    @property
    def fingerprint(self) -> str:
        """The name under which the server knows the model; it says nothing of the weights."""
        return self._client.settings.model

    def sample(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        *,
        seed: int,
        indices: Sequence[int],
        progress: Progress,
    ) -> list[list[Sample]]:
        """One request a prompt (more where the server gives fewer than `sampling.n`)."""
        asked = [
            _request(prompt, sampling, derived_seed(seed, index))
            for prompt, index in zip(prompts, indices, strict=True)
        ]
        found: dict[int, list[Sample]] = {}
        for place, answers in self._client.ask_all(asked, journal=self._journal):
            found[place] = [_sample(answer, sampling) for answer in answers]
            progress.advance(len(answers))
        return [found[place] for place in range(len(asked))]


def _request(prompt: Prompt, sampling: Sampling, seed: int) -> Request:
    plain = isinstance(prompt, str)
    return Request(
        "completions" if plain else "chat",
        prompt if isinstance(prompt, str) else tuple(dict(message) for message in prompt),
        n=sampling.n,
        max_tokens=sampling.max_new_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        stop=sampling.stop,
        seed=seed,
        logprobs=True,
    )


def _sample(answer: Answer, sampling: Sampling) -> Sample:
    """The answer as a sample; cut here too, for servers that know no stop strings or keep them."""
    text, stopped = cut_at(answer.text, sampling.stop)
    return Sample(text, stopped or answer.finish in _ENDED, answer.tokens, answer.logprob, None)
