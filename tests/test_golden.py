"""Golden runs: what every criterion picks on a small pool, pinned byte for byte, so that a move is seen to be one.

Pinned in golden.json: the SHA-256 of a batch's ``pairs.jsonl`` (ids, texts and the order that a labeller sees;
no number that was computed is in it, so neither the BLAS, the number of threads nor the kernel, AMX or not,
changes it, unless two batches were as good as each other to rounding, which these pools avoid by features drawn
at random); the names of a run's files; and the keys of its records, without their values. What a
change is to change:

    .venv/bin/python tests/test_golden.py    # writes golden.json anew
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import whichpairs.design.forecast.predicted_gap as forecast
from cli import pool_rows, write_jsonl
from whichpairs import (
    Columns,
    FeatureSettings,
    LimitSettings,
    LoopSettings,
    SelectSettings,
    compute_features,
    fit_labels,
    import_pool,
    label_simulated,
    loop,
    select,
)
from whichpairs.workflow.select.settings import CRITERIA

GOLDEN = Path(__file__).with_suffix(".json").with_name("golden.json")
PROMPTS, SIZE, DIM, FIRST = 18, 5, 4, 24
TOPICS = ("code", "chat", None)
KNOWN = ("adaptive", "signal", "gap", "best-vs-worst")
"""Those that depend on labels, or on what was asked: they pick on a run without labels too."""


def make(folder: Path) -> Path:
    """A pool with scores, log-probabilities and topics; features; two labelled batches, the second with controls."""
    rng = np.random.default_rng(0)
    rows = pool_rows(PROMPTS, SIZE)
    for number, row in enumerate(rows):
        row["topic"], row["logprob"] = TOPICS[number // SIZE % 3], float(-20 - number % 11)
    phi = rng.standard_normal((len(rows), DIM))
    phi[:, 0] += [row["score"] for row in rows]
    np.save(folder / "phi.npy", phi.astype(np.float32))
    np.save(folder / "vector.npy", rng.standard_normal(DIM))
    np.save(folder / "moment.npy", np.diag(np.arange(1.0, DIM + 1)))
    source, run = write_jsonl(folder / "pool.jsonl", rows), folder / "run"
    import_pool(source, run, Columns(scores=("score",)), holdout=0.2, beta=0.3, seed=3)
    compute_features(run, FeatureSettings(method="file", file=str(folder / "phi.npy")))
    shutil.copytree(run, folder / "unlabelled")
    for budget, controls in ((FIRST, 0), (8, 4)):
        select(run, SelectSettings(budget, "random", controls=controls))
        label_simulated(run, "score", temperature=0.5)
    fit_labels(run)
    write_jsonl(folder / "must.jsonl", _asked(folder, 0, 2))
    write_jsonl(folder / "never.jsonl", _asked(folder, 2, 30))
    return run


def _asked(folder: Path, first: int, last: int) -> list[dict[str, Any]]:
    """Some pairs of a random batch on a copy of the run."""
    run = Path(shutil.copytree(folder / "run", folder / f"asked-{first}"))
    rows = _read(run, select(run, SelectSettings(40, "random", controls=0, seed=8)))
    return [{"id_a": row["id_a"], "id_b": row["id_b"]} for row in rows[first:last]]


def _file(run: Path, outcome: Any) -> Path:
    return run / "batches" / str(outcome.result["batch"]) / "pairs.jsonl"


def _read(run: Path, outcome: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _file(run, outcome).read_text().splitlines()]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def cases(folder: Path) -> Iterator[tuple[str, str, SelectSettings]]:
    """Name, run and settings of every selection."""
    limits = LimitSettings(
        repeats=2,
        per_prompt=3,
        group_column="topic",
        share=("code=0.5:0.7", "chat=:0.4"),
        must=str(folder / "must.jsonl"),
        must_not=str(folder / "never.jsonl"),
    )
    minutes = LimitSettings(reading=200.0, per_completion=2)
    matrices = {"c-optimal": "vector.npy", "i-optimal": "moment.npy"}
    for criterion in CRITERIA:
        name = matrices.get(criterion)
        matrix = None if name is None else str(folder / name)

        def chosen(
            budget: float = 14,
            criterion: str = criterion,
            matrix: str | None = matrix,
            **more: Any,
        ) -> SelectSettings:
            return SelectSettings(budget, criterion, matrix=matrix, **more)

        yield criterion, "run", chosen()
        if criterion in KNOWN:
            score = "score" if criterion == "best-vs-worst" else None
            yield f"{criterion}, no labels", "unlabelled", chosen(score=score)
        if criterion != "paper":  # it has no limits
            yield f"{criterion}, limits", "run", chosen(controls=3, limits=limits)
    yield "gap, minutes", "run", SelectSettings(6.0, "gap", controls=0, limits=minutes)
    yield "adaptive, seed", "run", SelectSettings(14, "adaptive", controls=0, seed=5)


def _keys(value: Any, depth: int = 3) -> Any:
    """The keys of JSON objects in one another."""
    if depth and isinstance(value, dict):
        return {key: _keys(inner, depth - 1) for key, inner in sorted(value.items())}
    return ""


def found(folder: Path) -> dict[str, Any]:
    """All that is pinned."""
    run = make(folder)
    batches = {}
    for number, (name, where, settings) in enumerate(cases(folder)):
        copy = Path(shutil.copytree(folder / where, folder / f"case-{number}"))
        batches[name] = _digest(_file(copy, select(copy, settings)))
    looped = Path(shutil.copytree(folder / "unlabelled", folder / "looped"))
    settings = LoopSettings(48, first=20, rounds=3, simulate="score", temperature=0.5)
    loop(looped, settings)
    every = sorted(looped.glob("batches/*/pairs.jsonl"))
    files = [path.relative_to(run).as_posix() for path in sorted(run.rglob("*")) if path.is_file()]
    records = {
        path.relative_to(run).as_posix(): _keys(json.loads(path.read_text()))
        for path in sorted(run.rglob("*.json"))
    }
    return {
        "batches": batches,
        "rounds of a loop": [_digest(path) for path in every],
        "files": files,
        "records": records,
    }


@pytest.fixture(scope="module")
def now(tmp_path_factory: pytest.TempPathFactory, few_draws: None) -> dict[str, Any]:
    """Made once."""
    return found(tmp_path_factory.mktemp("golden"))


@pytest.mark.parametrize("what", ["batches", "rounds of a loop", "files", "records"])
def test_runs_are_what_they_were(now: dict[str, Any], what: str) -> None:
    assert now[what] == json.loads(GOLDEN.read_text())[what]


def test_batches_differ(now: dict[str, Any]) -> None:
    """Two criteria that picked the same would pin nothing of either."""
    batches = now["batches"]
    same = {name for name, digest in batches.items() if list(batches.values()).count(digest) > 1}
    assert same == {"adaptive, no labels", "signal, no labels"}  # both at random, in one way


if __name__ == "__main__":
    import tempfile

    forecast.DRAWS = 8
    with tempfile.TemporaryDirectory() as scratch:
        GOLDEN.write_text(json.dumps(found(Path(scratch)), indent=1, sort_keys=True) + "\n")
    print(f"wrote {GOLDEN}", file=sys.stderr)
