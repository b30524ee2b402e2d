"""What a replica is guessed to sustain, to start searches near their answer: ``sim.analysis.steady``, derated.

A replica on its own has nobody to share a burst with and sustains less than one of a fleet, ``ALONE`` of that again. (The
share was read off the default sweep; it only decides how many runs are needed.) Where one replica was simulated, each of n
sustains ``ceiling - (ceiling - alone) / sqrt(n)``, as ``sim.cost.capacity_curve`` has it between two counts.
"""

from __future__ import annotations

import math

from sim.analysis.steady import steady_replica
from sim.perf import memory_plan, resolve_engine, step_time_model
from sim.perf.steady import POOLED, MeanRequest, prefill_tokens_per_s, steady_engine
from sim.spec import Scenario
from sim.workload import Trace

ALONE = 0.78


def pooled_rate_per_s(scenario: Scenario, trace: Trace) -> float:
    """About how many of ``trace``'s requests a second each replica of a fleet serves within the TPOT target."""
    prompt, answer = float(trace.input_tokens.mean()), float(trace.output_tokens.mean())
    return POOLED * steady_replica(scenario, prompt, answer).rate_per_s


def guessed_replicas(load: float, pooled: float, alone: float | None) -> int:
    """About how many replicas carry ``load`` where each of a fleet carries ``pooled`` (same unit), and one on its own was
    seen to carry ``alone``."""
    if alone is None:
        return math.ceil(load / pooled)
    if alone >= pooled / POOLED:
        return math.ceil(load / alone)
    ceiling = pooled / POOLED
    root = (ceiling - alone + math.sqrt((ceiling - alone) ** 2 + 4 * ceiling * load)) / (2 * ceiling)
    return max(1, round(root**2))


def guessed_pair(scenario: Scenario, trace: Trace, prefill: str, decode: str) -> tuple[int, int]:
    """About how many replicas of the pools ``prefill`` and ``decode`` serve ``trace`` within the TPOT target."""
    mean = MeanRequest(max(1.0, float(trace.input_tokens.mean())), max(1.0, float(trace.output_tokens.mean())), 0.0)
    rate_per_s = len(trace) / trace.duration_s if trace.duration_s > 0 else float(len(trace))
    limits = [limit for name, limit in scenario.slo.targets().items() if name.startswith(("tpot", "itl"))]
    rates = []
    for name in (prefill, decode):
        pool = scenario.fleet.pools[name]
        model, gpu = pool.model or scenario.model, pool.gpu or scenario.gpu
        engine = resolve_engine(pool.engine or scenario.engine, model, gpu)
        steps = step_time_model(model, gpu, engine)
        if name == prefill:
            rates.append(prefill_tokens_per_s(steps, mean) / mean.prompt)
        else:
            kv_tokens = memory_plan(model, gpu, engine).kv_tokens
            most = engine.max_num_seqs or 1
            rates.append(steady_engine(steps, kv_tokens, most, mean, min(limits, default=math.inf)).rate_per_s)
    return math.ceil(rate_per_s / (POOLED * rates[0])), math.ceil(rate_per_s / (POOLED * rates[1]))
