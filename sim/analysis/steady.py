"""What one replica of a scenario sustains in the steady state (``sim.perf.steady``)."""

from __future__ import annotations

import math

from sim.perf import memory_plan, resolve_engine
from sim.perf.steady import MeanRequest, SteadyReplica, steady_engine
from sim.perf.verification import mean_step_time
from sim.spec import Scenario
from sim.spec.served_fleet import served_pools


def steady_replica(scenario: Scenario, prompt: float, answer: float) -> SteadyReplica:
    """The replica of ``scenario`` on mean ``prompt`` and ``answer`` tokens: of its pool, where it has one; among several
    that of its own model, GPU and engine."""
    pools = list(served_pools(scenario))
    served = pools[0] if len(pools) == 1 else scenario
    model, gpu = served.model, served.gpu
    engine = resolve_engine(served.engine, model, gpu)
    plan, mean = memory_plan(model, gpu, engine), max(1, round(prompt + answer))
    targets = scenario.slo.targets()
    rank = steady_engine(
        mean_step_time(model, gpu, engine),
        plan.streams(mean) * mean if plan.simulated_groups else plan.one_group_tokens,
        engine.max_num_seqs or 1,
        MeanRequest(prompt, answer),
        min((limit for name, limit in targets.items() if name.startswith("tpot")), default=math.inf),
    )
    return rank.of_ranks(engine.data_parallel_size)
