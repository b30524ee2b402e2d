"""Why p95 was missed: the waiting time of the slowest first tokens, split by cause.

The tail is the slowest 5 % of measured answers by TTFT. The wait of each splits exactly:

    retry       attempts before the last one (known only as more than one attempt: the whole queue time counts)
    cold start  part of the queue time in which some replica was starting
    KV          queue time while the fleet's KV cache was over 95 % full
    queue       the rest of the time before an engine scheduled it
    prefill     first scheduled to first token: its own prompt, chunked between other requests' work

Overlaps go to the first cause in this order. The state of the fleet is read from the time series, so a cause shorter
than its grid is not seen.
"""

from __future__ import annotations

import numpy as np

from sim.analysis.latency import answered_mask, measured_requests
from sim.record.result import Result

CAUSES = ("retry", "cold start", "KV", "queue", "prefill")
TAIL = 0.95
KV_FULL = 0.95


def tail_attribution(result: Result) -> dict[str, float]:
    """Shares of the tail's waiting time by cause, in the order of ``CAUSES``, adding up to 1. Empty without answers."""
    measured = measured_requests(result)
    answers = measured[answered_mask(measured) & measured["ttft_s"].notna().to_numpy()]
    if answers.empty:
        return {}
    ttft = answers["ttft_s"].to_numpy(dtype=float)
    tail = answers[ttft >= np.quantile(ttft, TAIL)]
    arrival = tail["arrival_s"].to_numpy(dtype=float)
    waited = tail["ttft_s"].to_numpy(dtype=float)
    queue = np.clip(np.nan_to_num(tail["queue_s"].to_numpy(dtype=float)), 0.0, waited)
    retried = tail["attempts"].to_numpy() > 1
    starting, full = _state_time(result, arrival, arrival + queue)
    cold = np.where(retried, 0.0, np.minimum(starting, queue))
    kv = np.where(retried, 0.0, np.minimum(full, queue - cold))
    seconds = {
        "retry": np.where(retried, queue, 0.0).sum(),
        "cold start": cold.sum(),
        "KV": kv.sum(),
        "queue": np.where(retried, 0.0, queue - cold - kv).sum(),
        "prefill": (waited - queue).sum(),
    }
    total = sum(seconds.values())
    return {cause: float(seconds[cause] / total) for cause in CAUSES} if total > 0 else {}


def _state_time(result: Result, start_s: np.ndarray, stop_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of each interval in which a replica was starting, and in which only the KV cache was full."""
    series = result.timeseries
    if len(series) < 2:
        return np.zeros(len(start_s)), np.zeros(len(start_s))
    time = series["time_s"].to_numpy(dtype=float)
    edges = np.concatenate([[time[0] - (time[1] - time[0])], time])
    cold = series["replicas_starting"].to_numpy(dtype=float) > 0
    full = (series["kv_used"].to_numpy(dtype=float) > KV_FULL) & ~cold

    def within(flags: np.ndarray) -> np.ndarray:
        cumulative = np.concatenate([[0.0], np.cumsum(np.where(flags, np.diff(edges), 0.0))])
        span: np.ndarray = np.interp(stop_s, edges, cumulative) - np.interp(start_s, edges, cumulative)
        return span

    return within(cold), within(full)
