"""Text columns to numbers, times and labels, a column at a time.

The fast path is one Arrow cast for the column; only when it refuses is every value looked at by itself, and what is no
number becomes NaN for ``sim.workload.rows`` to refuse or drop.
"""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_FRACTION = re.compile(r"\.(\d+)")


def _one_number(text: str | None) -> float:
    try:
        return float(text) if text is not None else np.nan
    except ValueError:
        return np.nan


def numbers(column: pa.Array) -> np.ndarray:
    """float64 of a text (or already numeric) column; NaN where empty or no number."""
    try:
        cast = pc.cast(column, pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return np.array([_one_number(None if value is None else str(value)) for value in column.to_pylist()])
    return np.array(cast.to_numpy(zero_copy_only=False), dtype=np.float64)


def _one_instant_s(text: str | None) -> float:
    if not text:
        return np.nan
    # fromisoformat knows at most microseconds; the rest of the fraction is added by hand
    fraction = _FRACTION.search(text)
    try:
        moment = datetime.datetime.fromisoformat(_FRACTION.sub("", text).strip().replace("Z", "+00:00"))
    except ValueError:
        return np.nan
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return moment.timestamp() + (float("0." + fraction.group(1)) if fraction else 0.0)


def instants_s(column: pa.Array, origin_ns: int | None = None) -> tuple[np.ndarray, int]:
    """Seconds of ISO 8601 stamps (any precision, with or without offset; without means UTC) since ``origin_ns``.

    The origin (Unix nanoseconds) is the first stamp unless given: seconds since it keep 100 ns steps exactly apart,
    which float64 seconds since 1970 would not.
    """
    for kind in (pa.timestamp("ns"), pa.timestamp("ns", "UTC")):
        try:
            instants_ns = pc.cast(pc.cast(column, kind), pa.int64()).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:
            continue
        if column.null_count == 0:
            origin = int(instants_ns[0]) if origin_ns is None else origin_ns
            return (instants_ns - origin) / 1e9, origin
    seconds = np.array([_one_instant_s(value) for value in column.to_pylist()])
    usable = seconds[np.isfinite(seconds)]
    origin = origin_ns if origin_ns is not None else round(float(usable[0]) * 1e9) if len(usable) else 0
    return np.round(seconds - origin / 1e9, 7), origin


def texts(column: pa.Array) -> np.ndarray:
    """Object array of text; "" where empty. Equal texts are one object."""
    encoded = pc.dictionary_encode(pc.fill_null(pc.cast(column, pa.string()), ""))
    values = np.array(encoded.dictionary.to_pylist(), dtype=object)
    return values[encoded.indices.to_numpy(zero_copy_only=False)] if len(values) else np.empty(0, dtype=object)


def integers(column: pa.Array, missing: int) -> tuple[np.ndarray, np.ndarray]:
    """int64 with ``missing`` where empty, and the mask of texts that are no whole number."""
    values = numbers(column)
    empty = np.asarray(pc.is_null(column).to_numpy(zero_copy_only=False), dtype=bool)
    if pa.types.is_floating(column.type):
        empty |= np.isnan(values)  # Parquet writers store a missing integer as NaN
    wrong = ~empty & ~(np.floor(values) == values)
    return np.where(empty | wrong, missing, np.nan_to_num(values)).astype(np.int64), wrong


def _number_of(name: str) -> int:
    """The id itself, or 63 bits of its digest when it is no integer (the same in every chunk and every run)."""
    try:
        return int(name)
    except ValueError:
        return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) >> 1


def hash_lists(column: pa.Array) -> np.ndarray:
    """Object array of tuples of ints from ``|``-separated ids; empty text is the empty tuple."""
    found = pc.fill_null(pc.cast(column, pa.string()), "").to_pylist()
    return tuples(tuple(map(_number_of, text.split("|"))) if text else () for text in found)


def tuples(values: Iterable[tuple[int, ...]]) -> np.ndarray:
    """One-dimensional object array of tuples (numpy would make a matrix of tuples of equal length)."""
    return np.fromiter(values, dtype=object)
