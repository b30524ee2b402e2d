"""``serve_line``: the command that starts the server which a simulation means.

Options that differ from the release's defaults, under the server's own names; what a preset decides otherwise than its
server's flags can say has no flag and is left out.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from typing import Any

from sim.spec import EngineSpec, ModelSpec
from sim.spec.model import model_reference
from sim.spec.serve_features import connector_config, feature_words
from sim.spec.spellings import AUTO_LENGTH

VLLM_OPTIONS = (
    "tensor_parallel_size", "pipeline_parallel_size", "max_model_len", "max_num_seqs", "max_num_active_seqs",
    "max_num_batched_tokens", "max_num_scheduled_tokens", "gpu_memory_utilization", "kv_cache_memory_bytes",
    "num_gpu_blocks_override", "block_size", "kv_cache_dtype", "quantization", "enable_prefix_caching",
    "enable_chunked_prefill", "long_prefill_token_threshold", "long_prefill_token_threshold_adaptive", "scheduling_policy",
    "watermark", "scheduler_reserve_full_isl", "prefill_schedule_interval", "async_scheduling", "enforce_eager",
    "max_cudagraph_capture_size", "cudagraph_capture_sizes", "performance_mode", "language_model_only", "data_parallel_size",
    "skip_mm_profiling", "dp_sync_interval", "mm_encoder_tp_mode", "disable_hybrid_kv_cache_manager",
    "mamba_ssm_cache_dtype",
    "enable_expert_parallel", "all2all_backend", "enable_eplb", "enable_dbo", "dbo_decode_token_threshold",
    "dbo_prefill_token_threshold",
)  # fmt: skip
"""Keys of ``engine`` that are options of ``vllm serve`` under the same name."""
THEIR_OPTIONS = {
    "sglang": {
        "tensor_parallel_size": "tp-size", "pipeline_parallel_size": "pp-size", "max_model_len": "context-length",
        "max_num_seqs": "max-running-requests", "max_num_batched_tokens": "chunked-prefill-size",
        "gpu_memory_utilization": "mem-fraction-static", "kv_cache_dtype": "kv-cache-dtype", "quantization": "quantization",
        "block_size": "page-size", "max_cudagraph_capture_size": "cuda-graph-max-bs",
        "schedule_conservativeness": "schedule-conservativeness",
    },
    "tensorrt_llm": {
        "tensor_parallel_size": "tp_size", "pipeline_parallel_size": "pp_size", "max_model_len": "max_seq_len",
        "max_num_seqs": "max_batch_size", "max_num_batched_tokens": "max_num_tokens",
        "gpu_memory_utilization": "kv_cache_free_gpu_memory_fraction", "kv_cache_dtype": "kv_cache_dtype",
    },
}  # fmt: skip
"""Other engines' names of the keys that their presets model."""
THEIR_FLAGS: dict[str, dict[str, tuple[str, Any]]] = {
    "sglang": {
        "disable-radix-cache": ("enable_prefix_caching", False), "disable-cuda-graph": ("enforce_eager", True),
        "enable-mixed-chunk": ("batch_order", "decode_first"), "disable-overlap-schedule": ("async_scheduling", False),
    },
    "tensorrt_llm": {},
}  # fmt: skip
"""Their flags without a value: the key that each sets, and to what."""
GRAPHS_VARIABLE = "VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS"
"""vLLM's switch of ``estimate_cudagraph_memory``."""
_CONNECTORS = {"pull": "NixlConnector", "push": "MoRIIOConnector"}
"""vLLM's connector for each protocol of a hand-over (its docs/features/nixl_connector_usage.md, moriio_connector_usage.md);
SGLang's reserve-first has none."""
_LOADED_AS = {"fp8": "fp8", "nf4": "bitsandbytes"}
"""Types that vLLM makes of a 16-bit checkpoint."""
_KV = {"fp8": "fp8", "bf16": "bfloat16", "fp16": "float16"}
_STATES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def serve_line(model: ModelSpec, engine: EngineSpec, protocol: str | None = None) -> str:
    """The command line of ``engine``'s server with ``model``; a release that is not the newest stands in a comment.
    ``protocol``: how the server hands KV over (``gateway.disaggregation.protocol``); None = it answers alone."""
    line = " ".join(shlex.quote(word) for word in serve_words(model, engine, protocol))
    if engine.name in THEIR_OPTIONS:
        unsaid = ", ".join(_unsaid(engine))
        return f"{line}  # no option of it: {unsaid}" if unsaid else line
    for name, value in serve_environment(engine).items():
        line = f"{name}={value} {line}"
    said = [] if engine.version == EngineSpec().version else [f"vLLM {engine.version}"]
    said += [f"weights in {model.weight_dtype}"] if _weights(model) == [] else []
    said += [f"no option of it: KV handed over {protocol}"] if protocol is not None and protocol not in _CONNECTORS else []
    return f"{line}  # {', '.join(said)}" if said else line


def serve_environment(engine: EngineSpec) -> dict[str, str]:
    """Variables that say what vLLM has no option for."""
    usual = EngineSpec(version=engine.version)
    if engine.name in THEIR_OPTIONS or engine.estimate_cudagraph_memory == usual.estimate_cudagraph_memory:
        return {}
    return {GRAPHS_VARIABLE: str(int(engine.estimate_cudagraph_memory))}


def serve_words(model: ModelSpec, engine: EngineSpec, protocol: str | None = None) -> list[str]:
    """The command line of ``engine``'s server with ``model``, word by word; ``protocol`` as for ``serve_line``."""
    served = model_reference(model)
    if engine.name in THEIR_OPTIONS:
        sglang = ["python", "-m", "sglang.launch_server", "--model-path", served]
        start = ["trtllm-serve", served] if engine.name == "tensorrt_llm" else sglang
        options = {name: (flag, getattr(engine, name)) for name, flag in THEIR_OPTIONS[engine.name].items()}
        words = [word for name, (flag, value) in options.items() for word in _words(name, flag, value)]
        flags = [f"--{flag}" for flag, (key, on) in THEIR_FLAGS[engine.name].items() if getattr(engine, key) == on]
        return [*start, *words, *flags]
    usual = EngineSpec(version=engine.version)
    words = []
    engine, usual = _states_apart(engine, model), _states_apart(usual, model)
    for name in VLLM_OPTIONS:
        value = getattr(engine, name)
        if value != getattr(usual, name):
            words += _words(name, name.replace("_", "-"), value)
    if engine.num_redundant_experts:
        words += ["--eplb-config", json.dumps({"num_redundant_experts": engine.num_redundant_experts})]
    quantised = (_weights(model) or []) if engine.quantization is None else []
    words += [*quantised, *feature_words(engine)]
    if protocol in _CONNECTORS:
        words += ["--kv-transfer-config", json.dumps(connector_config(engine.kv_connector, _CONNECTORS[protocol]))]
    return ["vllm", "serve", served, *words]


def _states_apart(engine: EngineSpec, model: ModelSpec) -> EngineSpec:
    """``engine`` with the prefix caching that a model with recurrent states gets of it."""
    cached = engine.enable_prefix_caching and (engine.cache_state_prefixes or not model.has_states)
    return replace(engine, enable_prefix_caching=cached)


def _unsaid(engine: EngineSpec) -> list[str]:
    """What is stated in vLLM's names and is no option of another engine's server."""
    own = {*THEIR_OPTIONS[engine.name], *(key for key, _ in THEIR_FLAGS[engine.name].values()), "block_size"}
    usual = EngineSpec(version=engine.version)
    stated = {name: getattr(engine, name) for name in VLLM_OPTIONS if getattr(engine, name) != getattr(usual, name)}
    return [f"{name}={value}" for name, value in stated.items() if name not in own]


def _weights(model: ModelSpec) -> list[str] | None:
    """The option that gives a 16-bit checkpoint the model's types while it is loaded; [] = there is none, None = the
    checkpoint has them itself."""
    facts = model.hf_config
    stated = isinstance(facts, dict) and {"quantization_config", "compression_config"} & {
        key for part in (facts, *facts.values()) if isinstance(part, dict) for key in part
    }
    own = stated or (isinstance(facts, str) and not any(note.startswith("weight_dtype=") for note in model.notes))
    if own or model.weight_dtype in ("bf16", "fp16"):
        return None
    return ["--quantization", _LOADED_AS[model.weight_dtype]] if model.weight_dtype in _LOADED_AS else []


def _words(name: str, flag: str, value: Any) -> list[str]:
    if value is None or (name in ("kv_cache_dtype", "quantization") and value == "auto"):
        return []
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    if isinstance(value, tuple):
        return [f"--{flag}", *map(str, value)]
    return [f"--{flag}", _shown(name, value)]


def _shown(name: str, value: Any) -> str:
    if name == "max_model_len" and value == AUTO_LENGTH:
        return "auto"
    if name == "scheduling_policy":
        return "priority"  # other orders are the server's with each request's priority set accordingly
    types = {"kv_cache_dtype": _KV, "mamba_ssm_cache_dtype": _STATES}.get(name, {})
    return types.get(str(value), str(value))
