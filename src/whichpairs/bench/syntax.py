"""Goes through the syntax of one definition: its code as text, and the names that lead out of it.

What is left out of the code: see `bench.definitions`.
"""

import ast
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

Binding = tuple[str, str]
"""What an import binds a name to: module, and a name in it ("" for the module itself)."""

SILENT = {
    "property",
    "cached_property",
    "staticmethod",
    "classmethod",
    "abstractmethod",
    "override",
}
"""Decorators under which a method is called by whoever names it, and by nobody else."""

QUIET = {
    "object",
    "Protocol",
    "Generic",
    "ABC",
    "Enum",
    "IntEnum",
    "StrEnum",
    "NamedTuple",
    "TypedDict",
    "Exception",
    "ValueError",
    "LookupError",
}
"""Bases from outside that call no method but by its name."""

PACKAGE = re.compile(r"whichpairs(\.[a-z_0-9]+)+(:\w+)?")


@dataclass(eq=False)
class Reference:
    """A name with its attributes, as written: ``np.linalg.solve`` is ("np", "linalg", "solve").

    Attributes:
        bindings: of its first name, where the definition imports it itself.
        inner: the first name is bound within the definition.
    """

    chain: tuple[str, ...]
    bindings: tuple[Binding, ...] = ()
    inner: bool = False


def methods_of(node: ast.ClassDef) -> dict[str, list[ast.stmt]]:
    """The methods of a class that nobody calls but by their name."""
    found: dict[str, list[ast.stmt]] = {}
    loud: set[str] = set()
    for one in node.body:
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
            found.setdefault(one.name, []).append(one)
            known = {chain_of(d)[-1:] for d in one.decorator_list} <= {
                *((name,) for name in SILENT),
                *((way,) for way in ("setter", "deleter")),
            }
            if one.name.startswith("__") or not known:
                loud.add(one.name)
        loud.update(assigned(one) or ())
    return {name: some for name, some in found.items() if name not in loud}


class _Bare(ast.NodeTransformer):
    """``Annotated[T, …]`` as T."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        if chain_of(node.value)[-1:] == ("Annotated",) and isinstance(node.slice, ast.Tuple):
            return node.slice.elts[0]
        return node


def assigned(node: ast.stmt) -> list[str] | None:
    """The names that a simple assignment binds."""
    if isinstance(node, ast.AnnAssign):
        targets: list[ast.expr] = [node.target]
    elif isinstance(node, ast.Assign):
        targets = node.targets
    else:
        return None
    flat = [
        one
        for target in targets
        for one in (target.elts if isinstance(target, ast.Tuple | ast.List) else [target])
    ]
    names = [one.id for one in flat if isinstance(one, ast.Name)]
    return names if len(names) == len(flat) else None


def bind(
    into: dict[str, list[Binding]],
    stars: list[str],
    node: ast.Import | ast.ImportFrom,
    parents: tuple[str, ...],
) -> None:
    """Add what an import binds, and the modules of which it takes everything."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            first = alias.name.split(".")[0]
            whole = alias.name if alias.asname else first
            into.setdefault(alias.asname or first, []).append((whole, ""))
            if whole != alias.name:  # `import a.b` runs a.b too
                into.setdefault(f" {alias.name}", []).append((alias.name, ""))
        return
    home = parents[: len(parents) - node.level + 1] if node.level else ()
    source = ".".join([*home, *([node.module] if node.module else [])])
    for alias in node.names:
        if alias.name == "*":
            stars.append(source)
        else:
            into.setdefault(alias.asname or alias.name, []).append((source, alias.name))


def is_string(node: ast.AST) -> bool:
    """Whether it is a docstring, or another string that stands alone."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def for_types(node: ast.AST) -> bool:
    """Whether it is ``if TYPE_CHECKING``."""
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def chain_of(node: ast.AST) -> tuple[str, ...]:
    """The names of ``a.b.c``; empty where it begins with no name."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return (node.id, *reversed(names)) if isinstance(node, ast.Name) else ()


@dataclass
class _Frame:
    """A scope: what it binds, what it imports, and what it reads; a class hides nothing from
    within."""

    hides: bool = True
    outer: "_Frame | None" = None
    elsewhere: set[str] = field(default_factory=set)
    bound: set[str] = field(default_factory=set)
    imports: dict[str, list[Binding]] = field(default_factory=dict)
    read: list[Reference] = field(default_factory=list)


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Reader:
    """Goes through a definition once.

    Attributes:
        code: its syntax as text, with a `Reference` where something is named.
        references: those that lead out of it; texts: short strings with a dot; imports, stars:
            those that it makes itself.
        names: all names, attributes and words in strings: what it may call of an object; bases: of
            a class.
    """

    def __init__(self, leaving: frozenset[str]) -> None:
        self.code: list[str | Reference] = []
        self.references: list[Reference] = []
        self.texts: list[str] = []
        self.imports: list[Binding] = []
        self.stars: list[str] = []
        self.names: set[str] = set()
        self.bases: list[Reference] = []
        self._leaving = leaving
        self._top = self._frame = _Frame(hides=False)

    def visit(self, node: ast.AST) -> None:
        """Add a node."""
        self._visit(node)
        if self._frame is self._top:
            self.references += self._top.read
            self._top.read = []

    def _visit(self, node: ast.AST) -> None:
        special = _SPECIAL.get(type(node))
        if special is not None:
            special(self, node)
        else:
            self._plain(node)

    def _plain(self, node: ast.AST) -> None:
        code = self.code
        code.append(type(node).__name__)
        for name in node._fields:
            value = getattr(node, name, None)
            if value is None or value == [] or name in _UNSEEN:
                continue
            code.append(name)
            if isinstance(value, ast.AST):
                self._visit(value)
            elif isinstance(value, list):
                self._all(value)
            else:
                code.append(repr(value))

    def _all(self, nodes: Iterable[object]) -> None:
        self.code.append("[")
        for node in nodes:
            if isinstance(node, ast.AST):
                self._visit(node)
            else:
                self.code.append(repr(node))
        self.code.append("]")

    def _name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._refer((node.id,))
        else:
            self._frame.bound.add(node.id)
            self.code.append(node.id)

    def _refer(self, chain: tuple[str, ...]) -> Reference:
        reference = Reference(chain)
        self.names.update(chain)
        self.code.append(reference)
        self._frame.read.append(reference)
        return reference

    def _attribute(self, node: ast.Attribute) -> None:
        self.names.add(node.attr)
        chain = chain_of(node)
        if chain:
            self._refer(chain)
        else:
            self._plain(node)

    def _constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, str) and value.isidentifier():
            self.names.add(value)
        if isinstance(value, str) and 2 < len(value) < 80 and "." in value[1:]:
            self.texts.append(value)
            if PACKAGE.fullmatch(value):
                self.code.append("a module by its name")
                return
        self.code.append(repr(value))

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        self.code.append(type(node).__name__)
        if not isinstance(node, ast.Lambda):
            self.code.append(node.name)
            self._frame.bound.add(node.name)
            self._all(node.decorator_list)
        a = node.args
        self._all(a.defaults)
        self._all(one for one in a.kw_defaults)
        with_stars = [one for one in (a.vararg, a.kwarg) if one]
        kinds = (a.posonlyargs, a.args, a.kwonlyargs, with_stars)
        names = [[one.arg for one in some] for some in kinds]
        self.code.append(repr(names))
        self.code.append(repr((a.vararg is not None, a.kwarg is not None)))
        self._enter(_Frame(bound={name for some in names for name in some}))
        self._all(node.body if isinstance(node.body, list) else [node.body])
        self._leave()

    def _class(self, node: ast.ClassDef) -> None:
        outermost = self._frame is self._top
        leaving = self._leaving if outermost else frozenset()
        self.code += ["ClassDef", node.name]
        self._frame.bound.add(node.name)
        self._all(node.decorator_list)
        self._all(node.bases)
        self._all(node.keywords)
        if outermost:
            chains = [
                chain_of(base) or chain_of(getattr(base, "value", base)) for base in node.bases
            ]
            self.bases = [Reference(chain or ("unknown",)) for chain in chains]
        if (
            leaving and {one.chain[-1] for one in self.bases} - QUIET
        ):  # what it puts in the place of a method of a base
            self.code += sorted(methods_of(node))
        self._enter(_Frame(hides=False))
        for one in node.body:
            names = [one.name] if isinstance(one, _FUNCTIONS) else assigned(one)
            if names and names[0] in leaving:
                continue
            if isinstance(one, ast.AnnAssign):  # a field of a dataclass
                self.code.append(ast.unparse(_Bare().visit(one.annotation)))
            self._visit(one)
        self._leave()

    def _annotated(self, node: ast.AnnAssign) -> None:
        self._visit(node.target)
        if node.value is not None:
            self.code.append("=")
            self._visit(node.value)

    def _comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
    ) -> None:
        first, *more = node.generators
        self.code.append(type(node).__name__)
        self._visit(first.iter)
        self._enter(_Frame())
        self._visit(first.target)
        self._all(first.ifs)
        self._all(more)
        if isinstance(node, ast.DictComp):
            self._all([node.key, node.value])
        else:
            self._visit(node.elt)
        self._leave()

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        found: dict[str, list[Binding]] = {}
        bind(found, self.stars, node, ())
        for name, bindings in found.items():
            self._frame.imports.setdefault(name, []).extend(bindings)
            self.imports += bindings

    def _outer(self, node: ast.Global | ast.Nonlocal) -> None:
        self._plain(node)
        self._frame.elsewhere |= set(node.names)

    def _binding(self, node: ast.ExceptHandler | ast.MatchAs | ast.MatchStar) -> None:
        if node.name is not None:
            self._frame.bound.add(node.name)
        self._plain(node)

    def _expression(self, node: ast.Expr) -> None:
        if not is_string(node):
            self._plain(node)

    def _condition(self, node: ast.If) -> None:
        if not for_types(node):
            self._plain(node)

    def _nothing(self, node: ast.AST) -> None:
        pass

    def _enter(self, frame: _Frame) -> None:
        frame.outer = self._frame
        self._frame = frame

    def _leave(self) -> None:
        inner = self._frame
        assert inner.outer is not None
        self._frame = inner.outer
        for one in inner.read:
            first = one.chain[0]
            if first in inner.imports:
                one.bindings = tuple(inner.imports[first])
                self.references.append(one)
            elif inner.hides and first in inner.bound - inner.elsewhere:
                one.inner = True
            else:
                self._frame.read.append(one)


_UNSEEN = frozenset(("ctx", "type_comment", "kind"))
_SPECIAL: dict[type[ast.AST], Callable[[Reader, Any], None]] = {
    ast.Name: Reader._name,
    ast.Attribute: Reader._attribute,
    ast.Constant: Reader._constant,
    ast.FunctionDef: Reader._function,
    ast.AsyncFunctionDef: Reader._function,
    ast.Lambda: Reader._function,
    ast.ClassDef: Reader._class,
    ast.AnnAssign: Reader._annotated,
    ast.ListComp: Reader._comprehension,
    ast.SetComp: Reader._comprehension,
    ast.DictComp: Reader._comprehension,
    ast.GeneratorExp: Reader._comprehension,
    ast.Import: Reader._import,
    ast.ImportFrom: Reader._import,
    ast.Global: Reader._outer,
    ast.Nonlocal: Reader._outer,
    ast.ExceptHandler: Reader._binding,
    ast.MatchAs: Reader._binding,
    ast.MatchStar: Reader._binding,
    ast.Expr: Reader._expression,
    ast.If: Reader._condition,
    ast.Pass: Reader._nothing,
}
