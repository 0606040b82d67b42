"""What a selection says of random and of itself, from its parts once more."""

from pathlib import Path

import numpy as np
import pytest

from cli import ok, pool_rows, write_jsonl
from whichpairs.design import information, prior
from whichpairs.design.batches.random import random_pairs
from whichpairs.design.forecast.predicted_gap import Forecast, Known
from whichpairs.pool.columns import Columns
from whichpairs.streams import Stream, stream
from whichpairs.workflow.features.settings import FeatureSettings
from whichpairs.workflow.features.stage import compute_features
from whichpairs.workflow.import_pool import import_pool
from whichpairs.workflow.select.settings import SelectSettings
from whichpairs.workflow.select.stage import Desk
from whichpairs.workflow.workspace import workspace

pytestmark = pytest.mark.usefixtures("few_draws")
SEED, BUDGET = 5, 7


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """12 prompts of 4 completions, three features, a seed of its own."""
    folder = tmp_path_factory.mktemp("numbers")
    source, run = write_jsonl(folder / "pool.jsonl", pool_rows(12, 4)), folder / "run"
    import_pool(source, run, Columns(scores=("score",)), seed=SEED)
    np.save(folder / "phi.npy", np.random.default_rng(0).standard_normal((48, 3)))
    compute_features(run, FeatureSettings("file", file=str(folder / "phi.npy")))
    return run


def test_random_s_criterion_and_the_predicted_gaps_are_what_they_are_called(run, capsys) -> None:
    """f of random batches is their mean; the gaps are the forecast's of the run's own seed."""
    found = ok(capsys, "select", "--run", run, "--criterion", "gap", "--budget", BUDGET)
    with workspace(run) as space:
        space.batches = {}  # as before it
        desk = Desk(space, SelectSettings(BUDGET, "gap"))
        rngs = (stream(SEED, Stream.RANDOM_BATCHES, draw) for draw in range(20))
        drawn = [random_pairs(desk.pairs, BUDGET, rng) for rng in rngs]
        values = [
            desk.gap.value(desk.base + information(desk.pairs, b, desk.weights)) for b in drawn
        ]
        assert found["criterion_random"] == pytest.approx(np.mean(values))
        none = np.empty((0, 2), np.int64)
        known = Known(none, np.empty(0), np.zeros(3), none)
        h0, weight = prior(desk.pairs, desk.beta), space.pool.weight
        forecast = Forecast(desk.pairs, desk.beta, weight, h0, h0, known, seed=SEED)
        assert found["random_predicted_gap"] == pytest.approx(forecast.random(BUDGET).mean())
        assert found["predicted_gap_before"] == pytest.approx(forecast.now().mean())
