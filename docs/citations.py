"""Checks what is cited: equations and sections of theory.md, keys of references.bib, names of the code.

A docstring or comment cites ``theory (7)``, ``theory (16) to (18)``, ``theory (4), (9) and (11)``, ``theory,
section 6``, or a source ``[fedorov1972]``, several with semicolons between. The theory cites sources in the
same way, and the code by its path within the package: `design.sweep.kernel`, `design.estimate.bradley_terry.fit_theta`.
"""

import io
import re
import tokenize
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

KEY = re.compile(r"\[((?:[a-z]+\d{4}(?:; )?)+)\]")
EQUATIONS = re.compile(r"\btheory((?:,? (?:and |to )?\(\d+\))+)", re.IGNORECASE)
SECTION = re.compile(r"\btheory,\s+section (\d+)", re.IGNORECASE)
CODE = re.compile(r"`((?:[a-z_]+\.){0,3}[a-z_]+)`")
ROOMS = ("design", "train", "evaluate", "workflow", "features")


def problems(theory: str, references: str, sources: dict[str, str]) -> list[str]:
    """What is cited and does not exist, what is numbered twice, and what nobody cites.

    Args:
        theory, references: the two files; sources: Python files by name.
    """
    tags = [int(tag) for tag in re.findall(r"\\tag\{(\d+)\}", theory)]
    sections = {int(number) for number in re.findall(r"^## (\d+)\.", theory, re.MULTILINE)}
    keys = re.findall(r"^@\w+\{([^,]+),", references, re.MULTILINE)
    found = []
    if tags != list(range(1, len(tags) + 1)):
        found.append(f"the equations of docs/theory.md must be numbered 1, 2, …; got {tags}")
    found += [
        f"docs/references.bib has {key} twice" for key in sorted(set(keys)) if keys.count(key) > 1
    ]
    cited = set()
    for name, text in [("docs/theory.md", theory), *sources.items()]:
        for words in [theory] if text is theory else said(text):
            for number in numbers(words):
                if number not in tags:
                    found.append(f"{name} cites theory ({number}), which there is not")
            for section in SECTION.findall(words):
                if int(section) not in sections:
                    found.append(
                        f"{name} cites section {section} of the theory, which there is not"
                    )
            for group in KEY.findall(words):
                for key in group.split("; "):
                    cited.add(key)
                    if key not in keys:
                        found.append(f"{name} cites [{key}], which docs/references.bib has not")
    found += [f"nobody cites {key} of docs/references.bib" for key in keys if key not in cited]
    found += [f"docs/theory.md names `{name}`, which there is not" for name in gone(theory)]
    return found


def said(source: str) -> Iterator[str]:
    """The strings and comments of a Python source, blanks made one."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            yield re.sub(r"\s+", " ", token.string)


def numbers(words: str) -> list[int]:
    """The equations that a text cites; all of a range."""
    found: list[int] = []
    for listed in EQUATIONS.findall(words):
        for joint, number in re.findall(r"(to |)\((\d+)\)", listed):
            first = found[-1] + 1 if joint and found else int(number)
            found += range(first, int(number) + 1)
    return found


def gone(theory: str) -> list[str]:
    """Names of the code in *In code* paragraphs that lead nowhere: `module` alone is of `design`."""
    missing = []
    for paragraph in re.findall(r"\*In code:\*.*?(?:\n\n|\Z)", theory, re.DOTALL):
        for name in CODE.findall(paragraph):
            if name.startswith("make"):
                continue
            whole = name if name.split(".")[0] in ROOMS else f"design.{name}"
            if not _exists(f"whichpairs.{whole}"):
                missing.append(name)
    return missing


def _exists(name: str) -> bool:
    home, _, last = name.rpartition(".")
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return hasattr(import_module(home), last)


def read(root: Path) -> list[str]:
    """`problems` of this project."""
    python = [*root.glob("src/**/*.py"), *root.glob("recipes/**/*.py")]
    return problems(
        (root / "docs" / "theory.md").read_text(encoding="utf-8"),
        (root / "docs" / "references.bib").read_text(encoding="utf-8"),
        {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in python},
    )
