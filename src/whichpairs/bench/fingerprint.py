"""What a figure was measured with: a digest of every source file that can change it.

A page names where its measuring begins (modules, or scripts of a recipe). From there every import
within whichpairs is followed, also those inside functions; a name that a package only passes on
(`from whichpairs.design import solve`) leads to the module that defines it. Files of another kind that
a module names and that stand beside it (`tiles.c`, `grid.toml`) count too, but for Markdown. Not followed are the rooms
that cannot change a number: the command line, the report and the errors' wording (`MUTE`), and imports
for type checking alone. A file's digest is that of its code: comments, docstrings and blank lines may
change; and of the random streams (`streams.py`) those count that one of the files draws from.
"""

import ast
import hashlib
import io
import re
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

SOURCE = Path(__file__).parents[1]
"""The folder of the package."""

MUTE = (
    *("cli", "report", "errors", "wording", "__init__"),
    *("pool/files", "pool/run", "workflow/stage"),
    *("bench/fingerprint", "bench/markdown", "bench/machine", "bench/picture"),
    *("bench/design_page", "bench/gradients_page", "bench/robustness"),
)
"""Rooms and modules of the package that decide no figure: they ask, word, draw, write and keep."""

STREAMS, A_STREAM = "streams.py", re.compile(r"\bStream\.([A-Z_]+)\b")
"""Where random streams get their names, and how they are named elsewhere."""


@dataclass(frozen=True)
class Sources:
    """Where the files are.

    Args:
        package: folder of the package `whichpairs`; project: folder that recipes are named from.
    """

    package: Path = SOURCE
    project: Path = field(default=SOURCE.parents[1])

    def files(self, entries: Iterable[str]) -> dict[str, str]:
        """Every file behind `entries` and its digest, by name.

        Args:
            entries: modules (``whichpairs.bench.theory``) or scripts (``recipes/imdb/lab.py``).
        """
        queue = [self._entry(one) for one in entries]
        found: dict[Path, str] = {}
        while queue:
            path = queue.pop()
            if path in found or self._mute(path):
                continue
            found[path] = digest(path)
            queue += self._behind(path)
        streams = self.package / STREAMS
        if streams in found:
            found[streams] = _streams_digest(streams, found)
        return {self._name(path): found[path] for path in sorted(found)}

    def _entry(self, entry: str) -> Path:
        path = self.project / entry if entry.endswith(".py") else self._module(entry)
        if path is None or not path.exists():
            raise FileNotFoundError(f"no such module or script: {entry}")
        return path

    def _name(self, path: Path) -> str:
        inside = path.is_relative_to(self.package)
        return path.relative_to(self.package if inside else self.project).as_posix()

    def _mute(self, path: Path) -> bool:
        if not path.is_relative_to(self.package):
            return False
        inside = path.relative_to(self.package).with_suffix("")
        return inside.as_posix() in MUTE or inside.parts[0] in MUTE

    def _module(self, name: str) -> Path | None:
        first, *rest = name.split(".")
        if first != "whichpairs":
            return None
        path = self.package.joinpath(*rest)
        if path.is_dir():
            return path / "__init__.py"
        return path.with_suffix(".py") if path.with_suffix(".py").exists() else None

    def _behind(self, path: Path) -> Iterator[Path]:
        if path.suffix != ".py":
            return
        code = _read(path, path.stat().st_mtime_ns)
        for module, name in code.imports:
            yield from self._defines(path, module, name)
        for text in code.files:
            if (path.parent / text).is_file() and not text.endswith(".md"):
                yield path.parent / text

    def _defines(self, importer: Path, module: str, name: str) -> Iterator[Path]:
        """The file that an import leads to, if it is one of ours."""
        home = self._module(module)
        if home is None:
            sibling = importer.parent / f"{module}.py"
            if not importer.is_relative_to(self.package) and sibling.exists():
                yield sibling
            return
        inner = self._module(f"{module}.{name}") if name else None
        if inner is not None:
            yield inner
        elif home.name != "__init__.py":
            yield home
        else:
            passed_on = _read(home, home.stat().st_mtime_ns).passed_on
            if name in passed_on:
                yield from self._defines(home, *passed_on[name])
            else:
                yield home


@dataclass(frozen=True)
class _Code:
    """What a module imports, (module, name); whence its own names come; short strings in it."""

    imports: tuple[tuple[str, str], ...]
    passed_on: Mapping[str, tuple[str, str]]
    files: tuple[str, ...]


@lru_cache(maxsize=4096)
def _read(path: Path, changed: int) -> _Code:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    only_types = {id(inner) for node in ast.walk(tree) if _for_types(node) for inner in _body(node)}
    imports, passed_on, files = [], {}, []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                passed_on[alias.asname or alias.name] = (node.module, alias.name)
                if id(node) not in only_types:
                    imports.append((node.module, alias.name))
        elif isinstance(node, ast.Import) and id(node) not in only_types:
            imports += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
            if 2 < len(text) < 60 and "." in text[1:] and "/" not in text and "\0" not in text:
                files.append(text)
    return _Code(tuple(imports), passed_on, tuple(files))


def _for_types(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def _body(node: ast.AST) -> Iterator[ast.AST]:
    assert isinstance(node, ast.If)
    for statement in node.body:
        yield from ast.walk(statement)


def digest(path: Path) -> str:
    """The first 12 hexadecimal digits of SHA-256 of a file's code (of all bytes, of another kind)."""
    return _digest(path.read_bytes(), path.suffix == ".py")


@lru_cache(maxsize=4096)
def _digest(content: bytes, python: bool) -> str:
    """By content, for many pages have the same files behind them."""
    if python:
        content = code_of(content.decode()).encode()
    return hashlib.sha256(content).hexdigest()[:12]


def _streams_digest(streams: Path, files: Iterable[Path]) -> str:
    """Of the code of `streams`, without the members of `Stream` that none of the files names."""
    used = set()
    for path in files:
        if path.suffix == ".py" and path != streams:
            used |= set(A_STREAM.findall(path.read_text(encoding="utf-8")))
    lines = code_of(streams.read_text(encoding="utf-8")).splitlines()
    member = re.compile(r"    ([A-Z_]+) = \d+")
    kept = [line for line in lines if not (m := member.fullmatch(line)) or m[1] in used]
    return hashlib.sha256("\n".join(kept).encode()).hexdigest()[:12]


def code_of(source: str) -> str:
    """Python source without comments, docstrings, blank lines and spaces at line ends."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for first in node.body:
                if (
                    isinstance(first, ast.Expr)
                    and isinstance(first.value, ast.Constant)
                    and isinstance(first.value.value, str)
                ):
                    assert first.end_lineno is not None
                    lines[first.lineno - 1 : first.end_lineno] = [""] * (
                        first.end_lineno - first.lineno + 1
                    )
    return "\n".join(line.rstrip() for line in lines if line.strip())


def fingerprint(
    entries: Iterable[str], sources: Sources | None = None
) -> dict[str, list[str] | dict[str, str]]:
    """For a page's JSON: where its measuring begins, and the digest of every file behind it."""
    begins = list(entries)
    return {"begins": begins, "files": (sources or Sources()).files(begins)}


def short(entries: Iterable[str]) -> str:
    """One digest of all the files behind `entries`, e.g. as part of a cache's key."""
    files = Sources().files(entries)
    return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:12]


def changed(recorded: Mapping[str, object], sources: Sources | None = None) -> list[str]:
    """The files that are not what a recorded `fingerprint` says: changed, new or gone."""
    begins, old = recorded["begins"], recorded["files"]
    assert isinstance(begins, list)
    assert isinstance(old, Mapping)
    try:
        new = (sources or Sources()).files(begins)
    except FileNotFoundError as gone:
        return [str(gone)]
    return sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
