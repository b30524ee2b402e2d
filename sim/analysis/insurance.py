"""What a fleet's size costs beside two others: the perfect one, which knows the demand and starts at once, and the static
one that stands at the peak.

    work        replica-seconds of a request (``sim.analysis.steady``), over the share that a fleet may be filled
    perfect     sum over bins of ceil(work that arrives / bin) x bin x price, at least one replica
    static      the largest of these, all the time

Configured minus perfect is the capacity insurance: headroom, late starts and late stops (negative where the fleet was too
small and work queued). Static minus configured is what scaling saves. The other two are priced as the first replica.

Leaves out: queueing within a bin, prefix hits, requests without an answer (their prompts count, their answers are unknown).
A fleet of several pools has no one replica to count in: NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.analysis.cost_tree import CostNode, price
from sim.analysis.steady import steady_replica
from sim.cost import usd_per_gpu_hour
from sim.perf.steady import POOLED, SteadyReplica
from sim.record.result import Result
from sim.units import SECONDS_PER_HOUR

BIN_S = 60.0


def insurance(result: Result, tree: CostNode | None = None, bin_s: float = BIN_S) -> dict[str, Any]:
    """Dollars of GPUs of the ``perfect_usd``, ``configured_usd`` and ``static_peak_usd`` fleets, and the perfect one's size.

    ``configured_usd`` is the run's own bill of compute (``tree``, by default ``price(result)``);
    ``requests_per_s_per_replica`` the rate of the mean request that a replica was taken to sustain.
    """
    replicas = result.replicas
    names = (
        "perfect_usd", "configured_usd", "static_peak_usd", "perfect_replicas_mean", "perfect_replicas_max",
        "requests_per_s_per_replica",
    )  # fmt: skip
    if not len(replicas) or result.requests.empty or len(result.scenario.fleet.all_pools()) > 1:
        return dict.fromkeys(names, float("nan"))
    wanted = perfect_replicas(result, bin_s)
    first = replicas.iloc[0]
    scenario = result.scenario
    per_s = int(first["gpus"]) * usd_per_gpu_hour(scenario.gpu, str(first["market"]), scenario.cost) / SECONDS_PER_HOUR
    compute = (tree or price(result)).find("compute")
    figures = (
        float(wanted.sum()) * bin_s * per_s,
        compute.usd if compute else float("nan"),
        float(wanted.max()) * len(wanted) * bin_s * per_s,
        float(wanted.mean()),
        int(wanted.max()),
        POOLED * _steady(result).rate_per_s,
    )
    return dict(zip(names, figures, strict=True))


def perfect_replicas(result: Result, bin_s: float = BIN_S) -> np.ndarray:
    """Replicas that the work of each bin needs, at least one; bins from time 0 to the last arrival."""
    requests, steady = result.requests, _steady(result)
    place = (requests["arrival_s"].to_numpy(dtype=float) // bin_s).astype(int)
    work_s = (
        steady.s_per_input_token * requests["input_tokens"].to_numpy(dtype=float)
        + steady.s_per_output_token * requests["output_tokens"].to_numpy(dtype=float)
    ) / POOLED  # fmt: skip
    wanted: np.ndarray = np.maximum(np.ceil(np.bincount(place, work_s) / bin_s - 1e-9), 1.0)
    return wanted


def _steady(result: Result) -> SteadyReplica:
    requests = result.requests
    answered = requests[requests["output_tokens"] > 0]
    of = answered if len(answered) else requests
    return steady_replica(
        result.scenario, max(float(of["input_tokens"].mean()), 1.0), max(float(of["output_tokens"].mean()), 1.0)
    )
