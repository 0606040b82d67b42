"""A batch as people see it: the file that whoever labels gets, and what is said of the choice."""

import hashlib
from typing import Any

import numpy as np

from whichpairs.design.space import Rows
from whichpairs.pool.pool import Pool, pair_id


def batch_rows(pool: Pool, pairs: Rows, *, control: bool, seed: int) -> list[dict[str, Any]]:
    """Pairs as batch rows, in the order of the pool; which completion stands as A is a coin of
    seed and pair.

    Args:
        control: whether the pairs are of held-out prompts, never to be fitted.
    """
    texts = pool.completions["completion"]
    pairs = np.sort(pairs, axis=1)
    rows = []
    for i, j in pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))].tolist():
        key = pair_id(pool.ids[i], pool.ids[j])
        coin = hashlib.sha256(f"{seed}:{key}".encode()).digest()[0] & 1
        a, b = (j, i) if coin else (i, j)
        prompt = int(pool.prompt_of[i])
        rows.append(
            {
                "pair_id": key,
                "prompt_id": pool.prompts["prompt_id"][prompt],
                "prompt": pool.messages(prompt),
                "completion_a": texts[a],
                "completion_b": texts[b],
                "id_a": pool.ids[a],
                "id_b": pool.ids[b],
                "weight": 1.0,
                "control": control,
            }
        )
    return rows


_WHY_RANDOM = {
    "adaptive": "so are the first 4 labels a feature, which say how large the rewards are",
    "signal": "no fit of the labels so far foretells the others beyond doubt",
}


BEST = {
    "d-optimal": "best possible D-efficiency",
    "a-optimal": "best possible batch by A-optimality",
    "c-optimal": "best possible batch by c-optimality",
    "i-optimal": "best possible batch by I-optimality",
}
"""What the certificate of a criterion other than the gap compares with."""


def _how(r: dict[str, Any]) -> str:
    """``, 128 of them at random …`` for those that learn from labels."""
    if r["random_picked"] is None:
        return ""
    if r["random_picked"] == r["picked"]:
        return f", all at random ({_WHY_RANDOM[r['criterion']]})"
    if r["criterion"] == "signal":
        return f", {r['random_picked']} of them at random, the others of the strongest signal"
    return (
        f", {r['random_picked']} of them at random, the others the best of {r['looked_at']} "
        f"candidates drawn ({r['too_far']} of which are too far apart to trust the model with)"
    )


def batch_message(r: dict[str, Any]) -> str:
    """How the pairs were picked, what they should reach, and what random would need for it."""
    text = f"{r['picked']} of {r['candidate_pairs']} candidate pairs picked by {r['criterion']}"
    text += f" (and {r['controls']} control pairs)" if r["controls"] else ""
    text += _how(r)
    text += f"; predicted gap {r['predicted_gap']:.4g}, random's {r['random_predicted_gap']:.4g}"
    needs = r["labels_random_would_need"]
    if r["criterion"] != "random" and r["random_picked"] != r["picked"]:
        text += f"; random would need {needs} labels" if needs else "; random cannot get there"
    if r["certificate"] is not None:
        of = BEST.get(r["criterion"], "best possible batch")
        text += f"; at most {100 * r['certificate']:.2g} % from the {of}"
    return f"{text}.\n{r['batch_file']}"


def finite(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """−∞ (no bound yet) is null in JSON."""
    return [
        {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()}
        for row in history
    ]
