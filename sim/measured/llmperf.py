"""llmperf (ray-project): a flat summary, and ``*_individual_responses.json``, a list without times.

A closed loop of ``num_concurrent_requests``. The list does not say how many: one is assumed, and said.
``inter_token_latency_s`` is E2E / output tokens (the first included) and is not used: TPOT = (E2E - TTFT) / (tokens - 1).

Source: llmperf/token_benchmark_ray.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sim.errors import TraceError
from sim.measured.aggregate import Aggregate, Load
from sim.measured.fields import Fields, mean

PRODUCER = "llmperf"
_ALONE = Load(
    in_flight=1.0, assumed=True,
    stated="closed loop of one request in flight (assumed: the file states neither times nor users; --concurrency N says)",
)  # fmt: skip


def matches(entry: Mapping[str, Any]) -> bool:
    """A summary."""
    return {"num_concurrent_requests", "mean_input_tokens"} <= entry.keys()


def matches_list(entries: Sequence[Any]) -> bool:
    """Individual responses."""
    return bool(entries) and isinstance(entries[0], Mapping) and {
        "number_input_tokens", "number_output_tokens", "end_to_end_latency_s",
    } <= entries[0].keys()  # fmt: skip


def read(source: str, entry: Mapping[str, Any]) -> Aggregate:
    """The run's means."""
    fields = Fields(source, entry)
    output = fields.required("results_number_output_tokens_mean", "results.number_output_tokens.mean", "mean_output_tokens")
    ttft_s = fields.number("results_ttft_s_mean", "results.ttft_s.mean")
    e2e_s = fields.number("results_end_to_end_latency_s_mean", "results.end_to_end_latency_s.mean")
    per_minute = fields.number("results_num_completed_requests_per_min", "results.num_completed_requests_per_min")
    return Aggregate(
        source, PRODUCER,
        fields.count("results_num_completed_requests", "results.num_completed_requests"),
        Load(in_flight=fields.required("num_concurrent_requests")),
        fields.required("results_number_input_tokens_mean", "results.number_input_tokens.mean", "mean_input_tokens"), output,
        ttft_s=ttft_s, tpot_s=(e2e_s - ttft_s) / (output - 1) if output > 1 else math.nan, e2e_s=e2e_s,
        throughput_per_s=per_minute / 60.0,
    )  # fmt: skip


def read_list(source: str, entries: Sequence[Any]) -> Aggregate:
    """The responses' means."""
    rows: list[tuple[float, float, float, float]] = []
    failed = 0
    for place, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            raise TraceError(f"{source}, entry {place + 1}: is {entry!r:.60}; legal is an object")
        fields = Fields(f"{source}, entry {place + 1}", entry)
        if entry.get("error_code") not in (None, 0, -1, "") or fields.number("number_output_tokens") == 0:
            failed += 1
            continue
        rows.append((
            fields.required("number_input_tokens"), fields.required("number_output_tokens"),
            fields.required("ttft_s"), fields.required("end_to_end_latency_s"),
        ))  # fmt: skip
        if rows[-1][2] > rows[-1][3]:
            raise TraceError(f"{fields.source}: ttft_s {rows[-1][2]:.6g} is above end_to_end_latency_s {rows[-1][3]:.6g}")
    notes = (f"{failed} failed requests left out",) if failed else ()
    return Aggregate(
        source, PRODUCER, len(rows), _ALONE, mean(row[0] for row in rows), mean(row[1] for row in rows),
        ttft_s=mean(row[2] for row in rows), tpot_s=mean((e2e - ttft) / (n - 1) for _, n, ttft, e2e in rows if n > 1),
        e2e_s=mean(row[3] for row in rows), lengths=tuple((max(int(row[0]), 1), int(row[1])) for row in rows),
        notes=notes,
    )  # fmt: skip
