"""What only a real browser tells: hostile completions, accessibility, and how long an answer
takes."""

import itertools
import json
import time
from dataclasses import dataclass
from pathlib import Path

from whichpairs.bench.labels.hostile import HOSTILE
from whichpairs.bench.labels.load import Browser, Speed
from whichpairs.bench.labels.site import browser, picked_run, served
from whichpairs.bench.labels.views import Watch, accessibility, layout
from whichpairs.label.web.app import ROUTES

DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
WORDS = 200
_TIMED = """() => {
  window.times = [];
  document.addEventListener("keydown", (event) => {
    const before = document.getElementById("text-a").textContent, began = event.timeStamp;
    const look = () => {
      const now = document.getElementById("text-a").textContent !== before && !document.getElementById("answers").hidden;
      requestAnimationFrame(now ? () => window.times.push((performance.now() - began) / 1000) : look);
    };
    requestAnimationFrame(look);
  }, true);
}"""

_EMPTY = """async () => {
  const began = performance.now();
  await (await fetch(document.querySelector("meta[name=root]").content + "/alive")).text();
  return (performance.now() - began) / 1000;
}"""


@dataclass
class Hostility:
    """What became of `HOSTILE` on screen.

    Attributes:
        shown: completions, each as plain text and as Markdown; executed: those that ran, opened or
            asked for anything; broken: those with a layout that is not what it must be.
    """

    shown: int
    executed: int
    broken: int
    notes: list[str]


def hostility(folder: Path) -> Hostility:
    """Every hostile completion on screen, in both views."""
    sides = [(text, f"tame {k}") for k, text in enumerate(HOSTILE)]
    run = picked_run(folder, [f"Prompt {k} {t[:2000]}" for k, t in enumerate(HOSTILE)], sides)
    found = Hostility(0, 0, 0, [])
    with served(run, "--person", "ann") as site, browser() as chromium:
        page = chromium.new_page(viewport=DESK)
        watch = Watch(site.base).on(page)
        page.goto(site.people["ann"])
        for _ in HOSTILE:
            page.wait_for_selector("#answers:not([hidden])")
            problems, before = list[str](), len(watch.ran) + len(watch.asked) + len(watch.said)
            for _ in range(2):
                page.keyboard.press("m")
                page.wait_for_timeout(20)
                watch.look(page)
                problems += layout(page)
            found.shown += 1
            found.executed += len(watch.ran) + len(watch.asked) + len(watch.said) > before
            found.broken += bool(problems)
            found.notes += problems
            page.keyboard.press("ArrowLeft")
        found.notes += watch.ran + watch.asked + watch.said
    return found


@dataclass
class Looks:
    """Accessibility of the pages, and the time of an answer.

    Attributes:
        pages: looked at; findings: serious and critical ones of axe-core; times: seconds from a key
            to the next pair on screen.
    """

    pages: int
    findings: list[str]
    times: list[float]


def looks(folder: Path, answers: int) -> Looks:
    """Every page by axe-core, on a desk, in the dark and on a phone; then answers by keyboard."""
    sides = [
        tuple(" ".join(f"{side}{k} word".split() * (WORDS // 2)) for side in "xy")
        for k in range(answers + 10)
    ]
    prompts = [f"Question {k}?" for k in range(len(sides))]
    run = picked_run(folder, prompts, [(a, b) for a, b in sides])
    guide = folder / "guide.md"
    guide.write_text("# How to choose\n\n- **truth** first\n", encoding="utf-8")
    found = Looks(0, [], [])
    with (
        served(run, "--person", "ann", "--guidelines", str(guide), "--price", "1") as site,
        browser() as chromium,
    ):
        for look in ({}, {"color_scheme": "dark"}, {"viewport": PHONE}):
            page = chromium.new_page(bypass_csp=True, **{"viewport": DESK, **look})
            page.goto(site.people["ann"])
            page.wait_for_selector("#text-a .plain")
            for step in (None, "?", "Escape", "c", "Escape", "g", "m"):
                if step is not None:
                    page.keyboard.press(step)
                if step != "Escape":
                    found.findings += accessibility(page)
                    found.pages += 1
            page.keyboard.press("m")
            page.goto(site.owner)
            page.wait_for_selector("#people tbody tr")
            found.findings += accessibility(page)
            found.pages += 1
            page.close()
        page = chromium.new_page(viewport=DESK)
        page.goto(site.people["ann"])
        page.wait_for_selector("#text-a .plain")
        page.evaluate(_TIMED)
        for key, number in zip(
            itertools.cycle(("ArrowLeft", "ArrowRight", "ArrowDown", "b")), range(answers)
        ):
            page.keyboard.press(key)
            page.wait_for_function(f"() => window.times.length > {number}")
            page.wait_for_timeout(150)
        found.times = page.evaluate("() => window.times")
    return found


def watched(link: str, seconds: float) -> Speed:
    """One annotator in a browser for so long: a key, and then an empty page, again and again."""
    found = Speed()
    with browser() as chromium:
        page = chromium.new_page(viewport=DESK)
        page.goto(link)
        page.wait_for_selector("#text-a .plain")
        page.evaluate(_TIMED)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            page.keyboard.press("ArrowLeft")
            page.wait_for_function(f"() => window.times.length > {len(found.fetched)}")
            found.fetched.append(page.evaluate(_EMPTY))
            page.wait_for_timeout(300)
        found.screen.extend(page.evaluate("() => window.times"))
    return found


@dataclass
class Knocks:
    """Requests by those who may not: how many, and which were let in."""

    tried: int
    let_in: list[str]


def knocks(folder: Path) -> Knocks:
    """Every route and method, by somebody without a token and with others' tokens."""
    both = {}
    for name in ("ours", "theirs"):
        (folder / name).mkdir()
        both[name] = picked_run(folder / name, ["Q"] * 1, [("x", "y")])
    found = Knocks(0, [])
    with (
        served(both["ours"], "--person", "ann", "--person", "bob") as site,
        served(both["theirs"], "--person", "ann") as other,
    ):
        ann, bob, owner = (
            Browser(link, 0) for link in (site.people["ann"], site.people["bob"], site.owner)
        )
        stranger = Browser(site.people["ann"], 0)
        foreign = Browser(other.people["ann"], 0)
        for one in (ann, bob, owner, foreign):
            one.enter()
        posing = Browser(site.people["ann"], 0)
        posing.wears(foreign)
        owner.ask("POST", "/api/owner/revoke", {"name": "bob"})
        for who, one in {"nobody": stranger, "another run's": posing, "revoked": bob}.items():
            for entry in ROUTES:
                path = entry.path.replace("{name}", "label.js").replace("{handle}", "x")
                for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
                    _knock(found, one, who, method, path)
        for entry in ROUTES:
            path = entry.path.replace("{name}", "label.js").replace("{handle}", "x")
            if entry.who != "both":
                _knock(
                    found, ann if entry.who == "owner" else owner, "another's", entry.method, path
                )
            if entry.method == "POST":
                forged = Browser(site.people["ann"], 0)
                forged.wears(owner if entry.who == "owner" else ann, csrf=False)
                _knock(found, forged, "another page", "POST", path)
    return found


def _knock(found: Knocks, one: Browser, who: str, method: str, path: str) -> None:
    status, _ = one.ask(method, path, {} if method == "POST" else None)
    found.tried += 1
    if status not in (401, 403):
        found.let_in.append(json.dumps([who, method, path, status]))
