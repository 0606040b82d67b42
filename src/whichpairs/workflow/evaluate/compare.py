"""Two groups of policies of one run, e.g. the seeds of two designs, on the same prompts and
noise."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from whichpairs.errors import UserError
from whichpairs.evaluate.interval import Interval, interval
from whichpairs.run.files import read_array
from whichpairs.run.folder import open_run
from whichpairs.types import SILENT, Progress
from whichpairs.workflow.evaluate.settings import EvaluateSettings
from whichpairs.workflow.evaluate.stage import evaluate_run


@dataclass(frozen=True)
class Comparison:
    """Differences, the first group's less the second's, of ``reward``, ``kl`` and ``J``.

    Attributes:
        over_prompts: intervals over held-out prompts, each policy taken as it is: would other
            prompts say the same of these very policies?
        over_policies: intervals over policies, the i-th of one group less the i-th of the other:
            would other seeds of training? None where the groups differ in size.
    """

    over_prompts: dict[str, Interval]
    over_policies: dict[str, Interval] | None


def compare_policies(
    run: str | Path,
    ours: Sequence[str],
    theirs: Sequence[str],
    settings: EvaluateSettings,
    *,
    progress: Progress = SILENT,
) -> Comparison:
    """Evaluate every policy (none twice) by a score or a reward, and compare the groups.

    Args:
        ours, theirs: names of policies (or fits, with a score), at least one each.
        settings: how; its `policy` and `against` are not used.

    Raises:
        UserError: an empty group, or what `evaluate_run` says.
    """
    if not ours or not theirs or (settings.score is None and settings.reward is None):
        raise UserError(
            "a comparison needs two groups of policies, and a score or a reward",
            f"got {len(ours)} and {len(theirs)} policies",
        )
    beta = open_run(Path(run)).beta
    groups = []
    for names in (ours, theirs):
        values = [_values(run, replace(settings, policy=n, against=None), progress) for n in names]
        rewards, kls = np.moveaxis(np.array(values), 2, 0)
        groups.append({"reward": rewards, "kl": kls, "J": rewards - beta * kls})
    first, second = groups
    by_prompt = {k: interval(first[k].mean(0) - second[k].mean(0)) for k in first}
    if len(ours) != len(theirs):
        return Comparison(by_prompt, None)
    return Comparison(by_prompt, {k: interval((first[k] - second[k]).mean(1)) for k in first})


def _values(run: str | Path, settings: EvaluateSettings, progress: Progress) -> np.ndarray:
    """Reward and KL of every held-out prompt, (prompts, 2)."""
    folder = evaluate_run(run, settings, progress=progress).folder
    assert folder is not None
    return read_array(folder / "policy.npy")
