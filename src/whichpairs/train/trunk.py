"""What the layers below the trained ones make of every sequence, computed once.

Where DPO changes the top layers alone, those below give the same output at every step: with it
kept, a step costs the top layers and the head, and the reference's log-probabilities and those of
the policy at the end cost no more.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from whichpairs.lm.batch import pad, sorted_batches
from whichpairs.lm.blocks import entering
from whichpairs.lm.encode import Encoded
from whichpairs.lm.logprobs import forward, takes_positions
from whichpairs.lm.optional import require
from whichpairs.train.scope import arithmetic, chosen_blocks

require("torch")
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

if TYPE_CHECKING:
    from whichpairs.lm.model import LanguageModel

Ids = tuple[int, ...]

LARGEST = 2 << 30
"""Bytes that are kept at most; longer data is trained on without."""
NEAR = 1e-3
"""Nats by which log-probabilities by way of what is kept may differ; a model that adds something to
its embeddings on the way (learned positions, a scale) differs by far more, and is trained on
without."""


@dataclass(frozen=True)
class Trunk:
    """The outputs.

    Attributes:
        kept: of each sequence's tokens, what enters the lowest trained layer, (tokens, width).
        layers: ``top:N``, which layers are trained.
    """

    kept: dict[Ids, Tensor]
    layers: str

    def on(self, lm: "LanguageModel") -> "LanguageModel":
        """`lm`, whose lower layers are those that made `kept`, reading known sequences by way of
        it."""
        above: Any = Above(lm, self)
        return replace(lm, model=above)


class Above(nn.Module):
    """The trained layers and the head of a model, over what a trunk has kept."""

    def __init__(self, lm: "LanguageModel", trunk: Trunk) -> None:
        super().__init__()
        blocks = chosen_blocks(lm, trunk.layers)
        path = blocks[0][0].rpartition(".")[0]
        holder, _, self.place = path.rpartition(".")
        top = nn.ModuleList(block for _, block in blocks)
        # In tuples: none of this is a part of its own.
        self.hidden = (lm.model, lm.model.get_submodule(holder), top)
        self.kept, self.config = trunk.kept, lm.model.config

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor | None = None,
        **how: Any,
    ) -> Any:
        """As the model's own, of sequences that are known, padded on the right."""
        return self.through(self.hidden[0], input_ids, attention_mask, **how)

    def through(self, model: Any, input_ids: Tensor, attention_mask: Tensor, **how: Any) -> Any:
        """The same by way of `model`, which holds the same layers (adapters or a device's wrapper
        around them)."""
        inside = attention_mask.bool()
        kept = [self.kept[tuple(row[m].tolist())] for row, m in zip(input_ids, inside, strict=True)]
        states = kept[0].new_zeros(*inside.shape, kept[0].shape[1])
        states[inside] = torch.cat(kept)
        with self._alone():
            return model(inputs_embeds=states, attention_mask=attention_mask, **how)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """The model without its lower layers."""
        _, holder, top = self.hidden
        whole = getattr(holder, self.place)
        setattr(holder, self.place, top)
        try:
            yield
        finally:
            setattr(holder, self.place, whole)


def make_trunk(
    lm: "LanguageModel", encoded: Sequence[Encoded], layers: str, dtype: str, batch_size: int = 64
) -> Trunk | None:
    """What lies below the trained layers, of these sequences; None where it would be of no use.

    That is where all layers are trained, where it is larger than `LARGEST`, or where the model does
    not give the same log-probabilities by way of it.

    Args:
        layers: as `scope.set_trained`; dtype: as `scope.arithmetic`.
    """
    blocks = chosen_blocks(lm, layers)
    depth = lm.model.config.get_text_config().num_hidden_layers
    distinct = {(*e.prompt_ids, *e.completion_ids): e for e in encoded}
    size = 4 * sum(map(len, distinct)) * lm.model.config.get_text_config().hidden_size
    if not blocks or len(blocks) == depth or size > LARGEST:
        return None
    trunk = Trunk({}, layers)
    if not _agrees(lm, [*distinct.values()][:2], trunk, blocks[0][1], dtype):
        return None
    _fill(lm, [*distinct.values()], trunk, blocks[0][1], dtype, batch_size)
    return trunk


def _fill(
    lm: "LanguageModel",
    encoded: Sequence[Encoded],
    trunk: Trunk,
    lowest: nn.Module,
    dtype: str,
    batch_size: int,
) -> None:
    for rows in sorted_batches([len(e) for e in encoded], batch_size):
        some = [encoded[i] for i in rows]
        batch = pad(some, lm.tokenizer.pad_token_id, lm.device)
        with arithmetic(lm.device, dtype):
            states = entering(lm, batch, lowest)
        for e, own in zip(some, states, strict=True):
            trunk.kept[(*e.prompt_ids, *e.completion_ids)] = own[: len(e)].clone()


def _agrees(
    lm: "LanguageModel", some: Sequence[Encoded], trunk: Trunk, lowest: nn.Module, dtype: str
) -> bool:
    """Whether the last token's log-probabilities are the same by way of what is kept."""
    if not takes_positions(
        lm.model
    ):  # and so no embeddings in place of tokens, or positions of its own
        return False
    _fill(lm, some, trunk, lowest, dtype, len(some))
    batch = pad(some, lm.tokenizer.pad_token_id, lm.device)
    last = batch.attention_mask.sum(1) - 1
    with torch.no_grad(), arithmetic(lm.device, dtype):
        ways = [forward(one, batch, logits_to_keep=0).logits for one in (lm, trunk.on(lm))]
    rows = torch.arange(len(some), device=last.device)
    ours, theirs = (way[rows, last].float().log_softmax(-1) for way in ways)
    return bool((ours - theirs).abs().max() < NEAR)
