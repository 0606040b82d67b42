"""recipes/paper: the area between frontiers against a slow twin, its interval, and the whole of it in small."""

import argparse
import json
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest

RECIPE = Path(__file__).parents[1] / "recipes" / "paper"


def module(name: str) -> ModuleType:
    """One of the recipe's; after all other rooms, for recipes share names."""
    if str(RECIPE) not in sys.path:
        sys.path.append(str(RECIPE))
    return import_module(name)


@pytest.fixture(scope="module")
def frontier() -> ModuleType:
    return module("frontier")


def slow_area(ours: np.ndarray, theirs: np.ndarray, pieces: int = 20_000) -> tuple[float, float]:
    """A and k by a sum of thin strips, each curve read off at its middle, knot by knot."""

    def height(curve: np.ndarray, x: float) -> float:
        for (x0, x1), (y0, y1) in zip(
            zip(curve[0], curve[0][1:], strict=False),
            zip(curve[1], curve[1][1:], strict=False),
            strict=True,
        ):
            if x0 <= x <= x1 and x1 > x0:
                return float(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
        raise AssertionError("beyond the curve")

    upto = min(max(ours[0]), max(theirs[0]))
    width = upto / pieces
    middles = [(k + 0.5) * width for k in range(pieces)]
    return sum(width * (height(ours, x) - height(theirs, x)) for x in middles), upto


def test_the_area_is_that_of_thin_strips(frontier: ModuleType) -> None:
    by_hand = frontier.between(np.array([[0, 1, 2], [0, 1, 1]]), np.array([[0, 4], [0, 2]]))
    assert by_hand == pytest.approx((0.5, 2.0))  # ours 0.5 + 1, theirs 1, up to the smaller KL
    rng = np.random.default_rng(0)
    for _ in range(4):
        curves = [
            np.stack([np.concatenate([[0.0], np.cumsum(rng.random(n))]), np.append(0, rng.normal(size=n))])
            for n in (2, 5)
        ]  # fmt: skip
        assert frontier.between(*curves) == pytest.approx(slow_area(*curves, 2000), abs=2e-3)
        back = frontier.between(*curves[::-1])
        assert back[0] == pytest.approx(-frontier.between(*curves)[0])


def test_a_method_ahead_everywhere_is_ahead_beyond_the_noise(frontier: ModuleType) -> None:
    """Reward 2 k against k at the KLs 0.5 and 1 (given in falling order), noise small and shared."""
    rng = np.random.default_rng(1)
    kl = np.array([1.0, 0.5])[:, None, None] * np.ones((2, 6, 8))
    noise = 0.05 * rng.normal(size=(2, 6, 8))
    steep, flat = (frontier.Runs(kl, slope * kl + noise) for slope in (2.0, 1.0))
    found = frontier.area(steep, flat, comparisons=2, draws=200)
    assert (found.value, found.upto, found.height) == pytest.approx((0.5, 1.0, 0.5))
    assert found.low == pytest.approx(0.5)  # the noise is the same and cancels
    other = frontier.Runs(kl, flat.reward + 0.5 * rng.normal(size=(2, 6, 8)))
    unsure = frontier.area(other, flat, draws=200)
    assert unsure.low < 0 < unsure.high
    alone = frontier.Runs(kl[:, :1], flat.reward[:, :1])
    assert frontier.area(alone, alone).low is None


@pytest.mark.slow
def test_the_experiments_in_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pool, features, one run of every method and the page, with the shipped models, in this process."""
    paper, kept = module("paper"), module("kept")
    monkeypatch.setattr(paper, "keep_all", lambda jobs, *how: [kept.keep(job) for job in jobs])
    settings = json.loads((RECIPE / "settings.json").read_text(encoding="utf-8"))
    settings |= {"dim": 16, "new_tokens": 4, "batch_size": 4, "strengths": [[1e-2, 1]]}
    tiny = {"prompts": 10, "completions": 2, "labels": 4, "runs": 1, "held_out": 2, "samples": 2}
    settings["subset"]["prompts"] = tiny
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(settings), encoding="utf-8")
    command = ["paper.py", "--settings", str(path), "--sections", "prompts", "--out", str(tmp_path)]
    command += ["--dtype", "float32", "--layers", "top:1"]
    for name, folder in {"policy": "model", "reward": "reward"}.items():
        command += [f"--{name}", str(RECIPE.parent / "imdb" / folder)]
    monkeypatch.setattr(sys, "argv", command)
    paper.main()
    page = json.loads((tmp_path / "paper.json").read_text(encoding="utf-8"))
    cells = page["sections"]["IMDb: prompt selection"]["cells"]
    assert [one["method"] for one in cells] == ["the first", "random", "paper", "gap"]
    first = next((tmp_path / "prompts").glob("*/runs/the-first-0/batches/001/pairs.jsonl"))
    picked = [json.loads(line)["prompt"] for line in first.read_text().splitlines()]
    pool = [json.loads(line)["prompt"] for line in (first.parents[4] / "pool.jsonl").open()]
    folder = first.parents[2] / "pool"
    told = pl.read_parquet(folder / "completions.parquet").join(
        pl.read_parquet(folder / "prompts.parquet"), on="prompt_id"
    )
    pairs = Counter(told["prompt"])  # an empty completion is not in the pool
    assert sorted(picked) == sorted(
        [p for p in pool if pairs[p] == 2][:4]
    )  # the first that have one
    for one in cells:
        (policy,) = one["policies"]
        assert one["labels"] == 4
        assert min(policy["kl"]) > 0  # it was trained
        assert len(policy["reward"]) == 2
    headline = page["figures"]["P4d_prompt"]
    areas = [page["figures"][f"prompts: area, gap − {b}"]["value"] for b in ("the first", "random")]
    assert headline["value"] == min(areas)
    assert (headline["low"], headline["reached"]) == (None, False)  # one run has no interval
    assert page["figures"]["P4d_response"]["value"] is None
    text = (tmp_path / "paper.md").read_text(encoding="utf-8")
    assert text.count("**Not run**") == 3


@pytest.mark.slow
def test_the_model_and_the_reward_are_the_imdb_recipes_unless_told_otherwise() -> None:
    """Found by their own code: where that moved, prompts and responses were left out in silence."""
    paper = module("paper")
    said = paper.models_of(
        argparse.Namespace(policy=None, reward=None, openings=None, dtype=None, layers=None),
        {"dtype": "float32", "layers": "all"},
    )
    assert not isinstance(said, str), said
    assert (Path(said.reward) / "model.safetensors").is_file()
    assert Path(said.policy).name == "smollm2"
