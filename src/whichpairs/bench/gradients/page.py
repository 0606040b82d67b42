"""The page of the gradient bench, from its figures."""

from typing import Any

from whichpairs.bench.markdown import Figure, goals, table


def page(found: dict[str, Any]) -> str:
    """``gradients.md`` from what `gradients.main` measured."""
    versions = found["versions"]
    head = f"""# Gradient features: speed, memory, fidelity, prediction

Written by `make bench-gradients` ({found["seconds"] / 60:.0f} minutes; {found["machine"]["system"]},
{found["machine"]["cpus"]} cores, load {found["machine"]["load"]:.1f}; one thread; Python
{versions["python"]}, torch {versions["torch"]}, transformers {versions["transformers"]}; seed
{found["seed"]}{"; `--quick`" if found["quick"] else ""}). The figures are in `gradients.json`.
"""
    results = figures(found, found["speed"][0]["dim"])
    parts = [
        head,
        "## Goals\n\n" + goals(results),
        _speed(found["speed"]),
        _memory(found["memory"]),
        _fidelity(found["fidelity"]),
    ]
    parts.append(_prediction("Which features predict preferences", found["prediction"]))
    title = "The same completions cut to between two words and all: length normalisation"
    parts.append(_prediction(title, found["prediction_cut"]))
    return "\n".join(parts)


def figures(found: dict[str, Any], default: int) -> list[Figure]:
    """P8, memory, fidelity at the default dimension, and the best features.

    Args:
        default: the dimension that `features` takes where none is given.
    """
    results = []
    for row in found["speed"]:
        ratio = row["ratio"]
        results.append(
            Figure(
                f"P8, {row['model']}",
                ratio["median"],
                goal="a projected gradient ≥ 0.8 of a plain pass's speed",
                reached=ratio["median"] >= 0.8,
            )
        )
    small, large = (row["peak_mb"] for row in found["memory"])
    results.append(Figure("peak memory, larger pool ÷ smaller", large / small))
    loss = {(r["projection"], r["dim"]): 100 * r["loss"] for r in found["fidelity"]}
    goal = f"≤ 5 % lost at d = {default}"
    for kind in ("pca", "random"):
        if (kind, default) in loss:
            lost = loss[kind, default]
            results.append(Figure(f"fidelity, {kind}, %", lost, goal=goal, reached=lost <= 5))
    best = min(found["prediction"], key=lambda row: row["log_loss"])
    results.append(Figure(f"log loss of the best features ({best['features']})", best["log_loss"]))
    return results


def _range(value: dict[str, float], form: str) -> str:
    low, high = value["quartile_1"], value["quartile_3"]
    return f"{value['median']:{form}} ({low:{form}}–{high:{form}})"


def _speed(rows: list[dict[str, Any]]) -> str:
    rows_ = table(
        ["model", "parameters", "batch × tokens", "projected /s", "plain /s", "ratio", "error"],
        [
            [
                r["model"],
                f"{r['parameters'] / 1e6:.1f} M",
                f"{r['batch']} × {r['tokens']}",
                _range(r["projected_per_second"], ".0f"),
                _range(r["plain_per_second"], ".0f"),
                _range(r["ratio"], ".2f"),
                f"{r['largest_relative_error']:.0e}",
            ]
            for r in rows
        ],
    )
    return f"""## Speed (goal: a ratio of at least 0.8)

Completions a second, all parameters, d = {rows[0]["dim"]}: a projected gradient for each completion,
against a plain batched forward and backward pass, interleaved; medians and quartiles. Error: largest
relative distance from the explicit projection of autograd's whole gradient (at most 1e-4, asserted).

{rows_}"""


def _memory(rows: list[dict[str, Any]]) -> str:
    rows_ = table(
        ["completions", "peak resident MB", "seconds"],
        [[str(r["completions"]), f"{r['peak_mb']:.0f}", f"{r['seconds']:.0f}"] for r in rows],
    )
    return f"""## Memory

`whichpairs features --method gradient` (d = 256, fidelity figure included) on short completions and a
tiny model, a process each.

{rows_}"""


def _fidelity(rows: list[dict[str, Any]]) -> str:
    dims = sorted({r["dim"] for r in rows})
    kinds = ("random", "pca")
    loss = {(r["projection"], r["dim"]): r["loss"] for r in rows}
    rows_ = table(
        ["projection", *(f"d = {d}" for d in dims)],
        [[k, *(f"{100 * loss[k, d]:.1f} %" for d in dims)] for k in kinds],
    )
    return f"""## Fidelity (goal: at most 5 % at the default d = 256)

What the projection loses of a plug-in design's gain over random, against 16 d random dimensions
({rows[0]["prompts"]} sampled prompts, {rows[0]["budget"]} labels, a pool of {rows[0]["completions"]}
completions). One sample and one seed a cell, each against a 16 d of its own: neighbouring cells differ
by some points of noise (a figure below 0 is possible, as batches are chosen greedily). The axes of
`pca` are fitted to the pool's own completions, the sampled ones among them, which is how they are
used; in a pool of more than 8 192 completions they are fitted to a sample of 4 096, and most prompts
are then new to them, so the loss is larger: each feature set's manifest has its own figure.

{rows_}"""


def _prediction(title: str, rows: list[dict[str, Any]]) -> str:
    rows_ = table(
        ["features", "d", "order accuracy", "log loss"],
        [
            [
                r["features"],
                str(r["dim"]),
                f"{r['order_accuracy']:.3f} ± {r['order_accuracy_se']:.3f}",
                f"{r['log_loss']:.4f} ± {r['log_loss_se']:.4f}",
            ]
            for r in sorted(rows, key=lambda r: r["log_loss"])
        ],
    )
    return f"""## {title}

A Bradley–Terry fit on 1 600 simulated labels of random pairs (T = 1), judged on all
{rows[0]["held_out_pairs"]} pairs of held-out prompts: share put in the reward's order, and expected log
loss (a coin: 0.6931; the truth: {rows[0]["log_loss_floor"]:.4f}); mean ± standard error over
{rows[0]["label_seeds"]} label seeds.

{rows_}"""
