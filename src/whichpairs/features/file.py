"""The user's own feature matrix: any embedding, saved with ``numpy.save``."""

from pathlib import Path

import numpy as np

from whichpairs.errors import UserError, plainly
from whichpairs.wording import counted

BLOCK_BYTES = 1 << 26


def file_features(path: str | Path, *, rows: int) -> np.ndarray:
    """The matrix in a ``.npy`` file, memory-mapped and read-only; every value is checked.

    Args:
        path: the file.
        rows: how many completions the pool has; row i belongs to its completion i.

    Returns:
        floating (rows, d), of the file's own precision; whole numbers and truth values become
        float32 where that surely holds them exactly, else float64.

    Raises:
        UserError: the file is missing, half-written or no ``.npy``; the array is not 2-D, not
            of numbers, of another number of rows, without columns, or holds NaN or infinity.
    """
    path = Path(path)
    features = _open(path)
    remedy = "save it with numpy.save, as float32"
    if features.dtype.kind in "iub":
        features = features.astype(np.float32 if features.itemsize < 4 else np.float64)
    if not np.issubdtype(features.dtype, np.floating):
        raise UserError("features must be real numbers", f"{path} holds {features.dtype}", remedy)
    if features.ndim != 2 or features.shape[1] == 0:
        raise UserError(
            "features must be a matrix, one row a completion",
            f"{path} has shape {features.shape}",
            remedy,
        )
    if len(features) != rows:
        raise UserError(
            f"features need one row a completion ({rows} of them)",
            f"{path} has {counted(len(features), 'row')}",
            "give one row for each row of the pool's completions.parquet, in its order",
        )
    _check_finite(features, path)
    return features


def _open(path: Path) -> np.ndarray:
    remedy = "write it again with numpy.save(path, matrix)"
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError("the feature file must exist", f"{path} does not") from None
    except (OSError, ValueError, EOFError, SyntaxError, MemoryError, OverflowError) as error:
        reason = plainly(error)
        raise UserError(
            "the feature file must be a whole .npy", f"{path}: {reason}", remedy
        ) from None
    if not isinstance(loaded, np.ndarray):
        loaded.close()
        raise UserError("the feature file must be one .npy", f"{path} is an .npz", remedy)
    return loaded


def _check_finite(features: np.ndarray, path: Path) -> None:
    """Block by block, so that a matrix larger than memory is checked too."""
    size = max(1, BLOCK_BYTES // (features.shape[1] * features.itemsize))
    for first in range(0, len(features), size):
        bad = np.argwhere(~np.isfinite(features[first : first + size]))
        if len(bad):
            row, column = (int(v) for v in bad[0])
            value = features[first + row, column]
            raise UserError(
                "features must be finite numbers",
                f"{path}: row {first + row}, column {column} (counted from 0) is {value}",
                "mend that row, or leave its completion out",
            )
