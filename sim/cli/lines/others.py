"""SGLang's ``launch_server`` and TensorRT-LLM's ``trtllm-serve``: the options that their presets model.

Source: SGLang ``server_args.py`` (late 2026), TensorRT-LLM ``commands/serve.py``.
"""

from __future__ import annotations

from typing import Any

RENAMED: dict[str, dict[str, str]] = {
    "sglang": {
        "tp": "tensor_parallel_size", "tp_size": "tensor_parallel_size", "tensor_parallel_size": "tensor_parallel_size",
        "pp_size": "pipeline_parallel_size", "pipeline_parallel_size": "pipeline_parallel_size",
        "mem_fraction_static": "gpu_memory_utilization", "max_running_requests": "max_num_seqs",
        "chunked_prefill_size": "max_num_batched_tokens", "context_length": "max_model_len", "page_size": "block_size",
        "kv_cache_dtype": "kv_cache_dtype", "quantization": "quantization",
        "cuda_graph_max_bs": "max_cudagraph_capture_size",
        "schedule_conservativeness": "schedule_conservativeness",
    },
    "tensorrt_llm": {
        "tp_size": "tensor_parallel_size", "tensor_parallel_size": "tensor_parallel_size",
        "pp_size": "pipeline_parallel_size",
        "max_batch_size": "max_num_seqs", "max_num_tokens": "max_num_batched_tokens", "max_seq_len": "max_model_len",
        "kv_cache_free_gpu_memory_fraction": "gpu_memory_utilization", "free_gpu_memory_fraction": "gpu_memory_utilization",
        "kv_cache_dtype": "kv_cache_dtype",
    },
}  # fmt: skip
FLAGS: dict[str, dict[str, dict[str, Any]]] = {
    "sglang": {
        "disable_radix_cache": {"enable_prefix_caching": False}, "disable_cuda_graph": {"enforce_eager": True},
        "enable_mixed_chunk": {"batch_order": "decode_first"}, "disable_overlap_schedule": {"async_scheduling": False},
    },
    "tensorrt_llm": {},
}  # fmt: skip
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
