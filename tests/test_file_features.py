"""The user's own feature file: what is right comes through as it is, what is wrong is named."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from whichpairs.errors import UserError
from whichpairs.features import file as module
from whichpairs.features.file import file_features


def complaint(path: Path, rows: int = 3) -> str:
    with pytest.raises(UserError) as caught:
        file_features(path, rows=rows)
    message = str(caught.value)
    assert message.isprintable()
    return message


def saved(folder: Path, array: Any) -> Path:
    path = folder / "phi.npy"
    np.save(path, array)
    return path


@settings(max_examples=30, deadline=None)
@given(
    array=hnp.arrays(
        st.sampled_from([np.float16, np.float32, np.float64, np.dtype(">f4")]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.floats(-100, 100, width=16),
    ),
    fortran=st.booleans(),
)
def test_a_matrix_comes_through_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, fortran: bool
) -> None:
    stored = np.asfortranarray(array) if fortran else array
    path = saved(tmp_path_factory.mktemp("phi"), stored)
    found = file_features(str(path), rows=len(array))
    assert isinstance(found, np.memmap)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
    with pytest.raises(ValueError, match="read-only"):
        found[0, 0] = 1


@pytest.mark.parametrize(
    ("array", "wanted"),
    [
        (np.ones(3), "shape (3,)"),
        (np.ones((3, 2, 1)), "shape (3, 2, 1)"),
        (np.ones((3, 0)), "shape (3, 0)"),
        (np.ones((3, 2), complex), "holds complex128"),
        (np.array([["a", "b"]] * 3), "holds <U1"),
        (np.array([[1, None]] * 3, dtype=object), "Python objects"),
        (np.ones((2, 2)), "one row a completion (3 of them)"),
        (np.ones((4, 2)), "has 4 rows"),
        (np.array([[1.0, 2.0], [3.0, np.nan], [np.inf, 4.0]]), "row 1, column 1"),
        (np.array([[1.0, 2.0], [3.0, 4.0], [-np.inf, 4.0]], np.float16), "column 0 (counted"),
    ],
)
def test_a_wrong_array_is_named(tmp_path: Path, array: Any, wanted: str) -> None:
    assert wanted in complaint(saved(tmp_path, array))


def test_every_block_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 64)  # four rows of two float64
    for row in (0, 3, 4, 10):
        array = np.ones((11, 2))
        array[row, 1] = np.nan
        assert f"row {row}, column 1 (counted from 0) is nan" in complaint(
            saved(tmp_path, array), 11
        )


def test_broken_files(tmp_path: Path) -> None:
    path = tmp_path / "phi.npy"
    assert "does not" in complaint(path)
    whole = saved(tmp_path, np.ones((3, 50))).read_bytes()
    for size in (0, 3, 20, 100, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert "must be a whole .npy" in complaint(path), size
    path.write_bytes(b"not numpy at all\n")
    assert "must be a whole .npy" in complaint(path)
    path.write_bytes(whole.replace(b"'shape': (3, 50)", b"'shape': (3, 5x)"))
    assert "must be a whole .npy" in complaint(path)
    np.savez(tmp_path / "phi.npz", a=np.ones((3, 2)))
    assert "is an .npz" in complaint(tmp_path / "phi.npz")
    assert "must be a whole .npy" in complaint(tmp_path)


def test_code_in_a_pickle_does_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    bombs = np.empty((3, 1), dtype=object)
    bombs[:] = Bomb()
    complaint(saved(tmp_path, bombs))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64, bool])
def test_whole_numbers_are_numbers(tmp_path: Path, kind: Any) -> None:
    array = np.array([[0, 1], [1, 0], [1, 1]], kind)
    found = file_features(saved(tmp_path, array), rows=3)
    assert found.dtype == (np.float32 if array.itemsize < 4 else np.float64)
    np.testing.assert_array_equal(found, array.astype(float))
    most = np.full((1, 1), np.iinfo(kind).max // 2**12 if kind is not bool else 1, kind)
    assert file_features(saved(tmp_path, most), rows=1)[0, 0] == int(most[0, 0])
