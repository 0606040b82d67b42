"""A user's mistake gets one line and exit code 2, and nothing is written."""

import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cli import fails, ok, pool_rows, tree, write_jsonl
from whichpairs.cli import main


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a pool, features and one labelled batch; copied by every test that needs it."""
    folder = tmp_path_factory.mktemp("made")
    source = write_jsonl(folder / "pool.jsonl", pool_rows())
    for command in (
        ["import", source, "--run", folder / "run", "--score-column", "score", "--holdout", "0.25"],
        ["features", "--run", folder / "run", "--method", "file", "--file", _npy(folder)],
        ["select", "--run", folder / "run", "--budget", "5"],
        ["label", "--run", folder / "run", "--simulate", "score"],
    ):
        with pytest.raises(SystemExit) as stop:
            main([str(part) for part in command])
        assert stop.value.code == 0
    return folder


def _npy(folder: Path, rows: int = 60, change=lambda x: x) -> Path:
    x = np.random.default_rng(0).standard_normal((rows, 4)).astype(np.float32)
    np.save(folder / "phi.npy", change(x))
    return folder / "phi.npy"


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "run", tmp_path / "run")
    return tmp_path / "run"


BAD_FILES = {
    "missing file": (None, "there is no"),
    "empty file": ("", "row"),
    "broken JSON": ('{"prompt": "a", "completion": "b"}\n{"prompt": \n', "line 2"),
    "no object": ("3\n", "got 3"),
    "wrong column": ('{"prompt": "a", "text": "b"}\n', "'completion'"),
    "empty completion": ('{"prompt": "a", "completion": "  "}\n', "line 1"),
    "completion that is no text": ('{"prompt": "a", "completion": 3}\n', "line 1"),
    "prompt that is no text": ('{"prompt": null, "completion": "b"}\n', "line 1"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_files_that_are_no_pool(case: str, tmp_path: Path, capsys) -> None:
    text, message = BAD_FILES[case]
    path = tmp_path / "pool.jsonl"
    if text is not None:
        path.write_text(text)
    before = tree(tmp_path)
    assert message in fails(capsys, "import", path, "--run", tmp_path / "run")
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--score-column", "nope"], "nope"),
        (["--prompt-column", "nope"], "nope"),
        (["--holdout", "1.0"], "holdout must be at least 0 and below 1"),
        (["--holdout", "-0.1"], "holdout must be at least 0 and below 1"),
        (["--beta", "0"], "beta must be a finite number above 0"),
        (["--pair-columns", "one"], "two names"),
    ],
)
def test_import_options(options: list[str], message: str, tmp_path: Path, capsys) -> None:
    path = write_jsonl(tmp_path / "pool.jsonl", pool_rows())
    before = tree(tmp_path)
    assert message in fails(capsys, "import", path, "--run", tmp_path / "run", *options)
    assert tree(tmp_path) == before


def test_a_prompt_with_one_completion_is_kept_counted_and_never_picked(tmp_path, capsys) -> None:
    rows = [*pool_rows(3, 3), {"prompt": "alone", "completion": "only", "score": 1.0}]
    path = write_jsonl(tmp_path / "pool.jsonl", rows)
    found = ok(capsys, "import", path, "--run", tmp_path / "run")
    assert found["prompts"] == 4
    assert found["single_completion_prompts"] == 1
    ok(
        capsys,
        "features",
        "--run",
        tmp_path / "run",
        "--method",
        "file",
        "--file",
        _npy(tmp_path, 10),
    )
    found = ok(capsys, "select", "--run", tmp_path / "run", "--budget", 9)
    assert found["picked"] == found["candidate_pairs"] == 9


CHANGES = {
    "NaN": (lambda x: np.where(np.arange(4) == 2, np.nan, x), "column 2 (counted from 0) is nan"),
    "infinite": (
        lambda x: np.where(np.arange(4) == 1, np.inf, x),
        "column 1 (counted from 0) is inf",
    ),
    "too few rows": (lambda x: x[:-1], "59"),
    "too many rows": (lambda x: np.concatenate([x, x]), "120"),
    "one-dimensional": (lambda x: x[:, 0], "(60,)"),
    "complex numbers": (lambda x: x.astype(np.complex64), "complex64"),
    "constant": (lambda x: np.ones_like(x), "constant"),
    "constant within prompts": (lambda x: np.repeat(x[::5], 5, axis=0), "constant"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_features_that_cannot_be_used(case: str, run: Path, tmp_path: Path, capsys) -> None:
    change, message = CHANGES[case]
    path = _npy(tmp_path, change=change)
    before = tree(tmp_path)
    command = ["features", "--run", run, "--method", "file", "--file", path, "--name", "new"]
    assert message in fails(capsys, *command)
    assert tree(tmp_path) == before


def test_a_half_written_npy(run: Path, tmp_path: Path, capsys) -> None:
    path = _npy(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    before = tree(tmp_path)
    assert "phi.npy" in fails(
        capsys, "features", "--run", run, "--method", "file", "--file", path, "--name", "new"
    )
    assert tree(tmp_path) == before


def test_a_half_written_feature_file_in_the_run(run: Path, tmp_path: Path, capsys) -> None:
    path = run / "features" / "file" / "features.npy"
    path.write_bytes(path.read_bytes()[:-100])
    before = tree(tmp_path)
    assert "the feature file must be whole" in fails(capsys, "select", "--run", run, "--budget", 3)
    assert tree(tmp_path) == before


def test_features_of_another_pool(run: Path, tmp_path: Path, capsys) -> None:
    path = run / "features" / "file" / "manifest.json"
    record = json.loads(path.read_text())
    record["inputs"]["pool"] = "0123456789abcdef"
    path.write_text(json.dumps(record))
    before = tree(tmp_path)
    message = fails(capsys, "select", "--run", run, "--budget", 3)
    assert "features must be of this pool" in message
    assert "0123456789abcdef" in message
    assert tree(tmp_path) == before


MISTAKES = {
    "budget 0": (["select", "--budget", "0"], "budget must be a whole number of at least 1; got 0"),
    "negative budget": (["select", "--budget", "-3"], "at least 1; got -3"),
    "budget too large": (["select", "--budget", "10000"], "between 1 and the 85 candidate pairs; got 10000"),
    "passes 0": (["select", "--budget", "3", "--passes", "0"], "passes must be a whole number of at least 1"),
    "threads 0": (["select", "--budget", "3", "--threads", "0"], "threads must be a whole number"),
    "negative controls": (["select", "--budget", "3", "--controls", "-1"], "controls must be a whole number"),
    "temperature nan": (["label", "--simulate", "score", "--temperature", "nan"], "temperature must be"),
    "name that leads out": (["features", "--method", "text", "--name", ".."], "--name must be a plain"),
    "hidden name": (["features", "--method", "text", "--name", ".new-x"], "--name must be a plain"),
    "empty name": (["features", "--method", "text", "--name", ""], "--name must be a plain"),
    "score name that leads out": (["score", "--reward", "x", "--name", ".."], "--name must be a plain"),
    "too few text dimensions": (["features", "--method", "text", "--dim", "3"], "dim must be at least"),
    "budget not whole": (["select", "--budget", "2.5"], "--budget"),
    "unknown criterion": (["select", "--budget", "3", "--criterion", "best"], "criterion must be one of adaptive, signal, gap"),
    "unknown features": (["select", "--budget", "3", "--features", "no"], "there is file"),
    "controls without room": (["select", "--budget", "3", "--controls", "999"], "controls must be at most"),
    "prior spread 0": (["select", "--budget", "3", "--prior-spread", "0"], "prior spread"),
    "no fit to go by": (["select", "--budget", "3", "--criterion", "best-vs-worst"], "--score"),
    "unknown score column": (["label", "--simulate", "nope"], "got 'nope'; there is score"),
    "temperature 0": (["label", "--simulate", "score", "--temperature", "0"], "temperature must be"),
    "temperature below 0": (["label", "--simulate", "score", "--temperature", "-1"], "got -1"),
    "another temperature": (["label", "--simulate", "score", "--temperature", "2"], "never rewritten"),
    "no source of labels": (["label"], "one of --simulate COLUMN, --from FILE, --from-drawer and --judge URL"),
    "another beta": (["fit", "--beta", "0.2"], "this one has 0.1, got --beta 0.2"),
    "fit strength 0": (["fit", "--strength", "0"], "prior strength"),
    "unknown method": (["features", "--method", "magic"], "text, gradient, hidden, file"),
    "gradient without model": (["features", "--method", "gradient"], "needs --model"),
    "missing model folder": (
        ["features", "--method", "gradient", "--model", "/nowhere/model"],
        "/nowhere/model",
    ),
    "train without model folder": (["train", "--model", "/nowhere/model"], "/nowhere/model"),
    "evaluate nothing": (["evaluate"], "either --score COLUMN"),
    "unknown policy": (["evaluate", "--score", "score", "--policy", "7"], "got '7'"),
    "features of other settings": (
        ["features", "--method", "file", "--file", "{phi}", "--dtype", "float16"],
        "dtype was 'float32', now 'float16'. Replacing it (--replace) loses the features that batches 001",
    ),
    "export suffix": (["export", "{out}.txt"], "OUT must end in .jsonl or .parquet"),
    "export target": (["export", "{out}.jsonl", "--to", "x"], "--to must be one of trl"),
    "no such command": (["pick"], "No such command"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_on_a_run(case: str, made: Path, run: Path, tmp_path: Path, capsys) -> None:
    arguments, message = MISTAKES[case]
    arguments = [a.format(phi=made / "phi.npy", out=tmp_path / "out") for a in arguments]
    where = [] if case == "no such command" else ["--run", run]
    before = tree(tmp_path)
    assert message in fails(capsys, *arguments, *where)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"pair_id": "q0", "choice": "a"}', "must answer a pair of one of the run's batches"),
        ('{"pair_id": "q0", "choice": "a", "x": 1}', "1 of 2 rows of"),
        ("{", "line 2"),
        ('{"pair_id": PAIR, "choice": "C"}', "'choice' has 'C' (line 2). Say what"),
        ('{"pair_id": PAIR, "choice": "a", "id_a": "x"}', "id_a and id_b must be the pair's"),
        ('{"pair_id": PAIR, "choice": "a", "id_a": 3}', "id_a and id_b must be the pair's"),
        ('{"pair_id": PAIR, "choice": "a", "id_b": ["x"]}', "id_a and id_b must be the pair's"),
        ('{"pair_id": [PAIR], "choice": "a"}', "must answer a pair of one of the run's batches"),
        ('{"pair_id": PAIR, "choice": ["a"]}', 'choice must be "a", "b" or "tie"'),
        ('{"pair_id": PAIR, "choice": "a", "annotator": true}', "annotator must be a name"),
        (
            '{"pair_id": PAIR, "choice": "a", "annotator": "\\ud800"}',
            "line 2: the row: holds half a surrogate",
        ),
        ("[" * 100_000, "line 2"),
        ('"pair_id"', "line 2"),
    ],
)
def test_label_files_are_accepted_whole_or_not_at_all(line, message, run, tmp_path, capsys) -> None:
    rows = (run / "batches" / "001" / "pairs.jsonl").read_text().splitlines()
    pairs = [json.loads(row)["pair_id"] for row in rows]
    good = json.dumps({"pair_id": pairs[0], "choice": "tie", "annotator": "ann"})
    bad = line.replace("PAIR", json.dumps(pairs[1]))
    path = tmp_path / "labels.jsonl"
    path.write_text(f"{good}\n{bad}\n")
    before = tree(tmp_path)
    assert message in fails(capsys, "label", "--run", run, "--from", path)
    assert tree(tmp_path) == before


def test_a_run_folder_that_is_none(tmp_path: Path, capsys) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    path = write_jsonl(tmp_path / "pool.jsonl", pool_rows())
    before = tree(tmp_path)
    assert "must name a run folder" in fails(capsys, "status", "--run", tmp_path / "notes")
    assert "must name a run folder" in fails(
        capsys, "select", "--run", tmp_path / "no", "--budget", 1
    )
    assert "holds other files" in fails(capsys, "import", path, "--run", tmp_path / "notes")
    assert "is a file" in fails(capsys, "import", path, "--run", path)
    assert tree(tmp_path) == before


def test_another_pool_in_the_same_run(made: Path, run: Path, tmp_path: Path, capsys) -> None:
    before = tree(tmp_path)
    message = fails(capsys, "import", made / "pool.jsonl", "--run", run, "--holdout", "0.5")
    assert "holdout was 0.25, now 0.5" in message
    assert tree(tmp_path) == before


def test_two_processes_on_one_run(run: Path, tmp_path: Path, capsys) -> None:
    before = tree(tmp_path)
    with (run / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4711\n")
        lock.flush()
        message = fails(capsys, "select", "--run", run, "--budget", 3)
    assert "process 4711 is working on" in message
    assert tree(tmp_path) == before
    ok(capsys, "select", "--run", run, "--budget", 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("absent", "command", "extra"),
    [
        ("torch", ["features", "--method", "gradient", "--model", "."], "whichpairs[torch]"),
        ("trl", ["train", "--model", "{model}"], "whichpairs[train]"),
    ],
)
def test_a_missing_extra_names_the_pip_command(absent, command, extra, run, tmp_path) -> None:
    model = Path(__file__).parents[1] / "recipes" / "imdb" / "model"
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] == {absent!r}: raise ModuleNotFoundError(name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from whichpairs.cli import main; main(sys.argv[1:])"
    )
    before = tree(tmp_path)
    command = [part.format(model=model) for part in command]
    done = subprocess.run(
        [sys.executable, "-c", code, *command, "--run", run], capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert f"pip install '{extra}'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert tree(tmp_path) == before


# --- files of the run ------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"PK\x03\x04 no zip", b"pickle me"])
def test_a_feature_file_in_the_run_that_is_none(
    content: bytes, run: Path, tmp_path, capsys
) -> None:
    (run / "features" / "file" / "features.npy").write_bytes(content)
    before = tree(tmp_path)
    assert "the feature file must be whole" in fails(capsys, "select", "--run", run, "--budget", 3)
    assert tree(tmp_path) == before


def test_a_half_written_fit(run: Path, tmp_path: Path, capsys) -> None:
    ok(capsys, "fit", "--run", run)
    path = run / "fits" / "001" / "theta.npy"
    path.write_bytes(path.read_bytes()[:-8])
    before = tree(tmp_path)
    for command in (
        ["evaluate", "--score", "score"],
        ["select", "--budget", 3, "--criterion", "best-vs-worst"],
    ):
        assert "the run's files must be whole" in fails(capsys, *command, "--run", run)
    assert tree(tmp_path) == before


def test_a_fit_of_features_that_have_been_replaced_since(run: Path, tmp_path: Path, capsys) -> None:
    ok(capsys, "fit", "--run", run)
    command = ["features", "--run", run, "--method", "file", "--replace"]
    ok(capsys, *command, "--file", _npy(tmp_path, change=lambda x: x[:, ::-1] + 1.0 * (x > 0)))
    before = tree(tmp_path)
    for command in (
        ["evaluate", "--score", "score"],
        ["select", "--budget", 3, "--criterion", "best-vs-worst"],
    ):
        assert "a fit must be of the features" in fails(capsys, *command, "--run", run)
    assert tree(tmp_path) == before
    ok(capsys, "fit", "--run", run)
    ok(capsys, "evaluate", "--run", run, "--score", "score")


@pytest.fixture
def pool_only(made: Path, tmp_path: Path) -> Path:
    """A run that has a pool and nothing else, so that a failure might leave a first folder."""
    shutil.copytree(made / "run" / "pool", tmp_path / "bare" / "pool")
    shutil.copy(made / "run" / "run.json", tmp_path / "bare")
    return tmp_path / "bare"


@pytest.mark.parametrize(
    ("change", "dtype", "message"),
    [
        (lambda x: np.full_like(x, 3.0), "float32", "must differ within some prompt"),
        (
            lambda x: np.repeat(np.float64(x[::5]) * 1e9 / 7, 5, axis=0),
            "float32",
            "must differ within",
        ),
        (lambda x: x * 1e6, "float16", "centred features must fit float16"),
        (lambda x: x.astype(np.float64) * 1e300, "float32", "centred features must fit float32"),
    ],
)
def test_features_that_fail_while_they_are_written(
    change, dtype, message, pool_only: Path, tmp_path: Path, capsys
) -> None:
    path = _npy(tmp_path, change=change)
    before = tree(tmp_path)
    command = ["features", "--run", pool_only, "--method", "file", "--file", path, "--dtype", dtype]
    assert message in fails(capsys, *command)
    assert tree(tmp_path) == before


def test_tiny_features_are_features(pool_only: Path, tmp_path: Path, capsys) -> None:
    path = _npy(tmp_path, change=lambda x: x * 1e-14)
    ok(capsys, "features", "--run", pool_only, "--method", "file", "--file", path)


def test_a_label_file_as_editors_write_it(run: Path, tmp_path: Path, capsys) -> None:
    """A byte-order mark, Windows line ends, and a line separator within a text are no mistakes."""
    ok(capsys, "select", "--run", run, "--budget", 3)
    lines = (run / "batches" / "002" / "pairs.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    rows = [json.loads(line) | {"choice": "b", "note": "a\u2028b\x85c"} for line in lines]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in rows)
    (tmp_path / "labels.jsonl").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert ok(capsys, "label", "--run", run, "--from", tmp_path / "labels.jsonl")["new"] == 3


# --- folders that are not ours ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["pool/notes.txt", ".old-x/notes.txt", ".new-x", "a/.new-x", "run"]
)
def test_a_users_own_folder_is_left_alone(name: str, tmp_path: Path, capsys) -> None:
    path = write_jsonl(tmp_path / "pool.jsonl", pool_rows())
    mine = tmp_path / "mine" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    before = tree(tmp_path)
    assert "holds other files" in fails(capsys, "import", path, "--run", tmp_path / "mine")
    assert tree(tmp_path) == before
    assert not (tmp_path / "mine" / ".lock").exists()


@pytest.mark.parametrize("there", [False, True])
def test_an_import_that_fails_late_leaves_no_folder(there: bool, tmp_path: Path, capsys) -> None:
    path = write_jsonl(tmp_path / "pool.jsonl", pool_rows())
    if there:
        (tmp_path / "a" / "b").mkdir(parents=True)
    before = tree(tmp_path)
    assert "beta must be" in fails(
        capsys, "import", path, "--run", tmp_path / "a" / "b", "--beta", "-1"
    )
    assert tree(tmp_path) == before
    assert not list(tmp_path.rglob(".lock"))


def test_a_changed_file_is_another_pool(made: Path, run: Path, tmp_path: Path, capsys) -> None:
    source = made / "pool.jsonl"
    options = ["--run", run, "--score-column", "score", "--holdout", "0.25"]
    whole = source.read_text()
    before = tree(tmp_path)
    try:
        write_jsonl(source, [row | {"score": row["score"] + 1} for row in pool_rows()])
        message = fails(capsys, "import", source, *options)
    finally:
        source.write_text(whole)
    assert "what was read has changed" in message
    assert "start another run" in message
    assert ok(capsys, "import", source, *options)["done_before"]
    assert tree(tmp_path) == before


def test_an_export_overwrites_nothing_of_others(run: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("mine")
    before = tree(tmp_path)
    message = fails(capsys, "export", out, "--run", run)
    assert "does not overwrite" in message
    assert "--replace" in message
    assert tree(tmp_path) == before
    assert not ok(capsys, "export", out, "--run", run, "--replace")["done_before"]
    before = tree(tmp_path)
    assert ok(capsys, "export", out, "--run", run)["done_before"]
    assert tree(tmp_path) == before


# --- the machine ------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, 300])
@pytest.mark.parametrize(
    "arguments",
    [
        ["import", "{made}/pool.jsonl", "--run", "{new}/deep/run"],
        ["features", "--run", "{bare}", "--method", "text", "--dim", "18"],
        ["select", "--run", "{run}", "--budget", "4"],
        ["label", "--run", "{waiting}", "--simulate", "score"],
        ["fit", "--run", "{run}", "--strength", "1"],
        ["export", "{new}/out.jsonl", "--run", "{run}"],
        ["export", "{new}/out.parquet", "--run", "{run}"],
        ["evaluate", "--run", "{run}", "--score", "score", "--policy", "reference"],
    ],
    ids=lambda a: a[0] + Path(a[1]).suffix if isinstance(a, list) else str(a),
)
def test_a_full_disk_in_every_stage(
    arguments: list[str], limit: int, made: Path, run: Path, pool_only: Path, tmp_path: Path, capsys
) -> None:
    """No file may grow beyond `limit` bytes."""
    waiting = tmp_path / "waiting"
    if arguments[0] == "label":
        shutil.copytree(run, waiting)
        ok(capsys, "select", "--run", waiting, "--budget", 4)
    (tmp_path / "new").mkdir()
    places = {
        "made": made,
        "run": run,
        "bare": pool_only,
        "new": tmp_path / "new",
        "waiting": waiting,
    }
    before = tree(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        message = fails(capsys, *[part.format(**places) for part in arguments])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert "writable" in message
    assert tree(tmp_path) == before
    ok(capsys, *[part.format(**places) for part in arguments])


@pytest.mark.slow
def test_output_that_cannot_be_printed(run: Path) -> None:
    """`/dev/full` is a disk with no room; a closed pipe is somebody who has read enough."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    command = [sys.executable, "-m", "whichpairs.cli", "status", "--run", run]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.slow
def test_a_read_only_run(made: Path, run: Path, tmp_path: Path) -> None:
    """Every stage is refused; status reads only, and works."""
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv (util-linux) is not here")
    out = tmp_path / "out"
    out.mkdir()
    commands = [
        ["features", "--run", run, "--method", "text", "--dim", 18],
        ["select", "--run", run, "--budget", 3],
        ["label", "--run", run, "--simulate", "score"],
        ["fit", "--run", run],
        ["export", out / "x.jsonl", "--run", made / "run"],
        ["import", made / "pool.jsonl", "--run", out / "deep" / "run"],
        ["status", "--run", run],
    ]
    for path in (run, out, *run.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = tree(tmp_path)
    code = (
        "import contextlib, io, json, os, sys\n"
        "from whichpairs.cli import main\n"
        "found = [os.access(sys.argv[2], os.W_OK)]\n"
        "for command in json.loads(sys.argv[1]):\n"
        "    err = io.StringIO()\n"
        "    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):\n"
        "        try: main(command)\n"
        "        except SystemExit as stop: found.append((stop.code, err.getvalue()))\n"
        "print(json.dumps(found))"
    )
    bare = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    listed = json.dumps([[str(part) for part in command] for command in commands])
    done = subprocess.run(
        [*bare, sys.executable, "-c", code, listed, run], capture_output=True, text=True
    )
    for path in (run, out, *run.rglob("*")):
        path.chmod(0o755)
    assert done.returncode == 0, done.stderr
    may_write, *found, status = json.loads(done.stdout)
    assert not may_write, "setpriv did not take the right to write anywhere"
    for command, (exit_code, err) in zip(commands, found, strict=False):
        assert exit_code == 2, (command, err)
        assert "must be writable" in err, command
        assert err.count("\n") == 1
    assert status == [0, ""]
    assert tree(tmp_path) == before


def test_a_second_process_is_told_which_is_the_first(run: Path, tmp_path: Path, capsys) -> None:
    code = (
        "import sys; from pathlib import Path; from whichpairs.run.folder import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    before = tree(tmp_path)
    command = [sys.executable, "-c", code, run]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        message = fails(capsys, "select", "--run", run, "--budget", 3)
        ok(capsys, "status", "--run", run)
        other.kill()
    assert f"process {other.pid} is working on" in message
    assert tree(tmp_path) == before
    ok(capsys, "select", "--run", run, "--budget", 3)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            ["features", "--run", "x"],
            "'--method'. It takes: text, gradient, hidden, embed, file or join.",
        ),
        (["score", "--run", "x"], "'--reward'. It takes: Reward folder."),
        (["import"], "'file'. It takes: A file, a folder"),
    ],
)
def test_what_is_missing_is_said_with_what_it_takes(capsys, command, words) -> None:
    assert words in fails(capsys, *command)
