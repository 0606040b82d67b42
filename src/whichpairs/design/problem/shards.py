"""Features that lie in several files, as one array: rows of the first, then of the second …"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64, Shaped

from whichpairs.errors import UserError


class Shards:
    """What `PairSpace` asks of a feature matrix, over memory-mapped parts.

    Args:
        parts: arrays of the same width and type, (rows of the part, d).

    Raises:
        UserError: no parts, or parts that do not fit together.
    """

    def __init__(self, parts: Sequence[Shaped[np.ndarray, "_ d"]]) -> None:
        kinds = {(part.shape[1:], part.dtype) for part in parts}
        if len(kinds) != 1 or len(next(iter(kinds))[0]) != 1:
            raise UserError(
                "feature shards must be matrices of one width and one type",
                f"got {len(parts)} shards of {sorted(map(str, kinds))}",
            )
        self.parts = tuple(parts)
        self.ends = np.cumsum([len(part) for part in parts])
        self.dtype: np.dtype[np.generic] = parts[0].dtype
        self.shape = (int(self.ends[-1]), int(parts[0].shape[1]))

    @classmethod
    def open(cls, paths: Sequence[Path]) -> "Shards":
        """Memory-map .npy files, in this order.

        Raises:
            UserError: a file that is no .npy of plain numbers.
        """
        parts = []
        for path in paths:
            try:
                parts.append(np.load(path, mmap_mode="r", allow_pickle=False))
            except (OSError, ValueError) as error:
                raise UserError(
                    "a shard must be a .npy file of numbers", f"{path}: {error}"
                ) from None
        return cls(parts)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: "slice | Int64[np.ndarray, '*n']") -> Shaped[np.ndarray, "*n d"]:
        """Rows by a slice of step 1 (a view where one part has them all), or by numbers (a
        copy)."""
        if isinstance(rows, slice):
            first, last, step = rows.indices(len(self))
            if step == 1:
                return self._run(first, max(last, first))
            rows = np.arange(first, last, step)
        part = np.searchsorted(self.ends, rows, side="right")
        out = np.empty((*rows.shape, self.shape[1]), self.dtype)
        for number in np.unique(part):
            some = part == number
            out[some] = self.parts[number][rows[some] - self._begin(int(number))]
        return out

    def _begin(self, number: int) -> int:
        return int(self.ends[number - 1]) if number else 0

    def _run(self, first: int, last: int) -> np.ndarray:
        found = []
        for number in range(
            int(np.searchsorted(self.ends, first, side="right")),
            int(np.searchsorted(self.ends, last, side="left")) + 1,
        ):
            if number < len(self.parts):
                begin = self._begin(number)
                found.append(self.parts[number][max(first - begin, 0) : last - begin])
        return found[0] if len(found) == 1 else np.concatenate(found or [self.parts[0][:0]])
