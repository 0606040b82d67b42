"""Reads a Python module as definitions: for each, its code without what cannot change a figure, and
what it names.

A definition is a top-level function, a class, a method of one, or a simple assignment. Left out of
its code are comments, docstrings, imports, the types of arguments and what ``Annotated`` adds to a
field's, so that a move changes nothing. What it names is found by the scopes of Python: a name that
a function binds itself leads nowhere. Of the random streams (the enumeration `Stream`) each member
is a definition of its own. A method that Python itself or a decorator may call (``__eq__``,
``@validator``) belongs to its class. A top-level statement of any other kind may change what is
defined elsewhere (a registration), so it counts with any use of its module; likewise a definition
under a decorator of our own.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from whichpairs.bench.syntax import (
    Binding,
    Reader,
    assigned,
    bind,
    chain_of,
    for_types,
    is_string,
    methods_of,
)

BY_MEMBER = "Stream"
"""The enumeration of which only those members count that somebody names."""


@dataclass(eq=False)
class Definition:
    """One definition, or one statement.

    Args:
        name: for people.
        nodes: its syntax.
        leaving: members of a class that are definitions of their own.
        methods: those of them that count once somebody names them.
    """

    name: str
    nodes: tuple[ast.AST, ...]
    leaving: frozenset[str] = frozenset()
    methods: "Mapping[str, tuple[Definition, ...]]" = field(default_factory=dict)

    @cached_property
    def read(self) -> "Reader":
        """Its code and what it names."""
        reader = Reader(self.leaving)
        for node in self.nodes:
            reader.visit(node)
        return reader


@dataclass(eq=False)
class Module:
    """What a file defines.

    Attributes:
        defined: by name; statements: those that count with any use of the module.
        imports, for_types: what imports bind names to; the second for type checking alone.
        stars: modules of which everything is imported; lazy: it has a ``__getattr__``.
    """

    defined: dict[str, list[Definition]] = field(default_factory=dict)
    statements: list[Definition] = field(default_factory=list)
    imports: dict[str, list[Binding]] = field(default_factory=dict)
    for_types: dict[str, list[Binding]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)

    @property
    def lazy(self) -> bool:
        """Whether names may come from elsewhere at the first use."""
        return "__getattr__" in self.defined

    @property
    def everything(self) -> Iterator[Definition]:
        """All definitions and statements."""
        for some in self.defined.values():
            yield from some
        yield from self.statements


def read_module(path: Path, parents: tuple[str, ...]) -> Module:
    """Read a file.

    Args:
        parents: the packages that it lies in, for relative imports.
    """
    module = Module()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        _place(module, node, parents)
    return module


def _place(module: Module, node: ast.stmt, parents: tuple[str, ...]) -> None:
    if isinstance(node, ast.Import | ast.ImportFrom):
        bind(module.imports, module.stars, node, parents)
    elif is_string(node):
        return
    elif for_types(node):
        for inner in ast.walk(node):
            if isinstance(inner, ast.Import | ast.ImportFrom):
                bind(module.for_types, [], inner, parents)
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        _place_definition(module, node)
    elif (names := assigned(node)) is not None:
        definition = Definition(names[0], (node,))
        for name in names:
            module.defined.setdefault(name, []).append(definition)
    else:
        statement = Definition("at the top level", (node,))
        module.statements.append(statement)
        for inner in ast.walk(node):
            if isinstance(inner, ast.Import | ast.ImportFrom):
                bind(module.imports, module.stars, inner, parents)
            elif isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                module.defined.setdefault(inner.name, []).append(statement)
            elif isinstance(inner, ast.Name) and not isinstance(inner.ctx, ast.Load):
                module.defined.setdefault(inner.id, []).append(statement)


def _place_definition(
    module: Module, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
) -> None:
    members: dict[str, list[ast.stmt]] = {}
    methods: dict[str, list[ast.stmt]] = {}
    if isinstance(node, ast.ClassDef):
        methods = methods_of(node)
        if node.name == BY_MEMBER:
            for one in node.body:
                if (names := assigned(one)) is not None:
                    members[names[0]] = [one]
    parts = {
        name: tuple(Definition(f"{node.name}.{name}", (one,)) for one in some)
        for name, some in (members | methods).items()
    }
    called = {name: parts[name] for name in methods}
    definition = Definition(node.name, (node,), frozenset(parts), called)
    module.defined.setdefault(node.name, []).append(definition)
    for name, some in parts.items():
        module.defined.setdefault(f"{node.name}.{name}", []).extend(some)
    for decorator in node.decorator_list:
        chain = chain_of(decorator.func if isinstance(decorator, ast.Call) else decorator)
        origins = module.imports.get(chain[0], []) if chain else []
        ours = [o for o in origins if o[0].split(".")[0] == "whichpairs"]
        if not chain or chain[0] in module.defined or ours:
            module.statements.append(definition)
            return
