"""A model's transformer layers, and what enters one of them."""

from typing import TYPE_CHECKING, Any

from whichpairs.errors import UserError
from whichpairs.lm.batch import Padded
from whichpairs.lm.logprobs import forward
from whichpairs.lm.optional import require

require("torch")
import torch  # noqa: E402

if TYPE_CHECKING:
    from whichpairs.lm.model import LanguageModel


def blocks(lm: "LanguageModel", option: str = "--layers top:N") -> list[tuple[str, Any]]:
    """The layers with their names, lowest first: the list of modules that is as long as the
    configuration says.

    Args:
        option: what the user asked for that needs them.

    Raises:
        UserError: there is no such list.
    """
    depth = lm.model.config.get_text_config().num_hidden_layers
    for name, module in lm.model.named_modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == depth:
            return [(f"{name}.{i}", block) for i, block in enumerate(module)]
    raise UserError(
        f"{option} needs a model whose layers can be told apart",
        f"{lm.path} has none that can",
        f"leave {option.partition(' ')[0]} out",
    )


class _EnoughError(Exception):
    """Ends a pass at the layer that was asked for."""


def entering(lm: "LanguageModel", batch: Padded, block: torch.nn.Module) -> torch.Tensor:
    """The hidden states (B, T, width) that enter a layer; those above it, and the head, are not
    run."""
    found: list[torch.Tensor] = []

    def look(_: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        found.append((arguments[0] if arguments else named["hidden_states"]).detach())
        raise _EnoughError

    hook = block.register_forward_pre_hook(look, with_kwargs=True)
    try:
        with torch.no_grad():
            forward(lm, batch, logits_to_keep=1)
    except _EnoughError:
        pass
    finally:
        hook.remove()
    return found[0]
