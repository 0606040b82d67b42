"""The paper's experiments in small, by one command, beside what the paper says of its own.

    .venv/bin/python recipes/paper/paper.py [--full] [--sections synthetic,prompts,responses,hh] [--results FOLDER]

What is finished is kept in build/paper, by the code and settings behind it: a second call goes on from there, and the
page shows whatever is there. settings.json has the sizes: a subset for two cores, and with --full the paper's.
"""

import argparse
import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

import hh
import sections
import selection
import synthetic
from kept import keep_all, kept
from picture import draw

from whichpairs.bench.markdown import About, write_page
from whichpairs.errors import UserError
from whichpairs.lm.optional import quiet

HERE = Path(__file__).parent
IMDB = HERE.parent / "imdb"
SECTIONS = ("synthetic", *selection.KINDS, "hh-batches", "hh")
"""`hh-batches` is the half of `hh` that picks, without training."""
MEASURES = (
    *synthetic.MEASURES,
    *selection.MEASURES,
    *hh.MEASURES,
    "recipes/paper/frontier.py",
    "recipes/paper/sections.py",
)


class Clock:
    """Prints lines with the time since the start."""

    def __init__(self) -> None:
        self.began = time.perf_counter()

    def __call__(self, text: str) -> None:
        print(f"[{time.perf_counter() - self.began:5.0f} s] {text}", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--full", action="store_true", help="the paper's sizes")
    parser.add_argument(
        "--sections", default="synthetic,prompts,responses,hh", help=f"of {', '.join(SECTIONS)}"
    )
    parser.add_argument("--out", type=Path, default=Path("build/paper"))
    parser.add_argument("--results", type=Path, default=None, help="folder of page and picture")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--settings", type=Path, default=HERE / "settings.json")
    parser.add_argument(
        "--policy", default=None, help="language model; recipes/imdb/smollm2 if left out"
    )
    parser.add_argument(
        "--reward", default=None, help="reward folder; the IMDb recipe's if left out"
    )
    parser.add_argument(
        "--openings",
        default=None,
        help="JSONL of prompts; else recipes/imdb/openings.jsonl, else the policy writes them",
    )
    parser.add_argument("--dtype", default=None, help="of training; the settings' if left out")
    parser.add_argument(
        "--layers", default=None, help="that are trained; the settings' if left out"
    )
    found = parser.parse_args()
    found.sections = found.sections.split(",")
    for name in found.sections:
        if name not in SECTIONS:
            parser.error(f"sections are {', '.join(SECTIONS)}; got {name}")
    return found


def main() -> None:
    """Run what is not there yet, and write the page of what is."""
    options, say = arguments(), Clock()
    settings = json.loads(options.settings.read_text(encoding="utf-8"))
    size = settings["full" if options.full else "subset"]
    parts = [
        _synthetic(options, size, say),
        *(_selection(kind, options, settings, size, say) for kind in selection.KINDS),
        _hh(options, size, say),
    ]
    write(options, parts)
    for figure in (f for part in parts for f in part.figures if f.goal):
        print(
            f"{figure.name}: {sections.shown(figure, 3)} ({'reached' if figure.reached else 'missed'})"
        )
    say(f"page, figures and picture: {options.results or options.out}")


def _synthetic(options: argparse.Namespace, size: dict[str, Any], say: Clock) -> sections.Section:
    worlds = size["synthetic"]["worlds"]
    jobs = synthetic.jobs(options.out, worlds)
    if "synthetic" in options.sections:
        keep_all(jobs, options.processes, say)
    return sections.of_synthetic(worlds, kept(jobs))


def _selection(
    kind: str,
    options: argparse.Namespace,
    settings: dict[str, Any],
    size: dict[str, Any],
    say: Clock,
) -> sections.Section:
    models = models_of(options, settings)
    if isinstance(models, str):
        if kind in options.sections:
            say(f"{kind}: left out, for {models}")
        return sections.of_selection(None, kind, models)
    plan = selection.Plan.of(kind, models, selection.Size(**size[kind]), settings, options.out)
    if kind in options.sections:
        say(f"{kind}: {len(plan.jobs())} cells, kept in {plan.folder}")
        selection.prepare(plan, say)
        keep_all(plan.jobs(), options.processes, say)
    return sections.of_selection(plan, kind)


def models_of(options: argparse.Namespace, settings: dict[str, Any]) -> selection.Models | str:
    """The language model and the reward; or which of them is missing."""
    policy = options.policy or str(IMDB / "smollm2")
    reward = options.reward or _reward_folder()
    if options.policy is None and not Path(policy).is_dir():
        return "recipes/imdb/smollm2 is not there (--policy FOLDER names another model)."
    if reward is None:
        return "the IMDb recipe's reward is not there (--reward FOLDER names another)."
    own = IMDB / "openings.jsonl"
    openings = options.openings or (str(own) if own.is_file() else None)
    how = options.dtype or settings["dtype"], options.layers or settings["layers"]
    return selection.Models(policy, reward, openings, *how)


def _reward_folder() -> str | None:
    """The IMDb recipe's, made where it is not there yet; None where what it is made of is missing."""
    if not (IMDB / "sentiment").is_dir():
        return None
    spec = importlib.util.spec_from_file_location("imdb_lab", IMDB / "lab.py")
    assert spec is not None
    assert spec.loader is not None
    lab = sys.modules["imdb_lab"] = importlib.util.module_from_spec(spec)
    sys.path.append(str(IMDB))  # its neighbours are scripts
    spec.loader.exec_module(lab)
    with quiet():
        return str(lab.SMOLLM2.reward_folder())


def _hh(options: argparse.Namespace, size: dict[str, Any], say: Clock) -> sections.Section:
    if not hh.DATA.exists():
        return sections.of_hh(None, "../shared/data/hh_harmless_test.parquet is not there.")
    plan = hh.Plan.of(size["hh"], options.out)
    if {"hh", "hh-batches"} & set(options.sections):
        hh.prepare(plan, say)
        keep_all(plan.batches(), options.processes, say)
    if "hh" in options.sections:
        keep_all(plan.trainings(), options.processes, say)
    return sections.of_hh(plan)


def write(options: argparse.Namespace, parts: list[sections.Section]) -> None:
    figures = [figure for part in parts for figure in part.figures]
    about = About("make paper" + (" FULL=--full" if options.full else ""), MEASURES)
    lines = [
        "# The paper's experiments, in small",
        "",
        f"Made by `{about.command}` ([the recipe](../../recipes/paper/README.md)); every cell: [paper.json](paper.json).",
        "*paper* is the paper's method as it ran it (`whichpairs select --criterion paper`), *gap* ours. What the paper did is told from a",
        "public reading of it, which has its set-up and none of its numbers: so what stands side by side is what was done.",
        "",
        sections.goals(figures),
    ]
    picture = draw([panel for part in parts for panel in part.panels])
    lines += ["![The synthetic gaps, and the frontiers](paper.png)"] if picture else []
    lines += [part.text() for part in parts]
    facts = {"sections": {part.title: part.facts for part in parts}}
    pictures = {"paper.png": picture} if picture else {}
    write_page(
        options.results or options.out, "paper", about, figures, facts, "\n".join(lines), pictures
    )


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(str(error)) from None
