"""Two policies at one KL: whoever went further from the reference is drawn back towards it, and both are judged side by side.

A policy that is drawn back has the weights θ_ref + s (θ − θ_ref), with the s in (0, 1] at which its KL, measured on
training prompts, is that of the other. Then both reply to the held-out prompts from the same noise, and the judge sees
the two replies beside one another, in both orders.
"""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from lab import Trial, one_thread

from whichpairs.endpoint.client import Client, ServerSettings
from whichpairs.evaluate.winrate import WORTH
from whichpairs.label.judge import Question, judge
from whichpairs.pool.pool import Pool
from whichpairs.workflow.workspace import workspace

if TYPE_CHECKING:
    from whichpairs.lm.model import LanguageModel

MEASURED, NEAR, TRIES = 80, 0.03, 6
"""Training prompts on which KL is measured; how near the two are to be, as a share; how often it is tried."""


def at_one_kl(folder: Path, url: str, ours: Trial, theirs: Trial) -> dict[str, Any]:
    """How often `ours` beats `theirs` on held-out prompts, both at the smaller of their two KLs.

    Args:
        folder: of `lab.run_trial`, which has been called for both: their policies lie in ``runs``.
        url: the judge's server.
    """
    cell = folder / "cells" / f"{ours.name}-against-{theirs.name}.json"
    if cell.exists():
        return dict(json.loads(cell.read_text(encoding="utf-8")))
    from whichpairs.evaluate.policy import sequence_kl
    from whichpairs.lm.encode import Encoded, decode
    from whichpairs.lm.gumbel import Sampling
    from whichpairs.lm.model import load
    from whichpairs.lm.sampler import draw

    one_thread()
    began, of = time.perf_counter(), ours.of
    length = of.settings["max_new_tokens"]
    runs = [folder / "runs" / one.name for one in (ours, theirs)]
    with workspace(runs[0]) as space:
        pool = space.pool
    reference = load(of.model, dtype=of.dtype)
    policies = [load(max((r / "policies").iterdir()) / "model", dtype=of.dtype) for r in runs]
    known = _encode(reference, pool, ~pool.holdout)[:MEASURED]

    def kl(lm: "LanguageModel", prompts: Any, samples: int) -> np.ndarray:
        drawn = draw(lm, prompts, Sampling(samples, length), seed=1)
        texts = [
            Encoded(p, one.ids) for p, many in zip(prompts, drawn, strict=True) for one in many
        ]
        return (
            sequence_kl(lm, reference, texts, batch_size=256).reshape(len(prompts), samples).mean(1)
        )

    far = [float(kl(lm, known, 1).mean()) for lm in policies]
    further = int(np.argmax(far))
    share, reached = draw_back(
        policies[further], reference, min(far), lambda lm: float(kl(lm, known, 1).mean())
    )
    held = np.flatnonzero(pool.holdout)
    ids = _encode(reference, pool, pool.holdout)
    texts = []
    for lm in policies:
        drawn = draw(lm, ids, Sampling(ours.samples, length), seed=0)
        flat = [one.ids[: len(one.ids) - one.finished] for many in drawn for one in many]
        texts.append(decode(lm.tokenizer, flat))
    owner = np.repeat(held, ours.samples)
    won = _judge(url, f"small-judge-{ours.seed}", pool, owner, texts)
    found = {
        "seed": ours.seed,
        "ours": ours.method,
        "theirs": theirs.method,
        "kl_before": far,
        "share": [share if k == further else 1.0 for k in (0, 1)],
        "kl_on_training_prompts": [reached if k == further else far[k] for k in (0, 1)],
        "kl": [kl(lm, ids, 1).tolist() for lm in policies],
        "won": won.reshape(len(held), ours.samples).mean(1).tolist(),
        "seconds": round(time.perf_counter() - began, 1),
    }
    part = cell.with_suffix(".part")
    part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    part.replace(cell)
    return found


def draw_back(
    policy: "LanguageModel", reference: "LanguageModel", target: float, kl: Any
) -> tuple[float, float]:
    """Change `policy` to the weights θ_ref + s (θ − θ_ref) whose `kl` is about `target`.

    Near the reference KL goes with s², which is what each try assumes of the last one.

    Returns:
        s, and the KL there.
    """
    import torch

    base = dict(reference.model.named_parameters())
    moved = {
        name: (weight, weight.detach().clone())
        for name, weight in policy.model.named_parameters()
        if not torch.equal(weight, base[name])
    }
    share, reached = 1.0, kl(policy)
    for _ in range(TRIES):
        if abs(reached - target) <= NEAR * target:
            break
        share = min(1.0, share * (target / reached) ** 0.5)
        with torch.no_grad():
            for name, (weight, whole) in moved.items():
                weight.copy_(torch.lerp(base[name].float(), whole.float(), share))
        reached = kl(policy)
    return share, reached


def _encode(lm: "LanguageModel", pool: Pool, which: np.ndarray) -> list[Any]:
    from whichpairs.lm.encode import encode_prompt

    return [encode_prompt(lm.tokenizer, pool.messages(int(p))) for p in np.flatnonzero(which)]


def _judge(
    url: str, model: str, pool: Pool, owner: np.ndarray, texts: list[list[str]]
) -> np.ndarray:
    """What each comparison is worth to the first: 1 a win, ½ a tie or two equal texts."""
    rows = list(zip(owner.tolist(), *texts, strict=True))
    worth = np.full(len(rows), WORTH["tie"])
    asked = [k for k, (_, a, b) in enumerate(rows) if a != b]
    questions = [Question(pool.messages(rows[k][0]), *rows[k][1:]) for k in asked]
    for k, verdict in zip(asked, judge(Client(ServerSettings(url, model)), questions), strict=True):
        worth[k] = WORTH[verdict.choice]
    return worth
