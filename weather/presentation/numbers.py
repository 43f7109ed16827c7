"""Numbers as a reader likes them: few digits, powers of ten, units that fit."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol

SUPERSCRIPTS = str.maketrans("-0123456789.", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹·")
VANISHED = 1e-9  # what lies below is the floor of an interval that was formed in logarithms
PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
MINUS, THIN = "\N{MINUS SIGN}", "\N{NARROW NO-BREAK SPACE}"


class Bounds(Protocol):
    """What has a lower and an upper bound, such as an interval."""

    @property
    def low(self) -> float: ...

    @property
    def high(self) -> float: ...


def finite_or_none(value: float) -> float | None:
    """The number, or None: JSON has no word for infinity, and a cell of a table stays empty."""
    return float(value) if math.isfinite(value) else None


def number(value: float, digits: int = 4) -> str:
    """Significant digits, as a power of ten where there would be many zeros."""
    if not math.isfinite(value):
        return "not finite"
    if value and not 1e-3 <= abs(value) < 1e5:
        return power(value, digits)
    return f"{float(f'{value:.{digits}g}'):g}".replace("-", MINUS)


def power(value: float, digits: int = 3) -> str:
    """Such as 1.2 × 10¹⁵."""
    if not math.isfinite(value):
        return "not finite"
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa.replace('-', MINUS)}{THIN}×{THIN}10{str(int(exponent)).translate(SUPERSCRIPTS)}"


def significant(value: float) -> str:
    """Four digits, trailing zeros too, so that a column of losses lines up."""
    if not math.isfinite(value) or not 1e-3 <= abs(value) < 1e4:
        return number(value)
    return f"{value:#.4g}".rstrip(".").replace("-", MINUS)


def raised(base: str, exponent: float, digits: int = 3) -> str:
    """Such as N⁰·⁴²; its dot is that of the line, for there is none above it."""
    return base + f"{exponent:.{digits}g}".translate(SUPERSCRIPTS)


def count(value: float) -> str:
    """Such as 1.23 M; small ones as they are."""
    for size, prefix in PREFIXES:
        if abs(value) >= size:
            return f"{value / size:.3g}{THIN}{prefix}" if abs(value) < 1e15 else power(value)
    return f"{value:.4g}"


def size(value: float) -> str:
    """Bytes."""
    return f"{count(value)}B" if abs(value) >= 1e3 else f"{value:.0f}{THIN}B"


def share(value: float) -> str:
    """Percent."""
    return f"{100 * value:.3g}{THIN}%".replace("-", MINUS) if math.isfinite(value) else "not finite"


def duration(seconds: float) -> str:
    """Such as 3 h 20 min."""
    if seconds < 100:
        return f"{seconds:.3g}{THIN}s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes}{THIN}min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{THIN}h {minutes:02d}{THIN}min" if hours < 100 else f"{count(hours)}{THIN}h"


def between(interval: Bounds, digits: int = 3) -> str:
    """The bounds."""
    low = 0.0 if 0 < interval.low < VANISHED else interval.low
    return f"{number(low, digits)} to {number(interval.high, digits)}"


def ranges(numbers: Iterable[int], comma: str = ", ") -> str:
    """Whole numbers such as 1990-1995, 1997: rising, each once."""
    runs: list[list[int]] = []
    for each in sorted(set(numbers)):
        if runs and each == runs[-1][1] + 1:
            runs[-1][1] = each
        else:
            runs.append([each, each])
    return comma.join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs)
