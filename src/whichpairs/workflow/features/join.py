"""Feature sets side by side: sets of the run and columns of the pool, each a block of one matrix.

Each block is divided by the root mean square of its rows' norms, over the completions of prompts
with two or more: so every block makes the same mean squared distance between completions, however
many columns it has, and none drowns another. (A single block keeps its scale.) With `standardise`,
every column is divided by its own standard deviation within prompts before that; with fewer
dimensions than columns, the matrix is projected on to the axes along which completions differ most.

    features --method hidden, then --method join --sets hidden --standardise --dim 128

are so the features of the paper [han2026]: last-token hidden states, standardised, PCA to 128.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from whichpairs.errors import UserError
from whichpairs.features.columns import LEAST, Column, categories, numbers
from whichpairs.run.files import write_whole
from whichpairs.workflow.features.blocks import AXES, npy, on_axes, sample_prompts
from whichpairs.workflow.features.fidelity import Sample
from whichpairs.workflow.workspace import Workspace

COLUMN = "column:"
"""How a column of the pool is named among sets."""

CHUNK = 65536


@dataclass(frozen=True)
class Block:
    """One of the sets.

    Attributes:
        name: as the user gave it; rows: (completions, d), centred within prompts; scale: what each
            of its columns is multiplied by; print: 16 hex digits over what it was made from.
        column: of a column of the pool, what it is.
    """

    name: str
    rows: np.ndarray
    scale: np.ndarray
    print: str
    column: Column | None = None

    def described(self) -> dict[str, Any]:
        """As the set's result has it."""
        more = {"rare": self.column.rare, "missing": self.column.missing} if self.column else {}
        return {"dim": self.rows.shape[1], **more}


class Joined:
    """The blocks as one matrix, made as it is asked for."""

    def __init__(self, space: Workspace, sets: str, standardise: bool) -> None:
        names = names_of(sets)
        found = [_block(space, name) for name in names]
        used = np.repeat(np.diff(space.pool.starts) >= 2, np.diff(space.pool.starts))
        count = max(int(used.sum()), 1)
        self.pool = space.pool
        self.blocks = [_scaled(block, count, standardise, len(names) > 1) for block in found]
        self.dim = sum(block.rows.shape[1] for block in self.blocks)

    def rows(self, which: slice | np.ndarray) -> np.ndarray:
        """Some rows, float64 (rows, d)."""
        parts = [np.asarray(block.rows[which], np.float64) * block.scale for block in self.blocks]
        return np.hstack(parts)

    def stream(self, axes: np.ndarray | None) -> Iterator[np.ndarray]:
        """All rows, in chunks, on the axes where there are any."""
        for at in range(0, len(self.pool.completions), CHUNK):
            part = self.rows(slice(at, at + CHUNK))
            yield part if axes is None else on_axes(part, axes)

    def axes(self, dim: int | None, seed: int) -> np.ndarray | None:
        """The `dim` axes along which a sample of the pool differs most; None where nothing is to be
        lost."""
        if dim is None or dim >= self.dim:
            return None
        from whichpairs.features.pca import SAMPLE_ROWS, principal_axes

        prompts = sample_prompts(self.pool, SAMPLE_ROWS, seed)
        if not len(prompts):
            raise UserError(
                "--dim needs a prompt with two completions that is not held out",
                f"none of the {len(self.pool.prompts)} prompts is one",
                "leave --dim out",
            )
        starts = self.pool.starts
        rows = np.concatenate([np.arange(starts[p], starts[p + 1]) for p in prompts])
        return principal_axes(self.rows(rows), dim)

    def fidelity(self, folder: Path, axes: np.ndarray, seed: int) -> dict[str, Any] | None:
        """What a projection loses of these columns (`workflow.features.fidelity`); keeps the axes
        beside it."""
        write_whole(folder / AXES, npy(axes))
        sample = Sample.of(self.pool, seed)
        if sample is None:
            return None
        whole = self.rows(sample.rows)
        return sample.figure(on_axes(whole, axes), whole, seed)


def names_of(sets: str) -> list[str]:
    """The sets' names.

    Raises:
        UserError: one is empty, or there twice.
    """
    names = [name.strip() for name in sets.split(",")]
    if not all(names) or len(set(names)) < len(names):
        raise UserError(
            "--sets must be different names with commas between: feature sets, column:NAME",
            f"got {sets!r}",
        )
    return names


def said(blocks: dict[str, dict[str, Any]]) -> str:
    """The blocks in words."""
    parts = []
    for name, one in blocks.items():
        text = f"{name} ({one['dim']}"
        if one.get("rare"):
            text += f"; {one['rare']} values of fewer than {LEAST} completions as one"
        if one.get("missing"):
            text += f"; {one['missing']} completions have none"
        parts.append(text + ")")
    return f" Side by side: {', '.join(parts)}."


def _block(space: Workspace, name: str) -> Block:
    if not name.startswith(COLUMN):
        _, record, phi = space.feature_set(name)
        return Block(name, phi, np.ones(phi.shape[1]), record.result["fingerprint"])
    column = name.removeprefix(COLUMN)
    table, starts = space.pool.completions, space.pool.starts
    own = {"completion_id", "prompt_id", "completion", "weight", "assistant_message"}
    there = [other for other in table.columns if other not in own]
    if column not in there:
        raise UserError(
            "column:NAME must be a column of the pool's completions",
            f"got {column!r}; there is {', '.join(there) or 'none'}",
            "columns of a file of completions are kept by import under their own names",
        )
    values = table[column]
    make: Callable[..., Column] = numbers
    if values.dtype.is_numeric():
        given: Any = values.cast(pl.Float64).to_numpy().astype(np.float64)
    elif isinstance(values.dtype, pl.String | pl.Boolean | pl.Categorical | pl.Enum):
        make, given = categories, values.cast(pl.String).to_list()
    else:
        raise UserError(
            "a column must hold texts, truth values or numbers to be features",
            f"{column!r} holds something else",
            "name another column",
        )
    found = make(given, starts, repr(column))
    print_of = hashlib.sha256(found.rows.tobytes()).hexdigest()[:16]
    return Block(name, found.rows, np.ones(found.rows.shape[1]), print_of, found)


def _scaled(block: Block, count: int, standardise: bool, several: bool) -> Block:
    squares = np.zeros(block.rows.shape[1])
    for at in range(0, len(block.rows), CHUNK):
        squares += np.sum(np.asarray(block.rows[at : at + CHUNK], np.float64) ** 2, axis=0)
    if not squares.any():
        raise UserError(
            "what is joined must differ within some prompt",
            f"{block.name} is constant there",
            "leave it out",
        )
    scale = np.ones(len(squares))
    if standardise:
        scale[squares > 0.0] = 1.0 / np.sqrt(squares[squares > 0.0] / count)
    if several:
        scale = scale / np.sqrt(float(np.sum(squares * scale**2)) / count)
    return Block(block.name, block.rows, scale, block.print, block.column)
