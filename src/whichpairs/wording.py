"""Numbers as every message and page says them: rounded sensibly, without an exponent where possible."""

import math

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
