"""Where a definition's names lead: from file to file, by imports (`bench.behind`)."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from whichpairs.bench.definitions import BY_MEMBER, Definition, Module, read_module
from whichpairs.bench.syntax import QUIET, Reference

SOURCE = Path(__file__).parents[1]
"""The folder of the package."""

MUTE = (
    *("cli", "report", "errors", "wording", "__init__"),
    *("run/files", "run/folder", "run/once"),
    *(
        "bench/fingerprint",
        "bench/behind",
        "bench/definitions",
        "bench/sources",
        "bench/syntax",
        "bench/markdown",
        "bench/machine",
        "bench/robustness/pictures",
    ),
    *("bench/engine/page", "bench/gradients/page", "bench/robustness/page"),
)
"""Rooms and modules of the package that decide no figure: they ask, word, draw, write and keep."""

OWN = 10
"""Hexadecimal digits of a digest of a definition's own code."""


@dataclass(frozen=True)
class Place:
    """A definition and its file."""

    path: Path
    definition: Definition


@dataclass(frozen=True)
class Resolved:
    """What a definition leads to.

    Attributes:
        own: digest of its code, and of where names from outside the package come from.
        targets: by name as written; whole: modules of which everything counts.
    """

    own: str
    targets: tuple[tuple[str, tuple[Place, ...]], ...]
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
    _resolved: dict[Definition, Resolved] = field(default_factory=dict, repr=False, compare=False)

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

    def resolve(self, place: Place) -> Resolved:
        """What a definition leads to, and the digest of its own code."""
        found = self._resolved.get(place.definition)
        if found is None:
            found = self._resolved[place.definition] = self._resolve(place)
        return found

    def _resolve(self, place: Place) -> Resolved:
        read = place.definition.read
        outside: set[str] = set()
        targets: dict[str, list[Place]] = {}
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
        return Resolved(
            own,
            tuple((token, tuple(dict.fromkeys(some))) for token, some in sorted(targets.items())),
            tuple(dict.fromkeys(whole)),
        )

    def _lead(self, path: Path, one: Reference) -> tuple[str, list[Place], list[Path], list[str]]:
        """Of a name: how it is written without its module, definitions, whole modules, origins
        outside."""
        written = ".".join(one.chain)
        if not one.bindings:
            places = self.defined(path, one.chain)
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

    def foreign(self, place: Place) -> bool:
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

    def look(self, home: Path, chain: tuple[str, ...]) -> tuple[list[Place], list[Path]]:
        """Where a name of a module is defined; the whole module where that cannot be told."""
        places = self.defined(home, chain)
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

    def defined(self, home: Path, chain: tuple[str, ...]) -> list[Place]:
        """What a module itself defines by a name with its attributes."""
        defined = self.module(home).defined
        found = list(defined.get(chain[0], []))
        if found and chain[0] == BY_MEMBER and found[0].leaving:
            member = ".".join(chain[:2])
            if len(chain) > 1 and member in defined:
                found += defined[member]
            else:
                every = [name for name in defined if name.startswith(f"{BY_MEMBER}.")]
                found += [one for name in every for one in defined[name]]
        return [Place(home, one) for one in found]


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
