"""The engine's options, under vLLM's own argument names, so that a ``vllm serve`` line can be copied.

``None`` means vLLM's default: of the release (``sim.spec.releases``) or, for budgets, of that GPU (API-server column of
``EngineArgs.get_batch_defaults``), which ``sim.perf.resolve_engine`` fills in. vLLM's own spellings of a value are legal:
``max_model_len=32k``, ``kv_cache_dtype=fp8_e4m3``.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from sim.spec.kv_connector import KvConnectorSpec
from sim.spec.kv_offload import KvOffloadSpec
from sim.spec.layers import WeightDtype
from sim.spec.lora import LoraSpec
from sim.spec.releases import NEWEST, OPTIONS, parse_version, release_of
from sim.spec.speculative import SpeculativeSpec, none_is_off
from sim.spec.spellings import AUTO_LENGTH, as_bytes, as_kv_dtype, as_state_dtype, as_tokens, as_weight_dtype
from sim.spec.strict import STRICT

All2AllBackend = Literal[
    "allgather_reducescatter", "deepep_low_latency", "deepep_high_throughput", "flashinfer_nvlink_one_sided",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EngineSpec:
    """Scheduler, KV cache and parallelism of one engine (one replica). vLLM's options have their names and its
    defaults."""

    name: str = "vllm"
    """Which engine it is: its preset's name."""
    runtime: Literal["vllm", "sglang", "tensorrt_llm", "tgi"] = "vllm"
    """Whose CPU runs the steps: how much of launching and preparing hides behind the GPU (assumptions for all but vLLM), and
    whether the sampler's profile is subtracted from memory, as vLLM alone does. Its preset states it."""
    version: str = f"{NEWEST[0]}.{NEWEST[1]}"
    """vLLM release, 0.10 to 0.33, whose defaults, memory accounting and admission rule hold; null = the newest modelled."""
    top_p_sampling: bool = False
    """Requests sample with top-p or top-k beside the temperature, as most chat models' generation configuration has it:
    vLLM before 0.16 then sorts all logits of every sequence in every step. The default is an assumption: benchmarks are
    greedy."""
    max_num_seqs: int | None = Field(default=None, ge=1)
    """Most sequences in a batch; null = vLLM's for that GPU (256 or 1024)."""
    max_num_active_seqs: int | None = Field(default=None, ge=1)
    """Most sequences that run; null = ``max_num_seqs``."""
    max_num_batched_tokens: Annotated[int | None, BeforeValidator(as_tokens)] = Field(default=None, ge=1)
    """Token budget of a step, 8k is read; null = vLLM's for that GPU (2048, 8192 or 16384)."""
    max_num_scheduled_tokens: int | None = Field(default=None, ge=1)
    """Tokens that are scheduled in a step; null = ``max_num_batched_tokens``."""
    max_model_len: Annotated[int | None, BeforeValidator(as_tokens)] = Field(
        default=None, json_schema_extra={"legal": "auto | >= 2, <= 10^12 | null"}
    )
    """Longest sequence, tokens; 32k and 32K (1,000 and 1,024) are read. null = the model's own length, which is refused
    where it does not fit; auto (kept as -1) = shortened to what the KV pool holds."""
    block_size: int = Field(default=16, ge=1)
    """Tokens of a KV block."""
    gpu_memory_utilization: float = Field(default=0.92, gt=0, le=1)
    """Share of the device's memory that the engine may use; null = the release's (0.92; before 0.20: 0.90)."""
    num_gpu_blocks_override: int | None = Field(default=None, ge=2)
    """Replaces the memory arithmetic; as vLLM counts it, one of the blocks is reserved."""
    kv_cache_memory_bytes: Annotated[int | None, BeforeValidator(as_bytes)] = Field(default=None, ge=1)
    """Bytes of the KV pool on each GPU, 20G and 20GiB are read; replaces ``gpu_memory_utilization`` and the profiling."""
    kv_cache_dtype: Annotated[Literal["auto", "bf16", "fp16", "fp8"], BeforeValidator(as_kv_dtype)] = "auto"
    """Type of the KV cache, vLLM's spellings included (``fp8_e4m3``); auto = what the checkpoint states, else 16 bits."""
    dtype: Annotated[Literal["auto", "bf16", "fp16"], BeforeValidator(as_kv_dtype)] = "auto"
    """Type of activations and of what is not quantised: 16 bits under any name, so nothing depends on it."""
    quantization: Annotated[WeightDtype | None, BeforeValidator(as_weight_dtype)] = None
    """Quantise the checkpoint's matrices while loading, e.g. ``fp8``; null, or its own method, = as they are."""
    language_model_only: bool = False
    """Load no vision or audio tower (``--limit-mm-per-prompt`` of 0 for all kinds)."""
    skip_mm_profiling: bool = False
    """Towers are not run in the profiling pass, so their memory is not subtracted."""
    mm_encoder_tp_mode: Literal["weights", "data"] = "weights"
    """How tensor-parallel GPUs share the towers; data = each has them whole. Default: vLLM's."""
    disable_hybrid_kv_cache_manager: bool = False
    """Layers with a window keep every token, as those without do."""
    mamba_ssm_cache_dtype: Annotated[Literal["auto", "bf16", "fp16", "fp32"], BeforeValidator(as_state_dtype)] = "auto"
    """Type of recurrent states; auto = what the checkpoint says."""
    performance_mode: Literal["balanced", "interactivity", "throughput"] = "balanced"
    """throughput doubles the default budgets of tokens and sequences."""
    max_cudagraph_capture_size: int | None = Field(default=None, ge=0)
    """Largest batch, tokens, that is captured as a CUDA graph; null = vLLM's; 0 = none."""
    cudagraph_capture_sizes: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    """Batches, tokens, that are captured; null = vLLM's list."""
    enable_prefix_caching: bool = True
    """Find the blocks of earlier prompts again."""
    cache_state_prefixes: bool = True
    """Also of models with recurrent states; null = the release's (true since 0.27; before, only where asked)."""
    enable_chunked_prefill: bool = True
    """Cut prompts to what the budget leaves."""
    long_prefill_token_threshold: int = Field(default=0, ge=0)
    """Most tokens of one prompt in a step while others wait; 0 = off."""
    long_prefill_token_threshold_adaptive: bool = False
    """Raise that threshold to an equal share of the budget."""
    scheduling_policy: Literal["fcfs", "priority", "earliest_deadline", "shortest_prompt"] = "fcfs"
    """Who is served first: the first come, the lowest ``priority``; or, not vLLM's own, by the TTFT target of the request's
    route, or by the length of its prompt."""
    watermark: float = Field(default=0.0, ge=0, lt=1)
    """Share of the blocks that admission leaves free."""
    scheduler_reserve_full_isl: bool = True
    """Admit a prompt only where all of it fits; null = the release's (true since 0.18)."""
    prefill_schedule_interval: int = Field(default=1, ge=1)
    """Steps from one admission of prompts to the next while something decodes."""
    kv_connector: KvConnectorSpec = KvConnectorSpec()
    """KV exchanged with other engines."""
    kv_offloading_size_gib: float = Field(default=0.0, ge=0)
    """Host memory for KV behind the prefix cache, GiB over all GPUs of a replica (vLLM: ``--kv-offloading-size``); 0 = none.
    The engine steps where a request fills a chunk."""
    kv_offload: KvOffloadSpec = KvOffloadSpec()
    """How that memory is used, and the disk below it."""
    async_scheduling: bool = True
    """Compose a step while the one before runs; null = the release's (true since 0.14)."""
    enforce_eager: bool = False
    """No CUDA graphs."""
    estimate_cudagraph_memory: bool = True
    """Subtract CUDA graphs from the KV pool, as vLLM does since 0.20 (``VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS``)."""
    tensor_parallel_size: int = Field(default=1, ge=1)
    """GPUs that share every layer."""
    pipeline_parallel_size: int = Field(default=1, ge=1)
    """Stages of layers, each on GPUs of its own."""
    data_parallel_size: int = Field(default=1, ge=1, le=1024)
    """Ranks: engines with attention weights, a scheduler and a KV cache of their own behind one endpoint. Those of a mixture
    share its experts and step together; those of a dense model share nothing."""
    dp_sync_interval: int = Field(default=16, ge=1, le=1_000_000)
    """Steps between two votes of a mixture's ranks on whether anybody has work left; default: vLLM's."""
    enable_expert_parallel: bool = False
    """Whole experts on each of the tensor x data parallel GPUs; false = a slice of every expert."""
    all2all_backend: All2AllBackend = "allgather_reducescatter"
    """Library that carries tokens to their experts and back between ranks (``sim.perf.all_to_all``); default: vLLM's. Of its
    others there is no published timing."""
    enable_eplb: bool = False
    """Place experts by their load, the hottest ones several times (``num_redundant_experts``)."""
    num_redundant_experts: int = Field(default=0, ge=0, le=100_000)
    """Copies of experts beside the first of each, in all; with ``enable_eplb``. Default: vLLM's ``eplb_config``."""
    expert_imbalance_alpha: float = Field(default=1.2, ge=0, le=4)
    """Tokens of an expert follow a power law x^-alpha, and the fullest GPU is waited for; 0 = all alike. 1.2: what
    AIConfigurator takes for real prompts (measured on Qwen3-235B)."""
    enable_dbo: bool = False
    """Dual batch overlap: two halves of a batch, so that one computes while the other's tokens travel."""
    dbo_decode_token_threshold: int = Field(default=32, ge=1)
    """Decode-only steps of fewer tokens a rank are not halved; default: vLLM's."""
    dbo_prefill_token_threshold: int = Field(default=512, ge=1)
    """Steps with prefill of fewer tokens a rank are not halved; default: vLLM's."""
    speculative: Annotated[SpeculativeSpec, BeforeValidator(none_is_off)] = field(default_factory=SpeculativeSpec)
    """Speculative decoding; null = off."""
    max_loras: int = Field(default=0, ge=0, le=1024)
    """LoRA adapters that lie on the GPU, and may run, at a time; 0 = LoRA is off (vLLM's ``--enable-lora`` starts at 1)."""
    max_cpu_loras: int | None = Field(default=None, ge=1)
    """Adapters kept in host memory, least recently used first out; null = ``max_loras``, as in vLLM."""
    max_lora_rank: Literal[1, 8, 16, 32, 64, 128, 256, 320, 512] = 16
    """Rank for which slots are laid out and kernels run, whatever the adapters' own (vLLM's choices and default)."""
    fully_sharded_loras: bool = False
    """Split both factors of an adapter over the tensor-parallel GPUs; vLLM's default splits one."""
    lora: LoraSpec = field(default_factory=LoraSpec)
    """What adapters cost in time; vLLM has no such options."""
    batch_order: Literal["decode_first", "prefill_first"] = "decode_first"
    """prefill_first: a batch of prefills pauses the decodes (SGLang, TGI). Here and below: not vLLM's, for comparing."""
    admission_reserve: Literal["prompt", "forecast", "max_output"] = "prompt"
    """What must fit for a request to enter: its prompt; also a forecast of all outputs; or all outputs in full."""
    schedule_conservativeness: float = Field(default=1.0, ge=0)
    """With ``forecast``: scales the share of the remaining output that is reserved (SGLang's option)."""
    victim: Literal["last_admitted", "fewest_generated"] = "last_admitted"
    """Whom a full KV cache preempts: the request admitted last (vLLM), or the one with the fewest tokens generated
    (SGLang)."""
    waiting_served_ratio: float = Field(default=0.0, ge=0)
    """With ``prefill_first``: prefills wait until waiting >= ratio x running (TGI's option)."""
    max_waiting_tokens: int = Field(default=0, ge=0)
    """With ``waiting_served_ratio``: or until so many decode steps have passed since the last prefill (TGI's option)."""
    step_time: Literal["auto", "table", "roofline"] = "auto"
    """auto = a fitted table where one exists for (GPU, model, TP, dtype), else the roofline."""
    step_time_file: str | None = None
    """A file of step-time tables made for one's own combinations; it is asked before the tables that ship."""
    skip_decode: bool = True
    """False steps every token instead of skipping ahead: same results, slower; servecap's own, for checking."""
    step_noise_cv: float = Field(default=0.0, ge=0, le=2)
    """Coefficient of variation of single steps around the model's time (lognormal, mean 1). Above 0 the engine steps."""
    straggler_rate: float = Field(default=0.0, ge=0, le=1)
    """Share of the steps that take ``straggler_factor`` times as long. Above 0 the engine steps."""
    straggler_factor: float = Field(default=3.0, ge=1)
    """How many times as long such a step takes; the default is an assumption."""

    @property
    def offloads_kv(self) -> bool:
        """It has host memory for KV."""
        return self.kv_offloading_size_gib > 0 or self.kv_offload.pool_ratio > 0

    @property
    def host_memory_words(self) -> str:
        """The key that gives it host memory for KV, and its value, for messages."""
        if self.kv_offload.pool_ratio > 0:
            return f"engine.kv_offload.pool_ratio={self.kv_offload.pool_ratio:g}"
        return f"engine.kv_offloading_size_gib={self.kv_offloading_size_gib:g}"

    @property
    def exchanges_kv(self) -> bool:
        """KV comes from, or goes to, somewhere else than its own GPU memory."""
        return self.kv_connector.role != "none" or self.offloads_kv

    @property
    def decides_as_vllm(self) -> bool:
        """Order, admission and victims are vLLM's."""
        return (self.batch_order, self.admission_reserve, self.victim) == ("decode_first", "prompt", "last_admitted")

    @property
    def gpus(self) -> int:
        """GPUs of one replica, all its ranks together."""
        return self.tensor_parallel_size * self.pipeline_parallel_size * self.data_parallel_size

    @property
    def expert_ranks(self) -> int:
        """GPUs that share the experts of a mixture."""
        return self.tensor_parallel_size * self.data_parallel_size

    @property
    def noisy(self) -> bool:
        """Steps stray from the step-time model by chance."""
        return self.step_noise_cv > 0 or (self.straggler_rate > 0 and self.straggler_factor > 1)

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_release(cls, stated: Any) -> Any:
        values = dict((stated.kwargs if isinstance(stated, ArgsKwargs) else stated) or {})
        version = values.get("version")
        if version is None:
            values.pop("version", None)
        elif isinstance(version, float):  # YAML reads 0.30 as a number and its last digit is gone
            values["version"] = f"{version:.2f}"
        try:
            release = release_of(str(values.get("version", cls.version)))
        except ValueError:  # refused below, with its key alone
            return {name: value for name, value in values.items() if name not in OPTIONS or value is not None}
        return {**values, **{name: getattr(release, name) for name in OPTIONS if values.get(name) is None}}

    @field_validator("version")
    @classmethod
    def _known(cls, version: str) -> str:
        parse_version(version)
        return version

    @field_validator("max_model_len")
    @classmethod
    def _at_least_two(cls, length: int | None) -> int | None:
        if length is not None and length != AUTO_LENGTH and not 2 <= length <= 10**12:
            raise ValueError(f"max_model_len must be auto or a number of tokens of at least 2, but got {length}")
        return length

    @model_validator(mode="after")
    def _check(self) -> EngineSpec:
        tokens, seqs = self.max_num_batched_tokens, self.max_num_seqs
        if tokens is not None and seqs is not None and tokens < seqs:
            raise ValueError(f"`max_num_batched_tokens >= max_num_seqs` must hold, but got {tokens} and {seqs}")
        if self.offloads_kv and self.kv_connector.role != "none":
            raise ValueError(
                f"`{self.host_memory_words}` beside kv_connector is not modelled: an engine has host memory behind its "
                f"cache, or exchanges KV with others, but got role {self.kv_connector.role}"
            )
        if self.kv_offload.disk.size_gib and not self.offloads_kv:
            raise ValueError(
                f"`kv_offload.disk.size_gib` needs host memory, which all KV passes on its way to a disk: state "
                f"kv_offloading_size_gib, but got {self.kv_offload.disk.size_gib:g} and 0"
            )
        chunk = self.kv_offload.rules.chunk_tokens if self.offloads_kv else None
        if chunk is not None and chunk % self.block_size:
            raise ValueError(
                f"`kv_offload.chunk_tokens` must be a multiple of block_size, but got {chunk} (kv_offload.backend="
                f"{self.kv_offload.backend}) and {self.block_size}"
            )
        if self.num_redundant_experts and not (self.enable_eplb and self.enable_expert_parallel):
            raise ValueError("`num_redundant_experts` needs enable_expert_parallel and enable_eplb, which places copies")
        if self.enable_eplb and not self.enable_expert_parallel:
            raise ValueError("`enable_eplb` needs enable_expert_parallel: without it every GPU has a slice of every expert")
        if self.enable_dbo and not self.all2all_backend.startswith("deepep"):
            raise ValueError(f"`enable_dbo` needs a DeepEP all2all_backend, as in vLLM, but got {self.all2all_backend}")
        if self.waiting_served_ratio and self.batch_order != "prefill_first":
            raise ValueError("`waiting_served_ratio` needs batch_order=prefill_first: else decodes never pause")
        if (self.speculative.drafts or self.max_loras) and not self.decides_as_vllm:
            what = "speculative" if self.speculative.drafts else "max_loras"
            raise ValueError(
                f"`{what}` is modelled for vLLM's own decisions only: engine {self.name} has batch_order="
                f"{self.batch_order}, admission_reserve={self.admission_reserve}, victim={self.victim}"
            )
        if self.max_cpu_loras is not None and self.max_cpu_loras < self.max_loras:
            raise ValueError(f"`max_cpu_loras >= max_loras` must hold, but got {self.max_cpu_loras} and {self.max_loras}")
        if self.scheduling_policy != "fcfs" and self.victim != "last_admitted":
            raise ValueError(
                f"`victim` has a meaning under scheduling_policy=fcfs only: {self.scheduling_policy} chooses its own"
            )
        return self
