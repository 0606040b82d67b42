"""Which layers of a model have per-completion gradients that can be had from one backward pass.

The gradient of a weight matrix is a sum over tokens of (gradient at the layer's output) ⊗ (the
layer's input); for an embedding the input is the one-hot token, for a norm a product taken place
by place. A parameter is covered if every module that owns it is of such a kind; what is not (fused
experts of a mixture, recurrent cells …) is reported, not guessed.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from whichpairs.errors import UserError
from whichpairs.lm.optional import require

require("torch")
from torch import nn  # noqa: E402
from transformers.pytorch_utils import Conv1D  # noqa: E402

if TYPE_CHECKING:
    from whichpairs.lm.model import LanguageModel

Kind = Literal["linear", "conv1d", "embedding", "layernorm", "rmsnorm"]
Parameters = Literal["all", "last-layer", "lora"]
PARAMETERS = ("all", "last-layer", "lora")


@dataclass(frozen=True)
class Layer:
    """One module whose parameters are covered.

    Attributes:
        name: where it is in the model.
        weight, bias: names of its parameters (a tied parameter has the name of its first owner);
            None where absent.
    """

    name: str
    module: nn.Module
    kind: Kind
    weight: str
    bias: str | None

    @property
    def is_matrix(self) -> bool:
        """Whether the weight is a matrix (else a vector, of a norm)."""
        return self.kind in ("linear", "conv1d", "embedding")


def kind_of(module: nn.Module) -> Kind | None:
    """The kind of a module, or None where its forward pass may use its weight otherwise."""
    forward = type(module).forward
    name = type(module).__name__
    if forward is nn.Linear.forward:
        return "linear"
    if forward is Conv1D.forward:
        return "conv1d"
    if forward is nn.Embedding.forward or name.endswith("ScaledWordEmbedding"):
        return "embedding"
    if forward is nn.LayerNorm.forward:
        return "layernorm"
    if name.endswith("RMSNorm") and getattr(module, "weight", None) is not None:
        return "rmsnorm"
    return None


def find_layers(model: nn.Module) -> list[Layer]:
    """The covered layers, in the model's order."""
    names = {id(p): name for name, p in model.named_parameters()}
    opaque = {
        id(p)
        for module in model.modules()
        if kind_of(module) is None
        for p in module.parameters(recurse=False)
    }
    layers = []
    for name, module in model.named_modules():
        kind = kind_of(module)
        weight = getattr(module, "weight", None)
        if kind is None or weight is None or id(weight) in opaque:
            continue
        bias = getattr(module, "bias", None)
        bias_name = None if bias is None or id(bias) in opaque else names[id(bias)]
        layers.append(Layer(name, module, kind, names[id(weight)], bias_name))
    return layers


def choose_layers(lm: "LanguageModel", parameters: Parameters) -> list[Layer]:
    """The layers whose gradients are taken.

    Args:
        parameters: ``all``; ``last-layer``, the output head by itself: Σ_t (e_{y_t} − π_t) ⊗ h_t,
            which for a matrix tied to the embedding is the gradient of its use as output alone;
            ``lora``, the linear layers that low-rank adapters are put on (all but the head).

    Raises:
        UserError: the model has no such layer that can be covered.
    """
    layers = find_layers(lm.model)
    if parameters == "all":
        return layers
    head = lm.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    if parameters == "last-layer":
        chosen = [layer for layer in layers if layer.module is head]
    else:
        linear = [x for x in layers if x.kind in ("linear", "conv1d") and x.module is not head]
        chosen = [replace(layer, bias=None) for layer in linear]
    if not chosen:
        raise UserError(
            f"--parameters {parameters} needs a model with such layers of a known kind",
            f"{lm.path} has none",
            "use --parameters all",
        )
    return chosen


def coverage(lm: "LanguageModel") -> tuple[float, list[str]]:
    """The share of all parameters that ``all`` covers, and the names of the rest.

    Returns:
        A share from 0 to 1 (tied parameters counted once), and parameter names in the model's
        order.
    """
    covered = {n for layer in find_layers(lm.model) for n in (layer.weight, layer.bias)}
    sizes = {name: p.numel() for name, p in lm.model.named_parameters()}
    missing = [name for name in sizes if name not in covered]
    total = sum(sizes.values())
    return (total - sum(sizes[name] for name in missing)) / total, missing
