"""The stages end to end on a small pool, through the command line."""

import json
import shlex
from pathlib import Path

import datasets
import numpy as np
import pytest

from cli import ok, pool_rows, write_jsonl
from whichpairs.workflow.workspace import workspace

KEYS = {
    "criterion", "budget", "picked", "candidate_pairs", "beta", "predicted_gap",
    "random_predicted_gap", "labels_random_would_need", "lower_bound", "certificate",
    "regret_share", "passes", "seconds", "batch_file",
}  # fmt: skip
ROW = {
    "pair_id", "prompt_id", "prompt", "completion_a", "completion_b", "id_a", "id_b", "weight",
}  # fmt: skip
CRITERIA = ["gap", "random", "uniform-prompts", "reference", "d-optimal", "best-vs-worst"]


@pytest.fixture
def run(tmp_path: Path, capsys) -> Path:
    rows = pool_rows(20, 6)
    rows += rows[:9]  # exact duplicates: counted
    source = write_jsonl(tmp_path / "pool.jsonl", rows)
    run = tmp_path / "run"
    options = ["--score-column", "score", "--holdout", 0.25, "--beta", 0.3]
    found = ok(capsys, "import", source, "--run", run, *options)
    assert (found["prompts"], found["completions"], found["duplicates_merged"]) == (20, 120, 9)
    ok(capsys, "features", "--run", run, "--method", "text", "--dim", 20)
    return run


def batch_rows(found: dict) -> list[dict]:
    return [json.loads(line) for line in Path(found["batch_file"]).read_text().splitlines()]


@pytest.mark.parametrize("criterion", CRITERIA)
def test_batches_hold_only_what_may_be_picked(criterion: str, run: Path, capsys) -> None:
    seen: set[str] = set()
    for budget in (30, 25):
        options = ["--score", "score"] if criterion == "best-vs-worst" else []
        command = ["--criterion", criterion, "--budget", budget, "--controls", 5, *options]
        found = ok(capsys, "select", "--run", run, *command)
        assert set(found) >= KEYS
        rows = batch_rows(found)
        assert len(rows) == budget + 5
        with workspace(run) as space:
            held = set(space.pool.prompts.filter(space.pool.prompts["holdout"])["prompt_id"])
        for row in rows:
            assert set(row) >= ROW
            assert row["completion_a"] != row["completion_b"]
            assert (row["prompt_id"] in held) == row["control"]
        ids = {row["pair_id"] for row in rows}
        assert len(ids) == budget + 5
        assert not ids & seen
        seen |= ids
        ok(capsys, "label", "--run", run, "--simulate", "score")
    certified = criterion in {"gap", "d-optimal"}
    assert (found["certificate"] is not None) == certified
    assert (found["passes"] > 0) == certified
    assert (found["lower_bound"] is not None) == (criterion == "gap")


def test_predicted_gap_is_the_plain_formula(run: Path, capsys) -> None:
    found = ok(capsys, "select", "--run", run, "--budget", 30)
    with workspace(run) as space:
        _, _, phi = space.feature_set(None)
        pool, beta = space.pool, space.run.beta
        row_of, starts = pool.row_of, pool.starts
        phi = np.asarray(phi, float)
    train = [p for p in range(20) if not pool.holdout[p]]
    covariances, squares = [], []
    for p in train:
        x, w = phi[starts[p] : starts[p + 1]], pool.weight[starts[p] : starts[p + 1]]
        w = w / w.sum()
        covariances.append((x - w @ x).T @ np.diag(w) @ (x - w @ x))
        squares += [(x[i] - x[j]) @ (x[i] - x[j]) for i in range(6) for j in range(i)]
    m = np.eye(phi.shape[1]) * beta**2 * np.mean(squares) / 1.5**2
    for row in batch_rows(found):
        z = phi[row_of[row["id_a"]]] - phi[row_of[row["id_b"]]]
        m += beta**2 / 4 * np.outer(z, z)
    plain = beta / 2 * np.trace(np.mean(covariances, axis=0) @ np.linalg.inv(m))
    assert found["predicted_gap"] == pytest.approx(plain, rel=1e-8)
    assert found["lower_bound"] <= plain * (1 + 1e-9)
    assert found["certificate"] == pytest.approx(plain / found["lower_bound"] - 1, abs=1e-8)
    assert found["random_predicted_gap"] > plain
    assert found["labels_random_would_need"] is None or found["labels_random_would_need"] > 30


def test_labels_that_came_with_the_pool_count(tmp_path: Path, capsys) -> None:
    rows = [
        {"prompt": f"q{k % 8}", "chosen": f"a fine answer {k}", "rejected": f"bad one {k * 7 % 11}"}
        for k in range(40)
    ]
    gaps = []
    for name, part in (("few", rows[:1] + rows[8:9]), ("many", rows)):
        pool = part + [{"prompt": "x", "chosen": f"c {k}", "rejected": f"r {k}"} for k in range(4)]
        source = write_jsonl(tmp_path / f"{name}.jsonl", pool)
        found = ok(capsys, "import", source, "--run", tmp_path / name, "--holdout", 0.2)
        assert found["labels"] == len(pool)
        ok(capsys, "features", "--run", tmp_path / name, "--method", "text", "--dim", 18)
        gaps.append(ok(capsys, "select", "--run", tmp_path / name, "--budget", 1)["predicted_gap"])
        fitted = ok(capsys, "fit", "--run", tmp_path / name)
        assert fitted["labels"] + fitted["held_out_labels"] == len(pool)
    assert gaps[1] < gaps[0]


def test_fit_without_held_out_labels_says_unknown(run: Path, capsys) -> None:
    ok(capsys, "select", "--run", run, "--budget", 40)
    ok(capsys, "label", "--run", run, "--simulate", "score")
    assert ok(capsys, "fit", "--run", run)["held_out"] is None
    ok(capsys, "select", "--run", run, "--budget", 5, "--controls", 20)
    ok(capsys, "label", "--run", run, "--simulate", "score")
    found = ok(capsys, "fit", "--run", run)
    assert (found["labels"], found["held_out_labels"]) == (45, 20)
    assert 0 <= found["held_out_accuracy"] <= 1


def test_every_next_command_that_status_names_works(run: Path, tmp_path: Path, capsys) -> None:
    blanks = {"N": "12", "OUT": str(tmp_path / "out.jsonl")}
    said = []
    for _ in range(4):
        command = ok(capsys, "status", "--run", run)["next"]
        said.append(command.split()[1])
        command = command.replace("--from FILE (or --simulate COLUMN)", "--simulate score")
        parts = [blanks.get(part, part) for part in shlex.split(command)[1:]]
        if parts[0] == "train":
            break
        ok(capsys, *parts)
    assert said == ["select", "label", "fit", "train"]
    found = ok(capsys, "evaluate", "--run", run, "--score", "score", "--temperature", 2)
    assert found["held_out_prompts"] == 5
    for who in ("reference", "policy"):
        v = {k: x["mean"] for k, x in found[f"{who}_values"].items()}
        assert v["J"] == pytest.approx(v["reward"] - 0.3 * v["kl"])


def test_the_export_is_what_trl_takes(run: Path, tmp_path: Path, capsys) -> None:
    ok(capsys, "select", "--run", run, "--budget", 15, "--controls", 5)
    ok(capsys, "label", "--run", run, "--simulate", "score")
    for name in ("out.jsonl", "out.parquet"):
        found = ok(capsys, "export", tmp_path / name, "--run", run)
        kind = "json" if name.endswith("jsonl") else "parquet"
        loaded = datasets.load_dataset(
            kind, data_files=str(tmp_path / name), split="train", cache_dir=str(tmp_path / "cache")
        )
        assert loaded.column_names == ["prompt", "chosen", "rejected"]
        assert len(loaded) == found["rows"] == 15  # never the controls
        beside = [json.loads(x) for x in Path(found["ids"]).read_text().splitlines()]
        assert all(0 < row["probability"] < 1 for row in beside)
        assert len({row["pair_id"] for row in beside}) == 15


def test_conversations_come_in_and_go_out_as_conversations(tmp_path: Path, capsys) -> None:
    def turn(role: str, text: str) -> dict:
        return {"role": role, "content": text}

    rows = [
        {
            "chosen": [turn("user", f"why {k}?"), turn("assistant", f"because {k}")],
            "rejected": [turn("user", f"why {k}?"), turn("assistant", f"no idea {k}")],
        }
        for k in range(5)
    ]
    source = write_jsonl(tmp_path / "chat.jsonl", rows)
    ok(capsys, "import", source, "--run", tmp_path / "run")
    ok(capsys, "export", tmp_path / "out.jsonl", "--run", tmp_path / "run")
    out = [json.loads(x) for x in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert out[0] == {
        "prompt": [turn("user", "why 0?")],
        "chosen": [turn("assistant", "because 0")],
        "rejected": [turn("assistant", "no idea 0")],
    }
