"""The run folder: finished stages change nothing, and a kill at any moment leaves a usable folder."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from cli import ok, pool_rows, tree, write_jsonl
from whichpairs import (
    FeatureSettings,
    GenerateSettings,
    SelectSettings,
    compute_features,
    fit_labels,
    generate_pool,
    import_pool,
    label_from_file,
    label_simulated,
    select,
)
from whichpairs.errors import UserError
from whichpairs.label.store import LabelStore
from whichpairs.pool.read import Columns
from whichpairs.types import Label


class Killed(BaseException):
    """The process is dead: from here on nothing reaches the disk."""


@contextlib.contextmanager
def killed_at(monkeypatch: pytest.MonkeyPatch, moment: int) -> Iterator[None]:
    """Die at the `moment`-th call that changes or syncs the disk; later ones do nothing."""
    count = {"calls": 0}

    def mortal(real: Callable) -> Callable:
        def call(*args, **kwargs):
            count["calls"] += 1
            if count["calls"] == moment:
                raise Killed
            if count["calls"] > moment:
                return None
            return real(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for module, name in ((os, "replace"), (os, "fsync"), (shutil, "rmtree"), (Path, "unlink")):
            patch.setattr(module, name, mortal(getattr(module, name)))
        yield


def without_times(folder: Path) -> dict[str, str]:
    """The tree, with created times and durations taken out of the JSON files."""
    import hashlib

    found = tree(folder)
    for name in found:
        path = folder / name
        if path.suffix == ".json":
            value = _scrub(json.loads(path.read_text()))
            found[name] = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
    return {k: v for k, v in found.items() if k != "labels.sqlite"}


def _scrub(value):
    if isinstance(value, dict):
        gone = {"created", "seconds", "batch_file", "made"}
        return {k: _scrub(v) for k, v in value.items() if k not in gone}
    return [_scrub(v) for v in value] if isinstance(value, list) else value


def steps(source: Path, phi: Path) -> dict[str, Callable[[Path], object]]:
    return {
        "import": lambda run: import_pool(source, run, Columns(scores=("score",)), holdout=0.25),
        "features": lambda run: compute_features(run, FeatureSettings("file", file=str(phi))),
        "select": lambda run: select(run, SelectSettings(6)),
        "label": lambda run: label_simulated(run, "score"),
        "fit": lambda run: fit_labels(run, strength=1.0),
    }


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[Path, Path]:
    source = write_jsonl(tmp_path / "pool.jsonl", pool_rows())
    phi = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
    np.save(tmp_path / "phi.npy", phi)
    return source, tmp_path / "phi.npy"


@pytest.mark.parametrize("stage", ["import", "features", "select", "fit"])
def test_a_kill_at_any_moment(stage: str, inputs, tmp_path: Path, monkeypatch) -> None:
    todo = steps(*inputs)
    begun = tmp_path / "begun"
    for name, step in todo.items():
        if name == stage:
            break
        step(begun)
    whole = tmp_path / "whole"
    if begun.exists():
        shutil.copytree(begun, whole)
    todo[stage](whole)
    deaths = 0
    for moment in range(1, 60):
        run = tmp_path / "killed"
        shutil.rmtree(run, ignore_errors=True)
        if begun.exists():
            shutil.copytree(begun, run)
        try:
            with killed_at(monkeypatch, moment):
                todo[stage](run)
        except Killed:
            deaths += 1
        else:
            break
        todo[stage](run)
        assert without_times(run) == without_times(whole), f"killed at moment {moment}"
    assert deaths >= 5


@pytest.mark.parametrize("replacing", [False, True])
def test_a_kill_while_features_are_replaced_loses_neither(
    replacing: bool, inputs, tmp_path: Path, monkeypatch
) -> None:
    """Between the two renames the old set has been moved away: it must come back."""
    todo = steps(*inputs)
    begun = tmp_path / "begun"
    todo["import"](begun)
    todo["features"](begun)
    old = without_times(begun)
    for moment in range(1, 40):
        run = tmp_path / "killed"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(begun, run)
        half = FeatureSettings("file", file=str(inputs[1]), dtype="float16")
        try:
            with killed_at(monkeypatch, moment):
                compute_features(run, half, replace=True)
        except Killed:
            if replacing:
                compute_features(run, half, replace=True)
                assert np.load(run / "features/file/features.npy").dtype == np.float16
            else:
                select(run, SelectSettings(3))
                shutil.rmtree(run / "batches")
                now = without_times(run)
                new = json.loads((run / "features/file/manifest.json").read_text())
                assert now == old or new["settings"]["dtype"] == "float16"
        else:
            break


def test_labels_once_accepted_survive_a_kill_and_a_half_transaction_does_not(
    tmp_path: Path,
) -> None:
    code = """
import os, sys
from pathlib import Path
from whichpairs.label.store import LabelStore
from whichpairs.types import Label
def labels(n, die):
    for k in range(n):
        if k == die: os._exit(9)
        yield Label(f"q{k}", "x", "y", "a", "ann", "001")
store = LabelStore(Path(sys.argv[1]))
store.add(labels(3, None))
store.add(labels(9, 7))
"""
    path = tmp_path / "labels.sqlite"
    done = subprocess.run([sys.executable, "-c", code, str(path)])
    assert done.returncode == 9
    assert [x.pair_id for x in LabelStore(path).all()] == ["q0", "q1", "q2"]


def test_imported_labels_arrive_though_the_import_was_killed(tmp_path: Path, monkeypatch) -> None:
    rows = [{"prompt": f"p{k}", "chosen": f"good {k}", "rejected": f"bad {k}"} for k in range(6)]
    source = write_jsonl(tmp_path / "pairs.jsonl", rows)

    def dead(self, labels, sources=None) -> int:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(LabelStore, "add", dead)
        with pytest.raises(Killed):
            import_pool(source, tmp_path / "run")
    outcome = import_pool(source, tmp_path / "run")
    assert outcome.done_before
    labels = LabelStore(tmp_path / "run" / "labels.sqlite").all()
    assert len(labels) == 6
    assert {x.choice for x in labels} == {"a", "b"}  # the order shown does not tell who won


def test_finished_stages_say_so_and_change_nothing(inputs, tmp_path: Path) -> None:
    todo = steps(*inputs)
    for step in todo.values():
        step(tmp_path / "run")
    before = tree(tmp_path)
    for name, step in todo.items():
        if name == "select":
            continue  # new labels since: a new batch is due
        outcome = step(tmp_path / "run")
        assert outcome.done_before, name
        assert "nothing changed" in outcome.message or "Nothing to do" in outcome.message
    assert tree(tmp_path) == before


def test_select_again_before_labels(inputs, tmp_path: Path) -> None:
    todo, run = steps(*inputs), tmp_path / "run"
    todo["import"](run)
    todo["features"](run)
    todo["select"](run)
    before = tree(tmp_path)
    assert todo["select"](run).done_before
    with pytest.raises(UserError, match=r"6 pairs wait \(batch 001; budget was 6, now 7\)"):
        select(run, SelectSettings(7))
    assert tree(tmp_path) == before
    assert select(run, SelectSettings(7), another=True).result["batch"] == "002"


def test_generate_goes_on_after_kills(tmp_path: Path, monkeypatch) -> None:
    from tiny_models import folder

    model = folder()
    prompts = write_jsonl(
        tmp_path / "prompts.jsonl", [{"prompt": f"the cat {k}"} for k in range(7)]
    )
    settings = GenerateSettings(
        str(model), str(prompts), n=3, max_new_tokens=5, chunk=2, holdout=0.3
    )
    generate_pool(tmp_path / "whole", settings)
    run, deaths = tmp_path / "killed", 0
    for moment in range(2, 60, 2):
        try:
            with killed_at(monkeypatch, moment):
                generate_pool(run, settings)
        except Killed:
            deaths += 1
        else:
            break
    assert deaths >= 4
    assert without_times(run) == without_times(tmp_path / "whole")


def test_the_same_seed_gives_the_same_batch_byte_for_byte_on_two_threads(inputs, tmp_path) -> None:
    todo, files = steps(*inputs), []
    for threads in (1, 2):
        run = tmp_path / f"run{threads}"
        todo["import"](run)
        todo["features"](run)
        select(run, SelectSettings(20, threads=threads, seed=5))
        files.append((run / "batches" / "001" / "pairs.jsonl").read_bytes())
    assert files[0] == files[1]


def test_ties_repeats_and_contradictions(inputs, tmp_path: Path, capsys) -> None:
    todo, run = steps(*inputs), tmp_path / "run"
    for name in ("import", "features", "select"):
        todo[name](run)
    lines = (run / "batches/001/pairs.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    answers = [
        {"pair_id": row["pair_id"], "choice": c} for row, c in zip(rows, "abab", strict=False)
    ]
    answers[3]["choice"] = "tie"
    mirrored = [
        {
            "pair_id": a["pair_id"],
            "choice": {"a": "b", "b": "a", "tie": "tie"}[a["choice"]],
            "id_a": row["id_b"],
            "id_b": row["id_a"],
        }
        for a, row in zip(answers, rows, strict=False)
    ]
    first = label_from_file(run, write_jsonl(tmp_path / "1.jsonl", answers))
    again = label_from_file(run, write_jsonl(tmp_path / "2.jsonl", mirrored))
    assert (first.result["new"], again.result["new"]) == (4, 0)
    against = [{"pair_id": rows[4]["pair_id"], "choice": "a"}, {**answers[0], "choice": "b"}]
    with pytest.raises(UserError, match="already answered"):
        label_from_file(run, write_jsonl(tmp_path / "3.jsonl", against))
    stored = LabelStore(run / "labels.sqlite").all()
    assert [x.choice for x in stored] == ["a", "b", "a", "tie"]
    assert all(isinstance(x, Label) and x.batch == "001" for x in stored)
    found = ok(capsys, "export", tmp_path / "out.jsonl", "--run", run)
    assert (found["rows"], found["ties_left_out"]) == (3, 1)
    out = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["chosen"] for row in out] == [
        rows[0]["completion_a"],
        rows[1]["completion_b"],
        rows[2]["completion_a"],
    ]


def test_the_order_shown_is_a_fair_coin_and_stored(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "pool.jsonl", pool_rows(100, 5))
    run = tmp_path / "run"
    import_pool(source, run, Columns(scores=("score",)))
    phi = np.random.default_rng(0).standard_normal((500, 3)).astype(np.float32)
    np.save(tmp_path / "phi.npy", phi)
    compute_features(run, FeatureSettings("file", file=str(tmp_path / "phi.npy")))
    select(run, SelectSettings(600, "random"))
    label_simulated(run, "score", temperature=2.0)
    labels = LabelStore(run / "labels.sqlite").all()
    swapped = np.mean([x.id_a > x.id_b for x in labels])
    assert abs(swapped - 0.5) < 0.08
    score = {r["prompt"] + r["completion"]: r["score"] for r in pool_rows(100, 5)}
    rows = [json.loads(x) for x in (run / "batches/001/pairs.jsonl").read_text().splitlines()]
    of = {r["pair_id"]: r for r in rows}
    gaps = [
        score[of[x.pair_id]["prompt"] + of[x.pair_id]["completion_a"]]
        - score[of[x.pair_id]["prompt"] + of[x.pair_id]["completion_b"]]
        for x in labels
    ]
    p = 1 / (1 + np.exp(-np.array(gaps) / 2.0))
    assert np.allclose(p, [x.probability for x in labels])
    wins = np.array([x.choice == "a" for x in labels])
    assert abs(np.sum(wins - p)) < 3.5 * np.sqrt(np.sum(p * (1 - p)))
