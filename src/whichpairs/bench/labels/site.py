"""A run with picked pairs, its labelling page in a process of its own, and a real browser on it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whichpairs.label.stores.base import Answer
from whichpairs.pool.pool import pair_id
from whichpairs.run.folder import open_run
from whichpairs.workflow.import_pool import import_pool
from whichpairs.workflow.workspace import Workspace

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def picked_run(folder: Path, prompts: list[Any], sides: list[tuple[str, str]]) -> Path:
    """A run whose one batch asks about the two completions of every prompt, in that order."""
    rows = [
        {"prompt": prompt, "completion": text}
        for prompt, both in zip(prompts, sides, strict=True)
        for text in both
    ]
    source = folder / "pool.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    run = folder / "run"
    import_pool(source, run)
    ids = Workspace(open_run(run)).pool.ids
    picked = [
        {"pair_id": pair_id(a, b), "id_a": a, "id_b": b, "labels": 1}
        for a, b in zip(ids[::2], ids[1::2], strict=True)
    ]

    def make(batch: Path) -> dict[str, Any]:
        lines = "".join(json.dumps(row) + "\n" for row in picked)
        (batch / "pairs.jsonl").write_text(lines, encoding="utf-8")
        return {"picked": len(picked)}

    open_run(run).commit(("batches", "001"), "select", {}, {}, make)
    return run


@dataclass
class Served:
    """A server that runs."""

    process: "subprocess.Popen[str]"
    owner: str
    people: dict[str, str]

    @property
    def base(self) -> str:
        """The address, without an end slash."""
        return self.owner.partition("/join/")[0]

    def kill(self) -> None:
        """As a crash does."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


def start(run: Path, *options: str) -> Served:
    """`whichpairs serve`, once it has printed its links."""
    command = [sys.executable, "-m", "whichpairs.cli", "serve", "--run", str(run), "--json"]
    command += [] if "--port" in options else ["--port", "0"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.readline()
    assert said, "the server did not start"
    doors = json.loads(said)
    return Served(process, doors["owner"], doors["people"])


@contextmanager
def served(run: Path, *options: str) -> Iterator[Served]:
    """`start`, and an end."""
    one = start(run, *options)
    try:
        yield one
    finally:
        one.process.send_signal(signal.SIGINT)
        try:
            one.process.wait(10)
        except subprocess.TimeoutExpired:
            one.kill()


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium, driven by playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        one = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield one
        finally:
            one.close()


def shown_first(run: Path, answer: Answer) -> int:
    """Whether the completion that stood left is its prompt's first (0) or second."""
    pool = Workspace(open_run(run)).pool
    return pool.row_of[answer.id_a] % 2
