"""φ(x, y) = a sentence embedding: what the text is about, from a model that never saw the policy.

No gradient, and no pass of the policy either: the embedding model is small, so this is the cheapest
feature map that knows the meaning of words.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32

from whichpairs.chat import spoken
from whichpairs.errors import UserError, plainly
from whichpairs.features.hidden import hidden_projection
from whichpairs.features.store import WINDOW
from whichpairs.lm.folder import find_folder, identity
from whichpairs.lm.model import pick_device
from whichpairs.lm.optional import quiet, require
from whichpairs.types import SILENT, Example, Progress

Texts = Literal["completion", "both"]
TEXTS = ("completion", "both")


@dataclass(frozen=True)
class Embedder:
    """A sentence-transformers model.

    Attributes:
        model: the network; path: what the caller asked for; fingerprint: of its folder.
    """

    model: Any
    path: str
    fingerprint: str

    @property
    def dim(self) -> int:
        """Numbers in an embedding."""
        model = self.model  # the long name is that of sentence-transformers 5
        short = getattr(model, "get_embedding_dimension", None)
        return int(short() if short else model.get_sentence_embedding_dimension())


def load_embedder(path: str | Path, *, device: str = "auto") -> Embedder:
    """Load a sentence-transformers model from a folder, or from the hub (its local cache first).

    Weights are ``*.safetensors``; pickled ones are refused, and no code that comes with a model is
    run.

    Raises:
        UserError: no such folder or hub name, no device, or no such model in it.
        MissingExtraError: sentence-transformers is not installed.
    """
    require("sentence_transformers", "embed")
    from sentence_transformers import SentenceTransformer

    name, folder = pick_device(device), find_folder(path)
    rule = f"{path} must hold a sentence-transformers model (modules.json, *.safetensors)"
    if not (folder / "modules.json").is_file():
        raise UserError(rule, "it has no modules.json", "--method hidden takes a language model")
    with quiet():
        try:
            model = SentenceTransformer(
                str(folder),
                device=name,
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )
        except Exception as error:  # what a broken file raises depends on the library that reads it
            raise UserError(rule, plainly(error)) from error
    return Embedder(model, str(path), identity(path, folder))


def embed_features(
    embedder: Embedder,
    examples: Sequence[Example],
    *,
    texts: Texts = "completion",
    dim: int | None = None,
    seed: int = 0,
    batch_size: int = 64,
    max_length: int | None = None,
    progress: Progress = SILENT,
) -> Iterator[Float32[np.ndarray, "block dim"]]:
    """The embedding of each completion.

    Args:
        texts: ``"completion"``, or ``"both"``: the prompt and then the completion (of chat messages
            every content, a line each).
        dim: where it is below the embedding's size, a Gaussian projection to `dim` numbers that
            keeps inner products in expectation; else (or None) the embedding as it is.
        seed: of the projection, 0 or more.
        batch_size: texts a forward pass.
        max_length: the most tokens of a text; None is the model's own limit. Longer texts are cut.

    Yields:
        Blocks of rows in the order of `examples`, up to 16 batches each.

    Raises:
        UserError: `dim` or `max_length` below 1, or an unknown kind of texts.
    """
    if texts not in TEXTS:
        raise UserError(f"texts must be one of {', '.join(TEXTS)}", f"got {texts}")
    if any(number is not None and number < 1 for number in (dim, max_length, batch_size)):
        raise UserError(
            "dim, max_length and batch_size must be at least 1",
            f"got {dim}, {max_length} and {batch_size}",
        )
    projection = hidden_projection(embedder.dim, dim, seed)
    progress.start("sentence embeddings", len(examples))
    for start in range(0, len(examples), WINDOW * batch_size):
        part = examples[start : start + WINDOW * batch_size]
        with _limited(embedder.model, max_length):
            found = embedder.model.encode(
                [text_of(example, texts) for example in part],
                batch_size=batch_size,
                show_progress_bar=False,
                convert_to_numpy=True,
            )
        block = np.asarray(found, dtype=np.float32)
        progress.advance(len(part))
        yield block if projection is None else block @ projection
    progress.finish()


@contextmanager
def _limited(model: Any, max_length: int | None) -> Iterator[None]:
    """The model reads at most `max_length` tokens meanwhile, and never more than it can."""
    own = model.max_seq_length
    if max_length is None or (own is not None and own <= max_length):
        yield
        return
    model.max_seq_length = max_length
    try:
        yield
    finally:
        model.max_seq_length = own


def limit(model: Any, max_length: int | None) -> int | None:
    """The most tokens of a text that a sentence-transformers model reads; None where there is no
    limit."""
    limits = [
        one for one in (model.max_seq_length, max_length) if one is not None and one < math.inf
    ]
    return int(min(limits)) if limits else None


def text_of(example: Example, texts: Texts) -> str:
    """What is embedded of a completion: itself, or its prompt and it."""
    if texts == "completion":
        return example.completion
    if isinstance(example.prompt, str):
        return example.prompt + example.completion
    return "\n".join([*map(spoken, example.prompt), example.completion])
