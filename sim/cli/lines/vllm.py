"""What each option of ``vllm serve`` is here: modelled under the same name, without effect on capacity, or not modelled.

Names as of vLLM 0.33 (``vllm/engine/arg_utils.py``, ``vllm/entrypoints/openai/cli_args.py``) and those that earlier
releases had; an option that none of the lists knows is refused with the others that are not modelled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from sim.cli.lines.features import kv_offloading_backend, kv_transfer_config, speculative_config
from sim.spec import EngineSpec
from sim.spec.serve_line import GRAPHS_VARIABLE, VLLM_OPTIONS

MODELLED = {field.name for field in fields(EngineSpec)} & {
    *VLLM_OPTIONS, "max_loras", "max_cpu_loras", "max_lora_rank", "fully_sharded_loras",
}  # fmt: skip
"""Options whose name is a key of ``engine``."""

WITHOUT_EFFECT = {
    # where it listens and what it says
    "host", "port", "uds", "api_key", "root_path", "ssl_keyfile", "ssl_certfile", "ssl_ca_certs", "ssl_cert_reqs",
    "enable_ssl_refresh", "served_model_name", "allowed_origins", "allowed_methods", "allowed_headers", "allow_credentials",
    "middleware", "uvicorn_log_level", "disable_uvicorn_access_log", "disable_fastapi_docs", "disable_log_requests",
    "enable_log_requests", "disable_log_stats", "enable_log_outputs", "max_log_len", "log_config_file", "log_error_stack",
    "aggregate_engine_logging", "otlp_traces_endpoint", "collect_detailed_traces", "show_hidden_metrics_for_version",
    "enable_request_id_headers", "enable_server_load_tracking", "enable_prompt_tokens_details", "enable_force_include_usage",
    "kv_events_config", "headless", "api_server_count", "h11_max_incomplete_event_size", "h11_max_header_count",
    # what is loaded, from where, and how it is spoken to
    "trust_remote_code", "tokenizer", "tokenizer_mode", "tokenizer_revision", "skip_tokenizer_init", "revision",
    "code_revision",
    "download_dir", "model_loader_extra_config", "ignore_patterns", "hf_token",
    "config_format",
    "generation_config", "override_generation_config", "chat_template", "chat_template_content_format",
    "trust_request_chat_template", "default_chat_template_kwargs", "response_role", "enable_auto_tool_choice",
    "tool_call_parser", "tool_parser_plugin", "tool_server", "reasoning_parser", "reasoning_parser_plugin",
    "enable_reasoning", "return_tokens_as_token_ids", "exclude_tools_when_tool_choice_none", "guided_decoding_backend",
    "structured_outputs_config", "guided_decoding_disable_fallback", "max_logprobs", "logprobs_mode", "logits_processors",
    "logits_processor_pattern", "allowed_local_media_path", "allowed_media_domains", "interleave_mm_strings",
    "media_io_kwargs", "mm_processor_kwargs", "mm_processor_cache_gb", "mm_processor_cache_type",
    "mm_encoder_attn_backend", "disable_mm_preprocessor_cache", "mm_shm_cache_max_object_size_mb", "video_pruning_rate",
    "seed", "model_impl", "enable_prompt_embeds", "use_tqdm_on_load", "safetensors_load_strategy",
    # how it runs without changing how much
    "distributed_executor_backend", "ray_workers_use_nsight", "max_parallel_loading_workers", "worker_cls",
    "worker_extension_cls", "data_parallel_size_local", "data_parallel_address", "data_parallel_rpc_port",
    "data_parallel_start_rank", "data_parallel_backend", "expert_placement_strategy", "nnodes", "node_rank",
    "master_addr", "master_port", "disable_custom_all_reduce",
    "attention_backend", "attention_config", "moe_backend", "additional_config",
    "prefix_caching_hash_algo", "calculate_kv_scales", "disable_cascade_attn", "stream_interval",
    "kernel_config", "structured_outputs_backend", "numa_bind",
    "enable_sleep_mode", "shutdown_timeout", "profiler_config", "observability_config", "swap_space",
    "max_seq_len_to_capture",
    "num_scheduler_steps", "use_v2_block_manager", "preemption_mode", "disable_frontend_multiprocessing",
    "fail_on_environ_validation",
    "lora_modules", "lora_dtype", "default_mm_loras", "specialize_active_lora",
    "enable_tokenizer_info_endpoint", "device", "enable_return_routed_experts", "log_stats_interval",
    # since 0.20
    "allow_deprecated_quantization", "anthropic_disabled_thinking_effort", "cohere_format", "cohere_is_reasoning_model",
    "cp_kv_cache_interleave_size", "cpu_distributed_timeout_seconds", "cudagraph_metrics", "custom_histogram_buckets",
    "dcp_comm_backend", "dcp_kv_cache_interleave_size", "dcp_q_replicate", "disable_access_log_for_endpoints",
    "disable_chunked_mm_input", "disable_nccl_for_dp_synchronization", "distributed_timeout_seconds",
    "enable_cumem_allocator", "aux_output_config", "device_ids", "elastic_ep_max_dp_size", "enable_batch_sharded_sampling",
    "enable_fault_tolerance", "enable_mamba_cache_stochastic_rounding", "enable_mm_embeds", "enable_nccl_comm_suspend",
    "enable_trace_replay", "fault_tolerance_config", "io_processor_plugin", "mamba_cache_philox_rounds", "mamba_config",
    "mm_encoder_attn_dtype", "model_weights",
    "enable_ep_weight_filter", "enable_flash_late_interaction", "enable_flashinfer_autotune",
    "enable_layerwise_nvtx_tracing",
    "enable_log_deltas", "enable_logging_iteration_details", "enable_mfu_metrics", "enable_mm_processor_stats",
    "enable_offline_docs", "enable_per_request_metrics", "enable_shm_tensor_arena", "fingerprint_mode", "fingerprint_value",
    "gdn_prefill_backend", "grpc", "grpc_port", "ir_op_priority", "jit_monitor_mode", "jit_monitor_verbose",
    "kda_decode_backend", "kda_prefill_backend", "kv_cache_metrics", "kv_cache_metrics_sample", "linear_backend",
    "log_level",
    "logging_config", "mamba_backend", "mamba_ssu_algorithm", "max_lora_cls_labels", "mm_device_do_normalize",
    "mm_encoder_fp8_scale_path", "mm_encoder_fp8_scale_save_margin", "mm_encoder_fp8_scale_save_path", "mm_hasher_algorithm",
    "mm_processor_device", "mm_tensor_ipc", "monokernel", "numa_bind_cpus", "numa_bind_nodes",
    "per_request_spec_decode_metrics", "pt_load_map_location", "reasoning_config", "reasoning_effort_map",
    "renderer_num_workers", "safetensors_prefetch_block_size", "safetensors_prefetch_num_threads", "sleep_mode_backend",
    "sleep_mode_offload_cudagraph", "sleep_preserve_parameter_names", "sparse_indexer_topk_backend",
    "sse_keep_alive_interval", "ssl_ciphers", "tokens_only", "tool_strict_level", "trust_request_mm_kwargs", "type_hints",
    "use_fp64_gumbel", "video_pruning_method", "watchdog_config", "weight_transfer_config",
}  # fmt: skip
"""Options that change neither memory nor steps as they are modelled. ``swap_space``: vLLM has not swapped since 0.9."""

_OFF: tuple[Any, ...] = (None, False, 0, "0", 1, "1", "", "none", "None", {}, [])
UNMODELLED: dict[str, tuple[str, tuple[Any, ...]]] = {
    "speculative_model": ("speculative decoding in its old spelling: state --speculative-config", (None, "")),
    "num_speculative_tokens": ("speculative decoding in its old spelling: state --speculative-config", (None, "0", 0)),
    "data_parallel_rank": ("an endpoint for each data-parallel rank", (None, False)),
    "data_parallel_hybrid_lb": ("an endpoint for each machine of data-parallel ranks", (None, False)),
    "data_parallel_external_lb": ("an endpoint for each data-parallel rank", (None, False)),
    "enable_elastic_ep": ("ranks that come and go", (None, False)),
    "decode_context_parallel_size": ("context parallelism", _OFF),
    "prefill_context_parallel_size": ("context parallelism", _OFF),
    "cpu_offload_gb": ("weights on the CPU", (None, 0, "0", "0.0")),
    "offload_backend": ("weights on the CPU", (None, "auto")),
    "offload_group_size": ("weights on the CPU", (None, 0, "0")),
    "ec_manager_config": ("encoders as servers of their own", (None, {}, "")),
    "ec_transfer_config": ("encoders as servers of their own", (None, {}, "")),
    "enable_prompt_adapter": ("prompt adapters", (None, False)),
    "max_num_partial_prefills": ("concurrent partial prefills (removed from vLLM by 0.28)", _OFF),
    "max_long_partial_prefills": ("concurrent partial prefills (removed from vLLM by 0.28)", _OFF),
    "mamba_cache_dtype": ("a stated type of the recurrent layers' convolutions", (None, "auto")),
    "mamba_block_size": ("a stated block of recurrent states", (None,)),
    "mamba_cache_mode": ("a stated caching of recurrent states", (None, "none", "align")),
    "hf_overrides": ("changed model configurations: state model.KEY", (None, {}, "{}")),
    "rope_scaling": ("changed model configurations: state model.max_context", (None, {}, "{}")),
    "rope_theta": ("changed model configurations", (None,)),
    "max_num_queued_reqs": ("a bounded queue of the server: state gateway.max_queue_requests", (None,)),
    "task": ("models that do not generate", (None, "auto", "generate")),
    "runner": ("models that do not generate", (None, "auto", "generate")),
    "convert": ("models that do not generate", (None, "auto", "none")),
    "pooler_config": ("models that do not generate", (None,)),
    "override_pooler_config": ("models that do not generate", (None,)),
    "hf_config_path": ("another place of the configuration: state model.hf_config", (None, "")),
    "disable_sliding_window": ("lengths capped at the window: state --max-model-len", (None, False)),
    "scheduler_cls": ("a scheduler of one's own", (None, "vllm.v1.core.sched.scheduler.Scheduler")),
    "kv_cache_dtype_skip_layers": ("a cache of several types", (None, [], "")),
    "kv_sharing_fast_prefill": ("prefills that pass over layers", (None, False)),
    "max_num_queued_tokens": ("a bounded queue of the server: state gateway.queue", (None,)),
    "max_num_batched_encoder_tokens": ("a budget of the encoder", (None,)),
    "mm_encoder_only": ("an encoder as a server of its own", (None, False)),
    "mm_ipc_gpu_memory_gb": ("GPU memory of the preprocessor", (None, 0, "0", "0.0")),
    "engram_config": ("n-gram memory", (None, {}, "")),
    "diffusion_config": ("models that do not generate token by token", (None, {}, "")),
    "quantization_config": ("quantisation by a configuration: state --quantization", (None, {}, "")),
    "prefix_cache_retention_interval": ("a stated retention of windows in the prefix cache", (None, "auto")),
    "prefix_match_unit": ("prefixes matched in units of one's own", (None,)),
    "swa_bounded_replay": ("windows that are replayed", (None, False)),
    "use_replayssm": ("states that are replayed", (None, False)),
    "enable_mamba_shared_prefix_checkpoint": ("shared checkpoints of recurrent states", (None, False)),
    "enable_hc_sp": ("sequence parallelism", (None, False)),
    "ubatch_size": ("a stated size of the halves of a batch", (None, 0, "0")),
    "lora_target_modules": ("adapters of some modules", (None, [], "")),
    "enable_mixed_moe_lora_format": ("adapters of several formats", (None, False)),
    "enable_moe_shared_loras": ("adapters that experts share", (None, False)),
    "enable_tower_connector_lora": ("adapters of towers", (None, False)),
    "model_class_overrides": ("another implementation of the model", (None, {}, "")),
    "is_moe_sequence_parallel": ("sequence parallelism", (None, False)),
}  # fmt: skip
"""Option -> what is not modelled, and the values with which it is off."""


def dtype(value: Any) -> dict[str, Any]:
    """``--dtype``: 16 bits whatever their name; 32 are not modelled."""
    if str(value) in ("float", "float32"):
        raise ValueError("32-bit activations")
    return {}


def limit_mm_per_prompt(value: Any) -> dict[str, Any]:
    """``--limit-mm-per-prompt``, JSON or ``image=0,video=0``: with 0 of every kind no tower is loaded."""
    if isinstance(value, str):
        value = dict(part.split("=", 1) for part in value.split(",") if "=" in part)
    limits = value if isinstance(value, dict) else {}
    return {"language_model_only": True} if "image" in limits and all(str(one) == "0" for one in limits.values()) else {}


def load_format(value: Any) -> dict[str, Any]:
    """``--load-format``: where weights come from changes nothing; what they are in GGUF does."""
    if value == "gguf":
        raise ValueError("the number types of a GGUF file")
    return {}


def enable_prefix_caching(value: Any) -> dict[str, Any]:
    """``--enable-prefix-caching``: stated, it holds for recurrent states too."""
    on = str(value).lower() == "true"
    return {"enable_prefix_caching": on, **({"cache_state_prefixes": True} if on else {})}


def optimization_level(value: Any) -> dict[str, Any]:
    """``-O0`` neither compiles nor captures graphs."""
    return {"enforce_eager": True} if str(value) == "0" else {}


def state_dtype(value: Any) -> dict[str, Any]:
    """``--mamba-ssm-cache-dtype`` and its earlier name."""
    return {"mamba_ssm_cache_dtype": value}


def compilation_config(value: Any) -> dict[str, Any]:
    """``-cc`` / ``--compilation-config``: the captured sizes and whether there are graphs at all."""
    found: dict[str, Any] = {}
    if isinstance(value, dict):
        if value.get("cudagraph_mode") in ("NONE", "none", 0) or value.get("use_cudagraph") is False:
            found["enforce_eager"] = True
        found |= {
            key: value[key]
            for key in ("cudagraph_capture_sizes", "max_cudagraph_capture_size")
            if value.get(key) is not None
        }
    return found


def eplb_config(value: Any) -> dict[str, Any]:
    """``--eplb-config``: the copies of experts; how often they are placed anew makes none to loads that are known."""
    copies = value.get("num_redundant_experts") if isinstance(value, dict) else None
    return {} if copies is None else {"num_redundant_experts": copies}


def first_engine(value: str) -> dict[str, Any]:
    """``VLLM_USE_V1=0`` asks for the engine that releases before 0.11 still had."""
    if value == "0":
        raise ValueError("the engine before V1")
    return {}


ENVIRONMENT: dict[str, Callable[[str], dict[str, Any]]] = {
    GRAPHS_VARIABLE: lambda value: {"estimate_cudagraph_memory": value.lower() in ("1", "true")},
    "VLLM_USE_V1": first_engine,
}
"""Variables that are modelled; ``ValueError`` as below."""
READ: dict[str, Callable[[Any], dict[str, Any]]] = {
    "dtype": dtype, "limit_mm_per_prompt": limit_mm_per_prompt, "compilation_config": compilation_config,
    "cuda_graph_sizes": lambda value: {}, "speculative_config": speculative_config, "enable_lora": lambda value: {},
    "load_format": load_format, "ssm_cache_dtype": state_dtype,
    "optimization_level": optimization_level, "enable_prefix_caching": enable_prefix_caching,
    "eplb_config": eplb_config, "kv_transfer_config": kv_transfer_config, "kv_offloading_backend": kv_offloading_backend,
    "kv_offloading_size": lambda value: {"kv_offloading_size_gib": float(value)} if value else {},
}  # fmt: skip
"""Options with a meaning of their own; ``ValueError`` says what of them is not modelled."""
