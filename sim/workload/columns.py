"""Text columns to numbers and labels, a column at a time (times: ``sim.workload.instants``).

The fast path is one Arrow cast for the column; only when it refuses is every different value looked at by itself, and
what is no number becomes NaN for ``sim.workload.rows`` to refuse or drop. A number is ASCII digits as spreadsheets and
databases write them: ``1_000`` and digits of other scripts are none; thousands may be grouped where that is unambiguous.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_PLAIN = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_GROUPED = {
    ".": re.compile(r"[+-]?[0-9]{1,3}(?:([,' \u00a0\u202f])[0-9]{3})(?:\1[0-9]{3})*(?:\.[0-9]+)?"),
    ",": re.compile(r"[+-]?[0-9]{1,3}(?:([.' \u00a0\u202f])[0-9]{3})(?:\1[0-9]{3})*(?:,[0-9]+)?"),
}
_WHOLE = re.compile(r"-?[0-9]{1,18}")
_LARGEST_EXACT = 2**53


def as_number(value: Any, decimal: str = ".") -> float:
    """The number that ``value`` is or, as text with that ``decimal`` sign, holds; NaN otherwise (truth values too)."""
    if isinstance(value, bool) or value is None:
        return np.nan
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return np.inf
    if not isinstance(value, str):
        return np.nan
    text = value.strip()
    if grouped := _GROUPED[decimal].fullmatch(text):
        text = text.replace(grouped[1], "")
    if decimal == ",":
        if "." in text:
            return np.nan
        text = text.replace(",", ".")
    return float(text) if _PLAIN.fullmatch(text) else np.nan


def numbers(column: pa.Array, decimal: str = ".") -> np.ndarray:
    """float64 of a text (or already numeric) column; NaN where empty or no number."""
    if pa.types.is_dictionary(column.type):
        return _at(numbers(column.dictionary, decimal), column)
    if pa.types.is_boolean(column.type) or pa.types.is_nested(column.type) or pa.types.is_temporal(column.type):
        return np.full(len(column), np.nan)
    texts_ = column.type in (pa.string(), pa.large_string())
    try:
        if decimal == "." or not texts_:
            cast = pc.cast(column, pa.float64(), safe=False)
            return np.array(cast.to_numpy(zero_copy_only=False), dtype=np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        if not texts_:
            return np.full(len(column), np.nan)
    different = pc.dictionary_encode(column)
    return _at(np.array([as_number(text, decimal) for text in different.dictionary.to_pylist()], dtype=float), different)


def _at(values: np.ndarray, encoded: pa.DictionaryArray) -> np.ndarray:
    """``values`` of a dictionary at its indices; NaN where there is none."""
    indices = pc.fill_null(encoded.indices, len(values)).to_numpy(zero_copy_only=False)
    found: np.ndarray = np.append(values, np.nan)[indices]
    return found


def texts(column: pa.Array) -> np.ndarray:
    """Object array of text; "" where empty. Equal texts are one object."""
    encoded = column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column)
    different = ["" if value is None else str(value) for value in encoded.dictionary.to_pylist()]
    values = np.array([*different, ""], dtype=object)
    found: np.ndarray = values[pc.fill_null(encoded.indices, len(different)).to_numpy(zero_copy_only=False)]
    return found


def integers(column: pa.Array, missing: int, decimal: str = ".") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """int64 with ``missing`` where empty, the mask of those, and the mask of values that are no whole number."""
    values = numbers(column, decimal)
    empty = np.asarray(pc.is_null(column).to_numpy(zero_copy_only=False), dtype=bool)
    if pa.types.is_floating(column.type):
        empty |= np.isnan(values)  # Parquet writers store a missing integer as NaN
    with np.errstate(invalid="ignore"):
        wrong = ~empty & ~((np.floor(values) == values) & (np.abs(values) <= _LARGEST_EXACT))
    return np.where(empty | wrong, missing, np.nan_to_num(values)).astype(np.int64), empty, wrong


def _number_of(name: str) -> int:
    """The id itself, or 63 bits of its digest when it is no integer (the same in every chunk and every run)."""
    if _WHOLE.fullmatch(name):
        return int(name)
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) >> 1


def hash_lists(column: pa.Array) -> np.ndarray:
    """Object array of tuples of ints from ``|``-separated ids or lists; empty is the empty tuple."""
    found = column.to_pylist()
    return tuples(
        tuple(_number_of(str(block)) for block in (value if isinstance(value, list) else str(value).split("|")))
        if value is not None and value != "" else ()
        for value in found
    )  # fmt: skip


_MOST_DRAFTS = 64


def count_lists(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Object array of tuples of counts from ``|``-separated numbers or lists (empty is the empty tuple), and the mask of
    values that are none."""
    found: list[tuple[int, ...]] = []
    wrong = np.zeros(len(column), dtype=bool)
    for place, value in enumerate(column.to_pylist()):
        parts = value if isinstance(value, list) else [] if value is None or value == "" else str(value).split("|")
        counts = [as_number(part) for part in parts]
        wrong[place] = any(not (0 <= count <= _MOST_DRAFTS and count == int(count)) for count in counts)
        found.append(() if wrong[place] else tuple(map(int, counts)))
    return tuples(found), wrong


def tuples(values: Iterable[tuple[int, ...]]) -> np.ndarray:
    """One-dimensional object array of tuples (numpy would make a matrix of tuples of equal length)."""
    return np.fromiter(values, dtype=object)
