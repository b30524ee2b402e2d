"""``Blueprint``: what a pool's next server is; a deploy exchanges it."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from sim.engine.acceptance import AcceptancePaths
from sim.engine.adapters import Adapters
from sim.engine.drafts import Drafts
from sim.errors import ConfigError
from sim.perf import StepTimeModel, memory_plan, resolve_engine, step_time_model
from sim.perf.geometry import kv_bytes_per_token_per_gpu
from sim.perf.kv_offload import offload_plan
from sim.perf.lora import disk_load_s, slot_load_s
from sim.perf.rank_speculation import RankTimes, RankVerification
from sim.perf.rank_step import RankStepTime
from sim.perf.speculation import SpeculativeStepTime
from sim.perf.verification import mean_step_time, verification_time
from sim.spec import EngineSpec, GpuSpec, ModelSpec
from sim.spec.fleet import Role
from sim.spec.served_fleet import in_role


class Blueprint:
    """Model, GPU and engine of a pool, with what follows from them computed once."""

    def __init__(
        self, pool: str, model: ModelSpec, gpu: GpuSpec, engine: EngineSpec, version: int = 0, role: Role = "both"
    ) -> None:
        self.pool = pool
        self.role = role
        self.model = model
        self.gpu = gpu
        self.stated = engine
        if not model.generates:
            raise ConfigError(f"model: {model.name} embeds or ranks and generates no tokens: only `calc` answers for it")
        self.engine = resolve_engine(in_role(engine, role), model, gpu)
        plan = memory_plan(model, gpu, self.engine)
        if plan.most_sequences is not None and not plan.simulated_groups:  # each running sequence keeps a recurrent state
            most = min(self.engine.max_num_active_seqs or plan.most_sequences, plan.most_sequences)
            self.engine = replace(self.engine, max_num_active_seqs=most)
        self.groups = plan.simulated_groups
        """KV cache groups of its engine; none = one of full attention."""
        length = next((group.block_size for group in self.groups if group.kind != "state"), self.engine.block_size)
        if length != self.engine.block_size:  # the longest of blocks of several lengths
            self.engine = replace(self.engine, block_size=length)
        if plan.without_hits:
            self.engine = replace(self.engine, enable_prefix_caching=False)
        ranks = self.engine.data_parallel_size
        self.blocks = plan.num_gpu_blocks if self.groups else plan.one_group_blocks
        """Of each rank."""
        self.kv_tokens = ranks * (plan.kv_tokens if self.groups else plan.one_group_tokens)
        self.weights_bytes = (plan.weights_bytes_per_gpu + plan.draft_weights_bytes) * self.gpus
        """Of all GPUs of a replica, drafting layers included."""
        self.weights_name = f"{model.name} {model.weight_dtype}"
        """What a page cache knows them by."""
        self.engine_name = f"engine of {self.weights_name}"
        """What a machine's compile cache knows the engine by; its options are taken to make no difference."""
        self.step_time = step_time_model(model, gpu, self.engine)
        self.mean_step_time = mean_step_time(model, gpu, self.engine)
        """The same for who plans by means: with speculation, per token."""
        ranks = self.engine.tensor_parallel_size
        self.kv_token_bytes = ranks * kv_bytes_per_token_per_gpu(model, self.engine.kv_cache_dtype, ranks)
        """Of all GPUs of a replica, a stage's layers counted once."""
        self.offload = offload_plan(model, gpu, self.engine, self.blocks) if self.engine.offloads_kv else None
        """Its tiers behind the GPU's cache; None = none."""
        self.version = version
        self._paths: dict[int, AcceptancePaths] = {}
        """Who accepts how many drafts, by the run's seed: all servers draw from the same."""
        self._verifying: list[SpeculativeStepTime] = []
        """Step times of an engine with drafts; where there are LoRA slots also of steps that hold an adapter."""

    @property
    def gpus(self) -> int:
        """GPUs of one replica."""
        return self.engine.gpus

    def rank_times(self, adapters: bool = False) -> RankTimes | None:
        """Of a server's rounds, where its ranks step together; ``adapters``: of those in which a rank holds one."""
        step = self._adapted if adapters else self.step_time
        if not isinstance(step, RankStepTime):
            return None
        if not self.engine.speculative.drafts:
            return RankTimes(step)
        verification = verification_time(self.model, self.gpu, self.engine, adapters)
        return RankTimes(step, verification if isinstance(verification, RankVerification) else None)

    def drafts(self, seed: int, rounds: RankTimes | None = None, adapted: RankTimes | None = None) -> Drafts | None:
        """Speculation of a server's engine in a run of ``seed``; None = none. ``rounds`` and ``adapted``: ``rank_times`` of
        the group whose rank it is."""
        if not self.engine.speculative.drafts:
            return None
        if seed not in self._paths:
            self._paths[seed] = AcceptancePaths(self.engine.speculative, seed)
        if rounds is not None and isinstance(rounds.verification, RankVerification):
            other = None if adapted is None else adapted.verification
            with_adapters = other if isinstance(other, RankVerification) else None
            return Drafts(self.engine, rounds.verification, self._paths[seed], with_adapters)
        if not self._verifying:
            held = (False, True) if self.engine.max_loras else (False,)
            found = [verification_time(self.model, self.gpu, self.engine, adapters) for adapters in held]
            self._verifying = [time for time in found if isinstance(time, SpeculativeStepTime)]
        times = [time.another() for time in self._verifying]
        return Drafts(self.engine, times[0], self._paths[seed], times[-1])

    def adapters(self) -> Adapters | None:
        """LoRA adapters of a server's engine; None = none."""
        engine = self.engine
        if not engine.max_loras:
            return None
        disk_s, slot_s = disk_load_s(self.model, engine), slot_load_s(self.model, engine)
        return Adapters(engine.max_loras, engine.max_cpu_loras or engine.max_loras, self._adapted, disk_s, slot_s)

    @cached_property
    def _adapted(self) -> StepTimeModel:
        """How long a step takes that holds an adapter."""
        return step_time_model(self.model, self.gpu, self.engine, True)

    def next_version(self, model: ModelSpec | None, engine: EngineSpec | None) -> Blueprint:
        """What a deploy of ``model`` and ``engine`` (None = as before) makes of it."""
        return Blueprint(
            self.pool, model or self.model, self.gpu, engine or self.stated, self.version + 1, self.role
        )
