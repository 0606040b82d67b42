"""Criteria of one's own: the example of docs/extending.md runs as it stands there."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from cli import fails, ok, pool_rows, tree, write_jsonl
from whichpairs.report.data.commands import commands
from whichpairs.workflow.select.settings import SelectSettings
from whichpairs.workflow.select.stage import Desk
from whichpairs.workflow.workspace import workspace

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
[EXAMPLE] = re.findall(r"```python\n(.*?)```", PAGE, re.S)


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A pool with features, and the page's file beside it."""
    run = tmp_path / "run"
    rows = write_jsonl(tmp_path / "pool.jsonl", pool_rows(10, 5))
    ok(capsys, "import", rows, "--run", run)
    ok(capsys, "features", "--run", run, "--method", "text", "--dim", "18", "--no-fidelity")
    (tmp_path / "short.py").write_text(EXAMPLE, encoding="utf-8")
    return run


def test_the_page_is_short() -> None:
    assert len(EXAMPLE.splitlines()) <= 20


def test_the_example_picks_a_certified_batch(run: Path, tmp_path: Path, capsys) -> None:
    select = ["select", "--run", run, "--budget", "12", "--controls", "0"]
    found = ok(capsys, *select, "--criterion", tmp_path / "short.py:short")
    assert found["certificate"] < 0.05
    with workspace(run) as space:
        _, _, phi = space.feature_set(None)
        base = Desk(space, SelectSettings(12, "gap")).prior
        lengths = np.array([len(text) for text in space.pool.completions["completion"]])
        few = np.asarray(phi, np.float64)[lengths <= np.quantile(lengths, 0.1)]
        pairs = [json.loads(line) for line in Path(found["batch_file"]).read_text().splitlines()]
        rows = np.array([space.pool.rows((p["id_a"], p["id_b"])) for p in pairs])
        shown = [line for line in commands(space) if " select " in line]
    assert f"--criterion {tmp_path / 'short.py:short'}" in shown[0]
    # At θ = 0 a label's information is β²/4 z zᵀ; the batch is far below random ones of its size.
    z = np.asarray(phi, np.float64)

    def value(pairs: np.ndarray) -> float:
        d = z[pairs[:, 0]] - z[pairs[:, 1]]
        m = base + found["beta"] ** 2 / 4 * d.T @ d
        return float(np.mean(np.sum(few * np.linalg.solve(m, few.T).T, axis=1)))

    rng = np.random.default_rng(0)
    prompts = rng.integers(10, size=(50, 12))
    ends = np.stack([rng.permuted(np.tile(np.arange(5), (50, 1)), axis=1)[:, :2]] * 12, axis=1)
    random = np.mean([value(5 * p[:, None] + e) for p, e in zip(prompts, ends, strict=True)])
    assert value(rows) < 0.9 * random
    again = ok(capsys, *select, "--criterion", tmp_path / "short.py:short")
    assert again["done_before"]
    assert again["batch"] == found["batch"]


def test_another_file_is_another_criterion(run: Path, tmp_path: Path, capsys) -> None:
    select = ["select", "--run", run, "--budget", "4", "--controls", "0"]
    select += ["--criterion", tmp_path / "short.py:short"]
    ok(capsys, *select)
    (tmp_path / "short.py").write_text(EXAMPLE.replace("0.1)", "0.3)"), encoding="utf-8")
    assert "picked pairs are labelled before the next are picked" in fails(capsys, *select)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (None, "a criterion's file must be readable; there is no "),
        ("x = 1\n", "has nothing named 'short'"),
        ("short = 1\n", "a criterion is a function"),
        ("def short(known:\n", "a criterion's file must run"),
        ("def short(known): return nothing\n", "must run; it says: name 'nothing' is not defined"),
        ("def short(known): return 1\n", "must return a criterion of 18 features"),
        (
            "import numpy as np\nfrom whichpairs.design import a_optimal\n"
            "def short(known): return a_optimal(5)\n",
            "must",
        ),
    ],
)
def test_mistakes(code: str | None, message: str, run: Path, tmp_path: Path, capsys) -> None:
    before = tree(run)
    path = tmp_path / "short.py"
    path.unlink() if code is None else path.write_text(code)
    said = fails(capsys, "select", "--run", run, "--budget", "3", "--criterion", f"{path}:short")
    assert message in said
    assert tree(run) == before


def test_a_package_registers_its_criteria(
    run: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "site" / "own_criteria-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-criteria\nVersion: 1.0\n")
    entry = "[whichpairs.criteria]\nshort = own_criteria_module:short\n"
    (info / "entry_points.txt").write_text(entry)
    (tmp_path / "site" / "own_criteria_module.py").write_text(EXAMPLE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    select = ["select", "--run", run, "--budget", "4", "--controls", "0", "--criterion"]
    assert ok(capsys, *select, "short")["criterion"] == "short"
    assert "best-vs-worst, short, or FILE.py:NAME" in fails(capsys, *select, "shorter")
    sys.modules.pop("own_criteria_module")
