"""llm-d-benchmark reports, schema 0.1 (``metrics``) and 0.2 (``results.request_performance.aggregate``), YAML or JSON.

Every figure carries its ``units`` ("ms", "s", "ms/token", "count", "queries/s"). The load stands in
``scenario.load``: the harness's arguments (0.1) or ``standardized.{rate_qps, concurrency}`` (0.2).

Source: llm-d/llm-d-benchmark, benchmark_report/schema_v0_1.py and schema_v0_2.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim.errors import TraceError
from sim.measured.aggregate import Aggregate, Load
from sim.measured.fields import Fields
from sim.measured.vllm_bench import load as harness_load

PRODUCER = "llm-d-benchmark"
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "s/token": 1.0, "ms/token": 1e-3, "us/token": 1e-6}


def matches(entry: Mapping[str, Any]) -> bool:
    """By version, scenario and results."""
    return {"version", "scenario"} <= entry.keys() and bool({"metrics", "results"} & entry.keys())


def read(source: str, entry: Mapping[str, Any]) -> Aggregate:
    """The stage's means."""
    whole = Fields(source, entry)
    found = whole.value("results.request_performance.aggregate", "metrics")
    if not isinstance(found, Mapping):
        raise TraceError(f"{source}: {PRODUCER} report holds neither metrics nor results.request_performance.aggregate")
    fields = Fields(source, found)
    total = fields.count("requests.total")
    failed = fields.number("requests.failures")
    answered = total - int(failed) if failed > 0 else total
    throughput = fields.number(
        "throughput.requests_per_sec", "throughput.request_rate.mean", "throughput.requests_rate.mean"
    )  # fmt: skip
    return Aggregate(
        source, PRODUCER, answered, _load(whole, throughput, total),
        fields.required("requests.input_length.mean"), fields.required("requests.output_length.mean"),
        ttft_s=_seconds(fields, "time_to_first_token"),
        tpot_s=_seconds(fields, "time_per_output_token", "inter_token_latency"),
        e2e_s=_seconds(fields, "request_latency"), throughput_per_s=throughput,
        notes=(f"{int(failed)} failed requests left out",) if failed > 0 else (),
    )  # fmt: skip


def _seconds(fields: Fields, *names: str) -> float:
    name = next((name for name in names if fields.value(f"latency.{name}.mean") is not None), names[0])
    units = str(fields.value(f"latency.{name}.units") or "s")
    if units not in _SECONDS:
        raise TraceError(f"{fields.source}: latency.{name}.units is {units!r}; legal are {', '.join(_SECONDS)}")
    return fields.number(f"latency.{name}.mean", unit=_SECONDS[units])


def _load(whole: Fields, throughput: float, requests: int) -> Load:
    rate = whole.rate(
        "scenario.load.standardized.rate_qps", "scenario.load.args.request_rate", "scenario.load.args.rate",
        "scenario.load.metadata.rate",
    )  # fmt: skip
    cap = whole.rate("scenario.load.standardized.concurrency", "scenario.load.args.max_concurrency")
    if rate is None and cap is None:
        stages = whole.value("scenario.load.args.load.stages", "scenario.load.native.config.load.stages")
        stage = whole.value("scenario.load.metadata.stage", "scenario.load.standardized.stage")
        if isinstance(stages, list) and isinstance(stage, int) and 0 <= stage < len(stages):
            rate = Fields(whole.source, stages[stage] if isinstance(stages[stage], dict) else {}).rate("rate")
    return Load() if rate is None and cap is None else harness_load(rate, cap, throughput, requests)
