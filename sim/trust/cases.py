"""Measured cases: what ran where, with which flags, and what was measured.

A case is a folder with ``measured.json`` (hardware, model, engine, workload, metrics in milliseconds) and a workload
(``workload.csv``, or the one it names). ``read_case`` turns it into specs and a trace; what the engine's version
implies and the file does not say (async scheduling, admission rule, graph memory) follows vLLM's release notes.
"""

from __future__ import annotations

import csv
import json
import math
import re
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from sim.errors import ConfigError, TraceError
from sim.perf import memory_plan, model_from_data, resolve_engine
from sim.spec import EngineSpec, GpuPrice, GpuSpec, ModelSpec
from sim.spec.releases import NEWEST, OLDEST
from sim.workload.trace import Trace

LatencyPoint = Literal["client", "server"]
"""Where latency starts: at the client's send, or at the server's span (front end excluded)."""

_GPUS = (
    (r"RTX PRO 6000", "rtx_pro_6000"), (r"4090", "rtx4090"), (r"H200", "h200"), (r"B200", "b200"), (r"H100", "h100"),
    (r"A100.*80|A100", "a100_80"), (r"L40S", "l40s"), (r"A10G", "a10g"), (r"MI300X", "mi300x"), (r"\bL4\b", "l4"),
)  # fmt: skip
_MODELS = (
    (r"llama-?3\.?[13].*-8b", "llama3_8b"), (r"llama-?3\.?[13].*-70b", "llama3_70b"), (r"llama-2-7b", "llama2_7b"),
    (r"llama-2-13b", "llama2_13b"), (r"llama-2-70b", "llama2_70b"), (r"codellama-34b", "codellama_34b"),
    (r"qwen3-30b-a3b", "qwen3_30b_a3b"), (r"qwen3-8b", "qwen3_8b"), (r"qwen3-14b", "qwen3_14b"),
    (r"qwen3-32b", "qwen3_32b"),
    (r"qwen2\.5-7b", "qwen2_5_7b"), (r"mixtral-8x7b", "mixtral_8x7b"), (r"mixtral-8x22b", "mixtral_8x22b"),
    (r"nemo", "mistral_nemo_12b"), (r"scout", "llama4_scout"), (r"deepseek-(v3|r1)", "deepseek_v3"),
)  # fmt: skip


@dataclass(frozen=True)
class MeasuredCase:
    """One measured run."""

    name: str
    model: ModelSpec
    gpu: GpuSpec
    engine: EngineSpec
    """Resolved."""
    num_gpu_blocks: int
    """Of our own memory arithmetic; ``recorded_blocks`` is what the server had."""
    recorded_blocks: int | None
    trace: Trace
    stage: np.ndarray
    """Load stage of each request, 0 where the source has one."""
    latency_point: LatencyPoint
    level: str
    """``per_request`` or ``aggregate``."""
    measured: dict[str, dict[str, float]]
    """Milliseconds: ``{"ttft": {"mean": ..}, "tpot": .., "e2e": ..}``; throughput under ``output_tokens_per_s``."""
    stages: list[dict[str, dict[str, float]]] = field(default_factory=list)
    client_timeout_s: float | None = None
    per_request: dict[str, np.ndarray] = field(default_factory=dict)
    """Measured seconds by request: ``ttft_s e2e_s tpot_s`` (per-request cases)."""
    failures: int = 0
    vllm: tuple[int, ...] = (0,)


@cache
def preset_model(name: str) -> ModelSpec:
    """The shipped model preset ``name``."""
    return model_from_data(yaml.safe_load((files("sim.configs") / "model" / f"{name}.yaml").read_text(encoding="utf-8")))


@cache
def preset_gpu(name: str) -> GpuSpec:
    """The shipped GPU preset ``name``."""
    data = yaml.safe_load((files("sim.configs") / "gpu" / f"{name}.yaml").read_text(encoding="utf-8"))
    return GpuSpec(**{**data, "price": GpuPrice(**data["price"])})


def find_preset(text: str, kind: Literal["model", "gpu"]) -> str:
    """The preset that a published name means, e.g. ``meta-llama/Llama-3.1-8B-Instruct`` -> ``llama3_8b``.

    Raises:
        ConfigError: no preset fits.
    """
    for pattern, name in _MODELS if kind == "model" else _GPUS:
        if re.search(pattern, text, re.IGNORECASE):
            return name
    raise ConfigError(f"{kind}: no preset for {text!r}; add configs/{kind}/NAME.yaml and its pattern in sim/trust/cases.py")


def engine_of_version(version: tuple[int, ...], **flags: Any) -> EngineSpec:
    """Engine options as the vLLM release ``version`` had them (the nearest that is modelled), with ``flags`` on top."""
    modelled = min(max(version[:2], OLDEST), NEWEST)
    return EngineSpec(version=f"{modelled[0]}.{modelled[1]}", **{k: v for k, v in flags.items() if v is not None})


def read_case(folder: Path) -> MeasuredCase:
    """The measured case in ``folder``.

    Raises:
        TraceError: ``measured.json`` or its workload cannot be read.
    """
    try:
        data = json.loads((folder / "measured.json").read_text(encoding="utf-8"))
        spec, run = data["engine"], data["workload"]
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise TraceError(f"{folder / 'measured.json'}: not a measured case ({error})") from None
    version = tuple(int(part) for part in re.findall(r"\d+", str(spec.get("version", "0")))[:3])
    model, gpu = (
        preset_model(find_preset(data["model"], "model")),
        preset_gpu(find_preset(data["hardware"]["gpu"], "gpu")),
    )
    dtype = str(data.get("dtype", "")).lower()
    if "fp8" in data["model"].lower() or dtype == "fp8":
        model = replace(model, weight_dtype="fp8")
    known = ("max_num_seqs", "max_num_batched_tokens", "max_model_len", "enforce_eager", "kv_cache_dtype")
    flags = {name: spec.get("flags", {}).get(name) for name in known}
    engine = engine_of_version(
        version,
        tensor_parallel_size=int(data["parallelism"]["tp"]),
        gpu_memory_utilization=spec.get("gpu_memory_utilization"),
        enable_prefix_caching=spec.get("enable_prefix_caching", True),
        enable_chunked_prefill=spec.get("enable_chunked_prefill", True),
        block_size=spec.get("block_size") or 16,
        **flags,
    )
    engine = resolve_engine(engine, model, gpu)
    trace, stage = _read_workload(folder / run.get("csv", "workload.csv"))
    return MeasuredCase(
        name=folder.name,
        model=model,
        gpu=gpu,
        engine=engine,
        num_gpu_blocks=memory_plan(model, gpu, engine).one_group_blocks,
        recorded_blocks=spec.get("num_gpu_blocks"),
        trace=trace,
        stage=stage,
        latency_point="server" if folder.name.startswith("blis-") else "client",
        level="per_request" if data.get("level") == "per_request" else "aggregate",
        measured=_metrics(data.get("metrics", {})),
        stages=[_metrics(part) for part in data.get("stages", data.get("segments", []))],
        client_timeout_s=_client_timeout_s(data),
        per_request=_read_per_request(folder / "per_request.csv"),
        failures=int(sum(part.get("failures", 0) for part in data.get("stages", []))),
        vllm=version,
    )


def _client_timeout_s(data: dict[str, Any]) -> float | None:
    """The client's patience, seconds: as recorded; else, where requests failed, the minute after the slowest answer."""
    recorded = data["workload"].get("client_timeout_s")
    if recorded is not None:
        return float(recorded)
    failed = [stage for stage in data.get("stages", []) if stage.get("failures")]
    slowest_ms = max((float(stage["e2e_ms"].get("max", 0.0)) for stage in failed), default=0.0)
    return 60.0 * math.ceil(slowest_ms / 60_000.0) or None


def _metrics(data: dict[str, Any]) -> dict[str, dict[str, float]]:
    out: dict[str, dict[str, float]] = {}
    for name in ("ttft", "tpot", "e2e"):
        values = data.get(f"{name}_ms")
        if isinstance(values, dict):
            out[name] = {k: float(v) for k, v in values.items() if v is not None and k != "n"}
    if data.get("output_tokens_per_s") is not None:
        out["output_tokens_per_s"] = {"mean": float(data["output_tokens_per_s"])}
    return out


def _read_workload(path: Path) -> tuple[Trace, np.ndarray]:
    rows = _rows(path)
    names = set(rows[0])
    labels: dict[str, np.ndarray] = {}
    if "prompt_id" in names:
        labels["prompt_id"] = np.array([row["prompt_id"] for row in rows], dtype=object)
    if "prefix_id" in names:
        labels["prefix_id"] = np.array([row["prefix_id"] for row in rows], dtype=object)
        labels["prefix_tokens"] = np.array([int(row["prefix_tokens"] or 0) for row in rows])
    stage = next((c for c in ("stage", "segment") if c in names), None)
    trace = Trace(
        arrival_s=np.array([float(row["arrival_s"]) for row in rows]),
        input_tokens=np.array([int(row["input_tokens"]) for row in rows]),
        output_tokens=np.array([max(1, int(row["output_tokens"])) for row in rows]),
        labels=labels,
    )
    return trace, np.array([int(row[stage]) if stage else 0 for row in rows])


def _read_per_request(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        return {}
    rows = _rows(path)
    return {
        name: np.array([float(row[name]) if row[name] else np.nan for row in rows])
        for name in ("arrival_s", "input_tokens", "output_tokens", "ttft_s", "e2e_s", "tpot_s")
    }


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise TraceError(f"{path}: cannot be read ({error.strerror})") from None
    if not rows:
        raise TraceError(f"{path}: no rows")
    return rows
