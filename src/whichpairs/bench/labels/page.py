"""The page of the labelling bench, and the figures at its head."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import beta

from whichpairs.bench.labels.load import Load, Speed
from whichpairs.bench.labels.screen import Hostility, Knocks, Looks
from whichpairs.bench.markdown import Figure, goals, table
from whichpairs.streams import bench_stream

MOST_RATIO, MOST_SECONDS = 3.0, 0.2
RESAMPLES = 1000


def figures(
    loads: Sequence[Load], times: Sequence[Speed], hostile: Hostility, seen: Looks, refused: Knocks
) -> list[Figure]:
    """Counts with what may be expected of as many again (Clopper–Pearson), times with bootstrap intervals."""
    both = len({one.back for one in loads}) == 2
    answers = sum(one.answers for one in loads)
    missed = () if both else ("PostgreSQL: no server is installed here",)

    def count(name: str, found: int, of: int, more: tuple[str, ...] = ()) -> Figure:
        low = of * float(beta.ppf(0.025, found, of - found + 1)) if found else 0.0
        high = of * float(beta.ppf(0.975, found + 1, of - found)) if found < of else float(of)
        reached = found == 0 and not more
        return Figure(name, float(found), low, high, f"0 of {of}", reached, more)

    notes = tuple(sorted(set(seen.findings))[:10])
    return [
        count("lost", sum(one.lost for one in loads), answers, missed),
        count("double", sum(one.double for one in loads), answers, missed),
        count("leases_lost", sum(one.leases_lost for one in loads), answers, missed),
        _ratio(times),
        count("hostile_executed", hostile.executed, hostile.shown),
        count("hostile_broken", hostile.broken, hostile.shown, tuple(hostile.notes[:5])),
        count("let_in", len(refused.let_in), refused.tried, tuple(refused.let_in[:5])),
        count("axe_serious", len(seen.findings), seen.pages, notes),
        _seconds(seen.times),
    ]


def _ratio(times: Sequence[Speed]) -> Figure:
    """p99 of an answer with what follows, over p99 of the empty page; annotators are drawn again."""

    def ratio(some: Sequence[Speed]) -> float:
        answers, empty = (
            [t for one in some for t in getattr(one, k)] for k in ("answers", "empty")
        )
        return float(np.quantile(answers, 0.99) / np.quantile(empty, 0.99))

    rng = bench_stream(15, 1)
    drawn = [
        ratio([times[k] for k in rng.integers(len(times), size=len(times))])
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    value, goal = ratio(times), f"at most {MOST_RATIO:g}"
    missed = () if value <= MOST_RATIO else (f"{value:.1f} times the empty page",)
    return Figure("next_pair_ratio", value, float(low), float(high), goal, not missed, missed)


def _seconds(times: Sequence[float]) -> Figure:
    """Mean seconds from a key to the next pair on screen."""
    rng = bench_stream(15, 2)
    drawn = [float(np.mean(rng.choice(times, len(times)))) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    value = float(np.mean(times))
    reached = value <= MOST_SECONDS
    missed = () if reached else (f"the slowest took {max(times):.2f} s",)
    goal = f"at most {MOST_SECONDS:g} s"
    return Figure("seconds_an_answer", value, float(low), float(high), goal, reached, missed)


def page(found: Sequence[Figure], facts: dict[str, Any]) -> str:
    """The Markdown."""
    loads = [
        [
            one["back"],
            *(str(one[k]) for k in ("answers", "kills", "lost", "double", "leases_lost", "late")),
            f"{one['seconds']:.0f} s",
        ]
        for one in facts["loads"]
    ]
    head = [
        "store",
        "acknowledged",
        "kills (−9)",
        "lost",
        "double",
        "never answered",
        "late",
        "in all",
    ]
    ms = {
        k: f"{1000 * facts[k]:.0f} ms"
        for k in ("p50_answer", "p99_answer", "p50_empty", "p99_empty")
    }
    return f"""# Labels

By `make bench-labels`. Intervals of counts say what as many tries again may be expected to show (Clopper–Pearson, 95 %).

{goals(found)}
## Fifty annotators at once, the server killed meanwhile

Each speaks HTTP as the page does and sends an answer again until it is acknowledged; five leave for good with pairs in
hand, which come back when their leases run out. An answer is *late* where its lease had run out and another had the
pair: it is kept, and is no label.

{table(head, loads)}
## The next pair

A batch of {facts["pairs"]} pairs, fifty annotators, each with a request a second: half of them answers, whose response
brings the next pairs, half of them the server's own empty page. Answers take {ms["p50_answer"]} (half of them) and
{ms["p99_answer"]} (p99), the empty page {ms["p50_empty"]} and {ms["p99_empty"]}. On screen the next pair is there before that: the page
holds three pairs, and sends answers behind the next one (`seconds_an_answer`, from the key to the next pair of 200
words painted, in Chromium).

## Hostile completions, accessibility, strangers

{facts["hostile"]["shown"]} completions, each as plain text and as Markdown; {facts["axe"]["pages"]} states of the pages by axe-core (light, dark, a phone);
{facts["refused"]["tried"]} requests by nobody, by a revoked annotator, with another run's, another role's cookie, and from another page.
"""
