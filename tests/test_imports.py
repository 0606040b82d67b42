"""The core must be light: neither importing it nor asking for help loads a framework."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "ray", "transformers", "trl", "datasets", "peft", "accelerate"}
HEAVY |= {"sqlalchemy", "psycopg", "starlette", "uvicorn"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        "import whichpairs",
        "from whichpairs.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
        "from whichpairs import select, import_pool, fit_labels, compute_features, solve",
    ],
)
def test_nothing_heavy_is_loaded(code: str) -> None:
    probe = (
        f"import sys\n{code}\nprint('LOADED', *(m for m in {sorted(HEAVY)} if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("LOADED")


@pytest.mark.slow
def test_asking_for_help_loads_no_arrays() -> None:
    """Settings have modules of their own, free of what their stage computes with."""
    from whichpairs.cli.main import STAGES

    probe = """
import sys
from whichpairs.cli import main
from whichpairs.cli.main import STAGES

seen = set()
for words in (["--help"], *([name, "--help"] for name in STAGES), ["select", "--budgets", "9"]):
    try:
        main(words)
    except SystemExit:
        pass
    new = {"numpy", "scipy", "polars", "torch", "transformers"} & set(sys.modules) - seen
    seen |= new
    if new:
        print("LOADED", *words, *sorted(new))
"""
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.count("Usage: ") == 1 + len(STAGES)
    assert "No such option: --budgets" in done.stderr
    assert [line for line in done.stdout.split("\n") if line.startswith("LOADED")] == []


def test_every_public_name_exists() -> None:
    import whichpairs

    for name in whichpairs.__all__:
        assert callable(getattr(whichpairs, name)), f"{name} is hidden by a module of that name"
    assert set(whichpairs.__all__) <= set(dir(whichpairs))
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        whichpairs.nope  # noqa: B018


def test_errors_cross_process_borders() -> None:
    import pickle

    from whichpairs.errors import MissingExtraError, UserError

    for error in (UserError("rule", "got 1", "do 2"), MissingExtraError("torch", "train")):
        assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_what_a_library_says_is_passed_on_in_words() -> None:
    from whichpairs.errors import plainly

    assert plainly(FileNotFoundError(2, "No such file or directory", "x")) == (
        "No such file or directory"
    )
    assert plainly(UnicodeDecodeError("utf-8", b"ab\xff", 2, 3, "bad")).endswith("(from byte 2 on)")
    assert plainly(EOFError()) == "it is damaged, or not what it must be"
    assert plainly(ValueError("wrong shape.\nmore")) == "its reader says “wrong shape”"
