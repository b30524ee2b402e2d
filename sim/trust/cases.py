"""Measured cases: what ran where, with which flags, and what was measured.

A case is a folder with ``measured.json`` (hardware, model, engine, workload, metrics in milliseconds) and a workload
(``workload.csv``, or the one it names). ``read_case`` turns it into specs and a trace; what the engine's version
implies and the file does not say (async scheduling, admission rule, graph memory) follows vLLM's release notes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from sim.errors import ConfigError
from sim.fleet.blueprint import Blueprint
from sim.perf import model_from_data, resolve_engine
from sim.perf.kv_groups import CacheGroup
from sim.presets.read import preset, preset_gpu, preset_model
from sim.spec import EngineSpec, GpuSpec, ModelSpec
from sim.spec.gateway.users import ClosedLoop
from sim.trust.case_file import CaseFile, Engine, Run, mistake, read_case_file
from sim.trust.case_workload import read_per_request, read_workload
from sim.trust.presets import engine_of_version, find_preset
from sim.workload.trace import Trace

LatencyPoint = Literal["client", "server"]
"""Where latency starts: at the client's send, or at the server's span (front end excluded)."""

_PARALLEL = {
    "tp": "tensor_parallel_size", "pp": "pipeline_parallel_size", "dp": "data_parallel_size", "ep": "enable_expert_parallel",
    "cp": "context_parallel_size",
}  # fmt: skip
_RECORDED = (
    "gpu_memory_utilization", "block_size", "enable_prefix_caching", "enable_chunked_prefill", "async_scheduling",
    "max_num_seqs", "max_num_batched_tokens", "max_model_len", "kv_cache_dtype", "num_gpu_blocks_override",
    "scheduling_policy", "long_prefill_token_threshold", "enforce_eager",
)  # fmt: skip
"""Options as a server resolved them, beside its flags; what else is recorded of an engine describes it."""
_NO_MATTER = {"model", "tokenizer", "dtype", "seed", "served_model_name", "trust_remote_code", "port", "host", "load_format"}
"""Flags that do not change what is simulated, or are stated elsewhere in the file."""
_LEFT_OUT = ("cpu_kv_offload",)
"""Parts of an engine that a case may have and that are not simulated in it: said."""
_NOT_MODELLED = ("speculative_config", "lora")
"""Parts of an engine without which nothing of it would be predicted: refused."""
_TYPES = (
    (r"nvfp4|(?<!mx)fp4", "fp4"), (r"mxfp4", "mxfp4"), (r"fp8", "fp8"), (r"w8a16", "int8_weight_only"),
    (r"w8a8|int8", "int8"), (r"awq|gptq|int4|w4a16|4bit", "int4"),
)  # fmt: skip
"""Number types of weights by the words that say them in a ``dtype`` or in a model's name."""
_SIXTEEN_BITS = {"", "auto", "bfloat16", "bf16", "float16", "fp16", "half", "torch.bfloat16", "torch.float16"}


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
        ConfigError: the case states what is not modelled, or what cannot be, by its name.
    """
    data = read_case_file(folder / "measured.json")
    gpu, version = preset_gpu(find_preset(data.hardware.gpu, "gpu")), _numbers(data.engine.version)
    model = _model(folder, data)
    engine = resolve_engine(_engine(data, version), model, gpu)
    server = Blueprint(folder.name, model, gpu, engine)
    workload = read_workload(folder / data.workload.csv)
    timeout_s, how = _client_timeout_s(data)
    return MeasuredCase(
        name=folder.name,
        folder=folder,
        model=model,
        gpu=gpu,
        engine=server.engine,
        num_gpu_blocks=server.blocks,
        groups=server.groups,
        recorded_blocks=data.engine.num_gpu_blocks,
        trace=workload.trace,
        stage=workload.stage,
        users=_users(data.workload, workload.users),
        latency_point="server" if folder.name.startswith("blis-") else "client",
        level="per_request" if data.level == "per_request" else "aggregate",
        measured=data.metrics.by_metric(),
        stages=[part.by_metric() for part in data.stages or data.segments],
        client_timeout_s=timeout_s,
        per_request=read_per_request(folder / "per_request.csv", len(workload.trace)),
        failures=sum(part.failures for part in data.stages),
        vllm=version,
        grid=data.workload.kind == "micro",
        notes=[note for note in (how, _other_gpus(data, engine), *_left_out(data.engine)) if note],
    )


def _numbers(version: object) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", str(version))[:3])


def _model(folder: Path, data: CaseFile) -> ModelSpec:
    """The geometry that the case states (``hf_config`` or a ``config.json`` beside it), else the preset of its name; weights
    in the type that its ``dtype`` or name says.

    Raises:
        ConfigError: no such preset, geometry or number type.
    """
    name, facts = data.model, data.hf_config
    if isinstance(name, dict):
        name, facts = str(name.get("_name_or_path", folder.name)), name
    if facts is None and (folder / "config.json").is_file():
        facts = str(folder / "config.json")
    elif isinstance(facts, str):
        facts = str(folder / facts)
    stated = {"hf_config": facts, "name": name} if facts is not None else {}
    model = model_from_data(stated) if stated else preset_model(find_preset(name, "model"))
    dtype = _weight_dtype(name, data.dtype or "")
    if dtype is None or model.weight_dtype not in ("bf16", "fp16"):
        return model
    return model_from_data({**stated, "weight_dtype": dtype}) if stated else replace(model, weight_dtype=dtype)


def _weight_dtype(name: str, dtype: str) -> Any:
    """The number type that a model's name or the case's ``dtype`` says; None = 16 bits.

    Raises:
        ConfigError: ``dtype`` is no known one.
    """
    found = next((kind for pattern, kind in _TYPES if re.search(pattern, f"{dtype} {name}", re.IGNORECASE)), None)
    if found is None and not {word.strip() for word in dtype.lower().split("/")} <= _SIXTEEN_BITS:
        raise ConfigError(f"dtype: must be a 16-bit type or name one of fp8, int8, int4, fp4, mxfp4, but got {dtype!r}")
    return found


def _engine(data: CaseFile, version: tuple[int, ...]) -> EngineSpec:
    """The options that the case states, recorded ones below the flags; vLLM's or those of the engine it names.

    Raises:
        ConfigError: a flag, a parallelism or a part of the engine that is not modelled, or an illegal value.
    """
    server, recorded = data.engine, data.engine.model_extra or {}
    for name in _NOT_MODELLED:
        if recorded.get(name):
            raise ConfigError(f"engine.{name}={recorded[name]!r} is not modelled in a measured case")
    known = {each.name for each in fields(EngineSpec)}
    given = {**_flags(server.flags), **_parallelism(data.parallelism)}
    for name, value in given.items():
        if name not in known | _NO_MATTER and (value is True or value not in (None, False, 1, "")):
            raise ConfigError(f"engine.flags.{name}={value!r} is not modelled in a measured case")
    options = {key: recorded[key] for key in _RECORDED if key in recorded}
    options |= {key: value for key, value in given.items() if key in known - {"name", "version", *_NO_MATTER}}
    options = {key: value for key, value in options.items() if value is not None}
    name = server.name.lower().replace("-", "_")
    try:
        if name == "vllm":
            return engine_of_version(version, **options)
        return EngineSpec(**{**preset("engine", name), **options})
    except ValidationError as error:
        raise ConfigError("; ".join(mistake(item, "engine") for item in error.errors())) from None


def _flags(stated: dict[str, Any]) -> dict[str, Any]:
    """Flags under their keys: dashes as underscores, ``--no-x`` as ``x`` false."""
    flags = {key.lstrip("-").replace("-", "_"): value for key, value in stated.items()}
    negated = {key: value for key, value in flags.items() if key.startswith("no_") and isinstance(value, bool)}
    return {**{key: value for key, value in flags.items() if key not in negated},
            **{key.removeprefix("no_"): not value for key, value in negated.items()}}  # fmt: skip


def _parallelism(stated: dict[str, Any]) -> dict[str, Any]:
    """Degrees under the engine's keys; experts over all ranks or none.

    Raises:
        ConfigError: a kind or degree that is not modelled.
    """
    out: dict[str, Any] = {}
    for key, value in stated.items():
        if key in _PARALLEL:
            out[_PARALLEL[key]] = value
        elif value not in (None, False, 0, 1, ""):
            raise ConfigError(f"parallelism.{key}={value!r} is not modelled in a measured case")
    experts = stated.get("ep")
    if isinstance(experts, int) and not isinstance(experts, bool):
        ranks = int(stated.get("tp") or 1) * int(stated.get("dp") or 1)
        if experts not in (1, ranks):
            raise ConfigError(f"parallelism.ep: must be 1 or all tp x dp = {ranks} ranks, but got {experts}")
        out[_PARALLEL["ep"]] = experts > 1
    return out


def _other_gpus(data: CaseFile, engine: EngineSpec) -> str:
    """What is to be said where the machine has other GPUs than the engine takes."""
    takes = engine.tensor_parallel_size * engine.pipeline_parallel_size * engine.data_parallel_size
    if data.hardware.gpu_count in (None, takes):
        return ""
    return f"hardware.gpu_count is {data.hardware.gpu_count}; one engine, which as stated takes {takes}, is run"


def _left_out(server: Engine) -> list[str]:
    """What the case says of its engine that changes latencies and is left out."""
    return [f"engine.{name} is not simulated" for name in _LEFT_OUT if (server.model_extra or {}).get(name)]


def _users(run: Run, users: int) -> ClosedLoop | None:
    """Who sent the requests of a closed loop: each user its own rows where they name their users, else as many as it
    states; all at once unless it states.

    Raises:
        ConfigError: it does not say how many.
    """
    if run.kind != "closed":
        return None
    if users:
        return ClosedLoop(users=users, think_s=run.think_s, own_rows=True)
    extra = run.model_extra or {}
    stated = run.users or run.ret.get("users") or extra.get("concurrency") or extra.get("max_concurrency")
    if not isinstance(stated, int) or stated < 1:
        raise ConfigError(f"workload.users: a closed loop must say how many, a whole number from 1, but got {stated!r}")
    return ClosedLoop(users=stated, think_s=run.think_s, start_phase=run.start_phase)


def _client_timeout_s(data: CaseFile) -> tuple[float | None, str]:
    """The client's patience, seconds, as recorded; else, where requests failed, the minute after the slowest answer."""
    if data.patience_s() is not None:
        return data.patience_s(), ""
    failed = [stage for stage in data.stages if stage.failures]
    slowest_ms = max((stage.e2e_ms.get("max") or 0.0 for stage in failed), default=0.0)
    if not slowest_ms:
        return None, ""
    guess_s = 60.0 * math.ceil(slowest_ms / 60_000.0)
    return guess_s, f"the client's patience is not recorded: {guess_s:g} s, the minute after the slowest answer"
