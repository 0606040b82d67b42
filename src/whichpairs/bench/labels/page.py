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
    """Counts with what may be expected of as many again (Clopper–Pearson), times with bootstrap
    intervals."""
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
    """p99 from a key to the next pair on screen, over p99 of the empty page, in one browser."""
    (one,) = (one for one in times if one.screen)

    def ratio(screen: Sequence[float], fetched: Sequence[float]) -> float:
        return float(np.quantile(screen, 0.99) / np.quantile(fetched, 0.99))

    rng = bench_stream(15, 1)
    drawn = [
        ratio(
            rng.choice(one.screen, len(one.screen)).tolist(),
            rng.choice(one.fetched, len(one.fetched)).tolist(),
        )
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    value, goal = ratio(one.screen, one.fetched), f"at most {MOST_RATIO:g}"
    missed = () if value <= MOST_RATIO else (f"{value:.1f} times the empty page",)
    return Figure("next_pair_ratio", value, float(low), float(high), goal, not missed, missed)


def milliseconds(times: Sequence[Speed]) -> dict[str, dict[str, float]]:
    """Median, p99 and number of each kind of time."""
    found = {}
    for kind in ("answers", "empty", "screen", "fetched"):
        all_of = [1000.0 * t for one in times for t in getattr(one, kind)]
        p50, p99 = (float(np.quantile(all_of, q)) for q in (0.5, 0.99))
        found[kind] = {"p50": p50, "p99": p99, "number": len(all_of)}
    return found


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
    ms = facts["milliseconds"]
    told = {
        "screen": "from a key to the next pair painted",
        "fetched": "an empty page fetched by that browser",
        "answers": "until an answer is on disk and what follows is there",
        "empty": "the empty page",
    }
    rows = [
        [told[k], f"{ms[k]['number']}", f"{ms[k]['p50']:.0f} ms", f"{ms[k]['p99']:.0f} ms"]
        for k in told
    ]
    slower = ms["answers"]["p99"] / ms["empty"]["p99"]
    quick = " in small (`QUICK=--quick`)" if facts["quick"] else ""
    return f"""# Labels

By `make bench-labels`{quick}; {facts["load_before"]:.1f} processes wanted to run on the machine's cores before. Intervals of counts say what as many tries again may be expected to show (Clopper–Pearson, 95 %).

{goals(found)}
## Fifty annotators at once, the server killed meanwhile

Each speaks HTTP as the page does and sends an answer again until it is acknowledged; five leave for good with pairs in
hand, which come back when their leases run out. An answer is *late* where its lease had run out and another had the
pair: it is kept, and is no label.

{table(head, loads)}
## The next pair

A batch of {facts["pairs"]} pairs, fifty annotators, each with a request a second: half of them answers, whose response
brings the next pairs, half of them the server's own empty page; and one more annotator in Chromium, whose times are the
first two rows. The page holds three pairs and sends an answer behind the next pair, so that nobody waits for the
server; the server itself takes {slower:.1f} times as long (p99) for an answer as for its empty page: a transaction whose full
sync is shared by those who answer meanwhile. `seconds_an_answer` is of pairs of 200 words, with nobody else there.

{table(["", "number", "half take at most", "p99"], rows)}
## Hostile completions, accessibility, strangers

{facts["hostile"]["shown"]} completions, each as plain text and as Markdown; {facts["axe"]["pages"]} states of the pages by axe-core (light, dark, a phone);
{facts["refused"]["tried"]} requests by nobody, by a revoked annotator, with another run's, another role's cookie, and from another page.
"""
