"""Stage score: a proxy reward for every completion of the pool, for simulation and evaluation."""

from pathlib import Path
from typing import Any

import numpy as np

from whichpairs.errors import UserError
from whichpairs.evaluate.reward import load_reward
from whichpairs.lm.folder import fingerprint
from whichpairs.run.once import Outcome, plain_name, settle
from whichpairs.types import SILENT, Progress
from whichpairs.workflow.workspace import Workspace, workspace

CHUNK = 2048


def reward_texts(space: Workspace, rows: range) -> list[str]:
    """What a reward reads: the prompt's text and the completion, run together."""
    prompts, completions = space.pool.prompts["prompt"], space.pool.completions["completion"]
    return [prompts[int(space.pool.prompt_of[r])] + completions[r] for r in rows]


def score_pool(
    run: str | Path,
    reward: str | Path,
    *,
    name: str = "reward",
    replace: bool = False,
    beta: float | None = None,
    progress: Progress = SILENT,
) -> Outcome:
    """Score every completion by the reward in a folder (see `load_reward`).

    Raises:
        UserError: no such reward, or the name is taken by another.
    """
    plain_name(name)
    scorer = load_reward(reward)
    with workspace(run, beta) as space:
        if name in space.pool.completions.columns:
            raise UserError("a score's name must be new", f"the pool has a column {name!r}")

        def make(folder: Path) -> dict[str, Any]:
            total = len(space.pool.completions)
            progress.start("scores", total)
            parts = []
            for at in range(0, total, CHUNK):
                rows = range(at, min(at + CHUNK, total))
                parts.append(np.asarray(scorer(reward_texts(space, rows)), dtype=np.float64))
                progress.advance(len(rows))
            progress.finish()
            scores = np.concatenate(parts)
            np.save(folder / "scores.npy", scores, allow_pickle=False)
            return {"score": name, "mean": float(scores.mean()), "spread": _spread(space, scores)}

        settings = {"reward": str(reward), "kind": scorer.name}
        inputs = {"pool": space.pool.fingerprint, "reward": fingerprint(Path(reward))}
        record, before = settle(
            space.run,
            ("scores", name),
            "score",
            settings,
            inputs,
            make,
            replace=replace,
            loses="the scores that labels may have been simulated from",
        )
        r = record.result
        message = f"Score {name!r}: mean {r['mean']:.3f}, spread within a prompt {r['spread']:.3f}."
        message = f"Score {name!r} is there already; nothing changed." if before else message
        return Outcome(message, r, before, space.run.root / "scores" / name)


def _spread(space: Workspace, scores: np.ndarray) -> float:
    """Root mean square of a score around its prompt's mean."""
    count = np.bincount(space.pool.prompt_of)
    mean = np.bincount(space.pool.prompt_of, scores) / np.maximum(count, 1)
    return float(np.sqrt(np.mean((scores - mean[space.pool.prompt_of]) ** 2)))
