"""The kernel of a pass in C, for processors with bf16 matrix tiles (AMX): several times as fast as
torch.

`tiles.c` reads a block's features once, as stored, and never writes a Gram matrix to memory. It is
compiled by the system's C compiler when first used and kept in the user's cache. It
decides nothing: `design.sweep.sweep` does, in float64.
"""

import atexit
import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock

import numpy as np
from jaxtyping import Float, Float32, UInt16

from whichpairs.design.sweep.kernel import (
    Arithmetic,
    Block,
    Found,
    Kernel,
    Mapped,
    NumpyKernel,
    Survivors,
)
from whichpairs.errors import UserError

SOURCE = Path(__file__).with_name("tiles.c")

NEEDED = ("avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_bf16", "f16c", "fma", "amx_bf16")
"""What the processor must have, by Linux's names."""

FLAGS = tuple(
    [
        "-std=gnu11",
        "-O3",
        "-shared",
        "-fPIC",
        "-mavx512f",
        "-mavx512bw",
        "-mavx512vl",
        "-mavx512dq",
        "-mavx512bf16",
        "-mf16c",
        "-mfma",
        "-mamx-tile",
        "-mamx-bf16",
    ]
)

UNIT = 2.0**-8
"""Relative rounding to the nearest bf16: eight bits, the hidden one included."""

COLUMNS = 32
"""bf16 numbers in a row of a tile."""

ROOM = 65536
"""Survivors of a block that there is room for at first."""


MOST_DIMENSIONS = 512
"""Above, scores lie so near one another that bf16 lets too many pairs through."""

LOOSE, LOOSER = 0.02, 4.0
"""Where more than this share of a block gets through, and so many times what float32 lets through,
the factor is too nearly singular for bf16."""


LARGEST = 1e38
"""No number of a factor may be above: bf16 ends near 3.4e38."""


class TilesKernel:
    """The kernel in C.

    Args:
        otherwise: makes the kernel for factors for which bf16 is too coarse, or too small.

    Raises:
        UserError: no such processor, or no C compiler.
    """

    name = "tiles, bf16"

    def __init__(self, otherwise: Callable[[], Kernel] = NumpyKernel) -> None:
        self.library = _library()
        self.otherwise = otherwise
        self.coarse = False

    @contextmanager
    def mapped(self, factor: Float[np.ndarray, "d r"]) -> Iterator[Mapped]:
        """Ready to scan with L = `factor`."""
        fits = factor.size > 0 and len(factor) <= MOST_DIMENSIONS
        if self.coarse or not fits or not np.abs(factor).max() < LARGEST:
            with self.otherwise().mapped(factor) as mapped:
                yield mapped
            return
        with NumpyKernel().mapped(factor) as finer:
            watched = _Watched(_TilesMapped.of(self.library, factor), finer)
            yield watched
            self.coarse = watched.coarse


@dataclass
class _Watched:
    """Scans by bf16 while that serves, else in float32 from then on. Where much gets through, it is
    asked whether float32 lets through as much: of the 1st, 2nd, 4th, 8th … such block."""

    half: "_TilesMapped"
    finer: Mapped
    coarse: bool = False
    loose: int = 0
    lock: Lock = field(default_factory=Lock)

    def scan(self, block: Block) -> Survivors:
        if self.coarse:
            return self.finer.scan(block)
        found = self.half.scan(block)
        sizes = np.diff(block.starts)
        if len(found.i) <= LOOSE * float(sizes @ (sizes - 1)) / 2.0 or not block.floors.any():
            return found
        with self.lock:
            self.loose += 1
            asked = self.loose & (self.loose - 1) == 0
        if not asked:
            return found
        again = self.finer.scan(block)
        self.coarse |= len(found.i) > LOOSER * len(again.i)
        return again


def nearest_bf16(x: Float[np.ndarray, "*n"]) -> UInt16[np.ndarray, "*n"]:
    """Bits of the nearest bf16, ties to even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def arithmetic(factor: Float[np.ndarray, "d r"]) -> Arithmetic:
    """How exactly bf16 computes with L.

    φ_k is stored to within 2⁻⁸ |φ_k|, and L as L′; with D = diag(|L_k|), rows of L, h is off by at
    most |φ D| (2⁻⁸ |D⁻¹ L′| + |D⁻¹ (L − L′)|), in 2-norms: tight also where the directions' scales
    differ.
    """
    used = (nearest_bf16(factor).astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    by_row = np.maximum(weights(factor).astype(np.float64), 1e-300)[:, None]
    weighted = UNIT * np.linalg.norm(used / by_row, 2) + np.linalg.norm((factor - used) / by_row, 2)
    norm, spectral = float(np.linalg.norm(used)), float(np.linalg.norm(used, 2))
    return Arithmetic(norm, max(used.shape), UNIT, spectral, float(weighted) * (1.0 + 1e-6))


def weights(factor: Float[np.ndarray, "d r"]) -> Float32[np.ndarray, " d"]:
    """|L_k|."""
    return np.linalg.norm(factor, axis=1).astype(np.float32)


def has_tiles() -> bool:
    """Whether the processor multiplies bf16 matrices in tiles, and Linux says so."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    lines: list[str] = []
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    return set(NEEDED) <= set(flags)


class _Block(ctypes.Structure):
    _fields_ = (
        ("phi", ctypes.c_void_p),
        ("half", ctypes.c_int64),
        ("d", ctypes.c_int64),
        ("starts", ctypes.c_void_p),
        ("prompts", ctypes.c_int64),
        ("floors", ctypes.c_void_p),
        ("costs", ctypes.c_void_p),
        ("factor", ctypes.c_void_p),
        ("left", ctypes.c_int64),
        ("right", ctypes.c_int64),
        ("weights", ctypes.c_void_p),
        ("error", ctypes.c_void_p),
    )


class _Found(ctypes.Structure):
    _fields_ = (
        ("longest", ctypes.c_double),
        ("weighted", ctypes.c_double),
        ("square", ctypes.c_double),
        ("least", ctypes.c_void_p),
        ("i", ctypes.c_void_p),
        ("j", ctypes.c_void_p),
        ("room", ctypes.c_int64),
        ("floor", ctypes.c_double),
        ("root", ctypes.c_double),
    )


@dataclass(frozen=True)
class _TilesMapped:
    """With L in tiles, (right ÷ 32, 2, left ÷ 32, 16, 16, 2), as bits of bf16.

    Args:
        weights: |L_k|, (left,); spare: how many of them are no row's; error: of `how`.
    """

    library: ctypes.CDLL
    factor: np.ndarray
    weights: np.ndarray
    spare: int
    how: Arithmetic
    error: np.ndarray

    @classmethod
    def of(cls, library: ctypes.CDLL, factor: Float[np.ndarray, "d r"]) -> "_TilesMapped":
        how = arithmetic(factor)
        tiles = _in_tiles(nearest_bf16(factor))
        by_row = np.zeros(tiles.shape[2] * COLUMNS, np.float32)
        by_row[: len(factor)] = weights(factor)
        spare = len(by_row) - len(factor)
        return cls(library, tiles, by_row, spare, how, np.array(how.error))

    def scan(self, block: Block) -> Survivors:
        phi = np.ascontiguousarray(block.phi)
        if phi.shape[1] != len(self.weights) - self.spare:
            raise ValueError(
                f"φ has {phi.shape[1]} columns, L {len(self.weights) - self.spare} rows"
            )
        if phi.dtype not in (np.float16, np.float32):
            phi = phi.astype(np.float32)
        starts = np.ascontiguousarray(block.starts, np.int64)
        floors = np.ascontiguousarray(block.floors, np.float64)
        costs = None if block.costs is None else np.ascontiguousarray(block.costs, np.float32)
        found = Found.of(block, self.how)
        asked = _Block(
            phi.ctypes.data,
            phi.dtype == np.float16,
            phi.shape[1],
            starts.ctypes.data,
            len(floors),
            floors.ctypes.data,
            None if costs is None else costs.ctypes.data,
            self.factor.ctypes.data,
            self.factor.shape[2] * COLUMNS,
            self.factor.shape[0] * COLUMNS,
            self.weights.ctypes.data,
            self.error.ctypes.data,
        )
        room = ROOM
        while True:
            i, j = np.empty(room, np.int64), np.empty(room, np.int64)
            least = found.least.ctypes.data
            out = _Found(found.longest, 0.0, 0.0, least, i.ctypes.data, j.ctypes.data, room)
            count = self.library.whichpairs_scan(ctypes.byref(asked), ctypes.byref(out))
            if count < 0:
                raise MemoryError("no memory for a block of prompts")
            if count <= room:
                break
            room = count
        found.longest, found.weighted, found.square = out.longest, out.weighted, out.square
        found.i, found.j = [i[:count]], [j[:count]]
        return found.done()


def _in_tiles(bits: np.ndarray) -> np.ndarray:
    """L as right factors of products of tiles: rows 2k and 2k + 1 side by side."""
    d, r = bits.shape
    whole = np.zeros((-(-d // COLUMNS) * COLUMNS, -(-r // COLUMNS) * COLUMNS), np.uint16)
    whole[:d, :r] = bits
    parts = whole.reshape(len(whole) // 32, 16, 2, whole.shape[1] // 32, 2, 16)
    return np.ascontiguousarray(parts.transpose(3, 4, 0, 1, 5, 2))


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    """The compiled `tiles.c`, made where it is not there yet."""
    if not has_tiles():
        raise UserError("the tiles kernel needs a processor with AMX, on Linux", "this is none")
    name = hashlib.sha256(SOURCE.read_bytes() + " ".join(FLAGS).encode()).hexdigest()[:16]
    folder = _cache()
    whole = _kept(folder, name)
    try:
        library = ctypes.CDLL(str(whole[0] if whole else _compile(folder, name)))
        library.whichpairs_scan.restype = ctypes.c_int64
        refused = library.whichpairs_tiles() != 0
    except (OSError, AttributeError) as error:
        raise UserError("the tiles kernel must be written and loaded", str(error)) from None
    if refused:
        raise UserError("the tiles kernel needs Linux's leave to use AMX", "it was refused")
    return library


def _kept(folder: Path, name: str) -> list[Path]:
    """The whole libraries of that name that the user made."""
    found = sorted(folder.glob(f"tiles-{name}-*.so"))
    return [path for path in found if _ours(path) and _digest(path) in path.name]


def _compile(folder: Path, name: str) -> Path:
    """The library, in a file named by what it is of and by what it holds."""
    compiler = _compiler()
    handle, aside = tempfile.mkstemp(dir=folder, suffix=".so")
    try:
        command = [*compiler, *FLAGS, "-o", aside, str(SOURCE), "-lm"]
        subprocess.run(command, capture_output=True, text=True, check=True)
        made = folder / f"tiles-{name}-{_digest(Path(aside))}.so"
        with open(aside, "rb") as written:
            os.fsync(written.fileno())
        os.replace(aside, made)
    except FileNotFoundError as error:
        raise UserError("the tiles kernel needs a C compiler (cc, or $CC)", str(error)) from None
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip().splitlines() or ["no message"])[0]
        raise UserError("the tiles kernel must compile", f"{compiler[0]}: {said}") from None
    finally:
        os.close(handle)
        Path(aside).unlink(missing_ok=True)
    return made


def _compiler() -> list[str]:
    """$CC, which may have options, else cc."""
    said = os.environ.get("CC", "")
    try:
        return shlex.split(said) or ["cc"]
    except ValueError as error:
        raise UserError(
            "CC must be a command as a shell reads it",
            f"got {said} ({str(error).lower()})",
            "unset CC, or mend its quotes",
        ) from None


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _cache() -> Path:
    """The user's cache, where only the user can write to it; else a folder for this process."""
    with suppress(OSError, RuntimeError):
        root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        path = Path(root, "whichpairs")
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _alone(path) and os.access(path, os.W_OK):
            return path.resolve()
    aside = tempfile.mkdtemp(prefix="whichpairs-")
    atexit.register(shutil.rmtree, aside, ignore_errors=True)
    return Path(aside)


def _alone(folder: Path) -> bool:
    """Whether the folder is the user's, and nobody but them and root can put another in its place,
    or a file into it: no folder up to the root is anyone else's or open to others (but for sticky
    ones, such as /tmp, in which only an entry's owner can move it)."""
    whole = folder.resolve()
    if whole.stat().st_uid != os.geteuid() or whole.stat().st_mode & 0o022:
        return False
    return all(
        about.st_uid in (0, os.geteuid())
        and (not about.st_mode & 0o022 or bool(about.st_mode & stat.S_ISVTX))
        for about in (parent.stat() for parent in whole.parents)
    )


def _ours(path: Path) -> bool:
    """Whether a file is a plain one that the user wrote and nobody else can change: a folder that
    is closed now may have been open once."""
    with suppress(OSError):
        about = path.lstat()
        plain = stat.S_ISREG(about.st_mode)
        return plain and about.st_uid == os.geteuid() and not about.st_mode & 0o022
    return False
