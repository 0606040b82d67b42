"""Feature jobs that are killed, resumed and shared among devices give the bytes of a plain one."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny_models
from cli import pool_rows, tree, write_jsonl
from whichpairs.errors import UserError
from whichpairs.features.hidden import hidden_features
from whichpairs.lm.encode import encode_all
from whichpairs.pool.pool import Pool
from whichpairs.workflow.features import blocks as extract
from whichpairs.workflow.features.settings import FeatureSettings
from whichpairs.workflow.features.stage import compute_features
from whichpairs.workflow.import_pool import import_pool
from whichpairs.workflow.status import status
from whichpairs.workflow.workspace import workspace

PROMPTS, SIZE = 15, 8
BLOCKS = -(-PROMPTS * SIZE // 16)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a pool of 120 completions, and the plain features of it."""
    folder = tmp_path_factory.mktemp("resume")
    source = write_jsonl(folder / "pool.jsonl", pool_rows(PROMPTS, SIZE))
    import_pool(source, folder / "run")
    shutil.copytree(folder / "run", folder / "plain")
    compute_features(folder / "plain", settings())
    return folder


def settings(**other: Any) -> FeatureSettings:
    """Blocks of 16 completions, so that there are 8 of them."""
    usual = {"dim": 8, "model": str(tiny_models.folder()), "batch_size": 1, "device": "cpu"}
    return FeatureSettings("gradient", **{**usual, **other})


def killed(run: Path) -> list[Path]:
    """Kill -9 a job once it has finished two blocks; the blocks it left."""
    words = ["--run", run, "--method", "gradient", "--model", tiny_models.folder()]
    words += ["--dim", 8, "--batch-size", 1, "--device", "cpu", "--no-fidelity"]
    line = [sys.executable, "-m", "whichpairs.cli", "features", *map(str, words)]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL)
    while len(blocks(run)) < 2:
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return blocks(run)


def blocks(run: Path) -> list[Path]:
    return sorted(run.glob("features.partial/*/[0-9]*.npy"))


def features(run: Path) -> dict[str, str]:
    """Hashes of what the set holds, its manifest (with a time in it) aside."""
    found = tree(run / "features" / "gradient")
    assert "manifest.json" in found
    return {name: hash_ for name, hash_ in found.items() if name != "manifest.json"}


def result(run: Path) -> dict[str, Any]:
    text = (run / "features" / "gradient" / "manifest.json").read_text(encoding="utf-8")
    return json.loads(text)["result"]


@pytest.mark.slow
def test_a_killed_job_goes_on_and_gives_the_same_bytes(base, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(base / "run", run)
    left = killed(run)
    assert 2 <= len(left) < BLOCKS
    assert not (run / "features" / "gradient").exists()
    assert "gradient begun, not finished" in status(run).message
    shutil.copytree(run, tmp_path / "other")
    other_settings_do_not_mix_with_what_was_begun(tmp_path / "other", base)
    asked: list[int] = []
    plain = Pool.examples
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pool, "examples", lambda p, rows: asked.append(len(rows)) or plain(p, rows))
        compute_features(run, settings(fidelity=False))
    sizes = [16] * (BLOCKS - 1) + [8]
    assert asked == sizes[len(left) :]  # only what was missing, a block at a time
    assert features(run) == features(base / "plain")
    assert result(run) == {k: v for k, v in result(base / "plain").items() if k != "fidelity"}
    assert not (run / "features.partial").exists()


def other_settings_do_not_mix_with_what_was_begun(run: Path, base: Path) -> None:
    before = blocks(run)
    for other in ({"normalise": "mean"}, {"model": str(tiny_models.folder(seed=1))}):
        with pytest.raises(UserError, match="unfinished features go on with the settings they"):
            compute_features(run, settings(**other))
    assert blocks(run) == before
    mean = settings(normalise="mean", fidelity=False)
    assert compute_features(run, mean, replace=True).result["rows"] == PROMPTS * SIZE
    assert features(run) != features(base / "plain")


@pytest.mark.slow
def test_two_devices_give_the_bytes_of_one(base, tmp_path, monkeypatch):
    run, done = tmp_path / "run", []
    shutil.copytree(base / "run", run)
    plain = extract._compute
    monkeypatch.setattr(extract, "_compute", lambda *a: done.extend(a[3]) or plain(*a))
    compute_features(run, settings(device="cpu,cpu", fidelity=False))
    assert done == list(range(BLOCKS // 2))  # the other half was done by a process of its own
    assert features(run) == features(base / "plain")


def test_a_worker_fails_as_a_user_error_and_does_not_outlive_its_parent(base, tmp_path):
    recipe = extract.Recipe("hidden", str(tiny_models.folder()), 1, {})
    with workspace(base / "run") as space:
        pool = space.pool
    job = extract.Job(recipe, base / "run" / "pool", pool.fingerprint, tmp_path)
    with pytest.raises(UserError, match="device must be one that torch can use here; got moon"):
        extract._work(job, [0], "moon", os.getppid(), 1)
    extract._work(job, [0, 1], "cpu", -1, torch.get_num_threads())  # no such parent any more
    assert list(tmp_path.iterdir()) == []
    extract._work(job, [3], "cpu", os.getppid(), torch.get_num_threads())
    (rows,) = hidden_features(tiny_models.lm(), pool.examples(range(48, 64)), batch_size=1)
    np.testing.assert_array_equal(np.load(job.path(3)), rows)
    assert job.missing(PROMPTS * SIZE) == [0, 1, 2, *range(4, BLOCKS)]


@pytest.mark.parametrize("method", ["gradient", "hidden"])
def test_completions_that_are_cut_are_counted(base, tmp_path, method):
    run = tmp_path / "run"
    shutil.copytree(base / "run", run)
    with workspace(run) as space:
        examples = space.pool.examples(range(120))
    lengths = [len(one) for one in encode_all(tiny_models.tokenizer(), examples)]
    most = sorted(lengths)[len(lengths) // 2]
    want = sum(n > most for n in lengths)
    assert 0 < want < len(lengths)
    chosen = {"dim": 8, "model": str(tiny_models.folder()), "device": "cpu", "fidelity": False}
    made = compute_features(run, FeatureSettings(method, max_length=most, **chosen))
    assert (made.result["cut"], made.result["cut_at"]) == (want, most)
    assert f" {want} of 120 completions were cut to {most} tokens" in made.message
    text = (run / "features" / method / "manifest.json").read_text(encoding="utf-8")
    assert json.loads(text)["result"]["cut"] == want


def test_an_error_before_the_first_block_leaves_nothing(base, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(base / "run", run)
    before = tree(run)
    with pytest.raises(UserError, match="max_length must be at least 2"):
        compute_features(run, settings(max_length=1))
    assert tree(run) == before


def test_examples_are_made_as_they_are_asked_for(base, monkeypatch):
    asked: list[int] = []
    plain = Pool.examples
    monkeypatch.setattr(
        Pool, "examples", lambda pool, rows: asked.append(len(rows)) or plain(pool, rows)
    )
    with workspace(base / "run") as space:
        lazy = extract.PoolExamples(space.pool, 30, 100)
        assert (len(lazy), asked) == (70, [])
        part = lazy[5:9]
        assert part == plain(space.pool, range(35, 39))
        assert lazy[69] == plain(space.pool, [99])[0]
        assert asked == [4, 1]
        assert len(list(lazy)) == 70
