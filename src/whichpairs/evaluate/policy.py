"""J(π) = E_x E_{y∼π(·|x)}[r(x, y)] − β E_x KL(π(·|x) ‖ π_ref(·|x)) of a model, from its samples.

The divergence is not taken from the samples' log-ratios, whose noise drowns it: at each place of a
drawn completion the two next-token distributions are compared exactly, and only which places come
is left to chance (Amini, Vieira and Cotterell 2025, arXiv:2504.10637).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float64

from whichpairs.errors import UserError
from whichpairs.evaluate.interval import Interval, interval
from whichpairs.lm.batch import check_context, pad, sorted_batches
from whichpairs.lm.encode import Encoded, Prompt, decode, encode_prompt
from whichpairs.lm.gumbel import Sampling
from whichpairs.lm.logprobs import completion_logits
from whichpairs.lm.optional import require
from whichpairs.lm.sampler import draw

require("torch")
import torch  # noqa: E402

if TYPE_CHECKING:
    from whichpairs.lm.model import LanguageModel

RewardText = Literal["completion", "prompt+completion"]
LOGITS_AT_ONCE = 1 << 24
"""Numbers of one model's logits held at a time when two models are compared."""


@dataclass(frozen=True)
class PolicyEvaluation:
    """What a policy earns and what it costs, prompt by prompt.

    Attributes:
        reward: E_{y∼π} r(x, y) of each prompt, estimated, in the reward's unit times its scale.
        kl: KL(π(·|x) ‖ π_ref(·|x)) of each prompt, estimated, nats.
        beta: β, what a nat of divergence costs.
    """

    reward: Float64[np.ndarray, " prompts"]
    kl: Float64[np.ndarray, " prompts"]
    beta: float

    @property
    def objective(self) -> Float64[np.ndarray, " prompts"]:
        """J of each prompt: r − β KL."""
        return np.asarray(self.reward - self.beta * self.kl)

    @property
    def mean_reward(self) -> Interval:
        """E r over prompts."""
        return interval(self.reward)

    @property
    def mean_kl(self) -> Interval:
        """E KL over prompts, nats."""
        return interval(self.kl)

    @property
    def mean_objective(self) -> Interval:
        """J."""
        return interval(self.objective)

    def minus(self, other: "PolicyEvaluation") -> Interval:
        """J of this policy less J of another on the same prompts, paired prompt by prompt.

        Raises:
            UserError: the two have different numbers of prompts, or different β.
        """
        if len(self.kl) != len(other.kl) or self.beta != other.beta:
            raise UserError(
                "two evaluations compare on the same prompts with one beta",
                f"got {len(self.kl)} and {len(other.kl)} prompts, "
                f"beta {self.beta} and {other.beta}",
            )
        return interval(self.objective - other.objective)


def evaluate_policy(
    policy: "LanguageModel",
    reference: "LanguageModel",
    prompts: Sequence[Prompt],
    reward: Callable[[Sequence[str]], Float64[np.ndarray, " texts"]],
    *,
    beta: float,
    reward_scale: float = 1.0,
    samples_per_prompt: int = 8,
    max_new_tokens: int,
    seed: int,
    batch_size: int = 256,
    reward_text: RewardText = "prompt+completion",
) -> PolicyEvaluation:
    """Estimate reward, KL and J of a policy from completions drawn at temperature 1.

    Both are unbiased for completions of at most `max_new_tokens` tokens. Two policies evaluated
    with one seed share their noise, so `PolicyEvaluation.minus` is far sharper than the two
    intervals.

    Args:
        policy, reference: π and π_ref, of one vocabulary.
        prompts: texts or chat messages, at least one.
        reward: scores n texts, finite numbers of shape (n,).
        beta: β, 0 or more.
        reward_scale: r is the score times this.
        samples_per_prompt: completions a prompt, at least 1.
        seed: of the completions, 0 or more.
        batch_size: completions side by side.
        reward_text: what the reward sees: the completion, or the prompt and the completion
            (messages: their contents and the completion, a line each).

    Raises:
        UserError: an argument out of range, or a reward that is not one finite number a text.
    """
    if not prompts or beta < 0:
        raise UserError(
            "evaluation needs prompts and a beta of 0 or more", f"got {len(prompts)}, {beta}"
        )
    encoded = [encode_prompt(policy.tokenizer, prompt) for prompt in prompts]
    sampling = Sampling(samples_per_prompt, max_new_tokens)
    drawn = draw(policy, encoded, sampling, seed=seed, batch_size=batch_size)
    flat = [(i, one) for i, many in enumerate(drawn) for one in many]
    texts = decode(policy.tokenizer, [one.ids[: len(one.ids) - one.finished] for _, one in flat])
    if reward_text == "prompt+completion":
        texts = [_opening(prompts[i]) + text for (i, _), text in zip(flat, texts, strict=True)]
    scores = np.asarray(reward(texts), dtype=np.float64)
    if scores.shape != (len(texts),) or not np.all(np.isfinite(scores)):
        raise UserError(
            "a reward must give one finite number a text",
            f"got shape {scores.shape} for {len(texts)} texts",
        )
    kl = sequence_kl(
        policy, reference, [Encoded(encoded[i], one.ids) for i, one in flat], batch_size=batch_size
    )
    shape = (len(prompts), samples_per_prompt)
    return PolicyEvaluation(
        reward_scale * scores.reshape(shape).mean(1), kl.reshape(shape).mean(1), beta
    )


def sequence_kl(
    policy: "LanguageModel",
    reference: "LanguageModel",
    encoded: Sequence[Encoded],
    *,
    batch_size: int,
) -> Float64[np.ndarray, " n"]:
    """Σ_t KL(π(·|x, y_<t) ‖ π_ref(·|x, y_<t)) over the places t of each completion y.

    The end token's place counts. The mean over y ∼ π is KL(π ‖ π_ref) by the chain rule. In nats,
    at least 0 but for rounding; exactly 0 where the two models have one fingerprint.

    Raises:
        UserError: the vocabularies differ, or a completion exceeds a model's context.
    """
    result = np.zeros(len(encoded))
    if policy.fingerprint == reference.fingerprint:
        return result
    width = [lm.model.config.get_text_config().vocab_size for lm in (policy, reference)]
    if width[0] != width[1]:
        raise UserError(
            "policy and reference must share one vocabulary",
            f"{policy.path} has {width[0]} tokens, {reference.path} {width[1]}",
        )
    lengths = [len(e) for e in encoded]
    longest = max(lengths, default=1)
    check_context(policy, longest)
    check_context(reference, longest)
    at_once = max(1, min(batch_size, LOGITS_AT_ONCE // (longest * width[0])))
    for rows in sorted_batches(lengths, at_once):
        part = [encoded[i] for i in rows]
        with torch.inference_mode():
            ours, mask = _log_distribution(policy, part)
            theirs, _ = _log_distribution(reference, part)
            places = (ours.exp() * (ours - theirs.to(ours.device))).sum(-1, dtype=torch.float64)
            result[rows] = (places * mask).sum(1).cpu().numpy()
    return result


def _log_distribution(
    lm: "LanguageModel", encoded: Sequence[Encoded]
) -> tuple[torch.Tensor, torch.Tensor]:
    """log π(·|x, y_<t) at the last K places (n, K, V), and which are a completion's (n, K)."""
    batch = pad(encoded, lm.tokenizer.pad_token_id, lm.device)
    logits = completion_logits(lm, batch)
    return logits.log_softmax(-1), batch.completion[
        :, batch.completion.shape[1] - logits.shape[1] :
    ]


def _opening(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else "".join(f"{m['content']}\n" for m in prompt)
