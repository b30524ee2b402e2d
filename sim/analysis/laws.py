"""Laws that the records of every run obey, whatever the policies. Each returns the violations, in words; none = [].

``check_invariants=true`` and the tests call ``violations``; a bug found becomes one more law here.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from sim.analysis.billing import billed_interval
from sim.analysis.latency import answered_mask
from sim.record.result import OUTCOMES, REQUEST_COLUMNS, Result

TOLERANCE_S = 1e-9
"""Absolute slack of comparisons between two sums of float seconds, scaled up with the run's length."""


def outcomes_partition(result: Result) -> list[str]:
    """Every client request appears once and ends in exactly one known outcome."""
    requests = result.requests
    found = []
    if tuple(requests.columns) != REQUEST_COLUMNS:
        found.append(f"requests have columns {list(requests.columns)}, not REQUEST_COLUMNS")
    duplicates = int(requests["request_id"].duplicated().sum())
    if duplicates:
        found.append(f"{duplicates} request ids appear twice")
    unknown = sorted({str(outcome) for outcome in requests["outcome"]} - set(OUTCOMES))
    if unknown:
        found.append(f"outcomes {unknown} are not among {list(OUTCOMES)}")
    return found


def causality(result: Result) -> list[str]:
    """arrival <= first token <= finish <= end; latencies are the differences of these times."""
    requests = result.requests
    slack = TOLERANCE_S * max(1.0, result.end_s)
    arrival = requests["arrival_s"].to_numpy(dtype=float)
    first = requests["first_token_s"].to_numpy(dtype=float)
    finish = requests["finish_s"].to_numpy(dtype=float)
    answered = answered_mask(requests)
    checks = {
        "a request has no finish": ~np.isfinite(finish),
        "a first token comes before the arrival": first < arrival - slack,
        "a finish comes before the first token": finish < first - slack,
        "a finish comes before the arrival": finish < arrival - slack,
        "a finish comes after the end of the run": finish > result.end_s + slack,
        "arrivals are out of order": np.diff(arrival, prepend=-np.inf) < 0,
        "an answer has no first token": answered & ~np.isfinite(first),
        "ttft_s is not first_token_s - arrival_s": _differs(requests["ttft_s"], first - arrival, slack),
        "e2e_s of an answer is not finish_s - arrival_s": answered & _differs(requests["e2e_s"], finish - arrival, slack),
        "queue_s is negative": requests["queue_s"].to_numpy(dtype=float) < -slack,
        "an answer waited in the queue past its first token": answered
        & (requests["queue_s"].to_numpy(dtype=float) > requests["ttft_s"].to_numpy(dtype=float) + slack),
    }
    return [f"{law} ({int(bad.sum())} rows)" for law, bad in checks.items() if bad.any()]


def _differs(column: object, expected: np.ndarray, slack: float) -> np.ndarray:
    found = np.asarray(column, dtype=float)
    both = np.isfinite(found) & np.isfinite(expected)
    differs: np.ndarray = both & (np.abs(found - expected) > slack)
    return differs


def tokens_conserved(result: Result) -> list[str]:
    """Engines sampled what clients got, what was wasted, what passes and batch work wrote; no count is negative; cached <=
    input."""
    requests, replicas = result.requests, result.replicas
    found = []
    for column in ("input_tokens", "output_tokens", "cached_tokens", "wasted_tokens", "attempts", "preemptions"):
        if (requests[column].to_numpy() < 0).any():
            found.append(f"{column} is negative")
    if (requests["cached_tokens"].to_numpy() > requests["input_tokens"].to_numpy()).any():
        found.append("a request has more cached than input tokens")
    by_engines = requests["pool"].astype(object).isin(set(replicas["pool"].astype(object))).to_numpy(dtype=bool)
    delivered = int(requests["output_tokens"].to_numpy()[by_engines].sum())
    sampled, wasted = int(replicas["output_tokens"].sum()), int(replicas["wasted_tokens"].sum())
    passes = int(result.gateway.get("pass_tokens", 0))
    batch = int(np.nan_to_num(replicas["background_tokens"].to_numpy(dtype=float)).sum())
    if sampled != delivered + wasted + passes + batch:
        found.append(
            f"engines sampled {sampled} tokens, but {delivered} were delivered, {wasted} wasted, {passes} of passes and "
            f"{batch} of batch work"
        )
    return found


def work_has_an_owner(result: Result) -> list[str]:
    """Every token that an engine sampled or computed was for a request or for batch work."""
    if not result.work or result.stopped_early is not None:
        return []
    replicas = result.replicas
    batch = float(np.nan_to_num(replicas["background_tokens"].to_numpy(dtype=float)).sum())
    for_requests = sum(float(tokens[1].sum()) for tokens in result.work.values())
    sampled, wasted = float(replicas["output_tokens"].sum()), float(replicas["wasted_tokens"].sum())
    owned = for_requests + batch
    if owned == sampled or (result.scenario.fleet.background is not None and sampled - wasted <= owned <= sampled):
        return []
    return [f"engines sampled {sampled:.0f} tokens, but {for_requests:.0f} were for requests and {batch:.0f} batch work"]


def gpu_seconds_conserved(result: Result) -> list[str]:
    """A replica is busy no longer than it is billed, and holds no more sequences and blocks than it has room for."""
    replicas = result.replicas
    slack = TOLERANCE_S * max(1.0, result.end_s)
    start_s, stop_s = billed_interval(replicas, result.end_s)
    billed = stop_s - start_s
    busy = replicas["busy_s"].to_numpy(dtype=float)
    checks = {
        "a replica is busy longer than billed": busy > billed + slack,
        "busy_s is negative": busy < 0,
        "busy, idle, starting, draining and dead time are not the time billed": _parts_differ(replicas, billed, result),
        "a replica schedules more sequences than max_num_seqs": replicas["seq_s"].to_numpy(dtype=float)
        > replicas["max_num_seqs"].to_numpy(dtype=float) * (billed + slack) * (1 + 1e-9),
        "a replica uses more KV blocks than it has": replicas["kv_block_s"].to_numpy(dtype=float)
        > replicas["kv_blocks"].to_numpy(dtype=float) * (billed + slack) * (1 + 1e-9),
    }
    return [f"{law} ({int(bad.sum())} replicas)" for law, bad in checks.items() if bad.any()]


def _parts_differ(replicas: pd.DataFrame, billed: np.ndarray, result: Result) -> np.ndarray:
    """A bill is as long as what was done in it, and longer only by its minimum and increment."""
    parts = replicas[["busy_s", "idle_s", "starting_s", "draining_s", "dead_s"]].to_numpy(dtype=float).sum(axis=1)
    slack = TOLERANCE_S * max(1.0, result.end_s)
    billing = result.scenario.fleet.billing
    rounded = np.maximum(billing.minimum_s, parts + billing.increment_s)
    ended = billed_interval(replicas, result.end_s)[0] + parts < result.end_s - slack
    differs: np.ndarray = (parts > billed + slack) | (billed > np.where(ended, rounded, parts) + slack)
    return differs


def littles_law(result: Result) -> list[str]:
    """The time integral of requests in the system equals the sum of their times in it: an identity on the records."""
    area = requests_in_system_area_s(result)
    times = math.fsum((result.requests["finish_s"] - result.requests["arrival_s"]).to_numpy(dtype=float))
    slack = TOLERANCE_S * max(1.0, times, result.end_s * len(result.requests))
    return [] if abs(area - times) <= slack else [f"L = lambda W: area {area} s, but times in the system {times} s"]


def requests_in_system_area_s(result: Result) -> float:
    """Integral of the number of requests between arrival and finish, swept over the events, request-seconds."""
    arrival = result.requests["arrival_s"].to_numpy(dtype=float)
    finish = result.requests["finish_s"].to_numpy(dtype=float)
    times = np.concatenate([arrival, finish])
    deltas = np.concatenate([np.ones(len(arrival)), -np.ones(len(finish))])
    order = np.lexsort((-deltas, times))
    inside = np.cumsum(deltas[order])[:-1]
    return math.fsum(inside * np.diff(times[order]))


def timeseries_matches_records(result: Result) -> list[str]:
    """The arrivals of the time series are the requests' (a run stopped early has no records of those still open), and shares
    are shares."""
    series = result.timeseries
    if series.empty:
        return []
    found = []
    covered = int((result.requests["arrival_s"].to_numpy(dtype=float) <= float(series["time_s"].iloc[-1])).sum())
    arrivals = int(series["arrivals"].sum())
    if arrivals < covered or (arrivals > covered and result.stopped_early is None):
        found.append(f"the time series holds {arrivals} arrivals, the records {covered}")
    kv_used = series["kv_used"].to_numpy(dtype=float)
    if ((kv_used < -1e-9) | (kv_used > 1 + 1e-9)).any():
        found.append("kv_used leaves [0, 1]")
    return found


def attempts_add_up(result: Result) -> list[str]:
    """Attempts = requests + retries + hedges."""
    counted = result.gateway
    if not counted or result.stopped_early is not None:
        return []
    attempts, requests = int(result.requests["attempts"].sum()), len(result.requests)
    expected = requests + int(counted["retries"] + counted["hedges"])
    if attempts == expected:
        return []
    return [f"{attempts} attempts of {requests} requests, {counted['retries']} retries, {counted['hedges']} hedges"]


def clients_patience(result: Result) -> list[str]:
    """A client with one deadline for its call, or without retries, has its outcome by then."""
    gateway, requests = result.scenario.gateway, result.requests
    if gateway.client_timeout_s is None or (gateway.client_timeout_covers == "attempt" and gateway.retries is not None):
        return []
    waited = (requests["finish_s"] - requests["arrival_s"]).to_numpy(dtype=float)
    late = waited > gateway.client_timeout_s + TOLERANCE_S * max(1.0, result.end_s)
    return [f"{int(late.sum())} requests outlasted their deadline of {gateway.client_timeout_s} s"] if late.any() else []


LAWS: tuple[Callable[[Result], list[str]], ...] = (
    outcomes_partition, attempts_add_up, causality, tokens_conserved, work_has_an_owner, gpu_seconds_conserved, littles_law,
    timeseries_matches_records, clients_patience,
)  # fmt: skip


def violations(result: Result) -> list[str]:
    """Every broken law of a run, each named; an empty list when all hold."""
    return [f"{law.__name__}: {found}" for law in LAWS for found in law(result)]
