import numpy as np
import pytest

from whichpairs.bench import forecast
from whichpairs.bench.pools.log_linear import log_linear
from whichpairs.bench.theory import run


@pytest.mark.slow
def test_realised_gaps_are_within_a_fifth_of_those_predicted() -> None:
    """800 labels; uniform and plug-in designs; weak and strong rewards."""
    cells = run(draws=60, worlds=3)
    assert {(c.reward, c.design) for c in cells} == {
        (reward, design) for reward in ("weak", "strong") for design in ("uniform", "plug-in")
    }
    for cell in cells:
        assert abs(cell.ratio - 1) <= 0.2, cell
        assert cell.error / cell.realised < 0.06, cell


def test_the_designed_batch_saves_half_the_labels_with_weak_rewards() -> None:
    cells = {(c.reward, c.design): c for c in run(draws=5, worlds=2)}
    assert cells["weak", "uniform"].predicted > 1.6 * cells["weak", "plug-in"].predicted


def test_the_truth_is_the_maximiser_and_the_gap_is_a_divergence() -> None:
    """J(π*) − J(π) = β E KL(π ‖ π*): equation 1."""
    world = log_linear(20, 5, 3, 1.0, beta=0.7, seed=0)
    star = world.begin
    assert star is not None
    other = star + np.array([0.4, -0.2, 0.1])
    phi = world.space.features.astype(float).reshape(20, 5, 3)

    def log_policy(theta: np.ndarray) -> np.ndarray:
        tilt = phi @ theta
        return tilt - np.log(np.exp(tilt).sum(axis=1, keepdims=True))

    p, q = log_policy(other), log_policy(star)
    divergence = np.mean(np.sum(np.exp(p) * (p - q), axis=1))
    gap = world.objective(star) - world.objective(other)
    assert gap == pytest.approx(0.7 * divergence, rel=1e-9)


@pytest.mark.slow
def test_the_forecast_page_says_what_its_cells_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """One pool of every belief: ratios are of means, the third belief has no goal."""
    monkeypatch.setattr(forecast, "LABELS", {"prior": (64,), "labels": (80,), "guess": (64,)})
    found = [cell for belief in forecast.LABELS for cell in forecast.cells(belief, 1.0, 0.5, 2)]
    assert [(c.belief, c.labels, c.design) for c in found] == [
        (belief, labels, design)
        for belief, labels in (("prior", 64), ("labels", 80), ("guess", 64))
        for design in ("random", "gap")
    ]
    for cell in found:
        assert cell.ratio == pytest.approx(cell.predicted / cell.realised)
        assert cell.low <= cell.ratio <= cell.high
        assert 0.2 < cell.ratio < 5.0
    shown = forecast.figures(found)
    assert [one.goal for one in shown] == ["0.8 to 1.25"] * 4 + [None] * 2
    assert shown[0].reached == (0.8 <= found[0].ratio <= 1.25)
    text = forecast.page(found, 2)
    assert f"{found[0].ratio:.2f} [{found[0].low:.2f}, {found[0].high:.2f}]" in text
    assert text.index("After 64 random labels") > text.index("Before any label")
