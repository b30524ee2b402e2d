"""``Server``: a replica as the gateway and the bill know it: an engine, its pool, its GPUs, its life."""

from __future__ import annotations

from sim.cost import usd_per_gpu_hour
from sim.engine.replica import Replica
from sim.perf import front_end_s
from sim.spec import EngineSpec, GpuSpec, Market


class Server:
    """One replica of a pool. ``tokens_in_flight`` are prompt tokens of unfinished requests that were sent to it."""

    __slots__ = (
        "billed_start_s", "billed_stop_s", "engine", "gpu", "gpus", "index", "market", "name", "num_gpu_blocks",
        "pool", "pool_index", "ready_s", "replica", "requested_s", "requests_in_flight", "stopped_s", "tokens_in_flight",
        "usd_per_hour", "wasted_tokens", "zone",
    )  # fmt: skip

    def __init__(
        self,
        index: int,
        pool: str,
        pool_index: int,
        replica: Replica,
        engine: EngineSpec,
        gpu: GpuSpec,
        market: Market,
        zone: str,
        num_gpu_blocks: int,
    ) -> None:
        self.index = index
        self.name = replica.name
        self.pool = pool
        self.pool_index = pool_index
        self.replica = replica
        self.engine = engine
        self.gpu = gpu
        self.gpus = engine.tensor_parallel_size * engine.pipeline_parallel_size
        self.market = market
        self.zone = zone
        self.num_gpu_blocks = num_gpu_blocks
        self.usd_per_hour = self.gpus * usd_per_gpu_hour(gpu, market)
        self.tokens_in_flight = 0
        self.requests_in_flight = 0
        self.wasted_tokens = 0
        self.requested_s = 0.0
        self.ready_s = 0.0
        self.stopped_s: float | None = None
        self.billed_start_s = 0.0
        self.billed_stop_s: float | None = None

    def front_end_s(self, prompt_tokens: int) -> float:
        """Seconds between the gateway's send and this engine's queue."""
        return front_end_s(prompt_tokens, self.gpu)
