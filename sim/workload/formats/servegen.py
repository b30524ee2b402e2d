"""ServeGen client pools (Alibaba Model Studio, Apache-2.0): a folder of ``chunk-<client>-{trace.csv,dataset.json}``.

A client's arrivals are a renewal process whose rate and coefficient of variation change every 600 s (Gamma or Weibull
gaps, as recorded); its lengths come from the histogram of the current 6 h. Each client draws from streams of its own
name. ``workload.duration_s`` from ``start_s`` says how much to draw; ``pool_rate_per_s`` scales all clients together.

Done otherwise than the official generator: input and output have a uniform each (there, one uniform for both makes
their rank correlation exactly 1); gaps are not rescaled to fill the window, which there loses one request a client
and window, and all of a client that expects at most one. The CV is clipped at 20 (windows of few requests report up
to 1,038). Histograms are Python dict literals in a string: parsed as literals, never evaluated. Clients without
lengths are left out and counted.
"""

from __future__ import annotations

import ast
import csv
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sim.errors import TraceError
from sim.rng import stream
from sim.spec.arrivals import GammaArrivals, WeibullArrivals
from sim.workload.arrivals import draw_process
from sim.workload.rows import Chunk, Reading

WINDOW_S = 600.0
MAX_CV = 20.0
_PATTERNS = ("Gamma", "Weibull", "")
_MOST_REQUESTS = 2e8


class ServeGenFormat:
    """A pool of ServeGen clients."""

    name = "servegen"
    zero_based = True
    ordered = False

    def matches(self, head: bytes, path: Path) -> bool:
        """A folder with clients' arrival files."""
        return path.is_dir() and any(path.glob("chunk-*-trace.csv"))

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """The requests of every client up to ``until_s`` (the whole recording unless given)."""
        reading.row_name = "request"
        clients = [_client(path, reading) for path in sorted(reading.path.glob("chunk-*-trace.csv"))]
        usable = [client for client in clients if client is not None]
        if not usable:
            return
        zero_s = min(window.start_s for client in usable for window in client.windows)
        end_s = max(client.windows[-1].start_s for client in usable) + WINDOW_S - zero_s
        until_s = min(reading.until_s, end_s)
        if zero_s:
            reading.notes.append(f"the recording begins at {zero_s:g} s, which becomes 0")
        recorded = sum(client.requests(zero_s, until_s) for client in usable) / until_s
        scale = reading.pool_rate_per_s / recorded if reading.pool_rate_per_s and recorded else 1.0
        if scale * recorded * until_s > _MOST_REQUESTS:
            raise TraceError(
                f"{reading.path}: its clients send {recorded * until_s:.3g} requests in {until_s:.6g} s; legal are at most "
                f"{_MOST_REQUESTS:g} (workload.duration_s, workload.pool_rate_per_s)"
            )
        for client in usable:
            yield client.draw(zero_s, until_s, scale, reading.seed)


@dataclass(frozen=True)
class _Window:
    """How a client sends from ``start_s`` (of the recording's clock) on, for ``WINDOW_S``."""

    start_s: float
    rate_per_s: float
    cv: float
    pattern: str


class _Client:
    def __init__(self, name: str, windows: list[_Window], lengths: dict[float, Any]) -> None:
        self.name = name
        self.windows = windows
        self.lengths = lengths

    def requests(self, zero_s: float, until_s: float) -> float:
        """Expected requests before ``until_s`` after ``zero_s``."""
        return sum(
            window.rate_per_s * min(WINDOW_S, max(until_s - (window.start_s - zero_s), 0.0)) for window in self.windows
        )

    def draw(self, zero_s: float, until_s: float, scale: float, seed: int) -> Chunk:
        """The requests of the recording's seconds from ``zero_s``, which become 0, to ``until_s`` after it."""
        times = [np.empty(0)]
        for window in self.windows:
            start_s = window.start_s - zero_s
            if window.rate_per_s <= 0 or start_s >= until_s:
                continue
            rng = stream(seed, "workload", "servegen", self.name, round(window.start_s / WINDOW_S))
            process = _process(window.rate_per_s * scale, window.cv, window.pattern)
            times.append(start_s + draw_process(process, WINDOW_S, rng))
        arrival_s = np.concatenate(times)
        arrival_s = arrival_s[arrival_s < until_s]
        inputs = np.ones(len(arrival_s))
        outputs = np.ones(len(arrival_s))
        ranks = stream(seed, "workload", "servegen", self.name, "lengths").random((2, len(arrival_s)))
        starts = sorted(self.lengths)
        current = np.clip(np.searchsorted(starts, arrival_s + zero_s, side="right") - 1, 0, len(starts) - 1)
        for place in np.unique(current):
            mine = current == place
            for tokens, rank, (values, cumulative) in zip(
                (inputs, outputs), ranks, self.lengths[starts[place]], strict=True
            ):
                tokens[mine] = values[np.searchsorted(cumulative, rank[mine] * cumulative[-1], side="right")]
        labels = {"tenant": np.full(len(arrival_s), self.name, dtype=object)}
        return Chunk(arrival_s, np.maximum(inputs, 1), np.maximum(outputs, 1), np.arange(len(arrival_s)) + 1, labels)


def _process(rate_per_s: float, cv: float, pattern: str) -> Any:
    cv = min(max(cv, 0.05), MAX_CV)
    if pattern != "Weibull":
        return GammaArrivals(rate_per_s=rate_per_s, cv=cv)
    # a Weibull's CV falls with its shape; -1.086 is the usual power law, good to 5 % for shapes 0.3 to 10
    return WeibullArrivals(rate_per_s=rate_per_s, shape=max(cv**-1.086, 0.2))


def _client(path: Path, reading: Reading) -> _Client | None:
    windows: list[_Window] = []
    with path.open(newline="") as file:
        for line, fields in enumerate(csv.reader(file), start=1):
            if fields:
                windows.append(_window(path, line, fields, windows[-1] if windows else None))
    if not windows:
        raise TraceError(f"{path}: is empty; legal are lines of start_s,rate,cv,pattern,shape,scale")
    name = path.name.removesuffix("-trace.csv")
    lengths = {}
    dataset = path.with_name(f"{name}-dataset.json")
    if dataset.is_file():
        for start, fields in json.loads(dataset.read_text()).items():
            names = (("input_tokens", "text_tokens"), ("output_tokens",))
            pair = [_histogram(dataset, start, fields, keys) for keys in names]
            if all(part is not None for part in pair):
                lengths[float(start)] = pair
    if not lengths:
        reading.dropped["client without lengths"] += 1
        return None
    return _Client(name, windows, lengths)


def _window(path: Path, line: int, fields: list[str], before: _Window | None) -> _Window:
    """A line of an arrival file; columns that moved are found by the windows' order and the patterns' names."""
    try:
        window = _Window(float(fields[0]), float(fields[1]), float(fields[2]), fields[3].strip())
    except (ValueError, IndexError):
        window = _Window(math.nan, math.nan, math.nan, "")
    legal = 0 <= window.start_s < 1e9 and 0 <= window.rate_per_s < 1e6 and 0 <= window.cv < 1e6
    if not legal or window.pattern not in _PATTERNS:
        raise TraceError(
            f"{path}, line {line}: found {','.join(fields)[:120]!r}; legal is start_s,rate,cv,pattern,shape,scale with "
            "numbers from 0 up and Gamma, Weibull or nothing"
        )
    if before is not None and window.start_s < before.start_s + WINDOW_S:
        raise TraceError(
            f"{path}, line {line}: the window begins at {fields[0]}, less than {WINDOW_S:g} s after the one before it "
            f"({before.start_s:g}); legal are windows of {WINDOW_S:g} s in order"
        )
    return window


def _histogram(
    path: Path, start: str, fields: dict[str, str], keys: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Token counts and cumulative probabilities; None when there were no requests."""
    text = next((fields[key] for key in keys if key in fields), "{}")
    try:
        histogram = ast.literal_eval(text)
        values = np.array(list(histogram), dtype=np.float64)
        cumulative = np.cumsum(np.array(list(histogram.values()), dtype=np.float64))
    except (ValueError, SyntaxError, AttributeError, TypeError):
        raise TraceError(f"{path}, window {start}: {keys[0]} is {text[:60]!r}; legal is a dict literal") from None
    return (values, cumulative) if len(values) and cumulative[-1] > 0 else None
