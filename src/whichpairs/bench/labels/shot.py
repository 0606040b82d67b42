"""The README's picture of the labelling page: a run, its server and a real browser.
`make picture-serve`."""

import argparse
import tempfile
from pathlib import Path

from whichpairs.bench.labels.site import browser, picked_run, served

GUIDE = """# How to choose

Prefer the answer that is **true** and helps the person who asks.

- Length alone is no merit.
- *Both bad*: you would give neither.
- Not sure what is meant? Skip.
"""
PROMPT = "Why is the sky blue? Explain it to a ten-year-old."
BETTER = """Sunlight looks white, but it is a mix of all colours.

When it comes through the air, it bumps into tiny molecules. They throw **blue** light about in all directions much more than **red**:

- blue light has a short wave, and is scattered a lot;
- red light has a long one, and goes nearly straight on.

So wherever you look in the sky, some of that scattered blue comes to your eyes."""
WORSE = """The sky is blue because it reflects the sea.

The sea is very large and very blue, and so the air above it takes on its colour. Where there is no sea, the sky borrows the blue from far away.

At sunset the sea gets dark, and that is why the sky turns red."""


def main() -> None:
    """Take the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = picked_run(
            folder,
            [PROMPT, *(f"Q{k}" for k in range(40))],
            [(BETTER, WORSE)] + [(f"x{k}", f"y{k}") for k in range(40)],
        )
        guide = folder / "guide.md"
        guide.write_text(GUIDE, encoding="utf-8")
        with (
            served(run, "--person", "Ada", "--guidelines", str(guide)) as site,
            browser() as chromium,
        ):
            page = chromium.new_page(viewport={"width": 1360, "height": 720})
            page.goto(site.people["Ada"])
            page.wait_for_selector("#text-a .plain")
            page.keyboard.press("m")
            page.wait_for_selector("#text-a .rich")
            page.screenshot(path=str(out))


if __name__ == "__main__":
    main()
