"""The bench of the design engine: its pools, its figures on small ones, and the page as it stands."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from whichpairs.bench.engine import measure as design_measure
from whichpairs.bench.engine import run as design
from whichpairs.bench.engine.measure import against_greedy, pass_speed, problem_of, whole_solve
from whichpairs.bench.engine.page import figures, page
from whichpairs.bench.methods.greedy import accelerated_greedy
from whichpairs.bench.pools.streamed import KINDS, make_pool
from whichpairs.design import information
from whichpairs.design.sweep.kernel import NumpyKernel

RESULTS = Path(__file__).parent.parent / "docs" / "results"


@pytest.mark.parametrize("kind", KINDS)
def test_pools_are_the_same_on_any_number_of_threads_and_centred(kind: str, tmp_path: Path) -> None:
    one = make_pool(None, kind, 3000, 4, 5, seed=1, threads=1)
    two = make_pool(tmp_path / "phi.npy", kind, 3000, 4, 5, seed=1, threads=2)
    other = make_pool(None, kind, 3000, 4, 5, seed=2)
    assert np.array_equal(one.features, two.features)
    assert not np.array_equal(one.features, other.features)
    phi = one.features.astype(float).reshape(3000, 4, 5)
    assert np.abs(phi.mean(axis=1)).max() < 2e-3
    spread = phi.std(axis=(0, 1))
    assert (spread[0] > 1.8 * spread[4]) == (kind != "isotropic")
    by_prompt = phi.std(axis=(1, 2))
    assert (by_prompt.std() / by_prompt.mean() > 0.4) == (kind == "uneven")


def test_a_solve_is_measured_with_its_certificate() -> None:
    space = make_pool(None, "steep", 400, 8, 6)
    found = whole_solve(space, 300, 1e-2, NumpyKernel(), 1, full=True)
    assert found["pairs"] == 400 * 28
    assert found["certificate"] == pytest.approx(found["value"] / found["bound"] - 1.0)
    assert 0.0 <= found["certificate"] <= 1e-2
    assert found["passes_to_1_percent"] == found["passes"]


def test_a_pass_counts_the_operations_of_its_products(monkeypatch: pytest.MonkeyPatch) -> None:
    peak = partial(design_measure.gemm_peak, size=256)
    monkeypatch.setattr(design_measure, "gemm_peak", peak)
    speed = pass_speed(make_pool(None, "isotropic", 300, 4, 8), NumpyKernel(), 1, 50, tries=1)
    operations = 300 * (2 * 4 * 8 * 8 + 2 * 4 * 4 * 8)
    assert speed.share == pytest.approx(operations / speed.seconds / (speed.peak_gflops * 1e9))
    assert speed.pairs_per_second == pytest.approx(1800 / speed.seconds)


def test_a_rival_is_compared_on_the_same_problem() -> None:
    space = make_pool(None, "isotropic", 200, 6, 4)
    found = against_greedy(space, 60, accelerated_greedy, 60.0, NumpyKernel(), 1)
    problem = problem_of(space, 60, d_optimal=True, ridge=1e-2)
    run = accelerated_greedy(space, problem.base, 0.25, 60, threads=1)
    m = problem.base + information(space, run.pairs, problem.weights)
    assert found["rival_value"] == pytest.approx(-np.linalg.slogdet(m)[1])
    assert found["finished"]
    assert found["ours_value"] <= found["rival_value"] + 1e-9
    bound = found["ours_value"] - 4.0 * np.log1p(found["ours_certificate"])  # d = 4
    assert bound <= found["rival_value"]


def test_the_page_stands_as_its_figures_print_it() -> None:
    found = json.loads((RESULTS / "design.json").read_text())
    assert (RESULTS / "design.md").read_text() == page(found["parts"], quick=False)
    parts = {name: part["figures"] for name, part in found["parts"].items()}
    assert found["figures"] == {one.name: one.as_json() for one in figures(parts)}


def test_a_part_of_other_code_is_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "passes.json"
    assert not design._is_new(path)
    path.write_text(json.dumps({"code": design.short(design.MEASURES)}))
    assert design._is_new(path)
    path.write_text(json.dumps({"code": "another"}))
    assert not design._is_new(path)
