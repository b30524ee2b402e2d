"""``Blueprint``: how a pool's next server is built; a deploy exchanges it."""

from __future__ import annotations

from collections.abc import Callable

from sim.engine.batch import Batch
from sim.engine.clock import Clock
from sim.engine.gaps import GapHistogram
from sim.engine.noise import StepNoise
from sim.engine.policies import make_scheduler
from sim.engine.replica import Replica
from sim.engine.request import EngineRequest
from sim.fleet.server import Server
from sim.perf import memory_plan, resolve_engine, step_time_model
from sim.spec import EngineSpec, GpuSpec, Market, ModelSpec
from sim.units import GIB


class Blueprint:
    """Model, GPU and engine of a pool, with what follows from them computed once."""

    def __init__(
        self, pool: str, pool_index: int, model: ModelSpec, gpu: GpuSpec, engine: EngineSpec, version: int = 0
    ) -> None:
        self.pool = pool
        self.pool_index = pool_index
        self.model = model
        self.gpu = gpu
        self.stated = engine
        self.engine = resolve_engine(engine, model, gpu)
        plan = memory_plan(model, gpu, self.engine)
        self.blocks = plan.num_gpu_blocks
        self.kv_tokens = plan.kv_tokens
        self.weights_gib = plan.weights_bytes_per_gpu / GIB
        """Of one GPU: they are read by all GPUs of a replica side by side."""
        self.step_time = step_time_model(model, gpu, self.engine)
        self.version = version

    @property
    def gpus(self) -> int:
        """GPUs of one replica."""
        return self.engine.tensor_parallel_size * self.engine.pipeline_parallel_size

    def build(
        self,
        clock: Clock,
        index: int,
        market: Market,
        zone: str,
        on_finish: Callable[[EngineRequest], None],
        on_abort: Callable[[EngineRequest], None],
        on_step: Callable[[Replica, Batch], None] | None,
        gaps: GapHistogram,
        seed: int,
        check_invariants: bool = False,
    ) -> Server:
        """A server of this kind, its engine idle."""
        name = f"{self.pool}-{index}"
        scheduler = make_scheduler(self.engine, self.blocks, name, lambda: clock.now, check_invariants)
        noise = StepNoise(self.engine, seed, name) if self.engine.noisy else None
        if on_step is not None or noise is not None:
            scheduler.skip_decode = False
        replica = Replica(
            clock, scheduler, self.step_time, self.engine.async_scheduling, on_finish, on_abort, on_step,
            gaps=gaps, name=name, noise=noise,
        )  # fmt: skip
        server = Server(index, self.pool, self.pool_index, replica, self.engine, self.gpu, market, zone, self.blocks)
        server.version = self.version
        return server
