"""Directions of the feature space in words of the pool's own text.

A direction says nothing to a person. What the completions furthest along it say, and those furthest
against it do not, mostly does.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from whichpairs.pool.pool import Pool

MOST = 4000
"""Completions whose words are counted."""

SHARE, WORDS, LEAST = 0.1, 5, 5
"""The part of them at each end that is compared; words shown; completions that must have a word."""

_WORD = re.compile(r"[^\W\d_]{3,20}")


@dataclass(frozen=True)
class Direction:
    """A direction: words at each of its ends, and lengths of what stands there, in characters.

    Attributes:
        share: of what is still open in all directions, how much in this one.
    """

    more: tuple[str, ...]
    less: tuple[str, ...]
    lengths: tuple[int, int]
    share: float


def open_directions(
    pool: Pool, phi: np.ndarray, learned: np.ndarray, worth: np.ndarray, count: int = 3
) -> list[Direction]:
    """The directions in which most of the gap is still open.

    Args:
        phi: features, (rows, d).
        learned: M, the information of prior and labels, (d, d); worth: I, what the policy uses.

    The gap tr(I M⁻¹) is the sum of the eigenvalues of I u = λ M u: its largest parts are shown.
    """
    values, vectors = eigh(worth, learned)
    total = float(values.sum())
    if total <= 0:
        return []
    texts, rows = some_texts(pool)
    centred = np.asarray(phi[rows], dtype=np.float64)
    found = []
    for k in np.argsort(values)[::-1][:count]:
        more, less, lengths = ends_in_words(texts, centred @ vectors[:, k])
        if more or less:
            found.append(Direction(more, less, lengths, float(values[k]) / total))
    return found


def some_texts(pool: Pool) -> tuple[list[str], np.ndarray]:
    """At most `MOST` completions, evenly over the pool, and their rows."""
    total = len(pool.completions)
    rows = np.unique(np.linspace(0, total - 1, min(total, MOST)).round().astype(np.int64))
    return pool.completions["completion"].gather(rows.tolist()).to_list(), rows


def ends_in_words(
    texts: Sequence[str], along: np.ndarray
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[int, int]]:
    """Words that tell the texts furthest along from those furthest against, and both ends' lengths."""
    n = max(int(SHARE * len(texts)), 1)
    order = np.argsort(along, kind="stable")
    low, high = ([texts[i] for i in part] for part in (order[:n], order[-n:]))
    counts = [_documents(low), _documents(high)]
    lengths = (int(np.median([len(t) for t in high])), int(np.median([len(t) for t in low])))
    return _telling(counts[1], counts[0], n), _telling(counts[0], counts[1], n), lengths


def _documents(texts: Sequence[str]) -> Counter[str]:
    """In how many of the texts each word stands."""
    return Counter(word for text in texts for word in set(_WORD.findall(text[:4000].lower())))


def _telling(here: Counter[str], there: Counter[str], n: int) -> tuple[str, ...]:
    """Words that are in these texts and not in those: by the z of the difference of two shares."""
    found = []
    for word, count in here.items():
        other = there[word]
        pooled = (count + other) / (2 * n)
        spread = (2 * pooled * (1 - pooled) / n) ** 0.5
        z = (count - other) / n / max(spread, 1e-9)
        if count >= LEAST and z >= 2.0:
            found.append((z, word))
    return tuple(word for _, word in sorted(found, key=lambda one: (-one[0], one[1]))[:WORDS])
