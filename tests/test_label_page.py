"""The labelling page in a real Chromium: by keyboard, on a phone, in the dark, under hostile completions."""

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from whichpairs.bench.labels.hostile import HOSTILE
from whichpairs.bench.labels.site import Served, picked_run, served, shown_first, start
from whichpairs.bench.labels.views import Watch, accessibility, layout
from whichpairs.label.stores.base import Answer
from whichpairs.label.stores.sqlite import SqliteStore

pytestmark = pytest.mark.slow
PHONE, DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[Served]:
    sides = [
        (f"one {k} " + "short text " * 30, f"two {k} " + "long text " * 300) for k in range(40)
    ]
    run = picked_run(folder, [f"Question {k}?" for k in range(40)], sides)
    (folder / "guide.md").write_text("# How\n\n- **truth** first\n- then <b>length</b>\n")
    people = [w for name in ("ann", "bob", "cyd", "dan") for w in ("--person", name)]
    with served(run, *people, "--guidelines", str(folder / "guide.md"), "--price", "0.5") as one:
        yield one


def opened(chromium: Any, link: str, **options: Any) -> tuple[Any, Watch]:
    context = chromium.new_context(**{"viewport": DESK, **options})
    page = context.new_page()
    watch = Watch(link.partition("/join/")[0]).on(page)
    page.goto(link)
    return page, watch


def answers(folder: Path, name: str) -> list[Answer]:
    store = SqliteStore(folder / "run" / "labels.sqlite", serving=True)
    return [one for one in store.answers() if one.annotator == name]


def saved(page: Any) -> None:
    """Wait until nothing waits to be sent."""
    waiting = "() => Object.keys(localStorage).filter((k) => k.startsWith('whichpairs:/') || k.startsWith('whichpairs::'))"
    page.wait_for_function(f"() => ({waiting})().every((k) => localStorage[k] === '[]')")


def test_a_person_labels_by_keyboard(chromium, site: Served, folder: Path) -> None:
    page, watch = opened(chromium, site.people["ann"])
    page.wait_for_selector("#text-a .plain")
    seen = []
    for key in ("ArrowLeft", "ArrowRight", "ArrowDown", "b", "s"):
        seen.append(page.text_content("#text-a").split()[0])
        page.keyboard.press(key)
        page.wait_for_selector("#answers:not([hidden])")
    page.keyboard.press("u")
    assert page.text_content("#text-a").split()[0] == seen[-1]
    assert "replaces the last" in page.text_content("#verdict")
    page.keyboard.press("c")
    page.keyboard.type("b and s are letters here ←")
    page.keyboard.press("Control+Enter")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("c")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.keyboard.press("ArrowLeft")  # a dialog is open: no answer
    page.keyboard.press("Escape")
    saved(page)
    found = answers(folder, "ann")
    assert [one.choice for one in found] == ["a", "b", "tie", "both_bad", "skip", "b"]
    assert found[-1].corrects == found[-2].answer_id
    assert [one.comment for one in found] == [None] * 5 + ["b and s are letters here ←"]
    names = {"one": 0, "two": 1}
    assert [names[word] for word in seen] == [shown_first(folder / "run", one) for one in found[:5]]
    assert "5 answered" in page.text_content("#progress")
    assert (watch.ran, watch.asked, watch.said) == ([], [], [])
    page.reload()
    page.wait_for_selector("#text-a .plain")
    assert page.text_content("#text-a").split()[0] in names
    page.context.close()


def test_texts_scroll_together_and_show_what_differs(chromium, site: Served) -> None:
    page, watch = opened(chromium, site.people["bob"])
    page.wait_for_selector("#text-a .plain")
    page.keyboard.press("d")
    marked = page.evaluate(
        "() => [...document.querySelectorAll('#text-a mark')].map((m) => m.textContent).join('')"
    )
    assert re.match(r"(one|two)(short|long)", marked)  # the number between them is in both
    page.keyboard.press("d")
    page.keyboard.press("m")
    page.wait_for_selector("#text-a .rich")
    long = (
        "a"
        if page.evaluate(
            "() => document.getElementById('text-a').scrollHeight > document.getElementById('text-a').clientHeight"
        )
        else "b"
    )
    other = "b" if long == "a" else "a"
    page.set_viewport_size({"width": 1280, "height": 330})
    page.evaluate(f"() => {{ document.getElementById('text-{long}').scrollTop = 1e6; }}")
    page.wait_for_function(
        f"() => {{ const t = document.getElementById('text-{other}'); return t.scrollTop > 0 && t.scrollTop + t.clientHeight > t.scrollHeight - 2; }}"
    )
    page.keyboard.press("g")
    assert page.text_content("#guidelines strong") == "truth"
    assert "<b>length</b>" in page.text_content("#guidelines")
    assert watch.said == []
    page.context.close()


def test_an_answer_waits_for_a_server_that_was_killed(chromium, tmp_path: Path) -> None:
    run = picked_run(tmp_path, [f"Q{k}" for k in range(8)], [(f"x{k}", f"y{k}") for k in range(8)])
    first = start(run, "--person", "ann")
    port = first.base.rpartition(":")[2]
    page, _ = opened(chromium, first.people["ann"])
    page.wait_for_selector("#text-a .plain")
    page.keyboard.press("ArrowLeft")
    saved(page)
    first.kill()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.wait_for_selector("#saving:has-text('2 answers wait')")
    with served(run, "--port", port) as again:
        assert again.people == first.people  # the same links, the same cookies
        page.reload()
        page.wait_for_selector("#text-a .plain")
        saved(page)
        found = answers(tmp_path, "ann")
        assert [one.choice for one in found] == ["a", "b", "tie"]
        page.context.close()


@pytest.mark.parametrize(
    "look",
    [{}, {"color_scheme": "dark"}, {"viewport": PHONE, "has_touch": True, "is_mobile": True}],
    ids=["desk", "dark", "phone"],
)
def test_pages_are_accessible_and_fit(chromium, site: Served, look: dict[str, Any]) -> None:
    page, watch = opened(chromium, site.people["cyd"], bypass_csp=True, **look)
    page.wait_for_selector("#text-a .plain")
    assert layout(page) == []
    assert accessibility(page) == []
    dark = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, dark[4:-1].split(","))) < 200) == (look.get("color_scheme") == "dark")
    if "has_touch" in look:
        page.tap("#comment-button")
    else:
        page.keyboard.press("?")
    assert accessibility(page) == []
    page.keyboard.press("Escape")
    page.goto(site.owner)
    page.wait_for_selector("#people tbody tr")
    assert accessibility(page) == []
    wide = page.evaluate("() => document.scrollingElement.scrollWidth - innerWidth")
    assert wide <= 0
    assert watch.said == []
    page.context.close()


def test_the_owner_invites_and_revokes(chromium, site: Served) -> None:
    page, watch = opened(chromium, site.owner)
    page.wait_for_selector("#people tbody tr")
    page.fill("#who", "eve")
    page.keyboard.press("Enter")
    page.wait_for_selector("#told:not([hidden])")
    link = page.text_content("#told").rpartition(" ")[2]
    theirs, _ = opened(chromium, link)
    theirs.wait_for_selector("#text-a .plain")
    page.click("text=Pause")
    page.wait_for_selector("text=Go on")
    page.click("text=Go on")
    page.wait_for_selector("text=Running")
    page.click("[aria-label='Revoke the invitation of eve']")
    page.wait_for_selector("text=no longer invited")
    theirs.keyboard.press("ArrowLeft")
    theirs.wait_for_selector("text=no longer signed in")
    assert watch.said == []
    page.context.close()
    theirs.context.close()


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_hostile_completions_are_texts(chromium, tmp_path: Path, viewport) -> None:
    """On one side or the other and in the prompt, as they are and as Markdown: some of the bench's."""
    texts = HOSTILE[::3] if viewport == DESK else HOSTILE[1::6]
    sides = [(text, f"tame {k}") for k, text in enumerate(texts)]
    run = picked_run(tmp_path, [f"Prompt {k} {t[:2000]}" for k, t in enumerate(texts)], sides)
    with served(run, "--person", "ann", "--strength") as one:
        page, watch = opened(chromium, one.people["ann"], viewport=viewport)
        page.wait_for_selector("#text-a .plain")
        wrong = []
        for k in range(len(texts)):
            for _ in range(2):
                page.keyboard.press("m")
                page.wait_for_timeout(20)
                watch.look(page)
                wrong += [(k, problem) for problem in layout(page)]
            page.keyboard.press("ArrowLeft")
            page.keyboard.press("3")
            page.wait_for_function(
                "() => !document.getElementById('pair').hidden || !document.getElementById('message').hidden"
            )
        page.wait_for_selector("#message:not([hidden])")
        saved(page)
        assert wrong == []
        assert (watch.ran, watch.asked, watch.said) == ([], [], [])
        found = answers(tmp_path, "ann")
        assert [one.strength for one in found] == [3] * len(texts)
        page.context.close()


def test_differences_are_the_shortest(chromium, site: Served) -> None:
    """Against dynamic programming over words: nothing unmarked differs, and no fewer words can be marked."""
    page, _ = opened(chromium, site.people["dan"])
    rng, cases = random.Random(3), []
    for _ in range(40):
        one, other = (" ".join(rng.choices("abc", k=rng.randrange(12))) for _ in range(2))
        cases.append((one, other))
    module = f"import('{site.base}/static/text.js')"
    found = page.evaluate(
        f"(c) => {module}.then((t) => c.map(([a, b]) => t.differences(a, b)))", cases
    )
    for (one, other), sides in zip(cases, found, strict=True):
        words = [re.findall(r"\s+|\w", text) for text in (one, other)]
        common = longest_common(*words)
        kept = ["".join(part for differs, part in side if not differs) for side in sides]
        assert ["".join(part for _, part in side) for side in sides] == [one, other]
        assert kept[0] == kept[1]
        assert sum(len(re.findall(r"\s|\w", p)) for d, p in sides[0] if not d) == common
    page.context.close()


def longest_common(one: list[str], other: list[str]) -> int:
    """The length of the longest common subsequence, by the table."""
    row = [0] * (len(other) + 1)
    for a in one:
        new = [0]
        for k, b in enumerate(other):
            new.append(row[k] + 1 if a == b else max(row[k + 1], new[k]))
        row = new
    return row[-1]
