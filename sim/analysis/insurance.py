"""What a fleet's size costs beside two others: the perfect one, which knows the demand and starts at once, and the static
one that stands at the peak.

    demand(t)   tokens of the requests that arrive in each bin, prompt and answer        tokens/s
    perfect     sum over bins of ceil(demand / what one replica sustains) x bin x price   at least one replica
    static      the largest of these, all the time

Perfect minus configured is waste (or, where it is negative, queueing); configured against static is what scaling saves.
Leaves out: queueing within a bin, warm-up, prefix hits.
"""

from __future__ import annotations

import numpy as np

from sim.cost import usd_per_gpu_hour
from sim.record.result import Result
from sim.units import SECONDS_PER_HOUR

BIN_S = 60.0


def insurance_usd(result: Result, tokens_per_s: float, bin_s: float = BIN_S) -> dict[str, float]:
    """Dollars of ``perfect_usd`` and ``static_peak_usd`` fleets for a run whose replicas sustain ``tokens_per_s`` each
    (prompt and answer), priced as the first replica; ``configured_usd`` is what the run's GPUs cost. NaN: no replica."""
    replicas = result.replicas
    if not len(replicas) or tokens_per_s <= 0:
        return dict.fromkeys(("perfect_usd", "static_peak_usd", "perfect_replicas_max"), float("nan"))
    wanted = perfect_replicas(result, tokens_per_s, bin_s)
    first = replicas.iloc[0]
    per_s = int(first["gpus"]) * usd_per_gpu_hour(result.scenario.gpu, str(first["market"])) / SECONDS_PER_HOUR
    return {
        "perfect_usd": float(wanted.sum()) * bin_s * per_s,
        "static_peak_usd": float(wanted.max()) * len(wanted) * bin_s * per_s,
        "perfect_replicas_max": float(wanted.max()),
    }


def perfect_replicas(result: Result, tokens_per_s: float, bin_s: float = BIN_S) -> np.ndarray:
    """Replicas that the demand of each bin needs, at least one."""
    requests = result.requests
    place = (requests["arrival_s"].to_numpy(dtype=float) // bin_s).astype(int)
    tokens = (requests["input_tokens"] + requests["output_tokens"]).to_numpy(dtype=float)
    demand = np.bincount(place, tokens) / bin_s
    wanted: np.ndarray = np.maximum(np.ceil(demand / tokens_per_s), 1.0)
    return wanted
