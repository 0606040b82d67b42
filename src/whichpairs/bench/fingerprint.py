"""What a figure was measured with: a digest of every definition that can change it.

A page names where its measuring begins: modules, scripts of a recipe, or names in one
(``whichpairs.workflow.features.stage:compute_features``). From all that they define every name is
followed to the function, class or assignment that it means, in the same module or, by imports, in
another; also imports inside functions, and names that a package only passes on. A method of a class
counts once anything behind the page names it (`x.name`, or the word in a string), or the class has
a base from outside the package. Where that cannot be told (a module handed on as a whole, or named
in a string) all of the module counts. Top-level statements count with any use of their module
(`bench.definitions`), and so do files of another kind that a definition names and that stand beside
it (`tiles.c`, `grid.toml`), but for Markdown. Not followed are the rooms that cannot change a
number: the command line, the report and the errors' wording (`MUTE`), and imports for type checking
alone.

A digest is of code, not of its place: to move or split a module ages nothing, nor do comments,
docstrings or what nobody behind the page uses. A page is older than its code once there is a
definition behind it that its record does not have, or a statement or file that the record has is
gone. (A definition that is gone ages nothing: whoever used it has changed.)

    python -m whichpairs.bench.fingerprint restamp docs/results/imdb.json TREE [ENTRY …]

records in a page the definitions of the tree (a checkout) that it was measured in, behind its own
entries or other ones.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from whichpairs.bench.behind import behind
from whichpairs.bench.sources import MUTE, OWN, Sources, digest

__all__ = ["MUTE", "changed", "fingerprint", "here", "restamp", "short"]


@cache
def here() -> Sources:
    """The sources that run, as they were at the first question."""
    return Sources()


def fingerprint(entries: Iterable[str], sources: Sources | None = None) -> dict[str, Any]:
    """For a page's JSON: where its measuring begins, and the digest of every definition behind
    it."""
    begins = list(entries)
    return behind(begins, sources or here()).record(begins)


def short(entries: Iterable[str]) -> str:
    """One digest of all that is behind `entries`, e.g. as part of a cache's key."""
    found = behind(entries, here())
    every = {d for files in (found.named, found.unnamed) for file in files.values() for d in file}
    return digest(" ".join(sorted(every)).encode())[:12]


def changed(recorded: Mapping[str, Any], sources: Sources | None = None) -> list[str]:
    """The definitions behind a page that a recorded `fingerprint` does not have, and what is gone
    of the rest."""
    if "definitions" not in recorded:
        return ["its record is by file, of old: restamp it (whichpairs.bench.fingerprint)"]
    try:
        found = behind(recorded["begins"], sources or here())
    except LookupError as gone:
        return [str(gone.args[0])]
    named, unnamed = _split_up(recorded["definitions"]), _split_up(recorded["unnamed"])
    known = set(named) | set(unnamed)
    own = {digest[:OWN] for digest in known}
    new = {
        digest: f"{file}: {name}" if name else file
        for files in (found.named, found.unnamed)
        for file, some in files.items()
        for digest, name in some.items()
        if digest not in known
    }
    # Whoever names what has changed has other links; it has changed itself only where its own code
    # has.
    deep = {text for digest, text in new.items() if digest[:OWN] not in own}
    left = {digest[:OWN] for some in found.unnamed.values() for digest in some}
    lost = {f"{file}: gone" for digest, file in unnamed.items() if digest[:OWN] not in left}
    return sorted(deep | (lost if not deep else set())) or sorted(new.values())


def _split_up(files: Mapping[str, str]) -> dict[str, str]:
    return {digest: file for file, digests in files.items() for digest in digests.split()}


_ASK = (
    "import json, sys; from whichpairs.bench.fingerprint import MUTE, changed; "
    "print(json.dumps([changed(json.load(sys.stdin)), MUTE]))"
)


def restamp(page: Path, tree: Path, entries: Iterable[str] = ()) -> None:
    """Record in a page the definitions of the tree that it was measured in.

    Args:
        page: a page's JSON.
        tree: the checkout; its own code must say that the record is of it.
        entries: where the measuring begins; the record's own when there are none.

    Raises:
        ValueError: the page was not measured with this tree.
    """
    from whichpairs.run.files import to_json, write_whole

    made = json.loads(page.read_text(encoding="utf-8"))
    asked = subprocess.run(
        [sys.executable, "-c", _ASK],
        input=json.dumps(made["code"]),
        env={"PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    differing, muted = json.loads(asked.stdout)
    if differing:
        raise ValueError(f"{page.name} was not measured in {tree}: {', '.join(differing[:5])}")
    sources = Sources(tree / "src" / "whichpairs", tree, tuple(muted))
    made["code"] = fingerprint(list(entries) or made["code"]["begins"], sources)
    write_whole(page, to_json(made))


if __name__ == "__main__":
    if len(sys.argv) < 4 or sys.argv[1] != "restamp":
        sys.exit("usage: python -m whichpairs.bench.fingerprint restamp PAGE.json TREE [ENTRY …]")
    restamp(Path(sys.argv[2]), Path(sys.argv[3]).resolve(), sys.argv[4:])
