"""Columns of times to seconds: numbers in a unit, ISO 8601 stamps, dates of any common order.

How a column is to be read is decided once, on its first values, and holds for the whole column; a value that does not
follow becomes NaN, which is refused with its row. Arrow reads ISO 8601, pandas everything else by a ``strptime``
pattern that is derived from the values (or given as ``workload.time_format``). Where days and months cannot be told
apart (03/04/2023 and nothing that decides) the column is refused and both patterns are named. Stamps without an offset
count as UTC.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sim.errors import ConfigError, TraceError
from sim.workload.columns import numbers

UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_LOOKED_AT = 20_000
_EARLIEST, _LATEST = pd.Timestamp("1700-01-01", tz="UTC"), pd.Timestamp("2250-01-01", tz="UTC")
"""Nanoseconds in 64 bits reach a little beyond."""
_STAMP = re.compile(
    r"(?P<weekday>[A-Za-z]{3},? )?"
    r"(?P<first>\d{1,4}|[A-Za-z]{3,9})(?P<between>[/. -])(?P<second>\d{1,2}|[A-Za-z]{3,9})"
    r"(?P<then>[/. -]|, ?)(?P<third>\d{2,4})"
    r"(?:(?P<gap>T|,? +|:)(?P<hour>\d{1,2}):\d{2}(?P<seconds>:\d{2})?(?P<fraction>[.,]\d{1,9})?(?P<half> ?[AaPp][Mm])?)?"
    r"(?P<zone> ?(?:Z|UTC|GMT|[+-]\d{2}:?\d{2}))?"
)
_YEAR_LAST = re.compile(r"[A-Za-z]{3} [A-Za-z]{3} +\d{1,2} \d{2}:\d{2}:\d{2}(?P<zone> (?:UTC|GMT))? \d{4}")
"""As C's ``asctime`` and ``date`` write it."""
_NO_YEAR = re.compile(
    r"(?:(?P<name>[A-Za-z]{3}) +\d{1,2}|\d{1,2} (?P<named>[A-Za-z]{3})|\d{1,2}(?P<between>[/.-])\d{1,2})"
    r" \d{1,2}:\d{2}(?P<seconds>:\d{2})?(?P<fraction>[.]\d{1,9})?"
)
_RUN_TOGETHER = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_DAYS = (15_000.0, 80_000.0)
"""Days since 1970 or, as spreadsheets count, since 1900, of this century."""


class TimeColumn:
    """One column of times."""

    def __init__(self, path: Path, unit_s: float, time_format: str, origin_ns: int | None, decimal: str = ".") -> None:
        """``time_format``: "auto", "iso", a unit (s, ms, us, ns: a number) or a ``strptime`` pattern; ``origin_ns``: the
        Unix time that stamps are counted from, or None: the first one seen."""
        self.origin_ns = origin_ns
        self._path = path
        self._decimal = decimal
        self._unit_s = UNITS.get(time_format, unit_s)
        self._format = "number" if time_format in UNITS else time_format
        if self._format not in ("auto", "iso", "number") and "%" not in self._format:
            raise ConfigError(
                f"workload.time_format is {time_format!r}; legal are auto, iso, {', '.join(UNITS)} and a pattern such as "
                "'%d/%m/%Y %H:%M:%S'"
            )

    def seconds(self, column: pa.Array) -> np.ndarray:
        """float64 seconds of the column's next values: from any zero where they are numbers, else from the origin.

        Seconds since the first stamp keep 100 ns steps exactly apart, which float64 seconds since 1970 would not.
        """
        if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
            return self._since_origin(pc.cast(column, pa.timestamp("us")).to_numpy(zero_copy_only=False))
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if self._format == "auto":
            if column.null_count == len(column):
                return np.full(len(column), np.nan)
            found = numbers(column, self._decimal)
            self._format = "iso" if np.isnan(found).all() else "number"
            if self._format == "iso" and np.isnan(self._iso(column)).mean() > 0.5:
                self._format = self._pattern(column)
            if self._format == "number":
                self._refuse_dates_as_numbers(found)
        if self._format == "number":
            return numbers(column, self._decimal) * self._unit_s
        return self._iso(column) if self._format == "iso" else self._by_pattern(column, self._format)

    def _iso(self, column: pa.Array) -> np.ndarray:
        if column.null_count == 0:
            for kind in (pa.timestamp("ns"), pa.timestamp("ns", "UTC")):
                try:
                    moments = pc.cast(column, kind).to_numpy(zero_copy_only=False)
                except pa.ArrowInvalid:
                    continue
                years = pc.cast(pc.utf8_slice_codeunits(column, 0, 4), pa.int32()).to_numpy()
                sane = (years >= _EARLIEST.year) & (years < _LATEST.year)  # older Arrow wraps the others around, too
                return self._since_origin(np.where(sane, moments, np.datetime64("NaT")))
        return self._parsed(_texts(column), "ISO8601")

    def _by_pattern(self, column: pa.Array, pattern: str) -> np.ndarray:
        texts = _texts(column).str.replace(r" ?(?:UTC|GMT)$", " +00:00", regex=True) if "%z" in pattern else _texts(column)
        found = self._parsed(texts, pattern)
        other = pattern.replace(".%f", "").replace(",%f", "") if "%f" in pattern else pattern.replace("%S", "%S.%f")
        if np.isnan(found).any() and other != pattern:  # a fraction may be left out where it is zero
            again = self._parsed(texts, other)
            found = np.where(np.isnan(found), again, found)
        return found

    def _parsed(self, texts: pd.Series, pattern: str) -> np.ndarray:
        moments = pd.to_datetime(texts, format=pattern, errors="coerce", utc=True)
        moments = moments.where((moments > _EARLIEST) & (moments < _LATEST))
        return self._since_origin(moments.dt.tz_localize(None).to_numpy())

    def _since_origin(self, moments: np.ndarray) -> np.ndarray:
        seconds = moments.astype("datetime64[s]")  # older NumPy wraps what nanoseconds cannot hold around, without a word
        missing = ~((seconds > np.datetime64("1700-01-01")) & (seconds < np.datetime64("2250-01-01")))  # NaT is neither
        if missing.all():
            return np.full(len(moments), np.nan)
        instants_ns = np.where(missing, np.datetime64("NaT"), moments).astype("datetime64[ns]").astype(np.int64)
        if self.origin_ns is None:
            self.origin_ns = int(instants_ns[~missing][0])
        return np.where(missing, np.nan, (instants_ns - self.origin_ns) / 1e9)

    def _refuse_dates_as_numbers(self, found: np.ndarray) -> None:
        """Numbers that are dates by their digits are no seconds unless somebody says so."""
        written = date_in_numbers(found)
        if written:
            raise TraceError(
                f"{self._path}: the time {found[np.isfinite(found)][0]:.15g} is {written}; if it is a number in a unit, say "
                f"which: workload.time_format (--time-format) is one of {', '.join(UNITS)}"
            )

    def _pattern(self, column: pa.Array) -> str:
        """The pattern that most of the first values follow.

        Raises:
            TraceError: two patterns that mean different times follow equally well.
        """
        texts = _texts(column).dropna().drop_duplicates().iloc[:_LOOKED_AT]
        if _NO_YEAR.fullmatch(texts.iloc[0]):
            raise TraceError(
                f"{self._path}: the time {texts.iloc[0]!r} has no year; write it into the file, or say how to read it where "
                f"all are of one year: workload.time_format (--time-format), here {_without_year(texts.iloc[0])}"
            )
        best: list[str] = []
        most = 0
        for pattern in _patterns_of(str(texts.iloc[0])):
            origin_ns, self.origin_ns = self.origin_ns, 0
            follow = int(np.isfinite(self._by_pattern(pa.array(texts, pa.string()), pattern)).sum())
            self.origin_ns = origin_ns
            if follow and follow >= most:
                best = [pattern] if follow > most else [*best, pattern]
                most = follow
        if len(best) > 1:
            raise TraceError(
                f"{self._path}: the time {texts.iloc[0]!r} can be read in more than one way; say which: "
                f"workload.time_format (--time-format) is one of {', '.join(map(repr, best))}"
            )
        return best[0] if best else "iso"


def date_in_numbers(values: np.ndarray) -> str:
    """What dates ``values`` are by their digits, and how they can be read; empty where they are none.

    20231116181501 is a date run together. 45246.50001736111 is a spreadsheet's: as days a whole number of ms, as seconds
    not even of microseconds.
    """
    first = values[np.isfinite(values)][:_LOOKED_AT]
    if not len(first):
        return ""
    if (first == np.floor(first)).all() and (first >= 1900_01_01).all() and (first < 1e15).all():
        texts = pd.Series([str(int(value)) for value in first])
        pattern = _RUN_TOGETHER.get(len(texts[0]), "")
        if pattern and pd.to_datetime(texts, format=pattern, errors="coerce").between("1970", "2100").all():
            return f"a date by its digits: workload.time_format (--time-format) is {pattern!r}"
    if len(first) > 1 and (first >= _DAYS[0]).all() and (first < _DAYS[1]).all():
        ms, us = first * 86_400e3, first * 1e6
        if (np.abs(ms - np.rint(ms)) < 0.005).all() and (np.abs(us - np.rint(us)) > 0.005).any():
            return "a day's number by its digits (a spreadsheet's, or days since 1970): write seconds or ISO 8601"
    return ""


def _without_year(text: str) -> str:
    """The patterns of a stamp without a year, for a message."""
    found = _NO_YEAR.fullmatch(text)
    assert found is not None
    time = " %H:%M" + (":%S" if found["seconds"] else "") + (".%f" if found["fraction"] else "")
    if found["between"]:
        return " or ".join(repr(f"{a}{found['between']}{b}{time}") for a, b in (("%m", "%d"), ("%d", "%m")))
    return repr(("%b %d" if found["name"] else "%d %b") + time)


def _texts(column: pa.Array) -> pd.Series:
    """The column's texts; None for those in other digits than ASCII's, which ``strptime`` would read."""
    texts = pc.utf8_trim_whitespace(column)
    return pd.Series(pc.if_else(pc.string_is_ascii(texts), texts, None).to_pylist(), dtype=object)


def _patterns_of(text: str) -> list[str]:
    """The ``strptime`` patterns that a stamp of this shape may follow."""
    if text.startswith("[") and text.endswith("]"):  # as web servers log it
        return [f"[{pattern}]" for pattern in _patterns_of(text[1:-1])]
    if year_last := _YEAR_LAST.fullmatch(text):
        return [f"%a %b %d %H:%M:%S{year_last['zone'] or ''} %Y"]
    found = _STAMP.fullmatch(text.strip())
    if found is None or (found["gap"] == ":" and found["then"].endswith(" ") and len(found["third"]) == 2):
        return []  # 16 Nov 18:15:01 is no day of 2018: its year is missing
    time = ""
    if found["hour"]:
        time = found["gap"] + ("%I" if found["half"] else "%H") + ":%M" + (":%S" if found["seconds"] else "")
        time += (found["fraction"][0] + "%f") if found["fraction"] else ""
        time += (" %p" if found["half"].startswith(" ") else "%p") if found["half"] else ""
    if found["zone"]:
        time += " %z" if found["zone"].startswith(" ") or found["zone"].strip() in ("UTC", "GMT") else "%z"
    weekday = ("%a, " if "," in found["weekday"] else "%a ") if found["weekday"] else ""
    return [f"{weekday}{date}{time}" for date in _dates_of(found)]


def _dates_of(found: re.Match[str]) -> list[str]:
    first, second, third = found["first"], found["second"], found["third"]
    year = "%Y" if len(third) == 4 else "%y"
    name = "%b" if len(first if first.isalpha() else second) == 3 else "%B"
    if first.isalpha():
        orders = [(name, "%d", year)]
    elif second.isalpha():
        orders = [("%d", name, year)]
    elif len(first) == 4:
        orders = [("%Y", "%m", "%d")]
    elif found["between"] == "." and len(third) == 4:
        orders = [("%d", "%m", "%Y")]  # nobody writes 11.16.2023
    else:
        orders = [("%d", "%m", year), ("%m", "%d", year)]
        if year == "%y":
            orders.append(("%y", "%m", "%d"))
    return [f"{a}{found['between']}{b}{found['then']}{c}" for a, b, c in orders]
