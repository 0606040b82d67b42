"""Run the command line in this process, and look at what it left behind."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from whichpairs.cli import main


def ok(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """Run a command that must succeed; its --json object."""
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments] + ["--json"])
    out, err = capsys.readouterr()
    assert stop.value.code == 0, err
    assert out.count("\n") == 1
    return json.loads(out)


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command that must fail by the user's mistake; its one line."""
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    assert stop.value.code == 2, (out, err)
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("whichpairs: ")
    return err


def tree(folder: Path) -> dict[str, str]:
    """Every file below `folder` with its hash (the lock aside)."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else "folder"
        for path in sorted(folder.rglob("*"))
        if path.name != ".lock"
    }


WORDS = [
    "good",
    "bad",
    "fine",
    "awful",
    "great",
    "dull",
    "bright",
    "slow",
    "clever",
    "weak",
    "warm",
    "cold",
    "deep",
    "thin",
    "kind",
    "grim",
]


def pool_rows(prompts: int = 12, size: int = 5) -> list[dict[str, Any]]:
    """A pool with a score, every text different."""
    return [
        {
            "prompt": f"Question {p}?",
            "completion": " ".join(WORDS[(p * 7 + k * (j + 3)) % 16] for k in range(4 + j))
            + f" {j}",
            "score": float((p * 5 + j * 3) % 7),
        }
        for p in range(prompts)
        for j in range(size)
    ]


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
