"""Where the GPU's memory goes, and how many KV blocks are left.

    pool       = device memory x gpu_memory_utilization - weights - activations - runtime - CUDA graphs
    num_blocks = floor(pool / (block_size x KV bytes per token and GPU))

- activations: the profiling pass of ``max_num_batched_tokens`` tokens holds gate, up and their product, plus about one
  and a third hidden states, in 16 bits: ``tokens x 2 B x (3 I / TP + 1.3 H)``; then the sampler over ``max_num_seqs``
  rows of the vocabulary: fp32 logits, sorted copy, 64-bit indices, probabilities: 23 B an entry.
- runtime (CUDA context growth, workspaces): 0.20 GiB, and 0.40 GiB more where GPUs communicate (NCCL, all-reduce
  buffers).
- CUDA graphs: subtracted by vLLM since 0.21: 0.15 GiB + 10 MiB a captured size.

The constants (1.3, 23 B, 0.20, 0.40) were set on the block counts that seven vLLM servers resolved (0.11-0.19, H100 and
RTX 4090; ``tests/golden/test_kv_capacity.py``); the graph figures on vLLM issues 50780 (24 MiB a full graph) and
gpustack/runner 251 (0.36 GiB for 16 sizes), which spread by a factor of two.

Leaves out: that sliding-window layers free what lies behind the window (each token is charged for every layer, which
is what a sequence shorter than the window costs), quantisation work buffers, vision encoders.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sim.errors import DoesNotFitError
from sim.perf.cuda_graphs import capture_sizes
from sim.perf.geometry import kv_bytes_per_token_per_gpu, parameter_count, weights_bytes_per_gpu
from sim.spec.engine import EngineSpec
from sim.spec.gpu import GpuSpec
from sim.spec.model import ModelSpec
from sim.units import GIB

_HIDDEN_COPIES = 1.3
_SAMPLER_BYTES_PER_LOGIT = 23.0
_RUNTIME_BYTES = 0.20 * GIB
_COMMUNICATION_BYTES = 0.40 * GIB
_GRAPH_BYTES_BASE = 0.15 * GIB
_GRAPH_BYTES_PER_SIZE = 10 * 1024**2


@dataclass(frozen=True)
class MemoryPlan:
    """The arithmetic of one GPU (the fullest rank) and the KV pool that comes out."""

    model: str
    gpu: str
    device_bytes: float
    usable_bytes: float
    """Device memory x ``gpu_memory_utilization``."""
    weights_bytes_per_gpu: float
    activation_bytes: float
    """Peak of the profiling pass, with the runtime's own memory."""
    graph_bytes: float
    kv_pool_bytes: float
    kv_bytes_per_token_per_gpu: float
    block_size: int
    num_gpu_blocks: int
    """As vLLM counts them; one is reserved as the null block."""
    kv_tokens: int
    """Tokens that fit: (num_gpu_blocks - 1) x block_size."""
    max_model_len: int
    overridden: bool = False
    """True: ``num_gpu_blocks_override`` replaced the arithmetic."""

    def explain(self) -> str:
        """The arithmetic as text, one term a line."""
        lines = [
            f"{self.model} on {self.gpu}, each GPU:",
            f"  {_gib(self.usable_bytes)}  usable of {self.device_bytes / GIB:.2f} GiB",
            f"- {_gib(self.weights_bytes_per_gpu)}  weights",
            f"- {_gib(self.activation_bytes)}  activations and runtime",
            f"- {_gib(self.graph_bytes)}  CUDA graphs",
            f"= {_gib(self.kv_pool_bytes)}  KV pool",
            f"  / {self.kv_bytes_per_token_per_gpu:,.0f} bytes a token / {self.block_size} tokens a block"
            f" = {self.num_gpu_blocks:,} blocks, {self.kv_tokens:,} tokens"
            + (" (num_gpu_blocks_override)" if self.overridden else ""),
        ]
        return "\n".join(lines)


def memory_plan(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> MemoryPlan:
    """The KV pool that a resolved ``engine`` finds (``resolve_engine``).

    Raises:
        DoesNotFitError: the weights leave no pool, or the pool cannot hold one sequence of ``max_model_len``.
    """
    plan = _arithmetic(model, gpu, engine)
    if plan.num_gpu_blocks < 2:
        raise DoesNotFitError(_no_room(plan, model, engine))
    if plan.max_model_len > plan.kv_tokens:
        raise DoesNotFitError(
            f"engine.max_model_len: one sequence of {plan.max_model_len:,} tokens does not fit in the KV pool; "
            f"max_model_len={plan.kv_tokens} would fit.\n{plan.explain()}"
        )
    return plan


def largest_model_len(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> int:
    """The longest sequence, tokens, that the KV pool can hold.

    Raises:
        DoesNotFitError: the weights leave no pool at all.
    """
    plan = _arithmetic(model, gpu, engine)
    if plan.num_gpu_blocks < 2:
        raise DoesNotFitError(_no_room(plan, model, engine))
    return plan.kv_tokens


def activation_bytes(model: ModelSpec, engine: EngineSpec) -> float:
    """Peak of vLLM's profiling pass and the runtime's own memory on one GPU, bytes."""
    tokens, seqs = engine.max_num_batched_tokens or 2048, engine.max_num_seqs or 256
    tensor = engine.tensor_parallel_size
    width = widest_feed_forward(model)
    forward = tokens * 2.0 * (3 * width / tensor + _HIDDEN_COPIES * model.hidden_size)
    sampler = seqs * model.vocab_size * _SAMPLER_BYTES_PER_LOGIT
    communicates = tensor * engine.pipeline_parallel_size > 1
    return forward + sampler + _RUNTIME_BYTES + (_COMMUNICATION_BYTES if communicates else 0.0)


def widest_feed_forward(model: ModelSpec) -> int:
    """The most numbers that one token holds between the projections of a feed-forward part."""
    parts = [group.feed_forward for group in model.stack if group.feed_forward is not None]
    widths = [part.active_experts * part.expert_width + part.shared_width for part in parts]
    return max(widths + [part.width for part in parts], default=0)


def graph_bytes(engine: EngineSpec, gpu: GpuSpec) -> float:
    """What vLLM subtracts for CUDA graphs, bytes; 0 when eager or when the estimate is off (before 0.21)."""
    sizes = capture_sizes(engine, gpu)
    if not sizes or not engine.estimate_cudagraph_memory:
        return 0.0
    return _GRAPH_BYTES_BASE + _GRAPH_BYTES_PER_SIZE * len(sizes)


def _arithmetic(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> MemoryPlan:
    tensor, pipeline = engine.tensor_parallel_size, engine.pipeline_parallel_size
    device = gpu.memory_gib * GIB
    usable = device * engine.gpu_memory_utilization
    weights = weights_bytes_per_gpu(model, tensor, pipeline)
    activations, graphs = activation_bytes(model, engine), graph_bytes(engine, gpu)
    pool = usable - weights - activations - graphs
    per_token = kv_bytes_per_token_per_gpu(model, engine.kv_cache_dtype, tensor, pipeline)
    blocks = max(0, math.floor(pool / (per_token * engine.block_size))) if per_token else 0
    overridden = engine.num_gpu_blocks_override is not None and weights <= device
    if overridden:
        blocks = engine.num_gpu_blocks_override or 0
    return MemoryPlan(
        model=model.name,
        gpu=f"{tensor * pipeline} x {gpu.name}" if tensor * pipeline > 1 else gpu.name,
        device_bytes=device,
        usable_bytes=usable,
        weights_bytes_per_gpu=weights,
        activation_bytes=activations,
        graph_bytes=graphs,
        kv_pool_bytes=pool,
        kv_bytes_per_token_per_gpu=per_token,
        block_size=engine.block_size,
        num_gpu_blocks=blocks,
        kv_tokens=max(0, blocks - 1) * engine.block_size,
        max_model_len=engine.max_model_len or model.max_context,
        overridden=overridden,
    )


def _no_room(plan: MemoryPlan, model: ModelSpec, engine: EngineSpec) -> str:
    gpus = engine.tensor_parallel_size * engine.pipeline_parallel_size
    if plan.weights_bytes_per_gpu < 0.9 * plan.usable_bytes:
        return (
            f"{model.name} on {gpus} GPU(s): the activations of one step leave no KV pool. Lower "
            f"engine.max_num_batched_tokens (now {engine.max_num_batched_tokens:,}) or engine.max_num_seqs (now "
            f"{engine.max_num_seqs:,}), or raise engine.gpu_memory_utilization.\n{plan.explain()}"
        )
    return (
        f"{model.name} ({parameter_count(model) / 1e9:.1f}B parameters, {model.weight_dtype}) does not fit on {gpus} "
        "GPU(s): the weights leave no KV pool. Use more GPUs (engine.tensor_parallel_size), a smaller "
        "model.weight_dtype or a "
        f"larger GPU.\n{plan.explain()}"
    )


def _gib(value: float) -> str:
    return f"{value / GIB:8.2f} GiB"
