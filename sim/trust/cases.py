"""Measured cases: what ran where, with which flags, and what was measured.

A case is a folder with ``measured.json`` (hardware, model, engine, workload, metrics in milliseconds) and a workload
(``workload.csv``, or the one it names). ``read_case`` turns it into specs and a trace; what the engine's version
implies and the file does not say (async scheduling, admission rule, graph memory) follows vLLM's release notes.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sim.errors import ConfigError, TraceError
from sim.fleet.blueprint import Blueprint
from sim.perf import model_from_data, resolve_engine
from sim.perf.kv_groups import CacheGroup
from sim.presets.read import preset, preset_gpu, preset_model
from sim.spec import EngineSpec, GpuSpec, ModelSpec
from sim.spec.gateway.users import ClosedLoop
from sim.trust.presets import engine_of_version, find_preset
from sim.workload.trace import INTEGER_LABELS, Trace

LatencyPoint = Literal["client", "server"]
"""Where latency starts: at the client's send, or at the server's span (front end excluded)."""

_PARALLEL = {
    "tp": "tensor_parallel_size", "pp": "pipeline_parallel_size", "dp": "data_parallel_size", "ep": "enable_expert_parallel",
    "cp": "context_parallel_size",
}  # fmt: skip
_LABELS = ("prompt_id", "prefix_id", "prefix_tokens", "session_id", "turn", "priority", "user")
"""Columns of a workload that say what prompts share and who goes first."""
_RECORDED = (
    "gpu_memory_utilization", "block_size", "enable_prefix_caching", "enable_chunked_prefill", "async_scheduling",
    "max_num_seqs", "max_num_batched_tokens", "max_model_len", "kv_cache_dtype", "num_gpu_blocks_override",
    "scheduling_policy", "long_prefill_token_threshold", "enforce_eager",
)  # fmt: skip
"""Options as a server resolved them, beside its flags; what else is recorded of an engine describes it."""
_NO_MATTER = {"model", "tokenizer", "dtype", "seed", "served_model_name", "trust_remote_code", "port", "host", "load_format"}
"""Flags that do not change what is simulated, or are stated elsewhere in the file."""


@dataclass(frozen=True)
class MeasuredCase:
    """One measured run."""

    name: str
    folder: Path
    model: ModelSpec
    gpu: GpuSpec
    engine: EngineSpec
    """Resolved."""
    num_gpu_blocks: int
    """Of our own memory arithmetic; ``recorded_blocks`` is what the server had."""
    recorded_blocks: int | None
    groups: Sequence[CacheGroup]
    """KV cache groups of its engine; none = one of full attention."""
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
    users: ClosedLoop | None = None
    """Not None: a closed loop; who sends when is simulated, and the recorded times are not used."""
    grid: bool = False
    """Bursts that measure steps, without a pace of arrivals: not for replays."""
    notes: list[str] = field(default_factory=list)
    """What was assumed, and what the case states and is not simulated."""


def read_case(folder: Path) -> MeasuredCase:
    """The measured case in ``folder``.

    Raises:
        TraceError: ``measured.json`` or its workload cannot be read.
        ConfigError: the case states what is not modelled, by its name.
    """
    try:
        data = json.loads((folder / "measured.json").read_text(encoding="utf-8"))
        spec, run = dict(data["engine"]), dict(data["workload"])
        gpu = preset_gpu(find_preset(str(data["hardware"]["gpu"]), "gpu"))
    except (OSError, json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise TraceError(f"{folder / 'measured.json'}: not a measured case ({error})") from None
    model, version = _model(folder, data), _numbers(spec.get("version", "0"))
    engine = resolve_engine(_engine(data, version), model, gpu)
    server = Blueprint(folder.name, model, gpu, engine)
    trace, stage, users = _read_workload(folder / run.get("csv", "workload.csv"))
    timeout_s, how = _client_timeout_s(data)
    return MeasuredCase(
        name=folder.name,
        folder=folder,
        model=model,
        gpu=gpu,
        engine=server.engine,
        num_gpu_blocks=server.blocks,
        groups=server.groups,
        recorded_blocks=spec.get("num_gpu_blocks"),
        trace=trace,
        stage=stage,
        users=_users(run, users),
        latency_point="server" if folder.name.startswith("blis-") else "client",
        level="per_request" if data.get("level") == "per_request" else "aggregate",
        measured=_metrics(data.get("metrics", {})),
        stages=[_metrics(part) for part in data.get("stages", data.get("segments", []))],
        client_timeout_s=timeout_s,
        per_request=_read_per_request(folder / "per_request.csv"),
        failures=int(sum(part.get("failures", 0) for part in data.get("stages", []))),
        vllm=version,
        grid=run.get("kind") == "micro",
        notes=[note for note in (how, *_not_simulated(spec)) if note],
    )


def _numbers(version: object) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", str(version))[:3])


def _model(folder: Path, data: dict[str, Any]) -> ModelSpec:
    """The geometry that the case states (``hf_config`` or a ``config.json`` beside it), else the preset of its name."""
    name, facts = data["model"], data.get("hf_config")
    if isinstance(name, dict):
        name, facts = str(name.get("_name_or_path", folder.name)), name
    if facts is None and (folder / "config.json").is_file():
        facts = str(folder / "config.json")
    elif isinstance(facts, str):
        facts = str(folder / facts)
    fp8 = {"weight_dtype": "fp8"} if "fp8" in f"{name} {data.get('dtype', '')}".lower() else {}
    if facts is not None:
        return model_from_data({"hf_config": facts, "name": name, **fp8})
    model = preset_model(find_preset(name, "model"))
    return replace(model, weight_dtype="fp8") if fp8 else model


def _engine(data: dict[str, Any], version: tuple[int, ...]) -> EngineSpec:
    """The options that the case states, recorded ones below the flags; vLLM's or those of the engine it names.

    Raises:
        ConfigError: a flag, or a parallelism, that is not modelled.
    """
    spec, known = data["engine"], {each.name for each in fields(EngineSpec)}
    given = {key.lstrip("-").replace("-", "_"): value for key, value in spec.get("flags", {}).items()}
    parallel = data.get("parallelism", {})
    given |= {_PARALLEL[key]: value for key, value in parallel.items() if key in _PARALLEL}
    for name, value in given.items():
        if name not in known | _NO_MATTER and (value is True or value not in (None, False, 1, "")):
            raise ConfigError(f"engine.flags.{name}={value!r} is not modelled in a measured case")
    recorded = {key: spec[key] for key in _RECORDED if key in spec}
    stated = {**recorded, **{key: value for key, value in given.items() if key in known - {"name", "version", *_NO_MATTER}}}
    engine = str(spec.get("name", "vllm")).lower().replace("-", "_")
    if engine != "vllm":
        return EngineSpec(**{**preset("engine", engine), **{k: v for k, v in stated.items() if v is not None}})
    return engine_of_version(version, **stated)


def _not_simulated(spec: dict[str, Any]) -> list[str]:
    """What the case says of its engine that changes latencies and is left out."""
    return [f"engine.{name} is not simulated" for name in ("cpu_kv_offload", "speculative_config", "lora") if spec.get(name)]


def _users(run: dict[str, Any], users: int) -> ClosedLoop | None:
    """Who sent the requests of a closed loop: each user its own rows where they name their users, else as many as it
    states; all at once unless it states."""
    if run.get("kind") != "closed":
        return None
    think_s, start_phase = float(run.get("think_s", 0.0)), float(run.get("start_phase", 0.0))
    if users:
        return ClosedLoop(users=users, think_s=think_s, own_rows=True)
    stated = run.get("users", (run.get("ret") or {}).get("users", users))
    return ClosedLoop(users=int(stated), think_s=think_s, start_phase=start_phase)


def _client_timeout_s(data: dict[str, Any]) -> tuple[float | None, str]:
    """The client's patience, seconds, as recorded; else, where requests failed, the minute after the slowest answer."""
    for part in (data["workload"], data.get("client", {}), data):
        for name in ("client_timeout_s", "timeout_s"):
            if part.get(name) is not None:
                return float(part[name]), ""
    failed = [stage for stage in data.get("stages", []) if stage.get("failures")]
    slowest_ms = max((float(stage["e2e_ms"].get("max", 0.0)) for stage in failed), default=0.0)
    if not slowest_ms:
        return None, ""
    guess_s = 60.0 * math.ceil(slowest_ms / 60_000.0)
    return guess_s, f"the client's patience is not recorded: {guess_s:g} s, the minute after the slowest answer"


def _metrics(data: dict[str, Any]) -> dict[str, dict[str, float]]:
    out: dict[str, dict[str, float]] = {}
    for name in ("ttft", "tpot", "e2e"):
        values = data.get(f"{name}_ms")
        if isinstance(values, dict):
            out[name] = {k: float(v) for k, v in values.items() if v is not None and k != "n"}
    if data.get("output_tokens_per_s") is not None:
        out["output_tokens_per_s"] = {"mean": float(data["output_tokens_per_s"])}
    return out


def _read_workload(path: Path) -> tuple[Trace, np.ndarray, int]:
    """The requests, the load stage of each, and how many users the rows name."""
    rows = _rows(path)
    names = set(rows[0])
    labels: dict[str, np.ndarray] = {}
    for name in _LABELS:
        if name not in names or not any(row[name] for row in rows):
            continue
        missing = INTEGER_LABELS.get(name)
        if missing is None:
            labels[name] = np.array([row[name] or "" for row in rows], dtype=object)
        else:
            labels[name] = np.array([int(row[name] or missing) for row in rows], dtype=np.int64)
    stage = next((c for c in ("stage", "segment") if c in names), None)
    trace = Trace(
        arrival_s=np.array([float(row["arrival_s"]) for row in rows]),
        input_tokens=np.array([int(row["input_tokens"]) for row in rows]),
        output_tokens=np.array([max(1, int(row["output_tokens"])) for row in rows]),
        labels=labels,
    )
    users = len({row["user"] for row in rows if row.get("user")})
    return trace, np.array([int(row[stage]) if stage else 0 for row in rows]), users


def _read_per_request(path: Path) -> dict[str, np.ndarray]:
    if not path.exists() and not _packed(path).exists():
        return {}
    rows = _rows(path)
    return {
        name: np.array([float(row[name]) if row[name] else np.nan for row in rows])
        for name in ("arrival_s", "input_tokens", "output_tokens", "ttft_s", "e2e_s", "tpot_s")
    }


def _packed(path: Path) -> Path:
    return path.with_name(f"{path.name}.gz")


def _rows(path: Path) -> list[dict[str, str]]:
    path, opened = (_packed(path), gzip.open) if not path.exists() and _packed(path).exists() else (path, open)
    try:
        with opened(path, "rt", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise TraceError(f"{path}: cannot be read ({error.strerror})") from None
    if not rows:
        raise TraceError(f"{path}: no rows")
    return rows
