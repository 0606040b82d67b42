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
from whichpairs.label.stores.sqlite import SqliteStore
from whichpairs.pool.columns import Columns
from whichpairs.types import Label

pytestmark = pytest.mark.usefixtures("few_draws")


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
        "select": lambda run: select(run, SelectSettings(6, controls=0)),
        "label": lambda run: label_simulated(run, "score"),
        "fit": lambda run: fit_labels(run, strength=1.0),
    }


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[Path, Path]:
    source = write_jsonl(tmp_path / "pool.jsonl", pool_rows())
    phi = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
    np.save(tmp_path / "phi.npy", phi)
    return source, tmp_path / "phi.npy"


@pytest.mark.slow
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
from whichpairs.label.stores.sqlite import SqliteStore
from whichpairs.types import Label
def labels(n, die):
    for k in range(n):
        if k == die: os._exit(9)
        yield Label(f"q{k}", "x", "y", "a", "ann", "001")
store = SqliteStore(Path(sys.argv[1]))
store.add(labels(3, None))
store.add(labels(9, 7))
"""
    path = tmp_path / "labels.sqlite"
    done = subprocess.run([sys.executable, "-c", code, str(path)])
    assert done.returncode == 9
    assert [x.pair_id for x in SqliteStore(path).all()] == ["q0", "q1", "q2"]


def test_imported_labels_arrive_though_the_import_was_killed(tmp_path: Path, monkeypatch) -> None:
    rows = [{"prompt": f"p{k}", "chosen": f"good {k}", "rejected": f"bad {k}"} for k in range(6)]
    source = write_jsonl(tmp_path / "pairs.jsonl", rows)

    def dead(self, labels, sources=None) -> int:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(SqliteStore, "add", dead)
        with pytest.raises(Killed):
            import_pool(source, tmp_path / "run")
    outcome = import_pool(source, tmp_path / "run")
    assert outcome.done_before
    labels = SqliteStore(tmp_path / "run" / "labels.sqlite").all()
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
        select(run, SelectSettings(7, controls=0))
    assert tree(tmp_path) == before
    assert select(run, SelectSettings(7, controls=0), another=True).result["batch"] == "002"


@pytest.mark.slow
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


@pytest.mark.slow
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
    stored = SqliteStore(run / "labels.sqlite").all()
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
    labels = SqliteStore(run / "labels.sqlite").all()
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


# --- processes that are really killed ---------------------------------------------------------------

ZYGOTE = """
import functools, gc, hashlib, json, os, shutil, signal, sqlite3, sys
from pathlib import Path
from whichpairs.cli import main
from whichpairs.run.folder import versions
from whichpairs.workflow import fit
from whichpairs.workflow import import_pool as collect
from whichpairs.workflow.features import stage as features
from whichpairs.workflow.label import stage as label
from whichpairs.workflow.select import stage as select


def mortal(moment):
    '''Die by SIGKILL before the `moment`-th call that changes or syncs the disk.'''
    calls = 0

    def tick():
        nonlocal calls
        calls += 1
        if calls == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def wrap(real):
        def call(*args, **kwargs):
            tick()
            return real(*args, **kwargs)
        return call

    class Cursor(sqlite3.Cursor):
        execute = wrap(sqlite3.Cursor.execute)
        executemany = wrap(sqlite3.Cursor.executemany)

    class Connection(sqlite3.Connection):
        execute = wrap(sqlite3.Connection.execute)
        commit = wrap(sqlite3.Connection.commit)
        close = wrap(sqlite3.Connection.close)

        def cursor(self):
            return super().cursor(Cursor)

    # SQLAlchemy takes `connect` from dbapi2
    sqlite3.connect = functools.partial(sqlite3.connect, factory=Connection)
    sqlite3.dbapi2.connect = sqlite3.connect
    for module, names in ((os, ("replace", "fsync", "mkdir", "pwrite")), (shutil, ("rmtree",))):
        for name in names:
            setattr(module, name, wrap(getattr(module, name)))
    return tick


def run(command, moment=None):
    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    code, tick = 99, mortal(moment) if moment else lambda: None
    try:
        main(command)
    except SystemExit as stop:
        code = stop.code
        tick()
    finally:
        sys.stdout.flush()
        os._exit(code)


def scrub(value):
    if isinstance(value, dict):
        return {k: scrub(v) for k, v in value.items() if k not in ("created", "seconds")}
    return [scrub(v) for v in value] if isinstance(value, list) else value


def labels(path):
    with sqlite3.connect(path) as db:
        if not db.execute("SELECT * FROM sqlite_master WHERE name = 'sources'").fetchall():
            return []
        found = db.execute("SELECT pair_id, id_a, id_b, choice, annotator FROM labels").fetchall()
        return [*found, *db.execute("SELECT * FROM sources").fetchall()]


def content(path):
    if path.is_dir():
        return "folder"
    if path.suffix == ".json":
        return scrub(json.loads(path.read_text()))
    return labels(path) if path.suffix == ".sqlite" else path.read_bytes()


def tree(folder):
    paths = [p for p in sorted(folder.rglob("*")) if p.name != ".lock"]
    return {str(p.relative_to(folder)): content(p) for p in paths}


def job(begun, work, command):
    def fresh():
        shutil.rmtree(work, ignore_errors=True)
        if begun.exists():
            shutil.copytree(begun, work)

    fresh()
    assert run(command) == 0
    whole, moment, states = tree(work), 0, set()
    before = content(begun / "labels.sqlite") if (begun / "labels.sqlite").exists() else []
    while True:
        moment += 1
        fresh()
        status = run(command, moment)
        if status == 0:
            return moment - 1, len(states)
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
        raw = [(str(p), p.is_file() and p.read_bytes()) for p in sorted(work.rglob("*"))]
        state = hashlib.sha256(repr([x for x in raw if ".lock" not in x[0]]).encode()).digest()
        if state in states:  # as an earlier kill left it
            continue
        states.add(state)
        if (work / "labels.sqlite").exists():
            shutil.rmtree(peek := work.with_name("peek"), ignore_errors=True)
            shutil.copytree(work, peek)
            kept = labels(peek / "labels.sqlite")
            assert kept in (before, whole["labels.sqlite"]), (moment, kept)
        assert run(command) == 0, moment
        now = tree(work)
        assert now == whole, (moment, [k for k in now | whole if now.get(k) != whole.get(k)])


jobs = {k: (Path(b), Path(w), c) for k, (b, w, c) in json.load(sys.stdin).items()}
for _, _, command in jobs.values():  # loads all that a child would load, and no thread of polars
    try: main(["import", "/no.jsonl"] + command[2:] if command[0] == "import" else
              [*command[:-1], "/nowhere"])
    except SystemExit: pass
versions()
gc.collect(); gc.freeze()
found = {}
for name, (begun, work, command) in jobs.items():
    try: found[name] = job(begun, work, command)
    except AssertionError as error: found[name] = repr(error)
print(json.dumps(found))
"""

KILLED = {
    "import": (["import", "{pairs}"], 24),
    "features": (["features", "--method", "file", "--file", "{phi}"], 8),
    "features replaced": (
        ["features", "--method", "file", "--file", "{phi}", "--dtype", "float16", "--replace"],
        10,
    ),
    "select": (["select", "--budget", "3"], 10),
    "label": (["label", "--from", "{answers}"], 12),
}


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[int] | str]:
    """For every stage: kills, and different folders that they left; or what went wrong."""
    folder = tmp_path_factory.mktemp("killed")
    pairs = [{"prompt": f"p{k}", "chosen": f"good {k}", "rejected": f"bad {k}"} for k in range(3)]
    names = {
        "source": write_jsonl(folder / "pool.jsonl", pool_rows(6, 3)),
        "pairs": write_jsonl(folder / "pairs.jsonl", pairs),
        "phi": folder / "phi.npy",
    }
    np.save(names["phi"], np.random.default_rng(0).standard_normal((18, 3)))
    run, begun = folder / "run", dict.fromkeys(KILLED, folder / "none")

    def keep(*stages: str) -> None:
        for stage in stages:
            begun[stage] = folder / f"before {stage}"
            shutil.copytree(run, begun[stage])

    import_pool(names["source"], run, Columns(scores=("score",)), holdout=0.25)
    keep("features")
    compute_features(run, FeatureSettings("file", file=str(names["phi"])))
    keep("features replaced")
    select(run, SelectSettings(2))
    label_simulated(run, "score")
    keep("select")
    batch = select(run, SelectSettings(3)).result["batch_file"]
    ids = [json.loads(line)["pair_id"] for line in Path(batch).read_text().splitlines()]
    answers = [{"pair_id": name, "choice": "a"} for name in ids]
    names["answers"] = write_jsonl(folder / "answers.jsonl", answers)
    keep("label")
    jobs = {
        stage: (
            str(begun[stage]),
            str(folder / "work"),
            [part.format(**names) for part in command] + ["--run", str(folder / "work")],
        )
        for stage, (command, _least) in KILLED.items()
    }
    done = subprocess.run(
        [sys.executable, "-c", ZYGOTE],
        input=json.dumps(jobs),
        capture_output=True,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("stage", KILLED)
def test_a_process_killed_at_every_moment(stage: str, killed: dict[str, list[int] | str]) -> None:
    """SIGKILL before every call that changes or syncs the disk: the same command again succeeds,
    the folder is that of an unkilled run, and the labels are those of before or all of the new."""
    found = killed[stage]
    assert not isinstance(found, str), found
    kills, folders = found
    assert kills >= KILLED[stage][1]
    assert folders >= 3  # the kills did come at different moments


# --- small promises ---------------------------------------------------------------------------------


def test_status_does_not_count_what_is_being_written(inputs, tmp_path: Path, capsys) -> None:
    """Status takes no lock, so another process may be at work, or have died."""
    todo, run = steps(*inputs), tmp_path / "run"
    for name in ("import", "features", "select"):
        todo[name](run)
    shutil.copytree(run / "batches" / "001", run / "batches" / ".new-002")
    shutil.copytree(run / "features" / "file", run / "features" / ".old-file")
    found = ok(capsys, "status", "--run", run)
    assert found["batches"] == ["001"]
    assert found["features"] == ["file"]
    assert found["waiting"] == 6


def test_another_batch_with_the_same_settings_is_another_batch(inputs, tmp_path: Path) -> None:
    todo, run = steps(*inputs), tmp_path / "run"
    for name in ("import", "features", "select"):
        todo[name](run)
    second = select(run, SelectSettings(6, controls=0), another=True)
    assert not second.done_before
    assert second.result["batch"] == "002"
    picked = [
        {json.loads(line)["pair_id"] for line in path.read_text().splitlines()}
        for path in sorted(run.glob("batches/*/pairs.jsonl"))
    ]
    assert [len(p) for p in picked] == [6, 6]
    assert not picked[0] & picked[1]
    assert select(run, SelectSettings(6, controls=0)).done_before


def test_simulating_nothing_settles_nothing(inputs, tmp_path: Path) -> None:
    """Where a file answered every pair, no simulation has been chosen yet."""
    todo, run = steps(*inputs), tmp_path / "run"
    for name in ("import", "features", "select"):
        todo[name](run)
    lines = (run / "batches/001/pairs.jsonl").read_text().splitlines()
    answers = [{"pair_id": json.loads(line)["pair_id"], "choice": "tie"} for line in lines]
    label_from_file(run, write_jsonl(tmp_path / "answers.jsonl", answers))
    before = tree(run)
    assert label_simulated(run, "score", temperature=3.0).done_before
    assert tree(run) == before
    select(run, SelectSettings(6, controls=0))
    assert label_simulated(run, "score", temperature=1.0).result["new"] == 6


def test_a_failed_replacement_brings_the_old_back(inputs, tmp_path: Path, monkeypatch) -> None:
    todo, run = steps(*inputs), tmp_path / "run"
    for name in ("import", "features"):
        todo[name](run)
    before, real = tree(run), os.replace

    def refuse(source, target) -> None:
        if Path(source).name.startswith(".new-"):
            raise OSError(28, "No space left on device")
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(UserError, match="No space left"):
            compute_features(
                run, FeatureSettings("file", file=str(inputs[1]), dtype="float16"), replace=True
            )
    assert tree(run) == before
