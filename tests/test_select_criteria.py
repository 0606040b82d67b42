"""Batches by A-, c- and I-optimality through the command line: their values, files and mistakes."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from cli import fails, ok, pool_rows, tree, write_jsonl
from whichpairs.cli import main
from whichpairs.design.batches.random import random_pairs
from whichpairs.report.stage import report
from whichpairs.workflow.select.settings import SelectSettings
from whichpairs.workflow.select.stage import Desk
from whichpairs.workflow.workspace import workspace

BETA, DIM, BUDGET = 0.3, 20, 30
NAMES = {"a-optimal": "A-optimality", "c-optimal": "c-optimality", "i-optimal": "I-optimality"}


@pytest.fixture
def run(tmp_path: Path, capsys) -> Path:
    source, run = write_jsonl(tmp_path / "pool.jsonl", pool_rows(20, 6)), tmp_path / "run"
    ok(capsys, "import", source, "--run", run, "--holdout", 0.25, "--beta", BETA)
    ok(capsys, "features", "--run", run, "--method", "text", "--dim", DIM)
    return run


def arrays() -> dict[str, np.ndarray]:
    """W's source for every criterion: none, a direction, a moment of rank 5."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((5, DIM))
    return {"c-optimal": rng.standard_normal(DIM), "i-optimal": x.T @ x / 5}


def weigh(criterion: str) -> np.ndarray:
    made = arrays().get(criterion, np.eye(DIM))
    return np.outer(made, made) if made.ndim == 1 else made


def options(criterion: str, tmp_path: Path) -> list[object]:
    if criterion not in arrays():
        return ["--criterion", criterion]
    np.save(tmp_path / "w.npy", arrays()[criterion])
    return ["--criterion", criterion, "--matrix", tmp_path / "w.npy"]


@pytest.mark.slow
@pytest.mark.parametrize("criterion", NAMES)
def test_certificates_are_of_the_criterion_itself(
    criterion: str, run: Path, tmp_path: Path, capsys
) -> None:
    found = ok(
        capsys, "select", "--run", run, "--budget", BUDGET, "--controls", 0, *options(criterion, tmp_path),
        "--tolerance", 1e-4, "--passes", 40,
    )  # fmt: skip
    with workspace(run) as space:
        desk = Desk(space, SelectSettings(BUDGET, "gap"))
        phi, row_of = np.asarray(desk.phi, float), space.pool.row_of
        base, candidates = desk.prior, desk.pairs
        rows = [json.loads(line) for line in Path(found["batch_file"]).read_text().splitlines()]
        keys = {str(row["pair_id"]) for row in rows}

    def value(pairs: np.ndarray) -> float:
        z = phi[pairs[:, 0]] - phi[pairs[:, 1]]
        m = base + BETA**2 / 4 * z.T @ z
        return float(np.trace(weigh(criterion) @ np.linalg.inv(m)))

    assert len(keys) == BUDGET
    picked = value(np.array([[row_of[row["id_a"]], row_of[row["id_b"]]] for row in rows]))
    passes = json.loads((Path(found["batch_file"]).parent / "passes.json").read_text())
    bound = passes[-1]["bound"]
    assert found["certificate"] == pytest.approx(picked / bound - 1, rel=1e-6)
    assert 0 <= found["certificate"] < 0.05
    drawn = [value(random_pairs(candidates, BUDGET, np.random.default_rng(s))) for s in range(20)]
    assert min(drawn) > picked
    assert found["criterion_value"] == pytest.approx(picked, rel=1e-8)
    assert found["criterion_bound"] == bound
    assert found["criterion_random"] > picked
    assert found["passes"] == len(passes)


@pytest.mark.slow
@pytest.mark.parametrize("criterion", NAMES)
def test_people_are_told_what_it_is_the_best_of(
    criterion: str, run: Path, tmp_path: Path, capsys
) -> None:
    words = ["select", "--run", run, "--budget", BUDGET, *options(criterion, tmp_path)]
    with pytest.raises(SystemExit):
        main([str(word) for word in words])
    name = NAMES[criterion]
    assert f"from the best possible batch by {name}.\n" in capsys.readouterr().out
    report(run)
    page = (run / "report.html").read_text()
    assert f"from the best possible batch by {name}" in page
    assert "tr(W M⁻¹)" in page


@pytest.mark.parametrize("criterion", arrays())
def test_the_file_is_an_input_of_the_batch(
    criterion: str, run: Path, tmp_path: Path, capsys
) -> None:
    command = ["select", "--run", run, "--budget", BUDGET, *options(criterion, tmp_path)]
    first = ok(capsys, *command)
    with workspace(run) as space:
        record = space.run.record("batches", first["batch"])
    digest = hashlib.sha256((tmp_path / "w.npy").read_bytes()).hexdigest()
    assert record.inputs["matrix"] == digest
    assert record.settings["matrix"] == str(tmp_path / "w.npy")
    assert ok(capsys, *command)["batch_file"] == first["batch_file"]
    np.save(tmp_path / "w.npy", 2 * arrays()[criterion])
    assert "pairs wait" in fails(capsys, *command)


def test_batches_without_a_file_are_recorded_as_ever(run: Path) -> None:
    with workspace(run) as space:
        settings, inputs = Desk(space, SelectSettings(BUDGET, "gap")).recorded()
    assert "matrix" not in settings
    assert set(inputs) == {"pool", "features", "labels"}


def skewed() -> np.ndarray:
    skew = np.eye(DIM)
    skew[0, 1] = 0.5
    return skew


WRONG = {
    "short": (np.ones(DIM - 1), "c-optimal", "takes real numbers of shape (20,)"),
    "flat": (np.ones((DIM, DIM)), "c-optimal", "holds float64 of shape (20, 20)"),
    "vector": (np.ones(DIM), "i-optimal", "of shape (20, 20)"),
    "complex": (np.eye(DIM) * 1j, "i-optimal", "holds complex128"),
    "words": (np.array(["a"] * DIM), "c-optimal", "holds <U1"),
    "zero": (np.zeros(DIM), "c-optimal", "got 0 everywhere"),
    "nan": (np.full(DIM, np.nan), "c-optimal", "got NaN or ∞"),
    "skewed": (skewed(), "i-optimal", "must be symmetric"),
    "indefinite": (np.diag([-1.0] + [1.0] * (DIM - 1)), "i-optimal", "least eigenvalue is -1"),
    "pickled": (np.array([{}] * DIM), "c-optimal", "must be a whole .npy of numbers"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_matrices_are_refused_before_anything_is_written(
    case: str, run: Path, tmp_path: Path, capsys
) -> None:
    made, criterion, message = WRONG[case]
    np.save(tmp_path / "w.npy", made, allow_pickle=True)
    before = tree(run)
    command = ["--criterion", criterion, "--matrix", tmp_path / "w.npy"]
    assert message in fails(capsys, "select", "--run", run, "--budget", BUDGET, *command)
    assert tree(run) == before


def test_a_matrix_is_given_where_one_is_needed_and_only_there(
    run: Path, tmp_path: Path, capsys
) -> None:
    path = tmp_path / "w.npy"
    select = ["select", "--run", run, "--budget", BUDGET, "--criterion"]
    assert "pass --matrix FILE.npy" in fails(capsys, *select, "c-optimal")
    assert f"{path} does not" in fails(capsys, *select, "c-optimal", "--matrix", path)
    path.write_bytes(b"\x93NUMPY\x01\x00half")
    assert "whole .npy" in fails(capsys, *select, "i-optimal", "--matrix", path)
    np.savez(tmp_path / "w.npz", np.ones(DIM))
    assert "is an .npz" in fails(capsys, *select, "c-optimal", "--matrix", tmp_path / "w.npz")
    assert "got it with gap" in fails(capsys, *select, "gap", "--matrix", path)
