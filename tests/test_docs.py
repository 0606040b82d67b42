"""README and result pages say what the results' JSON says, and old pages are named."""

import importlib
import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from whichpairs.bench.fingerprint import fingerprint

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
README, GUIDE = (
    (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/guide.md")
)
BOTH = README + GUIDE


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    sys.path.insert(0, str(ROOT / "docs"))
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def old(generate: ModuleType) -> set[str]:
    """The pages that are older than their code, as the README is to say."""
    return set(generate.stale())


@pytest.fixture(scope="module")
def readme(generate: ModuleType) -> ModuleType:
    return importlib.import_module("readme")


def test_the_readme_says_what_the_results_say(generate: ModuleType, old: set[str]) -> None:
    results = generate.read_results(RESULTS)
    assert generate.differences(BOTH, results, old) == []
    assert generate.filled(BOTH, results, old) == BOTH


def test_a_number_that_is_changed_in_the_readme_is_found(
    generate: ModuleType, old: set[str]
) -> None:
    import readme

    results = generate.read_results(RESULTS)
    for match in readme.BLOCK.finditer(BOTH):
        digit = next(k for k in range(match.start(3), match.end(3)) if BOTH[k].isdigit())
        other = str((int(BOTH[digit]) + 1) % 10)
        found = generate.differences(BOTH[:digit] + other + BOTH[digit + 1 :], results, old)
        assert len(found) == 1
        assert repr(match[2]) in found[0]


def test_a_result_that_is_changed_is_found(generate: ModuleType, old: set[str]) -> None:
    results = generate.read_results(RESULTS)
    results["design"]["figures"]["P5 minutes"]["value"] += 1.0
    (found,) = generate.differences(BOTH, results, old)
    assert "'engine'" in found


def test_a_block_that_is_gone_or_open_is_found(generate: ModuleType, old: set[str]) -> None:
    results = generate.read_results(RESULTS)
    gone = BOTH.replace("<!-- figures: harm -->", "")
    assert generate.differences(gone, results, old) == ["README has no block 'harm'"]
    opened = BOTH[: BOTH.rindex("<!-- end -->")]
    assert "README has a block that does not end in <!-- end -->" in generate.differences(
        opened, results, old
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
    """Two pages as they are now, and what they measured where a file has come since."""
    for name in ("design", "theory"):
        code = fingerprint(["whichpairs.bench.theory"])
        if ages:
            code["definitions"].pop(ages)
        made = {"command": f"make {name}", "code": code, "figures": {}}
        (folder / f"{name}.json").write_text(json.dumps(made))


def test_a_page_older_than_what_it_measures_is_named(
    generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "RESULTS", tmp_path)
    _results(tmp_path, None)
    assert generate.stale() == {}
    _results(tmp_path, "design/solver/frank_wolfe.py")
    found = generate.stale()
    assert set(found) == {"design", "theory"}
    assert (
        "(design/solver/frank_wolfe.py: A_FEW, design/solver/frank_wolfe.py: CLOSE, "
        in found["design"]
    )
    (tmp_path / "theory.json").write_text("{}")
    assert "it records no fingerprint" in generate.stale()["theory"]


def test_readme_says_where_its_figures_are_older_than_their_code(readme: ModuleType) -> None:
    results = readme.read_results(RESULTS)
    new = readme.filled(BOTH, results)
    assert readme.differences(new, results) == []
    assert len(readme.differences(new, results, ["design"])) == 1
    assert len(readme.differences(new, results, {"robustness": "why", "demo": "why"})) == 3
    old = readme.filled(new, results, ["demo", "design"])
    assert readme.differences(old, results, ["demo", "design"]) == []
    assert len(readme.differences(old, results)) == 2
    assert "```\n\nMeasured before the code behind it last changed." in old
    assert "(measured before the code behind it last changed)" in old


@pytest.mark.slow
@pytest.mark.parametrize("said", [True, False])
def test_an_old_page_fails_only_where_the_readme_hides_it(
    generate: ModuleType,
    readme: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    said: bool,
) -> None:
    results = tmp_path / "results"
    shutil.copytree(RESULTS, results)
    made = json.loads((results / "design.json").read_text())
    code = fingerprint(["whichpairs.bench.theory"])
    code["definitions"].pop("design/solver/frank_wolfe.py")
    (results / "design.json").write_text(json.dumps({**made, "code": code}))
    monkeypatch.setattr(generate, "RESULTS", results)
    monkeypatch.setattr(generate, "example_problems", lambda readme: [])
    page = tmp_path / "README.md"
    nothing = tmp_path / "guide.md"
    nothing.write_text("")
    monkeypatch.setattr(generate, "README", page)
    monkeypatch.setattr(generate, "GUIDE", nothing)
    old = set(generate.stale())
    page.write_text(
        readme.filled(
            BOTH,
            generate.read_results(results),
            old if said else old - {"design"},
        ),
        encoding="utf-8",
    )
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    with pytest.raises(SystemExit) as ended:
        generate.main()
    out = capsys.readouterr().out
    assert ended.value.code == int(not said), out
    assert "warning: docs/results/design.md is older" in out
    assert ("README's block 'engine' is not" in out) is not said
