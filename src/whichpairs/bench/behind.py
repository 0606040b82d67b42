"""All that is behind an entry: every name is followed from definition to definition
(`bench.fingerprint`)."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from whichpairs.bench.definitions import (
    BY_MEMBER,
    PACKAGE,
    QUIET,
    Binding,
    Definition,
    Module,
    Reference,
    read_module,
)

SOURCE = Path(__file__).parents[1]
"""The folder of the package."""

MUTE = (
    *("cli", "report", "errors", "wording", "__init__"),
    *("run/files", "run/folder", "run/once"),
    *(
        "bench/fingerprint",
        "bench/definitions",
        "bench/markdown",
        "bench/machine",
        "bench/robustness/pictures",
    ),
    *("bench/engine/page", "bench/gradients/page", "bench/robustness/page"),
)
"""Rooms and modules of the package that decide no figure: they ask, word, draw, write and keep."""

OWN, LINKS = 10, 4
"""Hexadecimal digits: of a definition's own code, and of that of what it names directly."""


@dataclass(frozen=True)
class Behind:
    """All that is behind a page: name for people by digest, by file.

    Attributes:
        named: definitions, found by their name; unnamed: statements and files.
    """

    named: dict[str, dict[str, str]] = field(default_factory=dict)
    unnamed: dict[str, dict[str, str]] = field(default_factory=dict)

    def record(self, begins: list[str]) -> dict[str, Any]:
        """As a page keeps it."""
        return {
            "begins": begins,
            "definitions": _joined(self.named),
            "unnamed": _joined(self.unnamed),
        }


def _joined(files: dict[str, dict[str, str]]) -> dict[str, str]:
    return {file: " ".join(sorted(files[file])) for file in sorted(files)}


@dataclass(frozen=True)
class _Place:
    """A definition and its file."""

    path: Path
    definition: Definition


@dataclass(frozen=True)
class _Resolved:
    """What a definition leads to.

    Attributes:
        own: digest of its code, and of where names from outside the package come from.
        targets: by name as written; whole: modules of which everything counts.
    """

    own: str
    targets: tuple[tuple[str, tuple[_Place, ...]], ...]
    whole: tuple[Path, ...]


@dataclass(frozen=True)
class Sources:
    """Where the files are. Each is read once: a new object sees what has changed since.

    Args:
        package: folder of the package `whichpairs`; project: folder that recipes are named from.
        muted: rooms and modules that decide no figure.
    """

    package: Path = SOURCE
    project: Path = field(default=SOURCE.parents[1])
    muted: tuple[str, ...] = MUTE
    _modules: dict[Path, Module] = field(default_factory=dict, repr=False, compare=False)
    _resolved: dict[Definition, _Resolved] = field(default_factory=dict, repr=False, compare=False)
    _found: dict[tuple[str, ...], Behind] = field(default_factory=dict, repr=False, compare=False)

    def behind(self, entries: Iterable[str]) -> Behind:
        """Everything behind `entries`.

        Args:
            entries: modules (``whichpairs.bench.theory``), scripts (``recipes/imdb/lab.py``), or
                names in one (``whichpairs.bench.methods.ours:gap``).

        Raises:
            LookupError: there is no such module, script or name.
        """
        key = tuple(entries)
        if key not in self._found:
            walk = _Walk(self)
            for entry in key:
                walk.begin(entry)
            self._found[key] = walk.go()
        return self._found[key]

    def module(self, path: Path) -> Module:
        """What a file defines."""
        if path not in self._modules:
            self._modules[path] = read_module(path, self._parents(path))
        return self._modules[path]

    def find(self, importer: Path, name: str) -> Path | None:
        """The file of a module of the package, or of a script beside another."""
        first, *rest = name.split(".")
        if first == "whichpairs":
            path = self.package.joinpath(*rest)
            if (path / "__init__.py").is_file():
                return path / "__init__.py"
        else:
            if importer.is_relative_to(self.package) or rest:
                return None
            path = importer.parent / first
        return path.with_suffix(".py") if path.with_suffix(".py").is_file() else None

    def name(self, path: Path) -> str:
        """A file's name for people."""
        inside = path.is_relative_to(self.package)
        return path.relative_to(self.package if inside else self.project).as_posix()

    def mute(self, path: Path) -> bool:
        """Whether a file can change no number."""
        if not path.is_relative_to(self.package):
            return False
        inside = path.relative_to(self.package).with_suffix("")
        return inside.as_posix() in self.muted or inside.parts[0] in self.muted

    def _parents(self, path: Path) -> tuple[str, ...]:
        if not path.is_relative_to(self.package):
            return ()
        return ("whichpairs", *path.relative_to(self.package).parent.parts)

    def around(self, path: Path) -> Iterator[Path]:
        """The packages that run before a module does."""
        parts = self._parents(path)[1:]
        for depth in range(1, len(parts) + 1):
            package = self.package.joinpath(*parts[:depth]) / "__init__.py"
            if package.is_file():
                yield package

    def resolve(self, place: _Place) -> _Resolved:
        """What a definition leads to, and the digest of its own code."""
        found = self._resolved.get(place.definition)
        if found is None:
            found = self._resolved[place.definition] = self._resolve(place)
        return found

    def _resolve(self, place: _Place) -> _Resolved:
        read = place.definition.read
        outside: set[str] = set()
        targets: dict[str, list[_Place]] = {}
        whole: list[Path] = []
        tokens: dict[Reference, str] = {}
        for one in read.references:
            token, places, modules, origins = self._lead(place.path, one)
            tokens[one] = token
            outside.update(f"{one.chain[0]} is {origin}" for origin in origins)
            targets.setdefault(token, []).extend(places)
            whole += modules
        code = [
            one if isinstance(one, str) else tokens.get(one, ".".join(one.chain))
            for one in read.code
        ]
        own = digest("\x1f".join([*code, "", *sorted(outside)]).encode())[:OWN]
        return _Resolved(
            own,
            tuple((token, tuple(dict.fromkeys(some))) for token, some in sorted(targets.items())),
            tuple(dict.fromkeys(whole)),
        )

    def _lead(self, path: Path, one: Reference) -> tuple[str, list[_Place], list[Path], list[str]]:
        """Of a name: how it is written without its module, definitions, whole modules, origins
        outside."""
        written = ".".join(one.chain)
        if not one.bindings:
            places = self._defined(path, one.chain)
            imports = self.module(path).imports.get(one.chain[0], [])
            if places or not imports:
                return written, places, [], []
        else:
            places, imports = [], list(one.bindings)
        whole: list[Path] = []
        origins: list[str] = []
        for module, name in imports:
            chain = (*((name,) if name else ()), *one.chain[1:])
            home, rest = self._split(path, module, chain)
            if home is None:
                origins.append(f"{module}.{name}")
                continue
            if not rest:
                whole.append(home)
                written = "a module"
                continue
            if len(rest) < len(one.chain):
                written = ".".join(rest)
            more, modules = self.look(home, rest)
            places += more
            whole += modules
        return written, places, whole, origins

    def _split(
        self, path: Path, module: str, chain: tuple[str, ...]
    ) -> tuple[Path | None, tuple[str, ...]]:
        """The innermost module that a dotted name leads to, and the names that are left."""
        home = self.find(path, module)
        while home is not None and chain:
            inner = self.find(path, f"{module}.{chain[0]}")
            here, itself = self.module(home), (module, chain[0])
            if inner is None or chain[0] in here.defined:
                break
            if itself not in here.imports.get(chain[0], [itself]):
                break  # a name of the face goes before a room of the same name
            home, module, chain = inner, f"{module}.{chain[0]}", chain[1:]
        return home, chain

    def foreign(self, place: _Place) -> bool:
        """Whether a class has a base from outside, which may call any of its methods."""
        definition = place.definition
        if not definition.methods:
            return False
        for base in definition.read.bases:
            _, places, whole, origins = self._lead(place.path, base)
            if base.chain[-1] not in QUIET and (origins or not (places or whole)):
                return True
            if any(self.foreign(one) for one in places if one != place):
                return True
        return False

    def look(self, home: Path, chain: tuple[str, ...]) -> tuple[list[_Place], list[Path]]:
        """Where a name of a module is defined; the whole module where that cannot be told."""
        places = self._defined(home, chain)
        if places:
            return places, []
        module = self.module(home)
        passed_on = module.imports.get(chain[0]) or (
            module.for_types.get(chain[0]) if module.lazy else None
        )
        whole: list[Path] = []
        for source, name in passed_on or []:
            inner, rest = self._split(home, source, (*((name,) if name else ()), *chain[1:]))
            if inner is None:
                continue  # from outside
            if not rest:
                whole.append(inner)
            else:
                more, modules = self.look(inner, rest)
                places += more
                whole += modules
        if passed_on is None:
            whole.append(home)
        return places, whole

    def _defined(self, home: Path, chain: tuple[str, ...]) -> list[_Place]:
        defined = self.module(home).defined
        found = list(defined.get(chain[0], []))
        if found and chain[0] == BY_MEMBER and found[0].leaving:
            member = ".".join(chain[:2])
            if len(chain) > 1 and member in defined:
                found += defined[member]
            else:
                every = [name for name in defined if name.startswith(f"{BY_MEMBER}.")]
                found += [one for name in every for one in defined[name]]
        return [_Place(home, one) for one in found]


class _Walk:
    """From where a page begins to all that is behind it."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.queue: list[_Place] = []
        self.seen: dict[_Place, None] = {}
        self.used: set[Path] = set()
        self.all_of: set[Path] = set()
        self.names: set[str] = set()
        self.waiting: dict[str, list[_Place]] = {}
        self.files: dict[Path, None] = {}

    def begin(self, entry: str) -> None:
        """Add an entry, whole or one name of it."""
        home, _, name = entry.partition(":")
        sources = self.sources
        path = (
            sources.project / home if home.endswith(".py") else sources.find(sources.package, home)
        )
        if path is None or not path.is_file():
            raise LookupError(f"no such module or script: {home}")
        if not name:
            self._use(path)
            for one in sources.module(path).everything:
                self._add(_Place(path, one))
            return
        places, whole = sources.look(path, tuple(name.split(".")))
        if not places:
            raise LookupError(f"no such name: {entry}")
        for place in places:
            self._add(place)
        for module in whole:
            self._whole(module)

    def go(self) -> Behind:
        """Follow everything."""
        while self.queue:
            place = self.queue.pop()
            resolved = self.sources.resolve(place)
            for _, targets in resolved.targets:
                for target in targets:
                    self._add(target)
            for path in resolved.whole:
                self._whole(path)
            read = place.definition.read
            for name in read.names - self.names:
                for method in self.waiting.pop(name, ()):
                    self._add(method)
            self.names |= read.names
            for binding in read.imports:
                self._run(place.path, binding)
            for star in read.stars:
                self._star(place.path, star)
            for text in read.texts:
                self._text(place.path, text)
        return self._behind()

    def _add(self, place: _Place, *, loud: bool = False) -> None:
        if place in self.seen or (self.sources.mute(place.path) and not loud):
            return
        self.seen[place] = None
        self.queue.append(place)
        self._use(place.path)
        foreign = self.sources.foreign(place)
        for name, some in place.definition.methods.items():
            for method in (_Place(place.path, one) for one in some):
                if foreign or name in self.names:
                    self._add(method, loud=loud)
                else:
                    self.waiting.setdefault(name, []).append(method)

    def _use(self, path: Path) -> None:
        """A module is imported: its statements count, and so do those of all that it imports."""
        waiting = [path]
        while waiting:
            path = waiting.pop()
            if path in self.used or self.sources.mute(path):
                continue
            self.used.add(path)
            module = self.sources.module(path)
            for one in module.statements:
                self._add(_Place(path, one))
            for star in module.stars:
                self._star(path, star)
            waiting += self.sources.around(path)
            for bindings in module.imports.values():
                for binding in bindings:
                    waiting += self._imported(path, binding)

    def _run(self, path: Path, binding: Binding) -> None:
        for module in self._imported(path, binding):
            self._use(module)

    def _imported(self, path: Path, binding: Binding) -> Iterator[Path]:
        module, name = binding
        for dotted in (module, f"{module}.{name}"):
            found = self.sources.find(path, dotted)
            if found is not None:
                yield found

    def _star(self, path: Path, module: str) -> None:
        found = self.sources.find(path, module)
        if found is not None:
            self._whole(found)

    def _whole(self, path: Path) -> None:
        """Everything that a module defines or passes on."""
        if path in self.all_of:
            return
        self.all_of.add(path)
        module = self.sources.module(path)
        for one in module.everything:
            self._add(_Place(path, one), loud=True)
        for name in module.imports:
            if not name.startswith(" "):
                places, whole = self.sources.look(path, (name,))
                for place in places:
                    self._add(place)
                for inner in whole:
                    if not self.sources.mute(inner):
                        self._whole(inner)

    def _text(self, path: Path, text: str) -> None:
        """A string may name a module, or a file beside."""
        if PACKAGE.fullmatch(text):
            home, _, _ = text.partition(":")
            module = self.sources.find(path, home)
            if module is not None and not self.sources.mute(module):
                self._use(module)
                self._whole(module)
            return
        if "/" in text or "\0" in text or len(text) >= 60 or text.endswith(".md"):
            return
        file = path.parent / text
        if file.is_file() and file.suffix == ".py":
            self._whole(file)
        elif file.is_file():
            self.files[file] = None

    def _behind(self) -> Behind:
        behind, sources = Behind(), self.sources
        loose = {one for path in self.used for one in sources.module(path).statements}
        for place in self.seen:
            into = behind.unnamed if place.definition in loose else behind.named
            own, links = sources.resolve(place).own, self._links(place)
            into.setdefault(sources.name(place.path), {})[own + links] = place.definition.name
        for file in self.files:
            print_of = digest(file.read_bytes())[:OWN]
            behind.unnamed.setdefault(sources.name(file), {})[print_of] = ""
        return behind

    def _links(self, place: _Place) -> str:
        """Digest of the code of what a definition names directly."""
        sources = self.sources
        resolved = sources.resolve(place)
        named = [*resolved.targets]
        for path in resolved.whole:
            named.append(("", tuple(_Place(path, one) for one in sources.module(path).everything)))
        lines = []
        for token, targets in named:
            loud = {sources.resolve(one).own for one in targets if not sources.mute(one.path)}
            if loud:
                lines.append((token, sorted(loud)))
        return digest(repr(lines).encode())[:LINKS]


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
