"""All that is behind an entry: every name is followed from definition to definition."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from whichpairs.bench.sources import OWN, Place, Sources, digest
from whichpairs.bench.syntax import PACKAGE, Binding

LINKS = 4
"""Hexadecimal digits of a digest of the code of what a definition names directly."""


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


def behind(entries: Iterable[str], sources: Sources) -> Behind:
    """Everything behind `entries`.

    Args:
        entries: modules (``whichpairs.bench.theory``), scripts (``recipes/imdb/lab.py``), or
            names in one (``whichpairs.bench.methods.ours:gap``).

    Raises:
        LookupError: there is no such module, script or name.
    """
    walk = _Walk(sources)
    for entry in entries:
        walk.begin(entry)
    return walk.go()


class _Walk:
    """From where a page begins to all that is behind it."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.queue: list[Place] = []
        self.seen: dict[Place, None] = {}
        self.used: set[Path] = set()
        self.all_of: set[Path] = set()
        self.names: set[str] = set()
        self.waiting: dict[str, list[Place]] = {}
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
                self._add(Place(path, one))
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

    def _add(self, place: Place, *, loud: bool = False) -> None:
        if place in self.seen or (self.sources.mute(place.path) and not loud):
            return
        self.seen[place] = None
        self.queue.append(place)
        self._use(place.path)
        foreign = self.sources.foreign(place)
        for name, some in place.definition.methods.items():
            for method in (Place(place.path, one) for one in some):
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
                self._add(Place(path, one))
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
            self._add(Place(path, one), loud=True)
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

    def _links(self, place: Place) -> str:
        """Digest of the code of what a definition names directly."""
        sources = self.sources
        resolved = sources.resolve(place)
        named = [*resolved.targets]
        for path in resolved.whole:
            named.append(("", tuple(Place(path, one) for one in sources.module(path).everything)))
        lines = []
        for token, targets in named:
            loud = {sources.resolve(one).own for one in targets if not sources.mute(one.path)}
            if loud:
                lines.append((token, sorted(loud)))
        return digest(repr(lines).encode())[:LINKS]
