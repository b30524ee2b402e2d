"""Is anything of a scenario random? Then its points are replicated; a plain trace replay never is.

Random are generated or relabelled workloads, noisy steps, the spot market, hardware faults and the cold starts of an
autoscaler. A
gateway has many policies that may draw (routers, jitter, caches by chance), so it is asked instead of listed: a short
stretch of the trace under two seeds either gives the same answers or it does not. Thinning and superposing a trace draw
from fixed uniforms per request, the same for every candidate, and do not count.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sim.run import simulate
from sim.spec import Scenario
from sim.workload import Trace

_STRETCH_REQUESTS = 300


def is_random(scenario: Scenario, trace: Trace) -> bool:
    """True when another seed would give another run."""
    return traffic_is_random(scenario) or system_is_random(scenario, trace)


def traffic_is_random(scenario: Scenario) -> bool:
    """True when another seed would give other arrivals."""
    workload = scenario.workload
    return (workload.generator is not None and workload.path is None) or bool(workload.transforms)


def system_is_random(scenario: Scenario, trace: Trace) -> bool:
    """True when another seed would serve the same arrivals otherwise."""
    if any((pool.engine or scenario.engine).noisy for pool in scenario.fleet.all_pools().values()):
        return True
    failures = scenario.fleet.failures
    if failures.gpu_mtbf_h is not None or failures.link_mtbf_h is not None or scenario.autoscaler.kind != "none":
        return True
    if any(pool.market == "spot" for pool in scenario.fleet.all_pools().values()):
        return True
    stretch = trace.take(np.arange(min(len(trace), _STRETCH_REQUESTS)))
    first, second = (simulate(replace(scenario, seed=scenario.seed + n), stretch).requests for n in (0, 1))
    return not first.equals(second)
