"""Do probabilities and intervals mean what they say? `make bench-calibration` writes the page.

Three questions, in simulations where the truth is known: are the probabilities of a fit calibrated;
how often do intervals hold what they should; and how often do labels of a coin pass for convincing.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import stats
from scipy.special import expit, xlogy

from whichpairs.bench.calibration.page import write
from whichpairs.design.estimate.bradley_terry import fit, log_loss
from whichpairs.design.estimate.calibrate import calibrate
from whichpairs.design.strategies.adaptive import Evidence
from whichpairs.evaluate.interval import Interval, bounded_interval, interval
from whichpairs.streams import bench_stream

DIM, BETA, TAU = 32, 0.1, 1.5
SPREADS, LABELS = (0.3, 0.5, 1.5), (100, 200, 500)
FRESH = 1500
"""Fresh pairs on which a fit's probabilities are judged, by their true P."""


POLICY_WORLDS = 300
"""Worlds on which the policy's own margins are looked at, for comparison."""


@dataclass(frozen=True)
class Cell:
    """One margin spread and number of labels, over worlds.

    Attributes:
        signal: nats that the true P gains over a coin on all the labels together.
        slope, policy_slope: of the fresh labels on the logit, calibrated and of the policy's
            margins; pooled over worlds (a world with no signal has no slope of its own), with ends
            by a bootstrap of worlds.
        loss, policy_loss: log loss of the two less a coin's, in nats a label.
    """

    spread: float
    labels: int
    signal: float
    slope: Interval
    policy_slope: Interval
    loss: Interval
    policy_loss: Interval


@dataclass(frozen=True)
class Coverage:
    """How often an interval held the truth, at its worst setting.

    Attributes:
        kind: of values; units: prompts; covered: share of draws; where: the setting;
            plain: what Student's t covers at its own worst.
    """

    kind: str
    units: int
    covered: float
    plain: float
    draws: int
    where: str


def slope(logits: np.ndarray, p: np.ndarray) -> float:
    """The slope of the logistic regression, without an intercept, of labels of true `p` on
    logits."""
    if not np.abs(logits).max() > 1e-12:
        return float("nan")
    at = 1.0
    for _ in range(200):
        q = expit(at * logits)
        step = np.sum((q - p) * logits) / np.sum(q * (1.0 - q) * logits**2)
        at -= float(np.clip(step, -2.0, 2.0))
        if abs(step) < 1e-8:
            break
    return at


def cell(spread: float, labels: int, worlds: int, dim: int = DIM) -> Cell:
    """The table's cell: Gaussian differences, Bradley–Terry answers, θ* of random direction."""
    logits, margins, truth, gained = [], [], [], []
    for world in range(worlds):
        rng = bench_stream(world, labels, 31)
        z = np.sqrt(2.0) * rng.standard_normal((labels + FRESH, dim))
        theta = rng.standard_normal(dim)
        theta *= spread / (np.sqrt(2.0) * BETA * np.linalg.norm(theta))
        p = expit(BETA * (z @ theta))
        wins = (rng.random(labels) < p[:labels]).astype(np.float64)
        h0 = BETA**2 * 2.0 * dim / TAU**2 * np.eye(dim)
        inside, fresh = z[:labels], z[labels:]
        logits.append(calibrate(inside, wins, BETA, h0).logits(fresh, BETA))
        if world < POLICY_WORLDS:
            fitted = fit(inside, wins, BETA, h0, np.arange(labels), seed=world)
            margins.append(BETA * (fresh @ fitted.theta))
        truth.append(p[labels:])
        gained.append(labels * (np.log(2.0) + np.mean(xlogy(p, p) + xlogy(1.0 - p, 1.0 - p))))
    p, coin = np.array(truth), float(np.log(2.0))
    losses = [
        interval(np.array([log_loss(m, q) for m, q in zip(one, p, strict=False)]) - coin)
        for one in (logits, margins)
    ]
    pooled = [_pooled(np.array(one), p[: len(one)]) for one in (logits, margins)]
    return Cell(spread, labels, float(np.mean(gained)), *pooled, *losses)


def _pooled(logits: np.ndarray, p: np.ndarray, draws: int = 1000) -> Interval:
    """One slope over all worlds; each is a step of Newton's method from there in the bootstrap."""
    found = slope(logits.ravel(), p.ravel())
    q = expit(found * logits)
    pull = np.sum((p - q) * logits, axis=1)
    weight = np.sum(q * (1.0 - q) * logits**2, axis=1)
    rng = bench_stream(0, 32)
    picked = rng.integers(0, len(p), (draws, len(p)))
    slopes = found + pull[picked].sum(axis=1) / weight[picked].sum(axis=1)
    low, high = np.quantile(slopes, [0.025, 0.975])
    return Interval(found, float(slopes.std()), float(low), float(high))


def convincing(trials: int, labels: int, dim: int = DIM) -> tuple[int, int]:
    """How many trials with labels of a coin a fit is held convincing in (`Evidence.convincing`)."""
    passed = 0
    for trial in range(trials):
        rng = bench_stream(trial, labels, 33)
        z = np.sqrt(2.0) * rng.standard_normal((labels, dim))
        wins = rng.integers(0, 2, labels).astype(np.float64)
        h0 = BETA**2 * 2.0 * dim / TAU**2 * np.eye(dim)
        fitted = fit(z, wins, BETA, h0, np.arange(labels), seed=trial)
        none = np.empty((0, 2), np.int64)
        passed += Evidence(none, wins, np.arange(labels), fitted).convincing
    return passed, trials


SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
SAMPLES = ((1, 0.0), (3, 0.0), (3, 0.5), (8, 0.2), (8, 0.6))
"""Comparisons a prompt, and how alike they are: the correlation of two of one prompt."""


def shares(units: int, draws: int) -> Iterator[tuple[str, float, np.ndarray]]:
    """Win rates by prompt: a name, the truth, (draws, units) means over a prompt's comparisons."""
    for samples, alike in SAMPLES:
        for p in SHARES:
            for ties in (0.0, 0.5):
                rng = bench_stream(units, samples, round(100 * p), round(10 * alike), 34)
                of_prompt = np.full((draws, units, 1), p)
                if alike:
                    a = (1.0 - alike) / alike
                    of_prompt = rng.beta(p * a, (1.0 - p) * a, (draws, units, 1))
                wins = (rng.random((draws, units, samples)) < of_prompt).astype(np.float64)
                # As many wins as losses become ties, so that the truth stays p.
                least = ties * np.minimum(of_prompt, 1.0 - of_prompt)
                chance = np.where(
                    wins > 0, of_prompt, 1.0 - of_prompt
                )  # of what was drawn: above 0
                odds = least / chance
                wins[rng.random(wins.shape) < odds] = 0.5
                name = f"p = {p}, {samples} a prompt, alike {alike}, ties {ties}"
                yield name, p, wins.mean(axis=2)


def tails(units: int, draws: int) -> Iterator[tuple[str, float, np.ndarray]]:
    """KL's like: a name, the mean, (draws, units) values."""
    kinds: dict[str, tuple[float, Callable[[np.random.Generator], np.ndarray]]] = {
        "normal": (0.0, lambda rng: rng.standard_normal((draws, units))),
        "Student's t, 4 degrees": (0.0, lambda rng: rng.standard_t(4, (draws, units))),
        "exponential": (1.0, lambda rng: rng.exponential(size=(draws, units))),
        "gamma, shape ½": (0.5, lambda rng: rng.gamma(0.5, size=(draws, units))),
    }
    for sd in (0.5, 0.8, 1.0):
        kinds[f"log-normal, σ = {sd}"] = (
            float(np.exp(sd**2 / 2)),
            lambda rng, sd=sd: np.exp(sd * rng.standard_normal((draws, units))),  # type: ignore[misc]
        )
    for k, (name, (mean, draw)) in enumerate(kinds.items()):
        yield name, mean, draw(bench_stream(units, k, 35))


def coverage(kind: str, units: int, draws: int) -> Coverage:
    """The worst setting of a kind (``shares`` or ``tails``) at so many prompts."""
    settings = shares if kind == "shares" else tails
    of = bounded_interval if kind == "shares" else interval
    found = []
    for name, truth, values in settings(units, draws):
        ends = np.array([(one.low, one.high) for one in map(of, values)])
        held = np.mean((ends[:, 0] <= truth + 1e-12) & (truth - 1e-12 <= ends[:, 1]))
        error = values.std(axis=1, ddof=1) / np.sqrt(units)
        reach = stats.t.ppf(0.975, units - 1) * error
        plain = np.mean(np.abs(values.mean(axis=1) - truth) <= reach + 1e-12)
        found.append(Coverage(kind, units, float(held), float(plain), draws, name))
    worst = min(found, key=lambda one: one.covered)
    return replace(worst, plain=min(one.plain for one in found))


def main() -> None:
    """Measure, print and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a taste, in seconds")
    parser.add_argument("--results", type=Path, default=Path("docs/results"))
    settings = parser.parse_args()
    worlds, draws, trials = (20, 200, 40) if settings.quick else (1500, 3000, 750)
    cells = [cell(spread, n, worlds) for spread in SPREADS for n in LABELS]
    covered = [coverage(kind, n, draws) for kind in ("shares", "tails") for n in (20, 50)]
    passed = {n: convincing(trials, n) for n in LABELS}
    print(write(settings.results, cells, covered, passed, worlds))


if __name__ == "__main__":
    main()
