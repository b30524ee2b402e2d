"""Recordings of spot zones as step functions: how many machines a zone had, from when on.

SkyPilot spot-traces (JSON: ``metadata.gap_seconds`` and one count a tick), Bamboo (CSV: ``ms,add|remove,node``) and its
gcloud samples (``YYYY-MM-DD, HH:MM:SS, count``, put in order of time: several probers wrote them).
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import numpy as np

from sim.errors import TraceError
from sim.workload.rows import LONGEST_S
from sim.workload.source import whole_text

_MOST_MACHINES = 1_000_000
ZoneTrace = tuple[np.ndarray, np.ndarray, float]
"""``times_s`` (from 0), ``machines`` from each time on, and the recording's length in seconds."""


def read_zone_trace(path: str, gap_s: float | None = None) -> ZoneTrace:
    """The recording at ``path``; ``gap_s`` replaces the tick of a JSON file.

    Raises:
        TraceError: the file cannot be read as any of the three formats.
    """
    file = Path(path)
    text = whole_text(file)
    try:
        if file.suffix == ".json":
            data = json.loads(text)
            tick_s = gap_s or float(data["metadata"]["gap_seconds"])
            if not all(type(count) is int and 0 <= count <= _MOST_MACHINES for count in data["data"]):
                raise ValueError(f"data holds other than whole numbers from 0 to {_MOST_MACHINES:,}")
            if not 0 < tick_s < float("inf"):
                raise ValueError(f"a tick of {tick_s} s")
            counts = np.array(data["data"], dtype=int)
            times, length_s = np.arange(len(counts)) * tick_s, len(counts) * tick_s
        else:
            times, counts = _events(text)
            length_s = float(times[-1]) + 1.0
    except Exception as error:  # whatever a damaged file makes a step of this raise means the same
        raise TraceError(
            f"{path}: not a spot trace ({error}); expected SkyPilot JSON, Bamboo add/remove CSV or gcloud counts"
        ) from None
    if not np.isfinite([length_s, *times[:1], *times[-1:]]).all() or not 0 < length_s <= LONGEST_S:
        raise TraceError(f"{path}: spans {length_s:g} s; legal is a time above 0, at most ten years")
    if not len(counts) or counts.min() < 0:
        raise TraceError(f"{path}: expected counts of machines, at least 0, but got {len(counts)} of them")
    kept = np.concatenate([[True], np.diff(counts) != 0])
    return times[kept].astype(float), counts[kept], length_s


def _events(text: str) -> tuple[np.ndarray, np.ndarray]:
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines() if line.strip()]
    if rows[0][1] in ("add", "remove"):
        at_s = np.array([float(row[0]) / 1000 for row in rows])
        alive = np.cumsum([1 if row[1] == "add" else -1 for row in rows])
        last = np.concatenate([np.diff(at_s) > 0, [True]])  # of equal times, what all of them led to
        return at_s[last] - at_s[0], np.maximum(alive[last], 0)
    samples = {datetime.fromisoformat(f"{row[0]} {row[1]}").timestamp(): int(row[2]) for row in rows}
    times = np.array(sorted(samples))
    return times - times[0], np.array([samples[time_s] for time_s in times])
