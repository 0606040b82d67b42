"""Pages know what code they measured: what ages them, what does not, and who is told."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from whichpairs.bench.behind import behind
from whichpairs.bench.fingerprint import changed, fingerprint, here, restamp
from whichpairs.bench.markdown import About, Figure, goals, table, write_page
from whichpairs.bench.sources import MUTE, SOURCE, Sources
from whichpairs.evaluate.interval import Interval

FILES = {
    "whichpairs/__init__.py": (
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from whichpairs.bench.speed import measure\n"
        "def __getattr__(name):\n    return name\n"
    ),
    "whichpairs/bench/speed.py": (
        "import numpy as np\n"
        "from whichpairs import tools\n"
        "from whichpairs.design import solve\n"
        "from whichpairs.cli.show import bar\n"
        "from whichpairs.streams import Stream\n"
        "METHODS = {}\n"
        "METHODS['a'] = solve\n"
        "def measure():\n"
        "    from whichpairs.engine import fast\n"
        "    return solve(fast.kernel(), np.ones(tools.used())), Stream.PICK, bar\n"
        "def idle():\n    return 0\n"
        "class Clock:\n    def now(self):\n        return 1\n    def later(self):\n        return 2\n"
    ),
    "whichpairs/cli/show.py": "bar = 1\n",
    "whichpairs/tools.py": "def used():\n    return 1\ndef unused():\n    return 1\n",
    "whichpairs/streams.py": (
        "from enum import IntEnum\nclass Stream(IntEnum):\n    PICK = 1\n    FOLDS = 2\n"
    ),
    "whichpairs/design/__init__.py": (
        "from whichpairs.design.solver import solve\nfrom whichpairs.design.other import thing\n"
    ),
    "whichpairs/design/solver.py": (
        '"""Solves."""\n'
        "from functools import lru_cache\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from whichpairs.design.other import thing\n"
        "LIMIT = 3\n"
        '@lru_cache(maxsize=2)\ndef solve(x: int, y: "thing"):\n    """Of x."""\n'
        "    return half(x) + LIMIT  # itself\n"
        "def half(x, LONELY=0):\n    return x / 2 + LONELY\n"
        "LONELY = 4\n"
        "def lonely():\n    return LONELY\n"
    ),
    "whichpairs/design/other.py": "thing = 2\n",
    "whichpairs/engine/fast.py": (
        "def kernel():\n    return 'tiles.c', 'whichpairs.engine.named'\n"
    ),
    "whichpairs/engine/__init__.py": "",
    "whichpairs/engine/named.py": "def by_string():\n    return 1\n",
    "whichpairs/engine/tiles.c": "int x;\n",
    "recipes/lab.py": "from helper import help_me\nimport numpy\nwhat = help_me\n",
    "recipes/helper.py": "from whichpairs.design import thing as help_me\n",
    "recipes/face.py": "from whichpairs import measure as m\n",
}
SPEED = ["whichpairs.bench.speed"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A package in small: a bench that measures `design`, which passes `solve` on, and a command."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def _read(root: Path) -> Sources:
    return Sources(root / "whichpairs", root)


def _names(root: Path, *entries: str) -> set[str]:
    found = behind(entries, _read(root))
    every = [*found.named.items(), *found.unnamed.items()]
    return {f"{file}: {name}" if name else file for file, some in every for name in some.values()}


def test_what_is_behind_a_figure(root: Path) -> None:
    solver = {f"design/solver.py: {name}" for name in ("solve", "half", "LIMIT")}
    engine = {"engine/fast.py: kernel", "engine/named.py: by_string", "engine/tiles.c"}
    tools, stream = "tools.py: used", {f"streams.py: Stream{name}" for name in ("", ".PICK")}
    measured = {
        "bench/speed.py: measure",
        "bench/speed.py: METHODS",
        "bench/speed.py: at the top level",
    }
    own = {*measured, "bench/speed.py: idle", "bench/speed.py: Clock"}
    own |= {"bench/speed.py: Clock.now", "bench/speed.py: Clock.later"}
    assert _names(root, *SPEED) == {*own, *solver, *engine, tools, *stream}
    some = {*measured, *solver, *engine, tools, *stream}
    # one name of it; the top-level statement that the module has registers METHODS
    assert _names(root, "whichpairs.bench.speed:measure") == some
    assert _names(root, "recipes/lab.py") == {"recipes/lab.py: what", "design/other.py: thing"}
    (root / "recipes/face.py").write_text("from whichpairs import measure as m\nnow = m\n")
    assert _names(root, "recipes/face.py") == {"recipes/face.py: now", *some}


def _edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        path = root / "whichpairs" / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return edit


def _move_solver(root: Path) -> None:
    home = root / "whichpairs/design"
    (home / "solve").mkdir()
    (home / "solve/__init__.py").write_text("")
    (home / "solver.py").rename(home / "solve/frank_wolfe.py")
    face = home / "__init__.py"
    face.write_text(face.read_text().replace("design.solver", "design.solve.frank_wolfe"))


def _move_tools(root: Path) -> None:
    """Another room and another name; named through the module, and by a string."""
    (root / "whichpairs/tools.py").rename(root / "whichpairs/engine/gear.py")
    (root / "whichpairs/engine/named.py").rename(root / "whichpairs/engine/called.py")
    (root / "whichpairs/engine/tiles.c").rename(root / "whichpairs/design/tiles.c")
    (root / "whichpairs/engine/fast.py").rename(root / "whichpairs/design/fast.py")
    _edit("design/fast.py", "engine.named", "engine.called")(root)
    for old, new in (
        ("from whichpairs import tools", "from whichpairs.engine import gear"),
        ("tools.used", "gear.used"),
        ("from whichpairs.engine import fast", "from whichpairs.design import fast"),
    ):
        _edit("bench/speed.py", old, new)(root)


def _split_solver(root: Path) -> None:
    solver = root / "whichpairs/design/solver.py"
    text = solver.read_text()
    at = text.index("def half")
    solver.with_name("halves.py").write_text("import os\n" + text[at:])
    solver.write_text("from whichpairs.design.halves import half, lonely\n" + text[:at])


@pytest.mark.parametrize(
    ("edit", "ages"),
    [
        (_move_solver, []),
        (_move_tools, []),
        (_split_solver, []),
        (_edit("cli/show.py", "1", "2"), []),
        (_edit("design/other.py", "2", "3"), []),
        (_edit("design/solver.py", "LONELY = 4", "LONELY = 5"), []),
        (_edit("tools.py", "unused():\n    return 1", "unused():\n    return 2"), []),
        (_edit("design/solver.py", "# itself", "# the same"), []),
        (_edit("design/solver.py", "    return half", "    # aside\n\n    return half"), []),
        (_edit("design/solver.py", "Of x.", "Of any x,\n\n    whatever."), []),
        (_edit("design/solver.py", "x: int", "x: float"), []),
        (_edit("streams.py", "FOLDS = 2", "FOLDS = 3"), []),
        (_edit("streams.py", "FOLDS = 2", "FOLDS = 2\n    NEW = 3"), []),
        (_edit("bench/speed.py", "def idle():\n    return 0\n", ""), []),
        (_edit("design/solver.py", "half(x) +", "2 * half(x) +"), ["design/solver.py: solve"]),
        (_edit("design/solver.py", "x / 2", "x / 3"), ["design/solver.py: half"]),
        (_edit("design/solver.py", "LIMIT = 3", "LIMIT = 4"), ["design/solver.py: LIMIT"]),
        (_edit("design/solver.py", "maxsize=2", "maxsize=3"), ["design/solver.py: solve"]),
        (_edit("bench/speed.py", "return 2", "return 3"), ["bench/speed.py: Clock.later"]),
        (_edit("bench/speed.py", "['a'] = solve", "['a'] = idle"), ["bench/speed.py: at the top level"]),
        (_edit("bench/speed.py", "METHODS['a'] = solve\n", ""), ["bench/speed.py: gone"]),
        (_edit("bench/speed.py", "import numpy as np", "import scipy as np"), ["bench/speed.py: measure"]),
        (_edit("bench/speed.py", "PICK", "FOLDS"), ["bench/speed.py: measure", "streams.py: Stream.FOLDS"]),
        (_edit("streams.py", "PICK = 1", "PICK = 3"), ["streams.py: Stream.PICK"]),
        (_edit("tools.py", "used():\n    return 1\ndef un", "used():\n    return 2\ndef un"), ["tools.py: used"]),
        (_edit("tools.py", "def used", "print('registered')\ndef used"), ["tools.py: at the top level"]),
        (_edit("design/other.py", "thing", "print('x')\nthing"), ["design/other.py: at the top level"]),
        (_edit("engine/named.py", "return 1", "return 2"), ["engine/named.py: by_string"]),
        (_edit("engine/tiles.c", "int", "long"), ["engine/tiles.c"]),
        (
            _edit("design/solver.py", "    return half", "    from whichpairs.design.other import thing\n    return thing + half"),
            ["design/other.py: thing", "design/solver.py: solve"],
        ),
        (
            _edit("design/solver.py", "def lonely", "@LONELY.add\ndef lonely"),
            ["design/solver.py: LONELY", "design/solver.py: lonely"],
        ),
    ],
)  # fmt: skip
def test_what_ages_a_page(root: Path, edit: Callable[[Path], None], ages: list[str]) -> None:
    recorded = json.loads(json.dumps(fingerprint(SPEED, _read(root))))
    assert changed(recorded, _read(root)) == []
    edit(root)
    assert changed(recorded, _read(root)) == ages


BOX = """
from typing import Annotated
from enum import Enum
from threading import Thread
class Lid:
    def shut(self):
        return 1
class Box(Lid):
    size: Annotated[int, "of a side"] = 1
    def __len__(self):
        return self.size
    def open(self):
        return self._open()
    def _open(self):
        return 1
    @property
    def idle(self):
        return 3
    @Box.known
    def told(self):
        return 4
    def shut(self):
        return 5
class Runner(Thread):
    def run(self):
        return 6
"""


@pytest.mark.parametrize(
    ("old", "new", "ages"),
    [
        ("return 3", "return 4", []),
        ("def idle", "def lazy", ["Box"]),  # may be another in the place of Lid's
        ("    def open", "    def new(self):\n        return 8\n    def open", ["Box"]),
        ("of a side", "of an edge", []),
        ("Annotated[int", "Annotated[float", ["Box"]),
        ("Annotated[int, \"of a side\"]", "int", []),
        ("self.size", "2 * self.size", ["Box"]),
        ("return self._open()", "return 2 * self._open()", ["Box.open"]),
        ("self):\n        return 1\n    @", "self):\n        return 2\n    @", ["Box._open"]),
        ("return 4", "return 5", ["Box"]),
        ("return 6", "return 7", ["Runner.run"]),
        ("    def shut(self):\n        return 1\nclass", "    def shut(self):\n        return 2\nclass", ["Lid.shut"]),
        ("    def shut(self):\n        return 5\n", "", ["Box"]),
    ],
)  # fmt: skip
def test_a_method_counts_once_it_is_named(root: Path, old: str, new: str, ages: list[str]) -> None:
    box, speed = (root / "whichpairs" / name for name in ("box.py", "bench/speed.py"))
    box.write_text(BOX)
    speed.write_text(
        "from whichpairs.box import Box, Runner\n"
        "def measure(box: Box = Box(), of=Runner()):\n    return box.open(), getattr(box, 'shut')\n"
    )
    recorded = fingerprint(SPEED, _read(root))
    assert BOX.count(old) == 1
    box.write_text(BOX.replace(old, new))
    assert changed(recorded, _read(root)) == [f"box.py: {name}" for name in ages]


def test_the_same_name_from_another_module(root: Path) -> None:
    """Both are behind the page before and after; only who calls which has changed."""
    (root / "whichpairs/engine/other.py").write_text("def used():\n    return 7\n")
    speed = root / "whichpairs/bench/speed.py"
    speed.write_text(speed.read_text() + "from whichpairs.engine.other import used\nb = used()\n")
    recorded = fingerprint(SPEED, _read(root))
    speed.write_text(speed.read_text().replace("tools.used()", "used()"))
    assert changed(recorded, _read(root)) == ["bench/speed.py: measure"]


def test_a_module_that_is_gone(root: Path) -> None:
    recorded = fingerprint(SPEED, _read(root))
    (root / "whichpairs/bench/speed.py").unlink()
    assert changed(recorded, _read(root)) == ["no such module or script: whichpairs.bench.speed"]
    with pytest.raises(LookupError, match="no such name"):
        behind(["whichpairs.tools:hammer"], _read(root))


def test_a_record_by_file_is_restamped_with_its_own_tree(root: Path, tmp_path: Path) -> None:
    tree, page = tmp_path / "tree", tmp_path / "page.json"
    for name in [name for name in FILES if name.startswith("whichpairs/")]:
        path = tree / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((root / name).read_text())
    old = "MUTE = ['cli', 'bench/fingerprint']\ndef changed(recorded):\n    return [] if recorded['files'] == {'a': '1'} else ['a']\n"
    (tree / "src/whichpairs/bench/fingerprint.py").write_text(old)
    record = {"begins": SPEED, "files": {"a": "1"}}
    assert "of old" in changed(record, _read(root))[0]
    page.write_text(json.dumps({"code": record, "more": 1}))
    restamp(page, tree)
    made = json.loads(page.read_text())
    assert made == {"code": fingerprint(SPEED, _read(root)), "more": 1}
    page.write_text(json.dumps({"code": record | {"files": {"a": "2"}}}))
    with pytest.raises(ValueError, match="was not measured in"):
        restamp(page, tree)


def test_the_real_pages_begin_somewhere() -> None:
    """A change in cli/ or report/ ages none; the solver ages the engine's page."""
    from whichpairs.bench import theory
    from whichpairs.bench.engine import run as design
    from whichpairs.bench.gradients import run as gradients
    from whichpairs.bench.robustness import page as robustness

    for module in (design, gradients, robustness, theory):
        files = behind(module.MEASURES, here()).named
        assert not any(name.startswith(("cli/", "report/")) for name in files)
        assert "design/problem/space.py" in files
    engine = behind(design.MEASURES, here())
    assert {"design/solver/frank_wolfe.py", "bench/methods/greedy.py"} <= set(engine.named)
    assert "engine/kernels/tiles.c" in engine.unnamed
    robust = behind(robustness.MEASURES, here())
    assert "bench/robustness/grid.toml" in robust.unnamed
    assert "features/hidden.py" not in robust.named


def test_rooms_that_decide_no_figure_are_there() -> None:
    for name in MUTE:
        assert (SOURCE / name).is_dir() or (SOURCE / f"{name}.py").is_file(), name


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
    assert "design/solver/frank_wolfe.py" in made["code"]["definitions"]
    assert changed(made["code"]) == []
    text = (tmp_path / "it.md").read_text()
    assert "| P1 | 50.00 [30.00, 70.00] | ≥ 40 | reached |" in text
    assert "| P2 | inf | ≤ 1 | **missed** |" in text
    assert "- here" in text
    assert "plain" not in text
    assert (tmp_path / "it.png").read_bytes() == b"png"
