"""φ(x, y) = P ∇_θ log π_ref(y|x), the theory's features: a batch from one backward pass.

The backward pass of a summed log-likelihood brings, at each layer, every completion's own
gradient at the layer's output, since completions of a batch do not mix. Hooks project it at once
together with the layer's input, so no completion's full gradient is ever built, nor are the
parameters' gradients.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float32

from whichpairs.errors import UserError
from whichpairs.features.layers import PARAMETERS, Layer, Parameters, choose_layers, coverage
from whichpairs.features.projection import Projection, build_projection
from whichpairs.features.store import WINDOW
from whichpairs.lm.batch import check_context, pad, sorted_batches
from whichpairs.lm.encode import Encoded, encode_all
from whichpairs.lm.logprobs import token_logprobs
from whichpairs.lm.optional import require
from whichpairs.types import SILENT, Example, Progress

require("torch")
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

if TYPE_CHECKING:
    from whichpairs.lm.model import LanguageModel

__all__ = ["coverage", "gradient_features"]

Normalise = Literal["none", "mean", "sqrt"]
"""What the log-probability of T tokens is divided by: 1, T, or √T."""
NORMALISE = ("none", "mean", "sqrt")
DEFAULT_RANK = 8


def gradient_features(
    lm: "LanguageModel",
    examples: Sequence[Example],
    *,
    dim: int,
    seed: int,
    parameters: Parameters = "all",
    lora_rank: int = DEFAULT_RANK,
    normalise: Normalise = "none",
    batch_size: int = 64,
    max_length: int | None = None,
    progress: Progress = SILENT,
) -> Iterator[Float32[np.ndarray, "block dim"]]:
    """P ∇ log π(y|x) of each completion.

    P is a random matrix that depends on `seed`, `dim` and the model's layers; E⟨Pg, Pg'⟩ = ⟨g,
    g'⟩. Features are not centred. A completion of no token has the zero vector.

    Args:
        dim: numbers a completion, at least 1.
        seed: of the projection (and of the adapters' A), 0 or more.
        parameters: with respect to which ones; see `choose_layers`.
        lora_rank: r of the adapters, for ``lora``.
        normalise: ``none``, the log-probability is the sum over the completion's T tokens, in nats,
            which is DPO's implicit reward; ``mean`` divides it by T (the reward of
            length-normalised DPO and of SimPO, arXiv:2405.14734), ``sqrt`` by √T, under which a
            gradient of T unrelated tokens has a norm that does not depend on T.
        batch_size: completions a backward pass. Results agree between batch sizes to about 1e-5
            of their norm.
        max_length: the most tokens of prompt and completion together; see `lm.encode`.

    Yields:
        Blocks of rows in the order of `examples`, up to 16 batches each.

    Raises:
        UserError: a completion that exceeds the model's context, or a model whose layers mix
            completions.
    """
    _check(dim, seed, parameters, lora_rank, normalise)
    layers = choose_layers(lm, parameters)
    rank = lora_rank if parameters == "lora" else None
    projection = build_projection(layers, dim, seed, lm.device, lora_rank=rank)
    progress.start("gradient features", len(examples))
    for start in range(0, len(examples), WINDOW * batch_size):
        part = examples[start : start + WINDOW * batch_size]
        encoded = encode_all(lm.tokenizer, part, max_length)
        lengths = [len(e) for e in encoded]
        check_context(lm, max(lengths))
        block = np.zeros((len(part), dim), dtype=np.float32)
        for rows in sorted_batches(lengths, batch_size):
            block[rows] = batch_gradients(lm, [encoded[i] for i in rows], layers, projection)
            progress.advance(len(rows))
        yield block / _divisors(encoded, normalise)[:, None]
    progress.finish()


def _check(dim: int, seed: int, parameters: str, lora_rank: int, normalise: str) -> None:
    if dim < 1 or seed < 0:
        raise UserError("dim must be at least 1 and seed at least 0", f"got {dim} and {seed}")
    if normalise not in NORMALISE or parameters not in PARAMETERS or lora_rank < 1:
        raise UserError(
            f"normalise is one of {', '.join(NORMALISE)}, parameters one of "
            f"{', '.join(PARAMETERS)}, lora_rank at least 1",
            f"got {normalise}, {parameters} and {lora_rank}",
        )


def _divisors(encoded: Sequence[Encoded], normalise: Normalise) -> Float32[np.ndarray, " n"]:
    """What each completion's log-probability is divided by."""
    tokens = np.maximum([len(e.completion_ids) for e in encoded], 1).astype(np.float32)
    return tokens ** np.float32({"none": 0.0, "sqrt": 0.5, "mean": 1.0}[normalise])


def batch_gradients(
    lm: "LanguageModel", encoded: Sequence[Encoded], layers: Sequence[Layer], projection: Projection
) -> Float32[np.ndarray, "n dim"]:
    """Projected gradients of n completions from one forward and one backward pass."""
    batch = pad(encoded, lm.tokenizer.pad_token_id, lm.device)
    blocks = torch.zeros(len(encoded), len(projection.signs), device=lm.device)
    wanted = [p for p in lm.model.parameters() if p.requires_grad]
    with ExitStack() as after, torch.enable_grad():
        for parameter in wanted:
            parameter.requires_grad_(False)
            after.callback(parameter.requires_grad_, True)
        for layer in layers:
            hook = _Hook(layer, projection, blocks, tuple(batch.input_ids.shape))
            after.callback(layer.module.register_forward_hook(hook).remove)
        logprobs, mask = token_logprobs(lm, batch)
        total = (logprobs * mask).sum()
        if total.requires_grad:
            total.backward()  # type: ignore[no-untyped-call]
    return projection.fold(blocks).cpu().numpy()


class _Hook:
    """Watches a layer forwards, and adds its projected gradient to `blocks` on the way back."""

    def __init__(
        self, layer: Layer, projection: Projection, blocks: Tensor, shape: tuple[int, ...]
    ) -> None:
        self.layer, self.projection, self.shape = layer, projection, shape
        self.block = blocks[:, projection.places[layer.weight]]
        is_vector = layer.bias is not None and not layer.is_matrix
        self.bias = blocks[:, projection.places[layer.bias]] if is_vector and layer.bias else None

    def __call__(self, module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if not output.requires_grad:
            output.requires_grad_()  # the graph begins here: no parameter asks for a gradient
        if self.layer.is_matrix:
            entered = self._entered(inputs[0].detach())
            keep = partial(self._matrix, entered)
        else:
            normal = self._normalised(inputs[0].detach())
            keep = partial(self._norm, normal)
        output.register_hook(keep)  # type: ignore[no-untyped-call]

    def _entered(self, x: Tensor) -> Tensor:
        """The projected input of a matrix, (n, tokens, k)."""
        left, right = self.projection.sides[self.layer.weight]
        if self.layer.kind == "embedding":
            entered = nn.functional.embedding(self._by_row(x[..., None])[..., 0], left.T)
            blank = getattr(self.layer.module, "padding_idx", None)
            return entered if blank is None else entered * (x != blank)[..., None]
        entered = self._by_row(x).float() @ (left if self.layer.kind == "conv1d" else right).T
        bias = self.layer.bias
        return entered if bias is None else entered + self.projection.biases[bias]

    def _matrix(self, entered: Tensor, gradient: Tensor) -> None:
        """Add L (Σ_t l_t r_tᵀ) Rᵀ of each completion."""
        left, right = self.projection.sides[self.layer.weight]
        gradient = self._by_row(gradient).float()
        if self.layer.kind == "linear":
            block = (gradient @ left.T).transpose(1, 2) @ entered
        else:
            block = entered.transpose(1, 2) @ (gradient @ right.T)
        scale = float(getattr(self.layer.module, "embed_scale", 1.0))
        self.block += block.flatten(1) * scale

    def _normalised(self, x: Tensor) -> Tensor:
        """What a norm multiplies by its weight, (n, tokens, width)."""
        x = self._by_row(x).float()
        module: Any = self.layer.module
        if self.layer.kind == "layernorm":
            return nn.functional.layer_norm(x, module.normalized_shape, eps=module.eps)
        eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
        eps = torch.finfo(x.dtype).eps if eps is None else eps
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)

    def _norm(self, normal: Tensor, gradient: Tensor) -> None:
        """Add Σ_t g_t ⊙ x̂_t for the weight, and Σ_t g_t for the bias."""
        gradient = self._by_row(gradient).float()
        self.block += (gradient * normal).sum(1)
        if self.bias is not None:
            self.bias += gradient.sum(1)

    def _by_row(self, tensor: Tensor) -> Tensor:
        """(n, tokens, width), or an error where the layer does not keep completions apart."""
        n, length = self.shape
        if tensor.shape[0] == n and tensor.ndim >= 3:
            return tensor.reshape(n, -1, tensor.shape[-1])
        if tensor.ndim == 2 and tensor.shape[0] == n * length:
            return tensor.reshape(n, length, -1)
        raise UserError(
            "gradient features need layers that keep the completions of a batch apart",
            f"{self.layer.name} has shape {tuple(tensor.shape)} for {n} of {length} tokens",
            "Use features=hidden for this model",
        )
