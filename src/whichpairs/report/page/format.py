"""Numbers and texts as the page says them: rounded sensibly, and safe to look at.

Every text on the page comes from somewhere else and may be hostile. Escaping is the template's work
(autoescape); here control characters become visible and long texts short. Every number carries its
exact value in a ``<data value="…">`` element, so that a program can read what a person sees rounded.
"""

import math
import unicodedata
from collections.abc import Callable
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from whichpairs import wording
from whichpairs.wording import NARROW, THIN, number, plural

if TYPE_CHECKING:
    from markupsafe import Markup

LONGEST = 400
"""Characters of a prompt or completion that are shown."""

_LINES = 14
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_KEPT = "\n\t\u200c\u200d"  # line breaks; the joiners that some scripts are written with


def visible(text: str) -> str:
    """`text` with characters that a browser would hide, or act upon, spelt out as escapes."""
    return "".join(
        c.encode("unicode_escape").decode()
        if unicodedata.category(c) in _HIDDEN and c not in _KEPT
        else c
        for c in text
    )


def excerpt(text: str, start: int = 0) -> tuple[str, str]:
    """About `LONGEST` characters from `start`, and a note on what was left out."""
    text = text.rstrip()
    reach = len(text) if len(text) <= start + LONGEST + 40 else start + LONGEST
    cut = "\n".join(text[start:reach].split("\n")[:_LINES]).rstrip()
    before = f"{count(start)} characters the same in both, then: " if start else ""
    left = len(text) - start - len(cut)
    after = f"{count(left)} more characters" if left > 0 else ""
    return ("…" if start else "") + cut + ("…" if left > 0 else ""), (before + after).removesuffix(
        ", then: "
    )


def common_start(a: str, b: str) -> int:
    """Where to begin an excerpt of two texts so that it shows a difference: 0 where the start does."""
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
    return same - 60 if same > LONGEST // 2 and same < max(len(a), len(b)) else 0


def count(n: float) -> str:
    """A whole number, its thousands apart: ``958 138``."""
    return f"{round(n):,}".replace(",", NARROW).replace("-", "−")


def signed(x: float) -> str:
    """`number` with its sign always shown."""
    return ("+" if x > 1e-12 else "") + number(x)


def lean(x: float) -> str:
    """`short` with its sign always shown: a difference, with no more digits than it is worth."""
    return ("+" if x > 1e-12 else "") + number(x, 2)


def short(x: float) -> str:
    """`number` to two digits: for what only says how sure another number is."""
    return number(x, 2)


def plain(x: float) -> str:
    """A setting as it was typed: ``4``, ``0.1``."""
    return f"{x:g}".replace("-", "−")


def money(x: float) -> str:
    """An amount: whole from 100 on, else with two places: ``1 840``, ``12.50``."""
    return count(x) if abs(x) >= 100 else f"{x:.2f}".replace("-", "−")


def nearly(share: float) -> str:
    """A share near one as per cent, never rounded up to all of it: ``99.88 %``."""
    if not 0.9 <= share < 1.0:
        return percent(share)
    digits = max(1 - math.floor(math.log10(100.0 * (1.0 - share))), 0)
    places = min(digits, 4)
    return f"{math.floor(share * 100 * 10**places) / 10**places:.{places}f}{THIN}%"


def percent(share: float) -> str:
    """A share of one as per cent, to two digits."""
    return wording.percent(share).replace(" %", f"{THIN}%")


_FORMS: dict[str, Callable[[float], str]] = {
    "count": count,
    "number": number,
    "signed": signed,
    "lean": lean,
    "short": short,
    "plain": plain,
    "money": money,
    "nearly": nearly,
    "percent": percent,
}


def data(value: float | None, form: str = "number") -> "Markup":
    """``<data value="exact">rounded</data>``; a dash for None."""
    from markupsafe import Markup

    if value is None:
        return Markup('<span class="none">unknown</span>')
    return Markup('<data value="{}">{}</data>').format(repr(value), _FORMS[form](value))


def say(sentence: str, **values: Any) -> "Markup":
    """A sentence of our own with `values` put in: texts made visible and escaped, `data` as it is.

    Args:
        sentence: HTML, with ``{name}`` fields as in `str.format`.
    """
    from markupsafe import Markup

    safe = {
        name: visible(v) if isinstance(v, str) and not isinstance(v, Markup) else v
        for name, v in values.items()
    }
    return Markup(sentence).format(**safe)


def how_many(n: int, one: str, many: str | None = None) -> "Markup":
    """A number as `data`, and the noun for so many."""
    return say("{n} {noun}", n=data(n, "count"), noun=plural(n, one, many))
