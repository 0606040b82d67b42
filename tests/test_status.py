"""`whichpairs status`: the same facts in the text and in the JSON, and at little cost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli import fails, ok
from whichpairs.workflow.import_pool import import_pool
from whichpairs.workflow.status import _lines, status


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A small run whose rows have what a generation writes beside its completions."""
    rows = [
        {"prompt": f"question {p}", "completion": f"answer {p * c} of {c}", "score": c + p / 9}
        | {"tokens": c + 1, "logprob": -1.5 * c}
        for p in range(12)
        for c in range(4)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ok(capsys, "import", tmp_path / "rows.jsonl", "--run", tmp_path / "run")
    return tmp_path / "run"


def test_the_text_says_nothing_that_the_json_lacks(run: Path, capsys) -> None:
    ok(capsys, "features", "--run", run, "--method", "text")
    ok(capsys, "select", "--run", run, "--budget", 8)
    ok(capsys, "label", "--run", run, "--simulate", "score")
    (run / "features.partial" / "slow").mkdir(parents=True)
    (run / "features.partial" / "slow" / "settings.json").write_text("{}")
    said = ok(capsys, "status", "--run", run)
    assert said["scores"] == said["score_columns"] == ["score"]
    assert said["unfinished_features"] == ["slow"]
    batch = said["batch_results"]["001"]
    assert (batch["picked"], batch["labels"], batch["criterion"]) == (8, 8, "adaptive")
    lines = [f"{name:12} {text}" for name, text in _lines(said)]
    assert status(run).message.startswith("\n".join(lines))
    assert "scores       score (a column of the pool)" in lines
    assert f"predicted gap {batch['predicted_gap']:.4g}" in "\n".join(lines)


def test_what_a_generation_writes_down_is_no_score(run: Path, capsys, tmp_path: Path) -> None:
    """Not listed, neither here nor where a name is wrong; who names one explicitly means it."""
    assert ok(capsys, "status", "--run", run)["scores"] == ["score"]
    ok(capsys, "features", "--run", run, "--method", "text")
    ok(capsys, "select", "--run", run, "--budget", 8)
    assert "got 'nope'; there is score." in fails(
        capsys, "label", "--run", run, "--simulate", "nope"
    )
    chosen = ("--score-column", "logprob")
    ok(capsys, "import", tmp_path / "rows.jsonl", "--run", tmp_path / "other", *chosen)
    assert ok(capsys, "status", "--run", tmp_path / "other")["scores"] == ["logprob", "score"]


def test_an_older_pool_is_looked_at_itself(run: Path) -> None:
    manifest = json.loads((run / "pool" / "manifest.json").read_text())
    del manifest["result"]["numeric_columns"]
    (run / "pool" / "manifest.json").write_text(json.dumps(manifest))
    assert status(run).result["scores"] == ["score"]


def test_numbers_are_scores_once_they_are_used_as_such(capsys, tmp_path: Path) -> None:
    """A length, a place or an identifier is no score; a label or an evaluation by one makes it one."""
    rows = [
        {"prompt": f"question {p}", "completion": f"answer {p * c} of {c}", "prompt_id": p}
        | {"utility": c - p / 9, "quality": p + c / 2, "length": c}
        for p in range(12)
        for c in range(4)
    ]
    (tmp_path / "other.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    other = tmp_path / "other"
    imported = import_pool(tmp_path / "other.jsonl", other, holdout=0.25)
    assert imported.result["renamed_columns"] == {"prompt_id": "prompt_id_as_read"}
    assert (
        "'prompt_id' is kept as 'prompt_id_as_read', for the pool has a prompt_id of its own."
        in imported.message
    )
    everything = ["prompt_id_as_read", "utility", "quality", "length"]
    said = ok(capsys, "status", "--run", other)
    assert (said["scores"], said["numeric_columns"]) == ([], everything)
    assert f"numbers      {', '.join(everything)} (other numeric columns)" in status(other).message
    ok(capsys, "features", "--run", other, "--method", "text")
    ok(capsys, "select", "--run", other, "--budget", 8)
    ok(capsys, "label", "--run", other, "--simulate", "utility")
    said = ok(capsys, "status", "--run", other)
    assert said["scores"] == said["score_columns"] == ["utility"]
    ok(capsys, "fit", "--run", other)
    ok(capsys, "evaluate", "--run", other, "--score", "quality")
    said = ok(capsys, "status", "--run", other)
    assert said["scores"] == ["utility", "quality"]
    assert said["numeric_columns"] == ["prompt_id_as_read", "length"]


def test_status_loads_little(run: Path) -> None:
    """It took 1.5 s, nearly all of it for the solver and the data frames that it does not use."""
    code = (
        "import sys\nfrom whichpairs.cli import main\n"
        f"try: main(['status', '--run', {str(run)!r}])\nexcept SystemExit: pass\n"
        "print('LOADED', *({'torch', 'scipy', 'sklearn', 'matplotlib', 'polars', 'rich', "
        "'whichpairs.design'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "score (a column of the pool)" in done.stdout
    assert done.stdout.strip().endswith("LOADED")
