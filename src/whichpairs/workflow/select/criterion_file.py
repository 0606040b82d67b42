"""What a solved batch minimises: a criterion by the name the user gave, and the file it may need.

A direction or a moment is the user's own array, in the coordinates of the feature set that the
batch is picked by (its ``features.npy``), so it is checked here as strictly as a pool is.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from whichpairs.design import Criterion, DOptimal, a_optimal, c_optimal, i_optimal
from whichpairs.errors import UserError, plainly


@dataclass(frozen=True)
class Target:
    """One of `OPTIMALITIES` for `dim` features, with the path of its matrix where it needs one."""

    name: str
    dim: int
    matrix: str | None = None

    @cached_property
    def criterion(self) -> Criterion:
        """The criterion itself.

        Raises:
            UserError: its file is missing, no ``.npy``, or holds what cannot be one.
        """
        match self.name:
            case "d-optimal":
                return DOptimal()
            case "a-optimal":
                return a_optimal(self.dim)
            case "c-optimal":
                return c_optimal(self._load((self.dim,)))
        return i_optimal(self._load((self.dim, self.dim)))

    @property
    def inputs(self) -> dict[str, str]:
        """The file's SHA-256, once it is known to hold what it should; empty without a file."""
        if self.matrix is None:
            return {}
        assert self.criterion
        with Path(self.matrix).open("rb") as file:
            return {"matrix": hashlib.file_digest(file, "sha256").hexdigest()}

    def _load(self, shape: tuple[int, ...]) -> np.ndarray:
        loaded = _open(Path(self.matrix or ""))
        if loaded.shape != shape or loaded.dtype.kind not in "fiu":
            raise UserError(
                f"{self.name} for {self.dim} features takes real numbers of shape {shape}",
                f"{self.matrix} holds {loaded.dtype} of shape {loaded.shape}",
                "give it in the coordinates of the feature set (its features.npy)",
            )
        return np.array(loaded, np.float64)


def _open(path: Path) -> np.ndarray:
    """Memory-mapped, so that a wrong file of any size is refused by its shape."""
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError("the matrix file must exist", f"{path} does not") from None
    except (OSError, ValueError, EOFError, SyntaxError, MemoryError, OverflowError) as error:
        reason = plainly(error)
        raise UserError(
            "the matrix file must be a whole .npy of numbers",
            f"{path}: {reason}",
            "write it again with numpy.save(path, matrix)",
        ) from None
    if not isinstance(loaded, np.ndarray):
        loaded.close()
        raise UserError(
            "the matrix file must be one .npy",
            f"{path} is an .npz",
            "write it again with numpy.save(path, matrix)",
        )
    return loaded
