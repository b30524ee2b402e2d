"""Moments as logs write them: ISO 8601, Unix numbers of any unit, pairs of seconds and nanoseconds."""

from __future__ import annotations

import datetime
import math
import re
from typing import Any

import numpy as np

_EPOCH_S = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC).timestamp()
"""Stamps are counted from here: float64 keeps microseconds apart for decades around it."""
_EPOCH_NS = int(_EPOCH_S) * 1_000_000_000
_FRACTION = re.compile(r"\.(\d+)")
_DIGITS = re.compile(r"\s*-?\d+(\.\d+)?\s*", re.ASCII)


def stamp_s(value: Any) -> float:
    """Seconds since 2020 of a stamp; NaN when it is none.

    Numbers are Unix time in the unit that puts them into this century: seconds, ms, us or ns. A pair is [seconds,
    nanoseconds], as JavaScript's clock gives it. Text without an offset is UTC.
    """
    if isinstance(value, list | tuple):
        whole = [part for part in value if isinstance(part, int | float) and not isinstance(part, bool)]
        return (whole[0] * 1_000_000_000 + whole[1] - _EPOCH_NS) / 1e9 if len(whole) == len(value) == 2 else np.nan
    if isinstance(value, str) and _DIGITS.fullmatch(value) and len(value) < 40:
        value = float(value) if "." in value else int(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number_s(value)
    if not isinstance(value, str):
        return np.nan
    return _text_s(value)


def _number_s(value: float) -> float:
    size = abs(value)
    if not math.isfinite(size) or size > 1e20:
        return np.nan
    for unit, ns in ((1e17, 1), (1e14, 1_000), (1e11, 1_000_000)):
        if size >= unit:
            return (int(value) * ns - _EPOCH_NS) / 1e9 if isinstance(value, int) else value * ns / 1e9 - _EPOCH_S
    return float(value) - _EPOCH_S


def _text_s(text: str) -> float:
    # fromisoformat knows at most microseconds; the rest of the fraction is added by hand
    fraction = _FRACTION.search(text)
    try:
        moment = datetime.datetime.fromisoformat(_FRACTION.sub("", text, count=1).strip().replace(" UTC", "Z"))
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()
    except (ValueError, OverflowError):
        return np.nan
    return seconds - _EPOCH_S + (float("0." + fraction.group(1)) if fraction else 0.0)
