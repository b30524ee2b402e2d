"""The time series: fleet state on a regular grid, read without disturbing the engines."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from sim.columns import slices
from sim.engine.clock import DEADLINE, Clock, Moment
from sim.fleet.books import Books
from sim.fleet.endpoints import Endpoints
from sim.fleet.feature_rows import FeatureSeries
from sim.fleet.server import Server
from sim.fleet.shown import shown_by
from sim.fleet.tier_rows import TierSeries
from sim.gateway.counts import Counts
from sim.record import Recorder
from sim.record.result import FEATURE_SERIES, TIER_SERIES, TIMESERIES_COLUMNS

ROLLING_S = 60.0
"""Window of the rolling p95s."""


_READ = (
    "time_s", "arrivals", "waiting", "running", "tokens_in_flight", "kv_used", "batch", "replicas_ready",
    "replicas_starting", "replicas_draining", "replicas_dead", "usd_per_hour", "kv_pinned", "transfer_bytes",
)  # fmt: skip
"""Of ``TIMESERIES_COLUMNS`` those that are read at each moment."""
_SUMS = (
    "arrivals", "transfer_bytes", "kv_host_loaded_bytes", "kv_promoted_bytes", "drafted_tokens", "adapter_loads",
    "adapter_wait_s",
)  # fmt: skip
"""What is counted over the interval that ends at ``time_s``."""
_POINTS = 1000
_LOOKS = 256_000
"""Looks at a server, in all points together: beyond them the grid of a large fleet is coarser."""
_MOST_POINTS = 4096
"""After so many the grid's spacing doubles: a run may last very much longer than its traffic."""


def grid_s(duration_s: float, servers: int = 1) -> float:
    """Grid spacing: about a thousand points, for more than 256 servers as many fewer (but a hundred), rounded to 1, 2, 5,
    10, ... seconds, at least one."""
    wanted = max(1.0, duration_s / min(_POINTS, max(100, _LOOKS // max(servers, 1))))
    power = 10.0 ** np.floor(np.log10(wanted))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= wanted))


def p95(values: np.ndarray) -> float:
    """``np.quantile(values, 0.95)`` to the last bit, without its preparations; NaN of none."""
    if not len(values):
        return math.nan
    place = (len(values) - 1) * 0.95
    below = int(place)
    above = min(below + 1, len(values) - 1)
    parted = np.partition(values, (below, above))
    low, high, share = float(parted[below]), float(parted[above]), place - below
    return low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share)


class Sampler:
    """Reads the fleet every ``every_s`` until no request is open; every ``2 every_s``, ``4 every_s`` ... in a run that does
    not end. The series is on the last of these grids."""

    def __init__(
        self, clock: Clock, endpoints: Endpoints, books: Books, counts: Counts, recorder: Recorder, every_s: float
    ) -> None:
        self._clock = clock
        self._servers = endpoints.ready
        self._books = books
        self._counts = counts
        self._recorder = recorder
        self.every_s = every_s
        self._arrived = 0
        self._received = 0.0
        self._features = FeatureSeries()
        self._tiers = TierSeries()
        self._rows: list[tuple[float, ...]] = []
        """``_READ``."""
        self._more: dict[int, dict[str, float]] = {}
        """Of rows in which some engine has them, ``FEATURE_SERIES`` and ``TIER_SERIES``."""
        clock.at(every_s, DEADLINE, self._sample, 1)

    def _sample(self, moment: Moment) -> None:
        """Read; ``moment.value``: how many intervals of the present length have passed since the start."""
        shown = shown_by(self._servers)
        usable = shown.usable_blocks
        arrived, received = self._counts.arrived, self._books.received_bytes()
        states = self._books.states()
        self._rows.append(
            (
                self._clock.now,
                arrived - self._arrived,
                shown.waiting,
                shown.running,
                shown.tokens,
                shown.used_blocks / usable if usable else math.nan,
                shown.running / shown.servers if shown.servers else math.nan,
                states["ready"],
                states["starting"],
                states["draining"],
                states["dead"],
                self._books.usd_per_hour(),
                shown.pinned_blocks / usable if usable else math.nan,
                received - self._received,
            )
        )
        self._arrived, self._received = arrived, received
        more: dict[str, float] = {}
        if shown.has_features:
            more = self._features.look(self._ready(), shown.adapters)
        if shown.has_tiers:
            more |= self._tiers.look(self._ready())
        if more:
            self._more[len(self._rows) - 1] = more
        if self._recorder.open_requests and self._recorder.stopped_early is None:
            passed = int(moment.value)
            if passed == _MOST_POINTS:
                self.every_s, passed = 2.0 * self.every_s, passed // 2
            self._clock.at(self.every_s * (passed + 1), DEADLINE, self._sample, passed + 1)

    def _ready(self) -> list[Server]:
        return [server for server in self._servers if server.state == "ready"]

    def frame(self, requests: pd.DataFrame) -> pd.DataFrame:
        """``Result.timeseries``, the rolling p95s filled in from the finished requests."""
        columns = dict(zip(_READ, map(np.array, zip(*self._rows, strict=True)), strict=False))
        own = [name for name in (*FEATURE_SERIES, *TIER_SERIES) if any(name in more for more in self._more.values())]
        for name in own:
            column = columns[name] = np.full(len(self._rows), math.nan)
            for row, more in self._more.items():
                column[row] = more.get(name, math.nan)
        series = on_grid(pd.DataFrame(columns), self.every_s)
        return with_rolling_p95s(series, requests).reindex(columns=[*TIMESERIES_COLUMNS, *own])


def on_grid(series: pd.DataFrame, every_s: float) -> pd.DataFrame:
    """``series``, read as often or more so, at multiples of ``every_s``: what is counted is summed, the rest is what it was
    at the end of an interval. What was read after the last whole interval is left out."""
    times_s = series["time_s"].to_numpy() if len(series) else np.zeros(0)
    if not len(times_s) or times_s[0] == every_s:
        return series
    interval = np.ceil(times_s / every_s)
    last = np.flatnonzero(np.diff(interval, append=np.inf))
    last = last[times_s[last] == interval[last] * every_s]
    first = np.concatenate([[0], last[:-1] + 1])
    columns = {str(name): series[name].to_numpy() for name in series}
    return pd.DataFrame(
        {
            name: np.add.reduceat(column[: last[-1] + 1], first) if name in _SUMS else column[last]
            for name, column in columns.items()
        }
    )


def with_rolling_p95s(frame: pd.DataFrame, requests: pd.DataFrame) -> pd.DataFrame:
    """``frame`` with the p95s of the requests that finished in the minute before each row."""
    times_s = frame["time_s"].to_numpy() if len(frame) else np.zeros(0)
    e2e, finish = requests["e2e_s"].to_numpy(), requests["finish_s"].to_numpy()
    seen = [np.zeros(0, dtype=np.int64)]
    for here in slices(len(finish)):  # what finished in no such minute is most of a long run
        ended = finish[here]
        look = np.searchsorted(times_s, ended)
        shown = (look < len(times_s)) & ~np.isnan(e2e[here])
        shown[shown] = times_s[look[shown]] - ROLLING_S < ended[shown]
        seen.append(np.flatnonzero(shown) + here.start)
    answered = np.concatenate(seen)
    answered = answered[np.argsort(finish[answered], kind="stable")]
    finish = finish[answered]
    lows = np.searchsorted(finish, times_s - ROLLING_S, side="right").tolist()
    highs = np.searchsorted(finish, times_s, side="right").tolist()
    for name in ("ttft_s", "e2e_s"):
        values = requests[name].to_numpy()[answered]
        frame[f"{name[:-2]}_p95_s"] = [p95(values[low:high]) for low, high in zip(lows, highs, strict=True)]
    return frame
