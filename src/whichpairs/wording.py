"""Numbers as every message and page says them: rounded sensibly, without an exponent where
possible."""

import math
from collections.abc import Sequence

THIN, NARROW = "\u2009", "\u202f"
"""Spaces for pages, and between thousands."""


def number(x: float, digits: int = 3) -> str:
    """`x` to some significant digits, without an exponent where that can be avoided."""
    if abs(x) < 1e-12:
        return "0"
    if not math.isfinite(x):
        return "∞" if x > 0 else "−∞"
    power = math.floor(math.log10(abs(float(f"{x:.{digits - 1}e}"))))
    if power < -4 or power > 6:
        mantissa = f"{x / 10.0**power:.{digits - 1}f}".replace("-", "−")
        superscript = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"{mantissa}{THIN}×{THIN}10{superscript}"
    return f"{x:,.{max(digits - 1 - power, 0)}f}".replace(",", NARROW).replace("-", "−")


def percent(share: float, digits: int = 2) -> str:
    """A share of one as per cent, to some significant digits: ``0.12 %``, ``37 %``, ``174 %``."""
    return f"{number(100.0 * share, digits)} %"


def counted(n: int, one: str, many: str | None = None) -> str:
    """A number and its noun: ``1 label``, ``3 labels``; ``1 pair waits``, ``2 pairs wait``."""
    return f"{n} {plural(n, one, many)}"


def plural(n: int, one: str, many: str | None = None) -> str:
    """``pair`` or ``pairs``: the noun (or noun and verb) for so many."""
    return one if n == 1 else many or one + "s"


def counted_of(n: int, total: int, one: str, many: str | None = None) -> str:
    """A part and its whole: ``1 of 1 prompt``, ``1 of 3 prompts``."""
    return f"{n} of {total} {plural(total, one, many)}"


def listed(names: Sequence[str], last: str = "and") -> str:
    """``a``; ``a and b``; ``a, b and c``."""
    return f" {last} ".join([*([", ".join(names[:-1])] if names[:-1] else []), *names[-1:]])
