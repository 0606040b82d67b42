"""The house's figures, each beside its goal: `make house`.

A circle is two or more modules or rooms of one folder that import one another when they run (imports for type
checking alone are counted apart); an arrow up is an import against the layers of pyproject.toml (import-linter).
"""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "whichpairs"


def circles(*, for_types: bool = False) -> list[list[str]]:
    """Groups of neighbours, modules or whole rooms, that import one another."""
    graph = grimp.build_graph("whichpairs", exclude_type_checking_imports=not for_types)
    found = []
    for folder in sorted(graph.modules):
        rooms = sorted(graph.find_children(folder))
        leads = {
            a: {
                b
                for b in rooms
                if b != a and graph.direct_import_exists(importer=a, imported=b, as_packages=True)
            }
            for a in rooms
        }
        within = {room: _reached(leads, room) for room in rooms}
        groups = {
            tuple(b for b in rooms if b in within[a] and a in within[b])
            for a in rooms
            if a in within[a]
        }
        found += [list(group) for group in sorted(groups)]
    return found


def _reached(leads: dict[str, set[str]], room: str) -> set[str]:
    seen: set[str] = set()
    waiting = [room]
    while waiting:
        new = leads[waiting.pop()] - seen
        seen |= new
        waiting += new
    return seen


def arrows_up() -> int:
    """Contracts of import-linter that are broken."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return sum(line.endswith(" BROKEN") for line in done.stdout.splitlines())


def nodes(*kinds: type[ast.AST]) -> Iterator[tuple[Path, ast.AST]]:
    """All syntax of some kinds, with its file."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, kinds):
                yield path, node


def loose_dictionaries() -> int:
    """How often a signature says ``dict[str, Any]``."""
    count = 0
    for _, node in nodes(ast.FunctionDef, ast.AsyncFunctionDef):
        a = node.args  # type: ignore[attr-defined]
        every = [*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg]
        types = [one.annotation for one in every if one] + [node.returns]  # type: ignore[attr-defined]
        count += sum("dict[str, Any]" in ast.unparse(one) for one in types if one)
    return count


def longest(*kinds: type[ast.AST]) -> list[tuple[int, str]]:
    """Lines of each class or function, the longest first."""
    found = [
        (node.end_lineno - node.lineno + 1, f"{path.relative_to(SOURCE)}: {node.name}")  # type: ignore[attr-defined]
        for path, node in nodes(*kinds)
    ]
    return sorted(found, reverse=True)


def parameters() -> list[tuple[int, str]]:
    """Parameters of each function, the most first; ``self`` and ``cls`` are none."""
    found = []
    for path, node in nodes(ast.FunctionDef, ast.AsyncFunctionDef):
        a = node.args  # type: ignore[attr-defined]
        names = [one.arg for one in [*a.posonlyargs, *a.args, *a.kwonlyargs]]
        count = len([name for name in names if name not in ("self", "cls")])
        found.append((count, f"{path.relative_to(SOURCE)}: {node.name}"))  # type: ignore[attr-defined]
    return sorted(found, reverse=True)


def files() -> list[tuple[int, str]]:
    """Lines of each file, the longest first."""
    paths = SOURCE.rglob("*.py")
    return sorted(
        ((len(p.read_text().splitlines()), str(p.relative_to(SOURCE))) for p in paths), reverse=True
    )


def long_lines() -> int:
    """Lines of more than 100 characters."""
    texts = [path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py")]
    return sum(len(line) > 100 for text in texts for line in text.splitlines())


def flat() -> list[tuple[int, str]]:
    """Modules in each folder, ``__init__`` aside, the most first."""
    paths = (p for p in SOURCE.rglob("*.py") if p.name != "__init__.py")
    found = Counter(str(p.parent.relative_to(SOURCE)) for p in paths)
    return sorted(((count, folder) for folder, count in found.items()), reverse=True)


def main() -> None:
    """Print them."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    classes, longs, sizes = longest(ast.ClassDef), longest(*functions), files()
    most, folders = parameters(), flat()
    rows: list[tuple[str, object, str, str]] = [
        ("import circles", len(circles()), "0", "; ".join(map(str, circles()))),
        ("with imports for types alone", len(circles(for_types=True)), "0", ""),
        ("contracts of layers that are broken (arrows up)", arrows_up(), "0", ""),
        ("dict[str, Any] in signatures", loose_dictionaries(), "≤ 40", ""),
        ("longest class, lines", classes[0][0], "≤ 150", classes[0][1]),
        ("classes over 150 lines", sum(n > 150 for n, _ in classes), "0", ""),
        ("longest function, lines", longs[0][0], "≤ 60", longs[0][1]),
        ("functions over 60 lines", sum(n > 60 for n, _ in longs), "0", ""),
        ("longest file, lines", sizes[0][0], "≤ 400", sizes[0][1]),
        ("files over 400 lines", sum(n > 400 for n, _ in sizes), "0", ""),
        ("most parameters of a function", most[0][0], "≤ 8", most[0][1]),
        ("functions of more than 8", sum(n > 8 for n, _ in most), "0", ""),
        ("lines over 100 characters", long_lines(), "0", ""),
        ("most modules in one flat folder", folders[0][0], "≤ 12", folders[0][1]),
    ]
    for name, found, goal, where in rows:
        print(f"{name:50} {found!s:>5}   goal {goal:6} {where}")


if __name__ == "__main__":
    main()
