"""Where the GPU's memory goes, and how many KV blocks are left.

    pool       = device memory x gpu_memory_utilization - weights - profiling pass - runtime - links - CUDA graphs
                 - draft weights - LoRA slots (``sim.perf.drafting``, ``sim.perf.lora``)
                 or ``kv_cache_memory_bytes``
    num_blocks = floor(pool / bytes of a block in one cache group)          (``sim.perf.kv_cache``; drafting layers' KV too)

The terms are those of ``engine.version`` (``sim.perf.activations``, ``sim.spec.releases``). A pool that cannot hold one
sequence of ``max_model_len`` is refused, as vLLM refuses it, with the length that would fit; ``max_model_len=auto`` takes
that length.

Leaves out: work buffers of quantised kernels, rotary tables (about 0.03 GiB), what other processes hold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from sim.errors import DoesNotFitError
from sim.perf.activations import Term, graph_bytes, terms
from sim.perf.drafting import draft_kv_share, draft_weights_bytes, drafting_of
from sim.perf.geometry import ExpertSplit, kv_bytes_per_token_per_gpu, parameter_count, weights_bytes_per_gpu
from sim.perf.kv_cache import CacheLayout, cache_layout
from sim.perf.kv_groups import CacheGroup
from sim.perf.lora import slot_bytes
from sim.perf.served import served_model
from sim.spec.engine import EngineSpec
from sim.spec.gpu import GpuSpec
from sim.spec.model import ModelSpec
from sim.units import GIB


@dataclass(frozen=True)
class MemoryPlan:
    """The arithmetic of one GPU (the fullest rank) and the KV pool that comes out."""

    model: str
    gpu: str
    device_bytes: float
    usable_bytes: float
    """Device memory x ``gpu_memory_utilization``."""
    weights_bytes_per_gpu: float
    terms: tuple[Term, ...]
    """What the rest goes to, with its spread."""
    beside: tuple[Term, ...]
    """Those of ``terms`` that drafts and adapters take."""
    kv_pool_bytes: float
    kv_bytes_per_token_per_gpu: float
    layout: CacheLayout
    block_size: int
    """``engine.block_size``, tokens."""
    num_gpu_blocks: int
    """As vLLM counts them; one is reserved as the null block."""
    simulated_groups: tuple[CacheGroup, ...]
    """What the engine is simulated with (``CacheLayout.simulated``); none = one group of full attention."""
    max_model_len: int
    max_num_seqs: int
    """Sequences that may run."""
    caches_prefixes: bool
    """``engine.enable_prefix_caching``."""
    shortened_from: int | None = None
    """The model's own length, where ``max_model_len=auto`` took a shorter one."""
    stated: str = ""
    """The option that replaced the arithmetic."""

    @property
    def activation_bytes(self) -> float:
        """Peak of the profiling pass, with the runtime's own memory and communication."""
        return sum(term.bytes for term in self.terms if not term.name.startswith("CUDA graphs"))

    @property
    def draft_weights_bytes(self) -> float:
        """Of the drafting layers, where there are some."""
        return sum(term.bytes for term in self.beside if term.name == "draft weights")

    @property
    def graph_bytes(self) -> float:
        """What is subtracted for CUDA graphs."""
        return sum(term.bytes for term in self.terms if term.name.startswith("CUDA graphs"))

    @property
    def kv_tokens(self) -> int:
        """Tokens that fit, the null block apart."""
        return self.layout.tokens(max(0, self.num_gpu_blocks - 1), self.max_model_len)

    @property
    def one_group_blocks(self) -> int:
        """The pool for an engine that knows one group of full attention only: ``num_gpu_blocks`` with one such group. With
        several, what is left when every seat holds its states and short windows, and a batch in flight its own; of that a
        token is charged in every other group (what a sequence within its windows costs; a longer one costs less on the
        server). One sequence of ``max_model_len`` always fits."""
        if len(self.layout.groups) == 1 and self.layout.groups[0].kind == "full":
            return self.num_gpu_blocks
        growing = self.layout.growing
        blocks = max(0, self.num_gpu_blocks - 1)
        if growing:
            blocks = max(0, blocks - self.layout.standing_in_flight - self._seats * self.layout.standing_blocks)
        each = blocks // max(1, len(growing))
        tokens = max(each * min((group.block_size for group in growing), default=self.max_model_len), self.max_model_len)
        return -(-tokens // self.block_size) + 1

    @property
    def one_group_tokens(self) -> int:
        """Tokens of ``one_group_blocks``, the null block apart."""
        return max(0, self.one_group_blocks - 1) * self.block_size

    @property
    def _seats(self) -> int:
        """Sequences whose states and short windows are set aside: all that may run, or as many as half of the pool holds."""
        standing = self.layout.standing_blocks
        half = max(0, self.num_gpu_blocks - 1 - self.layout.standing_in_flight) // 2
        return max(1, min(self.max_num_seqs, half // standing)) if standing else self.max_num_seqs

    @property
    def most_sequences(self) -> int | None:
        """Sequences that the recurrent states and short windows leave room for; None = the model has none."""
        if not self.layout.standing_blocks:
            return None
        return self._seats if self.layout.growing else max(1, self.streams(1))

    @property
    def without_hits(self) -> bool:
        """Prefixes are cached, but the engine is simulated without: which states are found again is not known."""
        return self.caches_prefixes and any(group.kind == "state" for group in self.simulated_groups)

    @property
    def _stand_in(self) -> str:
        """What one group leaves out."""
        if self.layout.standing_blocks and self.layout.growing:
            return f"the states and short windows of {self._seats:,} sequences are set aside"
        return "a token is charged in every group"

    @property
    def concurrency(self) -> float:
        """Requests of ``max_model_len`` that fit, as vLLM's log counts (null block included)."""
        return self.layout.concurrency(self.num_gpu_blocks, self.max_model_len)

    @property
    def vllm_line(self) -> str:
        """The two figures as vLLM's start-up log prints them."""
        tokens = self.layout.tokens(self.num_gpu_blocks, self.max_model_len)
        return (
            f"GPU KV cache size: {tokens:,} tokens, maximum concurrency for {self.max_model_len:,} tokens per request: "
            f"{self.concurrency:.2f}x"
        )

    @property
    def pool_spread_bytes(self) -> float:
        """By how much the pool strays when every term strays by its own spread, independently."""
        return math.sqrt(sum((term.bytes * term.spread) ** 2 for term in self.terms))

    def streams(self, tokens: int) -> int:
        """Sequences of ``tokens`` that fit side by side while they decode: of a window only its own blocks are held."""
        each = self.layout.blocks_while_decoding(tokens)
        return max(0, self.num_gpu_blocks - 1) // each if each else 0

    def explain(self) -> str:
        """The arithmetic as text, one term a line."""
        lines = [
            f"{self.model} on {self.gpu}, each GPU:",
            f"  {_gib(self.usable_bytes)}  usable of {self.device_bytes / GIB:.2f} GiB",
            f"- {_gib(self.weights_bytes_per_gpu)}  weights",
            *(f"- {_gib(term.bytes)}  {term.name} (+-{term.bytes * term.spread / GIB:.2f})" for term in self.terms),
            f"= {_gib(self.kv_pool_bytes)}  KV pool (+-{self.pool_spread_bytes / GIB:.2f})"
            + (f", {self.stated} replaces it" if self.stated else ""),
            f"  {self.num_gpu_blocks:,} blocks of {self.layout.block_bytes:,.0f} bytes in {_groups(self.layout)}",
            f"  {self.vllm_line}",
        ]
        if len(self.layout.groups) > 1 and not self.simulated_groups:
            lines.append(f"  simulated as {self.one_group_tokens:,} tokens of one group: {self._stand_in}")
        if self.without_hits:
            lines.append("  simulated without prefix hits: what is found again of recurrent states is not modelled")
        if self.shortened_from is not None:
            lines.append(
                f"  max_model_len=auto: {self.shortened_from:,} tokens do not fit, shortened to {self.max_model_len:,}"
            )
        return "\n".join(lines)


def memory_plan(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> MemoryPlan:
    """The KV pool that a resolved ``engine`` finds (``resolve_engine``).

    Raises:
        DoesNotFitError: the weights leave no pool, or the pool cannot hold one sequence of ``max_model_len``.
    """
    model = served_model(model, engine)
    plan = arithmetic(model, gpu, engine)
    if plan.num_gpu_blocks < 2:
        raise DoesNotFitError(_no_room(plan, model, engine))
    if plan.layout.blocks_of(plan.max_model_len) > plan.num_gpu_blocks - 1:
        raise DoesNotFitError(
            f"engine.max_model_len: one sequence of {plan.max_model_len:,} tokens does not fit in the KV pool; "
            f"max_model_len={_longest(plan)} would fit, max_model_len=auto takes it.\n{plan.explain()}"
        )
    return plan


def largest_model_len(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> int:
    """The longest sequence, tokens, that the KV pool can hold.

    Raises:
        DoesNotFitError: the weights leave no pool at all.
    """
    plan = arithmetic(model, gpu, engine)
    if plan.num_gpu_blocks < 2 or _longest(plan) < 2:
        raise DoesNotFitError(_no_room(plan, model, engine))
    return _longest(plan)


def arithmetic(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> MemoryPlan:
    """The plan, whether or not it fits."""
    tensor, pipeline = engine.tensor_parallel_size, engine.pipeline_parallel_size
    device = gpu.memory_gib * GIB
    usable = device * engine.gpu_memory_utilization
    experts = ExpertSplit(engine.expert_ranks, engine.enable_expert_parallel, engine.num_redundant_experts)
    towers = _towers(engine)
    weights = weights_bytes_per_gpu(model, tensor, pipeline, towers=towers, experts=experts)
    beside = _beside(model, gpu, engine)
    rest = (*terms(model, gpu, engine), *beside)
    pool = usable - weights - sum(term.bytes for term in rest)
    stated = ""
    if engine.kv_cache_memory_bytes is not None:
        pool, stated = min(float(engine.kv_cache_memory_bytes), device - weights), "kv_cache_memory_bytes"
    layout, drafted = cache_layout(model, engine), 1.0 + draft_kv_share(model, engine)
    layout = replace(layout, block_bytes=layout.block_bytes * drafted)
    blocks = max(0, math.floor(pool / layout.block_bytes)) if layout.block_bytes else 0
    if engine.num_gpu_blocks_override is not None and weights <= device:
        blocks, stated = engine.num_gpu_blocks_override, "num_gpu_blocks_override"
    return MemoryPlan(
        model=model.name,
        gpu=f"{engine.gpus} x {gpu.name}" if engine.gpus > 1 else gpu.name,
        device_bytes=device,
        usable_bytes=usable,
        weights_bytes_per_gpu=weights,
        terms=rest,
        beside=beside,
        kv_pool_bytes=pool,
        kv_bytes_per_token_per_gpu=drafted * kv_bytes_per_token_per_gpu(model, engine.kv_cache_dtype, tensor, pipeline),
        layout=layout,
        block_size=engine.block_size,
        num_gpu_blocks=blocks,
        simulated_groups=layout.simulated(engine),
        max_model_len=engine.max_model_len or model.max_context,
        caches_prefixes=engine.enable_prefix_caching,
        max_num_seqs=engine.max_num_active_seqs or engine.max_num_seqs or 256,
        stated=stated,
    )


def _towers(engine: EngineSpec) -> Literal["split", "whole", "none"]:
    if engine.language_model_only:
        return "none"
    return "whole" if engine.mm_encoder_tp_mode == "data" else "split"


def _beside(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> tuple[Term, ...]:
    """What drafts and adapters take: weights that are not the target's, and the slots of all adapters; graphs are captured
    with adapters and without."""
    found = []
    drafting = drafting_of(model, engine)
    if drafting is not None:
        size = draft_weights_bytes(drafting, engine)
        found.append(Term("draft weights", size, 0.05))
    if engine.max_loras:
        slots = engine.max_loras * slot_bytes(model, engine)
        found.append(Term(f"{engine.max_loras} LoRA slots of rank {engine.max_lora_rank}", slots, 0.0))
        found.append(Term("CUDA graphs with adapters", graph_bytes(model, engine, gpu), 0.5))
    return tuple(found)


def _longest(plan: MemoryPlan) -> int:
    """The most tokens of one sequence that the pool holds, by bisection: blocks grow with the length."""
    usable, low, high = plan.num_gpu_blocks - 1, 0, plan.max_model_len
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if plan.layout.blocks_of(middle) <= usable else (low, middle - 1)
    return low


def _no_room(plan: MemoryPlan, model: ModelSpec, engine: EngineSpec) -> str:
    gpus = engine.gpus
    beside = sum(term.bytes for term in plan.beside)
    if beside and plan.kv_pool_bytes + beside > plan.layout.block_bytes:
        taken = " + ".join(f"{term.name} {term.bytes / GIB:.2f} GiB" for term in plan.beside)
        fewer = ""
        if engine.max_loras:
            room = plan.kv_pool_bytes + engine.max_loras * slot_bytes(model, engine)
            most = max(0, math.floor(room / slot_bytes(model, engine)))
            fewer = f" At most {most} adapters of rank {engine.max_lora_rank} leave anything: lower engine.max_loras."
        return (
            f"{model.name} on {gpus} GPU(s): {taken} leave no KV pool of the {(plan.kv_pool_bytes + beside) / GIB:.2f} GiB "
            f"that there would be without them.{fewer}\n{plan.explain()}"
        )
    if plan.weights_bytes_per_gpu < 0.9 * plan.usable_bytes:
        return (
            f"{model.name} on {gpus} GPU(s): the activations of one step leave no KV pool. Lower "
            f"engine.max_num_batched_tokens (now {engine.max_num_batched_tokens:,}) or engine.max_num_seqs (now "
            f"{engine.max_num_seqs:,}), or raise engine.gpu_memory_utilization.\n{plan.explain()}"
        )
    return (
        f"{model.name} ({parameter_count(model) / 1e9:.1f}B parameters, {model.weight_dtype}) does not fit on {gpus} "
        f"GPU(s): the weights leave no KV pool. Use more GPUs ({_more(engine)}), a smaller model.weight_dtype or a "
        f"larger GPU.\n{plan.explain()}"
    )


def _more(engine: EngineSpec) -> str:
    """The option that spreads the weights further."""
    return "engine.data_parallel_size" if engine.enable_expert_parallel else "engine.tensor_parallel_size"


def _groups(layout: CacheLayout) -> str:
    if len(layout.groups) == 1:
        return f"one group of {layout.groups[0].layers} layers"
    kinds: dict[str, int] = {}
    for group in layout.groups:
        words = {"full": "full", "state": "state"}.get(group.kind, f"{group.kind} {group.window}")
        name = f"{words} ({group.layers} layers" + (
            f", {group.block_size} tokens a block)" if group.kind != "state" else ")"
        )
        kinds[name] = kinds.get(name, 0) + 1
    return " + ".join(f"{count} x {name}" if count > 1 else name for name, count in kinds.items())


def _gib(value: float) -> str:
    return f"{value / GIB:8.2f} GiB"
