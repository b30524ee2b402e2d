"""The engine's options, under vLLM's own argument names, so that a ``vllm serve`` line can be copied.

``None`` means vLLM's default for that GPU (API-server column of ``EngineArgs.get_batch_defaults``, vLLM 0.32-0.33);
``sim.perf.resolve_engine`` fills them in.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from sim.spec.strict import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EngineSpec:
    """Scheduler, KV cache and parallelism of one engine (one replica)."""

    name: str = "vllm"
    max_num_seqs: int | None = Field(default=None, ge=1)
    max_num_active_seqs: int | None = Field(default=None, ge=1)
    max_num_batched_tokens: int | None = Field(default=None, ge=1)
    max_num_scheduled_tokens: int | None = Field(default=None, ge=1)
    max_model_len: int | None = Field(default=None, ge=2)
    """None = the model's ``max_context``, or the longest that the KV pool can hold."""
    block_size: int = Field(default=16, ge=1)
    gpu_memory_utilization: float = Field(default=0.92, gt=0, le=1)
    num_gpu_blocks_override: int | None = Field(default=None, ge=2)
    """Replaces the memory arithmetic; as vLLM counts it, one of the blocks is reserved."""
    kv_cache_dtype: Literal["auto", "bf16", "fp16", "fp8"] = "auto"
    enable_prefix_caching: bool = True
    enable_chunked_prefill: bool = True
    long_prefill_token_threshold: int = Field(default=0, ge=0)
    long_prefill_token_threshold_adaptive: bool = False
    scheduling_policy: Literal["fcfs", "priority", "earliest_deadline", "shortest_prompt"] = "fcfs"
    """Who is served first: the first come, the lowest ``priority``; or, not vLLM's own, by the TTFT target of the request's
    route, or by the length of its prompt."""
    watermark: float = Field(default=0.0, ge=0, lt=1)
    scheduler_reserve_full_isl: bool = True
    prefill_schedule_interval: int = Field(default=1, ge=1)
    async_scheduling: bool = True
    enforce_eager: bool = False
    estimate_cudagraph_memory: bool = True
    """Subtract CUDA graphs from the KV pool, as vLLM does since 0.21 (``VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS``)."""
    tensor_parallel_size: int = Field(default=1, ge=1)
    pipeline_parallel_size: int = Field(default=1, ge=1)
    batch_order: Literal["decode_first", "prefill_first"] = "decode_first"
    """prefill_first: a batch of prefills pauses the decodes (SGLang, TGI). Here and below: not vLLM's, for comparing."""
    admission_reserve: Literal["prompt", "forecast", "max_output"] = "prompt"
    """What must fit for a request to enter: its prompt; also a forecast of all outputs; or all outputs in full."""
    schedule_conservativeness: float = Field(default=1.0, ge=0)
    """With ``forecast``: scales the share of the remaining output that is reserved (SGLang's option)."""
    victim: Literal["last_admitted", "fewest_generated"] = "last_admitted"
    waiting_served_ratio: float = Field(default=0.0, ge=0)
    """With ``prefill_first``: prefills wait until waiting >= ratio x running (TGI's option)."""
    max_waiting_tokens: int = Field(default=0, ge=0)
    """With ``waiting_served_ratio``: or until so many decode steps have passed since the last prefill (TGI's option)."""
    step_time: Literal["auto", "table", "roofline"] = "auto"
    """auto = a fitted table where one exists for (GPU, model, TP, dtype), else the roofline."""
    step_time_file: str | None = None
    """A file of step-time tables made for one's own combinations; it is asked before the tables that ship."""
    skip_decode: bool = True
    """False steps every token instead of skipping ahead: same results, slower; for checking."""
    step_noise_cv: float = Field(default=0.0, ge=0, le=2)
    """Coefficient of variation of single steps around the model's time (lognormal, mean 1). Above 0 the engine steps."""
    straggler_rate: float = Field(default=0.0, ge=0, le=1)
    """Share of the steps that take ``straggler_factor`` times as long. Above 0 the engine steps."""
    straggler_factor: float = Field(default=3.0, ge=1)

    @property
    def noisy(self) -> bool:
        """Steps stray from the step-time model by chance."""
        return self.step_noise_cv > 0 or (self.straggler_rate > 0 and self.straggler_factor > 1)

    @model_validator(mode="after")
    def _check(self) -> EngineSpec:
        tokens, seqs = self.max_num_batched_tokens, self.max_num_seqs
        if tokens is not None and seqs is not None and tokens < seqs:
            raise ValueError(f"`max_num_batched_tokens >= max_num_seqs` must hold, but got {tokens} and {seqs}")
        if self.waiting_served_ratio and self.batch_order != "prefill_first":
            raise ValueError("`waiting_served_ratio` needs batch_order=prefill_first: else decodes never pause")
        if self.scheduling_policy != "fcfs" and self.victim != "last_admitted":
            raise ValueError(
                f"`victim` has a meaning under scheduling_policy=fcfs only: {self.scheduling_policy} chooses its own"
            )
        return self
