"""What a page looks like to a machine: its layout, its accessibility, what it ran and asked for."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LAYOUT = """() => {
  const box = (id) => { const r = document.getElementById(id).getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
  const wide = innerWidth, high = innerHeight, problems = [];
  const all = document.scrollingElement;
  if (all.scrollWidth > wide + 1) problems.push(`the page is ${all.scrollWidth} wide in ${wide}`);
  const [a, b, answers] = [box("side-a"), box("side-b"), box("answers")];
  const stacked = wide <= 768;
  const close = (x, y) => Math.abs(x - y) < 1.5;
  if (!close(a[2] - a[0], b[2] - b[0])) problems.push("A and B are not equally wide");
  if (stacked ? b[1] < a[3] : !close(a[1], b[1]) || b[0] < a[2]) problems.push("A and B are not where they belong");
  if (answers[3] > high + 1 || answers[1] < high / 3) problems.push(`the answers are at ${answers[1]} to ${answers[3]} of ${high}`);
  for (const button of document.querySelectorAll("#answers [data-choice]")) {
    const r = button.getBoundingClientRect();
    const found = document.elementFromPoint((r.left + r.right) / 2, (r.top + r.bottom) / 2);
    if (!button.contains(found)) problems.push(`${button.dataset.choice} cannot be pressed`);
  }
  for (const plain of document.querySelectorAll(".plain")) {
    const text = plain.parentElement;
    if (text.scrollWidth > text.clientWidth + 1) problems.push(`a plain text is ${text.scrollWidth} wide in ${text.clientWidth}`);
  }
  const left = document.querySelector("[data-choice=a]").getBoundingClientRect().left;
  if (left > document.querySelector("[data-choice=b]").getBoundingClientRect().left) problems.push("the sides are turned round");
  return problems;
}"""


@dataclass
class Watch:
    """What a page does that it should not.

    Attributes:
        ran: dialogs, windows and marks that only a completion's own code makes; asked: requests to
            elsewhere; said: errors and refusals in its console.
    """

    base: str
    ran: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def on(self, page: Any) -> "Watch":
        """Begin to watch."""
        page.on("dialog", self._dialog)
        page.on("popup", lambda one: self.ran.append("a window"))
        page.on("framenavigated", lambda one: self._at(one.url))
        page.on("request", lambda one: self._at(one.url))
        page.on("pageerror", lambda one: self.said.append(str(one)))
        page.on("console", lambda one: self.said.append(one.text) if one.type == "error" else None)
        return self

    def _dialog(self, one: Any) -> None:
        self.ran.append(one.message)
        one.dismiss()

    def _at(self, url: str) -> None:
        if not url.startswith((self.base, "about:blank")):
            self.asked.append(url)

    def look(self, page: Any) -> None:
        """Whether a completion's code has run by now."""
        if page.evaluate("() => window.pwned !== undefined || ({}).pwned !== undefined"):
            self.ran.append("its own code")


def layout(page: Any) -> list[str]:
    """What is wrong with a labelling page's layout."""
    return list(page.evaluate(LAYOUT))


def accessibility(page: Any) -> list[str]:
    """Serious and critical findings of axe-core; its context must pass over the content policy."""
    import axe_playwright_python

    script = Path(axe_playwright_python.__file__).parent / "axe.min.js"
    page.evaluate(script.read_text(encoding="utf-8") + ";window.axe = axe;0")
    found = page.evaluate("() => axe.run()")["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:120]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
