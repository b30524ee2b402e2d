"""Why p95 was missed: the waiting time of the slowest requests, split by cause.

The tail is the slowest 5 % of measured answers by TTFT (or E2E). The wait of each splits exactly:

    retry       attempts before the last one (known only as more than one attempt: the whole queue time counts)
    cold start  part of the queue time in which some replica was starting
    KV          queue time while the fleet's KV cache was over 95 % full
    adapter     queue time while all LoRA slots of the fleet were taken by adapters that ran, and the share of the rest up to
                the first token in which engines waited for adapters to be loaded
    queue       the rest of the time before an engine scheduled it
    hand-over   from the end of its prefill at another replica until its blocks were reserved: proxy, decode replica's queue
    transfer    its KV cache on the way from there
    prefill     the rest of first scheduled to first token: its own prompt, chunked between other requests' work
    decode      first token to last (E2E only)

Overlaps go to the first cause in this order. The state of the fleet is read from the time series, so a cause shorter
than its grid is not seen, and none without a series. A slow TPOT is KV where the request was preempted, else its steps: a
large batch, and the prompts of others in it. Lost requests are told by outcome and reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from sim.analysis.features import engines_of
from sim.analysis.latency import answered_mask, measured_requests
from sim.analysis.slo import lost_mask, split_target
from sim.columns import let_go, where
from sim.record.result import Result, holds
from sim.spec import Slo

CAUSES = ("retry", "cold start", "KV", "adapter", "queue", "hand-over", "transfer", "prefill")
TAIL = 0.95
KV_FULL = 0.95
_WORTH_SAYING = 0.05


def why_missed(result: Result, slo: Slo, judged: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Target that was missed -> cause -> share, largest first; ``judged`` is ``summary["slo"]``. Lost requests stand under
    ``max_failed_fraction``. Empty where nothing was missed."""
    measured = measured_requests(result)
    found: dict[str, dict[str, float]] = {}
    for target, met in judged["met"].items():
        if met:
            continue
        who, _, name = target.rpartition(".")
        label, _, value = who.partition(".")
        chosen = holds(measured[label], value) if who else None
        metric = split_target(name)[0]
        if metric in ("tpot_s", "itl_s"):
            found[target] = _slow_tokens(measured, chosen)
        else:
            found[target] = tail_attribution(result, "e2e_s" if metric == "e2e_s" else "ttft_s", chosen)
    if judged["failed_fraction"] > judged["max_failed_fraction"]:
        found["max_failed_fraction"] = _lost(measured, lost_mask(measured, slo))
    return {
        target: dict(sorted(causes.items(), key=lambda cause: -cause[1])) for target, causes in found.items() if causes
    }


def why_words(causes: Mapping[str, Mapping[str, float]]) -> str:
    """``TTFT p95: queue 82 %, prefill 18 %; lost: timed_out client_timeout 100 %``."""
    words = []
    for target, shares in causes.items():
        name = target.rpartition(".")[2]
        metric, statistic, *_ = name.split("_")
        title = "lost" if name == "max_failed_fraction" else f"{metric.upper()} {statistic}"
        said = (f"{cause} {share:.0%}" for cause, share in shares.items() if share > _WORTH_SAYING)
        words.append(f"{title}: {', '.join(said)}")
    return "; ".join(words)


def tail_attribution(result: Result, metric: str = "ttft_s", chosen: np.ndarray | None = None) -> dict[str, float]:
    """Shares of the tail's waiting time by cause, in the order of ``CAUSES``, adding up to 1, over the measured requests
    (those of the mask ``chosen``). Empty without answers."""
    measured = measured_requests(result)
    tail = _slowest(measured, metric, chosen)
    if not len(tail):
        return {}

    def of(name: str) -> np.ndarray:
        found = np.asarray(measured[name].to_numpy()[tail], dtype=float)
        let_go()
        return found

    arrival, waited = of("arrival_s"), of("ttft_s")
    queue = np.clip(np.nan_to_num(of("queue_s")), 0.0, waited)
    retried = of("attempts") > 1
    handed = np.clip(np.nan_to_num(of("handover_s")), 0.0, waited - queue)
    moving = np.minimum(np.nan_to_num(of("transfer_s")), handed)
    state = _States(result)
    cold = np.where(retried, 0.0, np.minimum(state.starting(arrival, arrival + queue), queue))
    kv = np.where(retried, 0.0, np.minimum(state.full(arrival, arrival + queue), queue - cold))
    gated = np.where(retried, 0.0, np.minimum(state.adapters(arrival, arrival + queue, gate=True), queue - cold - kv))
    first_s = arrival + waited - handed
    loading = np.minimum(state.adapters(arrival + queue, first_s, gate=False), waited - queue - handed)
    seconds = {
        "retry": np.where(retried, queue, 0.0).sum(),
        "cold start": cold.sum(),
        "KV": kv.sum(),
        **({"adapter": (gated + loading).sum()} if (gated + loading).any() else {}),
        "queue": np.where(retried, 0.0, queue - cold - kv - gated).sum(),
        **({"hand-over": (handed - moving).sum(), "transfer": moving.sum()} if handed.any() else {}),
        "prefill": (waited - queue - handed - loading).sum(),
    }
    if metric == "e2e_s":
        seconds["decode"] = (of("e2e_s") - waited).sum()
    total = sum(seconds.values())
    return {cause: float(spent / total) for cause, spent in seconds.items()} if total > 0 else {}


def _slowest(requests: pd.DataFrame, metric: str, chosen: np.ndarray | None) -> np.ndarray:
    """Places of the answers that are the tail in ``metric``."""
    values = requests[metric].to_numpy(dtype=float)
    known = answered_mask(requests) & ~np.isnan(values)
    if chosen is not None:
        known &= chosen
    if not known.any():
        return np.zeros(0, dtype=int)
    slow: np.ndarray = np.flatnonzero(known & (values >= np.quantile(where(known, values), TAIL)))
    return slow


def _slow_tokens(requests: pd.DataFrame, chosen: np.ndarray | None) -> dict[str, float]:
    tail = _slowest(requests, "tpot_s", chosen)
    if not len(tail):
        return {}
    preempted = float((requests["preemptions"].to_numpy()[tail] > 0).mean())
    return {"KV": preempted, "steps": 1 - preempted}


def _lost(requests: pd.DataFrame, lost: np.ndarray) -> dict[str, float]:
    names = requests["outcome"][lost].astype(str) + " " + requests["reason"][lost].astype(str)
    return {str(name).strip(): float(share) for name, share in names.value_counts(normalize=True).items()}


class _States:
    """Seconds within intervals in which the fleet was in some state, as its time series tells."""

    def __init__(self, result: Result) -> None:
        series = result.timeseries
        self._known = len(series) >= 2
        if not self._known:
            return
        time = series["time_s"].to_numpy(dtype=float)
        self._edges = np.concatenate([[time[0] - (time[1] - time[0])], time])
        self._cold = series["replicas_starting"].to_numpy(dtype=float) > 0
        self._full = (series["kv_used"].to_numpy(dtype=float) > KV_FULL) & ~self._cold
        self._loading, self._gated = np.zeros(len(time)), np.zeros(len(time), dtype=bool)
        if "adapters_running" in series:
            ready = np.maximum(series["replicas_ready"].to_numpy(dtype=float), 1.0)
            waited = np.nan_to_num(series["adapter_wait_s"].to_numpy(dtype=float))
            self._loading = np.minimum(waited / (np.diff(self._edges) * ready), 1.0)
            slots = max(engine.max_loras * engine.data_parallel_size for engine in engines_of(result.scenario))
            running = series["adapters_running"].to_numpy(dtype=float)
            self._gated = (running >= slots * ready) & ~self._cold & ~self._full

    def starting(self, start_s: np.ndarray, stop_s: np.ndarray) -> np.ndarray:
        """A replica was starting."""
        return self._within(self._cold, start_s, stop_s) if self._known else np.zeros(len(start_s))

    def full(self, start_s: np.ndarray, stop_s: np.ndarray) -> np.ndarray:
        """None was, and the KV cache was full."""
        return self._within(self._full, start_s, stop_s) if self._known else np.zeros(len(start_s))

    def adapters(self, start_s: np.ndarray, stop_s: np.ndarray, *, gate: bool) -> np.ndarray:
        """Engines waited for adapters to be loaded; with ``gate`` also, neither of the above, all slots were taken."""
        if not self._known:
            return np.zeros(len(start_s))
        weight = np.where(self._gated, 1.0, np.where(self._cold | self._full, 0.0, self._loading)) if gate else self._loading
        return self._within(weight, start_s, stop_s)

    def _within(self, weight: np.ndarray, start_s: np.ndarray, stop_s: np.ndarray) -> np.ndarray:
        cumulative = np.concatenate([[0.0], np.cumsum(np.diff(self._edges) * weight)])
        edges = self._edges
        span: np.ndarray = np.interp(stop_s, edges, cumulative) - np.interp(start_s, edges, cumulative)
        return span
