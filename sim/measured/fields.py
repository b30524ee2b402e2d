"""Numbers out of a report: by dotted path, under whichever of its names the version used, refused when they are none."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from sim.errors import TraceError


class Fields:
    """A report's nested mapping, read strictly."""

    def __init__(self, source: str, data: Mapping[str, Any]) -> None:
        self.source = source
        self.data = data

    def value(self, *paths: str) -> Any:
        """What stands at the first of the dotted ``paths`` that is there and not null; None otherwise."""
        for path in paths:
            found: Any = self.data
            for key in path.split("."):
                found = found.get(key) if isinstance(found, Mapping) else None
            if found is not None:
                return found
        return None

    def number(self, *paths: str, unit: float = 1.0) -> float:
        """The number at the first of ``paths``, times ``unit``; NaN where none is there.

        Raises:
            TraceError: it is no finite number from 0 up.
        """
        found = self.value(*paths)
        if found is None:
            return math.nan
        return self._finite(paths[0], found) * unit

    def required(self, *paths: str, unit: float = 1.0) -> float:
        """As ``number``.

        Raises:
            TraceError: nothing is there.
        """
        found = self.number(*paths, unit=unit)
        if math.isnan(found):
            raise TraceError(f"{self.source}: lacks {' or '.join(paths)}")
        return found

    def count(self, *paths: str) -> int:
        """A required whole number."""
        found = self.required(*paths)
        if found != int(found):
            raise TraceError(f"{self.source}: {paths[0]} is {found!r}; legal is a whole number")
        return int(found)

    def rate(self, *paths: str) -> float | None:
        """A rate or cap; None where nothing, "inf" or infinity stands there: then nobody held requests back."""
        found = self.value(*paths)
        if found is None or (isinstance(found, str) and found.strip().lower() in ("inf", "infinity", "none", "")):
            return None
        if isinstance(found, float) and found == math.inf:
            return None
        number = self._finite(paths[0], found)
        return number or None

    def numbers(self, path: str) -> list[float] | None:
        """A list of finite numbers from 0 up; None where there is none."""
        found = self.value(path)
        if not isinstance(found, list) or not found:
            return None
        return [self._finite(f"{path}[{place}]", item) for place, item in enumerate(found)]

    def _finite(self, name: str, found: Any) -> float:
        number = math.nan
        if isinstance(found, str):
            # plain ASCII decimals only: float() also takes underscores and digits of any script
            number = float(found) if is_decimal(found) else math.nan
        elif isinstance(found, int | float) and not isinstance(found, bool):
            number = float(found) if abs(found) < 1e300 else math.inf
        if not 0 <= number < math.inf:
            raise TraceError(f"{self.source}: {name} is {found!r:.60}; legal is a finite number, at least 0")
        return number


def is_decimal(text: str) -> bool:
    """Whether ``text`` is a plain decimal number in ASCII digits."""
    body = text.strip()
    if not body or not set(body) <= set("0123456789.eE+-"):
        return False
    try:
        float(body)
    except ValueError:
        return False
    return True


def mean(values: Iterable[float]) -> float:
    """The mean; NaN of nothing."""
    held = list(values)
    return math.fsum(held) / len(held) if held else math.nan
