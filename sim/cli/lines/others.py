"""SGLang's ``launch_server`` and TensorRT-LLM's ``trtllm-serve``: the options that their presets model.

Source: SGLang ``server_args.py`` (late 2026), TensorRT-LLM ``commands/serve.py``.
"""

from __future__ import annotations

from sim.spec.serve_line import THEIR_FLAGS, THEIR_OPTIONS

_ALIASES: dict[str, dict[str, str]] = {
    "sglang": {
        "tp": "tensor_parallel_size", "tensor_parallel_size": "tensor_parallel_size", "pp": "pipeline_parallel_size",
        "pipeline_parallel_size": "pipeline_parallel_size",
    },
    "tensorrt_llm": {
        "tp": "tensor_parallel_size", "tensor_parallel_size": "tensor_parallel_size", "pp": "pipeline_parallel_size",
        "pipeline_parallel_size": "pipeline_parallel_size", "free_gpu_memory_fraction": "gpu_memory_utilization",
    },
}  # fmt: skip
RENAMED = {
    server: _ALIASES[server] | {theirs.replace("-", "_"): ours for ours, theirs in options.items()}
    for server, options in THEIR_OPTIONS.items()
}
"""Their options, and other spellings of them, as keys of ``engine``."""
FLAGS = {
    server: {flag.replace("-", "_"): {key: value} for flag, (key, value) in flags.items()}
    for server, flags in THEIR_FLAGS.items()
}
WITHOUT_EFFECT: dict[str, set[str]] = {
    "sglang": {
        "host", "port", "trust_remote_code", "served_model_name", "api_key", "log_level", "log_requests", "enable_metrics",
        "tokenizer_path", "tokenizer_mode", "load_format", "dtype", "random_seed", "chat_template", "reasoning_parser",
        "tool_call_parser", "attention_backend", "sampling_backend", "prefill_attention_backend", "decode_attention_backend",
        "moe_runner_backend", "watchdog_timeout", "download_dir", "revision", "grammar_backend", "device", "stream_interval",
        "skip_server_warmup", "enable_cache_report", "show_time_cost", "schedule_policy", "max_prefill_tokens",
        "dist_init_addr",
        "nnodes", "node_rank", "mem_debug", "weight_version", "model_impl", "enable_torch_compile",
        "disable_custom_all_reduce",
    },
    "tensorrt_llm": {
        "host", "port", "trust_remote_code", "backend", "tokenizer", "log_level", "max_beam_width", "reasoning_parser",
        "tool_parser", "num_postprocess_workers", "metadata_server_config_file", "server_role", "gpus_per_node", "revision",
        "served_model_name",
    },
}  # fmt: skip
