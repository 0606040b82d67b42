"""Feature files: one row a completion, centred within its prompt, written in a stream.

Only differences within a prompt matter, so φ is centred there before it is stored in low
precision. Written with plain writes (a full disk is then an error, not a bus error) and read
memory-mapped.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from whichpairs.errors import UserError, plainly
from whichpairs.wording import counted

NAME = "features.npy"
WINDOW = 16
"""Batches that are sorted by length together and come out as one block, the unit of resuming."""


def write_features(
    folder: Path, blocks: Iterable[np.ndarray], starts: np.ndarray, dtype: str = "float32"
) -> int:
    """Centre `blocks` (rows in pool order, any cut) within prompts and write them; returns d.

    Raises:
        UserError: a value is not finite (its row and column are named), the rows do not match the
            pool, or no feature differs within any prompt.
    """
    spread, scale, dim, rows = 0.0, 0.0, 0, 0
    with (folder / NAME).open("wb") as file:
        for raw, block in _by_prompt(blocks, starts):
            if not dim:
                dim = block.shape[1]
                header = {"descr": np.dtype(dtype).str, "fortran_order": False}
                np.lib.format.write_array_header_1_0(
                    file, {**header, "shape": (int(starts[-1]), dim)}
                )
            file.write(_stored(block, dtype, rows).tobytes())
            spread = max(spread, float(np.abs(block).max(initial=0.0)))
            scale = max(scale, float(np.abs(raw).max(initial=0.0)))
            rows += len(block)
    if rows != starts[-1]:
        raise UserError(
            f"features need one row a completion ({starts[-1]} of them)",
            f"got {counted(rows, 'row')}",
        )
    if spread <= 1e-12 * scale:  # what is left of a constant is rounding
        raise UserError(
            "features must differ within some prompt",
            "all are constant there, so no pair teaches anything",
            "use another --method",
        )
    return dim


def open_features(folder: Path, rows: int) -> np.ndarray:
    """The feature file, memory-mapped (rows × d).

    Raises:
        UserError: the file is missing, half-written, or has another number of rows.
    """
    path = folder / NAME
    remedy = f"delete {folder} and compute the features again"
    try:
        features = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(
            "the feature file must be whole", f"{path}: {plainly(error)}", remedy
        ) from None
    if features.ndim != 2 or len(features) != rows:
        raise UserError(
            f"the feature file must have {counted(rows, 'row')}",
            f"{path} has shape {features.shape}",
            remedy,
        )
    return np.asarray(features) if features.nbytes < 1 << 26 else features


def _stored(block: np.ndarray, dtype: str, first: int) -> np.ndarray:
    """The block in the precision of the file, which must have room for it."""
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(block, dtype=dtype)
    bad = np.argwhere(~np.isfinite(stored))
    if len(bad):
        row, column = (int(v) for v in bad[0])
        raise UserError(
            f"centred features must fit {dtype} (at most {np.finfo(dtype).max:.3g})",
            f"row {first + row}, column {column} is {block[row, column]:.3g}",
            "scale them down"
            + (", or store them with --dtype float32" if dtype == "float16" else ""),
        )
    return stored


def _by_prompt(
    blocks: Iterable[np.ndarray], starts: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The same rows, cut at prompt boundaries, checked; as they are, and centred."""
    held = np.empty((0, 0))
    first, prompt = 0, 0
    for block in blocks:
        _check_finite(block, first + len(held))
        held = np.concatenate([held, block]) if len(held) else np.asarray(block, np.float64)
        last = int(np.searchsorted(starts, first + len(held), side="right")) - 1
        if last > prompt:
            size = int(starts[last]) - first
            yield held[:size], centred(held[:size], np.diff(starts[prompt : last + 1]))
            held, first, prompt = held[size:], int(starts[last]), last
    if len(held):
        raise UserError(
            f"features need one row a completion ({starts[-1]} of them)",
            f"got {counted(first + len(held), 'row')}",
        )


def centred(rows: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The rows less the mean of their prompt, float64; `sizes`: rows of each prompt, in order."""
    sizes = sizes[sizes > 0]
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    means = np.add.reduceat(np.asarray(rows, np.float64), offsets, axis=0) / sizes[:, None]
    return np.asarray(rows - np.repeat(means, sizes, axis=0))


def _check_finite(block: np.ndarray, first: int) -> None:
    bad = np.argwhere(~np.isfinite(block))
    if len(bad):
        row, column = (int(v) for v in bad[0])
        raise UserError(
            "features must be finite numbers",
            f"row {first + row}, column {column} is {block[row, column]}",
            "mend that row, or leave its completion out",
        )
