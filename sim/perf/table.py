"""Step-time tables fitted to measured kernels, shipped for the common (GPU, model, tensor parallel, weight type).

An entry is used for what it was measured on, matrices and prefill attention: when the geometry of the layers, the weights'
type and the GPU's bandwidth, FLOPS and link are those it was made for. The cache's type and the vocabulary do not matter:
decode attention is the roofline's, and a head of another size is read in proportion. Override anything else and the
roofline answers alone, because a table cannot know what the change does.
Made by ``experiments/step_time_fit/fit_tables.py``; its README gives the error on points that were not fitted. A file of
one's own tables (``engine.step_time_file``, ``experiments/step_time_fit/aic_table.py`` writes one) is asked first.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from sim.errors import ConfigError
from sim.perf.geometry import head_bytes, stored_kv_dtype
from sim.perf.roofline import efficiencies
from sim.perf.tabulated import StepTables
from sim.spec.engine import EngineSpec
from sim.spec.gpu import GpuSpec
from sim.spec.layers import FullAttention, PartWeights
from sim.spec.model import ModelSpec

_GEOMETRY: dict[str, tuple[int, ...]] = {
    # layers, hidden, heads, KV heads, head dim, width of the MLP or of an expert, vocabulary, experts; see _VOCABULARY
    "llama3_8b": (32, 4096, 32, 8, 128, 14336, 128256, 0),
    "llama3_70b": (80, 8192, 64, 8, 128, 28672, 128256, 0),
    "qwen3_32b": (64, 5120, 64, 8, 128, 25600, 151936, 0),
    "qwen3_30b_a3b": (48, 2048, 32, 4, 128, 768, 151936, 128),
}
_VOCABULARY = 6
_PEAKS: dict[str, tuple[float, float, float]] = {
    # bandwidth GB/s, bf16 TFLOPS, link GB/s a direction of the presets the tables belong to
    "a100_80": (2039, 312, 300), "h100": (3350, 989, 450), "h200": (4800, 989, 450), "b200": (7700, 2250, 900),
    "l40s": (864, 362, 32), "rtx_pro_6000": (1597, 467.8, 64),
}  # fmt: skip


def table_keys() -> list[tuple[str, str, int, str]]:
    """``(gpu, model, tensor_parallel, weight_dtype)`` of every table that ships."""
    return sorted(_entries())


class Table(NamedTuple):
    """A table made for a combination of GPU, matrices and parallelism."""

    times: StepTables
    source: str
    served: bool
    """Its times are those of served steps; False = sums of kernels."""
    own_attention: bool
    """Its decode attention holds here: a table of one's own, for this type of cache."""


def find_table(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> Table | None:
    """The table made for this combination, or None."""
    if engine.pipeline_parallel_size > 1 or not _geometry(model) or model.stack[0].weights != PartWeights():
        return None
    stated = _stated(model, gpu, engine)
    entry = stated or _shipped(model, gpu, engine)
    if entry is None:
        return None
    tables = kernel_tables(entry)
    more_s = _head_difference_s(model, gpu, engine, entry)
    return Table(
        replace(tables, nonattention_s=tuple(seconds + more_s for seconds in tables.nonattention_s)),
        _source(entry),
        bool(entry.get("served", False)),
        stated is not None and entry["kv_dtype"] == entry_key(model, gpu, engine)["kv_dtype"],
    )


def _head_difference_s(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec, entry: dict[str, Any]) -> float:
    """Seconds that this model's head takes longer to read than that of the model the table was made for."""
    vocabulary = entry["geometry"][_VOCABULARY] if "geometry" in entry else _GEOMETRY[entry["model"]][_VOCABULARY]
    theirs = replace(model, vocab_size=int(vocabulary), head_weights=None)
    rate = gpu.bandwidth_gb_s * 1e9 * efficiencies(gpu).memory * engine.tensor_parallel_size
    return (head_bytes(model) - head_bytes(theirs)) / rate


def entry_key(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> dict[str, Any]:
    """What a table in a file of one's own (``engine.step_time_file``) says it was made for."""
    return {
        "gpu": gpu.name, "peaks": list(_peaks(gpu)), "model": model.name, "geometry": list(_geometry(model)),
        "tensor_parallel": engine.tensor_parallel_size, "weight_dtype": _weight_dtype(model),
        "kv_dtype": "fp8" if stored_kv_dtype(engine.kv_cache_dtype, model) == "fp8" else "bf16",
    }  # fmt: skip


def _geometry(model: ModelSpec) -> tuple[int, ...]:
    """What a table is made for; empty (no table) for a model whose layers differ or are of another kind."""
    group = model.stack[0]
    attention, forward = group.attention, group.feed_forward
    if len(model.stack) > 1 or group.state is not None or not isinstance(attention, FullAttention) or forward is None:
        return ()
    if attention != FullAttention(
        heads=attention.heads, kv_heads=attention.kv_heads, head_dim=attention.head_dim, bias=attention.bias,
        qk_norm=attention.qk_norm,
    ) or (forward.experts and (forward.width or forward.shared_width)):
        return ()
    return (
        group.count, model.hidden_size, attention.heads, attention.kv_heads, attention.head_dim,
        forward.expert_width or forward.width, model.vocab_size, forward.experts,
    )  # fmt: skip


def _peaks(gpu: GpuSpec) -> tuple[float, float, float]:
    return gpu.bandwidth_gb_s, gpu.tflops_bf16, gpu.link_gb_s_per_direction


def _matrices(geometry: Sequence[int]) -> tuple[int, ...]:
    """A geometry without its vocabulary."""
    return *geometry[:_VOCABULARY], *geometry[_VOCABULARY + 1 :]


def _weight_dtype(model: ModelSpec) -> str:
    return "bf16" if model.weight_dtype == "fp16" else model.weight_dtype


def _shipped(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> dict[str, Any] | None:
    if _PEAKS.get(gpu.name) != _peaks(gpu):
        return None
    name = next((n for n, known in _GEOMETRY.items() if _matrices(known) == _matrices(_geometry(model))), None)
    return _entries().get((gpu.name, name or "", engine.tensor_parallel_size, _weight_dtype(model)))


def _stated(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> dict[str, Any] | None:
    if engine.step_time_file is None:
        return None
    path = Path(engine.step_time_file)
    try:
        entries = _read(path, path.stat().st_mtime_ns)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"engine.step_time_file: {path} is not a file of step-time tables ({type(error).__name__}: {error}); "
            "experiments/step_time_fit/aic_table.py writes one"
        ) from error
    key = entry_key(model, gpu, engine)
    same = [
        entry for entry in entries
        if all(entry[k] == key[k] for k in ("gpu", "peaks", "tensor_parallel", "weight_dtype"))
        and _matrices(entry["geometry"]) == _matrices(key["geometry"])
    ]  # fmt: skip
    return next((entry for entry in same if entry["kv_dtype"] == key["kv_dtype"]), same[0] if same else None)


@cache
def _read(path: Path, changed_ns: int) -> tuple[dict[str, Any], ...]:
    entries = tuple(json.loads(path.read_text(encoding="utf-8"))["entries"])
    for entry in entries:
        kernel_tables(entry)
        _source(entry)
        missing = {"peaks", "geometry", "kv_dtype"} - entry.keys()
        if missing:
            raise KeyError(f"{', '.join(sorted(missing))} missing")
    return entries


def _source(entry: dict[str, Any]) -> str:
    return (
        f"table {entry['gpu']} {entry['model']} TP{entry['tensor_parallel']} {entry['weight_dtype']}, fitted to kernel "
        f"times of vLLM {entry['vllm']}"
    )


def kernel_tables(entry: dict[str, Any]) -> StepTables:
    """An entry of ``step_tables.json`` or of one's own file, in seconds."""
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
def _entries() -> dict[tuple[str, str, int, str], dict[str, Any]]:
    """By key; of tables that differ in the cache's type alone the first, which has 16 bits."""
    data = json.loads((files("sim.perf") / "step_tables.json").read_text(encoding="utf-8"))
    found: dict[tuple[str, str, int, str], dict[str, Any]] = {}
    for entry in data["entries"]:
        key = entry["gpu"], entry["model"], entry["tensor_parallel"], entry["weight_dtype"]
        if key not in found or entry["kv_dtype"] == "bf16":
            found[key] = entry
    return found
