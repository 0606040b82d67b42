"""Completions from vLLM's offline engine, for pools that want a GPU and no server.

Written by vLLM's documentation (`vllm.LLM`, `vllm.SamplingParams`, version 0.11 and later) and NOT
run by us: it needs a GPU and a torch of its own. A vLLM server is the way that our tests cover:
``vllm serve MODEL``, then ``--backend server``.
"""

from collections.abc import Sequence
from typing import Any

from whichpairs.endpoint.request import derived_seed
from whichpairs.errors import MissingExtraError
from whichpairs.generate.backend import Prompt, Sample, Sampling, cut_at
from whichpairs.types import Progress


class Vllm:
    """A model in vLLM's engine, in this process.

    Args:
        model: a folder or hub name.

    Raises:
        MissingExtraError: vLLM is not installed.
    """

    keeps_answers = False

    def __init__(self, model: str) -> None:
        try:
            import vllm
        except ImportError:
            raise MissingExtraError("vllm", "vllm") from None
        self._vllm: Any = vllm
        self._engine: Any = vllm.LLM(model=model)
        self._model = model

    @property
    def fingerprint(self) -> str:
        """The model's name; it says nothing of the weights."""
        return self._model

    def sample(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        *,
        seed: int,
        indices: Sequence[int],
        progress: Progress,
    ) -> list[list[Sample]]:
        """One call for plain texts and one for conversations; a seed for each prompt."""
        found: dict[int, list[Sample]] = {}
        for plain, ask in ((True, self._engine.generate), (False, self._engine.chat)):
            places = [i for i, prompt in enumerate(prompts) if isinstance(prompt, str) == plain]
            if not places:
                continue
            asked = [self._prompt(prompts[i]) for i in places]
            how = [self._params(sampling, seed, indices[i]) for i in places]
            for place, reply in zip(places, ask(asked, how, use_tqdm=False), strict=True):
                found[place] = [_sample(one, sampling) for one in reply.outputs]
                progress.advance(sampling.n)
        return [found[place] for place in range(len(prompts))]

    def _prompt(self, prompt: Prompt) -> Any:
        """As vLLM takes it; an empty text is the token that begins one."""
        if not isinstance(prompt, str):
            return [dict(message) for message in prompt]
        if prompt:
            return prompt
        tokenizer = self._engine.get_tokenizer()
        first = tokenizer.bos_token_id
        return {"prompt_token_ids": [tokenizer.eos_token_id if first is None else first]}

    def _params(self, sampling: Sampling, seed: int, index: int) -> Any:
        return self._vllm.SamplingParams(
            n=sampling.n,
            max_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            **({"top_k": sampling.top_k} if sampling.top_k else {}),
            stop=list(sampling.stop) or None,
            seed=derived_seed(seed, index),
            logprobs=0,  # the drawn token's alone, so that `cumulative_logprob` is there
        )


def _sample(one: Any, sampling: Sampling) -> Sample:
    text, stopped = cut_at(one.text, sampling.stop)
    finished = stopped or one.finish_reason == "stop"
    return Sample(text, finished, len(one.token_ids), one.cumulative_logprob, None)
