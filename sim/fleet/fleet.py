"""``Fleet``: the servers that exist, by pool. At this stage all are ready from the start and live to the end."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from sim.engine.batch import Batch
from sim.engine.clock import Clock
from sim.engine.gaps import GapHistogram
from sim.engine.replica import Replica
from sim.engine.request import EngineRequest
from sim.engine.scheduler import Scheduler
from sim.errors import ConfigError
from sim.fleet.server import Server
from sim.perf import memory_plan, resolve_engine, step_time_model
from sim.record.result import REPLICA_COLUMNS
from sim.spec import Scenario


class Fleet:
    """Builds servers from pools and keeps their books."""

    def __init__(
        self,
        clock: Clock,
        scenario: Scenario,
        on_finish: Callable[[EngineRequest], None],
        on_abort: Callable[[EngineRequest], None],
        gaps: GapHistogram,
        on_step: Callable[[Replica, Batch], None] | None = None,
    ) -> None:
        self.clock = clock
        self.pools = tuple(scenario.fleet.all_pools())
        self.servers: list[Server] = []
        for pool_index, (name, pool) in enumerate(scenario.fleet.all_pools().items()):
            model = pool.model or scenario.model
            gpu = pool.gpu or scenario.gpu
            engine = resolve_engine(pool.engine or scenario.engine, model, gpu)
            plan = memory_plan(model, gpu, engine)
            step_time = step_time_model(model, gpu, engine)
            for _ in range(pool.replicas):
                scheduler = Scheduler(engine, plan.num_gpu_blocks)
                if on_step is not None:
                    scheduler.skip_decode = False
                replica = Replica(
                    clock,
                    scheduler,
                    step_time,
                    engine.async_scheduling,
                    on_finish,
                    on_abort,
                    on_step,
                    gaps=gaps,
                    name=f"{name}-{len(self.servers)}",
                )
                market = scenario.cost.market or pool.market
                self.servers.append(
                    Server(
                        len(self.servers), name, pool_index, replica, engine, gpu, market, pool.zone, plan.num_gpu_blocks
                    )
                )
        if not self.servers:
            raise ConfigError("fleet.replicas: needs at least one replica to serve, but got 0")
        self.ready = list(self.servers)
        """Servers that take requests now, in order of creation."""

    def books(self, end_s: float) -> pd.DataFrame:
        """``Result.replicas`` at the end of the run."""
        rows = []
        for server in self.servers:
            replica = server.replica
            scheduler = replica.scheduler
            stopped = end_s if server.stopped_s is None else server.stopped_s
            rows.append(
                {
                    "pool": server.pool,
                    "replica": server.name,
                    "gpu": server.gpu.name,
                    "gpus": server.gpus,
                    "market": server.market,
                    "zone": server.zone,
                    "requested_s": server.requested_s,
                    "ready_s": server.ready_s,
                    "stopped_s": stopped,
                    "billed_start_s": server.billed_start_s,
                    "billed_stop_s": end_s if server.billed_stop_s is None else server.billed_stop_s,
                    "busy_s": replica.busy,
                    "starting_s": server.ready_s - server.requested_s,
                    "draining_s": 0.0,
                    "dead_s": 0.0,
                    "seq_s": replica.seq_time,
                    "kv_block_s": replica.block_time,
                    "max_num_seqs": server.engine.max_num_seqs,
                    "kv_blocks": scheduler.pool.usable,
                    "engine_steps": replica.steps,
                    "input_tokens": replica.prefill_tokens,
                    "output_tokens": replica.sampled_tokens,
                    "cached_tokens": scheduler.prefix_hits_tokens,
                    "recomputed_tokens": scheduler.recomputed_tokens,
                    "wasted_tokens": server.wasted_tokens,
                    "preemptions": scheduler.preemptions,
                    "prefix_queries_tokens": scheduler.prefix_queries_tokens,
                    "prefix_hits_tokens": scheduler.prefix_hits_tokens,
                }
            )
        return pd.DataFrame(rows, columns=list(REPLICA_COLUMNS))
