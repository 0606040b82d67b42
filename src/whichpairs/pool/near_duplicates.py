"""Near-duplicates among the completions of a prompt: pairs that have little to teach."""

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy import sparse

WORDS = 3
"""Words in a shingle."""

SAME = 0.8
"""Jaccard similarity from which two completions count as near-duplicates."""


def near_duplicates(completions: Sequence[str], starts: np.ndarray) -> np.ndarray:
    """Which completions are nearly the same as an earlier one of their prompt.

    Two are when the sets A and B of their shingles (runs of three words; case, punctuation and
    blanks aside) have |A ∩ B| / |A ∪ B| ≥ 0.8 (Broder 1997, "On the resemblance and containment
    of documents"), exactly computed. Texts of fewer than three words are one shingle; texts
    without words (and languages written without blanks) match where they are equal.

    Args:
        completions: texts, those of a prompt contiguous.
        starts: prompt p owns ``completions[starts[p]:starts[p + 1]]``.

    Returns:
        bool (completions,).
    """
    number: dict[tuple[str, ...], int] = {}
    sets = [
        np.array(sorted({number.setdefault(s, len(number)) for s in _shingles(text)}))
        for text in completions
    ]
    found = np.zeros(len(sets), dtype=bool)
    for start, stop in pairwise(starts.tolist()):
        own = sets[start:stop]
        sizes = np.array([len(one) for one in own])
        flat, rows = np.concatenate(own), np.repeat(np.arange(len(own)), sizes)
        columns = np.unique(flat, return_inverse=True)[1]
        inside = sparse.csr_array((np.ones(len(flat)), (rows, columns)))
        common = (inside @ inside.T).toarray()
        alike = common >= SAME * (sizes[:, None] + sizes - common) - 1e-9
        found[start:stop] = np.tril(alike, -1).any(axis=1)
    return found


def _shingles(text: str) -> list[tuple[str, ...]]:
    words = re.findall(r"\w+", text.casefold())
    if len(words) < WORDS:
        return [tuple(words) or (text.strip(),)]
    return list(zip(*(words[k:] for k in range(WORDS)), strict=False))
