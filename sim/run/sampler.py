"""The time series: fleet state on a regular grid, read without disturbing the engines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from sim.engine.clock import DEADLINE, Clock, Moment
from sim.engine.view import EngineView
from sim.fleet.books import Books, has_features
from sim.fleet.endpoints import Endpoints
from sim.fleet.server import Server
from sim.fleet.tier_rows import TierSeries
from sim.gateway.counts import Counts
from sim.record import Recorder
from sim.record.result import FEATURE_SERIES, TIER_SERIES, TIMESERIES_COLUMNS

ROLLING_S = 60.0
"""Window of the rolling p95s."""


_POINTS = 1000
_LOOKS = 256_000
"""Looks at a server, in all points together: beyond them the grid of a large fleet is coarser."""


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
    """Reads the fleet every ``every_s`` until no request is open."""

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
        self._verified = self._accepted = 0
        self._tiers = TierSeries()
        self._rows: list[dict[str, Any]] = []
        clock.at(every_s, DEADLINE, self._sample, 1)

    def _sample(self, moment: Moment) -> None:
        servers = [server for server in self._servers if server.state == "ready"]
        views = [server.replica.view() for server in servers]
        usable = sum(view.usable_blocks for view in views)
        arrived, received = self._counts.arrived, self._books.received_bytes()
        self._rows.append(
            {
                "time_s": self._clock.now,
                "arrivals": arrived - self._arrived,
                "waiting": sum(view.waiting for view in views),
                "running": sum(view.running for view in views),
                "tokens_in_flight": sum(view.context_tokens + view.waiting_tokens for view in views),
                "kv_used": sum(view.used_blocks for view in views) / usable if usable else np.nan,
                "batch": sum(view.running for view in views) / len(views) if views else np.nan,
                **{f"replicas_{state}": count for state, count in self._books.states().items()},
                "usd_per_hour": self._books.usd_per_hour(),
                "kv_pinned": sum(server.pinned_blocks() for server in servers) / usable if usable else np.nan,
                "transfer_bytes": received - self._received,
                **self._features(servers, views),
                **self._tiers.look(servers),
            }
        )
        self._arrived, self._received = arrived, received
        if self._recorder.open_requests and self._recorder.stopped_early is None:
            self._clock.at(self.every_s * (moment.value + 1), DEADLINE, self._sample, moment.value + 1)

    def _features(self, servers: Sequence[Server], views: Sequence[EngineView]) -> dict[str, float]:
        """``FEATURE_SERIES``; nothing where no engine has them."""
        if not any(has_features(server) for server in servers):
            return {}
        drafts = [engine.scheduler.books.drafts for server in servers for engine in server.engines]
        verified = sum(one.verified for one in drafts if one is not None)
        accepted = sum(one.accepted for one in drafts if one is not None)
        new, taken = verified - self._verified, accepted - self._accepted
        self._verified, self._accepted = verified, accepted
        length = 1.0 + taken / new if new > 0 else np.nan
        return {"acceptance_length": length, "adapters_running": float(sum(len(view.adapters) for view in views))}

    def frame(self, requests: pd.DataFrame) -> pd.DataFrame:
        """``Result.timeseries``, the rolling p95s filled in from the finished requests."""
        frame = with_rolling_p95s(pd.DataFrame(self._rows), requests)
        own = [name for name in (*FEATURE_SERIES, *TIER_SERIES) if name in frame]
        return frame.reindex(columns=[*TIMESERIES_COLUMNS, *own])


def with_rolling_p95s(frame: pd.DataFrame, requests: pd.DataFrame) -> pd.DataFrame:
    """``frame`` with the p95s of the requests that finished in the minute before each row."""
    e2e, finish = requests["e2e_s"].to_numpy(), requests["finish_s"].to_numpy()
    answered = np.flatnonzero(~np.isnan(e2e))
    answered = answered[np.argsort(finish[answered], kind="stable")]
    finish = finish[answered]
    times_s = frame["time_s"].to_numpy() if len(frame) else np.zeros(0)
    lows = np.searchsorted(finish, times_s - ROLLING_S, side="right").tolist()
    highs = np.searchsorted(finish, times_s, side="right").tolist()
    for name in ("ttft_s", "e2e_s"):
        values = requests[name].to_numpy()[answered]
        frame[f"{name[:-2]}_p95_s"] = [p95(values[low:high]) for low, high in zip(lows, highs, strict=True)]
    return frame
