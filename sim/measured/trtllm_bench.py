"""``trtllm-bench throughput|latency --report_json``: ``request_info``, ``performance``, ``streaming_metrics``.

Milliseconds. ``avg_num_concurrent_requests`` is the measured mean in flight; TTFT and TPOT only with ``--streaming``.

Source: tensorrt_llm/bench/dataclasses/reporting.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim.measured.aggregate import Aggregate, Load
from sim.measured.fields import Fields

PRODUCER = "trtllm-bench"


def matches(entry: Mapping[str, Any]) -> bool:
    """By its two sections."""
    return {"request_info", "performance"} <= entry.keys()


def read(source: str, entry: Mapping[str, Any]) -> Aggregate:
    """The run's means."""
    fields = Fields(source, entry)
    in_flight = fields.number("request_info.avg_num_concurrent_requests")
    return Aggregate(
        source, PRODUCER, fields.count("request_info.num_requests"),
        Load(in_flight=in_flight, stated=f"{in_flight:.4g} requests in flight on average") if in_flight > 0 else Load(),
        fields.required("request_info.avg_input_length", "dataset.avg_isl"),
        fields.required("request_info.avg_output_length", "dataset.avg_osl"),
        ttft_s=fields.number("streaming_metrics.avg_ttft_ms", unit=1e-3),
        tpot_s=fields.number("streaming_metrics.avg_tpot_ms", unit=1e-3),
        e2e_s=fields.number("performance.avg_request_latency_ms", unit=1e-3),
        duration_s=fields.number("performance.total_latency_ms", unit=1e-3),
        throughput_per_s=fields.number("performance.request_throughput_req_s"),
    )  # fmt: skip
