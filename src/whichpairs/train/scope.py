"""What DPO changes of a model, and in which arithmetic.

Training the top layers alone needs no backward pass below them; bfloat16 is several times faster
than float32 on a processor with AMX, and on GPUs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from whichpairs.errors import UserError
from whichpairs.lm.blocks import blocks
from whichpairs.lm.optional import require
from whichpairs.train.settings import ALL_LAYERS, top_layers

require("torch")
import torch  # noqa: E402

if TYPE_CHECKING:
    from whichpairs.lm.model import LanguageModel


@contextmanager
def arithmetic(device: str, dtype: str) -> Iterator[None]:
    """Run a block's matrix products in `dtype`; weights, norms and sums stay as they are (float32).

    Args:
        device: torch's name of it; dtype: ``float32`` or ``bfloat16``.

    Raises:
        UserError: bfloat16 on a GPU that has none.
    """
    kind = torch.device(device).type
    if dtype == "float32":
        yield
        return
    if kind == "cuda" and not torch.cuda.is_bf16_supported():
        raise UserError(
            "--dtype bfloat16 needs a GPU that computes in it",
            f"{torch.cuda.get_device_name()} does not",
            "pass --dtype float32",
        )
    with torch.autocast(kind, dtype=torch.bfloat16):
        yield


def set_trained(lm: "LanguageModel", layers: str) -> None:
    """Let the parameters that are trained ask for gradients, and no others.

    Args:
        layers: ``all``: every parameter; ``top:N``: those of the last N layers, not the embeddings,
            the last norm or the output head.

    Raises:
        UserError: the model has fewer than N layers, or none that can be told apart.
    """
    lm.model.requires_grad_(layers == ALL_LAYERS)
    for _, block in chosen_blocks(lm, layers):
        block.requires_grad_(True)


def linear_layers(lm: "LanguageModel", layers: str) -> list[str] | str:
    """Names of the linear layers that adapters go to: as peft's ``all-linear``, in those layers.

    Raises:
        UserError: as `set_trained`.
    """
    if layers == ALL_LAYERS:
        return "all-linear"
    from transformers.pytorch_utils import Conv1D

    return [
        f"{name}.{inner}"
        for name, block in chosen_blocks(lm, layers)
        for inner, module in block.named_modules()
        if isinstance(module, (torch.nn.Linear, Conv1D))
    ]


def chosen_blocks(lm: "LanguageModel", layers: str) -> list[tuple[str, Any]]:
    """The last N transformer blocks with their names, lowest first; none for ``all``.

    Raises:
        UserError: as `set_trained`.
    """
    count = top_layers(layers)
    if count is None:
        return []
    found = blocks(lm)
    if count > len(found):
        raise UserError(
            f"layers must be {ALL_LAYERS}, or top:N with N from 1 to the {len(found)} layers of "
            "the model",
            f"got {layers}",
        )
    return found[len(found) - count :]
