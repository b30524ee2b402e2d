"""``resolve_engine``: every option that the user left open, as vLLM would choose it on that GPU.

Batch limits (``EngineArgs.get_batch_defaults``, API-server column): at least 160 GiB (since 0.28) 16384 tokens and 1024
sequences; at least 70 GiB, A100 and GB10 excepted, 8192 and 1024; otherwise 2048 and 256; twice that with
``performance_mode=throughput``. The token budget is then cut to ``max_num_seqs x max_model_len``, raised to
``max_model_len`` when prefill may not be chunked, and the sequences are cut to the budget. ``max_model_len`` is the
model's own unless stated; ``auto`` takes the longest that the KV pool can hold.

Leaves out: the offline ``LLM`` class's larger budgets, CPU back ends.
"""

from __future__ import annotations

from dataclasses import replace

from sim.errors import ConfigError
from sim.perf.compressed_cache import BLOCK_TOKENS
from sim.perf.features import check_features
from sim.perf.machines import machines
from sim.perf.memory import largest_model_len
from sim.perf.mixture import check_experts, steps_together
from sim.perf.served import served_model
from sim.spec.engine import EngineSpec
from sim.spec.gpu import GpuSpec
from sim.spec.layers import CompressedAttention, CrossAttention, FullAttention
from sim.spec.model import ModelSpec
from sim.spec.releases import release_of
from sim.spec.spellings import AUTO_LENGTH


def default_batch_limits(gpu: GpuSpec, version: str) -> tuple[int, int]:
    """``(max_num_batched_tokens, max_num_seqs)`` of vLLM's API server on ``gpu`` when neither is set. Like vLLM it goes by
    memory and by the device's name."""
    if gpu.memory_gib >= 160 and release_of(version).large_tier:
        return 16_384, 1024
    if gpu.memory_gib >= 70 and not gpu.name.lower().startswith(("a100", "gb10")):
        return 8192, 1024
    return 2048, 256


def resolve_engine(engine: EngineSpec, model: ModelSpec, gpu: GpuSpec) -> EngineSpec:
    """``engine`` with nothing left open, checked against model and GPU.

    Raises:
        ConfigError: an option that vLLM would refuse, or that is not modelled.
        DoesNotFitError: the weights leave no room for a KV cache.
    """
    model = served_model(model, engine)
    _check_parallelism(engine, model, gpu)
    engine = check_features(engine, model)
    default_tokens, default_seqs = default_batch_limits(gpu, engine.version)
    if engine.performance_mode == "throughput":
        default_tokens, default_seqs = 2 * default_tokens, 2 * default_seqs
    own_length = model.unset_max_model_len or model.max_context
    automatic = engine.max_model_len == AUTO_LENGTH
    model_len = own_length if automatic or engine.max_model_len is None else engine.max_model_len
    seqs = engine.max_num_seqs or default_seqs
    tokens = engine.max_num_batched_tokens
    if tokens is None:
        tokens = min(default_tokens, seqs * model_len)
        if not engine.enable_chunked_prefill:
            tokens = max(tokens, model_len)
    if engine.max_num_seqs is None:
        seqs = min(seqs, tokens)
    if tokens < seqs:
        raise ConfigError(
            f"engine.max_num_batched_tokens: `max_num_batched_tokens >= max_num_seqs` must hold, but got {tokens} and {seqs}"
        )
    resolved = replace(
        engine,
        max_num_seqs=seqs,
        max_num_batched_tokens=tokens,
        max_num_active_seqs=engine.max_num_active_seqs or seqs,
        max_num_scheduled_tokens=engine.max_num_scheduled_tokens or tokens,
        max_model_len=model_len,
        block_size=_block_size(engine, model),
        enable_prefix_caching=engine.enable_prefix_caching and (engine.cache_state_prefixes or not model.has_states),
    )
    if automatic:
        resolved = replace(resolved, max_model_len=largest_model_len(model, gpu, resolved))
    if not resolved.enable_chunked_prefill and tokens < (resolved.max_model_len or 0):
        raise ConfigError(
            "engine.max_num_batched_tokens: without chunked prefill it must be at least max_model_len "
            f"({resolved.max_model_len}), but got {tokens}"
        )
    return resolved


def _block_size(engine: EngineSpec, model: ModelSpec) -> int:
    """The stated one; compressed attention packs its entries into blocks of at least ``BLOCK_TOKENS``."""
    compressed = any(isinstance(group.attention, CompressedAttention) for group in model.stack)
    if compressed and engine.block_size % BLOCK_TOKENS and engine.block_size != EngineSpec().block_size:
        raise ConfigError(f"engine.block_size: {model.name} needs a multiple of {BLOCK_TOKENS}, but got {engine.block_size}")
    return max(engine.block_size, BLOCK_TOKENS) if compressed else engine.block_size


def _check_parallelism(engine: EngineSpec, model: ModelSpec, gpu: GpuSpec) -> None:
    tensor, pipeline = engine.tensor_parallel_size, engine.pipeline_parallel_size
    for attention in (group.attention for group in model.stack if group.attention is not None):
        if attention.heads % tensor:
            raise ConfigError(
                f"engine.tensor_parallel_size: must divide the {attention.heads} attention heads of {model.name}, "
                f"but got {tensor}"
            )
        kv_heads = attention.kv_heads if isinstance(attention, FullAttention | CrossAttention) else tensor
        if kv_heads % tensor and tensor % kv_heads:
            raise ConfigError(
                f"engine.tensor_parallel_size: must divide or be a multiple of the {kv_heads} KV heads of "
                f"{model.name}, but got {tensor}"
            )
    _check_machines(engine, model, gpu)
    check_experts(model, engine)
    if pipeline > model.layer_count:
        raise ConfigError(
            f"engine.pipeline_parallel_size: at most one stage a layer ({model.layer_count}), but got {pipeline}"
        )


def _check_machines(engine: EngineSpec, model: ModelSpec, gpu: GpuSpec) -> None:
    """Refuse what the links between GPUs cannot carry."""
    tensor, scaleup = engine.tensor_parallel_size, gpu.max_scaleup_gpus
    if tensor > scaleup and tensor % scaleup:
        raise ConfigError(
            f"engine.tensor_parallel_size: beyond one machine of {scaleup} {gpu.name} GPUs (gpu.max_scaleup_gpus) it must "
            f"be a multiple of {scaleup}, but got {tensor}"
        )
    together = engine.expert_ranks if steps_together(model, engine) else tensor
    talking = together * engine.pipeline_parallel_size
    if talking > scaleup and not gpu.nic_gb_s_per_direction:
        raise ConfigError(
            f"gpu.nic_gb_s_per_direction: {talking} GPUs that work together stand on {machines(talking, gpu)} machines of "
            f"{scaleup} {gpu.name} GPUs (gpu.max_scaleup_gpus), whose network is not known: state it, or take at most "
            f"{scaleup} (tensor x pipeline{' x data' if together > tensor else ''} parallel)"
        )
    if together > scaleup and together > tensor and engine.all2all_backend == "flashinfer_nvlink_one_sided":
        raise ConfigError(
            f"engine.all2all_backend: flashinfer_nvlink_one_sided works where NVLink joins all GPUs: {scaleup} {gpu.name} "
            f"(gpu.max_scaleup_gpus), but got {together} (tensor x data parallel)"
        )
