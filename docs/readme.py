"""The figures of README and guide, filled from the results' JSON: no number of them is typed.

A block stands between `<!-- figures: NAME -->` and `<!-- end -->`; NAME is one of `BLOCKS`. `make docs`
fills them, `make check` fails where one differs from what the JSON says. Where the code behind a page has
changed since, `make docs` writes so into the block, and `make check` fails until it is said or measured again.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from whichpairs.bench.markdown import table

BLOCK = re.compile(r"(<!-- figures: ([a-z-]+) -->)(.*?)(<!-- end -->)", re.DOTALL)
Results = dict[str, dict[str, Any]]
"""Each page's JSON, by name."""

OLD = "measured before the code behind it last changed"
"""What stands after figures that are older than their code."""

COLUMNS = {"well-specified": "model holds", "misspecified": "model is wrong", "real": "AlpacaEval"}
DEFAULT = "AlpacaEval, T = 4, β = 0.1"


def read_results(folder: Path) -> Results:
    """What is beside the pages."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.json"))
    }


def filled(readme: str, results: Results, old: Collection[str] = ()) -> str:
    """The README with every block as the results say.

    Args:
        old: pages whose code has changed since they were measured; their blocks say so.
    """

    def fill(match: re.Match[str]) -> str:
        begin, name, was, end = match.groups()
        on_lines = was.startswith("\n")
        page, write = BLOCKS[name]
        text = write(results).strip()
        if page in old:
            text += f"\n\n{OLD[0].upper()}{OLD[1:]}." if on_lines else f" ({OLD})"
        return begin + (f"\n\n{text}\n\n" if on_lines else text) + end

    return BLOCK.sub(fill, readme)


def differences(readme: str, results: Results, old: Collection[str] = ()) -> list[str]:
    """Blocks that differ from the results, are missing, or are not closed; `old` as in `filled`."""
    found = [
        f"README's block {old[2]!r} is not what docs/results says; run: make docs"
        for old, new in zip(
            BLOCK.finditer(readme), BLOCK.finditer(filled(readme, results, old)), strict=True
        )
        if old[3] != new[3]
    ]
    there = {match[2] for match in BLOCK.finditer(readme)}
    found += [f"README has no block {name!r}" for name in BLOCKS if name not in there]
    if readme.count("<!-- figures:") != len(list(BLOCK.finditer(readme))):
        found.append("README has a block that does not end in <!-- end -->")
    return found


def _demo(results: Results) -> str:
    demo = results["demo"]
    cores = demo["machine"]["cpus"]
    figures = demo["printed"].partition("\nHow ")[0]  # how it goes on is on the results' page
    return (
        f"What `make demo` printed on {demo['made'][:10]} ({cores} cores, CPU; {demo['seconds'] / 60:.1f} minutes). "
        "We print whatever comes out.\n\n"
        f"```text\n{figures.strip()}\n```"
    )


def _with_ends(figure: Mapping[str, Any]) -> str:
    """A figure and the ends of its interval, where it has one."""
    ends = "" if figure["low"] is None else f" ({figure['low']:.2f} to {figure['high']:.2f})"
    return f"{figure['value']:.2f}{ends}"


def _savings(results: Results) -> str:
    page = results["robustness"]
    columns = {name: page["columns"][name] for name in ("all", *COLUMNS)}
    seeds = page["seeds"]
    few = f"{seeds['rivals']} seeds"
    head = ["labels saved against random", f"all {columns['all']['cells']} cells"]
    head += COLUMNS.values()
    ours = [f"**{one['all seeds']['shown']}**" for one in columns.values()]
    theirs = [one["rivals' seeds"] for one in columns.values()]
    rows = [
        [f"**adaptive**, the default, {seeds['random and ours']} seeds", *ours],
        [f"the same on the rivals' {few}", *(one["adaptive"]["shown"] for one in theirs)],
        [f"the best rival of each column, {few}", *(_best(one) for one in theirs)],
        [f"gap, the paper's plug-in design, {few}", *(one["gap"]["shown"] for one in theirs)],
    ]
    return table(head, rows) + "\n" + _by_budget(page)


def _best(methods: dict[str, Any]) -> str:
    name = max((m for m in methods if m != "adaptive"), key=lambda m: float(methods[m]["value"]))
    return f"{name} {methods[name]['shown']}"


def _by_budget(page: dict[str, Any]) -> str:
    real = dict(sorted(page["by_budget"]["real"].items(), key=lambda item: int(item[0])))
    head = ["adaptive on AlpacaEval, by budget", *(f"{int(n):,}".replace(",", " ") for n in real)]
    rows = [["all its cells", *(one["shown"] for one in real.values())]]
    if DEFAULT in page["cells"]:
        cell = page["cells"][DEFAULT]["adaptive"]
        marks = {1: "≥ ", 0: "", -1: "≤ "}
        pairs = zip(cell["ratios"], cell["beyond"], strict=True)
        rows.append(["at the default β = 0.1", *(f"{marks[int(b)]}{r:.2f}" for r, b in pairs)])
    return table(head, rows)


def _harm(results: Results) -> str:
    page = results["robustness"]
    worse = page["figures"]["worse than random"]
    counted, where = page["compared"], worse.get("missed", [])
    text = (
        f"In {worse['value']:.0f} of {counted} cells × budgets at which it is not random itself, it is significantly "
        "worse than random"
    )
    if where:
        text += f" ({'; '.join(where[:3])}{' …' if len(where) > 3 else ''})"
    return f"{text}; chance alone would give about {0.025 * counted:.1f}"


def _dialogue(results: Results) -> str:
    page = results["dialogue"]
    figures, one = page["figures"], page["cells"][0]
    ours, plain = "by the fit, taught", "random"

    def cost(name: str) -> str:
        return " against ".join(f"{figures[f'{m}, {name}']['value']:.1f}" for m in (ours, plain))

    won = figures["P4c"]
    return (
        f"({page['model']}, {one['budget']} labels by a small judge, {len(page['seeds'])} trainings, {one['held_out_prompts']} held-out "
        f"prompts): against the reference `{ours}` wins {_points(figures[f'{ours} − {plain}, points'])} over plain random, at a "
        f"KL of {cost('kl')} nats and a perplexity of {cost('perplexity')}; set beside it at one KL on training prompts "
        f"({_mean_kl(page, 0):.2f} and {_mean_kl(page, 1):.2f} nats on held-out ones) it wins "
        f"{100 * won['value']:.0f} % ({100 * won['low']:.0f} to {100 * won['high']:.0f})"
    )


def _mean_kl(page: dict[str, Any], side: int) -> float:
    """On held-out prompts, of ours (0) or plain random's policy (1), where both are at one KL."""
    every = [value for one in page["beside"] for value in one["kl"][side]]
    return float(sum(every) / len(every))


def _points(figure: dict[str, Any]) -> str:
    if figure["low"] is None or figure["high"] is None:
        return f"{figure['value']:+.1f} points (no interval yet)"
    noise = (
        "better" if figure["low"] > 0 else "worse" if figure["high"] < 0 else "no difference seen"
    )
    half = (figure["high"] - figure["low"]) / 2
    return f"{figure['value']:+.1f} ± {half:.1f} points ({noise})"


def _imdb(results: Results) -> str:
    page = results["imdb"]
    part = re.compile(r"J, (.+), (\d+) labels")
    found = [(part.fullmatch(name), figure) for name, figure in page["figures"].items()]
    cells = {(m[1], int(m[2])): _with_ends(figure) for m, figure in found if m}
    methods = sorted({m for m, _ in cells}, key=lambda m: (not m.startswith("random"), m))
    labels = sorted({count for _, count in cells})
    head = ["gain in J over the reference, by labels", *map(str, labels)]
    rows = [[f"`{m}`", *(cells.get((m, count), "") for count in labels)] for m in methods]

    def saved(name: str) -> str:
        return str(page["saved"].get(name, "not to be said"))

    design = page["figures"]["P4b"]
    seen = "it helps" if (design["low"] or 0) > 1 else "nothing is seen of it"
    if design["high"] is not None and design["high"] < 1:
        seen = "it harms"
    return (
        f"{table(head, rows)}\n{page['model']}, {page['settings']['openings']} openings, {len(page['seeds'])} trainings a cell, 95 % intervals. "
        f"Labels that plain random needs ÷ those that a method needs for the same J: {saved('labels saved by random, taught, pools of 8')} for "
        f"`random, taught` (both such intervals hold together), {saved('P4a')} for `design, taught`. What the design saves once both "
        f"are taught: {saved('P4b')}: {seen}."
    )


def _engine(results: Results) -> str:
    figures = results["design"]["figures"]

    def of(name: str) -> float:
        return float(figures[name]["value"])

    return (
        f"A billion pairs (d = 64) take {60 * of('P5 minutes'):.0f} seconds of two cores and {of('P5 memory, GiB'):.1f} "
        f"GiB, certified to {of('P5 certificate, %'):.1f} %; ten million of a thousand dimensions "
        f"{of('P5b minutes'):.1f} minutes"
    )


BLOCKS: dict[str, tuple[str, Callable[[Results], str]]] = {
    "demo": ("demo", _demo),
    "savings": ("robustness", _savings),
    "harm": ("robustness", _harm),
    "dialogue": ("dialogue", _dialogue),
    "imdb": ("imdb", _imdb),
    "engine": ("design", _engine),
}
"""Every block of README and guide: the page it is from, and what writes it."""
