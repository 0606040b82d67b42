"""Draws completions as token ids, each from its own seed, whatever else is in the batch.

`model.generate` draws a whole batch from one random stream: leave one prompt out and every other
completion changes. Here completion k of prompt i has a stream of its own. Two policies that are run
with one seed share that noise, and so agree wherever their probabilities nearly do (common random
numbers).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from whichpairs.errors import UserError
from whichpairs.lm.batch import check_context
from whichpairs.lm.gumbel import Sampling, pick
from whichpairs.lm.logprobs import takes_cache, takes_positions
from whichpairs.lm.optional import require
from whichpairs.types import SILENT, Progress

require("torch")
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

if TYPE_CHECKING:
    from whichpairs.lm.model import LanguageModel

Ends = Callable[[Sequence[int]], bool]

TOLERANCE = 1e-3
"""Nats by which float32 logits of one sequence may differ between batches (1e-5 is usual)."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One completion: its tokens (the end token too where it is `finished`), and log π of them.

    The log-probability is in nats, at temperature 1 over the whole vocabulary.
    """

    ids: tuple[int, ...]
    finished: bool
    logprob: float


def draw(
    lm: "LanguageModel",
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    seed: int,
    indices: Sequence[int] | None = None,
    batch_size: int = 256,
    ends: Ends | None = None,
    progress: Progress = SILENT,
) -> list[list[Drawn]]:
    """Draw `sampling.n` completions of each prompt.

    What is drawn depends on the model, `seed`, the prompt's tokens and its index, and on nothing
    else: not on the other prompts of the call, their order or `batch_size`. The noise does so by
    construction. The logits of one sequence differ between batches in their last digits; where
    that could change a token (the two best scores within `TOLERANCE`, 1 token in some 2000), the
    sequence is run again alone and decides. This holds for float32 on one machine with one number
    of threads; log-probabilities agree to about 1e-5. In 16-bit types only the noise is the same.

    Args:
        prompts: token ids of each prompt, at least one each.
        seed: 0 or more.
        indices: what identifies each prompt, 0 or more; its place in `prompts` when None.
        batch_size: completions side by side.
        ends: told the tokens of a completion so far; true finishes it there.

    Raises:
        UserError: a prompt and `max_new_tokens` exceed the model's context; a bad seed, index or
            batch size.
    """
    indices = range(len(prompts)) if indices is None else indices
    if batch_size < 1 or seed < 0 or len(indices) != len(prompts) or min(indices, default=0) < 0:
        raise UserError(
            "sampling needs a seed and an index a prompt of 0 or more, and a batch_size above 0",
            f"got seed {seed}, {len(indices)} indices for {len(prompts)} prompts, "
            f"batch_size {batch_size}",
        )
    check_context(lm, max(map(len, prompts), default=0) + sampling.max_new_tokens)
    by_length = sorted(range(len(prompts)), key=lambda p: (-len(prompts[p]), p))
    rows = [(p, k) for p in by_length for k in range(sampling.n)]
    drawn: dict[tuple[int, int], Drawn] = {}
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        noise = _Noise([(seed, indices[p], k) for p, k in part], lm.device)
        with torch.inference_mode():
            done = _Batch(lm, [prompts[p] for p, _ in part], noise, sampling, ends).run()
        drawn.update(zip(part, done, strict=True))
        progress.advance(len(part))
    return [[drawn[p, k] for k in range(sampling.n)] for p in range(len(prompts))]


class _Noise:
    """Standard exponential variables, a stream a completion (float64: rare tokens need it)."""

    def __init__(self, keys: Sequence[tuple[int, int, int]], device: str) -> None:
        seeds = [np.random.SeedSequence(key) for key in keys]
        self.device = device
        self.host = (
            [np.random.Generator(np.random.SFC64(s)) for s in seeds] if device == "cpu" else []
        )
        words = [] if device == "cpu" else [int(s.generate_state(1, np.uint64)[0]) for s in seeds]
        self.local = [torch.Generator(device).manual_seed(word >> 1) for word in words]

    def next(self, rows: Sequence[int], width: int) -> Tensor:
        """The next `width` variables of each of `rows`: (rows, width)."""
        if self.host:
            block = np.empty((len(rows), width))
            for line, row in zip(block, rows, strict=True):
                self.host[row].standard_exponential(out=line)
            return torch.from_numpy(block)
        noise = torch.empty(len(rows), width, dtype=torch.float64, device=self.device)
        for place, row in enumerate(rows):
            noise[place].exponential_(generator=self.local[row])
        return noise


class _Batch:
    """Completions side by side: prompts padded on the left, one cache, rows that end taken out."""

    def __init__(
        self,
        lm: "LanguageModel",
        prompts: list[Sequence[int]],
        noise: _Noise,
        sampling: Sampling,
        ends: Ends | None,
    ) -> None:
        self.lm, self.noise, self.sampling, self.ends = lm, noise, sampling, ends
        self.prompts = prompts
        self.cache: Any = None
        self.mask: Tensor = torch.empty(0)
        self.active = list(range(len(prompts)))
        self.ids: list[list[int]] = [[] for _ in prompts]
        self.logprob = [0.0] * len(prompts)
        self.finished = [False] * len(prompts)
        self.takes_positions = takes_positions(lm.model)
        self.cache_name = "cache" if takes_cache(lm.model) else "past_key_values"
        self.tolerance = (
            TOLERANCE / sampling.temperature if lm.model.dtype == torch.float32 else 0.0
        )

    def run(self) -> list[Drawn]:
        """Draw until every row has ended or is full."""
        logits = self._prefill()
        for step in range(self.sampling.max_new_tokens):
            tokens = self._record(logits)
            going = [place for place, row in enumerate(self.active) if not self.finished[row]]
            self.active = [self.active[place] for place in going]
            if not going or step + 1 == self.sampling.max_new_tokens:
                break
            keep = torch.tensor(going, device=self.lm.device)
            if len(going) < len(tokens):
                self.cache.batch_select_indices(keep)
                tokens, self.mask = tokens[keep], self.mask[keep]
            self.mask = torch.cat([self.mask, self.mask.new_ones(len(going), 1)], dim=1)
            logits = self._forward(tokens[:, None], self.mask, self.cache)
        return [
            Drawn(tuple(ids), finished, logprob)
            for ids, finished, logprob in zip(self.ids, self.finished, self.logprob, strict=True)
        ]

    def _prefill(self) -> Tensor:
        """Run each distinct prompt once, then hand its cache to all of its completions."""
        distinct = list(dict.fromkeys(map(tuple, self.prompts)))
        longest = max(map(len, distinct))
        ids = np.zeros((len(distinct), longest), dtype=np.int64)
        mask = np.zeros_like(ids)
        for line, ones, prompt in zip(ids, mask, distinct, strict=True):
            line[longest - len(prompt) :] = prompt
            ones[longest - len(prompt) :] = 1
        place = {prompt: i for i, prompt in enumerate(distinct)}
        owner = torch.tensor([place[tuple(p)] for p in self.prompts], device=self.lm.device)
        self.mask = torch.from_numpy(mask).to(self.lm.device)
        logits = self._forward(torch.from_numpy(ids).to(self.lm.device), self.mask, None)
        self.cache.batch_select_indices(owner)
        self.mask = self.mask[owner]
        return logits[owner]

    def _forward(self, ids: Tensor, mask: Tensor, cache: Any) -> Tensor:
        """Float32 logits (rows, V) of the next token; the cache grows by `ids`."""
        extra = {self.cache_name: cache}
        if self.takes_positions:
            positions = (mask.cumsum(1) - 1).clamp(min=0)
            extra["position_ids"] = positions[:, positions.shape[1] - ids.shape[1] :]
        out = self.lm.model(
            input_ids=ids,
            attention_mask=mask,
            use_cache=True,
            logits_to_keep=1,
            **extra,
        )
        self.cache = getattr(out, self.cache_name)
        return out.logits[:, -1].float()  # type: ignore[no-any-return]

    def _record(self, logits: Tensor) -> Tensor:
        """Draw one token for each active row and write it down; returns the tokens (rows,)."""
        noise = self.noise.next(self.active, logits.shape[1])
        tokens, doubtful = pick(logits, noise, self.sampling, self.tolerance)
        for place in doubtful.nonzero()[:, 0].tolist():
            tokens[place] = self._alone(self.active[place], noise[place])
        logprobs = logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(1)
        for row, token, value in zip(self.active, tokens.tolist(), logprobs.tolist(), strict=True):
            self.ids[row].append(token)
            self.logprob[row] += value
            self.finished[row] = token in self.lm.eos_ids or (
                self.ends is not None and self.ends(self.ids[row])
            )
        return tokens

    def _alone(self, row: int, noise: Tensor) -> Tensor:
        """The token that the sequence draws when it is run by itself, without padding or cache."""
        ids = torch.tensor([[*self.prompts[row], *self.ids[row]]], device=self.lm.device)
        one = self.lm.model(
            input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, logits_to_keep=1
        )
        token, _ = pick(one.logits[:, -1].float(), noise[None], self.sampling, 0.0)
        return token[0]
