"""The recipes run as their READMEs say, on a part of their data."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from whichpairs import status

ROOT = Path(__file__).parents[1]
ALPACA = ROOT.parent / "shared" / "data" / "alpaca_eval_core.parquet"


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_demo_in_small(tmp_path: Path) -> None:
    """Every step of the demo with the shipped model and real TRL, on few prompts and labels."""
    demo = ROOT / "recipes" / "imdb" / "demo.py"
    options = ["--prompts", "24", "--held", "12", "--budget", "16", "--seeds", "1"]
    options += ["--out", str(tmp_path / "demo")]
    done = subprocess.run([sys.executable, str(demo), *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "demo" / "comparison.json").read_text())
    assert [(one["method"], one["criterion"]) for one in found] == [
        ("random", "random"),
        ("random, taught", "random"),
        ("design, taught", "gap"),
    ]
    assert not any(one["taught"] for one in found)  # 16 labels tell a fit nothing, and that is said
    assert "In 2 of 2 trainings the fit knew too little to teach." in done.stdout
    refused = tmp_path / "demo" / "random-taught-0" / "policies"
    assert [one.name for one in refused.iterdir()] == ["001"]  # plain random's: not trained twice
    assert found[1]["by_prompt"] == found[0]["by_prompt"]
    for one in found:
        values = {k: v["mean"] for k, v in one["evaluation"]["policy_values"].items()}
        assert values["J"] == pytest.approx(values["reward"] - 0.1 * values["kl"])
        assert values["kl"] > 0  # it was trained
        assert one["evaluation"]["reference_values"]["kl"]["mean"] == 0
        assert f"{values['J']:.3f}" in done.stdout
    texts = done.stdout.partition("goes on with held-out openings:")[2].splitlines()
    before, after = (
        [line for line in texts if line.startswith(f"    {who}:")] for who in ("before", "after")
    )
    assert len(before) == len(after) == 3
    assert (tmp_path / "demo" / "design-taught-0" / "report.html").exists()
    assert (tmp_path / "demo" / "demo.png").exists()


@pytest.mark.slow
def test_the_experiment_in_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step of the IMDb experiment, ours in its rounds; and a second call computes nothing."""
    script = ROOT / "recipes" / "imdb" / "experiment.py"
    options = ["--tiny", "--openings", "24", "--budgets", "100", "--seeds", "1"]
    options += ["--methods", "random;signal, taught", "--processes", "1"]
    command = [str(script), *options, "--out", str(tmp_path / "work"), "--results", str(tmp_path)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    words = [sys.executable, *command]
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "imdb.json").read_text())
    assert [c["method"] for c in found["cells"]] == ["random", "signal, taught"]
    assert "labels saved, signal, taught: not to be said" in done.stdout  # one seed, one budget
    assert "signal" in (tmp_path / "imdb.md").read_text()
    assert (tmp_path / "imdb.png").exists()
    ours = Path(found["cells"][1]["run"])
    rounds = [
        json.loads(p.read_text())["result"]
        for p in sorted((ours / "batches").glob("*/manifest.json"))
    ]
    assert [r["picked"] for r in rounds] == [25, 25, 25, 25]
    assert [r["random_picked"] for r in rounds] == [
        25,
        25,
        25,
        25,
    ]  # no fit of so few labels convinces
    _every_method_picks(next((tmp_path / "work").rglob("tiny-*/pool")), tmp_path, monkeypatch)
    cells = {p: p.stat().st_mtime_ns for p in (tmp_path / "work").rglob("cells/*.json")}
    assert len(cells) == 2
    _call_again(command, monkeypatch)
    assert cells == {p: p.stat().st_mtime_ns for p in cells}


def _call_again(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process: what starts a second time is not what is looked at."""
    import experiment

    monkeypatch.setattr(sys, "argv", command)
    experiment.main()


def _every_method_picks(base: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the full grid too: 100 labels each, without the training."""
    monkeypatch.syspath_prepend(str(ROOT / "recipes" / "imdb"))
    import experiment
    import lab

    picked = {}
    ways = {replace(how, taught=False): name for name, how in experiment.METHODS.items()}
    for number, name in enumerate(ways.values()):
        run = folder / f"run-{number}"
        lab.copy_run(base, run)
        lab.pick_and_label(run, experiment.trial_of(lab.TINY, name, 100, 0))
        assert status(run).result["labels"] == 100
        lines = [p.read_text() for p in sorted((run / "batches").glob("*/pairs.jsonl"))]
        rows = [json.loads(line) for text in lines for line in text.splitlines()]
        picked[name] = {row["pair_id"] for row in rows}
    everything = list(picked.values())
    assert all(a != b for i, a in enumerate(everything) for b in everything[:i])


def test_labels_saved_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours is where random is with twice the labels; where random gains nothing, nothing counts."""
    monkeypatch.syspath_prepend(str(ROOT / "recipes" / "imdb"))
    from findings import saved

    def cells(method: str, curve: dict[int, float]) -> list[dict[str, Any]]:
        wiggle = (-0.01, 0.01)
        return [
            {
                "method": method,
                "budget": b,
                "seed": s,
                "by_prompt": {"gain": [j + w - p, j + w + p]},
            }
            for b, j in curve.items()
            for s, (w, p) in enumerate(zip(wiggle, (0.002, 0.003), strict=True))
        ]

    random = cells("random", {100: 0.0, 200: 0.2, 400: 0.4, 800: 0.6})
    ours = cells("ours", {100: 0.2, 200: 0.4, 400: 0.6, 800: 0.8})
    half = saved([*random, *ours], "ours")
    assert half.levels == (200, 400, 800)
    assert half.ratios == pytest.approx((2.0, 2.0, 2.0))
    assert half.beyond == (0, 0, 0)
    assert half.total is not None
    assert half.total.low < half.total.mean < half.total.high
    slow = saved([*random, *cells("slow", {100: 0.0, 200: 0.0, 400: 0.0, 800: 0.3})], "slow")
    assert slow.ratios == pytest.approx((200 / 400 / 2 ** (2 / 3), 400 / 800, 800 / 800))
    assert slow.beyond == (0, -1, -1)
    assert slow.total is not None
    assert slow.total.low == 0  # two levels that it never reached: nothing bounds them from below
    bent = {100: 0.1, 200: 0.3, 400: 0.25, 800: 0.5}
    same = saved([*cells("random", bent), *cells("twin", bent)], "twin")
    assert same.ratios == pytest.approx((1.0, 1.0, 1.0, 1.0))
    none = saved(
        [*cells("random", {100: 0.0, 200: -0.1}), *cells("ours", {100: 1, 200: 1})], "ours"
    )
    assert none.total is None
