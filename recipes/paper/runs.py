"""What the two experiments with a language model share: a run of its own, the paper's features, a batch."""

import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from whichpairs import FeatureSettings, LimitSettings, SelectSettings, compute_features, select
from whichpairs.run.files import write_whole
from whichpairs.workflow.workspace import workspace

METHODS = ("the first", "random", "paper", "gap")
"""`gap` is ours; `paper` the paper's own draw; *the first* and *random* are what they are compared with."""
BASELINES = ("the first", "random")
FEATURES = "states"


def one_thread() -> None:
    """Small matrices gain nothing from a second thread, and lose much when a core is busy."""
    import torch

    torch.set_num_threads(1)


def copy_run(base: Path, run: Path) -> None:
    """A run that begins where `base` stands; one that is there already goes on."""
    if run.exists():
        return
    aside = run.with_name(run.name + ".copy")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(base, aside, ignore=shutil.ignore_patterns(".lock"))
    aside.rename(run)


def paper_features(run: Path, model: str, dim: int, say: Callable[[str], None]) -> None:
    """As the paper has them: last-token hidden states, standardised, PCA."""
    hidden = FeatureSettings("hidden", model=model, fidelity=False)
    joined = FeatureSettings(
        "join", sets="hidden", standardise=True, dim=dim, name=FEATURES, fidelity=False
    )
    for features in (hidden, joined):
        say(compute_features(run, features).message)


def prompts_with_pairs(run: Path) -> list[tuple[str, str]]:
    """The first two completions of every prompt that has two."""
    with workspace(run) as space:
        starts, ids = space.pool.starts, space.pool.ids
        return [(ids[low], ids[low + 1]) for low, high in pairwise(starts) if high - low > 1]


def pick(run: Path, method: str, labels: int, seed: int) -> dict[str, Any]:
    """A batch of one pair a prompt, of so many labels; *the first* and *gap* do not depend on the seed."""
    first = None
    if method == "the first":
        first = run / "first.jsonl"
        pairs = prompts_with_pairs(run)[:labels]
        lines = [json.dumps({"id_a": a, "id_b": b}) for a, b in pairs]
        write_whole(first, "\n".join(lines) + "\n")
    asked = SelectSettings(
        labels,
        "random" if first else method,
        features=FEATURES,
        controls=0,
        seed=seed,
        tolerance=0.01,
        limits=LimitSettings(per_prompt=1, must=str(first) if first else None),
    )
    return dict(select(run, asked).result)


def short_name(method: str, *more: object) -> str:
    """For files."""
    return "-".join([method.replace(" ", "-"), *map(str, more)])
