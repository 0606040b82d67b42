"""The report in a real Chromium: hostile texts, phone, dark, print, keyboard, filters; and its pieces."""

import json
import re
from dataclasses import replace
from importlib.resources import files
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from whichpairs.bench.labels.hostile import HOSTILE
from whichpairs.bench.labels.views import Watch, accessibility
from whichpairs.pool.columns import Columns
from whichpairs.report.data.answers import answers_of
from whichpairs.report.data.pool_map import GROUPS
from whichpairs.report.data.pool_words import ends_in_words, open_directions
from whichpairs.report.data.reasons import Reason
from whichpairs.report.page.glossary import GLOSSARY, term
from whichpairs.report.sections.gallery import STATES
from whichpairs.report.stage import report
from whichpairs.types import Label
from whichpairs.workflow.evaluate.settings import EvaluateSettings
from whichpairs.workflow.evaluate.stage import evaluate_run
from whichpairs.workflow.features.settings import FeatureSettings
from whichpairs.workflow.features.stage import compute_features
from whichpairs.workflow.fit import fit_labels
from whichpairs.workflow.import_pool import import_pool
from whichpairs.workflow.label.stage import label_simulated
from whichpairs.workflow.select.settings import SelectSettings
from whichpairs.workflow.select.stage import select

pytestmark = pytest.mark.usefixtures("few_draws")
DESK, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
CSS = files("whichpairs.report.page").joinpath("page.css").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report whose prompts, completions, groups and column names all try to break it."""
    folder = tmp_path_factory.mktemp("hostile")
    texts = [text[:30_000] for text in HOSTILE]
    rows = [
        {
            "prompt": f"{texts[(7 * p) % len(texts)][:4000]} {p}",
            "completion": f"{texts[(5 * p + k) % len(texts)]} {p} {k}",
            "<script>window.pwned=1</script>": texts[p % 3],
            "s<img src=x onerror=window.pwned=1>": float((p * 7 + k * 3) % 11),
        }
        for p in range(24)
        for k in range(5)
    ]
    source = folder / "pool.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    run, score = folder / "run", "s<img src=x onerror=window.pwned=1>"
    import_pool(source, run, Columns(scores=(score,)), holdout=0.25)
    compute_features(run, FeatureSettings(method="text", dim=18))
    select(run, SelectSettings(budget=30, criterion="gap", controls=4))
    label_simulated(run, score)
    fit_labels(run)
    evaluate_run(run, EvaluateSettings(score=score))
    select(run, SelectSettings(budget=6, criterion="gap", controls=0))
    report(run)
    return run / "report.html"


def opened(chromium: Any, page_file: Path, **options: Any) -> tuple[Any, Watch]:
    context = chromium.new_context(**{"viewport": DESK, "bypass_csp": True, **options})
    page = context.new_page()
    watch = Watch(page_file.as_uri()).on(page)
    page.goto(page_file.as_uri())
    return page, watch


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"viewport": PHONE, "device_scale_factor": 2, "has_touch": True},
        {"color_scheme": "dark"},
        {"viewport": PHONE, "color_scheme": "dark"},
    ],
)
def test_the_page_holds_in_a_browser(chromium, page_file: Path, options: dict[str, Any]) -> None:
    """Even with the content policy passed over, no text runs, asks, widens the page or is hard to read."""
    page, watch = opened(chromium, page_file, **options)
    page.evaluate("() => document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    page.mouse.move(200, 200)
    page.wait_for_timeout(200)
    watch.look(page)
    assert (watch.ran, watch.asked, watch.said) == ([], [], [])
    wide = page.evaluate("() => document.scrollingElement.scrollWidth")
    assert wide <= page.viewport_size["width"]
    assert "window.pwned" in page.inner_text("main")
    assert accessibility(page) == []
    over = page.evaluate(
        """() => [...document.querySelectorAll('svg')].filter((s) => s.getClientRects().length)
          .filter((s) => { const r = s.getBoundingClientRect(); return r.right > innerWidth + 1 || r.left < -1; })
          .length"""
    )
    assert over == 0
    page.context.close()


@pytest.mark.slow
def test_filters_words_and_print_work_without_a_script(chromium, page_file: Path) -> None:
    page, _ = opened(chromium, page_file, java_script_enabled=False)
    every = page.locator("#asked .pair:visible").count()
    assert every == 10
    seen = []
    for k in range(1, 7):
        page.locator(f"#asked .f{k}").check()
        seen.append(page.locator("#asked .pair:visible").count())
        assert seen[-1] == page.locator(f'#asked .pair[data-kinds~="k{k}"]').count()
        assert page.locator("#asked .nothing").is_visible() == (seen[-1] == 0)
    assert seen[1] == 0  # no tie
    assert (sum(seen[3:]), max(seen[3:]) < every) == (every, True)  # each is of one group
    page.locator("#asked .f0").check()
    shut = page.locator("#left .pair:visible").count()
    page.locator("#left > summary").click()
    assert (shut, page.locator("#left .pair:visible").count()) == (0, 10)
    full = page.locator("#asked details.full").first
    assert not full.locator("p").is_visible()
    full.locator("summary").click()
    assert full.locator("p").is_visible()
    page.emulate_media(media="print")
    assert page.locator("nav").is_hidden()
    assert page.locator("#asked .pair").first.is_visible()
    page.context.close()


@pytest.mark.slow
def test_a_word_explains_itself_at_keyboard_focus(chromium, page_file: Path) -> None:
    page, _ = opened(chromium, page_file)
    shown = "(e) => getComputedStyle(e, '::after').content"
    word = page.locator("main .term").first
    assert word.evaluate(shown) == "none"
    page.keyboard.press("Tab")
    word.focus()
    assert word.evaluate(shown).strip('"') in GLOSSARY.values()
    page.keyboard.press("Enter")
    assert page.url.partition("#")[2] in {
        term(w).partition('href="#')[2].partition('"')[0] for w in GLOSSARY
    }
    target = page.url.partition("#")[2]
    assert page.locator(f"#{target}").count() == 1
    page.context.close()


# --- its pieces -----------------------------------------------------------------------------------

PROTAN = (
    (0.152286, 1.052583, -0.204868),
    (0.114503, 0.786281, 0.099216),
    (-0.003882, -0.048116, 1.051998),
)
DEUTAN = (
    (0.367322, 0.860646, -0.227968),
    (0.280085, 0.672501, 0.047413),
    (-0.011820, 0.042940, 0.968881),
)
TRITAN = (
    (1.255528, -0.076749, -0.178779),
    (-0.078411, 0.930809, 0.147602),
    (0.004733, 0.691367, 0.303900),
)
"""What people without one kind of cone see (Machado, Oliveira and Fernandes 2009), on linear RGB."""


def linear(colour: str) -> np.ndarray:
    c = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    light = sorted(float(linear(c) @ (0.2126, 0.7152, 0.0722)) for c in (one, other))
    return (light[1] + 0.05) / (light[0] + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    m = (
        (0.4124564, 0.3575761, 0.1804375),
        (0.2126729, 0.7151522, 0.0721750),
        (0.0193339, 0.1191920, 0.9503041),
    )
    x = np.array(m) @ np.clip(rgb, 0, 1) / (0.95047, 1.0, 1.08883)
    f = np.where(x > 216 / 24389, np.cbrt(x), (24389 / 27 * x + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("mode", [0, 1])
def test_colours_are_told_apart_by_everybody(mode: int) -> None:
    """Ours, random's and the third one: for each kind of colour blindness, and as text on paper."""
    block = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)[mode]
    c = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
    for seen in (np.eye(3), *map(np.array, (PROTAN, DEUTAN, TRITAN))):
        for one, other in combinations(("accent", "soft", "other"), 2):
            apart = lab(seen @ linear(c[one])) - lab(seen @ linear(c[other]))
            assert np.linalg.norm(apart) >= 15, (one, other)
    for name in ("ink", "soft", "accent", "other"):
        for under in ("paper", "wash", "hint"):
            assert contrast(c[name], c[under]) >= 4.5, (name, under)


def test_every_filter_has_its_rule() -> None:
    for k in range(1, len(STATES) + GROUPS + 1):
        assert f'.gallery:has(.f{k}:checked) .pair:not([data-kinds~="k{k}"])' in CSS


@pytest.mark.parametrize(
    ("score", "distance", "asked", "left"),
    [
        (3.0, 1.4, "far apart, in a direction", "nothing against it"),
        (2.0, 2.0, "far apart in the features", "nothing against it"),
        (1.5, 1.0, "a direction that the other labels leave open", "nothing against it"),
        (0.3, 0.5, "chance or caution", "much alike in the features"),
        (0.1, 0.5, "chance or caution", "much alike, and other labels say most"),
        (0.5, 1.0, "chance or caution", "other labels say most of it already"),
        (0.9, 1.0, "chance or caution", "somewhat less to learn"),
        (1.1, 1.0, "somewhat more to learn", "nothing against it"),
    ],
)
def test_reasons_are_what_a_score_is_made_of(score, distance, asked, left) -> None:
    why = Reason(score, distance, score / distance**2)
    assert asked in why.asked()
    assert left in why.left()


def test_answers_are_counted_by_hand() -> None:
    def label(k: int, choice: str, who: str) -> Label:
        return Label(f"p{k}", f"x{k}", f"y{k}", choice, who, "001")

    said = [label(k, "a" if k < 18 else "b", "Ada") for k in range(24)]
    said += [replace(one, annotator="Bo") for one in said[:20]]
    said += [replace(label(30, "tie", "Ada"), both_bad=True)]
    said += [label(31, "a", "imported:0")]
    found = answers_of(said)
    assert (found.labels, found.ties, found.both_bad) == (46, 1, 1)
    assert found.by == {"Ada": 25, "Bo": 20, "imported": 1}
    assert found.first is not None
    assert found.first.mean == 36 / 44  # the imported one's order is not known
    assert found.first.low == pytest.approx(0.6729, abs=1e-4)  # Clopper–Pearson's, from a table
    [couple] = found.couples
    assert (couple.shared, couple.same) == (20, 20)


def test_an_open_direction_is_named_by_its_texts() -> None:
    """Of four directions only the first is open, and in it “alpha” stands against “omega”."""
    rng = np.random.default_rng(0)
    signs = np.where(np.arange(200) % 2 == 0, 1.0, -1.0)
    texts = [f"some {'alpha' if s > 0 else 'omega'} words {k % 7}" for k, s in enumerate(signs)]

    class Pool:
        completions = pl.DataFrame({"completion": texts})

    phi = rng.normal(size=(200, 4)) * 0.01
    phi[:, 0] += signs
    learned = np.diag([1.0, 50.0, 50.0, 50.0])
    [first, *_] = open_directions(Pool(), phi, learned, np.eye(4), count=1)
    assert {first.more, first.less} == {("alpha",), ("omega",)}
    assert first.share == pytest.approx(1.0 / 1.06)
    lengths = ends_in_words(texts, np.zeros(200))[2]
    assert lengths[0] == lengths[1]
