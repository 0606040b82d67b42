"""`make demo`: from openings to trained policies, three ways with as many labels.

A model of 1 M parameters, trained from scratch on IMDb reviews, writes openings and 16 continuations of each. Some pairs are
labelled, picked at random or by the gap-optimal design. Plain DPO sees those labels and nothing else; taught, the policy is
trained on further pairs too, with what a fit of the same labels believes of them. Reward, KL and J on held-out prompts are
printed side by side, whoever wins.

With --smollm2 it is SmolLM2-135M, fine-tuned on how reviews begin, which goes on with openings of real ones; and in the place
of the design half of the labels are on the pairs that a fit of the other half picks. Two trainings of each way, which
is what ten minutes hold, are too few to tell.
"""

import argparse
import ctypes
import gc
import multiprocessing
import platform
import shutil
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from lab import BETA, Stand, Trial, copy_run, make_pool, pick, run_trial, stand

from whichpairs import write_report
from whichpairs.bench.markdown import About, Figure, write_page
from whichpairs.evaluate.crossed import crossed_interval
from whichpairs.evaluate.interval import Interval
from whichpairs.lm.optional import quiet
from whichpairs.run.files import to_json, write_whole

TEXTS = 3
"""Held-out openings that are shown with their continuations."""
PART = {"smollm2": 2, "tiny": 0}
"""Which openings: of SmolLM2's those of `make imdb`, on which nothing was tuned."""
SIZES = {
    "smollm2": {"prompts": 150, "held": 45, "budget": 200, "seeds": 2, "samples": 3, "taught": 2},
    "tiny": {"prompts": 320, "held": 160, "budget": 800, "seeds": 4, "samples": 8, "taught": 15},
}
"""Openings, those held out, labels a training, trainings a method, completions of a held-out opening and taught pairs an
opening, by language model."""


@dataclass(frozen=True)
class Method:
    """How pairs are picked, and whether the fit of their labels teaches the policy."""

    criterion: str
    teach: bool
    colour: str


PLAIN, RANDOM, OURS = "random", "random, taught", "design, taught"
METHODS = {
    PLAIN: Method("random", False, "0.35"),
    RANDOM: Method("random", True, "#3a6ea5"),
    OURS: Method("gap", True, "#0b6e4f"),
}
"""What is set side by side: ours is the certified design on the features of words."""


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
    parser.add_argument("--smollm2", action="store_true", help="SmolLM2-135M")
    parser.add_argument("--seeds", type=int, default=None)
    parser.add_argument("--prompts", type=int, default=None)
    parser.add_argument("--held", type=int, default=None)
    parser.add_argument("--budget", type=int, default=None)
    parser.add_argument("--results", type=Path, default=None, help="folder of page and picture")
    options = parser.parse_args()
    say, out = Clock(), options.out
    of = stand(not options.smollm2, say)
    size = SIZES[of.name] | {
        name: value for name in SIZES[of.name] if (value := vars(options).get(name)) is not None
    }
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    say(f"{of.title} writes {of.completions} continuations of each of {size['prompts']} openings")
    with quiet():
        of.reward_folder()
    of.write_openings(out / "prompts.jsonl", size["prompts"], seed=PART[of.name])
    share = size["held"] / size["prompts"]
    how = {"seed": 0, "samples": size["samples"], "say": say}
    make_pool(out / "pool", out / "prompts.jsonl", of, holdout=share, **how)
    copy_run(out / "pool", out / "gap")
    seen = of.words(size["budget"])
    show_selection(pick(out / "gap", "gap", size["budget"], seed=0, features=seen), say)
    trials = [_trial(of, m, s, size) for s in range(size["seeds"]) for m in METHODS]
    say(f"{len(trials)} trials: label, DPO, evaluate; {size['budget']} labels each")
    found = run_all(out, trials, say)
    printed = table(found) + "\n".join(side_by_side(out, of))
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


def _trial(of: Stand, method: str, seed: int, size: dict[str, int]) -> tuple[str, Trial]:
    how = METHODS[method]
    of_method = (of, how.criterion, seed, size["budget"], size["samples"], how.teach)
    tuned = Trial.tuned(*of_method)
    taught = size["taught"] * (size["prompts"] - size["held"])
    return method, replace(tuned, teach=taught if how.teach else 0)


def folder_of(method: str, seed: int) -> str:
    """Name of the run of a trial."""
    return f"{method.replace(', ', '-').replace(' ', '-')}-{seed}"


def run_all(out: Path, trials: list[tuple[str, Trial]], say: Clock) -> list[dict[str, Any]]:
    """Two trials at a time, plain random first; one line as each ends.

    Where plain random has ended, the fit of its labels teaches: from a copy of its run, so that a fit that refuses
    leaves that policy, and nothing is trained twice.
    """
    spawn, found = multiprocessing.get_context("spawn"), []
    with ProcessPoolExecutor(min(2, multiprocessing.cpu_count()), mp_context=spawn) as pool:

        def begin(method: str, trial: Trial, base: Path) -> None:
            run = out / folder_of(method, trial.seed)
            running[pool.submit(_lean_trial, base, run, trial)] = method

        running: dict[Future[dict[str, Any]], str] = {}
        for method, trial in sorted(trials, key=lambda one: one[0] != PLAIN):
            if method != RANDOM:
                begin(method, trial, _base(out, trial))
        later = {trial.seed: trial for method, trial in trials if method == RANDOM}
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for job in done:
                one = {"method": running.pop(job), **job.result()}
                found.append(one)
                say(_line(one))
                if one["method"] == PLAIN and one["seed"] in later:
                    begin(RANDOM, later[one["seed"]], out / folder_of(PLAIN, one["seed"]))
    return sorted(found, key=lambda one: ([*METHODS].index(one["method"]), one["seed"]))


def _line(one: dict[str, Any]) -> str:
    gain, refused = one["evaluation"]["gain"]["mean"], one["teach"] and not one["taught"]
    return f"{one['method']:18} seed {one['seed']}: J {gain:+.4f} over the reference" + (
        " (not taught: the fit knew too little)" if refused else ""
    )


def _base(out: Path, trial: Trial) -> Path:
    """The run that a trial begins from: the pool, or where its batch has been picked."""
    picked = out / trial.criterion
    return picked if picked.is_dir() else out / "pool"


def _lean_trial(base: Path, run: Path, trial: Trial) -> dict[str, Any]:
    """`run_trial`, after which the memory that it kept is handed back."""
    found = run_trial(base, run, trial)
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
    return found


def show_selection(picked: dict[str, Any], say: Clock) -> None:
    """What the design promises before a label is paid for."""
    needs = picked["labels_random_would_need"]
    say(
        f"the design: {picked['picked']} of {picked['candidate_pairs']} candidate pairs, at most "
        f"{100 * picked['certificate']:.1f} % above the best possible batch; predicted gap "
        f"{picked['predicted_gap']:.3f}, random's {picked['random_predicted_gap']:.3f}; "
        f"by this prediction random would need {needs} labels"
    )


def side_by_side(out: Path, of: Stand) -> list[str]:
    """Some held-out openings, and how the reference and our first policy go on, from the same noise."""
    from whichpairs.generate.transformers import Sampling, sample
    from whichpairs.lm.model import load

    run = out / folder_of(OURS, 0)
    policy = max((run / "policies").iterdir())
    prompts = pl.read_parquet(run / "pool" / "prompts.parquet").filter("holdout")
    held = prompts["prompt"].to_list()[:TEXTS]
    models = {"before": of.model, "after": policy / "model"}
    lines: list[list[str]] = [[f"  {one}"] for one in held]
    for name, model in models.items():
        lm = load(model, dtype=of.dtype)
        for own, (drawn,) in zip(
            lines, sample(lm, held, Sampling(1, of.tokens), seed=1), strict=True
        ):
            words = " ".join(drawn.text.split()).replace("`", "'")
            own.append(f"    {name + ':':8}{words}")
    head = f"How {OURS} goes on with held-out openings:"
    return [head, *(line for own in lines for line in own), ""]


def values(found: list[dict[str, Any]], method: str, quantity: str) -> np.ndarray:
    """By seed and held-out prompt."""
    rows = [one for one in found if one["method"] == method]
    if quantity == "J":
        return values(found, method, "reward") - BETA * values(found, method, "kl")
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
    methods = tuple(METHODS)
    each = {f"J, {method}": crossed_interval(values(found, method, "J")) for method in methods}
    return [Figure.of(name, one) for name, one in {**differences(found), **each}.items()]


def table(found: list[dict[str, Any]]) -> str:
    """Reference and methods side by side, and what may be said of the differences."""
    evaluation = found[0]["evaluation"]
    seeds = len(values(found, PLAIN, "J"))
    lines = [
        "",
        f"{evaluation['held_out_prompts']} held-out prompts, {seeds} seeds; J = E r − {BETA:g} KL; mean and "
        "95 % interval",
        f"{'':18}{'reward':>28}{'KL':>28}{'J':>28}",
    ]
    reference = [f"{v['mean']:.3f}" for v in evaluation["reference_values"].values()]
    lines.append(f"{'reference':18}" + "".join(f"{cell:>28}" for cell in reference))
    for method in METHODS:
        every = [crossed_interval(values(found, method, q)) for q in ("reward", "kl", "J")]
        lines.append(f"{method:18}" + "".join(f"{one.text('.3f'):>28}" for one in every))
    refused = sum(bool(one["teach"]) and not one["taught"] for one in found)
    if refused:
        lines.append(
            f"In {refused} of {sum(bool(one['teach']) for one in found)} trainings the fit knew too little to teach."
        )
    apart = differences(found)
    lines.append("")
    lines += [f"{name + ' in J:':43}{one.text('.3f')}" for name, one in apart.items()]
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
        said = f"The policy of “{OURS}” beats plain random here, beyond the noise of seeds and prompts."
    elif ahead.high < 0:
        said = f"Plain random beats the policy of “{OURS}” here, beyond the noise of seeds and prompts."
    else:
        said = f"Between plain random and the policy of “{OURS}” no difference is seen beyond the noise."
    parts = [
        f"{what} {_worth(apart[name])}"
        for what, name in (
            ("teaching", f"{RANDOM} − {PLAIN}"),
            ("choosing the pairs", f"{OURS} − {RANDOM}"),
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
    shown = [*METHODS.items()]
    base = found[0]["evaluation"]["reference_values"]["J"]["mean"]
    axes.axvline(base, color="0.6", lw=1)
    axes.annotate(
        "reference", (base, 2.42), (4, 0), textcoords="offset points", color="0.4", fontsize=9
    )
    for place, (method, how) in enumerate(reversed(shown)):
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
