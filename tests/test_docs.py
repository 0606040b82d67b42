"""README and result pages say what the results' JSON says, and old pages are named."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from whichpairs.bench.fingerprint import fingerprint

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    sys.path.insert(0, str(ROOT / "docs"))
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_says_what_the_results_say(generate: ModuleType) -> None:
    results = generate.read_results(RESULTS)
    assert generate.differences(README, results) == []
    assert generate.filled(README, results) == README


def test_a_number_that_is_changed_in_the_readme_is_found(generate: ModuleType) -> None:
    import readme

    results = generate.read_results(RESULTS)
    for match in readme.BLOCK.finditer(README):
        digit = next(k for k in range(match.start(3), match.end(3)) if README[k].isdigit())
        other = str((int(README[digit]) + 1) % 10)
        found = generate.differences(README[:digit] + other + README[digit + 1 :], results)
        assert len(found) == 1
        assert repr(match[2]) in found[0]


def test_a_result_that_is_changed_is_found(generate: ModuleType) -> None:
    results = generate.read_results(RESULTS)
    results["design"]["figures"]["P5 minutes"]["value"] += 1.0
    (found,) = generate.differences(README, results)
    assert "'engine'" in found


def test_a_block_that_is_gone_or_open_is_found(generate: ModuleType) -> None:
    results = generate.read_results(RESULTS)
    gone = README.replace("<!-- figures: harm -->", "")
    assert generate.differences(gone, results) == ["README has no block 'harm'"]
    opened = README[: README.rindex("<!-- end -->")]
    assert "README has a block that does not end in <!-- end -->" in generate.differences(
        opened, results
    )


def test_every_page_has_its_figures_beside_it() -> None:
    pages = sorted(RESULTS.glob("*.md"))
    assert {"theory", "demo", "design", "robustness"} <= {page.stem for page in pages}
    for page in pages:
        figures = json.loads(page.with_suffix(".json").read_text())["figures"]
        assert figures
        for name, one in figures.items():
            assert {"value", "low", "high", "goal", "reached"} <= set(one), (page, name)


def _results(folder: Path, ages: str | None) -> None:
    """Two pages as they are now, and what they measured where a file has changed since."""
    for name in ("design", "theory"):
        code = fingerprint(["whichpairs.bench.theory"])
        if ages:
            assert isinstance(code["files"], dict)
            assert ages in code["files"]
            code["files"][ages] = "before"
        made = {"command": f"make {name}", "code": code, "figures": {}}
        (folder / f"{name}.json").write_text(json.dumps(made))


def test_a_page_older_than_what_it_measures_is_named(
    generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "RESULTS", tmp_path)
    _results(tmp_path, None)
    assert generate.stale() == {}
    _results(tmp_path, "design/solver.py")
    found = generate.stale()
    assert set(found) == {"design", "theory"}
    assert "(design/solver.py); run: make design" in found["design"]
    (tmp_path / "theory.json").write_text("{}")
    assert "it records no fingerprint" in generate.stale()["theory"]


@pytest.mark.parametrize("fails", [False, True])
def test_only_the_readme_s_own_old_pages_may_fail(
    generate: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fails: bool,
) -> None:
    monkeypatch.setattr(generate, "RESULTS", tmp_path)
    monkeypatch.setattr(generate, "problems", list)
    monkeypatch.setattr(generate, "STALE_FAILS", fails)
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    _results(tmp_path, "design/solver.py")
    with pytest.raises(SystemExit) as ended:
        generate.main()
    said = capsys.readouterr().out
    assert ended.value.code == int(fails)
    assert "warning: docs/results/theory.md is older" in said
    assert ("warning: docs/results/design.md" in said) is not fails
    assert "docs/results/design.md is older" in said
