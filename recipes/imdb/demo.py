"""`make demo`: from openings to trained policies, three ways with as many labels.

A small language model, trained from scratch on IMDb reviews, writes openings and 16 continuations
of each. 800 pairs are labelled, picked at random or by the gap-optimal design. Plain DPO sees those
labels and nothing else; taught, the policy is trained on 3 200 further pairs too, with what a fit of
the same labels believes of them. Reward, KL and J on held-out prompts are printed side by side,
whoever wins.
"""

import argparse
import multiprocessing
import shutil
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from lab import (
    SETTINGS,
    WORDS,
    Trial,
    copy_run,
    make_pool,
    make_words,
    pick,
    run_trial,
    write_openings,
)

from whichpairs import write_report
from whichpairs.bench.markdown import About, Figure, write_page
from whichpairs.evaluate.crossed import crossed_interval
from whichpairs.evaluate.interval import Interval
from whichpairs.pool.files import to_json, write_whole

PROMPTS, HOLDOUT, SAMPLES, LABELS, TAUGHT = 320, 0.3, 8, 800, 3200


@dataclass(frozen=True)
class Method:
    """How pairs are picked, and whether the fit of their labels teaches the policy."""

    criterion: str
    teach: int
    colour: str


METHODS = {
    "random": Method("random", 0, "0.35"),
    "random, taught": Method("random", TAUGHT, "#3a6ea5"),
    "design, taught": Method("gap", TAUGHT, "#0b6e4f"),
}
PLAIN, RANDOM, OURS = METHODS


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
    parser.add_argument("--budget", type=int, default=LABELS)
    parser.add_argument("--results", type=Path, default=None, help="folder of page and picture")
    options = parser.parse_args()
    say, out = Clock(), options.out
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    say("the model writes openings, and 16 continuations of each (about half a minute)")
    write_openings(out / "prompts.jsonl", options.prompts, seed=0)
    beta = SETTINGS["beta"]
    make_pool(out / "pool", out / "prompts.jsonl", holdout=HOLDOUT, beta=beta, seed=0, say=say)
    say(make_words(out / "pool"))
    copy_run(out / "pool", out / "design")
    show_selection(pick(out / "design", "gap", options.budget, seed=0, features=WORDS), say)
    trials = [_trial(m, s, options.budget) for s in range(options.seeds) for m in METHODS]
    say(f"{len(trials)} trials: label, DPO, evaluate; {options.budget} labels each")
    found = run_all(out, trials, say)
    printed = table(found, beta)
    print(printed)
    write_whole(out / "comparison.json", to_json(found))
    report = write_report(out / folder_of(OURS, 0)).result["file"]
    seconds = round(time.perf_counter() - say.began)
    facts = {"printed": printed, "seconds": seconds, "cells": found}
    about = About("make demo", ("recipes/imdb/demo.py",))
    folder = options.results or out
    picture = {"demo.png": draw(found)}
    write_page(folder, "demo", about, figures(found), facts, page(printed, seconds), picture)
    say(f"picture and page: {folder}")
    say(f"report:  {report}")


def _trial(method: str, seed: int, budget: int) -> tuple[str, Trial]:
    names, how = ("learning_rate", "epochs", "batch_size"), METHODS[method]
    tuned = (SETTINGS[n] for n in names)
    return method, Trial(how.criterion, seed, budget, *tuned, samples=SAMPLES, teach=how.teach)


def folder_of(method: str, seed: int) -> str:
    """Name of the run of a trial."""
    return f"{method.replace(', ', '-')}-{seed}"


def run_all(out: Path, trials: list[tuple[str, Trial]], say: Clock) -> list[dict[str, Any]]:
    """Every trial in a process of its own, two at a time; one line as each ends."""
    spawn = multiprocessing.get_context("spawn")
    bases, found = {"random": out / "pool", "gap": out / "design"}, []
    with ProcessPoolExecutor(min(2, multiprocessing.cpu_count()), mp_context=spawn) as pool:
        jobs = {
            pool.submit(run_trial, bases[t.criterion], out / folder_of(m, t.seed), t): m
            for m, t in trials
        }
        for job in as_completed(jobs):
            one = {"method": jobs[job], **job.result()}
            found.append(one)
            gain, refused = one["evaluation"]["gain"]["mean"], one["teach"] and not one["taught"]
            say(
                f"{one['method']:14} seed {one['seed']}: J {gain:+.4f} over the reference"
                + (" (not taught: the fit knew too little)" if refused else "")
            )
    return sorted(found, key=lambda one: ([*METHODS].index(one["method"]), one["seed"]))


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
    rows = [one for one in found if one["method"] == method]
    if quantity == "J":
        return values(found, method, "reward") - SETTINGS["beta"] * values(found, method, "kl")
    return np.array([one["by_prompt"][quantity] for one in rows])


def differences(found: list[dict[str, Any]]) -> dict[str, Interval]:
    """In J: random over the reference; then what we are asked for, intervals that hold together."""
    gains = {method: values(found, method, "gain") for method in METHODS}
    asked = {
        f"{OURS} − {PLAIN}": gains[OURS] - gains[PLAIN],
        f"{RANDOM} − {PLAIN}": gains[RANDOM] - gains[PLAIN],
        f"{OURS} − {RANDOM}": gains[OURS] - gains[RANDOM],
    }
    together = {name: crossed_interval(apart, len(asked)) for name, apart in asked.items()}
    return {f"{PLAIN} − reference": crossed_interval(gains[PLAIN]), **together}


def figures(found: list[dict[str, Any]]) -> list[Figure]:
    """The differences, and each method's J."""
    each = {f"J, {method}": crossed_interval(values(found, method, "J")) for method in METHODS}
    return [Figure.of(name, one) for name, one in {**differences(found), **each}.items()]


def table(found: list[dict[str, Any]], beta: float) -> str:
    """Reference and methods side by side, and what may be said of the differences."""
    evaluation = found[0]["evaluation"]
    seeds = len(values(found, PLAIN, "J"))
    lines = [
        "",
        f"{evaluation['held_out_prompts']} held-out prompts, {seeds} seeds; J = E r − {beta:g} KL; mean and "
        "95 % interval",
        f"{'':15}{'reward':>28}{'KL':>28}{'J':>28}",
    ]
    reference = [f"{v['mean']:.3f}" for v in evaluation["reference_values"].values()]
    lines.append(f"{'reference':15}" + "".join(f"{cell:>28}" for cell in reference))
    for method in METHODS:
        every = [crossed_interval(values(found, method, q)) for q in ("reward", "kl", "J")]
        lines.append(f"{method:15}" + "".join(f"{one.text('.3f'):>28}" for one in every))
    refused = sum(bool(one["teach"]) and not one["taught"] for one in found)
    if refused:
        lines.append(
            f"In {refused} of {sum(bool(one['teach']) for one in found)} trainings the fit knew too little to teach."
        )
    apart = differences(found)
    lines.append("")
    lines += [f"{name + ' in J:':39}{one.text('.3f')}" for name, one in apart.items()]
    return "\n".join([*lines, "", verdict(apart), ""])


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


def verdict(apart: dict[str, Interval]) -> str:
    """What the intervals allow to say, whoever wins."""
    over, ahead = apart[f"{PLAIN} − reference"], apart[f"{OURS} − {PLAIN}"]
    if over.low is None or ahead.low is None or ahead.high is None:
        return "One seed has no interval: nothing can be said of the differences."
    if over.low <= 0:
        said = "Random does not clearly beat the reference, so the comparison means little."
    elif ahead.low > 0:
        said = "The designed and taught policy beats plain random here, beyond the noise of seeds and prompts."
    elif ahead.high < 0:
        said = "Plain random beats the designed and taught policy here, beyond the noise of seeds and prompts."
    else:
        said = "Between plain random and the designed and taught policy no difference is seen beyond the noise."
    parts = [
        f"{what} {_worth(apart[name])}"
        for what, name in (
            ("teaching", f"{RANDOM} − {PLAIN}"),
            ("the design", f"{OURS} − {RANDOM}"),
        )
    ]
    return f"{said} Of the two steps, {' and '.join(parts)}."


def _worth(apart: Interval) -> str:
    assert apart.low is not None
    assert apart.high is not None
    if apart.low > 0:
        return "helps"
    return "harms" if apart.high < 0 else "is within the noise"


def draw(found: list[dict[str, Any]]) -> bytes:
    """PNG: J of every trial, against the reference, as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
    base = found[0]["evaluation"]["reference_values"]["J"]["mean"]
    axes.axvline(base, color="0.6", lw=1)
    axes.annotate(
        "reference", (base, 2.42), (4, 0), textcoords="offset points", color="0.4", fontsize=9
    )
    for place, (method, how) in enumerate(reversed(METHODS.items())):
        by_prompt = values(found, method, "J")
        j, mean = by_prompt.mean(axis=1), crossed_interval(by_prompt)
        axes.plot(j, np.full(len(j), place), "o", color=how.colour, alpha=0.35, ms=7, mew=0)
        if mean.low is not None and mean.high is not None:
            axes.plot([mean.low, mean.high], [place, place], color=how.colour, lw=2)
        axes.plot([mean.mean], [place], "D", color=how.colour, ms=7)
        axes.annotate(method, (mean.mean, place + 0.17), ha="center", color=how.colour, fontsize=9)
    axes.set(
        yticks=[],
        ylim=(-0.4, 2.6),
        xlabel="J on held-out prompts (dots: seeds; bar: 95 % interval)",
    )
    axes.spines[["left", "top", "right"]].set_visible(False)
    held = BytesIO()
    figure.savefig(held, format="png", dpi=160)
    plt.close(figure)
    return held.getvalue()


if __name__ == "__main__":
    main()
