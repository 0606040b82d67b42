"""What docstrings and the theory cite exists, and what does not is named."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
THEORY = r"""
## 1. First

$$a = b \tag{1}$$

$$b = c \tag{2}$$

As [fedorov1972] has it. *In code:* `sweep.kernel` (1), `design.estimate.bradley_terry.fit_theta`, `make bench-theory` (2).

## 2. Second
"""
REFERENCES = "@book{fedorov1972,\n  year = {1972}\n}\n"


@pytest.fixture(scope="module")
def citations() -> ModuleType:
    sys.path.insert(0, str(ROOT / "docs"))
    return importlib.import_module("citations")


def test_this_project_cites_what_there_is(citations: ModuleType) -> None:
    assert citations.read(ROOT) == []


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ('"""By theory (2), and\n    theory (1) and (2); section\n    9 of a book."""', None),
        ('"""Theory (3)."""', "a.py cites theory (3), which there is not"),
        ("x = 1  # theory (1) to (4)", "a.py cites theory (3), which there is not"),
        ('"""See (theory,\n    section 3)."""', "a.py cites section 3 of the theory"),
        ('"""See theory,\n    section 2."""', None),
        ('"""Source: [fedorov1972; kiefer1960]."""', "a.py cites [kiefer1960], which docs/"),
        ("theory = x[kiefer1960]", None),
    ],
)
def test_a_docstring_s_citations(citations: ModuleType, source: str, wrong: str | None) -> None:
    found = citations.problems(THEORY, REFERENCES, {"a.py": source})
    assert bool(found) is (wrong is not None)
    assert wrong is None or any(one.startswith(wrong) for one in found)


@pytest.mark.parametrize(
    ("theory", "references", "wrong"),
    [
        (THEORY.replace("tag{2}", "tag{1}"), REFERENCES, "must be numbered 1, 2, …; got [1, 1]"),
        (THEORY.replace("[fedorov1972]", "Fedorov"), REFERENCES, "nobody cites fedorov1972"),
        (THEORY, REFERENCES * 2, "has fedorov1972 twice"),
        (THEORY.replace("`sweep.kernel`", "`kernels`"), REFERENCES, "names `kernels`"),
        (
            THEORY.replace("fit_theta", "fit_thetas"),
            REFERENCES,
            "names `design.estimate.bradley_terry.fit_thetas`",
        ),
    ],
)
def test_the_theory_s_own_faults(
    citations: ModuleType, theory: str, references: str, wrong: str
) -> None:
    found = citations.problems(theory, references, {})
    assert any(wrong in one for one in found), found
