"""The batch file: what whoever labels gets to see of each picked pair."""

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
