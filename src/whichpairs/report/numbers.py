"""How the page writes numbers and the words of strangers: rounded to what they are worth, and safe."""

import math

MANY = 400
"""Characters of a completion that the page shows."""


def sig(value: float, digits: int = 3) -> str:
    """`value` with so many significant digits, grouped in thousands and never in exponents."""
    if not math.isfinite(value):
        return "unbounded"
    if abs(value) < 1e-12:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    return signed_zero(f"{round(value, places):,.{max(places, 0)}f}")


def signed_zero(text: str) -> str:
    """A true minus sign in place of the hyphen."""
    return text.replace("-", "\N{MINUS SIGN}")


def fixed(value: float, places: int = 3, plus: bool = False) -> str:
    """`value` with so many decimals; a plus sign where a change is meant."""
    return signed_zero(f"{value:{'+' if plus else ''},.{places}f}")


def count(value: int) -> str:
    """A whole number, grouped in thousands."""
    return f"{value:,}"


def counted(value: int, noun: str) -> str:
    """``1 pair``, ``2,000 pairs``."""
    return f"{value:,} {noun}" + ("" if value == 1 else "s")


def percent(share: float) -> str:
    """A share as a percentage with two significant digits: ``0.22 %``."""
    return f"{sig(100.0 * share, 2)}\N{NO-BREAK SPACE}%"


def times(ratio: float) -> str:
    """A ratio: ``2.7 ×``."""
    return f"{sig(ratio, 2)}\N{NO-BREAK SPACE}×"


def between(low: float, high: float, places: int = 3) -> str:
    """The ends of an interval."""
    return f"{fixed(low, places)} to {fixed(high, places)}"


def visible(text: str) -> str:
    """`text` with control, bidirectional and broken characters spelt out; line breaks stay."""
    unix = text.replace("\r\n", "\n").replace("\t", "    ")
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in unix
    )


def cut(text: str, limit: int = MANY) -> str:
    """The beginning of `text`, with an ellipsis where it goes on."""
    short = text.strip()
    return short if len(short) <= limit else short[:limit].rstrip() + " …"
