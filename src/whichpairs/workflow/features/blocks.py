"""Features of a large pool, block by block on disk: killed jobs go on, and devices share the work.

A block is what one call of a feature method yields: 16 batches of completions, sorted by length
within. It depends on nothing outside itself, so blocks that are computed today, tomorrow after a
kill, or by another process on a device of the same kind are the same bytes. Each is a file of its
own, written aside, fsynced and renamed; nothing but the pool's texts grows with the pool in memory.
"""

import io
import multiprocessing
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, overload

import numpy as np
from threadpoolctl import threadpool_limits

from whichpairs.errors import UserError
from whichpairs.features.store import WINDOW, centred
from whichpairs.pool.pool import Pool, load_pool
from whichpairs.run.files import read_array, to_json, write_whole
from whichpairs.streams import Stream, stream
from whichpairs.types import SILENT, Example, Progress
from whichpairs.wording import counted

AXES = "axes.npy"
WIDE_ROWS = 8192
"""Completions of a pool whose wide features are kept until its axes are fitted to them."""


class Partial:
    """The folder of a feature set in the making: ``RUN/features.partial/NAME``.

    A context: it is removed on success, and on an error before any block was finished; a kill
    leaves it, and so does a later error, for the next call to go on from.
    """

    def __init__(self, root: Path, name: str) -> None:
        self.folder = root / "features.partial" / name

    def begin(self, chosen: dict[str, Any], replace: bool) -> Path:
        """The folder, for features of these settings and inputs.

        Raises:
            UserError: it was begun with others, and not `replace`.
        """
        path = self.folder / "settings.json"
        text = to_json(chosen)
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            return self.folder
        if path.is_file() and not replace:
            raise UserError(
                "unfinished features go on with the settings they began with",
                f"{path} has others",
                "use those, or --replace to lose what was computed",
            )
        shutil.rmtree(self.folder, ignore_errors=True)
        write_whole(path, text)
        return self.folder

    def __enter__(self) -> "Partial":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or not any(self.folder.glob("[0-9]*.npy")):
            shutil.rmtree(self.folder, ignore_errors=True)
            with suppress(OSError):
                self.folder.parent.rmdir()


@dataclass(frozen=True)
class Recipe:
    """How a model turns completions into vectors; small, so that it can be sent to a process.

    Args:
        method: ``gradient``, ``hidden`` or ``embed``; model: a folder or hub name.
        batch_size: completions a pass.
        options: keyword arguments of the method's function.
        dtype: in which a language model computes.
    """

    method: str
    model: str
    batch_size: int
    options: dict[str, Any]
    dtype: str = "float32"

    @property
    def rows_a_block(self) -> int:
        """Completions in every block but the last."""
        return WINDOW * self.batch_size

    def wider(self, dim: int) -> "Recipe":
        """The same features projected to `dim` numbers."""
        return replace(self, options={**self.options, "dim": dim})

    def load(self, device: str) -> Any:
        """The model on a device."""
        if self.method == "embed":
            from whichpairs.features.embed import load_embedder

            return load_embedder(self.model, device=device)
        from whichpairs.lm.model import load

        return load(self.model, device=device, dtype=self.dtype)

    def blocks(
        self, loaded: Any, examples: Sequence[Example], progress: Progress = SILENT
    ) -> Iterator[np.ndarray]:
        """Float32 blocks of `rows_a_block` rows, in order."""
        options = {**self.options, "batch_size": self.batch_size, "progress": progress}
        if self.method == "gradient":
            from whichpairs.features.gradient import gradient_features

            return gradient_features(loaded, examples, **options)
        if self.method == "hidden":
            from whichpairs.features.hidden import hidden_features

            return hidden_features(loaded, examples, **options)
        from whichpairs.features.embed import embed_features

        return embed_features(loaded, examples, **options)


class PoolExamples(Sequence[Example]):
    """The pool's completions from row `first` to `last`, made when they are asked for."""

    def __init__(self, pool: Pool, first: int = 0, last: int | None = None) -> None:
        self.pool = pool
        self.range = range(first, len(pool.completions) if last is None else last)

    def __len__(self) -> int:
        return len(self.range)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return self.pool.examples(self.range[index])
        return self.pool.examples([self.range[index]])[0]


@dataclass(frozen=True)
class Job:
    """One feature set in the making.

    Args:
        recipe: how; pool: the pool's folder; pool_fingerprint: what it must be.
        folder: where the blocks go, and the axes of ``--projection pca``.
        axes: whether features are projected on to axes fitted to the pool; late: whether that
            waits until all blocks are there (pools whose wide features fit on a disk with ease).
    """

    recipe: Recipe
    pool: Path
    pool_fingerprint: str
    folder: Path
    axes: bool = False
    late: bool = False

    def path(self, block: int) -> Path:
        """The file of a block."""
        return self.folder / f"{block:09d}.npy"

    def count(self, rows: int) -> int:
        """How many blocks `rows` completions make."""
        return -(-rows // self.recipe.rows_a_block)

    def missing(self, rows: int) -> list[int]:
        """Blocks that are not there yet, in order."""
        return [k for k in range(self.count(rows)) if not self.path(k).is_file()]

    def stored(self, rows: int) -> Iterator[np.ndarray]:
        """The finished features, block after block."""
        for k in range(self.count(rows)):
            block = read_array(self.path(k))
            yield on_axes(block, read_array(self.folder / AXES)) if self.late else block

    def wide(
        self, recipe: Recipe, loaded: Any, pool: Pool, rows: np.ndarray, progress: Progress
    ) -> np.ndarray:
        """Float32 features of `rows` (rising) by `recipe`, from the blocks where they hold them."""
        if not self.late or recipe != self.recipe:
            return np.concatenate(list(recipe.blocks(loaded, pool.examples(rows), progress)))
        owner = rows // self.recipe.rows_a_block
        return np.concatenate(
            [
                read_array(self.path(k))[rows[owner == k] - k * self.recipe.rows_a_block]
                for k in np.unique(owner).tolist()
            ]
        )


def extract(job: Job, pool: Pool, devices: Sequence[str], loaded: Any, progress: Progress) -> None:
    """Compute the blocks that are missing; each device does a contiguous share of them.

    Args:
        devices: the first is used in this process, with the model `loaded` on it; each of the
            others by a process of its own. Progress is that of the first.

    Raises:
        UserError: what the method says of the pool, or a device that torch cannot use.
    """
    missing = job.missing(len(pool.completions))
    shares = [share.tolist() for share in np.array_split(missing, len(devices)) if len(share)]
    if len(shares) < 2:
        _compute(job, pool, loaded, missing, progress)
        return
    import torch

    spawn, threads = multiprocessing.get_context("spawn"), torch.get_num_threads()
    with ProcessPoolExecutor(len(shares) - 1, mp_context=spawn) as workers:
        running = [
            workers.submit(_work, job, share, device, os.getpid(), threads)
            for share, device in zip(shares[1:], devices[1:], strict=False)
        ]
        _compute(job, pool, loaded, shares[0], progress)
        for one in running:
            one.result()


def _work(job: Job, blocks: list[int], device: str, parent: int, threads: int) -> None:
    """What a process of its own does; it ends when the one that started it is gone."""
    import torch

    torch.set_num_threads(threads)  # sums split over other threads have other last bits
    pool = load_pool(job.pool, job.pool_fingerprint)
    _compute(job, pool, job.recipe.load(device), blocks, SILENT, parent)


def _compute(
    job: Job,
    pool: Pool,
    loaded: Any,
    blocks: Iterable[int],
    progress: Progress,
    parent: int | None = None,
) -> None:
    axes = read_array(job.folder / AXES) if job.axes and not job.late else None
    size, rows = job.recipe.rows_a_block, len(pool.completions)
    for _, run in groupby(enumerate(blocks), key=lambda pair: pair[1] - pair[0]):
        numbers = [k for _, k in run]
        examples = PoolExamples(pool, numbers[0] * size, min((numbers[-1] + 1) * size, rows))
        found = job.recipe.blocks(loaded, examples, progress)
        for k, block in zip(numbers, found, strict=True):
            if parent is not None and os.getppid() != parent:
                return
            write_whole(job.path(k), npy(block if axes is None else on_axes(block, axes)))


def on_axes(block: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """The block's coordinates along the axes."""
    with threadpool_limits(1):  # sums split over threads would change the last bits
        return np.asarray(block @ axes)


def sample_prompts(pool: Pool, rows: int, seed: int) -> np.ndarray:
    """Prompts that are not held out and have two completions or more, drawn until they have `rows`.

    Returns:
        Their numbers, rising; none where there is no such prompt.
    """
    sizes = np.diff(pool.starts)
    usable = np.flatnonzero((sizes >= 2) & ~pool.holdout)
    order = stream(seed, Stream.SAMPLED_PROMPTS).permutation(usable)
    enough = int(np.searchsorted(np.cumsum(sizes[order]), rows)) + 1
    return np.sort(order[:enough])


def fit_axes(job: Job, dim: int, pool: Pool, loaded: Any, seed: int, progress: Progress) -> None:
    """Fit `dim` axes to a sample of prompts, unless they are there."""
    from whichpairs.features.pca import SAMPLE_ROWS, principal_axes

    if (job.folder / AXES).is_file():
        return
    prompts = sample_prompts(pool, SAMPLE_ROWS, seed)
    if not len(prompts):
        raise UserError(
            "--projection pca needs a prompt with two completions that is not held out",
            f"of {counted(len(pool.prompts), 'prompt')} none is one",
            "use --projection random",
        )
    rows = np.concatenate([np.arange(pool.starts[p], pool.starts[p + 1]) for p in prompts])
    wide = job.wide(job.recipe, loaded, pool, rows, progress)
    axes = principal_axes(centred(wide, np.diff(pool.starts)[prompts]), dim)
    write_whole(job.folder / AXES, npy(axes))


def npy(array: np.ndarray) -> bytes:
    """The array as the bytes of a ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
