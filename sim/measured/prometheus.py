"""Prometheus text (version 0.0.4 and OpenMetrics) and range-query JSON, as series of numbers.

A dump is one sample a series; a range query holds many, of which the first and last matter here: counters are read as
what they rose by. Series are known by their labels, in whichever order they are written. Values are summed over
labels (engines, ranks, models), except that a gauge of the same name on several engines adds up too: requests running
on two engines are all running.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sim.errors import TraceError
from sim.measured.fields import is_decimal

_LINE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})?\s+(\S+)(?:\s+(-?[0-9.]+))?(?:\s+#.*)?$")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


@dataclass
class Samples:
    """Values by name and labels, and when they were taken (Unix seconds; NaN where nobody says)."""

    source: str
    values: dict[str, dict[str, float]] = field(default_factory=dict)
    at_s: float = math.nan

    def total(self, *names: str) -> float:
        """The sum over labels of the first of ``names`` that is there; NaN where none is."""
        for name in names:
            series = self.values.get(name)
            if series:
                return math.fsum(series.values())
        return math.nan

    def labels_of(self, label: str, *names: str) -> set[str]:
        """The different values of ``label`` among the series of ``names``."""
        keys = [key for name in names for key in self.values.get(name, {})]
        return {value for key in keys for name, value in _LABEL.findall(key) if name == label}

    def apart(self, labels: Sequence[str], name: str) -> int:
        """The series of ``name`` above 0 that differ in one of ``labels``."""
        held = [dict(_LABEL.findall(key)) for key, value in self.values.get(name, {}).items() if value > 0]
        return len({tuple(found.get(label, "") for label in labels) for found in held})

    def mean(self, *histograms: str) -> float:
        """Sum / count of the first histogram of these that counted anything; NaN otherwise."""
        for name in histograms:
            count = self.total(f"{name}_count")
            if count > 0:
                return self.total(f"{name}_sum") / count
        return math.nan

    def since(self, earlier: Samples, cumulative: set[str]) -> Samples:
        """What the ``cumulative`` series rose by since ``earlier``, the others as they are now.

        Raises:
            TraceError: a counter fell or is gone: the server was started again in between, or is another.
        """
        for name in cumulative & earlier.values.keys():
            gone = earlier.values[name].keys() - self.values.get(name, {}).keys()
            if gone:
                raise TraceError(
                    f"{self.source}: lacks {name}{min(gone)[:80]} of {earlier.source}: another server, or started again"
                )
        values: dict[str, dict[str, float]] = {}
        for name, series in self.values.items():
            before = earlier.values.get(name, {}) if name in cumulative else {}
            values[name] = {labels: value - before.get(labels, 0.0) for labels, value in series.items()}
            fell = [labels for labels, value in values[name].items() if value < 0 and name in cumulative]
            if fell:
                raise TraceError(
                    f"{self.source}: {name} fell since {earlier.source}: the server was started again in between"
                )
        return Samples(f"{self.source} minus {earlier.source}", values, self.at_s)


def from_text(source: str, text: str) -> Samples:
    """The samples of a ``/metrics`` dump.

    Raises:
        TraceError: a line is no sample, or a value no number.
    """
    samples = Samples(source)
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _LINE.match(line.strip())
        if found is None:
            raise TraceError(f"{source}, line {number}: is {line[:80]!r}; legal is a sample (name{{labels}} value)")
        name, labels, value, stamp = found.groups()
        series = samples.values.setdefault(name, {})
        key = _key(_LABEL.findall(labels or ""))
        if key in series:
            raise TraceError(f"{source}, line {number}: {name}{key[:60]} is there twice")
        series[key] = _value(f"{source}, line {number}: {name}", value)
        if stamp is not None:
            seconds = _value(f"{source}, line {number}: time", stamp)
            samples.at_s = seconds / 1e3 if seconds > 1e11 else seconds
    return samples


def _key(labels: Iterable[tuple[str, str]]) -> str:
    """The labels of a series as text, the same in whichever order they come; empty without any."""
    written = ",".join(f'{name}="{value}"' for name, value in sorted(labels))
    return f"{{{written}}}" if written else ""


def is_range_query(data: Any) -> bool:
    """Whether this is what ``/api/v1/query`` or ``query_range`` answers."""
    return isinstance(data, Mapping) and isinstance(data.get("data"), Mapping) and "resultType" in data["data"]


def from_range_query(source: str, data: Mapping[str, Any], counts: Callable[[str], bool]) -> list[Samples]:
    """First and last samples of every series of a range query; only one where all were taken at one time.

    Raises:
        TraceError: it is no vector or matrix, a value is no number, or a series of a name that ``counts`` falls inside
            or does not reach over the whole time of the others.
    """
    results = data["data"].get("result")
    if data.get("status", "success") != "success" or not isinstance(results, Sequence) or isinstance(results, str):
        raise TraceError(f"{source}: is no successful range query (status {data.get('status')!r:.40})")
    first, last = Samples(f"{source} (first samples)"), Samples(f"{source} (last samples)")
    spans: dict[tuple[float, float], str] = {}
    for place, series in enumerate(results):
        where = f"{source}, data.result[{place}]"
        if not isinstance(series, Mapping) or not isinstance(series.get("metric"), Mapping):
            raise TraceError(f"{where}: is {series!r:.60}; legal is an object with metric and values")
        name = series["metric"].get("__name__")
        if not isinstance(name, str):
            raise TraceError(f"{where}: metric has no __name__ (a query without rate() or sum() keeps it)")
        key = _key((str(k), str(v).replace('"', '\\"')) for k, v in series["metric"].items() if k != "__name__")
        points = _points(f"{where}: {name}", series)
        if not points:
            continue
        if counts(name):
            _refuse_fall(f"{where}: {name}", points)
            spans[points[0][0], points[-1][0]] = f"{name}{key[:80]}"
        for samples, (at_s, value) in ((first, points[0]), (last, points[-1])):
            samples.values.setdefault(name, {})[key] = value
            samples.at_s = at_s
    if len(spans) > 1:
        shown = "; ".join(f"{name} from {begin:.10g} to {end:.10g}" for (begin, end), name in list(spans.items())[:2])
        raise TraceError(f"{source}: its series do not cover the same time ({shown}); query a time in which all are there")
    if spans:
        ((first.at_s, last.at_s),) = spans
    return [last] if first.at_s == last.at_s else [first, last]


def _points(where: str, series: Mapping[str, Any]) -> list[tuple[float, float]]:
    """(time, value) of a series."""
    points = series.get("values") or ([series["value"]] if "value" in series else [])
    for pair in points:
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
            raise TraceError(f"{where}: a value is {pair!r:.60}; legal is [time, number]")
    return [(_value(f"{where}: time", at_s), _value(where, value)) for at_s, value in points]


def _refuse_fall(where: str, points: list[tuple[float, float]]) -> None:
    for (_, before), (at_s, after) in itertools.pairwise(points):
        if after < before:
            raise TraceError(
                f"{where} falls from {before:.6g} to {after:.6g} at {at_s:.10g}: the server was started again; query a time "
                "without that"
            )


def _value(where: str, text: Any) -> float:
    """A number as Prometheus writes it: NaN and infinities too."""
    if isinstance(text, str) and (is_decimal(text) or text in ("NaN", "Inf", "+Inf", "-Inf")):
        return float(text)
    if isinstance(text, int | float) and not isinstance(text, bool):
        return float(text)
    raise TraceError(f"{where} is {text!r:.60}; legal is a number")
