"""Is a batch ever worse than the mean random batch by its own criterion? `make bench-ties`.

Over generated pools in which many pairs are equal or nearly (`tie_pools`), by the certified solve
and by the default, adaptive choice. The mean is over `DRAWS` random batches within the same limits,
drawn with other seeds than those that the check within a solve draws.
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from whichpairs.bench.machine import machine
from whichpairs.bench.markdown import About, Figure, write_page
from whichpairs.bench.pools.tied import FEATURES, TiePool, tie_pool
from whichpairs.design import solve
from whichpairs.design.batches.versus_random import VersusRandom, random_batches, value_of
from whichpairs.design.problem.space import Rows
from whichpairs.design.strategies.adaptive import View, next_batch
from whichpairs.errors import UserError
from whichpairs.streams import bench_stream
from whichpairs.wording import percent

DRAWS = 40
SEED = 1_000
"""Of the random batches that a batch is measured against."""

MEASURES = ("whichpairs.bench.ties",)
"""Where the measuring of this page begins."""

GOAL = 500


@dataclass(frozen=True)
class Row:
    """A batch beside random ones.

    Attributes:
        way: "solve" or "adaptive"; value: f of the batch; random: the mean f of random batches,
            error its standard error; best: f that no batch can be below, where that is known.
        replaced: the check found a batch that is worse, and took a random one.
    """

    number: int
    features: str
    limits: str
    criterion: str
    way: str
    labels: int
    dim: int
    value: float
    random: float
    error: float
    best: float | None
    replaced: bool

    @property
    def worse(self) -> bool:
        """Whether the batch is worse than the mean random batch, beyond what the draws leave
        open."""
        return bool(self.value > self.random + 3.0 * self.error + 1e-9 * abs(self.random))


def rows_of(pool: TiePool) -> list[Row]:
    """The certified solve's batch of a pool, and the adaptive one for the gap criterion."""
    problem, found = pool.problem, []
    solution = solve(problem)
    found.append(_row(pool, "solve", solution.pairs, solution.versus, solution.bound))
    if problem.criterion.name == "gap":
        view = View(pool.belief, problem.base, problem.criterion, pool.known)  # type: ignore[arg-type]
        try:
            batch = next_batch(
                problem.space,
                pool.beta,
                view,
                problem.budget,
                bench_stream(pool.number, 3),
                limits=problem.limits,
            )
        except UserError:  # the order of random pairs cannot fill these limits
            return found
        if batch.versus is not None:
            found.append(_row(pool, "adaptive", batch.pairs, batch.versus, solution.bound))
    return found


def _row(pool: TiePool, way: str, pairs: Rows, versus: VersusRandom | None, bound: float) -> Row:
    problem = pool.problem
    with threadpool_limits(1):
        drawn = random_batches(problem, DRAWS, SEED)
        values = np.array([value_of(problem, batch) for batch in drawn])
        value = value_of(problem, pairs)
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return Row(
        pool.number,
        pool.features,
        pool.limits,
        problem.criterion.name,
        way,
        len(pairs),
        problem.space.dim,
        value,
        float(values.mean()) if len(values) else np.inf,
        spread / max(len(values), 1) ** 0.5,
        float(bound) if np.isfinite(bound) else None,
        versus is not None and versus.replaced,
    )


def measure(numbers: Iterable[int]) -> list[Row]:
    """Rows of these pools."""
    return [row for number in numbers for row in rows_of(tie_pool(number))]


def upper(found: int, of: int) -> float:
    """The share that `found` of `of` leaves open, 95 %: Wilson's upper limit, or 3 ÷ n for none."""
    if found == 0:
        return 3.0 / max(of, 1)
    p, z = found / of, 1.96
    middle, half = p + z**2 / (2 * of), z * (p * (1 - p) / of + z**2 / (4 * of**2)) ** 0.5
    return float((middle + half) / (1 + z**2 / of))


def results(rows: list[Row], seconds: float) -> dict[str, Any]:
    """The page's numbers."""
    pools = len({row.number for row in rows})
    worse, replaced = [r for r in rows if r.worse], [r for r in rows if r.replaced]
    shares = [
        (r.value - r.best) / (r.random - r.best)
        for r in rows
        if r.way == "solve" and r.best is not None and r.random > r.best * (1.0 + 1e-3) > 0.0
    ]
    figures = [
        Figure(
            "worse than random",
            len(worse),
            0,
            round(upper(len(worse), len(rows)) * len(rows), 1),
            f"0 of ≥ {GOAL} pools",
            not worse and pools >= GOAL,
        ),
        Figure(
            "replaced by a random batch",
            len(replaced),
            0,
            round(upper(len(replaced), len(rows)) * len(rows), 1),
            "said",
            True,
        ),
    ]
    return {
        "pools": pools,
        "batches": len(rows),
        "excess left, median": float(np.median(shares)) if shares else None,
        "figures": figures,
        "seconds": round(seconds, 1),
        "rows": [asdict(r) for r in rows if r.worse or r.replaced],
        "by features": {
            name: dict(Counter(_standing(r) for r in rows if r.features == name))
            for name in FEATURES
        },
    }


def _standing(row: Row) -> str:
    return "worse" if row.worse else "replaced" if row.replaced else "better"


def page(r: dict[str, Any]) -> str:
    """docs/results/ties.md."""
    worse, replaced = (one.as_json() for one in r["figures"])
    lines = [
        "# Pools with ties",
        "",
        f"{worse['value']:g} of {r['batches']} batches on {r['pools']} generated pools are worse "
        "than "
        f"the mean random batch by their own criterion (goal: {worse['goal']}; "
        f"{'reached' if worse['reached'] else 'missed'}). In {replaced['value']:g} the check "
        "before a "
        "batch is returned found it worse, and gave the best of 20 random ones, bettered, in its "
        "place.",
        "",
        "The pools: one-hot and tabular features, the same completions under many prompts "
        "(exactly, but "
        "for rounding, nearly), duplicates, collinear features, whole numbers, outliers; float16, "
        "float32 and float64; half of them with limits on prompts, completions, groups, costs or "
        "named "
        "pairs; from one label to 150 a dimension. Each batch is compared with the mean of "
        f"{DRAWS} random ones within the same limits; worse is by more than three standard errors "
        "of "
        "that mean.",
        "",
        "| features | better | replaced | worse |",
        "|---|---|---|---|",
    ]
    for name, count in r["by features"].items():
        some = [str(count.get(key, 0)) for key in ("better", "replaced", "worse")]
        lines.append(f"| {name} | " + " | ".join(some) + " |")
    lines += [
        "",
        "What the certified solve leaves of random's excess over the bound, median: "
        f"{percent(r['excess left, median'])}.",
        "",
    ]
    for row in r["rows"]:
        what = "worse" if row["value"] > row["random"] + 3 * row["error"] else "replaced"
        lines.append(
            f"- pool {row['number']} ({row['features']}, {row['limits']}, {row['criterion']}, "
            f"{row['way']}): {what}; f {row['value']:.6g}, random's {row['random']:.6g}"
        )
    lines += ["", f"`make bench-ties`, {r['seconds']:.0f} s on {machine()['processor']}.", ""]
    return "\n".join(lines)


def main() -> None:
    """Measure, print the count, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pools", type=int, default=720)
    parser.add_argument("--results", type=Path, default=None)
    settings = parser.parse_args()
    started = time.perf_counter()
    found = results(measure(range(settings.pools)), time.perf_counter() - started)
    found["seconds"] = round(time.perf_counter() - started, 1)
    worse, replaced = (f"{figure.value:g}" for figure in found["figures"])
    print(
        f"{worse} of {found['batches']} batches on {found['pools']} pools worse than the mean "
        "random "
        f"batch; {replaced} replaced by a random one; {found['seconds']:.0f} s"
    )
    if settings.results is not None:
        about, figures = About("make bench-ties", MEASURES), found["figures"]
        facts = {name: value for name, value in found.items() if name != "figures"}
        write_page(settings.results, "ties", about, figures, facts, page(found))


if __name__ == "__main__":
    main()
