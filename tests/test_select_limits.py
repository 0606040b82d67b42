"""Limits on a batch through the command line: obeyed by every criterion, recorded, refused, resumed."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cli
from cli import fails, pool_rows, tree, write_jsonl
from whichpairs import LimitSettings, SelectSettings, UserError, select, status
from whichpairs.cli import main
from whichpairs.cli.labels.select import note
from whichpairs.design import PassReport
from whichpairs.design.solver.frank_wolfe import Checkpoint
from whichpairs.engine.kernels.tiles import has_tiles
from whichpairs.pool.pool import pair_id
from whichpairs.report.data.design_curves import Beginning
from whichpairs.report.stage import report
from whichpairs.run import files
from whichpairs.workflow.label.command import _missing
from whichpairs.workflow.loop.standing import read_standing
from whichpairs.workflow.select.batch import batch_message
from whichpairs.workflow.select.checkpoint import Resume
from whichpairs.workflow.select.stage import Desk
from whichpairs.workflow.workspace import workspace

pytestmark = pytest.mark.usefixtures("few_draws")

PROMPTS, SIZE, DIM = 30, 6, 4
TOPICS = ("code", "chat", "maths", None)
CRITERIA = (
    "adaptive", "gap", "a-optimal", "d-optimal", "random", "uniform-prompts", "reference",
    "best-vs-worst", "signal",
)  # fmt: skip


def source_rows() -> list[dict]:
    rows = pool_rows(PROMPTS, SIZE)
    for number, row in enumerate(rows):
        row["topic"] = TOPICS[number // SIZE % 4]
        row["price"] = 0.5 + number % 7
        row["mood"] = ["glad", "sad"][number % 2]
    return rows


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a pool, features, and labels of which a fit convinces."""
    folder = tmp_path_factory.mktemp("made")
    source, run = write_jsonl(folder / "pool.jsonl", source_rows()), folder / "run"
    score = np.array([row["score"] for row in source_rows()])
    phi = np.random.default_rng(0).standard_normal((PROMPTS * SIZE, DIM))
    phi[:, 0] += score
    np.save(folder / "phi.npy", phi.astype(np.float32))
    for command in (
        ["import", source, "--score-column", "score", "--holdout", 0.2, "--beta", 0.3],
        ["features", "--method", "file", "--file", folder / "phi.npy"],
        ["select", "--budget", 40, "--criterion", "random", "--controls", 0],
        ["label", "--simulate", "score", "--temperature", 0.2],
    ):
        with pytest.raises(SystemExit) as stop:
            main([str(part) for part in (*command, "--run", run)])
        assert stop.value.code == 0
    return run


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def ok(capsys: pytest.CaptureFixture[str], *command: object) -> dict[str, Any]:
    """A command that must succeed; a batch is looked at without the controls beside it."""
    if command[0] == "select" and "--controls" not in command:
        command = (*command, "--controls", 0)
    return cli.ok(capsys, *command)


def batch(found: dict) -> list[dict]:
    return [json.loads(line) for line in Path(found["batch_file"]).read_text().splitlines()]


def by_id(run: Path) -> dict[str, dict]:
    """The source row of every completion id."""
    with workspace(run) as space:
        prompts = space.pool.prompts["prompt"].gather(space.pool.prompt_of)
        texts = list(zip(prompts, space.pool.completions["completion"], strict=True))
        ids = space.pool.ids
    rows = {(row["prompt"], row["completion"]): row for row in source_rows()}
    return {name: rows[text] for name, text in zip(ids, texts, strict=True)}


def counted(rows: list[dict], key: str) -> Counter:
    found: Counter = Counter()
    for row in rows:
        names = [row["id_a"], row["id_b"]] if key == "completion" else [row[key]]
        for name in names:
            found[name] += row.get("labels", 1)
    return found


def words(text: str) -> int:
    return len(text.split())


LIMITS = {
    "repeats": ["--budget", 50, "--repeats", 3],
    "per prompt": ["--budget", 40, "--per-prompt", 2],
    "per completion": ["--budget", 60, "--per-completion", 1],
    "shares": ["--budget", 40, "--group-column", "topic", "--share", "code=0.5:", "--share", "chat=:0.1"],
    "cost": ["--budget", 150.5, "--cost-column", "price"],
    "reading": ["--budget", 5, "--reading", 100, "--overhead", 0.05],
    "all": [
        "--budget", 4, "--reading", 100, "--repeats", 2, "--per-prompt", 3, "--per-completion", 2,
        "--group-column", "topic", "--share", "maths=0.4:0.6",
    ],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("case", LIMITS)
def test_every_criterion_obeys_the_limits(case: str, criterion: str, run: Path, capsys) -> None:
    given = LIMITS[case]
    extra = ["--score", "score"] if criterion == "best-vs-worst" else []
    found = ok(capsys, "select", "--run", run, *given, "--criterion", criterion, *extra)
    option = dict(zip(given[::2], given[1::2], strict=True))
    rows, source, budget = batch(found), by_id(run), option["--budget"]
    labels = [row.get("labels", 1) for row in rows]
    ids = counted(rows, "pair_id")
    assert len(ids) == len(rows) == found["picked"]
    assert sum(labels) == found["labels"]
    assert max(labels) <= option.get("--repeats", 1)
    assert all(row.get("labels", 2) > 1 for row in rows)  # 1 is not spelt out
    assert max(counted(rows, "prompt_id").values()) <= option.get("--per-prompt", 999)
    assert max(counted(rows, "completion").values()) <= option.get("--per-completion", 999)

    def cost(row: dict) -> float:
        a, b = source[row["id_a"]], source[row["id_b"]]
        if "--cost-column" in option:
            return a["price"] + b["price"]
        if "--reading" in option:
            read = words(row["prompt"]) + words(a["completion"]) + words(b["completion"])
            return read / option["--reading"] + option.get("--overhead", 0.1)
        return 1.0

    costs = [cost(row) * row.get("labels", 1) for row in rows]
    assert sum(costs) == pytest.approx(found["cost"])
    assert sum(costs) <= budget * (1 + 1e-9)
    assert sum(costs) >= (0.9 * budget if found["unit"] != "labels" else budget)
    shares: Counter = Counter()
    for row, spent in zip(rows, costs, strict=True):
        shares[source[row["id_a"]]["topic"]] += spent / budget
    for name, share in found.get("shares", {}).items():
        assert share == pytest.approx(shares[name])
    bounds = {"shares": {"code": (0.5, 1), "chat": (0, 0.1)}, "all": {"maths": (0.4, 0.6)}}
    assert set(found.get("shares", {})) == set(bounds.get(case, {}))
    for name, (low, high) in bounds.get(case, {}).items():
        assert low - 1e-9 <= shares[name] <= high + 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("criterion", ["adaptive", "gap", "random"])
def test_a_batch_of_named_pairs_is_called_that(
    criterion: str, run: Path, tmp_path: Path, capsys
) -> None:
    """It was told as "12 of them at random, the others the best of 4 282 candidates drawn"."""
    with workspace(run) as space:
        free = Desk(space, SelectSettings(1, "gap")).pairs
        pairs = free.unrank(np.arange(free.all_pairs))
        pairs = pairs[free.not_excluded(pairs)][::37][:8]
        names = [pair_id(space.pool.ids[i], space.pool.ids[j]) for i, j in pairs.tolist()]
    (tmp_path / "must").write_text("\n".join(names))
    command = ["select", "--run", run, "--must", tmp_path / "must", "--criterion", criterion]
    message = batch_message(ok(capsys, *command, "--budget", 8))
    assert "all of which you named (--must)" in message
    for word in ("drawn", "at random", "best possible"):
        assert word not in message
    shutil.rmtree(run / "batches" / "002")
    more = batch_message(ok(capsys, *command, "--budget", 12))
    assert ", 8 of them named by you (--must)" in more


@pytest.mark.slow
def test_must_and_must_not_in_every_form(run: Path, tmp_path: Path, capsys) -> None:
    with workspace(run) as space:
        free = Desk(space, SelectSettings(1, "gap")).pairs
        pairs = free.unrank(np.arange(free.all_pairs))
        pairs = pairs[free.not_excluded(pairs)][::37][:8]
        ids = [(space.pool.ids[i], space.pool.ids[j]) for i, j in pairs.tolist()]
    names = [pair_id(a, b) for a, b in ids]
    must, never = tmp_path / "must", tmp_path / "never.jsonl"
    first, second = [{"id_a": b, "id_b": a} for a, b in ids[:2]]
    must.write_text(
        f"{json.dumps(first)}\n\n{names[2]}\r\n{json.dumps(second)}\n"
        + json.dumps({"pair_id": names[3]})
        + f"\n{names[2]}\n"
    )
    some = ["--budget", 12, "--must", must, "--must-not", never]
    for criterion in ("gap", "adaptive", "random", "best-vs-worst", "signal"):
        extra = ["--score", "score"] if criterion == "best-vs-worst" else []
        plain = Path(shutil.copytree(run, tmp_path / criterion))
        before = ok(
            capsys, "select", "--run", plain, "--budget", 12, "--criterion", criterion, *extra
        )
        liked = sorted(set(counted(batch(before), "pair_id")) - set(names))[:5]
        never.write_text("".join(f"{name}\n" for name in liked))
        barred = Path(shutil.copytree(run, tmp_path / f"{criterion} barred"))
        found = ok(capsys, "select", "--run", barred, *some, "--criterion", criterion, *extra)
        picked = set(counted(batch(found), "pair_id"))
        assert set(names[:4]) <= picked, criterion
        assert not set(liked) & picked, criterion
        assert len(picked) == 12


WRONG = {
    "half a label": (["--budget", "10.5"], "whole number of at least 1; got 10.5"),
    "no minutes": (["--budget", "0", "--reading", "200"], "budget must be a finite number above 0 (minutes)"),
    "repeats 0": (["--repeats", "0"], "repeats must be a whole number of at least 1; got 0"),
    "per prompt 0": (["--per-prompt", "0"], "per-prompt must be a whole number"),
    "per completion 0": (["--per-completion", "0"], "per-completion must be a whole number"),
    "two units": (["--cost-column", "price", "--reading", "200"], "a budget has one unit"),
    "overhead alone": (["--overhead", "1"], "--overhead is minutes beside --reading"),
    "negative overhead": (["--reading", "200", "--overhead", "-1"], "overhead must be"),
    "reading 0": (["--reading", "0"], "reading must be a finite number"),
    "no cost column": (["--cost-column", "topic"], "got 'topic'; there is score, price"),
    "score of 0": (["--cost-column", "score"], "'score' is 0 for completion"),
    "too poor": (["--cost-column", "price", "--budget", "0.5"], "the cheapest costs 2"),
    "share alone": (["--share", "code=0.2:0.5"], "got only --share"),
    "column alone": (["--group-column", "topic"], "got only --group-column"),
    "no bounds": (["--group-column", "topic", "--share", "code"], "NAME=LEAST:MOST"),
    "share of 2": (["--group-column", "topic", "--share", "code=0.2:2"], "got 'code=0.2:2'"),
    "share twice": (["--group-column", "topic", "--share", "code=:1", "--share", "code=:1"], "'code' has several"),
    "no such group": (["--group-column", "topic", "--share", "art=0.2:"], "got 'art'; there is chat, code, maths"),
    "no such column": (["--group-column", "x", "--share", "art=0.2:"], "got 'x'; there is group, score, topic"),
    "two values": (["--group-column", "mood", "--share", "sad=0.2:"], "has 'glad' and 'sad'"),
    "no room": (["--per-prompt", "1", "--budget", "25"], "must leave room for the budget"),
    "no file": (["--must", "no.txt"], "no.txt: No such file"),
    "no tolerance": (["--tolerance", "nan"], "tolerance must be a share from 0 to 1; got nan"),
    "any tolerance": (["--tolerance", "inf"], "tolerance must be a share from 0 to 1; got inf"),
    "less than exact": (["--tolerance", "-1"], "tolerance must be a share from 0 to 1; got -1"),
    "kernel": (["--kernel", "abacus"], "kernel must be one of numpy, torch, tiles"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_refused_and_nothing_is_written(case: str, run: Path, capsys) -> None:
    given, message = WRONG[case]
    before = tree(run)
    budget = [] if "--budget" in given else ["--budget", "10"]
    assert message in fails(capsys, "select", "--run", run, *budget, *given)
    assert tree(run) == before


def test_lines_that_name_no_pair_are_refused_by_number(run: Path, tmp_path: Path, capsys) -> None:
    with workspace(run) as space:
        one, other, same = space.pool.ids[0], space.pool.ids[SIZE], space.pool.ids[1]
    path, before = tmp_path / "named.txt", tree(run)
    command = ["select", "--run", run, "--budget", 10]
    for line, message in (
        ("q123", "line 2: 'q123' is none"),
        (json.dumps({"id_a": one, "id_b": "no"}), "line 2: no completion is 'no'"),
        (json.dumps({"id_a": one, "id_b": other}), "line 2: "),
        (json.dumps({"id_a": one, "id_b": one}), "two completions of one prompt"),
        ('{"id_a": 1', "line 2: it is no JSON"),
        ("[1]", "line 2: [1]"),
    ):
        path.write_text(f"\n{line}\n")
        for option in ("--must", "--must-not"):
            assert message in fails(capsys, *command, option, path)
    path.write_text(pair_id(one, same) + "\n")
    assert "cannot stand in both" in fails(capsys, *command, "--must", path, "--must-not", path)
    assert tree(run) == before


@pytest.mark.slow
def test_limits_are_in_the_manifest_only_where_they_are_used(
    run: Path, tmp_path: Path, capsys
) -> None:
    with workspace(run) as space:
        settings, inputs = Desk(space, SelectSettings(10)).recorded()
        first = pair_id(*space.pool.ids[:2])
    assert not set(settings) & set(LimitSettings.__dataclass_fields__)
    assert json.dumps(settings["budget"]) == "10"
    assert set(inputs) == {"pool", "features", "labels"}
    path = tmp_path / "never.txt"
    path.write_text(first)
    command = ["select", "--run", run, "--budget", 3.5, "--reading", 150, "--must-not", path]
    command += ["--group-column", "topic", "--share", "code=0.2:"]
    found = ok(capsys, *command)
    with workspace(run) as space:
        record = space.run.record("batches", found["batch"])
    expected = {
        "reading": 150.0, "overhead": 0.1, "must_not": str(path), "group_column": "topic",
        "share": ["code=0.2:"],
    }  # fmt: skip
    names = set(LimitSettings.__dataclass_fields__)
    assert {k: v for k, v in record.settings.items() if k in names} == expected
    assert found["limits"] == expected
    assert len(record.inputs["must_not"]) == 64
    assert ok(capsys, *command)["done_before"]
    report(run)
    page = (run / "report.html").read_text()
    assert "--reading 150 --share code=0.2:" in page
    assert 'id="term-predicted-gap"' in page
    path.write_text(first + "\n")
    assert "wait" in fails(capsys, *command)


@pytest.mark.slow
def test_random_within_limits_is_uniform(run: Path, capsys) -> None:
    """One pair a prompt: each of its pairs as often as any other, each prompt alike."""
    counts: Counter = Counter()
    with workspace(run) as space:
        from whichpairs.design.batches.ordered import within
        from whichpairs.design.batches.random import random_pairs
        from whichpairs.design.problem.limits import Limits

        pairs = Desk(space, SelectSettings(1)).pairs.some_prompts(3, 0)
        rng, limits = np.random.default_rng(0), Limits(per_prompt=1)
        for _ in range(1500):
            batch = within(pairs, 2, limits, lambda some, n: random_pairs(some, n, rng))
            counts.update(pairs.keys(batch).tolist())
        prompt = Counter()
        for key, times in counts.items():
            prompt[int(space.pool.prompt_of[key // pairs.rows])] += times
    assert len(counts) == pairs.candidates
    sizes = {
        p: sum(int(space.pool.prompt_of[k // pairs.rows]) == p for k in counts) for p in prompt
    }
    for key, times in counts.items():
        p = int(space.pool.prompt_of[key // pairs.rows])
        assert times == pytest.approx(prompt[p] / sizes[p], abs=4.5 * (prompt[p] / sizes[p]) ** 0.5)


@pytest.mark.slow
def test_batches_that_greedy_cannot_fill_are_filled_all_the_same(run: Path, capsys) -> None:
    """Every completion twice, in prompts of five and more: a greedy order gets stuck."""
    with workspace(run) as space:
        pairs = Desk(space, SelectSettings(1)).pairs
        rows = int(pairs.sizes.sum())
    source = write_jsonl(run.parent / "five.jsonl", pool_rows(8, 5))
    other = run.parent / "five"
    np.save(run.parent / "five.npy", np.random.default_rng(1).standard_normal((40, DIM)))
    ok(capsys, "import", source, "--run", other)
    ok(capsys, "features", "--run", other, "--method", "file", "--file", run.parent / "five.npy")
    for number, criterion in enumerate(("random", "uniform-prompts", "adaptive")):
        copy = Path(shutil.copytree(other, run.parent / f"five {number}"))
        found = ok(
            capsys, "select", "--run", copy, "--budget", 40, "--per-completion", 2,
            "--criterion", criterion,
        )  # fmt: skip
        assert set(counted(batch(found), "completion").values()) == {2}
    assert rows > 40


class Killed(Exception):
    """A kill, as far as this process lets one be."""


HARD = [
    "--budget",
    8,
    "--controls",
    0,
    "--criterion",
    "d-optimal",
    "--tolerance",
    1e-9,
    "--per-prompt",
    1,
]


def hard(**changes) -> SelectSettings:
    settings = {"budget": 8, "criterion": "d-optimal", "tolerance": 1e-9, "controls": 0}
    settings |= {"limits": LimitSettings(per_prompt=1)}
    return SelectSettings(**settings | changes)


def kill_after(number: int):
    def watch(report: PassReport) -> None:
        if report.number == number:
            raise Killed

    return watch


def begun(run: Path) -> Path:
    """`run`, killed in its second pass."""
    with pytest.raises(Killed):
        select(run, hard(), watch=kill_after(2))
    assert [p.name for p in (run / "batches.partial").iterdir()] == ["checkpoint.npz"]
    assert not (run / "batches" / "002").exists()
    return run


def passes_of(run: Path, settings: SelectSettings) -> list[int]:
    seen: list[int] = []
    select(run, settings, watch=lambda report: seen.append(report.number))
    assert not (run / "batches.partial").exists()
    return seen


@pytest.mark.slow
def test_a_killed_select_goes_on_to_the_same_bytes(run: Path, tmp_path: Path) -> None:
    whole = Path(shutil.copytree(run, tmp_path / "whole"))
    every = passes_of(whole, hard())
    assert every[:2] == [1, 2]
    assert passes_of(begun(run), hard(threads=2)) == every[1:]
    for name in ("pairs.jsonl",):
        a, b = (folder / "batches" / "002" / name for folder in (whole, run))
        assert a.read_bytes() == b.read_bytes()
    bounds = [
        [row["bound"] for row in json.loads((folder / "batches/002/passes.json").read_text())]
        for folder in (whole, run)
    ]
    assert bounds[0] == bounds[1]


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.slow
@pytest.mark.parametrize("change", ["settings", "labels", "broken", "pickle"])
def test_a_checkpoint_of_anything_else_is_no_beginning(change: str, run: Path, capsys) -> None:
    begun(run)
    path, settings = run / "batches.partial" / "checkpoint.npz", hard()
    match change:
        case "settings":
            settings = hard(limits=LimitSettings(per_prompt=2))
        case "labels":
            row = json.loads((run / "batches/001/pairs.jsonl").read_text().splitlines()[0])
            said = {"pair_id": row["pair_id"], "choice": "tie", "annotator": "another"}
            ok(capsys, "label", "--run", run, "--from", write_jsonl(run.parent / "a.jsonl", [said]))
        case "broken":
            path.write_bytes(path.read_bytes()[:-900])
        case "pickle":
            with np.load(path) as found:
                arrays = {**found, "keys": np.array([Trap(run.parent / "sprung")])}
            np.savez(path, allow_pickle=True, **arrays)
    assert passes_of(run, settings)[0] == 1
    assert not (run.parent / "sprung").exists()


@pytest.mark.slow
def test_a_process_killed_by_the_system_goes_on(run: Path, tmp_path: Path, capsys) -> None:
    code = (
        "import os, signal, sys\n"
        "from whichpairs.workflow.select import checkpoint as resume\n"
        "keep = resume.Resume.keep\n"
        "def kept(self, checkpoint):\n"
        "    keep(self, checkpoint)\n"
        "    if len(checkpoint.reports) == 1: os.kill(os.getpid(), signal.SIGKILL)\n"
        "resume.Resume.keep = kept\n"
        "from whichpairs.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    command = [str(part) for part in ("select", "--run", run, *HARD)]
    whole = Path(shutil.copytree(run, tmp_path / "whole"))
    ok(capsys, "select", "--run", whole, *HARD)
    done = subprocess.run([sys.executable, "-c", code, *command], check=False)
    assert done.returncode == -9
    assert (run / "batches.partial" / "checkpoint.npz").exists()
    ok(capsys, *command)
    a, b = ((folder / "batches/002/pairs.jsonl").read_bytes() for folder in (whole, run))
    assert a == b


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(
    run: Path, capsys, monkeypatch
) -> None:
    before = tree(run)

    def full(path: Path) -> None:
        if "checkpoint" in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "_sync", full)
    assert "No space left on device" in fails(capsys, "select", "--run", run, *HARD)
    assert tree(run) == before


def test_status_tells_of_a_killed_selection(run: Path) -> None:
    word = "one begun, not finished: the same select goes on"
    assert word not in status(run).message
    assert word in status(begun(run)).message


def test_ctrl_c_keeps_the_batch_so_far(run: Path, capsys) -> None:
    def watch(report: PassReport) -> None:
        if report.number == 1:
            raise KeyboardInterrupt

    found = select(run, hard(), watch=watch)
    assert "stopped by you after pass 1" in found.message
    assert found.result["interrupted"]
    assert len(batch(found.result)) == 8
    assert not (run / "batches.partial").exists()


def test_a_checkpoint_comes_back_as_it_was(run: Path, monkeypatch) -> None:
    kept, keep = [], Resume.keep

    def both(self: Resume, checkpoint: Checkpoint) -> None:
        keep(self, checkpoint)
        kept.append((checkpoint, self.load()))

    monkeypatch.setattr(Resume, "keep", both)
    select(run, hard())
    assert kept
    for before, after in kept:
        assert (before.longest, before.bound, before.reports) == (
            after.longest,
            after.bound,
            after.reports,
        )
        for name in ("keys", "counts", "shares", "batch", "factor", "tops"):
            a, b = getattr(before, name), getattr(after, name)
            assert a.dtype == b.dtype
            assert np.array_equal(a, b)


def test_a_checkpoint_is_plain(run: Path) -> None:
    begun(run)
    with np.load(run / "batches.partial" / "checkpoint.npz", allow_pickle=False) as found:
        kinds = {name: found[name].dtype.kind for name in found.files}
        reports = json.loads(str(found["reports"]))
    assert set(kinds.values()) <= set("ifU")
    assert [row["number"] for row in reports] == [1]
    assert Resume(run, "another key").load() is None


def test_progress_says_how_good_and_how_much_was_read() -> None:
    common = {
        "number": 1,
        "relaxed": 1.0,
        "batch": 1.0,
        "bound": 0.9,
        "read": 0.255,
        "seconds": 1.0,
    }
    told = note(PassReport(**common, certificate=0.0123))
    assert told == "batch within 1.2 %, 26 % of prompts read"
    assert note(PassReport(**common, certificate=None)) == "26 % of prompts read"


@pytest.mark.slow
def test_kernels_pick_the_same_batch(run: Path, tmp_path: Path) -> None:
    found = []
    for kernel in ("numpy", "torch", "tiles")[: 3 if has_tiles() else 2]:
        copy = Path(shutil.copytree(run, tmp_path / kernel))
        select(copy, hard(kernel=kernel))
        found.append((copy / "batches/002/pairs.jsonl").read_bytes())
    assert len(set(found)) == 1


@pytest.mark.slow
def test_repeats_from_selection_to_fit(run: Path, tmp_path: Path, capsys) -> None:
    chosen = ok(
        capsys, "select", "--run", run, "--budget", 45, "--criterion", "gap", "--repeats", 3
    )
    rows = batch(chosen)
    asked = counted(rows, "pair_id")
    assert max(asked.values()) == 3
    many = next(name for name in sorted(asked) if asked[name] == 3)
    said = [{"pair_id": many, "choice": "a", "annotator": who} for who in ("ann", "bob")]
    path = write_jsonl(tmp_path / "said.jsonl", said)
    assert ok(capsys, "label", "--run", run, "--from", path)["new"] == 2
    with workspace(run) as space:
        assert space.waiting()[many] == 1
        desk = Desk(space, SelectSettings(1, "gap"))
        known = [tuple(sorted(pair)) for pair in desk.evidence.known.tolist()]
        rows_of = tuple(sorted(space.pool.rows(space.known_pairs[many][1:]).tolist()))
        assert known.count(rows_of) == 3  # two answers, and one that waits
        assert len(known) == 40 + 45
    judge = ["label", "--run", run, "--judge", "http://localhost:9/v1", "--judge-model", "m"]
    assert "want several people" in fails(capsys, *judge)
    found = ok(capsys, "label", "--run", run, "--simulate", "score", "--temperature", 0.2)
    assert (found["new"], found["waiting"]) == (43, 0)
    with workspace(run) as space:
        who = Counter(x.annotator for x in space.labels if x.pair_id in asked)
        answers = Counter(x.pair_id for x in space.labels)
        first = [x.annotator for x in space.labels if x.pair_id == many]
        turns = {(x.pair_id, x.annotator): x.choice for x in space.labels if x.pair_id in asked}
    assert all(answers[name] == times for name, times in asked.items())
    assert first == ["ann", "bob", "simulated:score"]
    assert set(who) == {
        "ann", "bob", "simulated:score", "simulated:score#2", "simulated:score#3"
    }  # fmt: skip
    assert len(turns) == 45
    again = ok(capsys, "label", "--run", run, "--simulate", "score", "--temperature", 0.2)
    assert again["done_before"]
    assert ok(capsys, "fit", "--run", run)["labels"] == 85
    assert ok(capsys, "export", tmp_path / "out.jsonl", "--run", run)["rows"] == 85
    assert ok(capsys, "status", "--run", run)["waiting"] == 0
    report(run)
    page = (run / "report.html").read_text()
    assert page.count("label --run") <= 4
    assert "simulated:score#2" not in page.split("Commands")[-1]


def test_a_labeller_is_asked_for_what_is_missing() -> None:
    rows = [{"pair_id": "q1", "labels": 3}, {"pair_id": "q2"}, {"pair_id": "q3", "labels": 2}]
    assert _missing(rows, {"q1": 3, "q2": 1, "q3": 2}) == rows
    assert _missing(rows, {"q1": 1, "q3": 2}) == [{"pair_id": "q1", "labels": 1}, rows[2]]
    assert rows[0] == {"pair_id": "q1", "labels": 3}


@pytest.mark.slow
def test_the_standing_of_a_run_counts_labels(run: Path, capsys) -> None:
    ok(capsys, "select", "--run", run, "--budget", 45, "--criterion", "gap", "--repeats", 3)
    with workspace(run) as space:
        now = read_standing(space, None, None)
        assert (now.known, now.labelled, now.waiting) == (85, 40, {"002": 45})
        assert [row["picked"] for row in now.rows] == [40, 45]
        free = Desk(space, SelectSettings(1)).pairs.candidates
        assert now.free == free
        names = [row["pair_id"] for row in space.batches["002"]]

    def fit_of_the_batch() -> str | None:
        with workspace(run) as space:
            return read_standing(space, None, 0).rows[1]["fit"]

    said = [{"pair_id": name, "choice": "a", "annotator": "ann"} for name in names]
    ok(capsys, "label", "--run", run, "--from", write_jsonl(run.parent / "ann.jsonl", said))
    ok(capsys, "fit", "--run", run)
    assert fit_of_the_batch() is None  # it knew one answer to each pair, not all
    ok(capsys, "label", "--run", run, "--simulate", "score", "--temperature", 0.2)
    ok(capsys, "fit", "--run", run)
    assert fit_of_the_batch() == "002"
    said = [{"pair_id": names[0], "choice": "a", "annotator": "late"}]
    ok(capsys, "label", "--run", run, "--from", write_jsonl(run.parent / "late.jsonl", said))
    assert fit_of_the_batch() == "002"
    with workspace(run) as space:
        now = read_standing(space, None, 0)
        assert (now.labelled, now.waiting) == (85, {})


def test_repeated_answers_are_independent(run: Path, capsys) -> None:
    """At T = ∞ in effect answers are coins: repeats agree as often as coins do."""
    with workspace(run) as space:
        (space.run.root / "labels.sqlite").unlink()
    shutil.rmtree(run / "batches")
    ok(capsys, "select", "--run", run, "--budget", 600, "--criterion", "random", "--repeats", 2)
    ok(capsys, "label", "--run", run, "--simulate", "score", "--temperature", 1e9)
    with workspace(run) as space:
        said: dict[str, set[str]] = {}
        for label in space.labels:
            said.setdefault(label.pair_id, set()).add(f"{label.annotator} {label.choice}")
    twice = [choices for choices in said.values() if len(choices) == 2]
    agree = sum(len({text[-1] for text in choices}) == 1 for choices in twice)
    assert len(twice) > 150
    assert agree == pytest.approx(len(twice) / 2, abs=3 * (len(twice) / 4) ** 0.5)


def test_predictions_count_repeats(run: Path, capsys) -> None:
    found = ok(capsys, "select", "--run", run, "--budget", 45, "--criterion", "gap", "--repeats", 3)
    with workspace(run) as space:
        space.batches = {name: rows for name, rows in space.batches.items() if name == "001"}
        desk = Desk(space, SelectSettings(1, "gap"))
        m, phi = desk.base.copy(), np.asarray(desk.phi, float)
        for row in batch(found):
            i, j = space.pool.rows((row["id_a"], row["id_b"]))
            z = phi[i] - phi[j]
            m += row.get("labels", 1) * 0.3**2 / 4 * np.outer(z, z)
        value = desk.gap.value(m)
    assert found["criterion_value"] == pytest.approx(value, rel=1e-8)
    with workspace(run) as space:
        assert np.allclose(Beginning(space, None, 1.5).learned("002"), m, rtol=1e-8)


def test_pairs_of_the_pool_are_found_by_their_ids(run: Path, tmp_path: Path) -> None:
    from whichpairs.workflow.select.pairs_file import read_pairs

    with workspace(run) as space:
        pool = space.pool
        expected = [
            pair
            for low, high in zip(pool.starts[:-1], pool.starts[1:], strict=True)
            for pair in combinations(range(low, high), 2)
        ][::11]
        path = tmp_path / "ids.txt"
        names = [pair_id(pool.ids[i], pool.ids[j]) for i, j in reversed(expected)]
        path.write_text("\n".join(names))
        found = read_pairs(str(path), pool, space.known_pairs, "--must")
        assert [tuple(pair) for pair in found.tolist()] == expected
        path.write_text("q0")
        with pytest.raises(UserError, match="line 1"):
            read_pairs(str(path), pool, space.known_pairs, "--must")
