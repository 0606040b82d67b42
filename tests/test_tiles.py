"""The kernel in C: compiled once, kept where only its user writes, done without where it cannot be."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from whichpairs.design.sweep.kernel import Block
from whichpairs.engine.kernels import choose as kernels
from whichpairs.engine.kernels import tiles as tiles_kernel
from whichpairs.engine.kernels.tiles import TilesKernel, has_tiles
from whichpairs.errors import UserError

here = pytest.mark.skipif(not has_tiles(), reason="this processor has no matrix tiles")


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path: Path) -> Path:
    """A cache of our own, and a library that is looked for anew."""
    library = tiles_kernel._library.__wrapped__
    monkeypatch.setattr(tiles_kernel, "_library", library)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "whichpairs"


def works(kernel: TilesKernel) -> bool:
    block = Block(np.eye(3), np.array([0, 3]), np.array([1.0]))
    with kernel.mapped(np.eye(3)) as mapped:
        return len(mapped.scan(block).i) == 3


@here
def test_it_is_compiled_once(cache: Path, monkeypatch) -> None:
    assert works(TilesKernel())
    (made,) = cache.iterdir()
    before = made.stat()
    assert before.st_mode & 0o022 == 0 == cache.stat().st_mode & 0o077
    monkeypatch.setenv("CC", "no-such-compiler")
    assert works(TilesKernel())
    assert made.stat() == before


@here
@pytest.mark.parametrize("kept", [0, 4000])
def test_a_broken_file_is_made_again(kept: int, cache: Path) -> None:
    assert works(TilesKernel())
    (made,) = cache.iterdir()
    whole = made.read_bytes()
    made.unlink()  # and not written over: this process has it mapped
    made.write_bytes(whole[:kept])
    code = "from whichpairs.engine.kernels.tiles import TilesKernel; TilesKernel()"
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))
    assert made.read_bytes() == whole


@here
def test_a_folder_that_others_can_write_to_is_not_trusted(cache: Path) -> None:
    cache.mkdir()
    os.chmod(cache, 0o777)
    assert works(TilesKernel())
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("fault", ["owner", "mode", "link", "none"])
def test_a_file_that_may_be_anothers_is_not_loaded(fault: str, tmp_path: Path, monkeypatch) -> None:
    """As one that was left in the folder while it was open, however right its name."""
    content = b"not a library"
    planted = tmp_path / f"tiles-x-{hashlib.sha256(content).hexdigest()[:16]}.so"
    if fault == "link":
        (tmp_path / "elsewhere.so").write_bytes(content)
        planted.symlink_to(tmp_path / "elsewhere.so")
    else:
        planted.write_bytes(content)
        planted.chmod(0o666 if fault == "mode" else 0o600)
    if fault == "owner":
        own(planted, monkeypatch)
    assert tiles_kernel._kept(tmp_path, "x") == ([planted] if fault == "none" else [])


def test_the_compiler_is_read_as_a_shell_would(monkeypatch) -> None:
    for said, meant in (("gcc -O2", ["gcc", "-O2"]), ("", ["cc"]), ("  ", ["cc"])):
        monkeypatch.setenv("CC", said)
        assert tiles_kernel._compiler() == meant
    monkeypatch.setenv("CC", '"gcc')
    with pytest.raises(UserError, match=r"CC must be a command.*no closing quotation.*unset CC"):
        tiles_kernel._compiler()


def own(path: Path, monkeypatch) -> None:
    """Give the file to someone else: truly where root runs this, else as `lstat` tells."""
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
        return
    lstat = Path.lstat

    def told(self: Path) -> os.stat_result:
        about = list(lstat(self))
        about[4] = 12345 if self == path else about[4]
        return os.stat_result(about)

    monkeypatch.setattr(Path, "lstat", told)


def test_a_folder_above_that_others_can_write_to_is_not_trusted(cache: Path) -> None:
    above = cache.parent / "above"
    folder = above / "whichpairs"
    folder.mkdir(parents=True, mode=0o700)
    for mode, trusted in ((0o755, True), (0o777, False), (0o1777, True), (0o775, False)):
        above.chmod(mode)
        assert tiles_kernel._alone(folder) is trusted
    above.chmod(0o755)
    folder.chmod(0o1777)  # the folder itself must be closed, sticky or not
    assert not tiles_kernel._alone(folder)


@here
def test_without_a_cache_it_is_made_for_the_process(cache: Path, monkeypatch) -> None:
    cache.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    assert works(TilesKernel())
    monkeypatch.undo()
    monkeypatch.setattr(tiles_kernel, "_library", tiles_kernel._library.__wrapped__)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert works(TilesKernel())
    assert list(cache.iterdir()) == []


def no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


@here
@pytest.mark.parametrize(
    ("compiler", "said"),
    [
        ("no-such-compiler", "needs a C compiler"),
        ("false", "must compile"),
        ('"gcc', "CC must be a command.*no closing quotation.*unset CC"),
    ],
)
def test_without_a_compiler_another_kernel_runs(compiler, said, cache: Path, monkeypatch) -> None:
    monkeypatch.setenv("CC", compiler)
    with pytest.raises(UserError, match=said):
        TilesKernel()
    assert list(cache.iterdir()) == []
    assert kernels.best_kernel(10**9, 64).name in ("torch", "numpy")


def test_without_the_processor_another_kernel_runs(monkeypatch) -> None:
    monkeypatch.setattr(tiles_kernel, "NEEDED", ("no_such_flag",))
    assert not has_tiles()
    with pytest.raises(UserError, match="needs a processor with AMX"):
        TilesKernel()
    assert kernels.best_kernel(10**9, 64).name in ("torch", "numpy")


@here
def test_the_best_kernel_is_the_one_in_c_but_for_small_pools_and_wide_features() -> None:
    assert kernels.best_kernel(10**9, 64).name == "tiles, bf16"
    assert kernels.best_kernel(10**9, 1024).name in ("torch", "numpy")
    assert kernels.best_kernel(1000, 64).name == "numpy"
