"""The tree: no circle of imports among the modules or rooms of any folder, and every package in the layers."""

import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_no_circle_in_any_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import house

    assert house.circles() == []
    seen = house.circles(
        for_types=True
    )  # there are some; that they are found shows that others would be
    assert any("whichpairs.workflow.drawer" in group for group in seen)
    sys.modules.pop("house")


def test_flat_folders_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import house

    assert max(house.flat())[0] <= 12
    sys.modules.pop("house")


def test_every_package_has_its_layer() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    layers = [one for one in contracts if one["type"] == "layers"]
    assert {one["containers"][0] for one in layers} == {"whichpairs", "whichpairs.design"}
    assert all(one["exhaustive"] for one in layers)  # import-linter then names what has none
