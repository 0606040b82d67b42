"""`make demo`: the paper's IMDb experiment in small, from openings to trained policies.

A small language model, trained from scratch on IMDb reviews, writes openings and 16 continuations
of each. Random and the gap-optimal design get the same budget of pairs, the same simulated answers
and the same DPO; reward, KL and J on held-out prompts are printed side by side, whoever wins.
"""

import argparse
import multiprocessing
import shutil
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from lab import SETTINGS, Trial, copy_run, make_pool, pick, run_trial, write_openings

from whichpairs import write_report
from whichpairs.bench.markdown import About, Figure, write_page
from whichpairs.evaluate.crossed import crossed_interval
from whichpairs.evaluate.interval import Interval
from whichpairs.pool.files import to_json, write_whole

METHODS = ("random", "gap")
PROMPTS, HOLDOUT, SAMPLES = 320, 0.3, 8


class Clock:
    """Prints lines with the time since the start."""

    def __init__(self) -> None:
        self.began = time.perf_counter()

    def __call__(self, text: str) -> None:
        print(f"[{time.perf_counter() - self.began:4.0f} s] {text}", flush=True)


def main() -> None:
    """Run the demo into a folder, anew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo-run"))
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--prompts", type=int, default=PROMPTS)
    parser.add_argument("--budget", type=int, default=SETTINGS["budget"])
    parser.add_argument("--results", type=Path, default=None, help="folder of page and picture")
    options = parser.parse_args()
    say, out = Clock(), options.out
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    say("the model writes openings, and 16 continuations of each (about half a minute)")
    write_openings(out / "prompts.jsonl", options.prompts, seed=0)
    beta = SETTINGS["beta"]
    make_pool(out / "pool", out / "prompts.jsonl", holdout=HOLDOUT, beta=beta, seed=0, say=say)
    copy_run(out / "pool", out / "design")
    show_selection(pick(out / "design", "gap", options.budget, seed=0), say)
    trials = [_trial(m, s, options.budget) for s in range(options.seeds) for m in METHODS]
    say(f"{len(trials)} trials: label, DPO, evaluate; {options.budget} labels each")
    found = run_all(out, trials, say)
    printed = table(found, beta)
    print(printed)
    write_whole(out / "comparison.json", to_json(found))
    report = write_report(out / "gap-0").result["file"]
    seconds = round(time.perf_counter() - say.began)
    facts = {"printed": printed, "seconds": seconds, "cells": found}
    about = About("make demo", ("recipes/imdb/demo.py",))
    folder = options.results or out
    picture = {"demo.png": draw(found)}
    write_page(folder, "demo", about, figures(found), facts, page(printed, seconds), picture)
    say(f"picture and page: {folder}")
    say(f"report:  {report}")


def _trial(method: str, seed: int, budget: int) -> Trial:
    names = ("learning_rate", "epochs", "batch_size")
    return Trial(method, seed, budget, *(SETTINGS[n] for n in names), samples=SAMPLES)


def run_all(out: Path, trials: list[Trial], say: Clock) -> list[dict[str, Any]]:
    """Every trial in a process of its own, two at a time; one line as each ends."""
    spawn = multiprocessing.get_context("spawn")
    bases, found = {"random": out / "pool", "gap": out / "design"}, []
    with ProcessPoolExecutor(min(2, multiprocessing.cpu_count()), mp_context=spawn) as pool:
        jobs = {
            pool.submit(run_trial, bases[t.criterion], out / f"{t.criterion}-{t.seed}", t): t
            for t in trials
        }
        for job in as_completed(jobs):
            one = job.result()
            found.append(one)
            gain = one["evaluation"]["gain"]["mean"]
            say(f"{one['criterion']:6} seed {one['seed']}: J {gain:+.4f} over the reference")
    return sorted(found, key=lambda one: (one["criterion"], one["seed"]))


def show_selection(picked: dict[str, Any], say: Clock) -> None:
    """What the design promises before a label is paid for."""
    needs = picked["labels_random_would_need"]
    say(
        f"the design: {picked['picked']} of {picked['candidate_pairs']} candidate pairs, at most "
        f"{100 * picked['certificate']:.1f} % above the best possible batch; predicted gap "
        f"{picked['predicted_gap']:.3f}, random's {picked['random_predicted_gap']:.3f}; "
        f"by this prediction random would need {needs} labels"
    )


def values(found: list[dict[str, Any]], method: str, quantity: str) -> np.ndarray:
    """By seed and held-out prompt."""
    rows = [one for one in found if one["criterion"] == method]
    if quantity == "J":
        return values(found, method, "reward") - SETTINGS["beta"] * values(found, method, "kl")
    return np.array([one["by_prompt"][quantity] for one in rows])


def differences(found: list[dict[str, Any]]) -> tuple[Interval, Interval]:
    """Random over the reference, and the design over random, in J."""
    gain, base = (values(found, method, "gain") for method in ("gap", "random"))
    return crossed_interval(base), crossed_interval(gain - base)


def figures(found: list[dict[str, Any]]) -> list[Figure]:
    """The two differences, and each method's J."""
    over, ahead = differences(found)
    each = [
        Figure.of(f"J, {method}", crossed_interval(values(found, method, "J")))
        for method in ("random", "gap")
    ]
    return [Figure.of("random − reference", over), Figure.of("gap − random", ahead), *each]


def table(found: list[dict[str, Any]], beta: float) -> str:
    """Reference, random and design side by side, and what may be said of the difference."""
    evaluation = found[0]["evaluation"]
    seeds = len(values(found, "gap", "J"))
    lines = [
        "",
        f"{evaluation['held_out_prompts']} held-out prompts, {seeds} seeds; J = E r − {beta:g} KL; mean and "
        "95 % interval",
        f"{'':12}{'reward':>30}{'KL':>30}{'J':>30}",
    ]
    reference = [f"{v['mean']:.4f}" for v in evaluation["reference_values"].values()]
    lines.append(f"{'reference':12}" + "".join(f"{cell:>30}" for cell in reference))
    for method, name in (("random", "random"), ("gap", "design")):
        cells = [str(crossed_interval(values(found, method, q))) for q in ("reward", "kl", "J")]
        lines.append(f"{name:12}" + "".join(f"{cell:>30}" for cell in cells))
    over, ahead = differences(found)
    lines += ["", f"random − reference in J: {over}", f"design − random in J:    {ahead}"]
    return "\n".join([*lines, "", verdict(over, ahead), ""])


def page(printed: str, seconds: int) -> str:
    """``demo.md``."""
    return f"""# The demo

Printed by `make demo` ({seconds} s; machine, versions, figures and the fingerprint of the code: [demo.json](demo.json)). The
intervals are for new trainings (other labels, other batches of DPO) and new prompts, crossed; not for
another pool or model.

```text
{printed.strip()}
```

![J on held-out prompts](demo.png)
"""


def verdict(over: Interval, ahead: Interval) -> str:
    """What the intervals allow to say, whoever wins."""
    if over.low is None or ahead.low is None or ahead.high is None:
        return "One seed has no interval: nothing can be said of the difference."
    if over.low <= 0:
        return "Random does not clearly beat the reference, so the comparison means little."
    if ahead.low > 0:
        return "The design beats random here, beyond the noise of seeds and prompts."
    if ahead.high < 0:
        return "Random beats the design here, beyond the noise of seeds and prompts."
    return "No difference is seen here: it is within the noise of seeds and prompts."


def draw(found: list[dict[str, Any]]) -> bytes:
    """PNG: J of every trial, against the reference, as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 2.6), layout="constrained")
    base = found[0]["evaluation"]["reference_values"]["J"]["mean"]
    axes.axvline(base, color="0.6", lw=1)
    axes.annotate(
        "reference", (base, 1.42), (4, 0), textcoords="offset points", color="0.4", fontsize=9
    )
    for place, (method, name, colour) in enumerate(
        (("gap", "gap-optimal design", "#0b6e4f"), ("random", "random pairs", "0.35"))
    ):
        by_prompt = values(found, method, "J")
        j, mean = by_prompt.mean(axis=1), crossed_interval(by_prompt)
        axes.plot(j, np.full(len(j), place), "o", color=colour, alpha=0.35, ms=7, mew=0)
        if mean.low is not None and mean.high is not None:
            axes.plot([mean.low, mean.high], [place, place], color=colour, lw=2)
        axes.plot([mean.mean], [place], "D", color=colour, ms=7)
        axes.annotate(name, (mean.mean, place + 0.17), ha="center", color=colour, fontsize=9)
    axes.set(
        yticks=[],
        ylim=(-0.4, 1.6),
        xlabel="J on held-out prompts (dots: seeds; bar: 95 % interval)",
    )
    axes.spines[["left", "top", "right"]].set_visible(False)
    held = BytesIO()
    figure.savefig(held, format="png", dpi=160)
    plt.close(figure)
    return held.getvalue()


if __name__ == "__main__":
    main()
