"""The sources of a pool: one model, or several models and sampling settings mixed.

A file of sources is TOML (or JSON of the same shape); what a source does not say is taken from the
options of the command::

    [[source]]
    name = "calm"
    model = "models/mine"
    temperature = 0.7

    [[source]]
    name = "stranger"
    backend = "server"
    server = "http://localhost:8000/v1"
    model = "their-model"
    n = 4
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from whichpairs.endpoint.client import ServerSettings
from whichpairs.endpoint.journal import Journal
from whichpairs.errors import UserError, plainly
from whichpairs.generate.backend import Backend, Sampling
from whichpairs.lm.precision import check_precision

BACKENDS = ("transformers", "server", "vllm")
OWN = {
    "transformers": {"device", "batch_size", "dtype"},
    "server": {"server", "key_variable", "requests_at_once", "requests_per_minute", "retries"}
    | {"timeout"},
    "vllm": set[str](),
}
"""The settings that one back-end alone reads."""


@dataclass(frozen=True)
class Source:
    """One model, and how it is sampled.

    Attributes:
        name: what the pool's column ``source`` says.
        backend: one of `BACKENDS`; model: a folder, a hub name, or a server's name for it.
        sampling: how completions are drawn.
        server: the base URL, for the back-end of that name; key_variable, requests_at_once,
            requests_per_minute, retries, timeout: see `ServerSettings`.
        device, batch_size, dtype: for transformers.
    """

    name: str
    backend: str
    model: str
    sampling: Sampling
    server: str | None = field(default=None, repr=False)
    key_variable: str = "OPENAI_API_KEY"
    requests_at_once: int = 8
    requests_per_minute: float | None = None
    retries: int = 6
    timeout: float = 120.0
    device: str = "auto"
    batch_size: int = 256
    dtype: str = "float32"

    def checked(self) -> "Source":
        """Itself.

        Raises:
            UserError: no such back-end or precision, no model, or a server without URL.
        """
        if self.backend not in BACKENDS:
            raise UserError(f"a backend is one of {', '.join(BACKENDS)}", f"got {self.backend!r}")
        if not self.model:
            raise UserError("a source needs a model", "none is named", "pass --model")
        if not self.name or not self.name.isprintable():
            raise UserError("a source's name must be in one line", f"got {self.name!r}")
        if (self.server is not None) != (self.backend == "server"):
            given = "a URL" if self.server else "none"
            raise UserError(
                "the backend server needs the server's base URL, and no other takes one",
                f"source {self.name!r} has backend {self.backend} and {given}",
                "pass --server URL",
            )
        if self.backend == "server":
            self.server_settings()
        check_precision(self.dtype)
        return self

    def server_settings(self) -> ServerSettings:
        """Where its server is.

        Raises:
            UserError: a value out of range, or a URL that is none.
        """
        return ServerSettings(
            self.server or "",
            self.model,
            key_variable=self.key_variable,
            requests_at_once=self.requests_at_once,
            requests_per_minute=self.requests_per_minute,
            retries=self.retries,
            timeout=self.timeout,
        )

    def fingerprint(self) -> str:
        """What tells its model from another, without loading it.

        Raises:
            UserError: there is no such model.
        """
        from whichpairs.lm.folder import identity
        from whichpairs.lm.gguf_file import find_gguf

        if self.backend == "server":
            return self.model
        here = Path(self.model).is_dir() or find_gguf(self.model) is not None
        if self.backend == "vllm" and not here:
            return self.model
        return identity(self.model)

    def open(self, journal: Journal) -> Backend:
        """The back-end, its model loaded.

        Args:
            journal: keeps what a server answers.
        """
        if self.backend == "server":
            from whichpairs.generate.server import Server

            return Server(self.server_settings(), journal)
        if self.backend == "vllm":
            from whichpairs.generate.vllm import Vllm
            from whichpairs.lm.folder import find_folder
            from whichpairs.lm.gguf_file import find_gguf

            file = find_gguf(self.model)
            return Vllm(self.model if file is None else str(find_folder(file)))
        from whichpairs.generate.transformers import Transformers

        return Transformers(self.model, self.device, self.batch_size, self.dtype)


def read_sources(path: str | Path, usual: Source) -> list[Source]:
    """The sources in a file.

    Args:
        usual: what a source has where the file says nothing; its name is not used.

    Raises:
        UserError: the file is missing or broken, a setting is unknown or of the wrong kind, or two
            sources have one name.
    """
    rows = _rows(Path(path))
    sources = [_source(row, usual, f"{path}, source {i}") for i, row in enumerate(rows, start=1)]
    names = [source.name for source in sources]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(
            "sources need different names", f"{path} has {twice!r} twice", "give each its name"
        )
    return sources


def left_to_options(path: str | Path, usual: Source) -> set[str]:
    """The settings that some source of the file takes from the options, and reads.

    Raises:
        UserError: as `read_sources`.
    """
    rows, sources = _rows(Path(path)), read_sources(path, usual)
    return {
        name
        for row, source in zip(rows, sources, strict=True)
        for name in _KINDS.keys() - row.keys() - {"name"}
        if reads(source.backend, name) and not (name == "backend" and "server" in row)
    }


def reads(backend: str, name: str) -> bool:
    """Whether a back-end reads a setting."""
    return name in OWN[backend] or not any(name in own for own in OWN.values())


def short_name(model: str) -> str:
    """The last part of a model's folder or hub name."""
    return model.rstrip("/").rpartition("/")[2] or model


def _rows(path: Path) -> list[Mapping[str, Any]]:
    rule = "the file of sources must be TOML or JSON with a list called source"
    try:
        text = path.read_text(encoding="utf-8-sig")
        found = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(rule, f"{path}: {plainly(error)}") from None
    rows = found.get("source") if isinstance(found, dict) else found
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise UserError(rule, f"{path} has none", "begin each source with a line [[source]]")
    return rows


_SAMPLING = {f.name: f.type for f in fields(Sampling)}
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(
        ("name", "backend", "model", "server", "key_variable", "device", "dtype"), (str,)
    ),
    **dict.fromkeys(("n", "max_new_tokens", "top_k", "requests_at_once", "retries"), (int,)),
    **dict.fromkeys(("temperature", "top_p", "requests_per_minute", "timeout"), (int, float)),
    "batch_size": (int,),
    "stop": (list,),
}


_SPOKEN = {str: "text", int: "whole number", float: "number", list: "list of texts"}


def _source(row: Mapping[str, Any], usual: Source, where: str) -> Source:
    for name, value in row.items():
        kinds = _KINDS.get(name)
        if kinds is None:
            raise UserError(f"a source has {', '.join(_KINDS)}", f"{where} has {name!r}")
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise UserError(f"{name} must be a {_SPOKEN[kinds[-1]]}", f"{where} has {value!r}")
    if not all(isinstance(text, str) for text in row.get("stop", [])):
        raise UserError("stop must be a list of texts", f"{where} has {row['stop']!r}")
    ours = {k: v for k, v in row.items() if k not in _SAMPLING}
    drawing: dict[str, Any] = {
        k: tuple(v) if k == "stop" else v for k, v in row.items() if k in _SAMPLING
    }
    if "server" in ours:
        ours.setdefault("backend", "server")
    elif "backend" in ours and ours["backend"] != "server":
        ours["server"] = None
    ours.setdefault("name", short_name(ours.get("model", usual.model)))
    return replace(usual, **ours, sampling=replace(usual.sampling, **drawing)).checked()
