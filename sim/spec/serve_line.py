"""``serve_line``: the command that starts the server which a simulation means.

Options that differ from the release's defaults, under the server's own names; what a preset decides otherwise than its
server's flags can say has no flag and is left out.
"""

from __future__ import annotations

import json
import re
import shlex

from sim.spec import EngineSpec, ModelSpec
from sim.spec.serve_features import feature_words
from sim.spec.spellings import AUTO_LENGTH

VLLM_OPTIONS = (
    "tensor_parallel_size", "pipeline_parallel_size", "max_model_len", "max_num_seqs", "max_num_active_seqs",
    "max_num_batched_tokens", "max_num_scheduled_tokens", "gpu_memory_utilization", "kv_cache_memory_bytes",
    "num_gpu_blocks_override", "block_size", "kv_cache_dtype", "quantization", "enable_prefix_caching",
    "enable_chunked_prefill", "long_prefill_token_threshold", "long_prefill_token_threshold_adaptive", "scheduling_policy",
    "watermark", "scheduler_reserve_full_isl", "prefill_schedule_interval", "async_scheduling", "enforce_eager",
    "max_cudagraph_capture_size", "cudagraph_capture_sizes", "performance_mode", "language_model_only", "data_parallel_size",
    "enable_expert_parallel", "all2all_backend", "enable_eplb", "enable_dbo", "dbo_decode_token_threshold",
    "dbo_prefill_token_threshold",
)  # fmt: skip
"""Keys of ``engine`` that are options of ``vllm serve`` under the same name."""
_THEIR_NAMES = {
    "sglang": {
        "tensor_parallel_size": "tp-size", "pipeline_parallel_size": "pp-size", "max_model_len": "context-length",
        "max_num_seqs": "max-running-requests", "max_num_batched_tokens": "chunked-prefill-size",
        "gpu_memory_utilization": "mem-fraction-static", "kv_cache_dtype": "kv-cache-dtype", "quantization": "quantization",
    },
    "tensorrt_llm": {
        "tensor_parallel_size": "tp_size", "pipeline_parallel_size": "pp_size", "max_model_len": "max_seq_len",
        "max_num_seqs": "max_batch_size", "max_num_batched_tokens": "max_num_tokens",
        "gpu_memory_utilization": "kv_cache_free_gpu_memory_fraction", "kv_cache_dtype": "kv_cache_dtype",
    },
}  # fmt: skip
_KV = {"fp8": "fp8", "bf16": "bfloat16", "fp16": "float16"}


def serve_line(model: ModelSpec, engine: EngineSpec) -> str:
    """The command line of ``engine``'s server with ``model``."""
    return " ".join(shlex.quote(word) for word in serve_words(model, engine))


def serve_words(model: ModelSpec, engine: EngineSpec) -> list[str]:
    """The command line of ``engine``'s server with ``model``, word by word."""
    served = model_reference(model)
    if engine.name in _THEIR_NAMES:
        sglang = ["python", "-m", "sglang.launch_server", "--model-path", served]
        start = ["trtllm-serve", served] if engine.name == "tensorrt_llm" else sglang
        return start + _flags(engine, _THEIR_NAMES[engine.name])
    words = _flags(engine, {name: name.replace("_", "-") for name in VLLM_OPTIONS})
    if engine.num_redundant_experts:
        words += ["--eplb-config", json.dumps({"num_redundant_experts": engine.num_redundant_experts})]
    return ["vllm", "serve", served, *words, *feature_words(engine)]


def model_reference(model: ModelSpec) -> str:
    """The Hugging Face name that a preset's source states, or the folder of the file that was read."""
    named = re.match(r"([\w.-]+/[\w.-]+)", model.source)
    if isinstance(model.hf_config, str):
        return model.hf_config.removesuffix("/config.json")
    return named[1] if named is not None else model.name


def _flags(engine: EngineSpec, names: dict[str, str]) -> list[str]:
    usual = EngineSpec(version=engine.version)
    words: list[str] = []
    for name, flag in names.items():
        value = getattr(engine, name)
        if value == getattr(usual, name) or value is None:
            continue
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, tuple):
            words += [f"--{flag}", *map(str, value)]
        else:
            words += [f"--{flag}", _shown(name, value)]
    return words


def _shown(name: str, value: object) -> str:
    if name == "max_model_len" and value == AUTO_LENGTH:
        return "auto"
    if name == "scheduling_policy":
        return "priority"  # other orders are the server's with each request's priority set accordingly
    return _KV.get(str(value), str(value)) if name == "kv_cache_dtype" else str(value)
