"""One run as each producer reports it: 100 requests of 500 + 101 tokens in 50 s, 8 in flight, TTFT 0.2 s, TPOT 20 ms."""

from __future__ import annotations

import json
from typing import Any

REQUESTS, INPUT, OUTPUT = 100, 500, 101
TTFT_S, TPOT_S, E2E_S, DURATION_S, IN_FLIGHT = 0.2, 0.02, 2.2, 50.0, 8
RATE = REQUESTS / DURATION_S

VLLM: dict[str, Any] = {
    "date": "20260101-000000", "backend": "vllm", "model_id": "m", "tokenizer_id": "m", "num_prompts": 100,
    "request_rate": "inf", "burstiness": 1.0, "max_concurrency": IN_FLIGHT, "duration": DURATION_S, "completed": REQUESTS,
    "total_input_tokens": REQUESTS * INPUT, "total_output_tokens": REQUESTS * OUTPUT, "request_throughput": RATE,
    "output_throughput": RATE * OUTPUT, "mean_ttft_ms": 1e3 * TTFT_S, "mean_tpot_ms": 1e3 * TPOT_S,
    "mean_itl_ms": 1e3 * TPOT_S, "mean_e2el_ms": 1e3 * E2E_S,
}  # fmt: skip
VLLM_DETAIL: dict[str, Any] = {
    **VLLM, "input_lens": [INPUT] * REQUESTS, "output_lens": [OUTPUT] * REQUESTS, "ttfts": [TTFT_S] * REQUESTS,
    "itls": [[TPOT_S] * (OUTPUT - 1)] * REQUESTS, "errors": [""] * REQUESTS,
}  # fmt: skip
SGLANG: dict[str, Any] = {
    **{key: value for key, value in VLLM.items() if key != "mean_e2el_ms"}, "request_rate": float("inf"),
    "mean_e2e_latency_ms": 1e3 * E2E_S, "server_info": {"tp_size": 1}, "concurrency": 7.9,
}  # fmt: skip
INFERENCEX: dict[str, Any] = {
    "hw": "h200", "tp": 8, "conc": IN_FLIGHT, "model": "m", "framework": "vllm", "precision": "fp8", "isl": INPUT / 0.9,
    "osl": OUTPUT / 0.9, "tput_per_gpu": 1.0, "mean_ttft": TTFT_S, "mean_tpot": TPOT_S, "mean_e2el": E2E_S,
}  # fmt: skip
TRTLLM: dict[str, Any] = {
    "engine": {"model": "m"}, "world_info": {"tp_size": 1, "max_batch_size": 64},
    "request_info": {
        "num_requests": REQUESTS, "avg_num_concurrent_requests": float(IN_FLIGHT), "avg_input_length": INPUT,
        "avg_output_length": OUTPUT,
    },
    "performance": {
        "total_latency_ms": 1e3 * DURATION_S, "avg_request_latency_ms": 1e3 * E2E_S, "request_throughput_req_s": RATE,
    },
    "streaming_metrics": {"avg_ttft_ms": 1e3 * TTFT_S, "avg_tpot_ms": 1e3 * TPOT_S},
}  # fmt: skip
INFERENCE_PERF: dict[str, Any] = {
    "load_summary": {"count": REQUESTS, "send_duration": DURATION_S, "requested_rate": None, "concurrency": IN_FLIGHT},
    "successes": {
        "count": REQUESTS, "prompt_len": {"mean": INPUT}, "output_len": {"mean": OUTPUT},
        "latency": {
            "request_latency": {"mean": E2E_S}, "time_per_output_token": {"mean": TPOT_S},
            "time_to_first_token": {"mean": TTFT_S},
        },
        "throughput": {"requests_per_sec": RATE},
    },
    "failures": {"count": 0},
}  # fmt: skip
LLM_D_01: dict[str, Any] = {
    "version": "0.1", "scenario": {"load": {"name": "vllm-benchmark", "args": {"request_rate": "inf", "max_concurrency": 8}}},
    "metrics": {
        "time": {"duration": DURATION_S},
        "requests": {
            "total": REQUESTS, "failures": 0, "input_length": {"units": "count", "mean": INPUT},
            "output_length": {"units": "count", "mean": OUTPUT},
        },
        "latency": {
            "time_to_first_token": {"units": "ms", "mean": 1e3 * TTFT_S},
            "time_per_output_token": {"units": "ms/token", "mean": 1e3 * TPOT_S},
            "request_latency": {"units": "ms", "mean": 1e3 * E2E_S},
        },
        "throughput": {"requests_per_sec": RATE},
    },
}  # fmt: skip
LLM_D_02 = f"""version: '0.2'
run: {{uid: x}}
scenario:
  load:
    standardized: {{tool: inference-perf, rate_qps: .inf, concurrency: {IN_FLIGHT}}}
results:
  request_performance:
    aggregate:
      requests: {{total: {REQUESTS}, failures: 0, input_length: {{mean: {INPUT}}}, output_length: {{mean: {OUTPUT}}}}}
      throughput: {{request_rate: {{units: queries/s, mean: {RATE}}}}}
      latency:
        time_to_first_token: {{units: s, mean: {TTFT_S}}}
        time_per_output_token: {{units: s/token, mean: {TPOT_S}}}
        request_latency: {{units: s, mean: {E2E_S}}}
"""


def _metric(value: float, unit: str) -> dict[str, Any]:
    return {"unit": unit, "avg": value, "p99": value}


GENAI_PERF: dict[str, Any] = {
    "request_throughput": _metric(RATE, "requests/sec"), "request_latency": _metric(1e3 * E2E_S, "ms"),
    "time_to_first_token": _metric(1e3 * TTFT_S, "ms"), "inter_token_latency": _metric(1e3 * TPOT_S, "ms"),
    "input_sequence_length": _metric(INPUT, "tokens"), "output_sequence_length": _metric(OUTPUT, "tokens"),
    "request_count": _metric(REQUESTS, "count"), "input_config": {"perf_analyzer": {"stimulus": {"concurrency": 8}}},
}  # fmt: skip
AIPERF: dict[str, Any] = {
    **GENAI_PERF, "aiperf_version": "0.13.0", "input_config": {"loadgen": {"concurrency": IN_FLIGHT}},
}  # fmt: skip
LLMPERF: dict[str, Any] = {
    "version": "2023-08-31", "name": "m_500_100_summary", "model": "m", "mean_input_tokens": INPUT,
    "mean_output_tokens": OUTPUT, "num_concurrent_requests": IN_FLIGHT, "results_ttft_s_mean": TTFT_S,
    "results_end_to_end_latency_s_mean": E2E_S, "results_number_output_tokens_mean": OUTPUT,
    "results_num_completed_requests": REQUESTS, "results_num_completed_requests_per_min": 60 * RATE,
    "results_inter_token_latency_s_mean": E2E_S / OUTPUT,
}  # fmt: skip
LLMPERF_RESPONSES = [
    {
        "error_code": None, "ttft_s": TTFT_S, "end_to_end_latency_s": E2E_S, "number_input_tokens": INPUT,
        "number_output_tokens": OUTPUT, "inter_token_latency_s": E2E_S / OUTPUT,
    }
] * REQUESTS  # fmt: skip
GUIDELLM_SAMPLE: dict[str, Any] = {"benchmarks": [{
    "config": {"strategy": {"type_": "concurrent", "streams": IN_FLIGHT}, "sample_size": 2},
    "metrics": {"request_totals": {"successful": REQUESTS, "errored": 1, "total": REQUESTS + 1}},
    "requests": {"successful": [
        {
            "request_start_time": at_s, "request_latency": E2E_S, "prompt_tokens": INPUT, "output_tokens": OUTPUT,
            "time_to_first_token_ms": 1e3 * TTFT_S, "inter_token_latency_ms": 1e3 * TPOT_S,
        } for at_s in (0.0, 10.0)
    ]},
}]}  # fmt: skip

AIPERF_TABLE = "\n".join([
    "Metric,avg,min,max,p99", f"Request Latency (ms),{1e3 * E2E_S},1,2,3", f"Time to First Token (ms),{1e3 * TTFT_S},1,2,3",
    f"Inter Token Latency (ms),{1e3 * TPOT_S},1,2,3", f"Input Sequence Length (tokens),{INPUT},1,2,3",
    f"Output Sequence Length (tokens),{OUTPUT},1,2,3", "", "Metric,Value", f"Request Throughput (requests/sec),{RATE}",
    f"Request Count (requests),{REQUESTS}.00",
])  # fmt: skip
VLLM_SUMMARY_TABLE = ",".join(VLLM) + "\n" + ",".join(map(str, VLLM.values())) + "\n"
INFERENCE_PERF_REQUESTS = [
    {"start_time": at_s, "end_time": at_s + E2E_S, "request": "", "response": "", "error": None, "info": {
        "input_tokens": INPUT, "output_tokens": OUTPUT, "output_token_times": [at_s + TTFT_S, at_s + E2E_S]}}
    for at_s in (10.0, 10.5)
]  # fmt: skip

REPORTS: dict[str, tuple[str, str]] = {
    # name: (producer as it is named, text)
    "vllm": ("vllm bench serve", json.dumps(VLLM)),
    "vllm_detail_without_times": ("vllm bench serve", json.dumps(VLLM_DETAIL)),
    "vllm_sweep": ("vllm bench serve", json.dumps([{**VLLM, "run_number": 0, "max_num_seqs": 4}])),
    "sglang": ("sglang.bench_serving", json.dumps(SGLANG) + "\n"),
    "inferencex": ("InferenceX", json.dumps(INFERENCEX)),
    "trtllm": ("trtllm-bench", json.dumps(TRTLLM)),
    "inference_perf": ("inference-perf", json.dumps(INFERENCE_PERF)),
    "llm_d_0_1": ("llm-d-benchmark", json.dumps(LLM_D_01)),
    "llm_d_0_2": ("llm-d-benchmark", LLM_D_02),
    "genai_perf": ("genai-perf", json.dumps(GENAI_PERF)),
    "aiperf": ("AIPerf", json.dumps(AIPERF)),
    "vllm_summary_table": ("vllm bench serve", VLLM_SUMMARY_TABLE),
    "llmperf": ("llmperf", json.dumps(LLMPERF)),
    "guidellm_sample": ("guidellm", json.dumps(GUIDELLM_SAMPLE)),
}
