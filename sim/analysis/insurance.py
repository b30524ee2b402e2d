"""What a fleet's size costs beside two others: the perfect one, which knows the demand and starts at once, and the static
one that stands at the peak.

    work        replica-seconds of a request (``sim.analysis.steady``), over the share that a fleet may be filled
    closed form sum over bins of ceil(work / bin) x bin x price: at least one replica where anything arrives
    perfect     the lesser of the closed form and, where the fleet at hand meets its SLO, of what its machines were busy
                for: the same fleet, each replica of it paid for only while a step runs, serves the same answers
    static      the closed form's largest bin, all the time

A fleet that meets its SLO therefore never costs less than the perfect one. Configured minus perfect is the capacity
insurance: headroom, late starts and late stops (negative where the fleet was too small and work queued). Static minus
configured is what scaling saves. All are dollars of GPUs in the window of arrivals (``cost.window``); the closed form is
priced as the first replica, and counts the prompt tokens that were computed: what a cache held is no work.

Leaves out: queueing within a bin. A fleet of several pools has no one replica to count in: its perfect fleet is what it was
busy for, and it has no static peak.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sim.analysis.billing import gpu_of_pool
from sim.analysis.cost_tree import CostNode, price, window_s
from sim.analysis.steady import steady_replica
from sim.columns import slices
from sim.cost import usd_per_gpu_hour
from sim.perf.steady import POOLED, SteadyReplica
from sim.record.result import Result
from sim.units import SECONDS_PER_HOUR

BIN_S = 60.0


def insurance(result: Result, holds: bool, bin_s: float = BIN_S, window: CostNode | None = None) -> dict[str, Any]:
    """Dollars of GPUs of the ``perfect_usd``, ``configured_usd`` and ``static_peak_usd`` fleets, and the closed form's size.

    ``holds``: whether the fleet meets its SLO. ``configured_usd`` is its own bill of compute in the window;
    ``requests_per_s_per_replica`` the rate of the mean request that a replica was taken to sustain; ``window`` the window's
    ``price``, where it is known.
    """
    names = (
        "perfect_usd", "configured_usd", "static_peak_usd", "perfect_replicas_mean", "perfect_replicas_max",
        "requests_per_s_per_replica",
    )  # fmt: skip
    replicas, seconds = result.replicas, window_s(result)
    if not len(replicas) or result.requests.empty or not seconds > 0:
        return dict.fromkeys(names, float("nan"))
    compute = (window or price(result, seconds)).find("compute")
    assert compute is not None, "a cost tree has the node compute"
    busy = compute.find("busy")
    assert busy is not None, "compute has the node busy"
    figures = {"perfect_usd": busy.usd if holds else float("nan"), "configured_usd": compute.usd}
    if len(result.scenario.fleet.all_pools()) == 1:
        steady, first, scenario = _steady(result), replicas.iloc[0], result.scenario
        wanted = _wanted(result, steady, bin_s)
        gpu = gpu_of_pool(scenario, str(first["pool"]))
        hourly = int(first["gpus"]) * usd_per_gpu_hour(gpu, str(first["market"]), scenario.cost)
        closed = float(wanted.sum()) * bin_s * hourly / SECONDS_PER_HOUR
        figures |= {
            "perfect_usd": min(closed, busy.usd) if holds else closed,
            "static_peak_usd": float(wanted.max()) * len(wanted) * bin_s * hourly / SECONDS_PER_HOUR,
            "perfect_replicas_mean": float(wanted.mean()),
            "perfect_replicas_max": int(wanted.max()),
            "requests_per_s_per_replica": POOLED * steady.rate_per_s,
        }
    return {name: figures.get(name, math.nan) for name in names}


def perfect_replicas(result: Result, bin_s: float = BIN_S) -> np.ndarray:
    """Replicas that the work of each bin needs; bins from time 0 to the last arrival."""
    return _wanted(result, _steady(result), bin_s)


def _wanted(result: Result, steady: SteadyReplica, bin_s: float) -> np.ndarray:
    arrival_s, *tokens = (result.requests[name].to_numpy() for name in ("arrival_s", "computed_tokens", "sampled_tokens"))
    work_s = np.zeros(int(arrival_s.max() // bin_s) + 1)
    for here in slices(len(arrival_s)):
        computed, sampled = (of[here].astype(float) for of in tokens)
        work = (steady.s_per_input_token * computed + steady.s_per_output_token * sampled) / POOLED
        work_s += np.bincount((arrival_s[here] // bin_s).astype(int), work, len(work_s))
    wanted: np.ndarray = np.ceil(work_s / bin_s - 1e-9)
    return wanted


def _steady(result: Result) -> SteadyReplica:
    prompts, answers = (result.requests[name].to_numpy() for name in ("input_tokens", "output_tokens"))
    answered = answers > 0
    if not answered.any():
        answered = ~answered
    prompt_tokens, answer_tokens = (float(tokens.mean(where=answered)) for tokens in (prompts, answers))
    return steady_replica(result.scenario, max(prompt_tokens, 1.0), max(answer_tokens, 1.0))
