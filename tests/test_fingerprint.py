"""Pages know what code they measured: what ages them, what does not, and who is told."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from whichpairs.bench.fingerprint import Sources, changed, code_of, fingerprint
from whichpairs.bench.markdown import About, Figure, goals, table, write_page
from whichpairs.evaluate.interval import Interval


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """A package in small: a bench that measures `design`, which passes `solve` on, and a command."""
    files = {
        "whichpairs/__init__.py": "",
        "whichpairs/bench/speed.py": (
            "from whichpairs.design import solve\n"
            "from whichpairs.cli.show import bar\n"
            "def measure():\n    from whichpairs.engine import fast\n    return solve(fast)\n"
        ),
        "whichpairs/cli/show.py": "bar = 1\n",
        "whichpairs/design/__init__.py": (
            "from whichpairs.design.solver import solve\nfrom whichpairs.design.other import thing\n"
        ),
        "whichpairs/design/solver.py": (
            '"""Solves."""\n'
            "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from whichpairs.design.other import thing\n"
            'def solve(x):\n    """Of x."""\n    return x  # itself\n'
        ),
        "whichpairs/design/other.py": "thing = 2\n",
        "whichpairs/engine/fast.py": 'SOURCE = "tiles.c"\n',
        "whichpairs/engine/__init__.py": "",
        "whichpairs/engine/tiles.c": "int x;\n",
        "recipes/lab.py": "from helper import help_me\nimport numpy\n",
        "recipes/helper.py": "from whichpairs.design import thing as help_me\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Sources(tmp_path / "whichpairs", tmp_path)


def test_what_is_behind_a_figure(sources: Sources) -> None:
    assert set(sources.files(["whichpairs.bench.speed"])) == {
        "bench/speed.py",
        "design/solver.py",
        "engine/fast.py",
        "engine/tiles.c",
    }
    assert set(sources.files(["recipes/lab.py"])) == {
        "recipes/lab.py",
        "recipes/helper.py",
        "design/other.py",
    }


def _edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        path = root / "whichpairs" / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return edit


@pytest.mark.parametrize(
    ("edit", "ages"),
    [
        (_edit("design/solver.py", "return x", "return 2 * x"), ["design/solver.py"]),
        (_edit("engine/tiles.c", "int", "long"), ["engine/tiles.c"]),
        (_edit("cli/show.py", "1", "2"), []),
        (_edit("design/other.py", "2", "3"), []),
        (_edit("design/solver.py", "# itself", "# the same"), []),
        (_edit("design/solver.py", "    return x", "    # aside\n\n    return x"), []),
        (_edit("design/solver.py", "Of x.", "Of any x,\n\n    whatever."), []),
        (
            _edit(
                "design/solver.py",
                "from typing",
                "from whichpairs.design.other import thing\nfrom typing",
            ),
            ["design/other.py", "design/solver.py"],
        ),
    ],
    ids=["solver", "C", "command", "unused", "comment", "comment line", "docstring", "new import"],
)
def test_what_ages_a_page(sources: Sources, edit: Callable[[Path], None], ages: list[str]) -> None:
    recorded = json.loads(json.dumps(fingerprint(["whichpairs.bench.speed"], sources)))
    assert changed(recorded, sources) == []
    edit(sources.project)
    assert changed(recorded, sources) == ages


@pytest.mark.parametrize(
    ("line", "ages"),
    [
        ("    NEW = 3\n", []),
        ("    FOLDS = 9\n", []),
        ("    PICK = 2\n", ["streams.py"]),
        ("    NEW = 3\nSALT = 5\n", ["streams.py"]),
    ],
)
def test_only_streams_that_are_drawn_from_count(
    sources: Sources, line: str, ages: list[str]
) -> None:
    streams, solver = sources.package / "streams.py", sources.package / "design/solver.py"
    head = "from enum import IntEnum\nclass Stream(IntEnum):\n    PICK = 1\n    FOLDS = 2\n"
    streams.write_text(head)
    use = "from whichpairs.streams import Stream\nrng = Stream.PICK\n"
    solver.write_text(use + solver.read_text())
    made = fingerprint(["whichpairs.bench.speed"], sources)
    name = line.split()[0]
    rest = "".join(x for x in head.splitlines(keepends=True) if f" {name} =" not in x)
    streams.write_text(rest + line)
    assert changed(made, sources) == ages


def test_a_file_that_is_gone_ages_it(sources: Sources) -> None:
    recorded = fingerprint(["whichpairs.bench.speed"], sources)
    (sources.package / "engine" / "fast.py").unlink()
    assert {"engine/fast.py", "engine/tiles.c"} <= set(changed(recorded, sources))
    (sources.package / "bench" / "speed.py").unlink()
    assert changed(recorded, sources) == ["no such module or script: whichpairs.bench.speed"]


def test_strings_and_hashes_in_them_are_code() -> None:
    source = (
        'def f():\n    "doc # x"\n\n    return "a # b"  # c\n\nx = """\nnot a docstring # d\n"""\n'
    )
    assert code_of(source) == 'def f():\n    return "a # b"\nx = """\nnot a docstring # d\n"""'


def test_the_real_pages_begin_somewhere() -> None:
    """A change in cli/ or report/ ages none; the solver ages the engine's page."""
    from whichpairs.bench import design, gradients, robustness, theory

    for module in (design, gradients, robustness, theory):
        files = Sources().files(module.MEASURES)
        assert not any(name.startswith(("cli/", "report/")) for name in files)
        assert "design/space.py" in files
    assert {"design/solver.py", "engine/tiles.c", "bench/greedy.py"} <= set(
        Sources().files(design.MEASURES)
    )


def test_a_page_and_its_figures(tmp_path: Path) -> None:
    figures = [
        Figure.of("P1", Interval(0.5, 0.1, 0.3, 0.7), 100.0, goal="≥ 40", reached=True),
        Figure("P2", float("inf"), goal="≤ 1", reached=False, missed=("here",)),
        Figure("plain", 3.0),
    ]
    about = About("make it", ("whichpairs.bench.theory",))
    page = "# It\n\n" + goals(figures) + table(["a"], [["b"]])
    write_page(tmp_path, "it", about, figures, {"more": 1}, page, {"it.png": b"png"})
    made = json.loads((tmp_path / "it.json").read_text())
    assert made["figures"] == {
        "P1": {"value": 50, "low": 30, "high": 70, "goal": "≥ 40", "reached": True},
        "P2": {"value": None, "low": None, "high": None, "goal": "≤ 1", "reached": False,
               "missed": ["here"]},
        "plain": {"value": 3, "low": None, "high": None, "goal": None, "reached": None},
    }  # fmt: skip
    assert made["command"] == "make it"
    assert made["more"] == 1
    assert "design/solver.py" in made["code"]["files"]
    assert changed(made["code"]) == []
    text = (tmp_path / "it.md").read_text()
    assert "| P1 | 50.00 [30.00, 70.00] | ≥ 40 | reached |" in text
    assert "| P2 | inf | ≤ 1 | **missed** |" in text
    assert "- here" in text
    assert "plain" not in text
    assert (tmp_path / "it.png").read_bytes() == b"png"
