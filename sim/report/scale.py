"""Scales of charts: data to picture coordinates, and round numbers for the axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Maps ``low..high`` to ``start..end``, linearly or by logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Picture coordinate of ``value``."""
        if self.log:
            share = (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def nice_ticks(low: float, high: float, target: int = 5) -> list[float]:
    """About ``target`` multiples of 1, 2 or 5 times a power of ten that cover ``low..high``."""
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return [low]
    raw = span / target
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(multiple * power for multiple in (1, 2, 5, 10) if multiple * power >= raw * (1 - 1e-9))
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten within ``low..high``; only the powers when there are more than eight."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [m * 10.0**p for p in powers for m in (1, 2, 5) if low * (1 - 1e-9) <= m * 10.0**p <= high * (1 + 1e-9)]
    if len(ticks) > 8:
        ticks = [tick for tick in ticks if math.isclose(math.log10(tick), round(math.log10(tick)))]
    return ticks or [low, high]


def number(value: float | None, digits: int = 3) -> str:
    """A number for people: three significant digits, thousands separated, an en dash when undefined."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def usd(value: float | None) -> str:
    """Dollars for people, thousands separated: whole ones from 1,000 up, cents from 1 up; an en dash when undefined."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"${value:,.0f}" if abs(value) >= 1000 else f"${value:,.2f}" if abs(value) >= 1 else f"${number(value)}"


def tick_label(value: float) -> str:
    """Short label of an axis tick: 20k, 1.5M, 0.25; 1024, which is shorter than 1.024k."""
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return min(f"{value / limit:g}{suffix}", f"{value:.10g}", key=len)
    return f"{value:.6g}"


def extent(values: Sequence[float], *, zero: bool = False, log: bool = False) -> tuple[float, float]:
    """Lowest and highest finite value (positive ones on a log axis), widened when they coincide."""
    usable = [v for v in values if v is not None and math.isfinite(v) and (v > 0 or not log)]
    if not usable:
        return (1.0, 10.0) if log else (0.0, 1.0)
    low, high = min(usable), max(usable)
    if zero and not log:
        low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        return (low / 2, high * 2) if log else (low - abs(low) / 2, high + abs(high) / 2 or 1.0)
    return low, high
