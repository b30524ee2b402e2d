"""Step-time tables fitted to measured kernels, shipped for the common (GPU, model, tensor parallel, dtype).

An entry is used when the model's geometry and the GPU's bandwidth and FLOPS are those it was made for: override one of
them and the roofline answers instead, because a table cannot know what the change does.
Made by ``experiments/step_time_fit/fit_tables.py``; its README gives the error on points that were not fitted.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from sim.perf.floors import with_floors
from sim.perf.tabulated import StepTables
from sim.spec.engine import EngineSpec
from sim.spec.gpu import GpuSpec
from sim.spec.model import ModelSpec

_GEOMETRY: dict[str, tuple[int, ...]] = {
    # layers, hidden, heads, KV heads, head dim, intermediate, vocabulary, experts
    "llama3_8b": (32, 4096, 32, 8, 128, 14336, 128256, 0),
    "llama3_70b": (80, 8192, 64, 8, 128, 28672, 128256, 0),
    "qwen3_32b": (64, 5120, 64, 8, 128, 25600, 151936, 0),
    "qwen3_30b_a3b": (48, 2048, 32, 4, 128, 6144, 151936, 128),
}
_PEAKS: dict[str, tuple[float, float]] = {
    # bandwidth GB/s, bf16 TFLOPS of the presets the tables belong to
    "a100_80": (2039, 312), "h100": (3350, 989), "h200": (4800, 989), "b200": (7700, 2250), "l40s": (864, 362),
    "rtx_pro_6000": (1597, 467.8),
}  # fmt: skip


def table_keys() -> list[tuple[str, str, int, str, str]]:
    """``(gpu, model, tensor_parallel, weight_dtype, kv_dtype)`` of every table that ships."""
    return sorted(_entries())


def find_table(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> tuple[StepTables, str] | None:
    """The table made for this combination and its source, or None."""
    if engine.pipeline_parallel_size > 1 or _PEAKS.get(gpu.name) != (gpu.bandwidth_gb_s, gpu.tflops_bf16):
        return None
    geometry = (
        model.layers, model.hidden_size, model.heads, model.kv_heads, model.head_dim, model.intermediate_size,
        model.vocab_size, model.moe_experts,
    )  # fmt: skip
    name = next((n for n, known in _GEOMETRY.items() if known == geometry), None)
    if name is None:
        return None
    weight_dtype = "bf16" if model.weight_dtype == "fp16" else model.weight_dtype
    kv_dtype = "fp8" if engine.kv_cache_dtype == "fp8" else "bf16"
    entry = _entries().get((gpu.name, name, engine.tensor_parallel_size, weight_dtype, kv_dtype))
    if entry is None:
        return None
    return with_floors(_tables(entry), model, gpu, engine), _source(entry)


def _source(entry: dict[str, Any]) -> str:
    return (
        f"table {entry['gpu']} {entry['model']} TP{entry['tensor_parallel']} {entry['weight_dtype']}, fitted to kernel "
        f"times of vLLM {entry['vllm']}"
    )


def _tables(entry: dict[str, Any]) -> StepTables:
    def ms(values: list[float]) -> tuple[float, ...]:
        return tuple(value * 1e-3 for value in values)

    return StepTables(
        tokens=tuple(entry["tokens"]),
        nonattention_s=ms(entry["nonattention_ms"]),
        decode_seqs=tuple(entry["decode_seqs"]),
        decode_context_tokens=tuple(entry["decode_context_tokens"]),
        decode_attention_s=tuple(ms(row) for row in entry["decode_attention_ms"]),
        prefill_tokens=tuple(entry["prefill_tokens"]),
        prefill_pair_s=tuple(value * 1e-12 for value in entry["prefill_pair_ps"]),
    )


@cache
def _entries() -> dict[tuple[str, str, int, str, str], dict[str, Any]]:
    data = json.loads((files("sim.perf") / "step_tables.json").read_text(encoding="utf-8"))
    return {(e["gpu"], e["model"], e["tensor_parallel"], e["weight_dtype"], e["kv_dtype"]): e for e in data["entries"]}
