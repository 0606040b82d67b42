"""One token by an exponential race: argmin_v E_v / p_v, E_v ~ Exp(1), is v with probability p_v.

(The same as adding Gumbel noise −log E_v to the logits and taking the largest.) The race is run
over the tokens that top_k and top_p leave.
"""

from dataclasses import dataclass

from whichpairs.errors import UserError
from whichpairs.lm.optional import require

require("torch")
import torch  # noqa: E402
from torch import Tensor  # noqa: E402


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn.

    Attributes:
        n: completions a prompt, at least 1.
        max_new_tokens: the most tokens of a completion, its end-of-sequence token counted.
        temperature: logits are divided by it; above 0. At 1, with `top_p` 1 and `top_k` 0,
        samples come from π_ref.
        top_p: draw from the smallest set of most probable tokens that holds at least this share,
        in (0, 1].
        top_k: draw from this many most probable tokens; 0 for all. With both, from the tokens in
            both sets, each taken of the whole distribution.

    Raises:
        UserError: a value out of range.
    """

    n: int
    max_new_tokens: int = 128
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0

    def __post_init__(self) -> None:
        rules = [
            (self.n >= 1, "n must be at least 1", self.n),
            (self.max_new_tokens >= 1, "max_new_tokens must be at least 1", self.max_new_tokens),
            (self.temperature > 0, "temperature must be above 0", self.temperature),
            (0 < self.top_p <= 1, "top_p must be above 0 and at most 1", self.top_p),
            (self.top_k >= 0, "top_k must be 0 (all tokens) or more", self.top_k),
        ]
        for holds, rule, received in rules:
            if not holds:
                raise UserError(rule, f"got {received}")


def pick(
    logits: Tensor, noise: Tensor, sampling: Sampling, tolerance: float
) -> tuple[Tensor, Tensor]:
    """The winner of each row's race, argmax_v log p_v − log E_v, among the tokens left to draw.

    Args:
        logits: (rows, V), float32, at temperature 1.
        noise: E (rows, V), standard exponential.
        tolerance: how far two scores must be apart to be sure of their order.

    Returns:
        Tokens (rows,), and whether an error of `tolerance` in the tempered logits could change
        them (rows,).
    """
    tempered = logits / sampling.temperature
    scores = tempered - noise.log().float()
    scores.masked_fill_(~may_draw(tempered, sampling, tolerance), -torch.inf)
    best = scores.topk(2, dim=1)
    tokens = best.indices[:, 0]
    doubtful = best.values[:, 0] - best.values[:, 1] < tolerance
    surely = may_draw(tempered, sampling, -tolerance).gather(1, tokens[:, None])[:, 0]
    return tokens, (doubtful | ~surely) & (tolerance > 0)


def may_draw(tempered: Tensor, sampling: Sampling, slack: float) -> Tensor:
    """Tokens (rows, V) that top_k and top_p leave: slack > 0 the possible, < 0 the certain."""
    keep = torch.ones_like(tempered, dtype=torch.bool)
    if 0 < sampling.top_k < tempered.shape[1]:
        top = tempered.topk(sampling.top_k + 1, dim=1).values
        keep &= tempered >= top[:, [-2 if slack >= 0 else -1]] - slack
    if sampling.top_p < 1:
        probs, order = tempered.double().softmax(1).sort(dim=1, descending=True, stable=True)
        inside = probs.cumsum(1) - probs < sampling.top_p + slack
        keep &= torch.zeros_like(keep).scatter(1, order, inside)
    return keep
