"""A model's folder: where it is, and what tells it from another, without loading it.

The fingerprint is what later stages write beside their results, so that nothing of one model is
taken for another's. Free of torch, so that a stage that was done before says so at once.
"""

import hashlib
import json
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from whichpairs.errors import UserError
from whichpairs.lm.gguf_file import converted, find_gguf, gguf_fingerprint
from whichpairs.lm.optional import quiet

PATTERNS = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.tiktoken", "*.npz")
"""The files that make a model what it is: weights, configurations, tokenizer, chat templates,
adapters; and a proxy reward's."""
_BESIDE = (
    "readme*",
    "license*",
    "notice*",
    "requirements*",
    "*_results.json",
    "trainer_state.json",
)
"""Of those, what no library reads when it loads a model."""
ADAPTER = "adapter_config.json"


def find_folder(path: str | Path) -> Path:
    """The folder of a model.

    Args:
        path: that folder; a GGUF file or ``smollm2``, whose model is kept in the user's cache
            (`lm.gguf_file`); or a hub name, whose snapshot is fetched if need be.

    Raises:
        UserError: there is no such folder or file, and no such name in the cache or within reach on
            the hub; a folder with nothing but a GGUF file; see `lm.gguf_file.converted`.
    """
    folder = Path(path).expanduser()
    if folder.is_dir():
        _refuse_bare_gguf(folder)
        return folder
    file = find_gguf(path)
    if file is not None:
        return converted(file)
    name = str(path)
    here = name.startswith((".", "/", "~")) or name.lower().endswith(".gguf")
    if isinstance(path, Path) or here or name.count("/") > 1:
        raise UserError("a model's path must be an existing folder or GGUF file", f"{name} is none")
    from huggingface_hub import snapshot_download

    fetch: Any = snapshot_download
    try:
        with quiet():
            return Path(fetch(name, allow_patterns=list(PATTERNS)))
    except Exception as error:  # the hub's client has a dozen kinds, and what it builds on has more
        raise UserError(
            "a model must be an existing folder or GGUF file, smollm2, or a name on the Hugging "
            "Face hub within reach",
            f"{name} is none of them",
            "check the spelling, or download the model and pass its folder",
        ) from error


def identity(path: str | Path, folder: Path | None = None) -> str:
    """What tells a model from another, without loading or converting it.

    `fingerprint` of its folder; of a GGUF file, of its content and the version of the conversion.

    Args:
        path: as for `find_folder`; folder: what that gives, where it is known already.

    Raises:
        UserError: see `find_folder` and `fingerprint`.
    """
    file = find_gguf(path)
    return fingerprint(folder or find_folder(path)) if file is None else gguf_fingerprint(file)


def fingerprint(folder: Path) -> str:
    """16 hexadecimal digits of a SHA-256 over all that changes what a model does.

    Weights, configuration, generation settings, tokenizer and its settings, chat templates, the
    modules of a sentence embedder; of an adapter its own files and its base model's fingerprint.
    Names are hashed with the contents, and the bytes are streamed, a megabyte at a time.

    Raises:
        UserError: the folder holds an adapter, and its base model cannot be found.
    """
    digest = hashlib.sha256()
    for file in _files(folder):
        name = file.relative_to(folder).as_posix()
        digest.update(f"{name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    base = adapter_base(folder)
    if base is not None:
        digest.update(f"base\0{identity(base)}".encode())
    return digest.hexdigest()[:16]


def adapter_base(folder: Path) -> str | None:
    """The base model that an adapter's folder names; None where the folder holds a whole model.

    Raises:
        UserError: it names none, or itself.
    """
    if (folder / "config.json").is_file() or not (folder / ADAPTER).is_file():
        return None
    found = _json(folder / ADAPTER)
    base = found.get("base_model_name_or_path") if isinstance(found, dict) else None
    if (
        not isinstance(base, str)
        or not base
        or Path(base).expanduser().resolve() == folder.resolve()
    ):
        raise UserError(
            "an adapter must name its base model",
            f"base_model_name_or_path in {folder / ADAPTER} is {base!r}",
            "write the base model's folder or hub name there",
        )
    return base


def _refuse_bare_gguf(folder: Path) -> None:
    if (folder / "config.json").is_file() or (folder / ADAPTER).is_file():
        return
    file = min(folder.glob("*.gguf"), default=None)
    if file is not None:
        raise UserError(
            "a model's folder must hold its configuration",
            f"{folder} has none, but a GGUF file",
            f"pass the file: {file}",
        )


def _files(folder: Path) -> Iterator[Path]:
    """The files of `PATTERNS` in the folder and in those of its folders that are read with it."""
    modules = _json(folder / "modules.json")
    parts = [m.get("path") for m in modules if isinstance(m, dict)] if modules else []
    inner = [folder / part for part in parts if isinstance(part, str) and part]
    for place in dict.fromkeys((folder, *inner, folder / "additional_chat_templates")):
        if not place.is_dir() or not place.resolve().is_relative_to(folder.resolve()):
            continue
        for file in sorted(place.iterdir()):
            name = file.name.lower()
            wanted = any(fnmatch(name, p) for p in PATTERNS)
            if file.is_file() and wanted and not any(fnmatch(name, p) for p in _BESIDE):
                yield file


def _json(path: Path) -> Any:
    """What a JSON file holds; None where it is missing or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
