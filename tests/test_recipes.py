"""The recipes run as their READMEs say, on a part of their data."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).parents[1]
ALPACA = ROOT.parent / "shared" / "data" / "alpaca_eval_core.parquet"


@pytest.mark.skipif(not ALPACA.exists(), reason=f"{ALPACA} is not here (its licence is not ours)")
def test_alpaca_eval(tmp_path: Path) -> None:
    part = pl.read_parquet(ALPACA).filter(pl.col("prompt_id") < 60)
    part.write_parquet(tmp_path / "part.parquet")
    recipe = ROOT / "recipes" / "alpaca-eval" / "run.sh"
    command = [str(recipe), str(tmp_path / "part.parquet"), str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = (recipe.parent / "README.md").read_text(encoding="utf-8")
    for line in (
        "500 labels",
        "candidate pairs picked by gap (and 1000 control pairs)",
        "gain in J over the reference",
    ):
        assert line in done.stdout
        assert line in expected
    fit = json.loads((tmp_path / "run" / "fits" / "001" / "manifest.json").read_text())["result"]
    assert fit["held_out_accuracy"] > 0.53  # better than a coin, from 500 real-pool labels
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000


def test_the_demo_in_small(tmp_path: Path) -> None:
    """Every step of the demo with the shipped model and real TRL, on few prompts and labels."""
    demo = ROOT / "recipes" / "imdb" / "demo.py"
    options = ["--prompts", "24", "--budget", "16", "--seeds", "1", "--out", str(tmp_path / "demo")]
    done = subprocess.run([sys.executable, str(demo), *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "demo" / "comparison.json").read_text())
    assert {one["criterion"] for one in found} == {"random", "gap"}
    for one in found:
        values = {k: v["mean"] for k, v in one["evaluation"]["policy_values"].items()}
        assert values["J"] == pytest.approx(values["reward"] - 0.1 * values["kl"])
        assert values["kl"] > 0  # it was trained
        assert one["evaluation"]["reference_values"]["kl"]["mean"] == 0
        assert f"{values['J']:.4f}" in done.stdout
    assert (tmp_path / "demo" / "gap-0" / "report.html").exists()
    assert (tmp_path / "demo" / "comparison.png").exists()
