"""Pairs that are one and the same to a design: equal feature differences, up to sign.

The same completions under many prompts, one-hot features and duplicates make many such pairs. They
are one kind with a multiplicity: where nothing but the budget and shares of groups limits a batch,
which copies are labelled makes no difference, and only how many does.
"""

import numpy as np
from jaxtyping import Float, Int64

KINDS_A_DIMENSION = 4
"""Kinds that a pass keeps at least, however many copies each has. (A design needs no more than
d (d + 1) / 2, and seldom more than a few d.)"""

_UNSIGNED = np.int64(2**63 - 1)
_ODD = np.uint64(0x9E3779B97F4A7C15)


def first_of_kind(z: Float[np.ndarray, "pairs d"]) -> Int64[np.ndarray, " pairs"]:
    """The place of the first pair of every pair's kind: its own, where no earlier one is equal to
    it.

    Equal is equal in every bit, up to the sign of the whole row; a row of zeros has no sign.
    """
    first = np.arange(len(z))
    if len(z) < 2:
        return first
    bits = np.ascontiguousarray(z, np.float64).view(np.int64)
    rough = (bits & _UNSIGNED).sum(axis=1)  # wraps around: the order of sums does not matter
    order = np.argsort(rough, kind="stable")
    same = np.concatenate([[False], np.diff(rough[order]) == 0, [False]])
    tied = np.sort(order[same[1:] | same[:-1]])
    if len(tied) == 0:
        return first
    rows = _one_sign(z[tied])
    _, at, back = np.unique(_hashes(rows), return_index=True, return_inverse=True)
    lead = at[back]
    lead = np.where((rows == rows[lead]).all(axis=1), lead, np.arange(len(rows)))
    first[tied] = tied[lead]
    return first


def _one_sign(z: Float[np.ndarray, "pairs d"]) -> Float[np.ndarray, "pairs d"]:
    """The rows with a first number other than 0 above 0, and no −0."""
    lead = np.take_along_axis(z, np.argmax(z != 0.0, axis=1)[:, None], axis=1)
    return np.asarray(np.where(lead < 0.0, -z, z) + 0.0)


def _hashes(rows: Float[np.ndarray, "pairs d"]) -> np.ndarray:
    """64 bits of each row; equal rows have equal ones."""
    total = np.zeros(len(rows), np.uint64)
    with np.errstate(over="ignore"):
        for column in rows.T:
            x = np.ascontiguousarray(column).view(np.uint64) + total
            x = (x ^ (x >> np.uint64(32))) * _ODD
            total = x ^ (x >> np.uint64(29))
    return total
