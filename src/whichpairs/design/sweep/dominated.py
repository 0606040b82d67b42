"""Pairs that no best answer needs: others of their prompt are worth as much and cost no more.

Where a prompt takes c labels at most and a pair k, a pair that ⌈c/k⌉ others of its prompt dominate
can give its labels to one of them: that breaks no limit, as long as limits a completion are not
among them. Where a group must get a least share of the budget, what costs less is no better: there
only pairs of the same cost dominate.
"""

import numpy as np
from jaxtyping import Bool, Float, Int64

from whichpairs.design.problem.limits import Limits

MOST_LAYERS = 8
"""Above so many dominating pairs, nothing is sorted out."""


def undominated(
    prompt: Int64[np.ndarray, " n"],
    scores: Float[np.ndarray, " n"],
    costs: Float[np.ndarray, " n"],
    keys: Int64[np.ndarray, " n"],
    limits: Limits,
) -> Bool[np.ndarray, " n"]:
    """Which pairs a best answer may need; ties go by key.

    Layer after layer of what nothing left dominates is kept: what is then left has a dominating
    pair in each.
    """
    kept = np.ones(len(keys), dtype=bool)
    if limits.per_prompt is None or limits.per_completion is not None:
        return kept
    layers = -(-limits.per_prompt // limits.repeats)
    if layers > MOST_LAYERS:
        return kept
    order = np.lexsort((keys, -scores, costs, prompt))
    rank = np.empty(len(keys), np.int64)
    rank[np.lexsort((-keys, scores))] = np.arange(1, len(keys) + 1)
    apart = np.diff(prompt[order]) > 0
    if limits.groups is not None and (limits.groups.least > 0.0).any():
        apart |= np.diff(costs[order]) > 0.0
    place = np.empty(len(keys), np.int64)
    place[order] = np.concatenate([[0], np.cumsum(apart)])[: len(keys)]
    level = rank + place * (len(keys) + 1)  # later prompts start above all earlier ones
    left, kept[:] = order, False
    for _ in range(layers):
        if len(left) == 0:
            break
        best = np.maximum.accumulate(level[left])
        front = level[left] >= best
        kept[left[front]] = True
        left = left[~front]
    return kept
